/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include "dead.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>

enum {
	/*
	 * Pods that a start looks at. As each start makes one, of so many pods that live one in seven more
	 * may be dead, and no more.
	 */
	LOOKED_AT = 8,
};

static bool is_draft(const char *name)
{
	return name[0] == '.' && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

/*
 * Chooses among all state files, each as likely as another. Returns how many, -1 where they cannot be listed;
 * says whether there are drafts, too.
 */
static int choose(char names[LOOKED_AT][NAME_MAX + 1], bool *drafts)
{
	DIR *directory = opendir(STATE_DIRECTORY);
	unsigned int random, seen = 0;
	struct dirent *entry;

	if (!directory)
		return -1;
	if (getrandom(&random, sizeof(random), GRND_NONBLOCK) != sizeof(random))
		random = 0;
	while ((entry = readdir(directory))) {
		unsigned int place = seen;

		*drafts = *drafts || is_draft(entry->d_name);
		if (entry->d_name[0] == '.')
			continue;
		seen++;
		if (place >= LOOKED_AT) {
			random = random * 1664525 + 1013904223;
			place = (unsigned long long)random * seen >> 32;
		}
		if (place < LOOKED_AT)
			strcpy(names[place], entry->d_name);
	}
	closedir(directory);
	return seen < LOOKED_AT ? seen : LOOKED_AT;
}

/* What a state file tells. */
struct told {
	bool begun;   /* it begins as files of pods do */
	bool process; /* the pod is of a process that was enrolled */
	bool whole;   /* all that was to be enrolled at first is */
	bool goes_on; /* and more may be */
};

/*
 * Reads of a state file what tells what belongs to the pod, which has no cgroup of its own where that is
 * empty. A second line that was never finished is of a pod that has no entries yet.
 */
static struct told read_state(int file, struct pod *pod)
{
	static const char enrolled[] = "{\"enrolled\":";
	struct told told = {0};
	char *line = NULL;
	size_t room = 0;
	FILE *stream = fdopen(dup(file), "r");
	unsigned long long id;
	int end = 0;

	if (!stream)
		return told;
	if (getline(&line, &room, stream) > 0 && strchr(line, '\n')) {
		/* Within a string a quote has a backslash in front of it. */
		told.process = strstr(line, ",\"enrolls\":{\"process\":");
		told.begun = sscanf(line, "{\"version\":1,\"cgroup\":\"\",%n", &end) == 0 && end > 0;
		if (!told.begun)
			told.begun = sscanf(line, "{\"version\":1,\"cgroup\":\"%1023[^\"\\]\",%n",
					    pod->plan.cgroup, &end) == 1 &&
				     end > 0;
	}
	while (told.begun && getline(&line, &room, stream) > 0) {
		if (strchr(line, '\n') && sscanf(line, "{\"id\":\"%llu\"}", &id) == 1)
			pod->plan.pod = id;
		if (strncmp(line, enrolled, strlen(enrolled)) == 0 && strchr(line, '\n')) {
			told.whole = true;
			told.goes_on = strcmp(line + strlen(enrolled), "true}\n") == 0;
		}
	}
	free(line);
	fclose(stream);
	return told;
}

/* Whether the cgroup is gone or has no task. */
static bool is_empty(int cgroup)
{
	int events = openat(cgroup, "cgroup.events", O_RDONLY | O_CLOEXEC);
	char text[64];
	ssize_t length = events < 0 ? -1 : read(events, text, sizeof(text) - 1);
	/* ENODEV is what an open file of a removed cgroup answers. */
	bool empty = length < 0 && (errno == ENOENT || errno == ENODEV);

	if (length >= 0) {
		text[length] = '\0';
		empty = strstr(text, "populated 0");
	}
	if (events >= 0)
		close(events);
	return empty;
}

/* False where the pod has a cgroup of its own that is empty, and cannot be removed. */
static bool remove_if_empty(struct pod *pod)
{
	int cgroup = open(pod->plan.cgroup, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool gone = cgroup < 0 && errno == ENOENT, done = true;

	if (gone || (cgroup >= 0 && is_empty(cgroup))) {
		pod->descriptors[JR_PLAN_CGROUP] = cgroup;
		done = !take_apart(pod);
	}
	if (cgroup >= 0)
		close(cgroup);
	return done;
}

/*
 * Removes the pod where it is dead. False where it cannot be removed, and where it is the launcher's to end:
 * of what was enrolled that is not complete, or of which nothing lives. The state file is locked.
 */
static bool remove_if_dead(struct pod *pod, int file)
{
	struct told told = read_state(file, pod);

	if (!told.begun)
		return true;
	if (*pod->plan.cgroup)
		return remove_if_empty(pod);
	return told.whole && ((told.goes_on && !told.process) || has_task(pod->plan.pod));
}

static bool look_at(const char *name, const int maps[JR_PLAN_FDS])
{
	struct pod pod = {0};
	int length = snprintf(pod.plan.state, sizeof(pod.plan.state), STATE_DIRECTORY "/%s", name);
	int file = open(pod.plan.state, O_RDONLY | O_CLOEXEC);
	bool done = true;

	memcpy(pod.descriptors, maps, sizeof(pod.descriptors));
	if (file < 0)
		return errno == ENOENT;
	if ((size_t)length < sizeof(pod.plan.state) && flock(file, LOCK_EX | LOCK_NB) == 0)
		done = remove_if_dead(&pod, file);
	close(file);
	return done;
}

bool remove_some_dead_pods(const int maps[JR_PLAN_FDS], bool *drafts)
{
	char names[LOOKED_AT][NAME_MAX + 1];
	int count;

	*drafts = false;
	count = choose(names, drafts);
	for (int i = 0; i < count; i++)
		if (!look_at(names[i], maps))
			return false;
	return count >= 0;
}

void remove_dead_drafts(void)
{
	DIR *directory = opendir(STATE_DIRECTORY);
	struct dirent *entry;

	if (!directory)
		return;
	while ((entry = readdir(directory))) {
		int draft;

		if (!is_draft(entry->d_name))
			continue;
		draft = openat(dirfd(directory), entry->d_name, O_RDONLY | O_CLOEXEC);
		if (draft >= 0 && flock(draft, LOCK_EX | LOCK_NB) == 0)
			unlinkat(dirfd(directory), entry->d_name, 0);
		if (draft >= 0)
			close(draft);
	}
	closedir(directory);
}
