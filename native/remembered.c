/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include "remembered.h"

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "dead.h"
#include "map.h"
#include "newpod.h"
#include "sight.h"
#include "starts.h"

enum { MOST_ROLES = 8 }; /* maxStack of stack.ts */

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
static bool print_name(const struct request *request, char name[START_NAME + 1])
{
	char *end = name;

	for (int i = 0; i < request->role_count; i++) {
		if (end - name + strlen(request->roles[i]) + sizeof("+,audit,json") > START_NAME)
			return false;
		end = stpcpy(stpcpy(end, i > 0 ? "+" : ""), request->roles[i]);
	}
	stpcpy(stpcpy(end, request->audit ? ",audit" : ""), request->json ? ",json" : "");
	return true;
}

/* A start that was read, and where its parts are. */
struct remembered {
	const struct jr_start *start;
	const struct jr_sight *sights;
	const char *end;
	struct pattern pattern;
};

static bool divide(struct remembered *remembered, const char *bytes, size_t size)
{
	const struct jr_start *start = (const struct jr_start *)bytes;
	const char *at = bytes + sizeof(*start);
	const struct jr_sight *cgroups;
	__u32 sizes[4];

	if ((start->plan & ~(JR_PLAN_JSON | JR_PLAN_NO_GAIN)) != JR_PLAN_EXEC)
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
	return open_pod_maps(maps->of_pod) && maps->meta >= 0 && maps->roles >= 0 && maps->epochs >= 0;
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

/*
 * In this order: what is dead goes first, because the look at links is to be followed by their use; the maps
 * are opened before it is asked whether they are still those that the sights tell of.
 */
static bool make(struct pod *pod, struct remembered *remembered, const struct launcher *launcher,
		 const struct maps *maps)
{
	char directory[PATH_MAX];
	struct viewpoint from = {directory, maps->epochs, AT_FDCWD};
	bool drafts;

	strcpy(directory, launcher->script);
	*strrchr(directory, '/') = '\0';
	memcpy(pod->descriptors, maps->of_pod, sizeof(pod->descriptors));
	return remove_some_dead_pods(maps->of_pod, &drafts) &&
	       are_same_programs(maps->meta, remembered->start->meta) &&
	       is_as_seen(remembered->sights, remembered->end, &from) &&
	       make_pod(pod, maps->roles, &remembered->pattern, drafts);
}

bool make_remembered_pod(struct pod *pod, const struct launcher *launcher, int argc, char *argv[])
{
	char name[START_NAME + 1];
	struct request request = {0};
	struct remembered remembered;
	struct maps maps;
	char *bytes;
	size_t size;
	bool made = false;

	if (!read_request(&request, argc, argv) || !print_name(&request, name) || !is_usual_caller())
		return false;
	bytes = read_start(name, JR_START_FORMAT, sizeof(struct jr_start), &size);
	if (!bytes)
		return false;
	if (divide(&remembered, bytes, size)) {
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
