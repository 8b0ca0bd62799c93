// SPDX-License-Identifier: GPL-2.0-only
/*
 * bpf: without the power a jailed task has no use of bpf(2); with it, it makes maps and programs of its own,
 * but gets hold of nobody else's: the maps that jail it are among them. And the probe by which jail-enter
 * proves that it is jailed (enum jr_probe_answer).
 */
#include "power.h"

/* Commands that lead from a number or a path to what somebody made. BPF_LINK_DETACH and its kin take a
 * descriptor. */
static __always_inline bool reaches_others(int command)
{
	switch (command) {
	case 7:  /* BPF_OBJ_GET */
	case 13: /* BPF_PROG_GET_FD_BY_ID */
	case 14: /* BPF_MAP_GET_FD_BY_ID */
	case 30: /* BPF_LINK_GET_FD_BY_ID */
		return true;
	default:
		return false;
	}
}

SEC("lsm/bpf")
int BPF_PROG(jr_bpf, int command, union bpf_attr *attr)
{
	struct jail *jail = current_jail();
	struct jr_probe probe = {};

	if (!jail)
		return 0;
	if (command == JR_PROBE_COMMAND) {
		bpf_probe_read_kernel(&probe, sizeof(probe), attr);
		if (probe.pod == jail->pod)
			return -JR_PROBE_THIS_POD;
		return -JR_PROBE_OTHER_POD;
	}
	if (!has_power(jail, JR_POWER_BPF))
		return verdict(deny_power(jail, JR_POWER_BPF, 0, JR_HOOK_BPF), EPERM);
	if (!reaches_others(command))
		return 0;
	begin_denial(jail, JR_HOOK_BPF, JR_OPERATION_USE)->reason = JR_REASON_OWN;
	jail->denial.power = JR_POWER_BPF;
	return verdict(deny(jail, EPERM), EPERM);
}
