/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef JAILRUN_TABLE_H
#define JAILRUN_TABLE_H

#include <stdbool.h>
#include <stddef.h>

#include "abi.h"

/* A mount at, above or below a container's root directory. */
struct mount {
	__u32 id;
	__u32 parent;
	__u32 device; /* as the kernel has it: major << 20 | minor */
	__u16 place;  /* among the lines of the table */
	bool inside;  /* at the root directory or below it */
	const char *root;
	const char *point;
	const char *type;
};

/*
 * The mount table of a container's runtime, as far as it decides about the container, and its normal form:
 * a line for each of `mounts`, which are in the order of their mount points and, at the same one, as they
 * were mounted: with the place of its parent among them, or `-`; then, of one above the root directory, `^`
 * and how many components its mount point has; of another one its file system's place in `devices`, its root,
 * its mount point from the root directory on, and its type. A component of a root that is the container's own
 * is byte 1 and a letter, `A` for the first of `variables`, which are sorted.
 */
struct table {
	char *bytes;
	char *text; /* filled up to four bytes with zeros */
	size_t size;
	int mount_count;
	int device_count;
	int variable_count;
	struct mount mounts[JR_MAX_DIFFERENT];
	__u32 devices[JR_MAX_DIFFERENT];
	char variables[JR_MAX_VARIABLES][JR_MAX_NAME + 1];
};

/*
 * Reads the table at `path` for the container `id` with the root directory `root`. normalize() in template.ts
 * has the same form and must be changed together with this. False for one that is unusual.
 */
bool read_table(struct table *table, const char *path, const char *root, const char *id);
void free_table(struct table *table);

/* Reads a file of the kernel's, of which nobody knows the size, into memory of the caller's. NULL, with
 * errno. */
char *read_all(int file, size_t *size);

#endif
