// Descriptors: those that have no path, those that others opened, and watches.
#include "act.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

/* Pipes, memfds and pidfds have no path; opening them again must stay possible. */
static int act_reopen_pipe(void)
{
	char path[64];
	int ends[2];

	if (pipe(ends))
		return -1;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", ends[0]);
	return open(path, O_RDONLY | O_NONBLOCK);
}

static int act_reopen_memfd(void)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", memfd_create("act", 0));
	return open(path, O_RDONLY);
}

static int act_pidfd(void)
{
	return syscall(SYS_pidfd_open, getpid(), 0);
}

static int act_watch(void)
{
	return inotify_add_watch(inotify_init1(0), argument[0], IN_CREATE);
}

/* watch-wide PATH mount|filesystem */
static int act_watch_wide(void)
{
	int scope = *argument[1] == 'm' ? FAN_MARK_MOUNT : FAN_MARK_FILESYSTEM;

	return fanotify_mark(fanotify_init(FAN_CLASS_NOTIF, O_RDONLY), FAN_MARK_ADD | scope, FAN_OPEN,
			     AT_FDCWD, argument[0]);
}

/* Asks the server SOCKET PATH FLAGS to open and send, and returns what came; EBADMSG where nothing did. */
static int receive(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char control[CMSG_SPACE(sizeof(int))];
	char text[4096];
	struct iovec part = {.iov_base = text, .iov_len = sizeof(text)};
	struct msghdr message = {
	    .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	int length = snprintf(text, sizeof(text), "%s %s\n", argument[1], argument[2]);

	strncpy(address.sun_path, argument[0], sizeof(address.sun_path) - 1);
	if (connect(fd, (void *)&address, sizeof(address)) || write(fd, text, length) != length ||
	    recvmsg(fd, &message, 0) < 0)
		return -1;
	if (CMSG_FIRSTHDR(&message) && CMSG_FIRSTHDR(&message)->cmsg_len == CMSG_LEN(sizeof(int)))
		return *(int *)CMSG_DATA(CMSG_FIRSTHDR(&message));
	errno = EBADMSG;
	return -1;
}

static int act_receive(void)
{
	return receive();
}

/* receive-reopen SOCKET PATH FLAGS HOW: opens what was received anew, with flags HOW */
static int act_receive_reopen(void)
{
	char path[64];
	int fd = receive();

	if (fd < 0)
		return fd;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, number(3));
}

/* take FILE NAME: the file has lines "NAME PID FD"; takes that descriptor out of that process */
static int act_take(void)
{
	FILE *list = fopen(argument[0], "r");
	char name[64];
	int pid;
	int fd;

	while (list && fscanf(list, "%63s %d %d", name, &pid, &fd) == 3)
		if (strcmp(name, argument[1]) == 0)
			return syscall(SYS_pidfd_getfd, syscall(SYS_pidfd_open, pid, 0), fd, 0);
	return -1;
}

/* on-fd N HOW: uses a descriptor that was there at the start */
static int act_on_fd(void)
{
	char path[64];
	struct stat status;

	if (strcmp(argument[1], "ftruncate") == 0)
		return ftruncate(number(0), 0);
	if (strcmp(argument[1], "write") == 0)
		return write(number(0), "text", 4);
	if (strcmp(argument[1], "fstat") == 0)
		return syscall(SYS_fstat, number(0), &status);
	if (strcmp(argument[1], "fstatat") == 0)
		return fstatat(number(0), "", &status, AT_EMPTY_PATH);
	snprintf(path, sizeof(path), "/proc/self/fd/%ld", number(0));
	if (strcmp(argument[1], "link") == 0)
		return linkat(AT_FDCWD, path, AT_FDCWD, argument[2], AT_SYMLINK_FOLLOW);
	return open(path, O_WRONLY);
}

const struct operation descriptor_operations[] = {
    {"reopen-pipe", act_reopen_pipe},
    {"reopen-memfd", act_reopen_memfd},
    {"pidfd", act_pidfd},
    {"watch", act_watch},
    {"watch-wide", act_watch_wide},
    {"receive", act_receive},
    {"receive-reopen", act_receive_reopen},
    {"take", act_take},
    {"on-fd", act_on_fd},
    {NULL, NULL},
};
