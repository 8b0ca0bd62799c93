// io_uring.
#include "act.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../ring.h"

static struct io_uring_sqe setxattr_request(const char *path, const char *name)
{
	return (struct io_uring_sqe){
	    .opcode = IORING_OP_FSETXATTR,
	    .fd = open(path, O_RDONLY),
	    .addr = (unsigned long)name,
	    .addr2 = (unsigned long)"value",
	    .len = 5,
	};
}

/* ring OPERATION PATH [PATH] */
static int act_ring(void)
{
	static struct statx status;
	static struct open_how how = {.flags = O_RDONLY};
	const struct {
		const char *name;
		struct io_uring_sqe entry;
	} requests[] = {
	    {"open", {.opcode = IORING_OP_OPENAT, .open_flags = O_RDONLY}},
	    {"open2", {.opcode = IORING_OP_OPENAT2, .len = sizeof(how), .off = (unsigned long)&how}},
	    {"create", {.opcode = IORING_OP_OPENAT, .open_flags = O_CREAT | O_WRONLY, .len = 0600}},
	    {"statx", {.opcode = IORING_OP_STATX, .len = STATX_BASIC_STATS, .off = (unsigned long)&status}},
	    {"rename", {.opcode = IORING_OP_RENAMEAT, .len = AT_FDCWD, .addr2 = (unsigned long)argument[2]}},
	    {"unlink", {.opcode = IORING_OP_UNLINKAT}},
	    {"mkdir", {.opcode = IORING_OP_MKDIRAT, .len = 0700}},
	    {"link", {.opcode = IORING_OP_LINKAT, .len = AT_FDCWD, .addr2 = (unsigned long)argument[2]}},
	};
	struct io_uring_sqe entry;
	struct ring ring;
	unsigned flags = 0;

	/* sqpoll-OPERATION: a thread of the kernel's takes the request up. */
	if (strncmp(argument[0], "sqpoll-", 7) == 0) {
		argument[0] += 7;
		flags = IORING_SETUP_SQPOLL;
	}
	if (make_ring(&ring, flags))
		return -1;
	if (strcmp(argument[0], "fsetxattr") == 0)
		return submit(&ring, setxattr_request(argument[1], "user.ring"));
	if (strcmp(argument[0], "setxattr") == 0) {
		entry = (struct io_uring_sqe){.opcode = IORING_OP_SETXATTR,
					      .addr = (unsigned long)"user.ring",
					      .addr2 = (unsigned long)"value",
					      .addr3 = (unsigned long)argument[1],
					      .len = 5};
		return submit(&ring, entry);
	}
	if (strcmp(argument[0], "symlink") == 0) {
		entry = (struct io_uring_sqe){.opcode = IORING_OP_SYMLINKAT,
					      .fd = AT_FDCWD,
					      .addr = (unsigned long)"target",
					      .addr2 = (unsigned long)argument[1]};
		return submit(&ring, entry);
	}
	if (strcmp(argument[0], "ftruncate") == 0) {
		entry = (struct io_uring_sqe){.opcode = 55 /* IORING_OP_FTRUNCATE */,
					      .fd = open(argument[1], O_RDWR)};
		return entry.fd < 0 ? -1 : submit(&ring, entry);
	}
	if (strcmp(argument[0], "fallocate") == 0) {
		entry = (struct io_uring_sqe){
		    .opcode = IORING_OP_FALLOCATE, .fd = open(argument[1], O_RDWR), .addr = 4096};
		return entry.fd < 0 ? -1 : submit(&ring, entry);
	}
	for (size_t i = 0; i < sizeof(requests) / sizeof(*requests); i++) {
		if (strcmp(requests[i].name, argument[0]) != 0)
			continue;
		entry = requests[i].entry;
		entry.fd = AT_FDCWD;
		entry.addr = (unsigned long)argument[1];
		return submit(&ring, entry);
	}
	return -1;
}

/*
 * ring-creds MINE TARGET: a worker that was born before the program changed its credentials acts with
 * others than its own, as for overlayfs.
 */
static int act_ring_creds(void)
{
	struct ring ring;

	if (make_ring(&ring, 0) || submit(&ring, setxattr_request(argument[0], "user.ring")) < 0)
		return -1;
	if (syscall(SYS_setgid, getgid()))
		return -1;
	return submit(&ring, setxattr_request(argument[1], "user.ring"));
}

/* ring-personality MINE TARGET: the same with credentials that were put by */
static int act_ring_personality(void)
{
	struct io_uring_sqe entry = setxattr_request(argument[1], "user.ring");
	struct ring ring;

	if (make_ring(&ring, 0) || submit(&ring, setxattr_request(argument[0], "user.ring")) < 0)
		return -1;
	if (syscall(SYS_setgid, getgid()))
		return -1;
	entry.personality = syscall(SYS_io_uring_register, ring.fd, IORING_REGISTER_PERSONALITY, NULL, 0);
	return submit(&ring, entry);
}

const struct operation ring_operations[] = {
    {"ring", act_ring},
    {"ring-creds", act_ring_creds},
    {"ring-personality", act_ring_personality},
    {NULL, NULL},
};
