// SPDX-License-Identifier: GPL-2.0-only
/*
 * file_open: every open(2) and its kin, opening a program for execution included.
 * path_mknod (also O_CREAT), path_mkdir, path_symlink, path_link, path_unlink, path_rmdir,
 * path_rename, path_truncate, path_chmod, path_chown: changes to names, sizes and modes.
 *
 * The path_* hooks are taken rather than inode_*: they run once on overlayfs and see the dentry that
 * the caller named.
 */
#include "path.h"

/*
 * True for a file on a mount that the kernel made for itself: pipes, sockets, memfds, anonymous
 * inodes, pidfds, and the layers below an overlay, which are opened behind an open that was decided
 * already. No path leads to such a mount, so whoever opens one holds a descriptor of it. Namespace
 * files live on one too, but /proc/PID/ns reaches them, so they are not included.
 * mnt_ns of such a mount is MNT_NS_INTERNAL, ERR_PTR(-EINVAL) (fs/mount.h).
 */
static __always_inline bool is_kernel_internal(struct file *file)
{
	struct mount *mount;

	if (file->f_mode & FMODE_NOACCOUNT)
		return true;
	mount = (void *)file->f_path.mnt - bpf_core_field_offset(struct mount, mnt);
	if ((long)BPF_CORE_READ(mount, mnt_ns) != -EINVAL)
		return false;
	return file->f_inode->i_sb->s_magic != NSFS_MAGIC;
}

static __always_inline bool is_entry(struct jail *jail, struct inode *inode)
{
	return jail->entry_inode && inode->i_ino == jail->entry_inode &&
	       inode->i_sb->s_dev == jail->entry_device && inode->i_generation == jail->entry_generation;
}

/*
 * A program or its ELF interpreter is opened to be executed. bprm_check_security decides programs
 * and is not asked about the interpreter, so here it is enough that the file may be read.
 */
static __always_inline int deny_exec_open(struct jail *jail, __u64 dentry)
{
	if (exec_is_free(jail) || jail->scope.exec == JR_SCOPE_ANY)
		return 0;
	if (access_of(jail, dentry) & (JR_ACCESS_READ | JR_ACCESS_EXEC))
		return 0;
	return deny_walked(jail, dentry, jail->scope.exec, HOOK_OPERATION(FILE_OPEN, EXEC));
}

SEC("lsm/file_open")
int BPF_PROG(jr_file_open, struct file *file)
{
	struct jail *jail = current_jail();
	__u64 dentry = (__u64)file->f_path.dentry;
	__u32 mode = file->f_mode;
	__u32 wanted = JR_ACCESS_READ;

	if (!jail || jail->scope.files == JR_SCOPE_ANY || is_kernel_internal(file))
		return 0;
	if (file->f_flags & KERNEL_FMODE_EXEC)
		return verdict(deny_exec_open(jail, dentry), EACCES);
	/* Mode 3 gives f_mode neither bit: a descriptor for ioctl, which may do anything. */
	if ((file->f_flags & O_ACCMODE) == O_ACCMODE)
		mode |= FMODE_READ | FMODE_WRITE;
	if (mode & FMODE_WRITE || file->f_flags & O_TRUNC)
		wanted |= JR_ACCESS_WRITE;
	if ((recall(jail, file->f_path.dentry) & wanted) == wanted)
		return 0;
	if (wanted & JR_ACCESS_WRITE)
		return verdict(deny_path(jail, dentry, wanted, HOOK_OPERATION(FILE_OPEN, WRITE)), EACCES);
	if (is_entry(jail, file->f_inode))
		return 0;
	return verdict(deny_path(jail, dentry, JR_ACCESS_READ, HOOK_OPERATION(FILE_OPEN, READ)), EACCES);
}

/* Returns 1 where the task may not change the dentry. */
static __always_inline int deny_change(struct dentry *dentry, __u32 hook_operation)
{
	struct jail *jail = current_jail();

	if (!jail || jail->scope.files == JR_SCOPE_ANY || recall(jail, dentry) & JR_ACCESS_WRITE)
		return 0;
	return deny_path(jail, (__u64)dentry, JR_ACCESS_WRITE, hook_operation);
}

SEC("lsm/path_mknod")
int BPF_PROG(jr_path_mknod, struct path *dir, struct dentry *dentry)
{
	return verdict(deny_change(dentry, HOOK_OPERATION(PATH_MKNOD, CREATE)), EACCES);
}

SEC("lsm/path_mkdir")
int BPF_PROG(jr_path_mkdir, struct path *dir, struct dentry *dentry)
{
	return verdict(deny_change(dentry, HOOK_OPERATION(PATH_MKDIR, CREATE)), EACCES);
}

SEC("lsm/path_symlink")
int BPF_PROG(jr_path_symlink, struct path *dir, struct dentry *dentry)
{
	return verdict(deny_change(dentry, HOOK_OPERATION(PATH_SYMLINK, CREATE)), EACCES);
}

/* A new name gives the object the rights of its new place, so the old place must grant as much. */
SEC("lsm/path_link")
int BPF_PROG(jr_path_link, struct dentry *old_dentry, struct path *new_dir, struct dentry *new_dentry)
{
	if (deny_change(old_dentry, HOOK_OPERATION(PATH_LINK, WRITE)))
		return verdict(1, EACCES);
	return verdict(deny_change(new_dentry, HOOK_OPERATION(PATH_LINK, CREATE)), EACCES);
}

SEC("lsm/path_unlink")
int BPF_PROG(jr_path_unlink, struct path *dir, struct dentry *dentry)
{
	return verdict(deny_change(dentry, HOOK_OPERATION(PATH_UNLINK, WRITE)), EACCES);
}

SEC("lsm/path_rmdir")
int BPF_PROG(jr_path_rmdir, struct path *dir, struct dentry *dentry)
{
	return verdict(deny_change(dentry, HOOK_OPERATION(PATH_RMDIR, WRITE)), EACCES);
}

SEC("lsm/path_rename")
int BPF_PROG(jr_path_rename, struct path *old_dir, struct dentry *old_dentry, struct path *new_dir,
	     struct dentry *new_dentry)
{
	if (deny_change(old_dentry, HOOK_OPERATION(PATH_RENAME, WRITE)))
		return verdict(1, EACCES);
	return verdict(deny_change(new_dentry, HOOK_OPERATION(PATH_RENAME, CREATE)), EACCES);
}

SEC("lsm/path_truncate")
int BPF_PROG(jr_path_truncate, struct path *path)
{
	return verdict(deny_change(path->dentry, HOOK_OPERATION(PATH_TRUNCATE, WRITE)), EACCES);
}

SEC("lsm/path_chmod")
int BPF_PROG(jr_path_chmod, struct path *path)
{
	return verdict(deny_change(path->dentry, HOOK_OPERATION(PATH_CHMOD, WRITE)), EACCES);
}

SEC("lsm/path_chown")
int BPF_PROG(jr_path_chown, struct path *path)
{
	return verdict(deny_change(path->dentry, HOOK_OPERATION(PATH_CHOWN, WRITE)), EACCES);
}
