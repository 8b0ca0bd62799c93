// SPDX-License-Identifier: GPL-2.0-only
/*
 * Other processes. Those of the same pod are free; those outside take a power.
 * task_kill: signals, pidfd_send_signal and kill(pid, 0) included.
 * file_fcntl (F_SETOWN, O_ASYNC on a terminal): whom a descriptor's signals go to, which are sent later and
 * by nobody in particular. ptrace_access_check: attaching, process_vm_readv, kcmp, pidfd_getfd, and what
 * /proc/PID guards by the same right (mem, environ, maps, fd, root, cwd, exe, ns, …); process_madvise and
 * move_pages ask it, too. ptrace_traceme: an outside tracer could be made to act on what the jail chose.
 * task_setnice, task_setioprio, task_setscheduler (affinity, too), task_setrlimit, task_movememory.
 * ipc_permission and the hooks of shared memory, semaphores and message queues: an object of System V belongs
 * to the pod in which it was made.
 * inode_create, inode_unlink: POSIX message queues, which have no path; file_open (file.bpf.c) decides their
 * use. key_permission: root's keyrings are those of all of root's processes, so keys are a power as a whole.
 */
#include "power.h"

/* True for a task outside of the jail's pod. The pointer must be the hook's own. */
static __always_inline bool is_outside(struct jail *jail, struct task_struct *task)
{
	struct jail *other = bpf_task_storage_get(&tasks, task, NULL, 0);

	return !other || other->pod != jail->pod;
}

/* Returns 1 where the running task is jailed, `task` is not in its pod, and its role lacks the power. */
static __always_inline int deny_outside(struct task_struct *task, __u32 power, __u32 hook)
{
	struct task_struct *self = bpf_get_current_task_btf();
	struct jail *jail;

	/* A process is jailed as a whole: it executes a program with one thread. */
	if (!self->bpf_storage || task->tgid == self->tgid)
		return 0;
	jail = current_jail();
	if (!jail || has_power(jail, power) || !is_outside(jail, task))
		return 0;
	return deny_power(jail, power, task->tgid, hook);
}

#define SEND_SIG_PRIV 1 /* the kernel's own word, not the task's */

SEC("lsm/task_kill")
int BPF_PROG(jr_task_kill, struct task_struct *task, void *info)
{
	if ((__u64)info == SEND_SIG_PRIV)
		return 0;
	return verdict(deny_outside(task, JR_POWER_SIGNAL, JR_HOOK_TASK_KILL), EPERM);
}

#define F_SETFL 4
#define F_SETOWN 8
#define F_SETOWN_EX 15
#define O_ASYNC 020000

/*
 * Returns 1 unless the owner is to be nobody or the caller. A terminal's descriptor that is to signal and has
 * no owner gets the process group in the terminal's foreground (__tty_fasync()), and which files are
 * terminals cannot be told from other devices here. F_SETOWN_EX has the owner in the caller's memory, where
 * another thread could change it.
 */
SEC("lsm/file_fcntl")
int BPF_PROG(jr_file_fcntl, struct file *file, unsigned int command, unsigned long argument)
{
	struct jail *jail = current_jail();
	__s32 owner = (__s32)argument;

	if (!jail || has_power(jail, JR_POWER_SIGNAL))
		return 0;
	if (command == F_SETFL && argument & O_ASYNC && (file->f_inode->i_mode & S_IFMT) == S_IFCHR)
		return verdict(deny_power(jail, JR_POWER_SIGNAL, 0, JR_HOOK_FILE_FCNTL), EPERM);
	if (command != F_SETOWN && command != F_SETOWN_EX)
		return 0;
	if (command == F_SETOWN && (!owner || owner == (__s32)(bpf_get_current_pid_tgid() >> 32)))
		return 0;
	return verdict(deny_power(jail, JR_POWER_SIGNAL, owner, JR_HOOK_FILE_FCNTL), EPERM);
}

SEC("lsm/ptrace_access_check")
int BPF_PROG(jr_ptrace_access_check, struct task_struct *child)
{
	return verdict(deny_outside(child, JR_POWER_TRACE, JR_HOOK_PTRACE_ACCESS_CHECK), EPERM);
}

SEC("lsm/ptrace_traceme")
int BPF_PROG(jr_ptrace_traceme, struct task_struct *parent)
{
	return verdict(deny_outside(parent, JR_POWER_TRACE, JR_HOOK_PTRACE_TRACEME), EPERM);
}

SEC("lsm/task_setnice")
int BPF_PROG(jr_task_setnice, struct task_struct *task)
{
	return verdict(deny_outside(task, JR_POWER_SYS_NICE, JR_HOOK_TASK_SETNICE), EPERM);
}

SEC("lsm/task_setioprio")
int BPF_PROG(jr_task_setioprio, struct task_struct *task)
{
	return verdict(deny_outside(task, JR_POWER_SYS_NICE, JR_HOOK_TASK_SETIOPRIO), EPERM);
}

SEC("lsm/task_setscheduler")
int BPF_PROG(jr_task_setscheduler, struct task_struct *task)
{
	return verdict(deny_outside(task, JR_POWER_SYS_NICE, JR_HOOK_TASK_SETSCHEDULER), EPERM);
}

SEC("lsm/task_setrlimit")
int BPF_PROG(jr_task_setrlimit, struct task_struct *task)
{
	return verdict(deny_outside(task, JR_POWER_SYS_RESOURCE, JR_HOOK_TASK_SETRLIMIT), EPERM);
}

SEC("lsm/task_movememory")
int BPF_PROG(jr_task_movememory, struct task_struct *task)
{
	return verdict(deny_outside(task, JR_POWER_SYS_NICE, JR_HOOK_TASK_MOVEMEMORY), EPERM);
}

static __always_inline int deny_queue(struct super_block *sb, __u32 hook)
{
	struct jail *jail = current_jail();

	if (!jail || sb->s_magic != MQUEUE_MAGIC || has_power(jail, JR_POWER_IPC))
		return 0;
	return deny_power(jail, JR_POWER_IPC, 0, hook);
}

SEC("lsm/inode_create")
int BPF_PROG(jr_inode_create, struct inode *directory)
{
	return verdict(deny_queue(directory->i_sb, JR_HOOK_INODE_CREATE), EPERM);
}

SEC("lsm/inode_unlink")
int BPF_PROG(jr_inode_unlink, struct inode *directory)
{
	return verdict(deny_queue(directory->i_sb, JR_HOOK_INODE_UNLINK), EPERM);
}

SEC("lsm/key_permission")
int BPF_PROG(jr_key_permission)
{
	return verdict(need_power(JR_POWER_KEYS, JR_HOOK_KEY_PERMISSION), EPERM);
}

/*
 * The objects of System V that jailed tasks made: struct kern_ipc_perm's address -> pod. Whatever is not here
 * was made outside. An address leaves with its object.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, JR_MAX_IPC);
	__type(key, __u64);
	__type(value, __u64);
} ipc_objects SEC(".maps");

/* Returns 1 where the new object cannot be noted: then it is not made. */
static __always_inline int note_object(struct kern_ipc_perm *object, __u32 hook)
{
	struct jail *jail = current_jail();
	__u64 key = (__u64)object;

	if (!jail)
		return 0;
	if (!bpf_map_update_elem(&ipc_objects, &key, &jail->pod, 0))
		return 0;
	begin_denial(jail, hook, JR_OPERATION_USE)->reason = JR_REASON_BROKEN;
	jail->denial.power = JR_POWER_IPC;
	deny(jail, ENOMEM);
	return 1;
}

static __always_inline void forget_object(struct kern_ipc_perm *object)
{
	__u64 key = (__u64)object;

	bpf_map_delete_elem(&ipc_objects, &key);
}

static __always_inline int deny_object(struct kern_ipc_perm *object, __u32 hook)
{
	struct jail *jail = current_jail();
	__u64 key = (__u64)object;
	__u64 *pod;

	if (!jail || has_power(jail, JR_POWER_IPC))
		return 0;
	pod = bpf_map_lookup_elem(&ipc_objects, &key);
	if (pod && *pod == jail->pod)
		return 0;
	return deny_power(jail, JR_POWER_IPC, 0, hook);
}

SEC("lsm/shm_alloc_security")
int BPF_PROG(jr_shm_alloc, struct kern_ipc_perm *object)
{
	return verdict(note_object(object, JR_HOOK_SHM_ALLOC_SECURITY), ENOMEM);
}

SEC("lsm/sem_alloc_security")
int BPF_PROG(jr_sem_alloc, struct kern_ipc_perm *object)
{
	return verdict(note_object(object, JR_HOOK_SEM_ALLOC_SECURITY), ENOMEM);
}

SEC("lsm/msg_queue_alloc_security")
int BPF_PROG(jr_msg_queue_alloc, struct kern_ipc_perm *object)
{
	return verdict(note_object(object, JR_HOOK_MSG_QUEUE_ALLOC_SECURITY), ENOMEM);
}

SEC("lsm/shm_free_security")
int BPF_PROG(jr_shm_free, struct kern_ipc_perm *object)
{
	forget_object(object);
	return 0;
}

SEC("lsm/sem_free_security")
int BPF_PROG(jr_sem_free, struct kern_ipc_perm *object)
{
	forget_object(object);
	return 0;
}

SEC("lsm/msg_queue_free_security")
int BPF_PROG(jr_msg_queue_free, struct kern_ipc_perm *object)
{
	forget_object(object);
	return 0;
}

/* Asked by shmat, semop, semctl, msgsnd and msgrcv before their own hooks, and by an IPC_STAT. */
SEC("lsm/ipc_permission")
int BPF_PROG(jr_ipc_permission, struct kern_ipc_perm *object)
{
	return verdict(deny_object(object, JR_HOOK_IPC_PERMISSION), EPERM);
}

SEC("lsm/shm_associate")
int BPF_PROG(jr_shm_associate, struct kern_ipc_perm *object)
{
	return verdict(deny_object(object, JR_HOOK_SHM_ASSOCIATE), EPERM);
}

SEC("lsm/sem_associate")
int BPF_PROG(jr_sem_associate, struct kern_ipc_perm *object)
{
	return verdict(deny_object(object, JR_HOOK_SEM_ASSOCIATE), EPERM);
}

SEC("lsm/msg_queue_associate")
int BPF_PROG(jr_msg_queue_associate, struct kern_ipc_perm *object)
{
	return verdict(deny_object(object, JR_HOOK_MSG_QUEUE_ASSOCIATE), EPERM);
}

/* IPC_RMID and IPC_SET come here without ipc_permission. The object is NULL for IPC_INFO, which tells limits.
 */
SEC("lsm/shm_shmctl")
int BPF_PROG(jr_shm_shmctl, struct kern_ipc_perm *object)
{
	return verdict(is_first_null(ctx) ? 0 : deny_object(object, JR_HOOK_SHM_SHMCTL), EPERM);
}

SEC("lsm/sem_semctl")
int BPF_PROG(jr_sem_semctl, struct kern_ipc_perm *object)
{
	return verdict(is_first_null(ctx) ? 0 : deny_object(object, JR_HOOK_SEM_SEMCTL), EPERM);
}

SEC("lsm/msg_queue_msgctl")
int BPF_PROG(jr_msg_queue_msgctl, struct kern_ipc_perm *object)
{
	return verdict(is_first_null(ctx) ? 0 : deny_object(object, JR_HOOK_MSG_QUEUE_MSGCTL), EPERM);
}
