/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include "table.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "json.h"

enum {
	FIRST_SIZE = 1 << 16,
	MOST_BYTES = 1 << 24,
};

char *read_all(int file, size_t *size)
{
	size_t room = FIRST_SIZE, done = 0;
	char *bytes = malloc(room + 1);
	ssize_t count = 1;

	while (bytes && count != 0) {
		if (done == room) {
			char *larger = room < MOST_BYTES ? realloc(bytes, 2 * room + 1) : NULL;

			if (!larger)
				break;
			bytes = larger;
			room *= 2;
		}
		count = read(file, bytes + done, room - done);
		if (count < 0 && errno != EINTR && errno != EAGAIN)
			break;
		done += count > 0 ? count : 0;
	}
	if (count != 0) {
		free(bytes);
		return NULL;
	}
	if (bytes)
		bytes[done] = '\0';
	*size = done;
	return bytes;
}

/* Takes a field off the line, and the blank behind it. NULL where there is none. */
static char *take_field(char **at)
{
	char *field = *at, *end = field ? strchr(field, ' ') : NULL;

	if (!field)
		return NULL;
	if (end)
		*end++ = '\0';
	*at = end;
	return field;
}

static bool read_number(const char *field, __u32 *number)
{
	char *end;
	unsigned long value = strtoul(field, &end, 10);

	*number = value;
	return *field >= '0' && *field <= '9' && *end == '\0' && value <= ~0U;
}

/* A line as show_mountinfo() in fs/proc_namespace.c writes it; see proc(5). */
static bool read_line(char *line, struct mount *mount)
{
	char *id = take_field(&line), *parent = take_field(&line), *device = take_field(&line), *field;
	__u32 major, minor;
	char *colon;

	mount->root = take_field(&line);
	mount->point = take_field(&line);
	take_field(&line);
	/* Optional fields, then a lone hyphen, then the type. */
	do
		field = take_field(&line);
	while (field && strcmp(field, "-") != 0);
	mount->type = take_field(&line);
	if (!mount->type || !(colon = strchr(device, ':')))
		return false;
	*colon = '\0';
	if (!read_number(id, &mount->id) || !read_number(parent, &mount->parent) ||
	    !read_number(device, &major) || !read_number(colon + 1, &minor))
		return false;
	mount->device = major << 20 | minor;
	return true;
}

/* Whether `path` is `directory` or below it. */
static bool is_below(const char *path, const char *directory)
{
	size_t length = strlen(directory);

	return strncmp(path, directory, length) == 0 && (path[length] == '/' || path[length] == '\0');
}

static bool is_usual(const struct mount *mount)
{
	return is_plain(mount->root, strlen(mount->root)) && is_plain(mount->point, strlen(mount->point)) &&
	       is_plain(mount->type, strlen(mount->type)) && !strstr(mount->root, "//");
}

static int find_device(const struct table *table, __u32 device)
{
	int i = 0;

	while (i < table->device_count && table->devices[i] != device)
		i++;
	return i;
}

static bool read_mounts(struct table *table, const char *root)
{
	char *next;

	for (char *line = table->bytes; *line; line = next) {
		struct mount *mount = &table->mounts[table->mount_count];
		char *end = strchr(line, '\n');

		if (!end || table->mount_count == JR_MAX_DIFFERENT)
			return false;
		*end = '\0';
		next = end + 1;
		if (!read_line(line, mount))
			return false;
		mount->inside = is_below(mount->point, root);
		if (!mount->inside && strcmp(mount->point, "/") != 0 && !is_below(root, mount->point))
			continue;
		if (mount->inside && !is_usual(mount))
			return false;
		mount->place = table->mount_count++;
	}
	return true;
}

static int compare(const void *one, const void *other)
{
	const struct mount *a = one, *b = other;
	int order = strcmp(a->point, b->point);

	return order ? order : a->place - b->place;
}

static void sort_mounts(struct table *table)
{
	qsort(table->mounts, table->mount_count, sizeof(*table->mounts), compare);
	for (int i = 0; i < table->mount_count; i++) {
		const struct mount *mount = &table->mounts[i];

		if (mount->inside && find_device(table, mount->device) == table->device_count)
			table->devices[table->device_count++] = mount->device;
	}
}

/* Whether so many hexadecimal digits and hyphens stand in a row as only in what a program has named. */
static bool is_long_number(const char *component, size_t length)
{
	size_t row = 0;

	if (length >= JR_VARIABLE_WORD && strspn(component, "0123456789abcdef") == length)
		return true;
	for (size_t i = 0; i < length && row < JR_VARIABLE_LENGTH; i++)
		row = component[i] && strchr("0123456789abcdef-", component[i]) ? row + 1 : 0;
	return row >= JR_VARIABLE_LENGTH;
}

/* As engines name directories, and systemd's cgroups: the id, `-ID.scope` at its end, or a long number. */
static bool is_own(const char *component, size_t length, const char *id)
{
	static const char scope[] = ".scope";
	size_t own = strlen(id);
	const char *end = component + length;

	if (length == own && memcmp(component, id, own) == 0)
		return true;
	if (length > own + strlen(scope) && memcmp(end - strlen(scope), scope, strlen(scope)) == 0 &&
	    memcmp(end - strlen(scope) - own, id, own) == 0 && end[-(long)(strlen(scope) + own + 1)] == '-')
		return true;
	return is_long_number(component, length);
}

/* Keeps them sorted, each once. */
static bool add_variable(struct table *table, const char *component, size_t length)
{
	char name[JR_MAX_NAME + 1];
	int at = 0;

	if (length > JR_MAX_NAME)
		return false;
	memcpy(name, component, length);
	name[length] = '\0';
	while (at < table->variable_count && strcmp(table->variables[at], name) < 0)
		at++;
	if (at < table->variable_count && strcmp(table->variables[at], name) == 0)
		return true;
	if (table->variable_count == JR_MAX_VARIABLES)
		return false;
	memmove(table->variables[at + 1], table->variables[at],
		(table->variable_count - at) * sizeof(*table->variables));
	strcpy(table->variables[at], name);
	table->variable_count++;
	return true;
}

static bool find_variables(struct table *table, const char *id)
{
	for (int i = 0; i < table->mount_count; i++) {
		const char *at = table->mounts[i].root;

		while (table->mounts[i].inside && *at) {
			size_t length = strcspn(at, "/");

			if (is_own(at, length, id) && !add_variable(table, at, length))
				return false;
			at += length + (at[length] == '/');
		}
	}
	return true;
}

static char *append_root(char *end, const struct table *table, const char *root, const char *id)
{
	for (;;) {
		size_t length = strcspn(root, "/");

		if (is_own(root, length, id)) {
			int at = 0;

			while (strncmp(table->variables[at], root, length) != 0 ||
			       table->variables[at][length] != '\0')
				at++;
			*end++ = 1;
			*end++ = 'A' + at;
		} else {
			end = mempcpy(end, root, length);
		}
		root += length;
		if (!*root)
			return end;
		*end++ = *root++;
	}
}

static char *append_parent(char *end, const struct table *table, const struct mount *mount)
{
	for (int i = 0; i < table->mount_count && mount->parent != mount->id; i++)
		if (table->mounts[i].id == mount->parent)
			return end + sprintf(end, "%d", i);
	*end++ = '-';
	return end;
}

static int count_components(const char *path)
{
	int count = 0;

	for (; *path; path++)
		count += path[0] == '/' && path[1] != '\0';
	return count;
}

static void append_line(char **end, const struct table *table, const struct mount *mount, const char *root,
			const char *id)
{
	const char *point = mount->point + strlen(root);

	*end = append_parent(*end, table, mount);
	if (!mount->inside) {
		*end += sprintf(*end, " ^%d\n", count_components(mount->point));
		return;
	}
	*end += sprintf(*end, " %d ", find_device(table, mount->device));
	*end = append_root(*end, table, mount->root, id);
	*end += sprintf(*end, " %s %s\n", *point ? point : "/", mount->type);
}

bool read_table(struct table *table, const char *path, const char *root, const char *id)
{
	enum { LINE = 64 }; /* what a line has of numbers and blanks */
	int file = open(path, O_RDONLY | O_CLOEXEC);
	size_t size;
	char *end;

	table->bytes = file < 0 ? NULL : read_all(file, &size);
	table->text = NULL;
	table->mount_count = table->device_count = table->variable_count = 0;
	if (file >= 0)
		close(file);
	if (!table->bytes || strlen(table->bytes) != size || strcmp(root, "/") == 0 ||
	    !read_mounts(table, root) || !find_variables(table, id))
		return false;
	sort_mounts(table);
	/* A variable is written shorter than it is, or as long: an id may have one letter. */
	table->text = calloc(1, 2 * size + (size_t)LINE * table->mount_count + 4);
	if (!table->text)
		return false;
	end = table->text;
	for (int i = 0; i < table->mount_count; i++)
		append_line(&end, table, &table->mounts[i], root, id);
	table->size = end - table->text;
	return true;
}

void free_table(struct table *table)
{
	free(table->bytes);
	free(table->text);
}
