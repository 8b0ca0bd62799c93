/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include "newpod.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include "dead.h"
#include "map.h"

#define LOCK "/run/jailrun/lock"

enum {
	NAME_SIZE = 32 + sizeof("-01234567"), /* the command's part is cut off there */
};

/* Where what is made is called by its name. */
struct names {
	char name[NAME_SIZE];
	char draft[sizeof(STATE_DIRECTORY "/.") + NAME_SIZE];
};

/* The command's name, as far as a file and a cgroup may be called so, and a random end that makes it unique.
 */
static bool name_pod(char name[NAME_SIZE], const char *command)
{
	size_t length = strlen(command), start;
	unsigned int end;
	int plain = 0;

	while (length > 1 && command[length - 1] == '/')
		length--;
	for (start = length; start > 0 && command[start - 1] != '/';)
		start--;
	for (; start < length && plain < 32; start++) {
		unsigned char byte = command[start];

		name[plain++] = (byte < 0x80 && isalnum(byte)) || strchr("._-", byte) ? byte : '_';
	}
	/* A name with a dot in front is a draft's. */
	if (plain == 0 || name[0] == '.' || getrandom(&end, sizeof(end), GRND_NONBLOCK) != sizeof(end))
		return false;
	sprintf(name + plain, "-%08x", end);
	return true;
}

/* This process's cgroup, as a path from the root of its cgroup namespace. */
static bool find_own_cgroup(char path[JR_PLAN_PATH])
{
	FILE *file = fopen("/proc/self/cgroup", "re");
	char line[JR_PLAN_PATH + 16];
	bool found = false;

	while (file && !found && fgets(line, sizeof(line), file))
		found = sscanf(line, "0::%1023[^\n]", path) == 1 && strchr(line, '\n');
	if (file)
		fclose(file);
	/* One outside of the namespace is shown with dots. */
	return found && path[0] == '/' && !strstr(path, "/..");
}

static bool print_paths(struct names *names, struct pod *pod, const struct pattern *pattern)
{
	char own[JR_PLAN_PATH];
	int length;

	if (!name_pod(names->name, pattern->command) || !find_own_cgroup(own))
		return false;
	sprintf(names->draft, STATE_DIRECTORY "/.%s", names->name);
	snprintf(pod->plan.state, sizeof(pod->plan.state), STATE_DIRECTORY "/%s.json", names->name);
	length = snprintf(pod->plan.cgroup, sizeof(pod->plan.cgroup), "%s%s/jailrun-%s", pattern->cgroups,
			  strcmp(own, "/") == 0 ? "" : own, names->name);
	return (size_t)length < sizeof(pod->plan.cgroup);
}

/* jailrun's lock on this host, until it is closed. Returns -1 where it cannot be taken. */
static int lock_host(void)
{
	int lock = open(LOCK, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	if (lock >= 0 && flock(lock, LOCK_EX) < 0) {
		close(lock);
		return -1;
	}
	return lock;
}

/* Makes the draft and locks it, in one step for whoever looks for drafts whose maker was killed. */
static bool open_draft(struct pod *pod, const struct names *names, bool drafts)
{
	int lock = lock_host(), draft;

	if (lock < 0)
		return false;
	if (drafts)
		remove_dead_drafts();
	draft = open(names->draft, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600);
	pod->descriptors[JR_PLAN_STATE] = draft;
	if (draft >= 0 && flock(draft, LOCK_EX) < 0) {
		unlink(names->draft);
		close(draft);
		draft = -1;
	}
	close(lock);
	return draft >= 0;
}

/* The text in JSON's form, in memory of its own. */
static char *json_of(const char *text)
{
	char *json = malloc(strlen(text) * JSON_GROWTH + 1);

	if (json)
		*append_json(json, text) = '\0';
	return json;
}

static bool write_header(const struct pod *pod, const struct pattern *pattern, const struct names *names)
{
	char *cgroup = json_of(pod->plan.cgroup), *command = json_of(pattern->command);
	const char *gaps[] = {cgroup, names->name, command};
	struct iovec parts[7];
	size_t size = 0;
	bool done = false;

	if (cgroup && command) {
		for (int i = 0; i < 7; i++) {
			parts[i] = i % 2 ? (struct iovec){(char *)gaps[i / 2], strlen(gaps[i / 2])}
					 : (struct iovec){(char *)pattern->text[i / 2].bytes,
							  pattern->text[i / 2].size};
			size += parts[i].iov_len;
		}
		done = writev(pod->descriptors[JR_PLAN_STATE], parts, 7) == (ssize_t)size;
	}
	free(cgroup);
	free(command);
	return done;
}

/* The second line, before any entry of the pod exists. */
static bool write_id(const struct pod *pod)
{
	char line[64];
	int length = sprintf(line, "{\"id\":\"%llu\"}\n", (unsigned long long)pod->plan.pod);

	return write(pod->descriptors[JR_PLAN_STATE], line, length) == length;
}

/* The cgroup's id is its directory's inode number. */
static bool open_cgroup(struct pod *pod)
{
	struct stat state;

	pod->descriptors[JR_PLAN_CGROUP] = open(pod->plan.cgroup, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fstat(pod->descriptors[JR_PLAN_CGROUP], &state) < 0)
		return false;
	pod->plan.pod = state.st_ino;
	return true;
}

/* Whether the kernel has the role, and all of it. */
static bool has_role(int roles, __u64 digest)
{
	struct jr_role role;

	return look_up(roles, &digest, &role) && role.id != 0;
}

/* The enrollment comes last, so an enrolled task always finds its role. */
static bool make_entries(const struct pod *pod, int roles, const struct pattern *pattern)
{
	const __u64 *key = &pod->plan.pod;
	struct jr_pod entry = {
	    .number = *key,
	    .role = pattern->role,
	    .flags = pattern->flags,
	    .next_role = pattern->role,
	    .next_flags = pattern->flags,
	};
	struct jr_counters counters = {0};
	int lock = lock_host();
	bool held;

	if (lock < 0)
		return false;
	/* The entry keeps the role from being dropped as unused, so it comes first. */
	held = update(pod->descriptors[JR_PLAN_PODS], key, &entry) && has_role(roles, pattern->role);
	close(lock);
	return held && update(pod->descriptors[JR_PLAN_COUNTERS], key, &counters) &&
	       update(pod->descriptors[JR_PLAN_ENROLLMENT], key, key);
}

static bool make_state_file(const struct pod *pod, const struct pattern *pattern, const struct names *names)
{
	if (write_header(pod, pattern, names) &&
	    renameat2(AT_FDCWD, names->draft, AT_FDCWD, pod->plan.state, RENAME_NOREPLACE) == 0)
		return true;
	unlink(names->draft);
	return false;
}

/* Makes the cgroup and all that has its number. */
static bool make_rest(struct pod *pod, int roles, const struct pattern *pattern)
{
	if (mkdir(pod->plan.cgroup, 0755) < 0) {
		unlink(pod->plan.state);
		return false;
	}
	if (open_cgroup(pod) && write_id(pod) && make_entries(pod, roles, pattern))
		return true;
	/* What cannot be removed now the next jailrun knows by the state file. */
	take_apart(pod);
	if (pod->descriptors[JR_PLAN_CGROUP] >= 0)
		close(pod->descriptors[JR_PLAN_CGROUP]);
	return false;
}

bool make_pod(struct pod *pod, int roles, const struct pattern *pattern, bool drafts)
{
	struct names names;

	if (!print_paths(&names, pod, pattern) || !open_draft(pod, &names, drafts))
		return false;
	if (make_state_file(pod, pattern, &names) && make_rest(pod, roles, pattern))
		return true;
	close(pod->descriptors[JR_PLAN_STATE]);
	return false;
}
