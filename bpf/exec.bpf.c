// SPDX-License-Identifier: GPL-2.0-only
/*
 * bprm_check_security: enrolls a task that executes a program in a pod's cgroup, and decides every program
 * that a jailed task executes, interpreters of scripts included (the hook runs once for each). It notes that
 * a file enrolls whoever executes it. bprm_committing_creds: and that is enrolled here, where the exec can no
 * longer fail: the program that asked for it is gone, and so are its other threads.
 *
 * The launcher's jail-enter is executed in the pod's cgroup, which enrolls it, and then executes the
 * command: that one exec is free, whatever the role's list says. So is one that enrolls by its file.
 */
#include "enroll.h"
#include "path.h"

/* The pod that the running task, which is in none, belongs to; 0: none. */
static __always_inline __u64 pod_by_exec(void)
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
	/* There was no memory for its jail when it came into the cgroup. */
	pod = 0;
	if (variables.watched && variables.missed)
		pod = watched_pod(self->cgroups->dfl_cgrp, 0);
	if (!pod && variables.containers)
		pod = container_pod(self);
	return pod;
}

/* False for most tasks: no file enrolls, and no earlier exec has left a note that would have to go. */
static __always_inline bool may_enroll(void)
{
	return variables.executables || bpf_get_current_task_btf()->bpf_storage;
}

/* Notes the pod that the file enrolls in. Returns 1 where there is no room for that. */
static __always_inline int note_enrolling(struct linux_binprm *bprm)
{
	struct task_struct *self = bpf_get_current_task_btf();
	struct dentry *dentry = bprm->file->f_path.dentry;
	__u64 pod = variables.executables ? executable_pod(dentry) : 0;
	struct enrolling *noted;

	noted = bpf_task_storage_get(&enrolling, self, NULL, pod ? BPF_LOCAL_STORAGE_GET_F_CREATE : 0);
	if (!noted)
		return !!pod;
	note_file(&noted->by_file, bprm, pod);
	return 0;
}

SEC("lsm/bprm_check_security")
int BPF_PROG(jr_bprm_check_security, struct linux_binprm *bprm)
{
	struct jail *jail = current_jail();
	struct inode *inode;
	struct dentry *dentry = bprm->file->f_path.dentry;
	__u64 pod;

	if (!jail) {
		pod = pod_by_exec();
		if (!pod)
			return verdict(may_enroll() && note_enrolling(bprm), EACCES);
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

SEC("lsm/bprm_committing_creds")
int BPF_PROG(jr_bprm_committing_creds, struct linux_binprm *bprm)
{
	struct task_struct *self = bpf_get_current_task_btf();
	struct enrolling *noted;
	struct enrolling_file *by;
	struct jail *jail;
	__u64 pod;

	if (!self->bpf_storage)
		return 0;
	noted = bpf_task_storage_get(&enrolling, self, NULL, 0);
	if (!noted)
		return 0;
	/* What a script claims comes before its interpreter, otherwise the policy's word before a claim. */
	by = noted->by_claim.pod && (!noted->by_file.pod || noted->by_claim.first > noted->by_file.first)
		 ? &noted->by_claim
		 : &noted->by_file;
	pod = by->pod;
	noted->by_file.pod = 0;
	noted->by_claim.pod = 0;
	if (!pod || bpf_task_storage_get(&tasks, self, NULL, 0))
		return 0;
	jail = join(pod);
	if (!jail) {
		bpf_send_signal(SIGKILL);
		return 0;
	}
	note_identity(&jail->program, bprm->file->f_inode);
	jail->entry = by->entry;
	return 0;
}
