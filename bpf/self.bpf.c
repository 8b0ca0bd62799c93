// SPDX-License-Identifier: GPL-2.0-only
/*
 * bpf: a jailed task has no use of bpf(2), which could change the maps that jail it; and the probe
 * by which jail-enter proves that it is jailed (enum jr_probe_answer).
 */
#include "path.h"

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
	begin_denial(jail, JR_HOOK_BPF, JR_OPERATION_BPF);
	return verdict(deny(jail, EPERM), EPERM);
}
