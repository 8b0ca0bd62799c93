/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef JAILRUN_POD_H
#define JAILRUN_POD_H

#include <stdbool.h>
#include <stdint.h>
#include <unistd.h>

#include "abi.h"
#include "message.h"

/* A pod that is ready for its command, as the launcher hands it over. */
struct pod {
	struct jr_plan plan;
	int descriptors[JR_PLAN_FDS]; /* in the order of enum jr_plan_fd */
};

static inline struct voice voice_of(const struct pod *pod)
{
	return (struct voice){pod->plan.report ? (int)pod->plan.report : STDERR_FILENO,
			      pod->plan.flags & JR_PLAN_JSON};
}

/*
 * Takes the launcher's message off `socket`. Returns NULL, or what is wrong with it: then the descriptors
 * are closed again. `words` is the length of the front's own argv, in which the plan points.
 */
const char *receive_pod(struct pod *pod, int socket, int words);

/*
 * Opens the pinned maps that a plan comes with, and has -1 for what is no map. False where one cannot be
 * opened, which is -1 then.
 */
bool open_pod_maps(int descriptors[JR_PLAN_FDS]);

/* How many denials the pod has had. */
uint64_t count_denials(const struct pod *pod);

/* Whether a task is in the pod, wherever that was moved to; in doubt one is. */
bool has_task(uint64_t pod);

/*
 * Removes the pod's cgroup, map entries and state file, in this order: what is left when this process
 * dies in between is what the next jailrun recognizes as a dead pod's and removes. A pod in which
 * processes live on stays as it is. Returns what cannot be removed, with errno, otherwise NULL.
 */
const char *take_apart(const struct pod *pod);

/* Removes the pod's map entries alone. False, with errno, where one is left. */
bool delete_entries(const struct pod *pod);

/* take_apart(), which says what is left. */
void remove_pod(const struct pod *pod);

#endif
