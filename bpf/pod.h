/* SPDX-License-Identifier: GPL-2.0-only */
/* Which pod a task is in: the maps that the launcher fills, and the task's own storage. */
#ifndef JAILRUN_POD_H
#define JAILRUN_POD_H

#include "kernel.h"

enum {
	JR_LEVELS = 12,     /* components of a path that recall.h can remember */
	JR_SHORT_NAME = 31, /* bytes of a name that fits into its dentry; another is allocated apart */
};

/* A component as its dentry has it; behind the name's end there are stray bytes. */
struct level {
	__u64 name[4];
	__u64 hash_len; /* the length in the upper half; the hash is of the name and of `parent` */
	__u64 parent;
};

/* The file system that a walk was on, and by what it is told from others that had its address or number. */
struct file_system {
	__u64 sb;
	__u64 root;  /* the dentry at its root */
	__u32 ended; /* how many file systems were gone; as long as no more are, sb is what it was */
	__u32 device;
	__u32 epoch;
	__u32 overlay; /* JR_OVERLAY or 0 */
};

/* One end of a connection, as rules name it. */
struct endpoint {
	__u64 address[2]; /* network order; IPv4 in the first four bytes, 0 behind */
	__u16 port;       /* host order */
	__u16 space;      /* enum jr_space */
	__u32 pad;
};

/* A file, and not another one that had its number before. */
struct identity {
	__u64 inode;
	__u32 device;
	__u32 generation;
};

/*
 * A jailed task's storage. The head is copied to every child; the rest is scratch for the task's
 * own hooks. Scratch is not per CPU, because programs can be preempted, and not on the stack, which
 * has 512 bytes. All of it fits into 4096 bytes together with the kernel's own header.
 */
struct jail {
	__u64 pod; /* comes first: that is all of it that the launcher reads */
	__u64 role;
	struct jr_role scope;
	__u64 policy; /* which state of the policies role, scope and flags are from: see renew() */
	__u32 flags;  /* enum jr_task_flag */
	/*
	 * An exec is free while task->self_exec_id is at most this: the one that enrolled the task and,
	 * under JR_TASK_ENTRY, the next that succeeds. The kernel counts up at the point of no return.
	 */
	__u64 last_free_exec;
	/* The file that the command was started from: it may be read, so that scripts run. */
	struct identity entry;
	/* The program that runs then: the same, or a script's interpreter. It may be mapped executable. */
	struct identity program;
	__u64 overlay; /* see overlay.h */
	__u64 kept;    /* the slot of its last denial in pod_denials; 0: none */

	struct jr_denial denial;
	/*
	 * Scratch of a path walk, see path.h. It follows denial.path, because the verifier bounds
	 * a copy into that by offset and length apart and wants to see room for both at their largest.
	 */
	__u64 chain[JR_MAX_DEPTH + 1];
	struct jr_rule_key key;
	struct jr_rule now;
	__u32 depth;
	__u32 reason;
	__u64 cursor;
	__u32 glob_row;
	__u32 name_length;
	struct file_system on;
	/* The names of the walk, as far as they fit: the verdict is on these, whatever is renamed meanwhile.
	 */
	struct level levels[JR_LEVELS + 1];
	__u32 long_names; /* a bit for each of them that did not fit */
	__u32 sequences[JR_MAX_DEPTH + 1];
	struct jr_rule above; /* what the walk was at in the object's directory */
	/* Scratch of a decision on an address, see endpoint.h. */
	struct endpoint end;
	struct jr_lengths lengths;
	__u32 prefix; /* the length of the next prefix to try, plus 1 */
	__u32 low;    /* entries of JR_KEY_PORTS still to be tried */
	__u32 high;
	__u32 granted;
};

/* jail.policy of a task that has to look at its pod's role anew: no state of the policies has this number. */
#define NO_POLICY (~0ULL)

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct jail);
} tasks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct jr_meta);
} meta SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, JR_MAX_PODS);
	__type(key, __u64);
	__type(value, __u64);
} cgroup_enrollment SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, JR_MAX_ROLES);
	__type(key, __u64);
	__type(value, struct jr_role);
} roles SEC(".maps");

/*
 * struct jr_rule_key -> struct jr_rule. Sizes and not types: 6.1 compares what BTF said of a timer in
 * the value and so takes no map without BTF, as the launcher makes them, for one with BTF.
 */
struct role_rules_inner {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(struct jr_rule_key));
	__uint(value_size, sizeof(struct jr_rule));
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, JR_MAX_ROLES);
	__type(key, __u64);
	__array(values, struct role_rules_inner);
} role_rules SEC(".maps");

/* Row number -> struct jr_glob_row. The flag lets every role have as many rows as it needs. */
struct role_globs_inner {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_INNER_MAP);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct jr_glob_row));
};

/* Only of roles that have wildcards. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, JR_MAX_ROLES);
	__type(key, __u64);
	__array(values, struct role_globs_inner);
} role_globs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, JR_MAX_PODS);
	__type(key, __u64);
	__type(value, struct jr_pod);
} pods SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, JR_MAX_PODS);
	__type(key, __u64);
	__type(value, struct jr_counters);
} pod_counters SEC(".maps");

/* The launcher writes it; no program does. */
volatile struct jr_variables variables;

/* See abi.h. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, JR_DEVICES);
	__type(key, __u32);
	__type(value, __u32);
} device_epochs SEC(".maps");

static __always_inline __u32 *epoch_entry(__u32 device)
{
	__u32 index = (device + (device >> 20) * JR_MAJOR_STEP) & (JR_DEVICES - 1);

	return bpf_map_lookup_elem(&device_epochs, &index);
}

/* Which of the file systems that had the device number one after the other it has now. */
static __always_inline __u32 device_epoch(__u32 device)
{
	__u32 *entry = epoch_entry(device);

	return entry ? *(volatile __u32 *)entry : 0;
}

struct held {
	__u64 role;
	__u32 flags;
};

/*
 * What holds a pod in this state of the policies. An update leaves the old entry to whoever looked it up, and
 * gives its memory at once to the next one that is made, which may be another pod's: then the number, read
 * last, is another. The launcher removes a role only once every program that ran when the last pod let go of
 * it has ended.
 */
static __always_inline bool read_held(__u64 pod_number, __u64 policy, struct held *held)
{
	volatile struct jr_pod *pod = bpf_map_lookup_elem(&pods, &pod_number);
	bool next;

	if (!pod)
		return false;
	next = policy >= pod->since;
	held->role = next ? pod->next_role : pod->role;
	held->flags = next ? pod->next_flags : pod->flags;
	return pod->number == pod_number;
}

/*
 * Takes over what holds the pod now. Only the task's own hooks do it, at their beginning, so a verdict is
 * all by the old policy or all by the new one. What cannot be looked up leaves the task as it is held.
 */
static __noinline int renew_policy(struct jail *jail)
{
	__u64 policy = variables.policy;
	struct held held;
	struct jr_role *role;

	if (!read_held(jail->pod, policy, &held))
		return 0;
	role = bpf_map_lookup_elem(&roles, &held.role);
	if (!role)
		return 0;
	jail->role = held.role;
	jail->scope = *role;
	jail->flags = held.flags;
	jail->policy = policy;
	return 0;
}

/*
 * The jail of the running task, or NULL. bpf_storage is NULL for a task that no BPF program ever
 * gave storage to, which is every unjailed task on most hosts: one load and out.
 */
static __always_inline struct jail *current_jail(void)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct jail *jail;

	if (!task->bpf_storage)
		return NULL;
	jail = bpf_task_storage_get(&tasks, task, NULL, 0);
	if (jail && jail->policy != variables.policy)
		renew_policy(jail);
	return jail;
}

static __always_inline void note_identity(struct identity *identity, struct inode *inode)
{
	identity->inode = inode->i_ino;
	identity->device = inode->i_sb->s_dev;
	identity->generation = inode->i_generation;
}

static __always_inline bool is_identical(struct identity *identity, struct inode *inode)
{
	return identity->inode && inode->i_ino == identity->inode && inode->i_sb->s_dev == identity->device &&
	       inode->i_generation == identity->generation;
}

/* True for the file that the command was started from, and for the program that runs it. */
static __always_inline bool is_command(struct jail *jail, struct inode *inode)
{
	return is_identical(&jail->entry, inode) || is_identical(&jail->program, inode);
}

/* True until the command has started. */
static __always_inline bool exec_is_free(struct jail *jail)
{
	return bpf_get_current_task_btf()->self_exec_id <= jail->last_free_exec;
}

/*
 * Turns "denied" into the hook's answer. The empty asm keeps the branch: clang would make
 * `denied ? -13 : 0` an arithmetic mask, whose range the verifier of 6.12 cannot bound.
 */
static __always_inline int verdict(int denied, int error)
{
	if (denied) {
		asm volatile("");
		return -error;
	}
	return 0;
}

#endif
