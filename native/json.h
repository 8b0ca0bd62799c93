/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef JAILRUN_JSON_H
#define JAILRUN_JSON_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Reads JSON (RFC 8259) from its first byte to its last, for who looks for few of its values: what is met
 * that is no JSON, or too deep, is noted, and nothing more is read.
 */
struct json {
	const char *at;
	const char *end;
	bool wrong;
};

/* What stands between the quotes of a string. */
struct json_text {
	const char *bytes;
	size_t size;
};

/*
 * Goes through an object: true with the next member's key, and then its value must be read. `first` is true
 * before the first one, and false afterwards.
 */
bool next_member(struct json *json, struct json_text *key, bool *first);

bool read_text(struct json *json, struct json_text *text);
/* A number that is not negative, in decimal digits only. */
bool read_count(struct json *json, unsigned long *number);
void skip_value(struct json *json);
/* Whether all was read, and right. */
bool is_at_end(struct json *json);

/* Whether the text is this one, without escapes. */
bool is_text(const struct json_text *text, const char *wanted);
/* Whether it begins so. */
bool begins_with(const struct json_text *text, const char *wanted);

/*
 * Whether the text is the same in JSON, in a mount table and in a terminal: ASCII that one sees, without
 * quotes and backslashes, and not empty.
 */
bool is_plain(const char *bytes, size_t size);
/* Copies a plain text that has room. */
bool copy_plain(const struct json_text *text, char *copy, size_t size);

#endif
