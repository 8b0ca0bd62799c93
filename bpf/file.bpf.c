// SPDX-License-Identifier: GPL-2.0-only
/*
 * file_open: every open(2) and its kin, opening a program for execution included.
 * file_receive: descriptors that another process sends (SCM_RIGHTS) or that are taken from it
 * (pidfd_getfd).
 * path_mknod (also O_CREAT), path_mkdir, path_symlink, path_link, path_unlink, path_rmdir,
 * path_rename, path_truncate, path_chmod, path_chown: changes to names, sizes and modes.
 * path_notify: watching a directory tells its names, as reading it does.
 *
 * A file with a set-id bit is a program that others run as its owner, outside of the jail, so path_chmod,
 * path_mknod and path_link, which could make one, take `setfcap` for it as file capabilities do.
 *
 * The path_* hooks are taken rather than inode_*: they run once on overlayfs and see the dentry that
 * the caller named.
 *
 * Reading and writing, mapping, copying, allocating and locking act on a descriptor that was decided when
 * it was opened, so they have no hook here. Nor has ftruncate(2): it wants a descriptor that is open for
 * writing. Linux 6.1 calls path_truncate for it all the same.
 */
#include "overlay.h"
#include "power.h"
#include "unix.h"

/*
 * True for a file that is opened behind an open which was decided already, or by the holder of
 * a descriptor of it. Namespace files are on a mount of the kernel's own too, but /proc/PID/ns
 * reaches them, so they are not included.
 */
static __always_inline bool is_kernel_internal(struct file *file)
{
	if (file->f_mode & FMODE_NOACCOUNT)
		return true;
	return is_internal_mount(file->f_path.mnt) && file->f_inode->i_sb->s_magic != NSFS_MAGIC;
}

/*
 * A program or its ELF interpreter is opened to be executed. bprm_check_security decides programs
 * and is not asked about the interpreter, so here it is enough that the file may be read.
 */
static __always_inline int deny_exec_open(struct jail *jail, struct dentry *dentry)
{
	if (exec_is_free(jail) || jail->scope.exec == JR_SCOPE_ANY)
		return 0;
	if (find_access(jail, dentry) & (JR_ACCESS_READ | JR_ACCESS_EXEC))
		return 0;
	if (access_of(jail, (__u64)dentry) & (JR_ACCESS_READ | JR_ACCESS_EXEC))
		return 0;
	return deny_walked(jail, (__u64)dentry, jail->scope.exec, HOOK_OPERATION(FILE_OPEN, EXEC));
}

/*
 * Returns 1 where the task may not have the file open in its mode. The last two name the denial. What is
 * remembered has a path, so only for the rest it is asked whether the kernel made the mount.
 */
static __always_inline int deny_mode(struct jail *jail, struct file *file, __u32 reading, __u32 writing)
{
	struct dentry *dentry = file->f_path.dentry;
	__u32 known = known_access(jail, dentry);
	__u32 mode = file->f_mode;
	__u32 flags = file->f_flags;

	/* Mode 3 gives f_mode neither bit: a descriptor for ioctl, which may do anything. */
	if (mode & FMODE_WRITE || flags & O_TRUNC || (flags & O_ACCMODE) == O_ACCMODE) {
		/* The overlay that the task writes to opens its layer. */
		if (mode & FMODE_NOACCOUNT)
			return 0;
		if (!(known & JR_ACCESS_WRITE) && is_kernel_internal(file))
			return 0;
		note_overlay(jail, dentry, known);
		if (known & JR_ACCESS_WRITE)
			return 0;
		return deny_path(jail, (__u64)dentry, JR_ACCESS_READ | JR_ACCESS_WRITE, writing);
	}
	if (known & JR_ACCESS_READ)
		return 0;
	if (is_kernel_internal(file) || is_identical(&jail->entry, file->f_inode))
		return 0;
	return deny_path(jail, (__u64)dentry, JR_ACCESS_READ, reading);
}

/* Disks, memory and ports; message queues, which the kernel keeps on a mount of its own; files of processes.
 */
static __always_inline bool takes_power(struct file *file)
{
	struct inode *inode = file->f_inode;
	__u32 type = inode->i_mode & S_IFMT;
	unsigned long file_system = inode->i_sb->s_magic;

	return type == S_IFBLK || (type == S_IFCHR && inode->i_rdev >> 20 == MEM_MAJOR) ||
	       file_system == MQUEUE_MAGIC || (file_system == PROC_SUPER_MAGIC && file->f_mode & FMODE_WRITE);
}

/*
 * The process whose limits are written: whether it is killed where memory is short, and what of it is dumped.
 * 0 where it is the task's own or the file is another. The kernel asks about most of what else is written
 * under /proc/PID; these files are root's, as are the processes outside.
 */
static __always_inline __u32 limited_process(struct file *file)
{
	struct inode *inode = BPF_CORE_READ(file, f_inode);
	struct proc_inode *of =
	    (struct proc_inode *)((__u64)inode - bpf_core_field_offset(struct proc_inode, vfs_inode));
	__u64 self = bpf_get_current_pid_tgid();
	__u32 process = BPF_CORE_READ(of, pid, numbers[0].nr);
	char name[16] = {};

	if (process == self >> 32 || process == (__u32)self)
		return 0;
	bpf_probe_read_kernel_str(name, sizeof(name), BPF_CORE_READ(file, f_path.dentry, d_name.name));
	if (same_bytes(name, "oom_score_adj", sizeof("oom_score_adj")) ||
	    same_bytes(name, "oom_adj", sizeof("oom_adj")) ||
	    same_bytes(name, "coredump_filter", sizeof("coredump_filter")))
		return process;
	return 0;
}

/* Through a disk or memory one gets at every file and every rule, so a path does not suffice for them. */
static __noinline int deny_for_power(struct jail *jail, struct file *file)
{
	struct inode *inode = BPF_CORE_READ(file, f_inode);
	unsigned long file_system = BPF_CORE_READ(inode, i_sb, s_magic);
	__u32 device = BPF_CORE_READ(inode, i_rdev);
	__u32 power = JR_POWER_RAW_DISK;
	__u32 process = 0;

	if (file_system == MQUEUE_MAGIC) {
		power = JR_POWER_IPC;
	} else if (file_system == PROC_SUPER_MAGIC) {
		process = limited_process(file);
		if (!process)
			return 0;
		power = JR_POWER_SYS_RESOURCE;
	} else if ((BPF_CORE_READ(inode, i_mode) & S_IFMT) == S_IFCHR) {
		device &= (1 << 20) - 1;
		if (device != 1 && device != 2 && device != 4) /* /dev/mem, /dev/kmem, /dev/port */
			return 0;
		power = JR_POWER_SYS_RAWIO;
	}
	if (has_power(jail, power))
		return 0;
	return deny_power(jail, power, process, JR_HOOK_FILE_OPEN);
}

SEC("lsm/file_open")
int BPF_PROG(jr_file_open, struct file *file)
{
	struct jail *jail = current_jail();

	if (!jail)
		return 0;
	if (takes_power(file) && deny_for_power(jail, file))
		return verdict(1, EPERM);
	if (any_file(jail, file->f_path.dentry))
		return 0;
	if (file->f_flags & KERNEL_FMODE_EXEC) {
		if (is_kernel_internal(file))
			return 0;
		return verdict(deny_exec_open(jail, file->f_path.dentry), EACCES);
	}
	return verdict(
	    deny_mode(jail, file, HOOK_OPERATION(FILE_OPEN, READ), HOOK_OPERATION(FILE_OPEN, WRITE)), EACCES);
}

/*
 * A ring may have a thread that polls it and acts for whoever made it (IORING_SETUP_SQPOLL). The name is
 * the kernel's: no other file of that file system has it.
 */
static __always_inline bool is_ring(struct file *file)
{
	char name[12] = {};

	if (file->f_inode->i_sb->s_magic != ANON_INODE_FS_MAGIC)
		return false;
	bpf_probe_read_kernel_str(name, sizeof(name), BPF_CORE_READ(file, f_path.dentry, d_name.name));
	return same_bytes(name, "[io_uring]", sizeof("[io_uring]"));
}

/*
 * An O_PATH descriptor gives no right to what it stands for. For the flags of a file that is open, O_TRUNC
 * is gone: do_dentry_open() takes it away.
 */
SEC("lsm/file_receive")
int BPF_PROG(jr_file_receive, struct file *file)
{
	struct jail *jail = current_jail();

	if (!jail)
		return 0;
	if (is_ring(file)) {
		begin_denial(jail, JR_HOOK_FILE_RECEIVE, JR_OPERATION_RING);
		return verdict(deny(jail, EACCES), EACCES);
	}
	if (file->f_mode & FMODE_PATH)
		return 0;
	if (takes_power(file) && deny_for_power(jail, file))
		return verdict(1, EPERM);
	if (any_file(jail, file->f_path.dentry))
		return 0;
	return verdict(
	    deny_mode(jail, file, HOOK_OPERATION(FILE_RECEIVE, READ), HOOK_OPERATION(FILE_RECEIVE, WRITE)),
	    EACCES);
}

/* Watching a mount or a file system (fanotify) tells of files that no rule grants. */
SEC("lsm/path_notify")
int BPF_PROG(jr_path_notify, struct path *path, __u64 mask, unsigned int object_type)
{
	struct jail *jail = current_jail();
	__u64 dentry = (__u64)path->dentry;

	if (!jail || any_file(jail, path->dentry))
		return 0;
	if (object_type != FSNOTIFY_OBJ_TYPE_INODE) {
		access_of(jail, dentry);
		jail->reason = JR_REASON_TOO_WIDE;
		return verdict(deny_walked(jail, dentry, JR_SCOPE_RULES, HOOK_OPERATION(PATH_NOTIFY, READ)),
			       EACCES);
	}
	if (is_internal_mount(path->mnt))
		return 0;
	return verdict(deny_path(jail, dentry, JR_ACCESS_READ, HOOK_OPERATION(PATH_NOTIFY, READ)), EACCES);
}

/* Returns 1 where the task may not change the dentry. */
static __always_inline int deny_change(struct dentry *dentry, __u32 hook_operation)
{
	struct jail *jail = current_jail();
	__u32 known;

	if (!jail || any_file(jail, dentry))
		return 0;
	known = known_access(jail, dentry);
	note_overlay(jail, dentry, known);
	if (known & JR_ACCESS_WRITE)
		return 0;
	return deny_path(jail, (__u64)dentry, JR_ACCESS_WRITE, hook_operation);
}

static __always_inline bool is_symlink(struct dentry *dentry)
{
	return (BPF_CORE_READ(dentry, d_inode, i_mode) & S_IFMT) == S_IFLNK;
}

/*
 * True where a rule names just the object that access_of() walked to, and not one above it. The launcher
 * follows the links in a rule's path, so who makes one there says what the rule will be about when the role
 * starts the next time. Wildcards are not followed, and their last step has another key.
 */
static __always_inline bool is_named_by_rule(struct jail *jail)
{
	struct jr_rule *now = &jail->now, *above = &jail->above;

	return jail->depth && jail->key.kind == JR_KEY_NAME &&
	       (now->rule != above->rule || now->exec_rule != above->exec_rule ||
		now->connect_rule != above->connect_rule || now->bind_rule != above->bind_rule);
}

/* Denies a link where a rule has its name. */
static __noinline int deny_link_at_rule(struct jail *jail, __u64 dentry_address, __u32 hook_operation)
{
	begin_denial(jail, hook_operation >> 16, hook_operation & 0xffff)->reason = JR_REASON_LINK;
	name_target(jail, dentry_address);
	return deny(jail, EACCES);
}

/* Returns 1 where a file of this mode would be made that gives others its owner's rights. */
static __always_inline int deny_set_id(__u32 mode, __u32 hook)
{
	if (!(mode & S_ISUID) && (mode & (S_ISGID | S_IXGRP)) != (S_ISGID | S_IXGRP))
		return 0;
	return need_power(JR_POWER_SETFCAP, hook);
}

struct move {
	struct dentry *from;
	struct dentry *to;
	__u32 leaving;  /* the denial at the old name: hook and operation */
	__u32 arriving; /* the same at the new name */
	bool exchange;  /* and back again */
};

/*
 * The name must have an object, and the pointer be the hook's own. 6.12 believes that the d_inode of such a
 * dentry is never NULL and drops the check, which 7.2 wants.
 */
static __always_inline bool is_directory(struct dentry *dentry)
{
	struct inode *inode = dentry->d_inode;

	return inode && (inode->i_mode & S_IFMT) == S_IFDIR;
}

/*
 * An object gets the rights of its name, so a new name must not be worth more than the old one, neither to
 * the object nor, if it is a directory, to anything that it may hold. As between two file systems and as
 * with Landlock the answer is EXDEV, at which programs copy. Returns the errno or 0.
 */
static __noinline int deny_move(struct jail *jail, struct move *move)
{
	bool back_to_rule;
	struct jr_rule old;

	note_overlay(jail, move->from, 0);
	if (deny_path(jail, (__u64)move->from, JR_ACCESS_WRITE, move->leaving))
		return EACCES;
	old = jail->now;
	back_to_rule = move->exchange && is_named_by_rule(jail) && is_symlink(move->to);
	if (deny_path(jail, (__u64)move->to, JR_ACCESS_WRITE, move->arriving))
		return EACCES;
	if (back_to_rule || (is_named_by_rule(jail) && is_symlink(move->from)))
		return deny_link_at_rule(jail, (__u64)move->to, move->arriving) ? EACCES : 0;
	/* What is being audited goes on although it was denied. */
	if (!(old.access & jail->now.access & JR_ACCESS_WRITE))
		return 0;
	if (jail->now.access & ~old.access || (move->exchange && old.access & ~jail->now.access))
		goto more;
	if ((old.flags & jail->now.flags & JR_RULE_LEAF) || old.state == jail->now.state)
		return 0;
	if (is_directory(move->from) || (move->exchange && is_directory(move->to)))
		goto more;
	return 0;
more:
	begin_denial(jail, move->arriving >> 16, move->arriving & 0xffff)->reason = JR_REASON_MORE_RIGHTS;
	name_target(jail, (__u64)move->to);
	return deny(jail, EXDEV) ? EXDEV : 0;
}

/*
 * True where both names are known to be worth the same to a file. Directories are compared with what they
 * hold, and of links it is asked whether a rule would follow them.
 */
static __always_inline bool moves_freely(struct jail *jail, struct dentry *from, struct dentry *to,
					 bool exchange)
{
	__u32 old = known_access(jail, from);
	__u32 new = known_access(jail, to);

	if (!(old & new &JR_ACCESS_WRITE) || old != new || is_directory(from) || is_symlink(from) ||
	    (exchange && (is_directory(to) || is_symlink(to))))
		return false;
	note_overlay(jail, from, old);
	return true;
}

static __always_inline int move_verdict(int error)
{
	if (error == EXDEV)
		return verdict(1, EXDEV);
	return verdict(error, EACCES);
}

SEC("lsm/path_mknod")
int BPF_PROG(jr_path_mknod, struct path *dir, struct dentry *dentry, __u16 mode)
{
	struct jail *jail = current_jail();

	if (jail && (mode & S_IFMT) == S_IFSOCK && decides_sockets(jail)) {
		note_overlay(jail, dentry, 0);
		return verdict(deny_socket_path(jail, (__u64)dentry, HOOK_OPERATION(PATH_MKNOD, BIND)),
			       EACCES);
	}
	if (deny_set_id(mode, JR_HOOK_PATH_MKNOD))
		return verdict(1, EPERM);
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
	__u32 hook_operation = HOOK_OPERATION(PATH_SYMLINK, CREATE);
	struct jail *jail = current_jail();

	if (!jail || any_file(jail, dentry))
		return 0;
	note_overlay(jail, dentry, 0);
	if (deny_path(jail, (__u64)dentry, JR_ACCESS_WRITE, hook_operation))
		return verdict(1, EACCES);
	if (!is_named_by_rule(jail))
		return 0;
	return verdict(deny_link_at_rule(jail, (__u64)dentry, hook_operation), EACCES);
}

SEC("lsm/path_link")
int BPF_PROG(jr_path_link, struct dentry *old_dentry, struct path *new_dir, struct dentry *new_dentry)
{
	struct jail *jail = current_jail();
	struct move move;

	/* O_TMPFILE gives a file its mode before it has a name. */
	if (!jail)
		return 0;
	if (!BPF_CORE_READ(old_dentry, d_inode, i_nlink) &&
	    deny_set_id(BPF_CORE_READ(old_dentry, d_inode, i_mode), JR_HOOK_PATH_LINK))
		return verdict(1, EPERM);
	if (any_file(jail, old_dentry) || moves_freely(jail, old_dentry, new_dentry, false))
		return 0;
	move = (struct move){
	    .from = old_dentry,
	    .to = new_dentry,
	    .leaving = HOOK_OPERATION(PATH_LINK, WRITE),
	    .arriving = HOOK_OPERATION(PATH_LINK, CREATE),
	};
	return move_verdict(deny_move(jail, &move));
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
	     struct dentry *new_dentry, unsigned int flags)
{
	struct jail *jail = current_jail();
	bool exchange = flags & RENAME_EXCHANGE;
	struct move move;

	if (!jail || any_file(jail, old_dentry) || moves_freely(jail, old_dentry, new_dentry, exchange))
		return 0;
	move = (struct move){
	    .from = old_dentry,
	    .to = new_dentry,
	    .leaving = HOOK_OPERATION(PATH_RENAME, WRITE),
	    .arriving = HOOK_OPERATION(PATH_RENAME, CREATE),
	    .exchange = exchange,
	};
	return move_verdict(deny_move(jail, &move));
}

/* ftruncate(2) and open(2), which come here before Linux 6.2, were decided when the file was opened. */
SEC("lsm/path_truncate")
int BPF_PROG(jr_path_truncate, struct path *path)
{
	if (!bpf_core_field_exists(union security_list_options, file_truncate) && file_of_path(ctx))
		return 0;
	return verdict(deny_change(path->dentry, HOOK_OPERATION(PATH_TRUNCATE, WRITE)), EACCES);
}

SEC("lsm/path_chmod")
int BPF_PROG(jr_path_chmod, struct path *path, __u16 mode)
{
	/* On a directory they say who owns what is made there. */
	if (mode & (S_ISUID | S_ISGID) &&
	    (BPF_CORE_READ(path, dentry, d_inode, i_mode) & S_IFMT) != S_IFDIR &&
	    deny_set_id(mode, JR_HOOK_PATH_CHMOD))
		return verdict(1, EPERM);
	return verdict(deny_change(path->dentry, HOOK_OPERATION(PATH_CHMOD, WRITE)), EACCES);
}

SEC("lsm/path_chown")
int BPF_PROG(jr_path_chown, struct path *path)
{
	return verdict(deny_change(path->dentry, HOOK_OPERATION(PATH_CHOWN, WRITE)), EACCES);
}
