/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include "caller.h"

#include <fcntl.h>
#include <sys/prctl.h>

/* Descriptors that the front opens beside those it was given, with room to spare. */
enum { OWN_DESCRIPTORS = 64 };

/* The caller may use up its limit and leave none for the front. */
static void make_room_for_descriptors(struct caller *caller)
{
	struct rlimit wider;

	getrlimit(RLIMIT_NOFILE, &caller->descriptors);
	wider.rlim_cur = caller->descriptors.rlim_cur + OWN_DESCRIPTORS;
	wider.rlim_max =
	    caller->descriptors.rlim_max > wider.rlim_cur ? caller->descriptors.rlim_max : wider.rlim_cur;
	setrlimit(RLIMIT_NOFILE, &wider);
}

/*
 * A closed standard stream is held by a close-on-exec descriptor of /dev/null: nothing that the front
 * opens gets its number, and a message goes nowhere instead of into a socket or a map. The command
 * finds it closed again.
 */
static bool hold_streams(struct caller *caller)
{
	for (int fd = 0; fd < 3; fd++) {
		caller->stream_flags[fd] = fcntl(fd, F_GETFL);
		if (caller->stream_flags[fd] < 0 && open("/dev/null", O_RDWR | O_CLOEXEC) < 0)
			return false;
	}
	return true;
}

/*
 * Where SIGCHLD is ignored the kernel reaps children unseen, and their status is lost. Where it is
 * blocked, node's end would stay pending and meet a command that is this same process.
 */
static void watch_children(struct caller *caller)
{
	struct sigaction standard = {.sa_handler = SIG_DFL};

	sigaction(SIGCHLD, &standard, &caller->on_child_exit);
	caller->blocked = get_blocked();
	set_blocked(caller->blocked & ~signal_bit(SIGCHLD));
}

bool take_over(struct caller *caller)
{
	/* The front is not jailed, so no one may trace it or dump it. exec makes the command dumpable again.
	 */
	prctl(PR_SET_DUMPABLE, 0);
	make_room_for_descriptors(caller);
	watch_children(caller);
	return hold_streams(caller);
}

void restore_streams(const struct caller *caller)
{
	for (int fd = 0; fd < 3; fd++) {
		int flags = caller->stream_flags[fd];

		if (flags >= 0 && fcntl(fd, F_GETFL) != flags)
			fcntl(fd, F_SETFL, flags);
	}
}

void give_back(const struct caller *caller)
{
	setrlimit(RLIMIT_NOFILE, &caller->descriptors);
	sigaction(SIGCHLD, &caller->on_child_exit, NULL);
	set_blocked(caller->blocked);
}
