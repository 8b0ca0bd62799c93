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

/* Two records, and how far their paths have been compared. */
struct comparison {
	__u64 *words;
	__u64 *others;
	__u32 path_start;
	__u32 differ;
};

/* bpf_loop callback: compares eight bytes of the paths, from their ends on. */
static long compare_paths(__u32 i, void *context)
{
	struct comparison *comparison = context;
	__u32 at = JR_MAX_TARGET / sizeof(__u64) - 1 - i;
	__u64 difference;

	if (i >= JR_MAX_TARGET / sizeof(__u64) || (at + 1) * sizeof(__u64) <= comparison->path_start)
		return 1;
	difference = comparison->words[at] ^ comparison->others[at];
	/* Bytes in front of the path's first count for nothing. */
	if (at * sizeof(__u64) < comparison->path_start)
		difference >>= 8 * (comparison->path_start % sizeof(__u64));
	if (!difference)
		return 0;
	comparison->differ = 1;
	return 1;
}

/* True where what is denied now is what was denied `before`, to the same task. */
static __always_inline bool is_repeated(struct jr_denial *denial, struct jr_denial *before)
{
	struct comparison comparison = {
	    .words = (__u64 *)denial->path,
	    .others = (__u64 *)before->path,
	    .path_start = denial->path_start,
	};
	__u64 *from = (__u64 *)&denial->error;
	__u64 *other = (__u64 *)&before->error;
	__u64 differ = denial->role ^ before->role;

	/* All between the errno and the path: what was denied, why, and the command's name. */
#pragma unroll
	for (__u32 i = 0;
	     i < (sizeof(*denial) - JR_MAX_TARGET - __builtin_offsetof(struct jr_denial, error)) / 8; i++)
		differ |= from[i] ^ other[i];
	if (differ)
		return false;
	bpf_loop(JR_MAX_TARGET / sizeof(__u64), compare_paths, &comparison, 0);
	return !comparison.differ;
}

/* A program that tries the same again and again must not push what else is denied out of the record. */
static __noinline int keep_denial(struct jail *jail, struct jr_counters *counters)
{
	struct jr_denial_key key = {.pod = jail->pod, .slot = jail->kept};
	struct jr_denial *before = jail->kept ? bpf_map_lookup_elem(&pod_denials, &key) : NULL;

	if (before && is_repeated(&jail->denial, before)) {
		__sync_fetch_and_add(&before->repeats, 1);
		return 0;
	}
	key.slot = __sync_fetch_and_add(&counters->kept, 1) + 1;
	jail->denial.repeats = 0;
	if (key.slot > counters->keep || bpf_map_update_elem(&pod_denials, &key, &jail->denial, 0)) {
		__sync_fetch_and_add(&counters->lost, 1);
		key.slot = 0;
	}
	jail->kept = key.slot;
	return 0;
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
	denial->sequence = counters ? __sync_fetch_and_add(&counters->denials, 1) + 1 : 0;
	if (counters && counters->keep)
		keep_denial(jail, counters);
	bpf_ringbuf_output(&denials, denial, sizeof(*denial), 0);
	/* All its threads, before any of them is back in user space. */
	if (jail->scope.flags & JR_ROLE_KILLS && !denial->audit)
		bpf_send_signal(SIGKILL);
	return !denial->audit;
}

#endif
