/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef JAILRUN_NEWROLE_H
#define JAILRUN_NEWROLE_H

#include <stdbool.h>

#include "abi.h"

/* What the kernel gets of a role. */
struct new_role {
	__u64 digest;
	struct jr_role form;
	__u32 entries;
	__u32 rows;
	const struct jr_rule_key *keys;
	const struct jr_rule *values;
	const struct jr_glob_row *globs;
};

/* The maps that roles are in, and that of the pods, which keep them there. */
struct role_maps {
	int roles;
	int rules;
	int globs;
	int pods;
};

/*
 * Makes the role known to the kernel as #installRole() of kernel.ts does, in the same order, and takes two
 * roles away that no pod has where many are idle. Under jailrun's lock, with the pod's own entry there, which
 * keeps the role. False on failure: then the role is not whole, and grants nothing.
 */
bool install_role(const struct role_maps *maps, const struct new_role *role);

#endif
