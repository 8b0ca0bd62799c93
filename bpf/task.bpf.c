// SPDX-License-Identifier: GPL-2.0-only
/*
 * task_alloc: a child is born in its parent's jail. Task storage belongs to one thread and clone()
 * does not copy it. A child whose storage cannot be made is not born: the fork fails.
 * io-wq workers are made by copy_process() too, so work handed to io_uring stays jailed.
 *
 * A child that is born in another cgroup (CLONE_INTO_CGROUP) escapes the limits and the end of its pod. The
 * kernel asks only who may write that cgroup's files, and takes an O_PATH descriptor of it; which cgroup it
 * is, no hook is told.
 */
#include "path.h"
#include "power.h"

SEC("lsm/task_alloc")
int BPF_PROG(jr_task_alloc, struct task_struct *task, unsigned long flags)
{
	struct jail *jail = current_jail();
	struct jail *born;

	if (!jail)
		return 0;
	if (flags & CLONE_INTO_CGROUP && !has_power(jail, JR_POWER_CGROUP) &&
	    deny_power(jail, JR_POWER_CGROUP, 0, JR_HOOK_TASK_ALLOC))
		return verdict(1, EPERM);
	born = bpf_task_storage_get(&tasks, task, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!born) {
		begin_denial(jail, JR_HOOK_TASK_ALLOC, JR_OPERATION_FORK)->reason = JR_REASON_BROKEN;
		deny(jail, ENOMEM);
		return -ENOMEM;
	}
	born->pod = jail->pod;
	born->role = jail->role;
	born->scope = jail->scope;
	born->policy = jail->policy;
	born->flags = jail->flags;
	born->last_free_exec = jail->last_free_exec;
	born->entry = jail->entry;
	born->program = jail->program;
	return 0;
}
