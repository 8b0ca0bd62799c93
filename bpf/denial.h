/* SPDX-License-Identifier: GPL-2.0-only */
/* Denials: how a verdict of no is counted, recorded for the pod and for the host, and answered. */
#ifndef JAILRUN_DENIAL_H
#define JAILRUN_DENIAL_H

#include "pod.h"

/* The host's: whoever follows all pods reads it. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, JR_RING_BYTES);
} denials SEC(".maps");

/*
 * The pods' own, so that one reader does not rob another. Not a ring for each pod: a new entry in
 * a map of maps makes its writer wait for an RCU grace period, 8 to 20 ms of every start.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, JR_MAX_KEPT);
	__type(key, struct jr_denial_key);
	__type(value, struct jr_denial);
} pod_denials SEC(".maps");

/*
 * Begins a denial in the task's scratch and clears what only some denials carry. The caller adds
 * its target and calls deny().
 */
static __always_inline struct jr_denial *begin_denial(struct jail *jail, __u32 hook, __u32 operation)
{
	struct jr_denial *denial = &jail->denial;

	denial->hook = hook;
	denial->operation = operation;
	denial->rule = 0;
	denial->reason = JR_REASON_RULE;
	denial->device = 0;
	denial->family = 0;
	denial->protocol = 0;
	denial->port = 0;
	denial->power = 0;
	denial->subject = 0;
	denial->path_start = JR_MAX_TARGET - 1;
	denial->path[JR_MAX_TARGET - 1] = 0;
	__builtin_memset(denial->address, 0, sizeof(denial->address));
	return denial;
}

/*
 * Reports the denial begun in `jail`. Returns 1 where the operation must fail and 0 where the pod
 * is only being audited.
 */
static __noinline int deny(struct jail *jail, int error)
{
	struct jr_denial *denial = &jail->denial;
	struct task_struct *task = bpf_get_current_task_btf();
	__u64 pid_tgid = bpf_get_current_pid_tgid();
	struct jr_denial_key key = {.pod = jail->pod};
	struct jr_counters *counters;

	denial->time = bpf_ktime_get_boot_ns();
	denial->pod = jail->pod;
	denial->role = jail->role;
	denial->start_time = task->group_leader->start_boottime;
	denial->pid = pid_tgid >> 32;
	denial->tid = (__u32)pid_tgid;
	denial->ppid = task->real_parent->tgid;
	denial->uid = (__u32)bpf_get_current_uid_gid();
	denial->error = error;
	denial->audit = !!(jail->flags & JR_TASK_AUDIT);
	bpf_get_current_comm(denial->comm, sizeof(denial->comm));

	counters = bpf_map_lookup_elem(&pod_counters, &jail->pod);
	if (counters) {
		key.sequence = __sync_fetch_and_add(&counters->denials, 1) + 1;
		denial->sequence = key.sequence;
		if (counters->keep &&
		    (key.sequence > counters->keep || bpf_map_update_elem(&pod_denials, &key, denial, 0)))
			__sync_fetch_and_add(&counters->lost, 1);
	} else {
		denial->sequence = 0;
	}
	bpf_ringbuf_output(&denials, denial, sizeof(*denial), 0);
	return !denial->audit;
}

#endif
