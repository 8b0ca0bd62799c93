/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef JAILRUN_MAP_H
#define JAILRUN_MAP_H

#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The pinned programs, and their maps; kernel.ts has the same. */
#define PINS "/sys/fs/bpf/jailrun"

/* Opens the pinned map of this name. Returns -1, with errno, EINVAL for a map of other sizes. */
int open_map(const char *name, __u32 key_size, __u32 value_size);

/* The same of a map of which only the programs know what its values are. */
int open_map_of(const char *name, __u32 key_size);

bool is_map(int map, __u32 key_size, __u32 value_size);

/* The size of a map's values, 0 where it cannot be told. */
__u32 value_size_of(int map);

/* These fail with errno, as bpf(2) does. To delete a key that is not there is no failure. */
bool look_up(int map, const void *key, void *value);
bool update(int map, const void *key, const void *value);
bool delete_key(int map, const void *key);
/* The key behind this one, the first one behind NULL. False at the end, and on failure. */
bool next_key(int map, const void *key, void *next);

/* What is needed to make a map for a map of maps (kernel.ts). */
struct inner_map {
	__u32 type; /* enum bpf_map_type */
	const char *name;
	__u32 key_size;
	__u32 value_size;
	__u32 flags;
};

/* Makes a map with these entries that nobody can change any more. Returns -1, with errno. */
int make_inner_map(const struct inner_map *map, const void *keys, const void *values, __u32 count);

/*
 * What a pinned iterator writes (kernel.ts), on its way over the process of a pidfd or, with -1, over all:
 * memory that is the caller's, and its size. NULL, with errno.
 */
char *iterate(const char *name, int process, size_t *size);

/*
 * Asks what holds this task (enum jr_probe_answer). Returns the errno: EINVAL, which is the kernel's own
 * answer, where nothing does.
 */
int probe_pod(uint64_t pod);

#endif
