// SPDX-License-Identifier: GPL-2.0-only
/*
 * mmap_file, file_mprotect: a file whose bytes are to be executed must be a program that the role may run, a
 * library, or the command itself. So `ld.so ./denied` and a mapping that is made executable later are no way
 * round the list. What no path leads to (memfds, deleted files) is neither. Anonymous memory is for JITs,
 * unless the role says `jit: none`.
 *
 * A role with `exec: any` has nothing to hold here but that.
 */
#include "enroll.h"
#include "path.h"

/* Until the command runs, it is the last mile's own file that is mapped. */
static __always_inline struct jail *mapping_jail(unsigned long protection)
{
	struct jail *jail;

	if (!(protection & PROT_EXEC))
		return NULL;
	jail = current_jail();
	if (!jail || exec_is_free(jail))
		return NULL;
	return jail;
}

/*
 * Denies bytes that no file has: anonymous memory, a memfd's, and those that the task wrote over a file's.
 * Returns 1 under `jit: none`.
 */
static __always_inline int deny_written(struct jail *jail, __u32 hook)
{
	if (!(jail->scope.flags & JR_ROLE_NO_JIT))
		return 0;
	begin_denial(jail, hook, JR_OPERATION_MAP)->reason = JR_REASON_JIT;
	return deny(jail, EACCES);
}

static __always_inline bool is_written(struct file *file, unsigned long protection)
{
	return protection & PROT_WRITE || is_internal_mount(file->f_path.mnt);
}

/* The address of the dentry that the user knows. What is mapped on an overlay is a layer's file since 6.6. */
static __always_inline __u64 mapped_dentry(struct file *file)
{
	struct backing_file *backing = (struct backing_file *)file;

	if (bpf_core_type_exists(struct backing_file) && file->f_mode & FMODE_NOACCOUNT &&
	    file->f_mode & FMODE_BACKING)
		return (__u64)BPF_CORE_READ(backing, user_path.dentry);
	return (__u64)file->f_path.dentry;
}

/* Returns 1 where the file may not become executable memory. */
static __always_inline int deny_mapped(struct jail *jail, struct file *file, __u32 hook_operation)
{
	struct inode *inode = file->f_inode;
	struct dentry *dentry = file->f_path.dentry;
	__u64 address;

	if (jail->scope.exec == JR_SCOPE_ANY || is_command(jail, inode))
		return 0;
	if (find_access(jail, dentry) & (JR_ACCESS_EXEC | JR_ACCESS_MAP) && inode->i_nlink)
		return 0;
	address = mapped_dentry(file);
	if (access_of(jail, address) & (JR_ACCESS_EXEC | JR_ACCESS_MAP) && inode->i_nlink)
		return 0;
	if (!inode->i_nlink)
		jail->reason = JR_REASON_NAMELESS;
	if (is_internal_mount(file->f_path.mnt) && address == (__u64)dentry)
		jail->reason = JR_REASON_NAMELESS;
	return deny_walked(jail, address, JR_SCOPE_RULES, hook_operation);
}

static __always_inline int deny_mapping(void *context, struct jail *jail, struct file *file,
					unsigned long protection)
{
	if (is_first_null(context) || !file)
		return deny_written(jail, JR_HOOK_MMAP_FILE);
	if (jail->scope.flags & JR_ROLE_NO_JIT && is_written(file, protection) &&
	    deny_written(jail, JR_HOOK_MMAP_FILE))
		return 1;
	return deny_mapped(jail, file, HOOK_OPERATION(MMAP_FILE, MAP));
}

/*
 * A program is executed by mapping it, too: `ld.so PROGRAM`. So that enrolls. Returns 1 where the task cannot
 * be jailed; of a process with several threads one alone would be.
 */
static __always_inline int enroll_mapping(void *context, struct file *file, unsigned long protection)
{
	struct task_struct *self = bpf_get_current_task_btf();
	struct dentry *dentry;
	struct jail *jail;
	__u64 pod;

	if (!variables.executables || !(protection & PROT_EXEC) || is_first_null(context) || !file)
		return 0;
	if (self->bpf_storage && bpf_task_storage_get(&tasks, self, NULL, 0))
		return 0;
	dentry = (struct dentry *)mapped_dentry(file);
	pod = executable_pod(dentry);
	if (!pod)
		return 0;
	if (self->signal->nr_threads > 1)
		return 1;
	jail = join(pod);
	if (!jail)
		return 1;
	note_identity(&jail->program, file->f_inode);
	jail->entry = jail->program;
	return 0;
}

/* The hook is told the protection that will be; security_mmap_file(), which has an argument less, is not. */
SEC("lsm/mmap_file")
int BPF_PROG(jr_mmap_file_4, struct file *file, unsigned long asked, unsigned long protection)
{
	struct jail *jail = mapping_jail(protection);

	return verdict(
	    jail ? deny_mapping(ctx, jail, file, protection) : enroll_mapping(ctx, file, protection), EACCES);
}

/* As READ_IMPLIES_EXEC has it, but for files on what is mounted noexec: those are not told apart here. */
SEC("lsm/mmap_file")
int BPF_PROG(jr_mmap_file_3, struct file *file, unsigned long protection)
{
	struct jail *jail;

	if (protection & PROT_READ && bpf_get_current_task_btf()->personality & READ_IMPLIES_EXEC)
		protection |= PROT_EXEC;
	jail = mapping_jail(protection);
	return verdict(
	    jail ? deny_mapping(ctx, jail, file, protection) : enroll_mapping(ctx, file, protection), EACCES);
}

SEC("lsm/file_mprotect")
int BPF_PROG(jr_file_mprotect, struct vm_area_struct *area, unsigned long asked, unsigned long protection)
{
	struct jail *jail = mapping_jail(protection);
	struct file *file;

	if (!jail)
		return 0;
	file = area->vm_file;
	if (!file)
		return verdict(deny_written(jail, JR_HOOK_FILE_MPROTECT), EACCES);
	if (jail->scope.flags & JR_ROLE_NO_JIT && (area->anon_vma || protection & PROT_WRITE) &&
	    deny_written(jail, JR_HOOK_FILE_MPROTECT))
		return verdict(1, EACCES);
	return verdict(deny_mapped(jail, file, HOOK_OPERATION(FILE_MPROTECT, MAP)), EACCES);
}
