/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include "map.h"

#include <errno.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "abi.h"

static long bpf(enum bpf_cmd command, union bpf_attr *attributes)
{
	return syscall(SYS_bpf, command, attributes, sizeof(*attributes));
}

int open_map(const char *name, __u32 key_size, __u32 value_size)
{
	char path[sizeof(PINS "/maps/") + 64];
	union bpf_attr attributes = {.pathname = (uintptr_t)path};
	int map;

	snprintf(path, sizeof(path), PINS "/maps/%s", name);
	/* The kernel makes the descriptor close-on-exec. */
	map = bpf(BPF_OBJ_GET, &attributes);
	if (map >= 0 && !is_map(map, key_size, value_size)) {
		close(map);
		errno = EINVAL;
		return -1;
	}
	return map;
}

bool is_map(int map, __u32 key_size, __u32 value_size)
{
	struct bpf_map_info info = {0};
	union bpf_attr attributes = {
	    .info = {.bpf_fd = map, .info_len = sizeof(info), .info = (uintptr_t)&info}};

	if (bpf(BPF_OBJ_GET_INFO_BY_FD, &attributes) < 0)
		return false;
	return info.key_size == key_size && info.value_size == value_size;
}

bool look_up(int map, const void *key, void *value)
{
	union bpf_attr attributes = {.map_fd = map, .key = (uintptr_t)key, .value = (uintptr_t)value};

	return bpf(BPF_MAP_LOOKUP_ELEM, &attributes) == 0;
}

bool update(int map, const void *key, const void *value)
{
	union bpf_attr attributes = {.map_fd = map, .key = (uintptr_t)key, .value = (uintptr_t)value};

	return bpf(BPF_MAP_UPDATE_ELEM, &attributes) == 0;
}

bool delete_key(int map, const void *key)
{
	union bpf_attr attributes = {.map_fd = map, .key = (uintptr_t)key};

	return bpf(BPF_MAP_DELETE_ELEM, &attributes) == 0 || errno == ENOENT;
}

int probe_pod(uint64_t pod)
{
	struct jr_probe probe = {.pod = pod};

	return syscall(SYS_bpf, JR_PROBE_COMMAND, &probe, sizeof(probe)) == 0 ? EINVAL : errno;
}
