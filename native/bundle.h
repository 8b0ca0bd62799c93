/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A bundle, as src/launcher/bundle.ts writes it: a tar archive of regular files, first a manifest of their
 * SHA-256 digests. There is one way to write a given bundle, and nothing else is one: no other kind of entry,
 * name, order, owner, time or padding. So nothing in it has to be interpreted, and no archive can mean what
 * it does not say.
 */
#ifndef JAILRUN_BUNDLE_H
#define JAILRUN_BUNDLE_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum {
	BUNDLE_FILES = 256,
	BUNDLE_SIZE = 64 << 20,
	BUNDLE_VERSION = 33,
	BUNDLE_FAULT = 512,
	BUNDLE_LINE = 512, /* of a manifest: a name of 100 bytes, a size and a digest */
};

/* Where a file of a bundle belongs; the order of their directories in the archive. */
enum bundle_place {
	BUNDLE_HOOK,    /* hooks.d: for container engines */
	BUNDLE_PROGRAM, /* jailrun: its own directory */
	BUNDLE_POLICY,  /* policy.d */
	BUNDLE_PLACES,
};

/* The manifest's name, in the archive and in jailrun's own directory. */
#define BUNDLE_MANIFEST "manifest.jsonl"

struct bundle_file {
	enum bundle_place place;
	const char *name; /* in its directory */
	const unsigned char *bytes;
	size_t size;
	mode_t mode;
};

struct bundle {
	unsigned char *archive;
	size_t size;
	struct bundle_file manifest;
	struct bundle_file files[BUNDLE_FILES];
	size_t count;
	char version[BUNDLE_VERSION]; /* jailrun's */
	char fault[BUNDLE_FAULT];     /* what is wrong with it, in words */
};

/* Reads the whole archive into memory and checks it. False with `fault`, or with an errno where that is
 * empty. */
bool read_bundle(const char *path, struct bundle *bundle);

/* Writes the line of a manifest that is about this file, with its newline. */
void write_manifest_line(const struct bundle_file *file, char line[BUNDLE_LINE]);

/*
 * The name of a policy or hook in a line of a manifest, into `name`; false for other lines. `line` ends with
 * a newline or NUL.
 */
bool read_manifest_line(const char *line, enum bundle_place *place, char name[NAME_MAX + 1]);

#endif
