/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef JAILRUN_ENTER_H
#define JAILRUN_ENTER_H

#include <sys/types.h>

#include "pod.h"

/*
 * The name, as argument 0, by which this program knows that it is the last mile. Whoever else calls it
 * so gets a task that is in no pod, or in another one than it claims, and the stage ends there.
 */
#define ENTER_NAME "jail-enter"

/*
 * Executes this program again, from the descriptor `program`, as the last mile of `command` in `pod`:
 * this exec is what makes the task the pod's, if the task is in the pod's cgroup. `front` is the process
 * that the command stands for. Returns only on failure, after saying why, with the status for it.
 */
int exec_enter(int program, const struct pod *pod, pid_t front, char *const command[]);

/* The last mile: proves that this task is in the pod, and becomes the command. */
int enter(int argc, char *argv[]);

#endif
