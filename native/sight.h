/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef JAILRUN_SIGHT_H
#define JAILRUN_SIGHT_H

#include <stdbool.h>

#include "abi.h"

/* Where a look begins: what sights themselves do not say. */
struct viewpoint {
	const char *directory; /* the front's own */
	int epochs;            /* map device_epochs */
	int root; /* the directory that paths of links begin at; AT_FDCWD where they are absolute */
};

/*
 * Whether all is as the launcher saw it: what looks the same, and not just alike, decides the same again. The
 * sights must be whole. Where something cannot be looked at it is another.
 */
bool is_as_seen(const struct jr_sight *first, const char *end, const struct viewpoint *from);

/* Whether the bytes up to `end` are sights, one after the other, that keep within their sizes. */
bool are_whole(const char *first, const char *end);

/* The first sight of this kind, or NULL. */
const struct jr_sight *find_sight(const struct jr_sight *first, const char *end, enum jr_sight_kind kind);

/* Reads an entry of the map device_epochs; entry 0 counts the ends of all file systems. */
bool read_epoch(int epochs, __u32 index, __u32 *epoch);

static inline const char *path_of(const struct jr_sight *sight)
{
	return (const char *)(sight + 1);
}

#endif
