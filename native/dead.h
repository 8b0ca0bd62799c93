/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef JAILRUN_DEAD_H
#define JAILRUN_DEAD_H

#include <stdbool.h>

#include "pod.h"

/* Where the launcher has the state files (pods.ts). */
#define STATE_DIRECTORY "/run/jailrun/pods"

/*
 * Removes what is dead among some pods, which chance names, so that a start takes no longer the more pods
 * there are: nobody holds the lock of their state file, and no task is in their cgroup. `maps` are a pod's
 * descriptors; those of the maps count. Says whether there are drafts of state files, too. False where
 * something cannot be read or removed, and where a pod without a cgroup of its own is to end, which the
 * launcher does.
 */
bool remove_some_dead_pods(const int maps[JR_PLAN_FDS], bool *drafts);

/* Removes drafts of state files whose maker was killed. Only under jailrun's lock. */
void remove_dead_drafts(void);

#endif
