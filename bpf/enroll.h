/* SPDX-License-Identifier: GPL-2.0-only */
/* Enrollment: which pod a task belongs to, by its cgroup or by the file that it executes, and its jail. */
#ifndef JAILRUN_ENROLL_H
#define JAILRUN_ENROLL_H

#include "pod.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, JR_MAX_WATCHED);
	__type(key, __u64);
	__type(value, __u64);
} watched_cgroups SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, JR_MAX_EXECUTABLES);
	__type(key, struct jr_executable);
	__type(value, __u64);
} executables SEC(".maps");

/* A file that a task executes and that enrolls whoever does. */
struct enrolling_file {
	__u64 pod; /* 0: none does */
	struct identity entry;
	__u64 first; /* 1: it is what was asked for, 0: its interpreter */
};

/* What a task executes, until the exec can no longer fail. */
struct enrolling {
	struct enrolling_file by_file;  /* by the map `executables` */
	struct enrolling_file by_claim; /* by its extended attributes */
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct enrolling);
} enrolling SEC(".maps");

/* An interpreter enrolls as well, but a script before it. What an earlier exec left counts for nothing. */
static __always_inline void note_file(struct enrolling_file *noted, struct linux_binprm *bprm, __u64 pod)
{
	bool first = bprm->interp == bprm->filename;

	if (!first && noted->pod)
		return;
	noted->pod = pod;
	noted->first = first;
	note_identity(&noted->entry, bprm->file->f_inode);
}

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, JR_MAX_CONTAINERS);
	__type(key, __u64);
	__type(value, struct jr_container);
} containers SEC(".maps");

/* What a task is held by from now on. */
static __always_inline void begin_jail(struct jail *jail, __u64 pod, __u64 policy, struct held *held,
				       struct jr_role *role)
{
	jail->pod = pod;
	jail->role = held->role;
	jail->scope = *role;
	jail->policy = policy;
	jail->flags = held->flags;
}

enum { CGROUP_LEVELS = 1024 };

struct ancestry {
	struct cgroup *cgroup;
	__u64 pod;
	__u64 request_cgroup;
};

/* bpf_loop callback: looks at one cgroup and goes to its parent. */
static long look_at_cgroup(__u32 i, void *context)
{
	struct ancestry *ancestry = context;
	struct cgroup *cgroup = ancestry->cgroup;
	__u64 id = BPF_CORE_READ(cgroup, kn, id);
	__u64 *pod = bpf_map_lookup_elem(&watched_cgroups, &id);

	if (pod) {
		ancestry->pod = *pod;
		return 1;
	}
	if (ancestry->request_cgroup && id == ancestry->request_cgroup) {
		ancestry->pod = variables.request_pod;
		return 1;
	}
	ancestry->cgroup = (struct cgroup *)BPF_CORE_READ(cgroup, self.parent);
	return !ancestry->cgroup;
}

/* The pod of the nearest watched cgroup, from this one up; 0: none. To a sweep the request's is watched, too.
 */
static __noinline __u64 watched_pod(struct cgroup *cgroup, __u64 request_cgroup)
{
	struct ancestry ancestry = {.cgroup = cgroup, .request_cgroup = request_cgroup};

	bpf_loop(CGROUP_LEVELS, look_at_cgroup, &ancestry, 0);
	return ancestry.pod;
}

struct container_search {
	struct cgroup *cgroup;
	__u64 found; /* its cgroup's id */
};

/* bpf_loop callback: looks at one cgroup and goes to its parent. */
static long look_for_container(__u32 i, void *context)
{
	struct container_search *search = context;
	struct cgroup *cgroup = search->cgroup;
	__u64 id = BPF_CORE_READ(cgroup, kn, id);

	if (bpf_map_lookup_elem(&containers, &id)) {
		search->found = id;
		return 1;
	}
	search->cgroup = (struct cgroup *)BPF_CORE_READ(cgroup, self.parent);
	return !search->cgroup;
}

/* Whether the task's root directory is the one that the container's runtime began with, and not the
 * container's. */
static __always_inline bool has_runtime_root(struct task_struct *task, const struct jr_container *container)
{
	struct dentry *dentry = BPF_CORE_READ(task, fs, root.dentry);
	struct inode *inode = BPF_CORE_READ(dentry, d_inode);
	__u64 number = BPF_CORE_READ(inode, i_ino);
	__u32 device = BPF_CORE_READ(inode, i_sb, s_dev);
	__u32 generation = BPF_CORE_READ(inode, i_generation);

	return number == container->runtime_inode && device == container->runtime_device &&
	       generation == container->runtime_generation &&
	       (number != container->root_inode || device != container->root_device ||
		generation != container->root_generation);
}

/*
 * The number of a mount namespace, which no other one ever has. Its inode in nsfs has another one, which goes
 * to a new namespace as soon as it is free (proc_alloc_inum() takes the lowest).
 */
static __always_inline __u64 mounts_number(const struct mnt_namespace *mounts)
{
	if (bpf_core_field_exists(struct mnt_namespace___numbered, seq))
		return BPF_CORE_READ((const struct mnt_namespace___numbered *)mounts, seq);
	return BPF_CORE_READ((const struct ns_common___numbered *)&mounts->ns, ns_id);
}

/* The pod of the container in whose cgroup, or below it, the running task executes a program; 0: none. */
static __noinline __u64 container_pod(struct task_struct *self)
{
	struct container_search search = {.cgroup = BPF_CORE_READ(self, cgroups, dfl_cgrp)};
	struct jr_container *container;
	__u64 mounts;

	bpf_loop(CGROUP_LEVELS, look_for_container, &search, 0);
	container = bpf_map_lookup_elem(&containers, &search.found);
	if (!container)
		return 0;
	if (!has_runtime_root(self, container)) {
		container->begun = 1;
		return container->pod;
	}
	mounts = mounts_number(BPF_CORE_READ(self, nsproxy, mnt_ns));
	if (!container->begun || mounts == container->runtime_mounts || mounts == container->host_mounts)
		return 0;
	return container->pod;
}

/*
 * The pod of whoever executes the file; 0: none. A file that took the place of another gets its own entry, so
 * that it is known by other names, too.
 */
static __noinline __u64 executable_pod(struct dentry *dentry)
{
	struct jr_executable key = {};
	struct jr_executable place = {};
	struct inode *inode = BPF_CORE_READ(dentry, d_inode);
	__u64 *pod;

	key.inode = BPF_CORE_READ(inode, i_ino);
	key.device = BPF_CORE_READ(inode, i_sb, s_dev);
	key.generation = BPF_CORE_READ(inode, i_generation);
	pod = bpf_map_lookup_elem(&executables, &key);
	if (pod)
		return *pod;
	inode = BPF_CORE_READ(dentry, d_parent, d_inode);
	place.inode = BPF_CORE_READ(inode, i_ino);
	place.device = key.device;
	place.generation = BPF_CORE_READ(inode, i_generation);
	bpf_probe_read_kernel_str(place.name, sizeof(place.name), BPF_CORE_READ(dentry, d_name.name));
	pod = bpf_map_lookup_elem(&executables, &place);
	if (!pod)
		return 0;
	bpf_map_update_elem(&executables, &key, pod, 0);
	return *pod;
}

/* Enrolls the running task. Returns its jail, or NULL where it cannot have one. */
static __always_inline struct jail *join(__u64 pod)
{
	struct task_struct *task = bpf_get_current_task_btf();
	__u64 policy = variables.policy;
	struct held held;
	struct jr_role *role;
	struct jail *jail;

	if (!read_held(pod, policy, &held))
		return NULL;
	role = bpf_map_lookup_elem(&roles, &held.role);
	if (!role)
		return NULL;
	jail = bpf_task_storage_get(&tasks, task, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!jail)
		return NULL;
	begin_jail(jail, pod, policy, &held, role);
	return jail;
}

#endif
