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

#include "map.h"
#include "statefile.h"

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

	if (!name_pod(names, pattern->name) || !find_own_cgroup(own))
		return false;
	strcpy(pod->plan.state, names->state);
	length = snprintf(pod->plan.cgroup, sizeof(pod->plan.cgroup), "%s%s/jailrun-%s", pattern->cgroups,
			  strcmp(own, "/") == 0 ? "" : own, names->name);
	return (size_t)length < sizeof(pod->plan.cgroup);
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
	struct jr_counters counters = {.keep = pattern->keep};
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
	if (write_header(pod, pattern, names) && publish_draft(names))
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
	if (open_cgroup(pod) && write_id(pod->descriptors[JR_PLAN_STATE], pod->plan.pod) &&
	    make_entries(pod, roles, pattern))
		return true;
	/* What cannot be removed now the next jailrun knows by the state file. */
	take_apart(pod);
	if (pod->descriptors[JR_PLAN_CGROUP] >= 0)
		close(pod->descriptors[JR_PLAN_CGROUP]);
	return false;
}

void unmake_pod(const struct pod *pod)
{
	take_apart(pod);
	close(pod->descriptors[JR_PLAN_CGROUP]);
	close(pod->descriptors[JR_PLAN_STATE]);
}

bool make_pod(struct pod *pod, int roles, const struct pattern *pattern, bool drafts)
{
	struct names names;

	if (!print_paths(&names, pod, pattern))
		return false;
	pod->descriptors[JR_PLAN_STATE] = open_draft(&names, drafts);
	if (pod->descriptors[JR_PLAN_STATE] < 0)
		return false;
	if (make_state_file(pod, pattern, &names) && make_rest(pod, roles, pattern))
		return true;
	close(pod->descriptors[JR_PLAN_STATE]);
	return false;
}
