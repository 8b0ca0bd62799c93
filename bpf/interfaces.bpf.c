// SPDX-License-Identifier: GPL-2.0-only
/*
 * The kernel's own interfaces. Most of them ask capable (capability.bpf.c); these have a hook of their own,
 * and what it holds is also open to who has no capability. perf_event_open, syslog (also /dev/kmsg),
 * userns_create. kernel_module_request: modprobe runs outside of the jail, and a socket of a rare family is
 * enough to ask for it. inode_init_security_anon: io_uring and userfaultfd, which the kernel makes as
 * anonymous files. Every request of a ring passes the hooks that its system call would; that rings are a
 * power is for what they reach in the kernel.
 */
#include "power.h"

SEC("lsm/perf_event_open")
int BPF_PROG(jr_perf_event_open)
{
	return verdict(need_power(JR_POWER_PERFMON, JR_HOOK_PERF_EVENT_OPEN), EPERM);
}

SEC("lsm/syslog")
int BPF_PROG(jr_syslog)
{
	return verdict(need_power(JR_POWER_SYSLOG, JR_HOOK_SYSLOG), EPERM);
}

SEC("lsm/userns_create")
int BPF_PROG(jr_userns_create)
{
	return verdict(need_power(JR_POWER_NAMESPACES, JR_HOOK_USERNS_CREATE), EPERM);
}

SEC("lsm/kernel_module_request")
int BPF_PROG(jr_kernel_module_request)
{
	return verdict(need_power(JR_POWER_SYS_MODULE, JR_HOOK_KERNEL_MODULE_REQUEST), EPERM);
}

static __always_inline bool is_named(const struct qstr *name, const char *wanted, int length)
{
	char head[16] = {};

	bpf_probe_read_kernel_str(head, sizeof(head), BPF_CORE_READ(name, name));
	return same_bytes(head, wanted, length);
}

SEC("lsm/inode_init_security_anon")
int BPF_PROG(jr_inode_init_security_anon, struct inode *inode, const struct qstr *name)
{
	struct jail *jail = current_jail();
	__u32 power;

	if (!jail)
		return 0;
	if (is_named(name, "[io_uring]", sizeof("[io_uring]")))
		power = JR_POWER_IO_URING;
	else if (is_named(name, "[userfaultfd]", sizeof("[userfaultfd]")))
		power = JR_POWER_USERFAULTFD;
	else
		return 0;
	if (has_power(jail, power))
		return 0;
	return verdict(deny_power(jail, power, 0, JR_HOOK_INODE_INIT_SECURITY_ANON), EPERM);
}
