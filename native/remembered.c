/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include "remembered.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "dead.h"
#include "map.h"
#include "newpod.h"
#include "sight.h"

/* Where the launcher has them (remembered.ts): root's, and nobody else enters it. */
#define DIRECTORY "/run/jailrun/starts/"

enum {
	MOST_ROLES = 8, /* maxStack of stack.ts */
	NAME_SIZE = 200,
};

/* What a command line asks for that has no other options than those known here. */
struct request {
	const char *roles[MOST_ROLES];
	int role_count;
	bool exec;
	bool json;
	bool audit;
	int command; /* its index */
};

/* Names of roles are as parse.ts has them. */
static bool is_role(const char *name)
{
	size_t length = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-");

	return *name >= 'a' && *name <= 'z' && name[length] == '\0';
}

static bool add_role(struct request *request, const char *name)
{
	if (request->role_count == MOST_ROLES || !name || !is_role(name))
		return false;
	request->roles[request->role_count++] = name;
	return true;
}

/* Reads the option at `*at`, which moves on to the next one. False for one that only the launcher knows. */
static bool read_option(struct request *request, char *argv[], int *at)
{
	static const char role[] = "--role=";
	const char *word = argv[(*at)++];

	if (strcmp(word, "--role") == 0)
		return add_role(request, argv[*at] ? argv[(*at)++] : NULL);
	if (strncmp(word, role, strlen(role)) == 0)
		return add_role(request, word + strlen(role));
	request->exec = request->exec || strcmp(word, "--exec") == 0;
	request->json = request->json || strcmp(word, "--json") == 0;
	request->audit = request->audit || strcmp(word, "--audit") == 0;
	return strcmp(word, "--exec") == 0 || strcmp(word, "--json") == 0 || strcmp(word, "--audit") == 0;
}

static bool read_request(struct request *request, int argc, char *argv[])
{
	int at = 1;

	while (at < argc && argv[at][0] == '-' && strcmp(argv[at], "--") != 0)
		if (!read_option(request, argv, &at))
			return false;
	/* Without hyphens in front of it, what has a slash is no subcommand. */
	if (at < argc && strcmp(argv[at], "--") == 0)
		at++;
	else if (at < argc && !strchr(argv[at], '/'))
		return false;
	request->command = at;
	return at < argc && request->exec && request->role_count > 0;
}

/* As remembered.ts calls the file. */
static bool print_path(const struct request *request, char path[sizeof(DIRECTORY) + NAME_SIZE])
{
	char *end = stpcpy(path, DIRECTORY), *name = end;

	for (int i = 0; i < request->role_count; i++) {
		if (end - name + strlen(request->roles[i]) + sizeof("+,audit,json") > NAME_SIZE)
			return false;
		end = stpcpy(stpcpy(end, i > 0 ? "+" : ""), request->roles[i]);
	}
	stpcpy(stpcpy(end, request->audit ? ",audit" : ""), request->json ? ",json" : "");
	return true;
}

/* What the launcher says of this process, or would do for it, is not known here. */
static bool is_usual_caller(void)
{
	const char *policy = getenv("JAILRUN_POLICY");
	struct rlimit file_size;

	if (geteuid() != 0 || (policy && *policy))
		return false;
	/* A limit that is meant for the command must not end a state file. */
	if (getrlimit(RLIMIT_FSIZE, &file_size) < 0 || file_size.rlim_cur != RLIM_INFINITY)
		return false;
	return probe_pod(0) == EINVAL;
}

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

/*
 * FNV-1a: of the bytes of the file's name, then of the file's 32-bit words. It tells a damaged file, or one
 * in another's place, and not a forged one: only root could forge it.
 */
static __u32 checksum(const char *name, const char *bytes, const char *end)
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

/* A start that was read, and where its parts are. */
struct remembered {
	const struct jr_start *start;
	const struct jr_sight *sights;
	const char *end;
	struct pattern pattern;
};

static bool divide(struct remembered *remembered, const char *name, const char *bytes, size_t size)
{
	const struct jr_start *start = (const struct jr_start *)bytes;
	const char *at = bytes + sizeof(*start);
	const struct jr_sight *cgroups;
	__u32 sizes[4];

	if (size < sizeof(*start) || size % 4 || start->format != JR_START_FORMAT ||
	    start->layout != JR_LAYOUT || start->size != size ||
	    start->checksum != checksum(name, (const char *)&start->role, bytes + size) ||
	    (start->plan & ~(JR_PLAN_JSON | JR_PLAN_NO_GAIN)) != JR_PLAN_EXEC)
		return false;
	*remembered = (struct remembered){.start = start, .end = bytes + size};
	memcpy(sizes, &start->to_cgroup, sizeof(sizes));
	for (int i = 0; i < 4; i++) {
		if (sizes[i] > (size_t)(remembered->end - at))
			return false;
		remembered->pattern.text[i].bytes = at;
		remembered->pattern.text[i].size = sizes[i];
		at += sizes[i];
	}
	at = bytes + ((at - bytes + 3) & ~(size_t)3);
	if (!are_whole(at, remembered->end))
		return false;
	remembered->sights = (const struct jr_sight *)at;
	cgroups = find_sight(remembered->sights, remembered->end, JR_SIGHT_CGROUPS);
	if (!cgroups || !find_sight(remembered->sights, remembered->end, JR_SIGHT_MOUNTS))
		return false;
	remembered->pattern.cgroups = path_of(cgroups);
	remembered->pattern.role = start->role;
	remembered->pattern.flags = start->flags;
	return true;
}

/* The pinned maps. */
struct maps {
	int meta;
	int roles;
	int epochs;
	int of_pod[JR_PLAN_FDS]; /* -1 for what is no map */
};

static bool open_maps(struct maps *maps)
{
	maps->meta = open_map("meta", sizeof(__u32), sizeof(struct jr_meta));
	maps->roles = open_map("roles", sizeof(__u64), sizeof(struct jr_role));
	maps->epochs = open_map("device_epochs", sizeof(__u32), sizeof(__u32));
	maps->of_pod[JR_PLAN_CGROUP] = -1;
	maps->of_pod[JR_PLAN_STATE] = -1;
	maps->of_pod[JR_PLAN_ENROLLMENT] = open_map("cgroup_enrollment", sizeof(__u64), sizeof(__u64));
	maps->of_pod[JR_PLAN_PODS] = open_map("pods", sizeof(__u64), sizeof(struct jr_pod));
	maps->of_pod[JR_PLAN_COUNTERS] = open_map("pod_counters", sizeof(__u64), sizeof(struct jr_counters));
	maps->of_pod[JR_PLAN_DENIALS] =
	    open_map("pod_denials", sizeof(struct jr_denial_key), sizeof(struct jr_denial));
	for (int i = JR_PLAN_ENROLLMENT; i < JR_PLAN_FDS; i++)
		if (maps->of_pod[i] < 0)
			return false;
	return maps->meta >= 0 && maps->roles >= 0 && maps->epochs >= 0;
}

static void close_maps(const struct maps *maps)
{
	const int all[] = {maps->meta,
			   maps->roles,
			   maps->epochs,
			   maps->of_pod[JR_PLAN_ENROLLMENT],
			   maps->of_pod[JR_PLAN_PODS],
			   maps->of_pod[JR_PLAN_COUNTERS],
			   maps->of_pod[JR_PLAN_DENIALS]};

	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
		if (all[i] >= 0)
			close(all[i]);
}

static bool are_same_programs(const struct remembered *remembered, int meta)
{
	struct jr_meta now;
	__u32 first = 0;

	return look_up(meta, &first, &now) && memcmp(&now, remembered->start->meta, sizeof(now)) == 0;
}

/*
 * In this order: what is dead goes first, because the look at links is to be followed by their use; the maps
 * are opened before it is asked whether they are still those that the sights tell of.
 */
static bool make(struct pod *pod, struct remembered *remembered, const struct launcher *launcher,
		 const struct maps *maps)
{
	char directory[PATH_MAX];
	struct viewpoint from = {directory, maps->epochs};
	bool drafts;

	strcpy(directory, launcher->script);
	*strrchr(directory, '/') = '\0';
	memcpy(pod->descriptors, maps->of_pod, sizeof(pod->descriptors));
	return remove_some_dead_pods(maps->of_pod, &drafts) && are_same_programs(remembered, maps->meta) &&
	       is_as_seen(remembered->sights, remembered->end, &from) &&
	       make_pod(pod, maps->roles, &remembered->pattern, drafts);
}

bool make_remembered_pod(struct pod *pod, const struct launcher *launcher, int argc, char *argv[])
{
	char path[sizeof(DIRECTORY) + NAME_SIZE];
	struct request request = {0};
	struct remembered remembered;
	struct maps maps;
	char *bytes;
	size_t size;
	bool made = false;

	if (!read_request(&request, argc, argv) || !print_path(&request, path) || !is_usual_caller())
		return false;
	bytes = read_whole(path, &size);
	if (!bytes)
		return false;
	if (divide(&remembered, path + strlen(DIRECTORY), bytes, size)) {
		remembered.pattern.command = argv[request.command];
		*pod = (struct pod){.plan = {.layout = JR_LAYOUT,
					     .flags = remembered.start->plan,
					     .command = request.command}};
		made = open_maps(&maps) && make(pod, &remembered, launcher, &maps);
		if (!made)
			close_maps(&maps);
	}
	free(bytes);
	return made;
}
