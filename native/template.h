/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef JAILRUN_TEMPLATE_H
#define JAILRUN_TEMPLATE_H

#include <stdbool.h>
#include <stddef.h>

#include "newrole.h"
#include "sight.h"
#include "table.h"

/* What one container's pod was made from, for the next one: see struct jr_template. */
struct template
{
	const struct jr_template *head; /* the file's bytes, all of them */
	const char *pieces;
	const struct jr_template_entry *entries;
	const struct jr_glob_row *globs;
	const struct jr_sight *sights;
	const char *end;
};

/* A container, as its template's gaps want it. */
struct filling {
	const struct table *table;
	const __u32 *epochs; /* of table->devices */
	__u64 digest;
	const char *name; /* the pod's */
	const char *id;
	const char *cgroup;
	__u64 cgroup_id;
	__u64 root_device;
	__u64 root_inode;
};

/*
 * Finds the template of a container that asks for the role `asked` (empty: the standard) and has this mount
 * table: the one of which all looks the same. False where there is none.
 */
bool find_template(struct template *template, const char *asked, const struct table *table, int meta,
		   const struct viewpoint *from);

/* Whether a container that asks for no role is known not to be jailed. */
bool is_known_free(const struct viewpoint *from);

/* The role of a container with this table and these epochs. False, with nothing to free, where it has none.
 */
bool fill_role(const struct template *template, const struct table *table, const __u32 *epochs,
	       struct new_role *role);
void free_role(struct new_role *role);

/* The first line of its state file, in memory of the caller's. NULL where a gap has nothing to be filled
 * with. */
char *fill_header(const struct template *template, const struct filling *with, size_t *size);

void free_template(struct template *template);

#endif
