/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include "container.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "json.h"
#include "map.h"
#include "newrole.h"
#include "pod.h"
#include "starts.h"
#include "statefile.h"
#include "table.h"
#include "template.h"

#define ROLE_ANNOTATION "io.jailrun.role"

enum {
	ID_SIZE = 256,
	/* Of its id so much is in the name of its pod. */
	ID_IN_NAME = 12,
};

bool is_container_hook(int argc, char *argv[])
{
	return argc == 2 && strcmp(argv[1], "oci-hook") == 0;
}

/* What the runtime says of the container (OCI runtime specification, "State"). */
struct state {
	char id[ID_SIZE];
	char bundle[PATH_MAX];
	char asked[START_NAME]; /* the role, empty where it asks for none */
	unsigned long pid;      /* 0: it has none */
	bool stopped;
};

/* Annotations that only the launcher knows something to say of: oci.ts has the same handlers. */
static bool is_strange(const struct json_text *key)
{
	return begins_with(key, "io.jailrun.") || is_text(key, "run.oci.handler") ||
	       is_text(key, "module.wasm.image/variant") || memchr(key->bytes, '\\', key->size);
}

static bool read_annotations(struct json *json, struct state *state)
{
	struct json_text key, value;
	bool first = true, asked = false;

	while (next_member(json, &key, &first)) {
		if (!read_text(json, &value))
			return false;
		if (is_text(&key, ROLE_ANNOTATION)) {
			if (asked || !copy_plain(&value, state->asked, sizeof(state->asked)) ||
			    strspn(state->asked, "abcdefghijklmnopqrstuvwxyz0123456789_-+") != value.size)
				return false;
			asked = true;
		} else if (is_strange(&key)) {
			return false;
		}
	}
	return !json->wrong;
}

/* A text that is there once. */
static bool read_once(struct json *json, char *copy, size_t size)
{
	struct json_text text;

	return !*copy && read_text(json, &text) && copy_plain(&text, copy, size);
}

static bool read_member(struct json *json, const struct json_text *key, struct state *state, char *status,
			size_t status_size, bool *annotated)
{
	if (is_text(key, "id"))
		return read_once(json, state->id, sizeof(state->id));
	if (is_text(key, "status"))
		return read_once(json, status, status_size);
	if (is_text(key, "bundle"))
		return read_once(json, state->bundle, sizeof(state->bundle));
	if (is_text(key, "pid"))
		return !state->pid && read_count(json, &state->pid);
	if (is_text(key, "annotations")) {
		bool again = *annotated;

		*annotated = true;
		return !again && read_annotations(json, state);
	}
	skip_value(json);
	return !memchr(key->bytes, '\\', key->size);
}

/* False for what is wrong, and for what is merely unusual. */
static bool read_state(const char *bytes, size_t size, struct state *state)
{
	struct json json = {.at = bytes, .end = bytes + size};
	struct json_text key;
	char status[32] = "";
	bool first = true, annotated = false;

	*state = (struct state){0};
	while (next_member(&json, &key, &first))
		if (!read_member(&json, &key, state, status, sizeof(status), &annotated))
			return false;
	state->stopped = strcmp(status, "stopped") == 0;
	/* As normalize() in template.ts wants an id. */
	return is_at_end(&json) && *status && isalnum((unsigned char)state->id[0]) &&
	       state->id[strspn(
		   state->id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-")] == '\0' &&
	       state->bundle[0] == '/';
}

/* A path of which a look at its text tells where it leads, but for links. */
static bool is_straight(const char *path)
{
	for (const char *at = path; (at = strstr(at, "..")); at += 2)
		if ((at == path || at[-1] == '/') && (at[2] == '/' || at[2] == '\0'))
			return false;
	return true;
}

static bool read_root_path(const char *bytes, size_t size, char path[PATH_MAX])
{
	struct json json = {.at = bytes, .end = bytes + size};
	struct json_text key;
	bool first = true, found = false;

	while (next_member(&json, &key, &first)) {
		bool inner = true;

		if (memchr(key.bytes, '\\', key.size) || (is_text(&key, "root") && found))
			return false;
		if (!is_text(&key, "root")) {
			skip_value(&json);
			continue;
		}
		found = true;
		*path = '\0';
		while (next_member(&json, &key, &inner)) {
			if (memchr(key.bytes, '\\', key.size))
				return false;
			if (!is_text(&key, "path"))
				skip_value(&json);
			else if (!read_once(&json, path, PATH_MAX))
				return false;
		}
	}
	return is_at_end(&json) && found && *path;
}

/* The container's root directory, by the path that has no links. */
static bool find_root(const struct state *state, char root[PATH_MAX])
{
	char config[PATH_MAX], path[PATH_MAX], whole[2 * PATH_MAX];
	size_t size;
	char *bytes;
	int file;
	bool found;

	if (snprintf(config, sizeof(config), "%s/config.json", state->bundle) >= (int)sizeof(config))
		return false;
	file = open(config, O_RDONLY | O_CLOEXEC);
	if (file < 0)
		return false;
	bytes = read_all(file, &size);
	close(file);
	if (!bytes)
		return false;
	found = read_root_path(bytes, size, path) && is_straight(path) && is_straight(state->bundle);
	free(bytes);
	if (!found)
		return false;
	snprintf(whole, sizeof(whole), "%s%s%s", *path == '/' ? "" : state->bundle, *path == '/' ? "" : "/",
		 path);
	return realpath(whole, root) && is_plain(root, strlen(root)) && strcmp(root, "/") != 0;
}

static char *read_path(const char *path)
{
	int file = open(path, O_RDONLY | O_CLOEXEC);
	size_t size;
	char *bytes = file < 0 ? NULL : read_all(file, &size);

	if (file >= 0)
		close(file);
	return bytes;
}

/* Whether a path has been read to its end, and is plain. */
static bool is_whole(const char path[JR_PLAN_PATH])
{
	size_t length = strlen(path);

	return length < JR_PLAN_PATH - 1 && is_plain(path, length);
}

/* The cgroup of a process, as a path from the root of this one's cgroup namespace. */
static bool find_cgroup(const char *process, char path[JR_PLAN_PATH])
{
	char file[64];
	char *bytes, *line;
	bool found = false;

	snprintf(file, sizeof(file), "/proc/%s/cgroup", process);
	bytes = read_path(file);
	for (line = bytes; line && *line && !found; line = strchrnul(line, '\n'), line += *line == '\n')
		found = sscanf(line, "0::%1023[^\n]", path) == 1;
	free(bytes);
	/* One outside of the namespace is shown with dots. */
	return found && is_whole(path) && path[0] == '/' && is_straight(path);
}

/* Where cgroup2 is mounted, whole: the first of its mounts, as in cgroup.ts. */
static bool find_hierarchy(char point[JR_PLAN_PATH])
{
	char *bytes = read_path("/proc/self/mountinfo"), *line = bytes;
	char root[JR_PLAN_PATH];
	bool found = false;

	while (line && *line && !found) {
		char *end = strchrnul(line, '\n'), *kind = strstr(line, " - ");

		found = kind && kind < end && strncmp(kind, " - cgroup2 ", strlen(" - cgroup2 ")) == 0;
		if (found && sscanf(line, "%*s %*s %*s %1023s %1023s", root, point) != 2)
			break;
		line = end + (*end == '\n');
	}
	free(bytes);
	return found && strcmp(root, "/") == 0 && is_whole(point);
}

static bool is_within(const char *path, const char *cgroup)
{
	size_t length = strlen(cgroup);

	return strncmp(path, cgroup, length) == 0 && (path[length] == '/' || path[length] == '\0');
}

/* A container that is about to begin. */
struct beginning {
	const struct state *state;
	char process[24];
	char root_path[PATH_MAX];
	char cgroup[2 * JR_PLAN_PATH];
	__u64 cgroup_id;
	struct stat root_state;
	int pidfd;
	int root;    /* its root directory */
	int runtime; /* and that of its runtime */
	struct table table;
	__u32 epochs[JR_MAX_DIFFERENT];
	struct jr_container entry;
};

/* The pinned maps. */
struct maps {
	int meta;
	int roles;
	int rules;
	int globs;
	int epochs;
	int containers;
	int variables;
	int tasks;
	int of_pod[JR_PLAN_FDS]; /* -1 for what is no map */
};

static bool open_maps(struct maps *maps)
{
	maps->meta = open_map("meta", sizeof(__u32), sizeof(struct jr_meta));
	maps->roles = open_map("roles", sizeof(__u64), sizeof(struct jr_role));
	maps->rules = open_map("role_rules", sizeof(__u64), sizeof(__u32));
	maps->globs = open_map("role_globs", sizeof(__u64), sizeof(__u32));
	maps->epochs = open_map("device_epochs", sizeof(__u32), sizeof(__u32));
	maps->containers = open_map("containers", sizeof(__u64), sizeof(struct jr_container));
	maps->variables = open_map("variables", sizeof(__u32), sizeof(struct jr_variables));
	maps->tasks = open_map_of("tasks", sizeof(__u32));
	return open_pod_maps(maps->of_pod) && maps->meta >= 0 && maps->roles >= 0 && maps->rules >= 0 &&
	       maps->globs >= 0 && maps->epochs >= 0 && maps->containers >= 0 && maps->variables >= 0 &&
	       maps->tasks >= 0;
}

/* Opens what tells the container from what else runs on this host. */
static bool find_container(struct beginning *beginning)
{
	char own[JR_PLAN_PATH], path[JR_PLAN_PATH], point[JR_PLAN_PATH], seen[2 * PATH_MAX];
	struct stat cgroup;

	snprintf(beginning->process, sizeof(beginning->process), "%lu", beginning->state->pid);
	beginning->pidfd = syscall(SYS_pidfd_open, beginning->state->pid, 0);
	if (beginning->pidfd < 0 || !find_root(beginning->state, beginning->root_path) ||
	    !find_cgroup("self", own) || !find_cgroup(beginning->process, path) || !find_hierarchy(point) ||
	    strcmp(path, "/") == 0 || is_within(own, path))
		return false;
	snprintf(beginning->cgroup, sizeof(beginning->cgroup), "%s%s", point, path);
	if (stat(beginning->cgroup, &cgroup) < 0)
		return false;
	beginning->cgroup_id = cgroup.st_ino;
	snprintf(seen, sizeof(seen), "/proc/%s/root%s", beginning->process, beginning->root_path);
	beginning->root = open(seen, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	snprintf(seen, sizeof(seen), "/proc/%s/root", beginning->process);
	beginning->runtime = open(seen, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return beginning->root >= 0 && beginning->runtime >= 0 &&
	       fstat(beginning->root, &beginning->root_state) == 0;
}

/*
 * Reads the mount table with its file systems' epochs. One that ends meanwhile may be the old one in the
 * table and the next one in the epochs, as in readMounts() of kernel.ts.
 */
static bool read_mounts(struct beginning *beginning, int epochs)
{
	struct table *table = &beginning->table;
	__u32 ends, ends_now;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%s/mountinfo", beginning->process);
	if (!read_epoch(epochs, 0, &ends) ||
	    !read_table(table, path, beginning->root_path, beginning->state->id))
		return false;
	for (int i = 0; i < table->device_count; i++) {
		__u32 device = table->devices[i];
		__u32 index = (device + (device >> 20) * JR_MAJOR_STEP) % JR_DEVICES;

		if (!read_epoch(epochs, index, &beginning->epochs[i]))
			return false;
	}
	return read_epoch(epochs, 0, &ends_now) && ends_now == ends;
}

/* Whether the map has no entry for the key; an error is no answer. */
static bool is_absent(int map, const void *key)
{
	void *value = malloc(value_size_of(map));
	bool absent = value && !look_up(map, key, value) && errno == ENOENT;

	free(value);
	return absent;
}

/* What the kernel has for the container and its runtime, by which it tells one from the other. */
static bool identify(struct beginning *beginning)
{
	struct jr_container *entry = &beginning->entry;
	int ours = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
	int host = open("/proc/1/ns/mnt", O_RDONLY | O_CLOEXEC);
	int self = syscall(SYS_pidfd_open, getpid(), 0);
	size_t size, at;
	char *bytes = self < 0 ? NULL : iterate("jr_describe_files", self, &size);
	int found = 0;

	if (self >= 0)
		close(self);
	if (!bytes)
		goto out;
	for (at = 0; at + sizeof(struct jr_described) <= size; at += sizeof(struct jr_described)) {
		struct jr_described file;

		memcpy(&file, bytes + at, sizeof(file));
		if (file.fd == (__u32)beginning->root) {
			entry->root_inode = file.inode;
			entry->root_device = file.device;
			entry->root_generation = file.generation;
			found |= 1;
		} else if (file.fd == (__u32)beginning->runtime) {
			entry->runtime_inode = file.inode;
			entry->runtime_device = file.device;
			entry->runtime_generation = file.generation;
			found |= 2;
		} else if (file.fd == (__u32)ours) {
			entry->runtime_mounts = file.mounts;
		} else if (file.fd == (__u32)host) {
			entry->host_mounts = file.mounts;
		}
	}
	free(bytes);
out:
	if (ours >= 0)
		close(ours);
	if (host >= 0)
		close(host);
	return found == 3 && entry->runtime_mounts && entry->host_mounts;
}

/* All that is asked before anything is made. */
static bool prepare(struct beginning *beginning, const struct maps *maps, const struct viewpoint *base,
		    struct template *template, struct new_role *role)
{
	struct viewpoint from = *base;

	if (!find_container(beginning) || !is_absent(maps->containers, &beginning->cgroup_id) ||
	    !is_absent(maps->tasks, &beginning->pidfd) || !read_mounts(beginning, maps->epochs))
		return false;
	from.root = beginning->root;
	if (!find_template(template, beginning->state->asked, &beginning->table, maps->meta, &from))
		return false;
	if (identify(beginning) && fill_role(template, &beginning->table, beginning->epochs, role)) {
		/* All of that was of this process, if it is still there. */
		if (syscall(SYS_pidfd_send_signal, beginning->pidfd, 0, NULL, 0) == 0)
			return true;
		free_role(role);
	}
	free_template(template);
	return false;
}

/* Counts what is in `containers` by one more, or one less. Under the lock only. */
static bool count_containers(int map, int step)
{
	struct jr_variables variables;
	__u32 first = 0;

	if (!look_up(map, &first, &variables))
		return false;
	variables.containers += step;
	return update(map, &first, &variables);
}

/* The entry comes last: who is killed before it leaves no entry that nobody looks for (kernel.ts). */
static bool enroll(const struct beginning *beginning, const struct maps *maps)
{
	int lock = lock_host();
	bool enrolled = lock >= 0 && count_containers(maps->variables, 1) &&
			update(maps->containers, &beginning->cgroup_id, &beginning->entry);

	if (lock >= 0)
		close(lock);
	return enrolled;
}

/* From now on nothing is enrolled in the pod: stopEnrolling() of kernel.ts. */
static bool withdraw(const struct maps *maps, __u64 cgroup_id, __u64 pod)
{
	struct jr_container entry;
	int lock = lock_host();
	bool withdrawn = lock >= 0;

	if (withdrawn && look_up(maps->containers, &cgroup_id, &entry) && entry.pod == pod)
		withdrawn = delete_key(maps->containers, &cgroup_id) && count_containers(maps->variables, -1);
	if (lock >= 0)
		close(lock);
	return withdrawn;
}

/* The pod's entry keeps the role from being dropped as unused, so it comes first. */
static bool make_entries(const struct maps *maps, __u64 id, const struct template *template,
			 const struct new_role *role)
{
	const struct role_maps of_roles = {maps->roles, maps->rules, maps->globs, maps->of_pod[JR_PLAN_PODS]};
	struct jr_pod entry = {
	    .number = id,
	    .role = role->digest,
	    .flags = template->head->flags,
	    .next_role = role->digest,
	    .next_flags = template->head->flags,
	};
	struct jr_counters counters = {.keep = template->head->keep};
	int lock = lock_host();
	bool made =
	    lock >= 0 && update(maps->of_pod[JR_PLAN_PODS], &id, &entry) && install_role(&of_roles, role);

	if (lock >= 0)
		close(lock);
	return made && update(maps->of_pod[JR_PLAN_COUNTERS], &id, &counters);
}

static bool write_whole(int file, const char *bytes, size_t size)
{
	return write(file, bytes, size) == (ssize_t)size;
}

/* Writes the first line and the second one. */
static bool write_state(int file, const struct names *names, __u64 id, const struct beginning *beginning,
			const struct template *template, const struct new_role *role)
{
	struct filling with = {
	    .table = &beginning->table,
	    .epochs = beginning->epochs,
	    .digest = role->digest,
	    .name = names->name,
	    .id = beginning->state->id,
	    .cgroup = beginning->cgroup,
	    .cgroup_id = beginning->cgroup_id,
	    .root_device = beginning->root_state.st_dev,
	    .root_inode = beginning->root_state.st_ino,
	};
	size_t size;
	char *line = fill_header(template, &with, &size);
	bool done = line && write_whole(file, line, size);

	free(line);
	return done && publish_draft(names) && write_id(file, id);
}

/* Makes the pod, in the order of enrollTarget(), so that whoever is killed on the way leaves what the next
 * jailrun removes. */
static bool make_pod_of(struct beginning *beginning, const struct maps *maps, const struct template *template,
			const struct new_role *role)
{
	static const char complete[] = "\n{\"enrolled\":true}\n";
	char wanted[ID_IN_NAME + 1] = "";
	struct pod pod = {0};
	struct names names;
	__u64 id;
	int file;
	bool done, enrolled;

	memcpy(wanted, beginning->state->id, strnlen(beginning->state->id, ID_IN_NAME));
	if (getrandom(&id, sizeof(id), GRND_NONBLOCK) != sizeof(id) || !name_pod(&names, wanted))
		return false;
	id = (id >> (64 - JR_ENROLLED_POD_BIT)) | (__u64)1 << JR_ENROLLED_POD_BIT;
	beginning->entry.pod = id;
	file = open_draft(&names, false);
	if (file < 0)
		return false;
	done = write_state(file, &names, id, beginning, template, role) &&
	       make_entries(maps, id, template, role);
	enrolled = done && enroll(beginning, maps);
	done = enrolled && write_whole(file, complete, strlen(complete));
	if (!done) {
		if (enrolled)
			withdraw(maps, beginning->cgroup_id, id);
		memcpy(pod.descriptors, maps->of_pod, sizeof(pod.descriptors));
		pod.plan.pod = id;
		delete_entries(&pod);
		unlink(names.draft);
		unlink(names.state);
	}
	close(file);
	return done;
}

static bool begin_jailed(const struct state *state, const struct maps *maps, const struct viewpoint *from)
{
	struct beginning *beginning = calloc(1, sizeof(*beginning));
	struct template template;
	struct new_role role;
	bool begun = false;

	if (!beginning)
		return false;
	beginning->state = state;
	beginning->pidfd = beginning->root = beginning->runtime = -1;
	if (state->pid > 0 && prepare(beginning, maps, from, &template, &role)) {
		begun = make_pod_of(beginning, maps, &template, &role);
		free_role(&role);
		free_template(&template);
	}
	free_table(&beginning->table);
	for (const int *one = (const int[]){beginning->pidfd, beginning->root, beginning->runtime, -2};
	     *one != -2; one++)
		if (*one >= 0)
			close(*one);
	free(beginning);
	return begun;
}

static bool begin(const struct state *state, const struct maps *maps, const struct launcher *launcher)
{
	char directory[PATH_MAX];
	const struct viewpoint from = {directory, maps->epochs, -1};

	strcpy(directory, launcher->script);
	*strrchr(directory, '/') = '\0';
	return (!*state->asked && is_known_free(&from)) || begin_jailed(state, maps, &from);
}

/* A pod of a container, as its state file tells. */
struct ending {
	char path[sizeof(STATE_DIRECTORY "/") + NAME_MAX];
	char cgroup[JR_PLAN_PATH];
	__u64 cgroup_id;
	__u64 pod; /* 0: it has none yet */
	int file;
};

/*
 * Reads the pod of a container. False where it is none: then `id` is empty, or the file is of another form.
 * What is looked for stands in no string, where its quotes would have backslashes.
 */
static bool read_ending(const char *bytes, struct ending *ending, char id[ID_SIZE])
{
	static const char mark[] = ",\"container\":{\"id\":\"";
	const char *line = strchr(bytes, '\n'), *at = strstr(bytes, mark);
	unsigned long long cgroup_id, pod;
	int end = 0;

	*id = '\0';
	if (!line || !at || at > line)
		return false;
	if (sscanf(at + strlen(mark), "%255[^\"\\]\",\"cgroup\":\"%1023[^\"\\]\",\"cgroupId\":\"%llu\"%n", id,
		   ending->cgroup, &cgroup_id, &end) != 3 ||
	    end == 0)
		return false;
	ending->cgroup_id = cgroup_id;
	ending->pod = sscanf(line, "\n{\"id\":\"%llu\"}", &pod) == 1 ? pod : 0;
	return true;
}

static bool is_unlocked(int file)
{
	return flock(file, LOCK_EX | LOCK_NB) == 0;
}

/* Whether nobody will end this pod any more but a jailrun that comes by it. */
static bool is_dead(const struct ending *ending, int file)
{
	struct stat cgroup;

	return (stat(ending->cgroup, &cgroup) < 0 || cgroup.st_ino != ending->cgroup_id) && is_unlocked(file);
}

/*
 * Finds the container's pod among all. False in any doubt: where it has several, and where one of another
 * container, which chance names, is dead: the launcher removes all that are.
 */
static bool find_ending(const char *id, struct ending *ending)
{
	DIR *directory = opendir(STATE_DIRECTORY);
	unsigned int random = 0, others = 0;
	struct dirent *entry;
	bool sure = directory, other_dead = false;

	ending->file = -1;
	if (getrandom(&random, sizeof(random), GRND_NONBLOCK) != sizeof(random))
		random = 1;
	while (sure && (entry = readdir(directory))) {
		struct ending one = {.file = -1};
		char named[ID_SIZE];
		size_t size;
		char *bytes;

		if (entry->d_name[0] == '.')
			continue;
		one.file = openat(dirfd(directory), entry->d_name, O_RDONLY | O_CLOEXEC);
		if (one.file < 0) {
			sure = errno == ENOENT;
			continue;
		}
		bytes = read_all(one.file, &size);
		if (bytes && read_ending(bytes, &one, named)) {
			if (strcmp(named, id) == 0) {
				sure = ending->file < 0;
				if (sure) {
					snprintf(one.path, sizeof(one.path), STATE_DIRECTORY "/%s",
						 entry->d_name);
					*ending = one;
					one.file = -1;
				}
			} else if ((unsigned long long)(random = random * 1664525 + 1013904223) * ++others >>
				       32 ==
				   0) {
				other_dead = is_dead(&one, one.file);
			}
		}
		sure = sure && bytes;
		free(bytes);
		if (one.file >= 0)
			close(one.file);
	}
	if (directory)
		closedir(directory);
	return sure && !other_dead;
}

static bool remove_ending(const struct ending *ending, const struct maps *maps)
{
	struct pod pod = {.plan = {.pod = ending->pod}};
	struct jr_counters counters;

	memcpy(pod.descriptors, maps->of_pod, sizeof(pod.descriptors));
	/* Denials are the launcher's to report. */
	if (ending->pod == 0 || !is_unlocked(ending->file) ||
	    !look_up(maps->of_pod[JR_PLAN_COUNTERS], &ending->pod, &counters) || counters.denials > 0 ||
	    counters.lost > 0)
		return false;
	return withdraw(maps, ending->cgroup_id, ending->pod) && !has_task(ending->pod) &&
	       delete_entries(&pod) && unlink(ending->path) == 0;
}

static bool end(const struct state *state, const struct maps *maps)
{
	struct ending ending;
	bool ended = find_ending(state->id, &ending);

	/* One that was not jailed has no pod. */
	if (ended && ending.file >= 0)
		ended = remove_ending(&ending, maps);
	if (ending.file >= 0)
		close(ending.file);
	return ended;
}

/*
 * Takes all of standard input into memory that the launcher can read as its own standard input, from the
 * start on. Returns -1 where nothing has been taken.
 */
static int take_input(char **bytes, size_t *size)
{
	int copy = memfd_create("container", MFD_CLOEXEC);

	if (copy < 0)
		return -1;
	*bytes = read_all(STDIN_FILENO, size);
	/* A part of it is nothing that the launcher would take for a container's state. */
	if (*bytes && !write_whole(copy, *bytes, *size)) {
		free(*bytes);
		*bytes = NULL;
	}
	if (lseek(copy, 0, SEEK_SET) < 0 || dup2(copy, STDIN_FILENO) < 0) {
		free(*bytes);
		*bytes = NULL;
	}
	close(copy);
	return 0;
}

bool handle_container(const struct launcher *launcher)
{
	struct state state;
	struct maps maps;
	char *bytes = NULL;
	size_t size;
	bool done = false;

	if (policy_of_environment() || !is_usual_caller() || take_input(&bytes, &size) < 0)
		return false;
	if (bytes && read_state(bytes, size, &state) && open_maps(&maps))
		done = state.stopped ? end(&state, &maps) : begin(&state, &maps, launcher);
	free(bytes);
	return done;
}
