// SPDX-License-Identifier: GPL-2.0-only
/*
 * bprm_check_security, a second time: what an executable claims of itself by extended attributes enrolls
 * whoever executes it, where the policy says whose files may claim roles. A claim that the policy does not
 * permit, or that cannot be read, refuses the exec.
 *
 * Attributes are read by sleepable LSM programs only, from 6.8 on, so this one is not on every kernel
 * (attach.ts). The kernel calls the two programs of this hook in no order that it promises, so each leaves a
 * note of its own.
 *
 * bpf_get_file_xattr() reads with the rights of who executes, who may have none to read a program (mode
 * 0711). It may claim something, so it is refused.
 *
 * On FUSE a file's owner is whoever its server says, and the server may let us wait: nothing there claims
 * anything.
 */
#include "denial.h"
#include "enroll.h"

struct bpf_dynptr {
	__u64 opaque[2];
} __attribute__((aligned(8)));

extern int bpf_get_file_xattr(struct file *file, const char *name__str,
			      struct bpf_dynptr *value) __ksym __weak;
extern void bpf_rcu_read_lock(void) __ksym __weak;
extern void bpf_rcu_read_unlock(void) __ksym __weak;

const char role_attribute[] = "user.jailrun.role";
const char jailer_attribute[] = "user.bpfjailer.role_id";

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, JR_MAX_CLAIMS);
	__type(key, struct jr_claim);
	__type(value, __u64);
} claims SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, JR_MAX_OWNERS);
	__type(key, __u32);
	__type(value, __u32);
} claim_owners SEC(".maps");

/*
 * What is being read, by the task that reads it. The kernel writes attributes into map values only, and those
 * of a CPU could be another task's before we are back.
 */
struct reading {
	struct jr_claim by_name;
	struct jr_claim by_number;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, JR_MAX_READINGS);
	__type(key, __u64);
	__type(value, struct reading);
} readings SEC(".maps");

/* What a file claims: a pod, nothing (0) or what refuses its execution. */
struct claim {
	__u64 pod;
	__u64 reason; /* enum jr_reason; 0: it is not refused */
};

static __always_inline bool is_absent(long length)
{
	return length == -ENODATA || length == -EOPNOTSUPP;
}

static __always_inline void refuse(struct claim *claim, __u32 reason)
{
	claim->pod = 0;
	claim->reason = reason;
}

/*
 * Joins what one attribute says to what is known. `length` is what reading it answered: -ERANGE for what is
 * longer than any claim.
 */
static __always_inline void take_claim(struct claim *claim, long length, bool fits, struct jr_claim *key)
{
	__u64 *pod;

	if (is_absent(length) || claim->reason)
		return;
	if (length < 0 && length != -ERANGE)
		return refuse(claim, JR_REASON_UNREADABLE);
	pod = fits ? bpf_map_lookup_elem(&claims, key) : NULL;
	if (!pod || (claim->pod && claim->pod != *pod))
		return refuse(claim, JR_REASON_CLAIM);
	claim->pod = *pod;
}

/* A function of its own: the verifier lets nothing else use the place on the stack of what is a dynptr. */
static __noinline int read_claim(struct file *file, struct claim *claim, struct reading *reading)
{
	struct bpf_dynptr name, number;
	long length;

	bpf_dynptr_from_mem(reading->by_name.role, sizeof(reading->by_name.role), 0, &name);
	length = bpf_get_file_xattr(file, role_attribute, &name);
	take_claim(claim, length, true, &reading->by_name);
	bpf_dynptr_from_mem(&reading->by_number.id, sizeof(reading->by_number.id), 0, &number);
	length = bpf_get_file_xattr(file, jailer_attribute, &number);
	take_claim(claim, length, length == sizeof(reading->by_number.id), &reading->by_number);
	return 0;
}

static __always_inline struct claim claim_of(struct file *file)
{
	struct inode *inode = file->f_inode;
	__u64 self = bpf_get_current_pid_tgid();
	__u32 owner = inode->i_uid.val;
	struct reading none = {};
	struct claim claim = {};
	struct reading *reading;

	if (inode->i_sb->s_magic == FUSE_SUPER_MAGIC || !bpf_map_lookup_elem(&claim_owners, &owner))
		return claim;
	bpf_map_update_elem(&readings, &self, &none, 0);
	reading = bpf_map_lookup_elem(&readings, &self);
	if (!reading) {
		claim.reason = JR_REASON_BROKEN;
		return claim;
	}
	read_claim(file, &claim, reading);
	bpf_map_delete_elem(&readings, &self);
	return claim;
}

/* No pod's record has it: the task is in none. The target is the path as the task sees it. */
static __always_inline void report_refusal(struct file *file, __u32 reason)
{
	struct task_struct *task = bpf_get_current_task_btf();
	__u64 pid_tgid = bpf_get_current_pid_tgid();
	struct jr_denial *denial;

	__sync_fetch_and_add(&variables.refused, 1);
	denial = bpf_ringbuf_reserve(&denials, sizeof(*denial), 0);
	if (!denial)
		return;
	__builtin_memset(denial, 0, sizeof(*denial));
	denial->time = bpf_ktime_get_boot_ns();
	denial->start_time = BPF_CORE_READ(task, group_leader, start_boottime);
	denial->pid = pid_tgid >> 32;
	denial->tid = (__u32)pid_tgid;
	denial->ppid = BPF_CORE_READ(task, real_parent, tgid);
	denial->uid = (__u32)bpf_get_current_uid_gid();
	denial->error = EACCES;
	denial->hook = JR_HOOK_BPRM_CHECK_SECURITY;
	denial->operation = JR_OPERATION_EXEC;
	denial->reason = reason;
	bpf_get_current_comm(denial->comm, sizeof(denial->comm));
	bpf_d_path(&file->f_path, denial->path, sizeof(denial->path));
	bpf_ringbuf_submit(denial, 0);
}

/* True where the running task is jailed by this exec, whatever the file claims. */
static __always_inline bool is_jailed_anyway(void)
{
	__u64 pod;

	bpf_rcu_read_lock();
	pod = pod_by_exec();
	bpf_rcu_read_unlock();
	return pod;
}

SEC("lsm.s/bprm_check_security")
int BPF_PROG(jr_bprm_check_claim, struct linux_binprm *bprm)
{
	struct task_struct *self = bpf_get_current_task_btf();
	struct enrolling *noted;
	struct claim claim = {};

	/* A note that an earlier exec left would have to go. */
	if (!variables.xattrs && !self->bpf_storage)
		return 0;
	if (bpf_task_storage_get(&tasks, self, NULL, 0))
		return 0;
	if (variables.xattrs)
		claim = claim_of(bprm->file);
	if ((claim.pod || claim.reason) && is_jailed_anyway())
		return 0;
	noted = bpf_task_storage_get(&enrolling, self, NULL, claim.pod ? BPF_LOCAL_STORAGE_GET_F_CREATE : 0);
	if (claim.pod && !noted)
		claim.reason = JR_REASON_BROKEN;
	if (claim.reason) {
		report_refusal(bprm->file, claim.reason);
		return verdict(1, EACCES);
	}
	if (noted)
		note_file(&noted->by_claim, bprm, claim.pod);
	return 0;
}
