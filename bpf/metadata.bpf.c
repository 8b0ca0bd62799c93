// SPDX-License-Identifier: GPL-2.0-only
/*
 * What is said about a file. Changing it takes `write`; learning it is free unless a rule of files.deny
 * covers the file.
 * inode_setattr: times; sizes, modes and owners have hooks that know the path.
 * inode_setxattr, inode_removexattr, inode_set_acl, inode_remove_acl: attributes.
 * file_ioctl, file_ioctl_compat, inode_file_setattr: flags, and what else a file system changes by ioctl
 * on a descriptor that is open for reading only.
 * inode_getattr, inode_getxattr, inode_listxattr, inode_get_acl, inode_file_getattr, inode_readlink,
 * inode_follow_link, path_chroot: learning of it. Looking a name up is free even in a denied directory:
 * inode_permission, which alone knows, is asked for each component of every path.
 *
 * Linux before 6.2 sets ACLs by setxattr; before 6.17 file_setattr(2) and its hooks are not there.
 */
#include "overlay.h"
#include "power.h"

/* Returns 1 where the task may not change what is said about the dentry. */
static __always_inline int deny_metadata(struct jail *jail, struct dentry *dentry, __u32 hook_operation)
{
	__u32 known = known_access(jail, dentry);

	note_overlay(jail, dentry, known);
	if (known & JR_ACCESS_WRITE)
		return 0;
	return deny_path(jail, (__u64)dentry, JR_ACCESS_WRITE, hook_operation);
}

static __always_inline int deny_times(struct dentry *dentry, struct iattr *attr)
{
	struct jail *jail = current_jail();

	if (!jail || any_file(jail, dentry))
		return 0;
	/*
	 * ATTR_FORCE is what the kernel does itself, such as to take the set-user-id bit from a file that
	 * is written.
	 */
	if (attr->ia_valid & (ATTR_MODE | ATTR_UID | ATTR_GID | ATTR_SIZE | ATTR_FORCE))
		return 0;
	if (is_layer_call(jail))
		return 0;
	return deny_metadata(jail, dentry, HOOK_OPERATION(INODE_SETATTR, WRITE));
}

/* Which of the two the kernel has is told by the number of arguments, see src/launcher/attach.ts. */
SEC("lsm/inode_setattr")
int BPF_PROG(jr_inode_setattr_3, void *idmap, struct dentry *dentry, struct iattr *attr)
{
	return verdict(deny_times(dentry, attr), EACCES);
}

SEC("lsm/inode_setattr")
int BPF_PROG(jr_inode_setattr_2, struct dentry *dentry, struct iattr *attr)
{
	return verdict(deny_times(dentry, attr), EACCES);
}

static __always_inline int deny_xattr(struct dentry *dentry, const char *name, __u32 hook_operation)
{
	struct jail *jail = current_jail();

	if (!jail || any_file(jail, dentry) || is_layer_xattr_call(jail, name))
		return 0;
	return deny_metadata(jail, dentry, hook_operation);
}

SEC("lsm/inode_setxattr")
int BPF_PROG(jr_inode_setxattr, void *idmap, struct dentry *dentry, const char *name)
{
	return verdict(deny_xattr(dentry, name, HOOK_OPERATION(INODE_SETXATTR, WRITE)), EACCES);
}

SEC("lsm/inode_removexattr")
int BPF_PROG(jr_inode_removexattr, void *idmap, struct dentry *dentry, const char *name)
{
	return verdict(deny_xattr(dentry, name, HOOK_OPERATION(INODE_REMOVEXATTR, WRITE)), EACCES);
}

SEC("lsm/inode_set_acl")
int BPF_PROG(jr_inode_set_acl, void *idmap, struct dentry *dentry, const char *name)
{
	return verdict(deny_xattr(dentry, name, HOOK_OPERATION(INODE_SET_ACL, WRITE)), EACCES);
}

SEC("lsm/inode_remove_acl")
int BPF_PROG(jr_inode_remove_acl, void *idmap, struct dentry *dentry, const char *name)
{
	return verdict(deny_xattr(dentry, name, HOOK_OPERATION(INODE_REMOVE_ACL, WRITE)), EACCES);
}

SEC("lsm/inode_file_setattr")
int BPF_PROG(jr_inode_file_setattr, struct dentry *dentry)
{
	struct jail *jail = current_jail();

	if (!jail || any_file(jail, dentry) || is_layer_call(jail))
		return 0;
	return verdict(deny_metadata(jail, dentry, HOOK_OPERATION(INODE_FILE_SETATTR, WRITE)), EACCES);
}

#define IOC_TYPE(command) ((command) >> 8 & 0xff)
#define IOC_DIRECTION(command) ((command) >> 30)
#define IOC_READ 2

/*
 * True unless the command is known only to read. Those of file systems have a type of their own. They hand
 * something to the kernel in order to change something, but for the few below.
 */
static __always_inline bool changes_file(__u32 command)
{
	switch (IOC_TYPE(command)) {
	case 'f':
	case 'v':
	case 'X':
	case 0x94: /* btrfs, and what others took over from it */
	case 0xf5: /* f2fs */
		break;
	default:
		return false;
	}
	switch (command & 0xffff) {
	case 0x660b: /* FS_IOC_FIEMAP */
	case 0x6612: /* EXT4_IOC_PRECACHE_EXTENTS */
	case 0x6614: /* FS_IOC_GET_ENCRYPTION_PWSALT */
	case 0x6615: /* FS_IOC_GET_ENCRYPTION_POLICY */
	case 0x6616: /* FS_IOC_GET_ENCRYPTION_POLICY_EX */
	case 0x661a: /* FS_IOC_GET_ENCRYPTION_KEY_STATUS */
	case 0x6629: /* EXT4_IOC_GETSTATE */
	case 0x662a: /* EXT4_IOC_GET_ES_CACHE */
	case 0x6686: /* FS_IOC_MEASURE_VERITY */
	case 0x6687: /* FS_IOC_READ_VERITY_METADATA */
	case 0x9414: /* BTRFS_IOC_SPACE_INFO */
	case 0x943d: /* BTRFS_IOC_GET_SUBVOL_ROOTREF */
	case 0x943e: /* BTRFS_IOC_INO_LOOKUP_USER */
		return false;
	case 0x6613: /* FS_IOC_SET_ENCRYPTION_POLICY, whose number says that it reads */
	case 0x587d: /* FS_IOC_SHUTDOWN, too */
		return true;
	}
	return IOC_DIRECTION(command) != IOC_READ;
}

/* The power that a command takes; 0 for none. */
static __always_inline __u32 power_for(struct file *file, __u32 command)
{
	switch (command) {
	case 0x5412: /* TIOCSTI, types what another program on the terminal then reads */
	case 0x541c: /* TIOCLINUX, pastes */
	case 0x541d: /* TIOCCONS, takes the kernel's messages */
		return JR_POWER_SYS_TTY_CONFIG;
	case 0x8901: /* FIOSETOWN */
	case 0x8902: /* SIOCSPGRP, both as F_SETOWN_EX in process.bpf.c */
		return JR_POWER_SIGNAL;
	case 0x5452: /* FIOASYNC, as F_SETFL there */
		return (file->f_inode->i_mode & S_IFMT) == S_IFCHR ? JR_POWER_SIGNAL : 0;
	default:
		return 0;
	}
}

/*
 * A descriptor that is open for writing was decided when it was opened, or handed over. Devices have
 * commands of their own, which opening them grants.
 */
static __always_inline int deny_ioctl(struct jail *jail, struct file *file, __u32 command,
				      __u32 hook_operation)
{
	__u32 type;

	if (any_file(jail, file->f_path.dentry) || file->f_mode & FMODE_WRITE || !changes_file(command))
		return 0;
	type = file->f_inode->i_mode & S_IFMT;
	if ((type != S_IFREG && type != S_IFDIR) || is_internal_mount(file->f_path.mnt))
		return 0;
	return deny_metadata(jail, file->f_path.dentry, hook_operation);
}

static __always_inline int ioctl_verdict(struct file *file, __u32 command, __u32 hook_operation)
{
	struct jail *jail = current_jail();
	__u32 power;

	if (!jail)
		return 0;
	power = power_for(file, command);
	if (power && !has_power(jail, power))
		return verdict(deny_power(jail, power, 0, hook_operation >> 16), EPERM);
	return verdict(deny_ioctl(jail, file, command, hook_operation), EACCES);
}

SEC("lsm/file_ioctl")
int BPF_PROG(jr_file_ioctl, struct file *file, unsigned int command)
{
	return ioctl_verdict(file, command, HOOK_OPERATION(FILE_IOCTL, WRITE));
}

SEC("lsm/file_ioctl_compat")
int BPF_PROG(jr_file_ioctl_compat, struct file *file, unsigned int command)
{
	return ioctl_verdict(file, command, HOOK_OPERATION(FILE_IOCTL_COMPAT, WRITE));
}

/* The running task's jail where its role has a rule of files.deny. */
static __always_inline struct jail *hiding_jail(void)
{
	struct jail *jail = current_jail();

	return jail && jail->scope.flags & JR_ROLE_HIDES ? jail : NULL;
}

/*
 * Returns 1 where the dentry is denied expressly, or where that cannot be known: no path leads to it, or
 * it is seen through an overlay that somebody mounted since, perhaps over a denied directory.
 */
static __noinline int deny_walked_hidden(struct jail *jail, __u64 dentry_address, __u32 hook_operation)
{
	struct dentry *dentry = (struct dentry *)dentry_address;
	__u32 access = access_of(jail, dentry_address);
	bool hidden = access & JR_ACCESS_HIDDEN;

	if (jail->reason == JR_REASON_UNKNOWN_DEVICE)
		hidden = BPF_CORE_READ(dentry, d_sb, s_magic) == OVERLAYFS_SUPER_MAGIC;
	else if (jail->reason) /* memfds, sockets and their kin are nowhere, and nobody's secret */
		hidden = !(BPF_CORE_READ(dentry, d_sb, s_flags) & SB_KERNMOUNT);
	if (!hidden)
		return 0;
	return deny_walked(jail, dentry_address, JR_SCOPE_RULES, hook_operation);
}

static __always_inline bool is_known_to_show(struct jail *jail, struct dentry *dentry)
{
	__u32 access = known_access(jail, dentry);

	return access && !(access & JR_ACCESS_HIDDEN);
}

static __always_inline int deny_hidden(struct jail *jail, struct dentry *dentry, __u32 hook_operation)
{
	return is_known_to_show(jail, dentry) ? 0 : deny_walked_hidden(jail, (__u64)dentry, hook_operation);
}

/*
 * A descriptor that is open was decided when it was opened, or handed over; one with O_PATH was not. Before
 * Linux 6.6 fstatat(2) of a descriptor copies the path, so there a denied file that was handed over is
 * denied.
 */
SEC("lsm/inode_getattr")
int BPF_PROG(jr_inode_getattr, struct path *path)
{
	struct jail *jail = hiding_jail();
	struct file *file;

	if (!jail || is_known_to_show(jail, path->dentry) || is_internal_mount(path->mnt))
		return 0;
	file = file_of_path(ctx);
	if (file && !(BPF_CORE_READ(file, f_mode) & FMODE_PATH))
		return 0;
	return verdict(deny_walked_hidden(jail, (__u64)path->dentry, HOOK_OPERATION(INODE_GETATTR, STAT)),
		       EACCES);
}

SEC("lsm/path_chroot")
int BPF_PROG(jr_path_chroot, struct path *path)
{
	struct jail *jail = hiding_jail();

	if (!jail)
		return 0;
	return verdict(deny_hidden(jail, path->dentry, HOOK_OPERATION(PATH_CHROOT, STAT)), EACCES);
}

static __always_inline int deny_learning(struct dentry *dentry, __u32 hook_operation)
{
	struct jail *jail = hiding_jail();

	if (!jail || is_layer_call(jail))
		return 0;
	return deny_hidden(jail, dentry, hook_operation);
}

SEC("lsm/inode_getxattr")
int BPF_PROG(jr_inode_getxattr, struct dentry *dentry)
{
	return verdict(deny_learning(dentry, HOOK_OPERATION(INODE_GETXATTR, STAT)), EACCES);
}

SEC("lsm/inode_listxattr")
int BPF_PROG(jr_inode_listxattr, struct dentry *dentry)
{
	return verdict(deny_learning(dentry, HOOK_OPERATION(INODE_LISTXATTR, STAT)), EACCES);
}

SEC("lsm/inode_get_acl")
int BPF_PROG(jr_inode_get_acl, void *idmap, struct dentry *dentry)
{
	return verdict(deny_learning(dentry, HOOK_OPERATION(INODE_GET_ACL, STAT)), EACCES);
}

SEC("lsm/inode_file_getattr")
int BPF_PROG(jr_inode_file_getattr, struct dentry *dentry)
{
	return verdict(deny_learning(dentry, HOOK_OPERATION(INODE_FILE_GETATTR, STAT)), EACCES);
}

SEC("lsm/inode_readlink")
int BPF_PROG(jr_inode_readlink, struct dentry *dentry)
{
	return verdict(deny_learning(dentry, HOOK_OPERATION(INODE_READLINK, STAT)), EACCES);
}

/* Who follows a link learns where it leads: from /proc/self/fd, if from nothing else. */
SEC("lsm/inode_follow_link")
int BPF_PROG(jr_inode_follow_link, struct dentry *dentry)
{
	struct jail *jail = hiding_jail();

	if (!jail)
		return 0;
	return verdict(deny_hidden(jail, dentry, HOOK_OPERATION(INODE_FOLLOW_LINK, STAT)), EACCES);
}
