/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include "map.h"

#include <errno.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "abi.h"
#include "table.h"

static long bpf(enum bpf_cmd command, union bpf_attr *attributes)
{
	return syscall(SYS_bpf, command, attributes, sizeof(*attributes));
}

static int open_pin(const char *directory, const char *name)
{
	char path[sizeof(PINS) + 128];
	union bpf_attr attributes = {.pathname = (uintptr_t)path};

	snprintf(path, sizeof(path), PINS "/%s/%s", directory, name);
	/* The kernel makes the descriptor close-on-exec. */
	return bpf(BPF_OBJ_GET, &attributes);
}

int open_map(const char *name, __u32 key_size, __u32 value_size)
{
	int map = open_pin("maps", name);

	if (map >= 0 && !is_map(map, key_size, value_size)) {
		close(map);
		errno = EINVAL;
		return -1;
	}
	return map;
}

int open_map_of(const char *name, __u32 key_size)
{
	int map = open_pin("maps", name);

	if (map >= 0 && !is_map(map, key_size, value_size_of(map))) {
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

__u32 value_size_of(int map)
{
	struct bpf_map_info info = {0};
	union bpf_attr attributes = {
	    .info = {.bpf_fd = map, .info_len = sizeof(info), .info = (uintptr_t)&info}};

	return bpf(BPF_OBJ_GET_INFO_BY_FD, &attributes) < 0 ? 0 : info.value_size;
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

bool next_key(int map, const void *key, void *next)
{
	union bpf_attr attributes = {.map_fd = map, .key = (uintptr_t)key, .next_key = (uintptr_t)next};

	return bpf(BPF_MAP_GET_NEXT_KEY, &attributes) == 0;
}

static bool fill(int map, const void *keys, const void *values, __u32 count)
{
	union bpf_attr entries = {
	    .batch = {.keys = (uintptr_t)keys, .values = (uintptr_t)values, .count = count, .map_fd = map}};
	union bpf_attr frozen = {.map_fd = map};

	if (count > 0 && (bpf(BPF_MAP_UPDATE_BATCH, &entries) < 0 || entries.batch.count != count))
		return false;
	return bpf(BPF_MAP_FREEZE, &frozen) == 0;
}

int make_inner_map(const struct inner_map *map, const void *keys, const void *values, __u32 count)
{
	union bpf_attr attributes = {.map_type = map->type,
				     .key_size = map->key_size,
				     .value_size = map->value_size,
				     .max_entries = count > 0 ? count : 1,
				     .map_flags = map->flags};
	int made;

	snprintf(attributes.map_name, sizeof(attributes.map_name), "%s", map->name);
	made = bpf(BPF_MAP_CREATE, &attributes);
	if (made >= 0 && !fill(made, keys, values, count)) {
		close(made);
		return -1;
	}
	return made;
}

char *iterate(const char *name, int process, size_t *size)
{
	union bpf_iter_link_info over = {.task = {.pid_fd = process}};
	int program = open_pin("iterators", name), link, output = -1;
	union bpf_attr made = {.link_create = {.prog_fd = program, .attach_type = BPF_TRACE_ITER}};
	char *bytes = NULL;

	if (program < 0)
		return NULL;
	if (process >= 0) {
		made.link_create.iter_info = (uintptr_t)&over;
		made.link_create.iter_info_len = sizeof(over);
	}
	link = bpf(BPF_LINK_CREATE, &made);
	if (link >= 0) {
		union bpf_attr opened = {.iter_create = {.link_fd = link}};

		output = bpf(BPF_ITER_CREATE, &opened);
		close(link);
	}
	if (output >= 0) {
		bytes = read_all(output, size);
		close(output);
	}
	close(program);
	return bytes;
}

int probe_pod(uint64_t pod)
{
	struct jr_probe probe = {.pod = pod};

	return syscall(SYS_bpf, JR_PROBE_COMMAND, &probe, sizeof(probe)) == 0 ? EINVAL : errno;
}
