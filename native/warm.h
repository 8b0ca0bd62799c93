/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef JAILRUN_WARM_H
#define JAILRUN_WARM_H

#include <sys/types.h>

/*
 * A process that moves to another cgroup takes cgroup_threadgroup_rwsem for writing, which waits for an
 * RCU grace period, 6 to 15 ms, unless somebody did so a moment ago (kernel/rcu/sync.c). While the
 * launcher works a child keeps that moment fresh, by moving to the cgroup in which it is already.
 *
 * Returns the child's pid, -1 where there is none: then the move takes its time.
 */
pid_t start_warming(void);

/* Ends the child, which sends no SIGCHLD. */
void stop_warming(pid_t child);

#endif
