/* SPDX-License-Identifier: GPL-2.0-only */
/* Powers: the verdict on what is neither a path nor an address, by the names that a role has under `allow`.
 */
#ifndef JAILRUN_POWER_H
#define JAILRUN_POWER_H

#include "denial.h"

static __always_inline bool has_power(struct jail *jail, __u32 power)
{
	return jail->scope.powers >> power & 1;
}

/* Returns 1 where the operation must fail. */
static __noinline int deny_power(struct jail *jail, __u32 power, __u32 subject, __u32 hook)
{
	struct jr_denial *denial = begin_denial(jail, hook, JR_OPERATION_USE);

	denial->power = power;
	denial->subject = subject;
	return deny(jail, EPERM);
}

/* Returns 1 where the running task is jailed in a role without the power. */
static __always_inline int need_power(__u32 power, __u32 hook)
{
	struct jail *jail = current_jail();

	if (!jail || has_power(jail, power))
		return 0;
	return deny_power(jail, power, 0, hook);
}

/* No system call of x86-64. */
#define SYSTEM_CALL_UNKNOWN 0xffff

/*
 * The number of the system call that the running task is in. orig_ax has it for the whole of the call: a
 * tracer can change it only before the kernel takes the number from there. It is not what is being done in a
 * 32-bit call, which has numbers of its own, nor in an io_uring worker, which is in none; a 64-bit call that
 * an x32 program makes has bit 30 set, and so is none of ours.
 */
static __always_inline __u32 system_call(void)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct pt_regs *regs;

	if (task->flags & PF_IO_WORKER || task->thread_info.status & TS_COMPAT)
		return SYSTEM_CALL_UNKNOWN;
	regs = (struct pt_regs *)bpf_task_pt_regs(task);
	return regs->orig_ax < SYSTEM_CALL_UNKNOWN ? regs->orig_ax : SYSTEM_CALL_UNKNOWN;
}

#endif
