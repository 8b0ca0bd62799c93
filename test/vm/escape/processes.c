// Ways through processes outside: their memory, descriptors and signals; and out of the pod's cgroup and
// namespaces.
#include "escape.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

static int open_of(const char *format, long pid, int flags)
{
	char path[64];

	snprintf(path, sizeof(path), format, pid);
	return open(path, flags | O_CLOEXEC);
}

/* memory-read PID ADDRESS */
static const char *memory_read(void)
{
	static char text[sizeof(SECRET)];
	struct iovec here = {text, sizeof(SECRET) - 1}, there = {(void *)number(1), sizeof(SECRET) - 1};
	int memory = open_of("/proc/%ld/mem", number(0), O_RDONLY);

	if (pread(memory, text, sizeof(text) - 1, number(1)) <= 0 &&
	    process_vm_readv(number(0), &here, 1, &there, 1, 0) <= 0) {
		if (ptrace(PTRACE_ATTACH, number(0), 0, 0))
			return NULL;
		waitpid(number(0), NULL, __WALL);
		errno = 0;
		*(long *)text = ptrace(PTRACE_PEEKDATA, number(0), number(1), 0);
		ptrace(PTRACE_DETACH, number(0), 0, 0);
	}
	return *text ? text : NULL;
}

/* memory-write PID ADDRESS */
static const char *memory_write(void)
{
	struct iovec here = {"taken", 5}, there = {(void *)number(1), 5};
	int memory = open_of("/proc/%ld/mem", number(0), O_RDWR);

	if (pwrite(memory, "taken", 5, number(1)) != 5 &&
	    process_vm_writev(number(0), &here, 1, &there, 1, 0) != 5)
		return NULL;
	return "it wrote to its memory";
}

/* descriptor PID NUMBER */
static const char *descriptor(void)
{
	int pidfd = syscall(SYS_pidfd_open, number(0), 0);
	int fd = syscall(SYS_pidfd_getfd, pidfd, number(1), 0);
	char path[64];

	if (fd < 0) {
		snprintf(path, sizeof(path), "/proc/%ld/fd/%ld", number(0), number(1));
		fd = open(path, O_RDONLY);
	} else
		lseek(fd, 0, SEEK_SET);
	return secret_in(fd);
}

/* root PID PATH: by the root of another process */
static const char *root(void)
{
	char path[256];

	snprintf(path, sizeof(path), "/proc/%s/root%s", argument[0], argument[1]);
	return secret_in(open(path, O_RDONLY));
}

/* signals PID: one that is ignored by whoever does not ask for it */
static const char *signals(void)
{
	siginfo_t info = {.si_signo = SIGURG, .si_code = SI_QUEUE};
	int ends[2], pidfd = syscall(SYS_pidfd_open, number(0), 0);
	int sent = kill(number(0), SIGURG) == 0;

	kill(-1, SIGURG);
	sent |= kill(-number(0), SIGURG) == 0;
	sent |= syscall(SYS_tgkill, number(0), number(0), SIGURG) == 0;
	sent |= syscall(SYS_rt_sigqueueinfo, number(0), SIGURG, &info) == 0;
	sent |= syscall(SYS_pidfd_send_signal, pidfd, SIGURG, NULL, 0) == 0;
	if (!socketpair(AF_UNIX, SOCK_STREAM, 0, ends) && !fcntl(ends[0], F_SETSIG, SIGURG)) {
		sent |= fcntl(ends[0], F_SETOWN, number(0)) == 0;
		fcntl(ends[0], F_SETFL, O_ASYNC);
		sent &= write(ends[1], "", 1) == 1;
	}
	return sent ? "it sent a signal" : NULL;
}

/* cgroup-child CGROUP: a child is born in another cgroup. An O_PATH descriptor does, which is no access. */
static const char *cgroup_child(void)
{
	struct clone_args arguments = {
	    .flags = CLONE_INTO_CGROUP,
	    .exit_signal = SIGCHLD,
	    .cgroup = open(argument[0], O_PATH | O_DIRECTORY),
	};
	pid_t child = syscall(SYS_clone3, &arguments, sizeof(arguments));

	if (child < 0)
		return NULL;
	if (child == 0) {
		/* The pipe's readers wait for every copy. */
		for (int fd = 0; fd < 16; fd++)
			close(fd);
		alarm(60);
		pause();
	}
	return "it has a child in another cgroup";
}

/* cgroup-kill CGROUP */
static const char *cgroup_kill(void)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/cgroup.kill", argument[0]);
	return write(open(path, O_WRONLY), "1", 1) == 1 ? "it killed another cgroup" : NULL;
}

/* enter PID: its mount namespace, by the process itself and by the namespace's file */
static const char *enter(void)
{
	if (!setns(syscall(SYS_pidfd_open, number(0), 0), CLONE_NEWNS))
		return "it entered by a pidfd";
	return setns(open_of("/proc/%ld/ns/mnt", number(0), O_RDONLY), CLONE_NEWNS) ? NULL : "it entered";
}

/* own-mount DIRECTORY: mounts as the root of a user namespace */
static const char *own_mount(void)
{
	if (unshare(CLONE_NEWUSER | CLONE_NEWNS))
		return NULL;
	return mount("none", argument[0], "tmpfs", 0, NULL) ? NULL : "it mounted";
}

/* outlive FILE: makes the file when whoever is in the jail, and who holds it, have ended */
static const char *outlive(void)
{
	pid_t program = getppid(), child = fork();

	if (child)
		return child < 0 ? NULL : "";
	setsid();
	for (int fd = 0; fd < 16; fd++)
		close(fd);
	if (fork())
		_exit(0);
	while (kill(program, 0) == 0)
		usleep(100 * 1000);
	usleep(500 * 1000);
	_exit(open(argument[0], O_WRONLY | O_CREAT, 0600) < 0);
}

/* sibling: gives whoever started the program a child that ends with 7 */
static const char *sibling(void)
{
	pid_t child = syscall(SYS_clone, CLONE_PARENT | SIGCHLD, NULL, NULL, NULL, NULL);

	if (child == 0)
		_exit(7);
	return child < 0 ? NULL : "";
}

const struct way process_ways[] = {
    {"memory-read", memory_read}, {"memory-write", memory_write},
    {"descriptor", descriptor},   {"root", root},
    {"signals", signals},         {"cgroup-child", cgroup_child},
    {"cgroup-kill", cgroup_kill}, {"enter", enter},
    {"own-mount", own_mount},     {"outlive", outlive},
    {"sibling", sibling},         {NULL, NULL},
};
