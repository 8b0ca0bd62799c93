// SPDX-License-Identifier: GPL-2.0-only
/*
 * The floor under a jailed open: the smallest program that looks up what the product looks up: whether the
 * task is jailed, what is remembered, and whether file systems have gone since. It compares no names.
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
	struct dentry *dentry;
	struct memory *memory;

	if (!jail)
		return 0;
	dentry = file->f_path.dentry;
	memory = memory_of(jail, dentry->d_name.hash);
	if (!memory)
		return 0;
	/* Never true, but the kernel cannot know. */
	return verdict((memory->on.sb == (__u64)dentry->d_sb) & (memory->on.ended > device_epoch(0)), EACCES);
}

char LICENSE[] SEC("license") = "GPL";
