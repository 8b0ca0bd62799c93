// SPDX-License-Identifier: GPL-2.0-only
/*
 * bprm_check_security: enrolls a task that executes a program in a pod's cgroup, and decides every
 * program that a jailed task executes, interpreters of scripts included (the hook runs once for each).
 *
 * The launcher's jail-enter is executed in the pod's cgroup, which enrolls it, and then executes the
 * command: that one exec is free, whatever the role's list says.
 */
#include "path.h"

/* Returns 1 where a task that must be jailed cannot be. */
static __always_inline int enroll(__u64 cgroup)
{
	__u64 *number = bpf_map_lookup_elem(&cgroup_enrollment, &cgroup);
	struct task_struct *task = bpf_get_current_task_btf();
	__u64 policy = variables.policy;
	__u64 pod;
	struct held held;
	struct jr_role *role;
	struct jail *jail;

	if (!number)
		return 0;
	pod = *number;
	if (!read_held(pod, policy, &held))
		return 1;
	role = bpf_map_lookup_elem(&roles, &held.role);
	if (!role)
		return 1;
	jail = bpf_task_storage_get(&tasks, task, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!jail)
		return 1;
	jail->pod = pod;
	jail->role = held.role;
	jail->scope = *role;
	jail->policy = policy;
	jail->flags = held.flags;
	jail->last_free_exec = task->self_exec_id + !!(jail->flags & JR_TASK_ENTRY);
	return 0;
}

SEC("lsm/bprm_check_security")
int BPF_PROG(jr_bprm_check_security, struct linux_binprm *bprm)
{
	struct jail *jail = current_jail();
	struct inode *inode;
	struct dentry *dentry;

	if (!jail)
		return verdict(enroll(bpf_get_current_cgroup_id()), EACCES);
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
	dentry = bprm->file->f_path.dentry;
	if (find_access(jail, dentry) & JR_ACCESS_EXEC || access_of(jail, (__u64)dentry) & JR_ACCESS_EXEC)
		return 0;
	return verdict(
	    deny_walked(jail, (__u64)dentry, jail->scope.exec, HOOK_OPERATION(BPRM_CHECK_SECURITY, EXEC)),
	    EACCES);
}
