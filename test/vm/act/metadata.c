// What is said about a file: learning it and changing it.
#include "act.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

static int act_stat(void)
{
	struct stat status;

	return stat(argument[0], &status);
}

static int act_lstat(void)
{
	struct stat status;

	return lstat(argument[0], &status);
}

/* O_PATH asks no hook, but gives no rights either. */
static int act_fstat_path(void)
{
	struct stat status;

	return fstat(open(argument[0], O_PATH | O_NOFOLLOW), &status);
}

static int act_statx_empty(void)
{
	struct statx status;

	return statx(open(argument[0], O_PATH), "", AT_EMPTY_PATH, STATX_BASIC_STATS, &status);
}

static int act_chroot(void)
{
	return chroot(argument[0]);
}

static int act_readlink(void)
{
	char target[4096];

	return readlink(argument[0], target, sizeof(target));
}

static int act_open_path(void)
{
	return open(argument[0], O_PATH);
}

static int act_utimes(void)
{
	struct timespec times[2] = {{.tv_sec = 1}, {.tv_sec = 1}};

	return utimensat(AT_FDCWD, argument[0], times, 0);
}

static int act_touch(void)
{
	return utimensat(AT_FDCWD, argument[0], NULL, 0);
}

static int act_futimens(void)
{
	return futimens(open(argument[0], O_RDONLY), NULL);
}

static int act_utimes_empty(void)
{
	return utimensat(open(argument[0], O_PATH), "", NULL, AT_EMPTY_PATH);
}

/* setxattr PATH NAME, and the same for the others */
static int act_setxattr(void)
{
	return setxattr(argument[0], argument[1], "value", 5, 0);
}

static int act_fsetxattr(void)
{
	return fsetxattr(open(argument[0], O_RDONLY), argument[1], "value", 5, 0);
}

static int act_removexattr(void)
{
	return removexattr(argument[0], argument[1]);
}

static int act_getxattr(void)
{
	char value[64];

	return getxattr(argument[0], argument[1], value, sizeof(value));
}

static int act_listxattr(void)
{
	char names[4096];

	return listxattr(argument[0], names, sizeof(names));
}

/* An ACL with one entry more than the mode says: user 1 may read. */
static const unsigned char acl[] = {2, 0, 0,   0,   1,   0,   7,  0, 255, 255, 255, 255, 2,   0,  4,
				    0, 1, 0,   0,   0,   4,   0,  4, 0,   255, 255, 255, 255, 16, 0,
				    4, 0, 255, 255, 255, 255, 32, 0, 4,   0,   255, 255, 255, 255};

/* set-acl PATH access|default */
static int act_set_acl(void)
{
	char name[64];

	snprintf(name, sizeof(name), "system.posix_acl_%s", argument[1]);
	return setxattr(argument[0], name, acl, sizeof(acl), 0);
}

static int act_remove_acl(void)
{
	return removexattr(argument[0], "system.posix_acl_access");
}

static int act_get_acl(void)
{
	char value[128];
	int length = getxattr(argument[0], "system.posix_acl_access", value, sizeof(value));

	return length < 0 && errno == ENODATA ? 0 : length;
}

/* The flags of a file change through a descriptor that is open for reading. */
static int act_set_flags(void)
{
	int fd = open(argument[0], O_RDONLY);
	int flags;

	if (ioctl(fd, FS_IOC_GETFLAGS, &flags))
		return -1;
	flags |= FS_NODUMP_FL;
	return ioctl(fd, FS_IOC_SETFLAGS, &flags);
}

static int act_set_xflags(void)
{
	int fd = open(argument[0], O_RDONLY);
	struct fsxattr attributes;

	if (ioctl(fd, FS_IOC_FSGETXATTR, &attributes))
		return -1;
	attributes.fsx_xflags |= FS_XFLAG_NODUMP;
	return ioctl(fd, FS_IOC_FSSETXATTR, &attributes);
}

/* What a 32-bit program does; its pointers are short, as are a static program's. */
static int act_set_flags_32(void)
{
	static int flags;
	long fd = open(argument[0], O_RDONLY);
	long result = ioctl(fd, FS_IOC_GETFLAGS, &flags);

	if (result)
		return -1;
	flags |= FS_NODUMP_FL;
	asm volatile("int $0x80"
		     : "=a"(result)
		     : "a"(54L), "b"(fd), "c"((long)FS_IOC32_SETFLAGS), "d"((long)&flags)
		     : "memory", "r8", "r9", "r10", "r11");
	errno = (int)-result;
	return (int)result;
}

static int act_get_flags(void)
{
	int flags;

	return ioctl(open(argument[0], O_RDONLY), FS_IOC_GETFLAGS, &flags);
}

/* file_getattr(2) and file_setattr(2), Linux 6.17 */
static int act_file_getattr(void)
{
	__u64 attributes[3] = {0};

	return syscall(468, AT_FDCWD, argument[0], attributes, sizeof(attributes), 0);
}

static int act_file_setattr(void)
{
	__u64 attributes[3] = {FS_XFLAG_NODUMP};

	return syscall(469, AT_FDCWD, argument[0], attributes, sizeof(attributes), 0);
}

const struct operation metadata_operations[] = {
    {"stat", act_stat},
    {"lstat", act_lstat},
    {"fstat-path", act_fstat_path},
    {"statx-empty", act_statx_empty},
    {"chroot", act_chroot},
    {"readlink", act_readlink},
    {"open-path", act_open_path},
    {"utimes", act_utimes},
    {"touch", act_touch},
    {"futimens", act_futimens},
    {"utimes-empty", act_utimes_empty},
    {"setxattr", act_setxattr},
    {"fsetxattr", act_fsetxattr},
    {"removexattr", act_removexattr},
    {"getxattr", act_getxattr},
    {"listxattr", act_listxattr},
    {"set-acl", act_set_acl},
    {"remove-acl", act_remove_acl},
    {"get-acl", act_get_acl},
    {"set-flags", act_set_flags},
    {"set-xflags", act_set_xflags},
    {"set-flags-32", act_set_flags_32},
    {"get-flags", act_get_flags},
    {"file-getattr", act_file_getattr},
    {"file-setattr", act_file_setattr},
    {NULL, NULL},
};
