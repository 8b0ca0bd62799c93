/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A command that tells how it was started and what reaches it.
 *
 *	command state [ARG…]	all that an exec passes on, in lines that two equal starts print equally
 *	command sockets		the descriptors that a service manager passed, as sd_listen_fds(3) takes them
 *	command signals		each signal as it comes, until SIGTERM has come twice
 *	command queue PID N V	queues signal N with the value V to a process
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <termios.h>
#include <unistd.h>

enum { DESCRIPTORS_SHOWN = 256 };

/* In hexadecimal, since it may be any bytes. */
static void show_text(const char *what, const char *text)
{
	printf("%s ", what);
	for (; *text; text++)
		printf("%02x", (unsigned char)*text);
	printf("\n");
}

static void show_file(const char *path, const char *const prefixes[])
{
	FILE *file = fopen(path, "re");
	char line[1024];

	if (!file)
		printf("%s: %s\n", path, strerror(errno));
	while (file && fgets(line, sizeof(line), file))
		for (int i = 0; prefixes[i]; i++)
			if (strncmp(line, prefixes[i], strlen(prefixes[i])) == 0)
				fputs(line, stdout);
	if (file)
		fclose(file);
}

static void show_descriptors(const int flags[DESCRIPTORS_SHOWN], const int on_exec[DESCRIPTORS_SHOWN])
{
	for (int fd = 0; fd < DESCRIPTORS_SHOWN; fd++) {
		struct stat file;

		if (flags[fd] < 0)
			continue;
		fstat(fd, &file);
		printf("descriptor %d flags %o close-on-exec %d type %o\n", fd, flags[fd], on_exec[fd],
		       file.st_mode & S_IFMT);
	}
}

static void show_terminal(void)
{
	int terminal = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);
	struct termios settings;

	if (terminal < 0) {
		printf("terminal none\n");
		return;
	}
	tcgetattr(terminal, &settings);
	printf("terminal foreground %d modes %x %x %x %x\n", tcgetpgrp(terminal) == getpgrp(),
	       settings.c_iflag, settings.c_oflag, settings.c_cflag, settings.c_lflag);
	close(terminal);
}

static int show_state(int argc, char *argv[])
{
	static const char *const process[] = {
	    "Umask:",  "Uid:",    "Gid:",        "Groups:",  "SigPnd:",       "ShdPnd:",
	    "SigBlk:", "SigIgn:", "SigCgt:",     "CapInh:",  "CapPrm:",       "CapEff:",
	    "CapBnd:", "CapAmb:", "NoNewPrivs:", "Seccomp:", "Cpus_allowed:", NULL};
	static const char *const every_line[] = {"", NULL};
	static int flags[DESCRIPTORS_SHOWN], on_exec[DESCRIPTORS_SHOWN];
	char *directory = getcwd(NULL, 0);

	/* Before anything opens a file. */
	for (int fd = 0; fd < DESCRIPTORS_SHOWN; fd++) {
		flags[fd] = fcntl(fd, F_GETFL);
		on_exec[fd] = fcntl(fd, F_GETFD);
	}
	for (int i = 0; i < argc; i++)
		show_text("argument", argv[i]);
	for (char **variable = environ; *variable; variable++)
		show_text("variable", *variable);
	show_text("directory", directory ? directory : "gone");
	show_descriptors(flags, on_exec);
	show_file("/proc/self/status", process);
	show_file("/proc/self/limits", every_line);
	show_file("/proc/self/oom_score_adj", every_line);
	show_file("/proc/self/timerslack_ns", every_line);
	printf("nice %d personality %x dumpable %d\n", getpriority(PRIO_PROCESS, 0), personality(0xffffffff),
	       prctl(PR_GET_DUMPABLE));
	show_terminal();
	return 0;
}

static int show_sockets(void)
{
	const char *addressee = getenv("LISTEN_PID"), *count = getenv("LISTEN_FDS");
	int accepts = 0;
	socklen_t size = sizeof(accepts);

	getsockopt(3, SOL_SOCKET, SO_ACCEPTCONN, &accepts, &size);
	printf("mine %d count %s accepts %d pidfd %s\n", addressee && atoi(addressee) == getpid(),
	       count ? count : "none", accepts, getenv("LISTEN_PIDFDID") ? "named" : "not named");
	return 0;
}

static int show_signals(void)
{
	uint64_t all = ~0ULL & ~(1ULL << (SIGSEGV - 1)) & ~(1ULL << (SIGTSTP - 1));
	int terms = 0;

	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, NULL, sizeof(all));
	printf("ready %d\n", getpid());
	while (terms < 2) {
		siginfo_t info;
		int number;

		fflush(stdout);
		number = syscall(SYS_rt_sigtimedwait, &all, &info, NULL, sizeof(all));
		if (number < 0)
			continue;
		if (info.si_code == SI_QUEUE)
			printf("signal %d value %d\n", number, info.si_int);
		else
			printf("signal %d\n", number);
		terms += number == SIGTERM;
	}
	return 0;
}

int main(int argc, char *argv[])
{
	const char *what = argc > 1 ? argv[1] : "";

	if (strcmp(what, "state") == 0)
		return show_state(argc, argv);
	if (strcmp(what, "sockets") == 0)
		return show_sockets();
	if (strcmp(what, "signals") == 0)
		return show_signals();
	if (strcmp(what, "queue") == 0 && argc == 5)
		return sigqueue(atoi(argv[2]), atoi(argv[3]), (union sigval){.sival_int = atoi(argv[4])}) < 0;
	return 2;
}
