/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef JAILRUN_MAP_H
#define JAILRUN_MAP_H

#include <linux/types.h>
#include <stdbool.h>
#include <stdint.h>

/* The pinned programs, and their maps; kernel.ts has the same. */
#define PINS "/sys/fs/bpf/jailrun"

/* Opens the pinned map of this name. Returns -1, with errno, EINVAL for a map of other sizes. */
int open_map(const char *name, __u32 key_size, __u32 value_size);

bool is_map(int map, __u32 key_size, __u32 value_size);

/* These fail with errno, as bpf(2) does. To delete a key that is not there is no failure. */
bool look_up(int map, const void *key, void *value);
bool update(int map, const void *key, const void *value);
bool delete_key(int map, const void *key);

/*
 * Asks what holds this task (enum jr_probe_answer). Returns the errno: EINVAL, which is the kernel's own
 * answer, where nothing does.
 */
int probe_pod(uint64_t pod);

#endif
