// SPDX-License-Identifier: GPL-2.0-only
/*
 * The floor under a jailed open: the smallest program that finds out what the product finds out, whether the
 * task is jailed, what was remembered, and whether the device is still the same one, and compares no names.
 */
#pragma clang diagnostic ignored "-Wunused-function"
#include "../../bpf/path.h"

#include "../../bpf/exec.bpf.c"
#include "../../bpf/self.bpf.c"
#include "../../bpf/task.bpf.c"

SEC("lsm/file_open")
int BPF_PROG(jr_file_open, struct file *file)
{
	struct jail *jail = current_jail();
	struct memory *memory;

	if (!jail)
		return 0;
	memory = memory_of(jail, file->f_path.dentry->d_name.hash);
	return verdict(!memory || memory->epoch != device_epoch(file->f_path.dentry->d_sb->s_dev), EACCES);
}

char LICENSE[] SEC("license") = "GPL";
