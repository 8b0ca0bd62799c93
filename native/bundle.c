/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include "bundle.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sha256.h"

/* Of a tar archive's header: POSIX.1-2017, pax, "ustar Interchange Format". */
enum {
	BLOCK = 512,
	NAME = 100,
	SIZE = 124,
	CHECKSUM = 148,
	TYPE = 156,
	MAGIC = 257,
	/* A policy's limit, src/profiles/load.ts; hooks are smaller. */
	TEXT_SIZE = 1 << 20,
};

static const char *const directories[BUNDLE_PLACES] = {"hooks.d/", "jailrun/", "policy.d/"};

/* What jailrun's own directory holds, all of it and in this order, as in src/launcher/bundle.ts. */
static const struct {
	const char *name;
	mode_t mode;
} programs[] = {
    {"jailrun", 0755},          {"jailrun.bpf.o", 0644},
    {"jailrun.node", 0644},     {"launcher-main.cache", 0644},
    {"launcher-main.js", 0644}, {"launcher.cjs", 0644},
    {"library.js", 0644},       {"roles.jsonl", 0644},
    {"tar.cjs", 0644},          {"toml.cjs", 0644},
    {"yaml.cache", 0644},       {"yaml.cjs", 0644},
};
enum { PROGRAMS = sizeof(programs) / sizeof(*programs) };

__attribute__((format(printf, 2, 3))) static bool refuse(struct bundle *bundle, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(bundle->fault, sizeof(bundle->fault), format, arguments);
	va_end(arguments);
	return false;
}

static bool read_archive(const char *path, struct bundle *bundle)
{
	/* O_NONBLOCK: a FIFO would otherwise wait for a writer before it could be refused. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat stat;
	size_t done = 0;

	if (fd < 0 || fstat(fd, &stat) < 0)
		return false;
	if (!S_ISREG(stat.st_mode))
		return refuse(bundle, "it is no regular file");
	if (stat.st_size > BUNDLE_SIZE)
		return refuse(bundle, "it is larger than %d bytes", BUNDLE_SIZE);
	bundle->size = stat.st_size;
	bundle->archive = malloc(bundle->size + 1);
	if (!bundle->archive)
		return false;
	while (done < bundle->size) {
		ssize_t count = read(fd, bundle->archive + done, bundle->size - done);

		if (count < 0 && errno != EINTR)
			return false;
		if (count == 0)
			return refuse(bundle, "it became shorter while it was read");
		done += count > 0 ? count : 0;
	}
	close(fd);
	return true;
}

static bool is_zero(const unsigned char *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (bytes[i])
			return false;
	return true;
}

/* The one header that a file of this name, size and mode has: root's, of 1970, and nothing else to it. */
static void make_header(char header[BLOCK], const char *name, size_t size, mode_t mode)
{
	unsigned int sum = 0;

	memset(header, 0, BLOCK);
	strcpy(header, name);
	sprintf(header + 100, "%06o ", mode);
	sprintf(header + 108, "%06o ", 0); /* user */
	sprintf(header + 116, "%06o ", 0); /* group */
	sprintf(header + SIZE, "%010zo ", size);
	sprintf(header + 136, "%010o ", 0); /* time */
	memset(header + CHECKSUM, ' ', 8);
	header[TYPE] = '0';
	memcpy(header + MAGIC,
	       "ustar\0"
	       "00",
	       8);
	sprintf(header + 329, "%06o ", 0); /* device */
	sprintf(header + 337, "%06o ", 0);
	for (int i = 0; i < BLOCK; i++)
		sum += (unsigned char)header[i];
	sprintf(header + CHECKSUM, "%06o ", sum);
}

static bool ends_with(const char *text, const char *end)
{
	size_t length = strlen(text), tail = strlen(end);

	return length > tail && strcmp(text + length - tail, end) == 0;
}

/* A file's own name, with an ending by which its readers know it. */
static bool is_text_name(enum bundle_place place, const char *name)
{
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
	size_t length = strlen(name);

	if (length == 0 || length > 64 || name[0] == '.' || strspn(name, plain) != length)
		return false;
	return ends_with(name, ".json") || (place == BUNDLE_POLICY && ends_with(name, ".yaml"));
}

/* Finds out what a name in the archive is; false where no bundle has it. */
static bool find_place(const char *path, struct bundle_file *file)
{
	for (int place = 0; place < BUNDLE_PLACES; place++) {
		size_t length = strlen(directories[place]);

		if (strncmp(path, directories[place], length) != 0)
			continue;
		file->place = place;
		file->name = path + length;
		file->mode = 0644;
		if (place != BUNDLE_PROGRAM)
			return is_text_name(place, file->name);
		for (int i = 0; i < PROGRAMS; i++) {
			file->mode = programs[i].mode;
			if (strcmp(file->name, programs[i].name) == 0)
				return true;
		}
	}
	return false;
}

/* Reads the entry at `offset` of the archive, and moves that behind it. */
static bool read_entry(struct bundle *bundle, size_t *offset, struct bundle_file *file, bool first)
{
	const unsigned char *header = bundle->archive + *offset;
	size_t left = bundle->size - *offset - BLOCK, size, room;
	const char *path = (const char *)header;
	char expected[BLOCK];
	char *end;

	if (!memchr(header, '\0', NAME))
		return refuse(bundle, "an entry at %zu has too long a name", *offset);
	*file = (struct bundle_file){.name = path, .mode = 0644};
	if (first ? strcmp(path, BUNDLE_MANIFEST) != 0 : !find_place(path, file))
		return refuse(bundle, "it holds %s%s", path,
			      first ? ", and the first file must be " BUNDLE_MANIFEST
				    : ", which no bundle has");
	size = strtoul((const char *)header + SIZE, &end, 8);
	if (size > left || (!first && file->place != BUNDLE_PROGRAM && size > TEXT_SIZE))
		return refuse(bundle, "%s is larger than a bundle has room for", path);
	make_header(expected, path, size, file->mode);
	if (memcmp(header, expected, BLOCK) != 0)
		return refuse(bundle, "the header of %s is not what jailrun bundle writes", path);
	file->bytes = header + BLOCK;
	file->size = size;
	room = (size + BLOCK - 1) / BLOCK * BLOCK;
	if (room > left || !is_zero(file->bytes + size, room - size))
		return refuse(bundle, "what follows %s is not zero", path);
	*offset += BLOCK + room;
	return true;
}

static const char *path_of(const struct bundle_file *file)
{
	return file->name - strlen(directories[file->place]);
}

static bool read_entries(struct bundle *bundle)
{
	size_t offset = 0;
	int found = 0;

	if (bundle->size % BLOCK != 0 || bundle->size < 3 * BLOCK)
		return refuse(bundle, "it is no tar archive, or cut off");
	if (!read_entry(bundle, &offset, &bundle->manifest, true))
		return false;
	while (offset + BLOCK <= bundle->size && !is_zero(bundle->archive + offset, BLOCK)) {
		struct bundle_file *file = &bundle->files[bundle->count];

		if (bundle->count == BUNDLE_FILES)
			return refuse(bundle, "it holds more than %d files", BUNDLE_FILES);
		if (!read_entry(bundle, &offset, file, false))
			return false;
		/* Each once, too. */
		if (bundle->count > 0 && strcmp(path_of(file - 1), path_of(file)) >= 0)
			return refuse(bundle, "%s is not in its place, which is by its name", path_of(file));
		found += file->place == BUNDLE_PROGRAM;
		bundle->count++;
	}
	if (bundle->size - offset != 2 * BLOCK || !is_zero(bundle->archive + offset, 2 * BLOCK))
		return refuse(bundle, "it does not end as a bundle does, with two empty blocks");
	return found == PROGRAMS || refuse(bundle, "it does not hold all of jailrun");
}

/* Takes `text` off the front of the manifest. */
static bool take(const unsigned char **at, const unsigned char *end, const char *text)
{
	size_t length = strlen(text);

	if ((size_t)(end - *at) < length || memcmp(*at, text, length) != 0)
		return false;
	*at += length;
	return true;
}

void write_manifest_line(const struct bundle_file *file, char line[BUNDLE_LINE])
{
	char digest[SHA256_TEXT];

	sha256(file->bytes, file->size, digest);
	snprintf(line, BUNDLE_LINE, "{\"file\":\"%s%s\",\"size\":%zu,\"sha256\":\"%s\"}\n",
		 directories[file->place], file->name, file->size, digest);
}

/* The manifest is what these files have, byte for byte, so it cannot say anything else. */
static bool check_manifest(struct bundle *bundle)
{
	static const char plain[] = "0123456789.+-abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
	const unsigned char *at = bundle->manifest.bytes, *end = at + bundle->manifest.size;
	size_t length = 0;

	if (!take(&at, end, "{\"version\":1,\"type\":\"bundle\",\"jailrun\":\""))
		return refuse(bundle, "its manifest is of another form");
	while (at < end && *at && strchr(plain, *at) && length + 1 < sizeof(bundle->version))
		bundle->version[length++] = *at++;
	if (length == 0 || !take(&at, end, "\"}\n"))
		return refuse(bundle, "its manifest names no version of jailrun");
	for (size_t i = 0; i < bundle->count; i++) {
		const struct bundle_file *file = &bundle->files[i];
		char line[BUNDLE_LINE];

		write_manifest_line(file, line);
		if (!take(&at, end, line))
			return refuse(bundle, "%s is not what its manifest says", path_of(file));
	}
	return at == end || refuse(bundle, "its manifest names files that it does not hold");
}

bool read_bundle(const char *path, struct bundle *bundle)
{
	memset(bundle, 0, sizeof(*bundle));
	return read_archive(path, bundle) && read_entries(bundle) && check_manifest(bundle);
}

bool read_manifest_line(const char *line, enum bundle_place *place, char name[NAME_MAX + 1])
{
	static const char start[] = "{\"file\":\"";
	struct bundle_file file;
	char path[NAME];
	size_t length;

	if (strncmp(line, start, strlen(start)) != 0)
		return false;
	line += strlen(start);
	length = strcspn(line, "\"\n");
	if (line[length] != '"' || length >= sizeof(path))
		return false;
	memcpy(path, line, length);
	path[length] = '\0';
	if (!find_place(path, &file) || file.place == BUNDLE_PROGRAM)
		return false;
	*place = file.place;
	strcpy(name, file.name);
	return true;
}
