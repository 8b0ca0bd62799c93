/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include "sight.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "map.h"

static const char *data_of(const struct jr_sight *sight)
{
	return path_of(sight) + sight->path;
}

static const struct jr_sight *next_of(const struct jr_sight *sight)
{
	return (const struct jr_sight *)((const char *)sight + sight->size);
}

static bool is_whole(const struct jr_sight *sight, size_t room)
{
	size_t data;

	if (room < sizeof(*sight) || sight->size > room || sight->size % 4 || sight->path % 4)
		return false;
	data = ((size_t)sight->data + 3) & ~(size_t)3;
	if (sight->size != sizeof(*sight) + sight->path + data)
		return false;
	return sight->path > 0 && path_of(sight)[sight->path - 1] == '\0';
}

bool are_whole(const char *first, const char *end)
{
	while (first < end) {
		const struct jr_sight *sight = (const struct jr_sight *)first;

		if (!is_whole(sight, end - first))
			return false;
		first += sight->size;
	}
	return true;
}

const struct jr_sight *find_sight(const struct jr_sight *first, const char *end, enum jr_sight_kind kind)
{
	for (; (const char *)first < end; first = next_of(first))
		if (first->kind == kind)
			return first;
	return NULL;
}

/* Whether what is left to read of the file is these bytes. */
static bool has_bytes(int file, const char *bytes, size_t size)
{
	char read_bytes[16384];
	ssize_t count;

	while ((count = read(file, read_bytes, sizeof(read_bytes))) > 0) {
		if ((size_t)count > size || memcmp(read_bytes, bytes, count) != 0)
			return false;
		bytes += count;
		size -= count;
	}
	return count == 0 && size == 0;
}

static bool has_content(int file, const struct jr_sight *sight)
{
	bool same = file >= 0 && has_bytes(file, data_of(sight), sight->data);

	if (file >= 0)
		close(file);
	return same;
}

static bool is_same_file(const struct jr_sight *sight)
{
	/* O_NONBLOCK: a FIFO would wait for a writer. */
	int file = open(path_of(sight), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	struct stat state;

	if (file >= 0 &&
	    (fstat(file, &state) < 0 || state.st_mode != sight->mode || state.st_uid != sight->owner)) {
		close(file);
		return false;
	}
	return has_content(file, sight);
}

static bool is_listed(const struct jr_sight *sight, const char *wanted)
{
	const char *name = data_of(sight), *end = name + sight->data;

	while (name < end && strcmp(name, wanted) != 0)
		name += strlen(name) + 1;
	return name < end;
}

/* Whether there are as many names as are listed, and each of them is. */
static bool has_names(DIR *directory, const struct jr_sight *sight)
{
	struct dirent *entry;
	size_t listed = 0, found = 0;

	if (sight->data > 0 && data_of(sight)[sight->data - 1] != '\0')
		return false;
	for (__u32 i = 0; i < sight->data; i++)
		listed += data_of(sight)[i] == '\0';
	errno = 0;
	while ((entry = readdir(directory))) {
		if (entry->d_name[0] == '.')
			continue;
		if (!is_listed(sight, entry->d_name))
			return false;
		found++;
	}
	return errno == 0 && found == listed;
}

static bool is_same_directory(const struct jr_sight *sight)
{
	DIR *directory = opendir(path_of(sight));
	bool same = directory && has_names(directory, sight);

	if (directory)
		closedir(directory);
	return same;
}

static bool is_nowhere(int error)
{
	return error == ENOENT || error == ENOTDIR || error == ENAMETOOLONG;
}

static bool is_absent(const struct jr_sight *sight)
{
	struct stat state;

	return lstat(path_of(sight), &state) < 0 && is_nowhere(errno);
}

static bool is_same_place(const struct jr_sight *sight)
{
	struct stat state;

	return lstat(path_of(sight), &state) == 0 && state.st_mode == sight->mode &&
	       state.st_uid == sight->owner;
}

static bool is_same_link(const struct jr_sight *sight, int root)
{
	char target[PATH_MAX];
	ssize_t length = readlinkat(root, path_of(sight), target, sizeof(target));

	return length >= 0 && (size_t)length < sizeof(target) && length == sight->data &&
	       memcmp(target, data_of(sight), length) == 0;
}

static bool is_no_link(const struct jr_sight *sight, int root)
{
	char target[1];

	return readlinkat(root, path_of(sight), target, sizeof(target)) < 0 &&
	       (errno == EINVAL || is_nowhere(errno));
}

static __u64 nanoseconds(const struct timespec *time)
{
	return (__u64)time->tv_sec * 1000000000 + time->tv_nsec;
}

static bool is_identical(const struct jr_sight *sight, const struct viewpoint *from)
{
	struct jr_identity identity;
	char path[PATH_MAX];
	struct stat state;
	int length = snprintf(path, sizeof(path), "%s%s%s", *path_of(sight) == '/' ? "" : from->directory,
			      *path_of(sight) == '/' ? "" : "/", path_of(sight));

	if (length < 0 || (size_t)length >= sizeof(path) || sight->data != sizeof(identity) ||
	    stat(path, &state) < 0)
		return false;
	identity = (struct jr_identity){state.st_dev, state.st_ino, state.st_size,
					nanoseconds(&state.st_mtim), nanoseconds(&state.st_ctim)};
	return memcmp(&identity, data_of(sight), sizeof(identity)) == 0;
}

bool read_epoch(int epochs, __u32 index, __u32 *epoch)
{
	return index < JR_DEVICES && look_up(epochs, &index, epoch);
}

static bool are_same_epochs(const struct jr_sight *sight, int map)
{
	struct jr_epoch seen;
	__u32 epoch;

	for (size_t at = 0; at + sizeof(seen) <= sight->data; at += sizeof(seen)) {
		memcpy(&seen, data_of(sight) + at, sizeof(seen));
		if (!read_epoch(map, seen.index, &epoch) || epoch != seen.epoch)
			return false;
	}
	return sight->data % sizeof(seen) == 0;
}

static bool is_same(const struct jr_sight *sight, const struct viewpoint *from)
{
	switch ((enum jr_sight_kind)sight->kind) {
	case JR_SIGHT_MOUNTS:
		return has_content(open(path_of(sight), O_RDONLY | O_CLOEXEC), sight);
	case JR_SIGHT_EPOCHS:
		return are_same_epochs(sight, from->epochs);
	case JR_SIGHT_CGROUPS:
		/* Where it is mounted the mount table tells. */
		return true;
	case JR_SIGHT_ABSENT:
		return is_absent(sight);
	case JR_SIGHT_PLACE:
		return is_same_place(sight);
	case JR_SIGHT_DIRECTORY:
		return is_same_directory(sight);
	case JR_SIGHT_FILE:
		return is_same_file(sight);
	case JR_SIGHT_LINK:
		return is_same_link(sight, from->root);
	case JR_SIGHT_NO_LINK:
		return is_no_link(sight, from->root);
	case JR_SIGHT_SAME:
		return is_identical(sight, from);
	}
	return false;
}

/*
 * A file system that ends meanwhile may be the old one in the mount table and the next one in the epochs, as
 * in readMounts() of kernel.ts; entry 0 counts the ends of all of them.
 */
bool is_as_seen(const struct jr_sight *first, const char *end, const struct viewpoint *from)
{
	__u32 ends, ends_now;

	if (!read_epoch(from->epochs, 0, &ends))
		return false;
	for (; (const char *)first < end; first = next_of(first))
		if (!is_same(first, from))
			return false;
	return read_epoch(from->epochs, 0, &ends_now) && ends_now == ends;
}
