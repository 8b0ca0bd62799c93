/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include "statefile.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <unistd.h>

#define LOCK "/run/jailrun/lock"

bool name_pod(struct names *names, const char *wanted)
{
	size_t length = strlen(wanted), start;
	char *name = names->name;
	unsigned int end;
	int plain = 0;

	while (length > 1 && wanted[length - 1] == '/')
		length--;
	for (start = length; start > 0 && wanted[start - 1] != '/';)
		start--;
	for (; start < length && plain < 32; start++) {
		unsigned char byte = wanted[start];

		name[plain++] = (byte < 0x80 && isalnum(byte)) || strchr("._-", byte) ? byte : '_';
	}
	/* A name with a dot in front is a draft's. */
	if (plain == 0 || name[0] == '.' || getrandom(&end, sizeof(end), GRND_NONBLOCK) != sizeof(end))
		return false;
	sprintf(name + plain, "-%08x", end);
	sprintf(names->draft, STATE_DIRECTORY "/.%s", name);
	sprintf(names->state, STATE_DIRECTORY "/%s.json", name);
	return true;
}

int lock_host(void)
{
	int lock = open(LOCK, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	if (lock >= 0 && flock(lock, LOCK_EX) < 0) {
		close(lock);
		return -1;
	}
	return lock;
}

int open_draft(const struct names *names, bool drafts)
{
	int lock = lock_host(), draft;

	if (lock < 0)
		return -1;
	if (drafts)
		remove_dead_drafts();
	draft = open(names->draft, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600);
	if (draft >= 0 && flock(draft, LOCK_EX) < 0) {
		unlink(names->draft);
		close(draft);
		draft = -1;
	}
	close(lock);
	return draft;
}

bool publish_draft(const struct names *names)
{
	return renameat2(AT_FDCWD, names->draft, AT_FDCWD, names->state, RENAME_NOREPLACE) == 0;
}

bool write_id(int state, __u64 pod)
{
	char line[64];
	int length = sprintf(line, "{\"id\":\"%llu\"}\n", (unsigned long long)pod);

	return write(state, line, length) == length;
}
