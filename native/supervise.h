/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef JAILRUN_SUPERVISE_H
#define JAILRUN_SUPERVISE_H

#include <signal.h>

#include "caller.h"
#include "pod.h"

/*
 * Runs the command in the pod's cgroup and stands for it until it has ended: passes signals on, stops
 * when it stops. Says in `end` how it ended: si_code and si_status as waitid(2) has them. Returns with
 * every signal blocked and all descriptors closed but the report's and the pod's. False, with errno:
 * it could not be started.
 */
bool supervise(const struct caller *caller, const struct pod *pod, int program, char *const command[],
	       siginfo_t *end);

/* Ends this process as another one ended, so that a shell sees 128+n where a signal did it. */
_Noreturn void end_like(const siginfo_t *end);

#endif
