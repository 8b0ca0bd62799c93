/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef JAILRUN_LAUNCHER_H
#define JAILRUN_LAUNCHER_H

#include <limits.h>
#include <sys/types.h>

#include "caller.h"
#include "message.h"

/* The launcher: node running launcher.cjs, which lies beside the front's own binary. */
struct launcher {
	const struct caller *caller;
	struct voice voice;
	char script[PATH_MAX];
};

/* A process that this one started, and its pidfd. */
struct process {
	pid_t pid;
	int fd;
};

/* Fills `script` in. Fails with errno; whether there is such a file only node will see. */
bool find_script(struct launcher *launcher);

/*
 * Runs the launcher with `arguments`, which end with NULL, and `count` descriptors of ours as its 0, 1, 2
 * and so on; no other descriptor reaches it, and of the environment only what it may know. It dies with
 * this process. Fails with pid -1 and errno.
 */
struct process start_launcher(const struct launcher *launcher, char *const arguments[],
			      const int descriptors[], int count);

/* Waits until the process has ended and says how: si_code and si_status as waitid(2) has them. */
siginfo_t wait_for_end(struct process process);

static inline bool ended_well(const siginfo_t *end)
{
	return end->si_code == CLD_EXITED && end->si_status == 0;
}

#endif
