/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include "remembered.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dead.h"
#include "map.h"
#include "newpod.h"
#include "sha256.h"
#include "sight.h"
#include "starts.h"

enum {
	MOST_ROLES = 8, /* maxStack of stack.ts */
	MOST_VALUES = 16,
};

/* What a command line asks for that has no other options than those known here. */
struct request {
	const char *roles[MOST_ROLES];
	int role_count;
	const char *values[MOST_VALUES]; /* NAME=VALUE */
	int value_count;
	const char *policy;
	const char *name;
	int report; /* a descriptor, 0 for standard error */
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
	if (request->role_count == MOST_ROLES || !is_role(name))
		return false;
	request->roles[request->role_count++] = name;
	return true;
}

static bool add_value(struct request *request, const char *text)
{
	if (request->value_count == MOST_VALUES)
		return false;
	request->values[request->value_count++] = text;
	return true;
}

/* One that is open, and none of the command's streams. */
static bool set_report(struct request *request, const char *text)
{
	long number = strtol(text, NULL, 10);

	request->report = (int)number;
	return text[strspn(text, "0123456789")] == '\0' && number > STDERR_FILENO && number <= INT_MAX &&
	       fcntl((int)number, F_GETFD) >= 0;
}

/*
 * The value of the option at `*at`, which moves on to its last word. NULL where that is another option, or
 * one without a value.
 */
static const char *value_of(const char *option, char *argv[], int *at)
{
	size_t length = strlen(option);
	const char *word = argv[*at];

	if (strncmp(word, option, length) != 0)
		return NULL;
	if (word[length] == '=')
		return word + length + 1;
	return word[length] == '\0' && argv[*at + 1] ? argv[++*at] : NULL;
}

/* Reads the option at `*at`, which moves on to its last word. False for one that only the launcher knows. */
static bool read_option(struct request *request, char *argv[], int *at)
{
	const char *word = argv[*at], *value;

	if (strcmp(word, "--exec") == 0)
		return request->exec = true;
	if (strcmp(word, "--json") == 0)
		return request->json = true;
	if (strcmp(word, "--audit") == 0)
		return request->audit = true;
	if ((value = value_of("--role", argv, at)))
		return add_role(request, value);
	if ((value = value_of("--var", argv, at)))
		return add_value(request, value);
	if ((value = value_of("--policy", argv, at)))
		return *(request->policy = value);
	if ((value = value_of("--name", argv, at)))
		return *(request->name = value);
	value = value_of("--report-fd", argv, at);
	return value && set_report(request, value);
}

static bool read_request(struct request *request, int argc, char *argv[])
{
	int at = 1;

	for (; at < argc && argv[at][0] == '-' && strcmp(argv[at], "--") != 0; at++)
		if (!read_option(request, argv, &at))
			return false;
	/* Without hyphens in front of it, what has a slash is no subcommand. */
	if (at < argc && strcmp(argv[at], "--") == 0)
		at++;
	else if (at < argc && !strchr(argv[at], '/'))
		return false;
	request->command = at;
	return at < argc && request->role_count > 0;
}

/* In GitHub Actions a step has a summary of its own, where the report is not for a program. */
static bool writes_summary(const struct request *request)
{
	const char *file = getenv("GITHUB_STEP_SUMMARY");

	return !request->exec && !request->json && file && *file;
}

static bool print_path(FILE *key, const char *name, const char *path)
{
	char here[PATH_MAX] = "";

	if (!path)
		return true;
	if (*path != '/' && !getcwd(here, sizeof(here) - 1))
		return false;
	return fprintf(key, "%s=%s%s%s%c", name, here, *here ? "/" : "", path, '\0') > 0;
}

/* The digest of what names policies and gives variables values; nothing where there is none of that. */
static bool print_digest(const struct request *request, char digest[SHA256_TEXT])
{
	char *bytes = NULL;
	size_t size = 0;
	FILE *key = open_memstream(&bytes, &size);
	bool whole = key && print_path(key, "policy", request->policy) &&
		     print_path(key, "environment", policy_of_environment());

	for (int i = 0; whole && i < request->value_count; i++)
		whole = fprintf(key, "var=%s%c", request->values[i], '\0') > 0;
	whole = key && fclose(key) == 0 && whole;
	*digest = '\0';
	if (whole && size > 0)
		sha256((const unsigned char *)bytes, size, digest);
	free(bytes);
	return whole;
}

/* As remembered.ts calls the file. */
static bool print_name(const struct request *request, char name[START_NAME + 1])
{
	char digest[SHA256_TEXT], *end = name;

	for (int i = 0; i < request->role_count; i++) {
		if (end - name + strlen(request->roles[i]) + sizeof("+,audit,json,") + SHA256_TEXT >
		    START_NAME)
			return false;
		end = stpcpy(stpcpy(end, i > 0 ? "+" : ""), request->roles[i]);
	}
	end = stpcpy(stpcpy(end, request->audit ? ",audit" : ""), request->json ? ",json" : "");
	if (!print_digest(request, digest))
		return false;
	stpcpy(stpcpy(end, *digest ? "," : ""), digest);
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

	if (start->plan & ~(JR_PLAN_JSON | JR_PLAN_NO_GAIN))
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

/* Writes at once or not at all, and is not ended by a pipe that nobody reads. */
static bool write_line(int fd, const char *line, size_t size)
{
	struct sigaction ignored = {.sa_handler = SIG_IGN}, before;
	bool whole;

	sigaction(SIGPIPE, &ignored, &before);
	whole = write(fd, line, size) == (ssize_t)size;
	sigaction(SIGPIPE, &before, NULL);
	return whole;
}

/* Tells of the pod where a program asked for that, as run.ts does. */
static bool announce(const struct pod *pod, const struct request *request)
{
	const char *name = strrchr(pod->plan.state, '/') + 1;
	char cgroup[JR_PLAN_PATH * JSON_GROWTH];
	char *line = NULL;
	size_t size = 0;
	FILE *stream;
	bool told;

	if (request->report == 0 || !request->json)
		return true;
	stream = open_memstream(&line, &size);
	if (!stream)
		return false;
	*append_json(cgroup, pod->plan.cgroup) = '\0';
	fprintf(stream, "{\"version\":1,\"type\":\"run\",\"name\":\"%.*s\",\"id\":\"%llu\",\"role\":\"",
		(int)(strlen(name) - strlen(".json")), name, (unsigned long long)pod->plan.pod);
	for (int i = 0; i < request->role_count; i++)
		fprintf(stream, "%s%s", i > 0 ? "+" : "", request->roles[i]);
	fprintf(stream, "\",\"cgroup\":\"%s\"}\n", cgroup);
	told = fclose(stream) == 0 && write_line(request->report, line, size);
	free(line);
	return told;
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

	if (!read_request(&request, argc, argv) || writes_summary(&request) || !print_name(&request, name) ||
	    !is_usual_caller())
		return false;
	bytes = read_start(name, JR_START_FORMAT, sizeof(struct jr_start), &size);
	if (!bytes)
		return false;
	if (divide(&remembered, bytes, size)) {
		remembered.pattern.command = argv[request.command];
		remembered.pattern.name = request.name ? request.name : argv[request.command];
		/* What becomes the command leaves nobody who would report. */
		remembered.pattern.keep = request.exec ? 0 : JR_KEPT_DENIALS;
		*pod =
		    (struct pod){.plan = {.layout = JR_LAYOUT,
					  .flags = remembered.start->plan | (request.exec ? JR_PLAN_EXEC : 0),
					  .command = request.command,
					  .report = request.report}};
		made = open_maps(&maps) && make(pod, &remembered, launcher, &maps);
		if (made && !announce(pod, &request)) {
			unmake_pod(pod);
			made = false;
		}
		if (!made)
			close_maps(&maps);
	}
	free(bytes);
	return made;
}
