// Ways to an object other than its path: mounts of one's own, handles, descriptors.
#include "act.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Private mounts: what follows is seen by nobody else. */
static int unshare_mounts(void)
{
	return unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ? -1 : 0;
}

/* Opens a directory entry without rights, then asks for rights through /proc. */
static int act_reopen(void)
{
	char path[64];
	int fd = open(argument[0], O_PATH);

	if (fd < 0)
		return fd;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, number(1));
}

/* bind-open SOURCE TARGET REST [FLAGS]: opens by a second path to the same object */
static int act_bind_open(void)
{
	char path[4096];

	if (unshare_mounts() || mount(argument[0], argument[1], NULL, MS_BIND, NULL))
		return -1;
	snprintf(path, sizeof(path), "%s/%s", argument[1], argument[2]);
	return open(path, argument[3] ? number(3) : O_RDONLY);
}

/* unshared-open PATH: in a mount namespace of one's own */
static int act_unshared_open(void)
{
	return unshare_mounts() ? -1 : open(argument[0], O_RDONLY);
}

/* chroot-open ROOT PATH: by a path that is shorter than the object's */
static int act_chroot_open(void)
{
	return chroot(argument[0]) ? -1 : open(argument[1], O_RDONLY);
}

/* root-open ROOT PATH: through /proc/PID/root of a process that has another root */
static int act_root_open(void)
{
	char path[4096];
	int ready[2];
	int result;
	pid_t child;

	if (pipe(ready))
		return -1;
	child = fork();
	if (child == 0) {
		if (chroot(argument[0]) || write(ready[1], "x", 1) != 1)
			_exit(1);
		pause();
	}
	close(ready[1]);
	if (read(ready[0], path, 1) != 1)
		return -1;
	snprintf(path, sizeof(path), "/proc/%d/root%s", child, argument[1]);
	result = open(path, O_RDONLY);
	kill(child, SIGKILL);
	return result;
}

/* cwd-open DIRECTORY NAME: through /proc/self/cwd */
static int act_cwd_open(void)
{
	char path[4096];

	if (chdir(argument[0]))
		return -1;
	snprintf(path, sizeof(path), "/proc/self/cwd/%s", argument[1]);
	return open(path, O_RDONLY);
}

/* mount-open TYPE TARGET PATH: a file system of the kernel's, mounted once more */
static int act_mount_open(void)
{
	char path[4096];

	if (unshare_mounts() || mount("again", argument[1], argument[0], 0, NULL))
		return -1;
	snprintf(path, sizeof(path), "%s/%s", argument[1], argument[2]);
	return open(path, O_RDONLY);
}

/* A file system that was never mounted anywhere: fsopen(2), fsmount(2), openat(2). */
static int act_fsmount_create(void)
{
	int context = syscall(SYS_fsopen, "tmpfs", 0);

	if (syscall(SYS_fsconfig, context, 6 /* FSCONFIG_CMD_CREATE */, NULL, NULL, 0))
		return -1;
	return openat(syscall(SYS_fsmount, context, 0, 0), "file", O_CREAT | O_WRONLY, 0600);
}

/* A mount that is in no namespace's tree: open_tree(CLONE), then openat. */
static int act_detached_open(void)
{
	int tree = syscall(SYS_open_tree, AT_FDCWD, argument[0], 1 /* OPEN_TREE_CLONE */ | O_CLOEXEC);

	return tree < 0 ? tree : openat(tree, argument[1], O_RDONLY);
}

/* A file system that is mounted after the jail began. */
static int act_fresh_mount(void)
{
	char path[4096];

	if (unshare_mounts() || mount("fresh", argument[0], "tmpfs", 0, NULL))
		return -1;
	snprintf(path, sizeof(path), "%s/file", argument[0]);
	return open(path, O_CREAT | O_WRONLY, 0600);
}

struct handle {
	struct file_handle head;
	char bytes[128];
};

static int handle_of(const char *path, struct handle *handle)
{
	int mount_id;

	handle->head.handle_bytes = sizeof(handle->bytes);
	return name_to_handle_at(AT_FDCWD, path, &handle->head, &mount_id, 0);
}

/* by-handle PATH DIRECTORY: any directory of the file system will do */
static int act_by_handle(void)
{
	struct handle handle;
	int mount = open(argument[1], O_RDONLY | O_DIRECTORY);

	return handle_of(argument[0], &handle) ? -1 : open_by_handle_at(mount, &handle.head, O_RDONLY);
}

/* fchdir-stat DIRECTORY NAME */
static int act_fchdir_stat(void)
{
	struct stat status;

	if (fchdir(open(argument[0], O_PATH)))
		return -1;
	return stat(argument[1], &status);
}

/* The same without a cached name, unless somebody has the file open: the kernel has an alias that is
 * connected to nothing. */
static int open_forgotten(int flags)
{
	struct handle handle;
	int drop;

	if (handle_of(argument[0], &handle))
		return -1;
	drop = open("/proc/sys/vm/drop_caches", O_WRONLY);
	if (drop >= 0 && write(drop, "2", 1) < 0)
		return -1;
	return open_by_handle_at(open(argument[1], O_RDONLY | O_DIRECTORY), &handle.head, flags);
}

static int act_by_handle_forgotten(void)
{
	return open_forgotten(O_RDONLY);
}

/* by-handle-stat PATH DIRECTORY: an O_PATH descriptor of an object that no path led to */
static int act_by_handle_stat(void)
{
	struct stat status;

	return fstat(open_forgotten(O_PATH), &status);
}

/* bind-stat SOURCE TARGET NAME */
static int act_bind_stat(void)
{
	char path[4096];
	struct stat status;

	if (unshare_mounts() || mount(argument[0], argument[1], NULL, MS_BIND, NULL))
		return -1;
	snprintf(path, sizeof(path), "%s/%s", argument[1], argument[2]);
	return stat(path, &status);
}

static int act_detached_stat(void)
{
	int tree = syscall(SYS_open_tree, AT_FDCWD, argument[0], 1 /* OPEN_TREE_CLONE */ | O_CLOEXEC);
	struct stat status;

	return tree < 0 ? tree : fstatat(tree, argument[1], &status, 0);
}

/* overlay-stat LOWER TARGET NAME, and the same for overlay-open: an overlay of one's own shows what lies
 * below it */
static int mount_overlay(char *path, size_t size)
{
	char text[4096];

	snprintf(text, sizeof(text), "lowerdir=%s:/usr/lib", argument[0]);
	snprintf(path, size, "%s/%s", argument[1], argument[2]);
	return unshare_mounts() || mount("mine", argument[1], "overlay", MS_RDONLY, text) ? -1 : 0;
}

static int act_overlay_stat(void)
{
	char path[4096];
	struct stat status;

	return mount_overlay(path, sizeof(path)) ? -1 : stat(path, &status);
}

static int act_overlay_open(void)
{
	char path[4096];

	return mount_overlay(path, sizeof(path)) ? -1 : open(path, O_RDONLY);
}

const struct operation way_operations[] = {
    {"reopen", act_reopen},
    {"bind-open", act_bind_open},
    {"unshared-open", act_unshared_open},
    {"chroot-open", act_chroot_open},
    {"root-open", act_root_open},
    {"cwd-open", act_cwd_open},
    {"mount-open", act_mount_open},
    {"fsmount-create", act_fsmount_create},
    {"overlay-open", act_overlay_open},
    {"by-handle-forgotten", act_by_handle_forgotten},
    {"detached-open", act_detached_open},
    {"fresh-mount", act_fresh_mount},
    {"by-handle", act_by_handle},
    {"fchdir-stat", act_fchdir_stat},
    {"by-handle-stat", act_by_handle_stat},
    {"bind-stat", act_bind_stat},
    {"detached-stat", act_detached_stat},
    {"overlay-stat", act_overlay_stat},
    {NULL, NULL},
};
