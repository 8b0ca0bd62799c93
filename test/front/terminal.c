/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Runs a program on a terminal of its own, as its session's leader:
 *
 *	terminal PROGRAM [ARG…]
 *
 * What comes on standard input is typed, what the terminal shows goes to standard output; the end of
 * standard input hangs the terminal up. SIGUSR1 changes the window's size. Ends with the program's
 * status, 128+n for a signal.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

static void resize(int terminal)
{
	static unsigned short rows = 24;
	struct winsize size = {.ws_row = ++rows, .ws_col = 80};

	ioctl(terminal, TIOCSWINSZ, &size);
}

/* Copies what there is. False at the end. */
static bool copy(int from, int to)
{
	char bytes[4096];
	ssize_t size = read(from, bytes, sizeof(bytes));

	return size > 0 && write(to, bytes, size) == size;
}

int main(int argc, char *argv[])
{
	struct winsize size = {.ws_row = 24, .ws_col = 80};
	struct signalfd_siginfo request;
	sigset_t requests;
	int terminal, resizing, status;
	pid_t child;

	if (argc < 2)
		return 2;
	child = forkpty(&terminal, NULL, NULL, &size);
	if (child == 0) {
		execvp(argv[1], argv + 1);
		_exit(99);
	}
	fcntl(terminal, F_SETFD, FD_CLOEXEC);
	sigemptyset(&requests);
	sigaddset(&requests, SIGUSR1);
	sigprocmask(SIG_BLOCK, &requests, NULL);
	resizing = signalfd(-1, &requests, SFD_CLOEXEC);
	for (;;) {
		struct pollfd events[] = {{.fd = terminal, .events = POLLIN},
					  {.fd = STDIN_FILENO, .events = POLLIN},
					  {.fd = resizing, .events = POLLIN}};

		if (poll(events, 3, -1) < 0)
			return 99;
		if (events[2].revents && read(resizing, &request, sizeof(request)) > 0)
			resize(terminal);
		/* A terminal that nobody has open any more reads as EIO. */
		if (events[0].revents && !copy(terminal, STDOUT_FILENO))
			break;
		if (events[1].revents && !copy(STDIN_FILENO, terminal))
			break;
	}
	close(terminal);
	waitpid(child, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
