/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef JAILRUN_NEWPOD_H
#define JAILRUN_NEWPOD_H

#include <stdbool.h>

#include "pod.h"

/* What a pod is made from. */
struct pattern {
	__u64 role;  /* the role's digest */
	__u32 flags; /* enum jr_task_flag */
	/* The first line of the state file: before the cgroup, the name and the command, and behind. */
	struct {
		const char *bytes;
		size_t size;
	} text[4];
	const char *cgroups; /* where the root of this namespace's cgroups is mounted */
	const char *command;
	const char *name; /* what the pod is named after */
	__u32 keep;       /* as in struct jr_counters */
};

/*
 * Makes a pod for a command, as makePod() and createPod() do in the launcher, in
 * the same order, so that whoever is killed on the way leaves what the next jailrun removes. The maps of
 * `pod` must be open. `roles` is the map of them. `drafts` says that some may be left of makers that were
 * killed. False, with nothing left, where something fails or the kernel no longer has the role.
 */
bool make_pod(struct pod *pod, int roles, const struct pattern *pattern, bool drafts);

/* Takes a pod apart in which nothing was started, and closes what was opened for it. */
void unmake_pod(const struct pod *pod);

#endif
