// SPDX-License-Identifier: GPL-2.0-only
/*
 * How tasks that run already get into a jail; enroll.h has how they do by executing a program.
 *
 * css_set_move_task: the kernel calls it for each thread that comes into a cgroup, before it goes on: a child
 * before its first step (cgroup_post_fork()), and what is moved while css_set_lock is held. So what gets into
 * a watched cgroup is jailed at once, and no clone() that began before its process was enrolled ends outside:
 * the child is visible to sweeps by then.
 *
 * cgroup_attach_task: from 6.4 on task storage comes out of a cache of a few for each CPU, which an interrupt
 * fills again. css_set_move_task has them off for all threads of a process, so for the most of many there is
 * none then; they are enrolled when all have moved, before the mover goes on.
 *
 * cgroup_mkdir, cgroup_rmdir: a cgroup that is made anew in the place of one that was watched is watched from
 * its first task on, as that of a service which is restarted.
 *
 * jr_sweep_tasks enrolls what is there already. A task's jail is published whole, so the task, which runs
 * meanwhile, is decided by all of it or by none.
 */
#include "enroll.h"

/*
 * What a jail begins as, since the stack has no room for one: [0] is for css_set_move_task, which nothing
 * interrupts, [1] for sweeps, which the launcher makes one at a time, [2] for cgroup_attach_task, which the
 * kernel makes one at a time.
 */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 3);
	__type(key, __u32);
	__type(value, struct jail);
} new_jails SEC(".maps");

/* Returns 1 where the task, which is not the running one, cannot be enrolled. */
static __noinline int join_other(struct task_struct *task, __u64 pod, __u32 index)
{
	struct jail *jail = bpf_map_lookup_elem(&new_jails, &index);
	__u64 policy = variables.policy;
	struct held held;
	struct jr_role *role;
	struct inode *inode;

	if (!jail || !task || !read_held(pod, policy, &held))
		return 1;
	role = bpf_map_lookup_elem(&roles, &held.role);
	if (!role)
		return 1;
	begin_jail(jail, pod, policy, &held, role);
	inode = BPF_CORE_READ(task, mm, exe_file, f_inode);
	jail->program.inode = BPF_CORE_READ(inode, i_ino);
	jail->program.device = BPF_CORE_READ(inode, i_sb, s_dev);
	jail->program.generation = BPF_CORE_READ(inode, i_generation);
	jail->entry = jail->program;
	return !bpf_task_storage_get(&tasks, task, jail, BPF_LOCAL_STORAGE_GET_F_CREATE);
}

struct bpf_iter_task {
	__u64 opaque[3];
} __attribute__((aligned(8)));

extern struct task_struct *bpf_task_from_pid(int pid) __ksym __weak;
extern void bpf_task_release(struct task_struct *task) __ksym __weak;
extern int bpf_iter_task_new(struct bpf_iter_task *iterator, struct task_struct *task,
			     unsigned int flags) __ksym __weak;
extern struct task_struct *bpf_iter_task_next(struct bpf_iter_task *iterator) __ksym __weak;
extern void bpf_iter_task_destroy(struct bpf_iter_task *iterator) __ksym __weak;

#define BPF_TASK_ITER_PROC_THREADS 2

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, JR_MAX_WATCHED);
	__type(key, struct jr_cgroup_name);
	__type(value, __u64);
} watched_names SEC(".maps");

SEC("tp_btf/cgroup_mkdir")
int BPF_PROG(jr_cgroup_mkdir, struct cgroup *cgroup)
{
	struct jr_cgroup_name key = {};
	struct cgroup *parent;
	__u64 id, *pod;

	if (!variables.watched)
		return 0;
	id = cgroup->kn->id;
	parent = (struct cgroup *)cgroup->self.parent;
	key.parent = BPF_CORE_READ(parent, kn, id);
	bpf_probe_read_kernel_str(key.name, sizeof(key.name), BPF_CORE_READ(cgroup, kn, name));
	pod = bpf_map_lookup_elem(&watched_names, &key);
	if (pod && bpf_map_update_elem(&watched_cgroups, &id, pod, 0))
		__sync_fetch_and_add(&variables.missed, 1);
	return 0;
}

/* Nothing gets a cgroup's id again. */
SEC("tp_btf/cgroup_rmdir")
int BPF_PROG(jr_cgroup_rmdir, struct cgroup *cgroup)
{
	__u64 id;

	if (!variables.watched)
		return 0;
	id = cgroup->kn->id;
	bpf_map_delete_elem(&watched_cgroups, &id);
	return 0;
}

/*
 * A thread that is made while its process goes to another pod: task_alloc may have given it what its maker
 * had before, or half of it.
 */
static __always_inline void follow_leader(struct task_struct *task, struct jail *jail)
{
	struct task_struct *leader = task->group_leader;
	struct jail *first = bpf_task_storage_get(&tasks, leader, NULL, 0);

	if (!first || (jail->pod == first->pod && jail->role == first->role && first->policy != NO_POLICY))
		return;
	jail->pod = first->pod;
	jail->policy = NO_POLICY;
}

SEC("fentry/css_set_move_task")
int BPF_PROG(jr_css_set_move_task, struct task_struct *task, struct css_set *from, struct css_set *to)
{
	struct task_struct *self = bpf_get_current_task_btf();
	struct task_struct *leader = task->group_leader;
	struct jail *mover, *jail;
	__u64 pod = 0;

	if (!to || (!variables.watched && !self->bpf_storage && !leader->bpf_storage))
		return 0;
	if (task->flags & PF_KTHREAD)
		return 0;
	jail = bpf_task_storage_get(&tasks, task, NULL, 0);
	if (jail) {
		follow_leader(task, jail);
		return 0;
	}
	mover = bpf_task_storage_get(&tasks, self, NULL, 0);
	jail = bpf_task_storage_get(&tasks, leader, NULL, 0);
	if (jail)
		pod = jail->pod;
	else if (mover && !from)
		pod = mover->pod;
	/* Who is jailed does not jail others. */
	else if (variables.watched && !mover)
		pod = watched_pod(to->dfl_cgrp, 0);
	/* What has moved is tried again by cgroup_attach_task, where there is that. */
	if (pod && join_other(task, pod, 0) && !(from && bpf_core_type_exists(struct bpf_iter_task)))
		__sync_fetch_and_add(&variables.missed, 1);
	return 0;
}

/* Only where the kernel has these functions (attach.ts); before, storage is allocated when it is asked for.
 */
SEC("fexit/cgroup_attach_task")
int BPF_PROG(jr_cgroup_attach_task, struct cgroup *cgroup, struct task_struct *task)
{
	struct task_struct *self = bpf_get_current_task_btf();
	struct task_struct *leader, *thread;
	struct bpf_iter_task threads;
	__u64 pod;

	if (!variables.watched || task->flags & PF_KTHREAD || bpf_task_storage_get(&tasks, self, NULL, 0))
		return 0;
	pod = watched_pod(cgroup, 0);
	if (!pod)
		return 0;
	leader = bpf_task_from_pid(task->pid);
	if (!leader)
		return 0;
	bpf_iter_task_new(&threads, leader, BPF_TASK_ITER_PROC_THREADS);
	while ((thread = bpf_iter_task_next(&threads))) {
		if (thread->tgid != leader->tgid || bpf_task_storage_get(&tasks, thread, NULL, 0))
			continue;
		if (join_other(thread, pod, 2))
			__sync_fetch_and_add(&variables.missed, 1);
	}
	bpf_iter_task_destroy(&threads);
	bpf_task_release(leader);
	return 0;
}

/* The pod that the task belongs to and is not in; 0: none. */
static __always_inline __u64 pod_for(struct task_struct *task)
{
	struct task_struct *leader = task->group_leader;
	struct jail *jail = bpf_task_storage_get(&tasks, leader, NULL, 0);
	__u64 memory = (__u64)task->mm;

	if (jail)
		return jail->pod;
	if (variables.request_pod) {
		if (variables.sweep & JR_SWEEP_PROCESS && leader->start_boottime <= variables.request_time) {
			variables.memory = memory;
			return variables.request_pod;
		}
		if (memory && memory == variables.memory)
			return variables.request_pod;
		jail = bpf_task_storage_get(&tasks, task->real_parent, NULL, 0);
		if (variables.sweep & JR_SWEEP_CHILDREN && jail && jail->pod == variables.request_pod)
			return jail->pod;
	}
	if (!variables.watched && !variables.request_cgroup)
		return 0;
	return watched_pod(task->cgroups->dfl_cgrp, variables.request_cgroup);
}

/* The same of whoever traces the task. */
static __always_inline __u64 pod_of_tracer(struct task_struct *task)
{
	struct task_struct *tracer = task->parent;
	__u64 memory = (__u64)BPF_CORE_READ(tracer, mm);

	if (variables.request_pod && memory && memory == variables.memory)
		return variables.request_pod;
	if (!variables.watched && !variables.request_cgroup)
		return 0;
	return watched_pod(BPF_CORE_READ(tracer, cgroups, dfl_cgrp), variables.request_cgroup);
}

/*
 * Takes a jailed task from one pod to another one. Returns whether it was in the first one. A hook of its may
 * be about to take over the old pod's role meanwhile, so this is done in two sweeps, see JR_SWEEP_RENEW.
 */
static __always_inline bool stack_on(struct task_struct *task, struct jail *jail)
{
	__u64 memory = (__u64)task->mm;

	if (variables.sweep & JR_SWEEP_PROCESS)
		variables.memory = memory;
	else if (!memory || memory != variables.memory)
		return false;
	if (variables.sweep & JR_SWEEP_RENEW && jail->pod == variables.request_pod)
		jail->policy = NO_POLICY;
	if (!(variables.sweep & JR_SWEEP_STACK) || jail->pod != variables.request_from)
		return false;
	jail->pod = variables.request_pod;
	return true;
}

SEC("iter/task")
int jr_sweep_tasks(struct bpf_iter__task *context)
{
	struct seq_file *output = context->meta->seq;
	struct task_struct *task = context->task;
	struct jr_swept swept = {.what = JR_SWEPT_ENROLLED};
	struct jail *jail;

	if (!task || task->flags & PF_KTHREAD)
		return 0;
	swept.pid = task->tgid;
	swept.tid = task->pid;
	jail = bpf_task_storage_get(&tasks, task, NULL, 0);
	if (variables.sweep & (JR_SWEEP_STACK | JR_SWEEP_RENEW)) {
		if (jail && stack_on(task, jail))
			swept.pod = variables.request_pod;
	} else if (jail) {
		swept.pod = variables.sweep & JR_SWEEP_PROCESS ? jail->pod : 0;
		swept.what = JR_SWEPT_JAILED;
	} else {
		swept.pod = pod_for(task);
		if (!swept.pod && task->ptrace) {
			swept.pod = pod_of_tracer(task);
			swept.what = JR_SWEPT_TRACED;
			swept.tracer = BPF_CORE_READ(task, parent, tgid);
		} else if (swept.pod && variables.sweep & JR_SWEEP_ENROLL && join_other(task, swept.pod, 1)) {
			swept.what = JR_SWEPT_FAILED;
		}
	}
	if (swept.pod)
		bpf_seq_write(output, &swept, sizeof(swept));
	return 0;
}

SEC("iter/task")
int jr_list_tasks(struct bpf_iter__task *context)
{
	struct seq_file *output = context->meta->seq;
	struct task_struct *task = context->task;
	struct jr_swept swept = {.what = JR_SWEPT_JAILED};
	struct jail *jail;

	if (!task)
		return 0;
	jail = bpf_task_storage_get(&tasks, task, NULL, 0);
	if (!jail)
		return 0;
	swept.pod = jail->pod;
	swept.pid = task->tgid;
	swept.tid = task->pid;
	bpf_seq_write(output, &swept, sizeof(swept));
	return 0;
}

/* The kernel's own numbers: what stat(2) says of some file systems is made up. */
SEC("iter/task_file")
int jr_describe_files(struct bpf_iter__task_file *context)
{
	struct seq_file *output = context->meta->seq;
	struct file *file = context->file;
	struct jr_described described = {};
	struct dentry *dentry;
	struct inode *inode;

	if (!file)
		return 0;
	dentry = file->f_path.dentry;
	inode = file->f_inode;
	described.fd = context->fd;
	described.device = inode->i_sb->s_dev;
	described.inode = inode->i_ino;
	described.generation = inode->i_generation;
	described.parent = BPF_CORE_READ(dentry, d_parent, d_inode, i_ino);
	described.parent_generation = BPF_CORE_READ(dentry, d_parent, d_inode, i_generation);
	/* The inode of a namespace has its ns_common (fs/nsfs.c), with which a mnt_namespace begins. */
	if (inode->i_sb->s_magic == NSFS_MAGIC)
		described.mounts = mounts_number(inode->i_private);
	bpf_probe_read_kernel_str(described.name, sizeof(described.name), dentry->d_name.name);
	bpf_seq_write(output, &described, sizeof(described));
	return 0;
}
