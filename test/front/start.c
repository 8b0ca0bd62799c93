/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Starts a program in circumstances that node cannot make for a child, and in this same process:
 *
 *	start [SETTING…] -- PROGRAM [ARG…]
 *
 * Bytes that a node string cannot carry are written %xx. Settings, applied in their order:
 *
 *	ignore:N  block:N  pending:N	a signal; pending ones are blocked, too
 *	open:FD  listen:FD  close:FD	a pipe's read end; a listening socket with $LISTEN_FDS; nothing
 *	nonblock:FD			O_NONBLOCK on the open file
 *	limit:RESOURCE:SOFT:HARD	setrlimit(2), by the resource's number
 *	umask:OCTAL  cd:DIR  nice:N
 *	env:TEXT			one more entry of the environment, as it is
 *	probe:ERRNO			what the kernel answers to jailrun's probe, from here on (seccomp)
 *	no-arguments			the program gets an empty argv
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "abi.h"

static _Noreturn void fail(const char *what)
{
	fprintf(stderr, "start: %s: %s\n", what, strerror(errno));
	exit(99);
}

static void decode(char *text)
{
	char *end = text;

	for (; *text; text++) {
		unsigned int byte;

		if (sscanf(text, "%%%2x", &byte) == 1) {
			*end++ = byte;
			text += 2;
		} else {
			*end++ = *text;
		}
	}
	*end = '\0';
}

/* Raw, since libc hides signals 32 and 33. */
static void block(int number)
{
	uint64_t set = 1ULL << (number - 1);

	syscall(SYS_rt_sigprocmask, SIG_BLOCK, &set, NULL, sizeof(set));
}

static void place(int from, int to)
{
	if (from < 0 || (from != to && (dup2(from, to) < 0 || close(from) < 0)))
		fail("descriptor");
}

static void open_listener(int fd)
{
	static char count[] = "LISTEN_FDS=1";
	static char addressee[32];
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int listener = socket(AF_UNIX, SOCK_STREAM, 0);

	/* No name: the kernel chooses an abstract one. */
	if (bind(listener, (struct sockaddr *)&address, sizeof(address.sun_family)) < 0 ||
	    listen(listener, 1) < 0)
		fail("listen");
	place(listener, fd);
	snprintf(addressee, sizeof(addressee), "LISTEN_PID=%d", getpid());
	putenv(count);
	putenv(addressee);
}

static void open_pipe(int fd)
{
	int ends[2];

	if (pipe(ends) < 0)
		fail("pipe");
	place(ends[0], fd);
	close(ends[1]);
}

static void answer_probe(int error)
{
	struct sock_filter filter[] = {
	    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_bpf, 0, 3),
	    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
	    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, JR_PROBE_COMMAND, 0, 1),
	    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
	    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {sizeof(filter) / sizeof(*filter), filter};

	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) < 0)
		fail("seccomp");
}

static void set_limit(const char *text)
{
	unsigned long resource, soft, hard;
	struct rlimit limit;

	if (sscanf(text, "%lu:%lu:%lu", &resource, &soft, &hard) != 3)
		fail(text);
	limit.rlim_cur = soft;
	limit.rlim_max = hard;
	if (setrlimit(resource, &limit) < 0)
		fail("setrlimit");
}

static void add_variable(const char *text)
{
	static char *environment[1024];
	size_t count = 0;

	while (environ[count])
		count++;
	if (count + 2 > sizeof(environment) / sizeof(*environment))
		fail("environment");
	memmove(environment, environ, count * sizeof(*environ));
	environment[count] = (char *)text;
	environment[count + 1] = NULL;
	environ = environment;
}

static void apply(char *setting, bool *no_arguments)
{
	char *value = strchrnul(setting, ':');
	int number;

	if (*value)
		*value++ = '\0';
	number = atoi(value);
	if (strcmp(setting, "ignore") == 0) {
		signal(number, SIG_IGN);
	} else if (strcmp(setting, "block") == 0) {
		block(number);
	} else if (strcmp(setting, "pending") == 0) {
		block(number);
		kill(getpid(), number);
	} else if (strcmp(setting, "open") == 0) {
		open_pipe(number);
	} else if (strcmp(setting, "listen") == 0) {
		open_listener(number);
	} else if (strcmp(setting, "close") == 0) {
		close(number);
	} else if (strcmp(setting, "nonblock") == 0) {
		fcntl(number, F_SETFL, fcntl(number, F_GETFL) | O_NONBLOCK);
	} else if (strcmp(setting, "limit") == 0) {
		set_limit(value);
	} else if (strcmp(setting, "umask") == 0) {
		umask(strtol(value, NULL, 8));
	} else if (strcmp(setting, "cd") == 0) {
		if (chdir(value) < 0)
			fail(value);
	} else if (strcmp(setting, "nice") == 0) {
		setpriority(PRIO_PROCESS, 0, number);
	} else if (strcmp(setting, "env") == 0) {
		add_variable(value);
	} else if (strcmp(setting, "probe") == 0) {
		answer_probe(number);
	} else if (strcmp(setting, "no-arguments") == 0) {
		*no_arguments = true;
	} else {
		errno = EINVAL;
		fail(setting);
	}
}

int main(int argc, char *argv[])
{
	bool no_arguments = false;
	int i;

	for (i = 1; i < argc; i++)
		decode(argv[i]);
	for (i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
		apply(argv[i], &no_arguments);
	if (i + 1 >= argc)
		fail("no program");
	if (no_arguments)
		execve(argv[i + 1], (char *[]){NULL}, environ);
	else
		execvp(argv[i + 1], argv + i + 1);
	fail(argv[i + 1]);
}
