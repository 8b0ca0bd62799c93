// SPDX-License-Identifier: GPL-2.0-only
/*
 * The one object that is attached, all of it or nothing. A resource has its own file; each of them
 * says at its head which hooks it has and what they hold.
 *
 * A program is written once, as SEC("lsm/HOOK"). Where the kernel does not list `bpf` among its
 * LSMs the loader turns it into a fmod_ret program on security_HOOK, which is called with the same
 * arguments. In both forms the trampoline leaves at the first program that answers other than 0, so
 * an earlier verdict needs no look here.
 */
#include "kernel.h"
#include "pod.h"
#include "enroll.h"
#include "denial.h"
#include "path.h"
#include "overlay.h"
#include "endpoint.h"
#include "unix.h"

#include "task.bpf.c"
#include "exec.bpf.c"
#include "claim.bpf.c"
#include "enroll.bpf.c"
#include "file.bpf.c"
#include "metadata.bpf.c"
#include "network.bpf.c"
#include "device.bpf.c"
#include "self.bpf.c"
#include "capability.bpf.c"
#include "process.bpf.c"
#include "code.bpf.c"
#include "mount.bpf.c"
#include "interfaces.bpf.c"

char LICENSE[] SEC("license") = "GPL";
