/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include "starts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "map.h"

/* Where the launcher has them: root's, and nobody else enters it. */
#define DIRECTORY "/run/jailrun/starts/"

/* What each of them begins with. */
struct head {
	__u32 format;
	__u32 layout;
	__u32 size;
	__u32 checksum;
};

/* Reads a whole file that is root's alone; NULL where it is not, or is not there. */
static char *read_whole(const char *path, size_t *size)
{
	int file = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct stat state;
	char *bytes = NULL;

	if (file < 0)
		return NULL;
	if (fstat(file, &state) == 0 && S_ISREG(state.st_mode) && state.st_uid == 0 &&
	    (state.st_mode & 022) == 0 && state.st_size <= JR_START_MAX) {
		*size = state.st_size;
		bytes = malloc(*size + 1);
		if (bytes && read(file, bytes, *size + 1) != (ssize_t)*size) {
			free(bytes);
			bytes = NULL;
		}
	}
	close(file);
	return bytes;
}

/* It tells a damaged file, or one in another's place, and not a forged one: only root could forge it. */
__u32 checksum(const char *name, const char *bytes, const char *end)
{
	__u32 sum = 2166136261;

	for (; *name; name++)
		sum = (sum ^ (unsigned char)*name) * 16777619;
	for (; bytes < end; bytes += sizeof(sum)) {
		__u32 word;

		memcpy(&word, bytes, sizeof(word));
		sum = (sum ^ word) * 16777619;
	}
	return sum;
}

char *read_start(const char *name, __u32 format, size_t least, size_t *size)
{
	char path[sizeof(DIRECTORY) + START_NAME];
	const struct head *head;
	char *bytes;

	if (strlen(name) > START_NAME)
		return NULL;
	strcpy(stpcpy(path, DIRECTORY), name);
	bytes = read_whole(path, size);
	if (!bytes)
		return NULL;
	head = (const struct head *)bytes;
	if (*size >= least && *size % 4 == 0 && head->format == format && head->layout == JR_LAYOUT &&
	    head->size == *size && head->checksum == checksum(name, (const char *)(head + 1), bytes + *size))
		return bytes;
	free(bytes);
	return NULL;
}

bool are_same_programs(int meta, const __u8 *noted)
{
	struct jr_meta now;
	__u32 first = 0;

	return look_up(meta, &first, &now) && memcmp(&now, noted, sizeof(now)) == 0;
}

const char *policy_of_environment(void)
{
	const char *policy = getenv("JAILRUN_POLICY");

	return policy && *policy ? policy : NULL;
}

bool is_usual_caller(void)
{
	struct rlimit file_size;

	if (geteuid() != 0)
		return false;
	/* A limit that is meant for the command must not end a state file. */
	if (getrlimit(RLIMIT_FSIZE, &file_size) < 0 || file_size.rlim_cur != RLIM_INFINITY)
		return false;
	return probe_pod(0) == EINVAL;
}
