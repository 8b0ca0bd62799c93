/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef JAILRUN_STATEFILE_H
#define JAILRUN_STATEFILE_H

#include <stdbool.h>

#include "dead.h"
#include "abi.h"

enum {
	POD_NAME_SIZE = 32 + sizeof("-01234567"), /* what it is named after is cut off there */
};

/* What a pod is called, and by that its state file, before and after it has its first line (pods.ts). */
struct names {
	char name[POD_NAME_SIZE];
	char draft[sizeof(STATE_DIRECTORY "/.") + POD_NAME_SIZE];
	char state[sizeof(STATE_DIRECTORY "/.json") + POD_NAME_SIZE];
};

/*
 * Names a pod after the last component of `wanted`, as far as a file and a cgroup may be called so, with a
 * random end that makes it unique. False where the launcher has to.
 */
bool name_pod(struct names *names, const char *wanted);

/* jailrun's lock on this host, until it is closed. Returns -1 where it cannot be taken. */
int lock_host(void);

/*
 * Makes the draft and locks it, in one step for whoever looks for drafts whose maker was killed; with
 * `drafts` those are removed first. Returns -1 where it cannot be made.
 */
int open_draft(const struct names *names, bool drafts);

/* Makes the draft the pod's state file, once it has its first line. */
bool publish_draft(const struct names *names);

/* Writes the second line, before any entry of the pod exists. */
bool write_id(int state, __u64 pod);

#endif
