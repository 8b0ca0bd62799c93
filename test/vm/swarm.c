/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * swarm WAY SECRET MARKER STOP: opens SECRET again and again, in one of these ways, until the file STOP is
 * there. Says "started" once it does. An open that succeeds although MARKER was there before it is an escape:
 * it says "escaped" and ends. Otherwise it says "held" at the end.
 *  - threads: two threads, and others that they start without end
 *  - crowd: 64 threads that are there from the beginning
 *  - children: the same by fork(2), in children and grandchildren
 *  - exec: a thread that is not the first one executes this program, again and again
 *  - memory: a child that has its parent's memory but is no thread (CLONE_VM); says the child's number
 *  - tracer: traces a child; says the child's number
 *  - ring: a child has a ring that its parent's thread polls; says the child's number
 *  - polled: by a ring that a thread of its own polls, and by that ring's workers
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ring.h"

static char **names;

static void must(int good, const char *what)
{
	if (good)
		return;
	fprintf(stderr, "swarm: %s: %s\n", what, strerror(errno));
	_exit(2);
}

static int exists(const char *path)
{
	struct stat status;

	return stat(path, &status) == 0;
}

static void say(const char *text)
{
	must(write(1, text, strlen(text)) > 0, "write");
}

static int stopped(void)
{
	return exists(names[4]);
}

/* Opens what a jail denies. */
static void reach(void)
{
	int late = exists(names[3]);
	int file = open(names[2], O_RDONLY);

	if (file < 0)
		return;
	close(file);
	if (!late)
		return;
	say("escaped\n");
	_exit(1);
}

static void *reach_thrice(void *unused)
{
	for (int i = 0; i < 3; i++)
		reach();
	return unused;
}

static void *start_threads(void *unused)
{
	while (!stopped()) {
		pthread_t thread;

		errno = pthread_create(&thread, NULL, reach_thrice, NULL);
		must(!errno, "pthread_create");
		reach();
		pthread_join(thread, NULL);
	}
	return unused;
}

static void threads(void)
{
	pthread_t others[2];

	for (int i = 0; i < 2; i++)
		pthread_create(others + i, NULL, start_threads, NULL);
	say("started\n");
	for (int i = 0; i < 2; i++)
		pthread_join(others[i], NULL);
}

static void *reach_now_and_then(void *unused)
{
	while (!stopped()) {
		usleep(20000);
		reach();
	}
	return unused;
}

static void crowd(void)
{
	pthread_t others[64];

	for (int i = 0; i < 64; i++) {
		errno = pthread_create(others + i, NULL, reach_now_and_then, NULL);
		must(!errno, "pthread_create");
	}
	say("started\n");
	for (int i = 0; i < 64; i++)
		pthread_join(others[i], NULL);
}

static void children(void)
{
	say("started\n");
	while (!stopped()) {
		pid_t child = fork();
		int status;

		must(child >= 0, "fork");
		if (!child) {
			reach();
			child = fork();
			reach();
			if (child > 0)
				waitpid(child, NULL, 0);
			_exit(0);
		}
		reach();
		waitpid(child, &status, 0);
	}
}

static void *execute(void *unused)
{
	reach();
	setenv("SWARM_GOES_ON", "1", 1);
	execv("/proc/self/exe", names);
	must(0, "execv");
	return unused;
}

static void exec(void)
{
	pthread_t thread;

	if (!getenv("SWARM_GOES_ON"))
		say("started\n");
	reach();
	if (stopped())
		return;
	pthread_create(&thread, NULL, execute, NULL);
	for (;;)
		pause();
}

static int reach_until_stopped(void *unused)
{
	while (!stopped())
		reach();
	return unused != NULL;
}

static void say_number(pid_t number)
{
	char text[32];

	snprintf(text, sizeof(text), "%d\n", number);
	say(text);
}

static void memory(void)
{
	size_t size = 1 << 16;
	char *stack = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pid_t child;

	must(stack != MAP_FAILED, "mmap");
	child = clone(reach_until_stopped, stack + size, CLONE_VM | SIGCHLD, NULL);
	must(child > 0, "clone");
	say_number(child);
	waitpid(child, NULL, 0);
}

static void tracer(void)
{
	pid_t child = fork();
	int status;

	must(child >= 0, "fork");
	if (!child) {
		while (!stopped())
			usleep(1000);
		_exit(0);
	}
	must(ptrace(PTRACE_SEIZE, child, 0, 0) == 0, "ptrace");
	say_number(child);
	waitpid(child, &status, 0);
}

static void ring(void)
{
	struct io_uring_params parameters = {.flags = IORING_SETUP_SQPOLL, .sq_thread_idle = 1000};
	int fd = syscall(SYS_io_uring_setup, 4, &parameters);
	pid_t child;

	must(fd >= 0, "io_uring_setup");
	child = fork();
	must(child >= 0, "fork");
	if (!child) {
		while (!stopped())
			usleep(1000);
		_exit(0);
	}
	say_number(child);
	waitpid(child, NULL, 0);
}

static void polled(void)
{
	struct io_uring_sqe request = {.opcode = IORING_OP_OPENAT,
				       .fd = AT_FDCWD,
				       .addr = (unsigned long)names[2],
				       .open_flags = O_RDONLY};
	struct ring ring;

	must(make_ring(&ring, IORING_SETUP_SQPOLL) == 0, "io_uring_setup");
	must(submit(&ring, request) >= 0, "the first request");
	say("started\n");
	while (!stopped()) {
		int late = exists(names[3]);
		int file = submit(&ring, request);

		request.flags ^= IOSQE_ASYNC;
		if (file < 0)
			continue;
		close(file);
		if (!late)
			continue;
		say("escaped\n");
		_exit(1);
	}
}

static const struct {
	const char *name;
	void (*act)(void);
} ways[] = {{"threads", threads}, {"crowd", crowd},   {"children", children}, {"exec", exec},
	    {"memory", memory},   {"tracer", tracer}, {"ring", ring},         {"polled", polled}};

int main(int argc, char **argv)
{
	must(argc == 5, "WAY SECRET MARKER STOP");
	names = argv;
	for (size_t i = 0; i < sizeof(ways) / sizeof(*ways); i++) {
		if (strcmp(ways[i].name, argv[1]))
			continue;
		ways[i].act();
		say("held\n");
		return 0;
	}
	must(0, argv[1]);
}
