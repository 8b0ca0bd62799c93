/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include "template.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sha256.h"
#include "starts.h"

static size_t filled(size_t size)
{
	return (size + 3) & ~(size_t)3;
}

/* Takes a part of this size off the file. NULL where it has not so much. */
static const char *take_part(const char **at, const char *end, size_t size)
{
	const char *part = *at;

	if (size > (size_t)(end - part))
		return NULL;
	*at += size;
	return part;
}

/* Finds the parts of a template of which the head is whole. False where it is not for this mount table. */
static bool divide(struct template *template, const struct table *table)
{
	const struct jr_template *head = template->head;
	const char *at = (const char *)(head + 1), *text;

	text = take_part(&at, template->end, filled(head->table));
	if (!text || head->table != table->size || memcmp(text, table->text, table->size) != 0)
		return false;
	template->pieces = take_part(&at, template->end, head->pieces);
	template->entries = (const struct jr_template_entry *)take_part(
	    &at, template->end, (size_t)head->entries * sizeof(*template->entries));
	template->globs = (const struct jr_glob_row *)take_part(
	    &at, template->end, (size_t)head->rows * sizeof(*template->globs));
	template->sights = (const struct jr_sight *)at;
	return template->pieces && template->entries && template->globs && head->pieces % 4 == 0 &&
	       head->rows <= JR_MAX_GLOB_ROWS && are_whole(at, template->end);
}

bool find_template(struct template *template, const char *asked, const struct table *table, int meta,
		   const struct viewpoint *from)
{
	__u32 layout = checksum("", table->text, table->text + filled(table->size));
	char name[START_NAME + 1];

	for (int slot = 0; slot < JR_TEMPLATE_SLOTS; slot++) {
		size_t size;
		char *bytes;

		if (snprintf(name, sizeof(name), "container:%s:%08x:%d", asked, layout, slot) > START_NAME)
			return false;
		bytes = read_start(name, JR_TEMPLATE_FORMAT, sizeof(*template->head), &size);
		if (!bytes)
			continue;
		*template = (struct template){.head = (struct jr_template *)bytes, .end = bytes + size};
		if (divide(template, table) && are_same_programs(meta, template->head->meta) &&
		    is_as_seen(template->sights, template->end, from))
			return true;
		free(bytes);
	}
	return false;
}

bool is_known_free(const struct viewpoint *from)
{
	size_t size;
	char *bytes = read_start("container:", JR_TEMPLATE_FORMAT, sizeof(struct jr_template), &size);
	struct template template = {.head = (struct jr_template *)bytes, .end = bytes + size};
	bool is_free;

	if (!bytes)
		return false;
	is_free =
	    divide(&template, &(struct table){.text = ""}) && is_as_seen(template.sights, template.end, from);
	free(bytes);
	return is_free;
}

void free_template(struct template *template)
{
	free((void *)template->head);
}

/* An entry as digestOf() in compile.ts takes it. */
struct entry {
	struct jr_rule_key key;
	struct jr_rule value;
};

/* What a role's digest is taken of, as in digestOf(); behind the entries the rows of the wildcards follow. */
struct compiled {
	__u32 layout;
	__u8 role[sizeof(struct jr_role)];
	struct entry entries[];
};

static int compare(const void *one, const void *other)
{
	return memcmp(one, other, sizeof(struct jr_rule_key));
}

static bool fill_entry(struct entry *entry, const struct jr_template_entry *from, const struct table *table,
		       const __u32 *epochs)
{
	memcpy(&entry->key, from->key, sizeof(entry->key));
	memcpy(&entry->value, from->value, sizeof(entry->value));
	if (from->variable > (__u32)table->variable_count)
		return false;
	if (from->variable > 0) {
		const char *name = table->variables[from->variable - 1];

		entry->key.length = strlen(name);
		memcpy(entry->key.name, name, entry->key.length);
	} else if (entry->key.kind == JR_KEY_DEVICE) {
		__u32 device = entry->key.state;

		if (device >= (__u32)table->device_count)
			return false;
		entry->key.state = table->devices[device];
		memcpy(entry->key.name, &epochs[device], sizeof(*epochs));
	}
	return true;
}

/* An entry-less role is the same for each container. */
static __u64 digest_of(const struct template *template, const struct compiled *compiled, size_t size)
{
	unsigned char digest[SHA256_SIZE];
	__u64 number;

	if (template->head->entries == 0)
		return template->head->digest;
	sha256_bytes((const unsigned char *)compiled, size, digest);
	memcpy(&number, digest, sizeof(number));
	return number | (__u64)1 << 56;
}

bool fill_role(const struct template *template, const struct table *table, const __u32 *epochs,
	       struct new_role *role)
{
	const struct jr_template *head = template->head;
	size_t globs = (size_t)head->rows * sizeof(struct jr_glob_row);
	size_t size = sizeof(struct compiled) + (size_t)head->entries * sizeof(struct entry) + globs;
	struct compiled *compiled = malloc(size);
	struct jr_rule_key *keys = malloc((size_t)head->entries * sizeof(*keys) + 1);
	struct jr_rule *values = malloc((size_t)head->entries * sizeof(*values) + 1);
	bool full = compiled && keys && values;

	for (__u32 i = 0; full && i < head->entries; i++)
		full = fill_entry(&compiled->entries[i], &template->entries[i], table, epochs);
	if (full) {
		compiled->layout = JR_LAYOUT;
		memcpy(compiled->role, head->role, sizeof(compiled->role));
		qsort(compiled->entries, head->entries, sizeof(struct entry), compare);
		memcpy(&compiled->entries[head->entries], template->globs, globs);
		*role = (struct new_role){.digest = digest_of(template, compiled, size),
					  .entries = head->entries,
					  .rows = head->rows,
					  .keys = keys,
					  .values = values,
					  .globs = template->globs};
		memcpy(&role->form, head->role, sizeof(role->form));
		for (__u32 i = 0; i < head->entries; i++) {
			keys[i] = compiled->entries[i].key;
			values[i] = compiled->entries[i].value;
		}
	} else {
		free(keys);
		free(values);
	}
	free(compiled);
	return full;
}

void free_role(struct new_role *role)
{
	free((void *)role->keys);
	free((void *)role->values);
}

static void print_number(FILE *line, __u64 number)
{
	fprintf(line, "%llu", (unsigned long long)number);
}

/* Fills the gap that the piece has behind it. */
static bool fill_gap(FILE *line, const struct jr_piece *piece, const struct filling *with)
{
	const struct table *table = with->table;
	int at = piece->index;

	switch ((enum jr_gap)piece->gap) {
	case JR_GAP_NONE:
		return true;
	case JR_GAP_DIGEST:
		print_number(line, with->digest);
		return true;
	case JR_GAP_NAME:
		fputs(with->name, line);
		return true;
	case JR_GAP_ID:
		fputs(with->id, line);
		return true;
	case JR_GAP_CGROUP:
		fputs(with->cgroup, line);
		return true;
	case JR_GAP_CGROUP_ID:
		print_number(line, with->cgroup_id);
		return true;
	case JR_GAP_ROOT_DEVICE:
		print_number(line, with->root_device);
		return true;
	case JR_GAP_ROOT_INODE:
		print_number(line, with->root_inode);
		return true;
	case JR_GAP_MOUNT:
		if (at < table->mount_count)
			print_number(line, table->mounts[at].id);
		return at < table->mount_count;
	case JR_GAP_PARENT:
		if (at < table->mount_count)
			print_number(line, table->mounts[at].parent);
		return at < table->mount_count;
	case JR_GAP_DEVICE:
		if (at < table->device_count)
			print_number(line, table->devices[at]);
		return at < table->device_count;
	case JR_GAP_EPOCH:
		if (at < table->device_count)
			print_number(line, with->epochs[at]);
		return at < table->device_count;
	case JR_GAP_VARIABLE:
		if (at < table->variable_count)
			fputs(table->variables[at], line);
		return at < table->variable_count;
	}
	return false;
}

char *fill_header(const struct template *template, const struct filling *with, size_t *size)
{
	const char *at = template->pieces, *end = at + template->head->pieces;
	char *text = NULL;
	FILE *line = open_memstream(&text, size);
	bool full = line;

	while (full && at < end) {
		const struct jr_piece *piece = (const struct jr_piece *)take_part(&at, end, sizeof(*piece));
		const char *part = piece ? take_part(&at, end, filled(piece->text)) : NULL;

		full =
		    part && fwrite(part, 1, piece->text, line) == piece->text && fill_gap(line, piece, with);
	}
	if (line && (ferror(line) || fclose(line) != 0))
		full = false;
	if (full)
		return text;
	free(text);
	return NULL;
}
