// SPDX-License-Identifier: GPL-2.0-only
/*
 * bprm_check_security: enrolls a task that executes a program in a pod's cgroup, or one whose file enrolls,
 * and decides every program that a jailed task executes, interpreters of scripts included (the hook runs once
 * for each).
 *
 * The launcher's jail-enter is executed in the pod's cgroup, which enrolls it, and then executes the
 * command: that one exec is free, whatever the role's list says. So is one that enrolls by its file.
 */
#include "enroll.h"
#include "path.h"

/* The pod that the running task, which is in none, belongs to; 0: none. */
static __always_inline __u64 pod_by_exec(struct dentry *dentry)
{
	struct task_struct *self = bpf_get_current_task_btf();
	struct task_struct *leader = self->group_leader;
	__u64 cgroup = bpf_get_current_cgroup_id();
	__u64 *number = bpf_map_lookup_elem(&cgroup_enrollment, &cgroup);
	struct jail *jail;
	__u64 pod;

	if (number)
		return *number;
	/* Its process is being enrolled. */
	jail = leader->bpf_storage ? bpf_task_storage_get(&tasks, leader, NULL, 0) : NULL;
	if (jail)
		return jail->pod;
	pod = variables.executables ? executable_pod(dentry) : 0;
	/* There was no memory for its jail when it came into the cgroup. */
	if (!pod && variables.watched && variables.missed)
		pod = watched_pod(self->cgroups->dfl_cgrp, 0);
	return pod;
}

SEC("lsm/bprm_check_security")
int BPF_PROG(jr_bprm_check_security, struct linux_binprm *bprm)
{
	struct jail *jail = current_jail();
	struct inode *inode;
	struct dentry *dentry = bprm->file->f_path.dentry;
	__u64 pod;

	if (!jail) {
		pod = pod_by_exec(dentry);
		if (!pod)
			return 0;
		jail = join(pod);
		if (!jail)
			return verdict(1, EACCES);
		jail->last_free_exec =
		    bpf_get_current_task_btf()->self_exec_id + !!(jail->flags & JR_TASK_ENTRY);
	}
	if (exec_is_free(jail)) {
		/* Once the hook is asked about a script's interpreter, the two differ. */
		inode = bprm->file->f_inode;
		note_identity(&jail->program, inode);
		if (bprm->interp == bprm->filename)
			note_identity(&jail->entry, inode);
		return 0;
	}
	if (jail->scope.exec == JR_SCOPE_ANY)
		return 0;
	if (find_access(jail, dentry) & JR_ACCESS_EXEC || access_of(jail, (__u64)dentry) & JR_ACCESS_EXEC)
		return 0;
	return verdict(
	    deny_walked(jail, (__u64)dentry, jail->scope.exec, HOOK_OPERATION(BPRM_CHECK_SECURITY, EXEC)),
	    EACCES);
}
