/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef JAILRUN_CALLER_H
#define JAILRUN_CALLER_H

#include <signal.h>
#include <stdbool.h>
#include <sys/resource.h>

#include "signals.h"

/*
 * What the front was started with and changes for its own use. The command gets all of it back, since
 * it is to find what it would have found without jailrun. All else (environment, directory, umask,
 * ignored signals, descriptors, terminal) the front leaves alone.
 */
struct caller {
	signal_set blocked;
	struct sigaction on_child_exit;
	struct rlimit descriptors;
	int stream_flags[3]; /* of standard input, output and error; -1: closed */
};

/* Makes room for the front. Fails, with errno, where /dev/null is missing and a standard stream is closed. */
bool take_over(struct caller *caller);

/*
 * Gives the status flags of the standard streams back: they belong to the open file, so that node's
 * O_NONBLOCK would reach whoever else has it, the command included.
 */
void restore_streams(const struct caller *caller);

/* Gives all else back, on the way to an exec. */
void give_back(const struct caller *caller);

#endif
