/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "json.h"

#include <ctype.h>
#include <string.h>

enum { MOST_DEEP = 64 };

static void skip_space(struct json *json)
{
	while (json->at < json->end && strchr(" \t\r\n", *json->at) && *json->at)
		json->at++;
}

static bool fail(struct json *json)
{
	json->wrong = true;
	json->at = json->end;
	return false;
}

/* Takes this byte, which must come. */
static bool take(struct json *json, char byte)
{
	skip_space(json);
	if (json->at == json->end || *json->at != byte)
		return fail(json);
	json->at++;
	return true;
}

static bool comes(struct json *json, char byte)
{
	skip_space(json);
	return json->at < json->end && *json->at == byte;
}

/* The escape behind a backslash. */
static bool skip_escape(struct json *json)
{
	char byte = json->at < json->end ? *json->at++ : '\0';

	if (byte != 'u')
		return (byte && strchr("\"\\/bfnrt", byte)) || fail(json);
	for (int i = 0; i < 4; i++, json->at++)
		if (json->at == json->end || !isxdigit((unsigned char)*json->at))
			return fail(json);
	return true;
}

bool read_text(struct json *json, struct json_text *text)
{
	if (!take(json, '"'))
		return false;
	text->bytes = json->at;
	while (json->at < json->end && *json->at != '"') {
		if ((unsigned char)*json->at < 0x20)
			return fail(json);
		if (*json->at++ == '\\' && !skip_escape(json))
			return false;
	}
	if (json->at == json->end)
		return fail(json);
	text->size = json->at++ - text->bytes;
	return true;
}

static bool skip_digits(struct json *json)
{
	const char *first = json->at;

	while (json->at < json->end && isdigit((unsigned char)*json->at))
		json->at++;
	return json->at > first || fail(json);
}

static void skip_number(struct json *json)
{
	if (*json->at == '-')
		json->at++;
	if (json->at < json->end && *json->at == '0')
		json->at++;
	else if (!skip_digits(json))
		return;
	if (json->at < json->end && *json->at == '.') {
		json->at++;
		if (!skip_digits(json))
			return;
	}
	if (json->at < json->end && (*json->at == 'e' || *json->at == 'E')) {
		json->at++;
		if (json->at < json->end && (*json->at == '+' || *json->at == '-'))
			json->at++;
		skip_digits(json);
	}
}

bool read_count(struct json *json, unsigned long *number)
{
	const char *first;

	skip_space(json);
	first = json->at;
	if (!skip_digits(json) || json->at - first > 18 || (*first == '0' && json->at - first > 1))
		return fail(json);
	*number = 0;
	for (; first < json->at; first++)
		*number = *number * 10 + (*first - '0');
	/* No fraction and no exponent. */
	return json->at == json->end || !strchr(".eE", *json->at) || fail(json);
}

static bool skip_word(struct json *json, const char *word)
{
	size_t length = strlen(word);

	if ((size_t)(json->end - json->at) < length || memcmp(json->at, word, length) != 0)
		return fail(json);
	json->at += length;
	return true;
}

static void skip_at(struct json *json, int depth)
{
	struct json_text text;
	bool first = true;

	skip_space(json);
	if (json->at == json->end || depth > MOST_DEEP) {
		fail(json);
		return;
	}
	switch (*json->at) {
	case '{':
		while (next_member(json, &text, &first))
			skip_at(json, depth + 1);
		return;
	case '[':
		json->at++;
		if (comes(json, ']')) {
			json->at++;
			return;
		}
		do
			skip_at(json, depth + 1);
		while (comes(json, ',') && json->at++);
		take(json, ']');
		return;
	case '"':
		read_text(json, &text);
		return;
	case 't':
		skip_word(json, "true");
		return;
	case 'f':
		skip_word(json, "false");
		return;
	case 'n':
		skip_word(json, "null");
		return;
	default:
		skip_number(json);
	}
}

void skip_value(struct json *json)
{
	skip_at(json, 0);
}

bool next_member(struct json *json, struct json_text *key, bool *first)
{
	if (*first && !take(json, '{'))
		return false;
	if (comes(json, '}')) {
		json->at++;
		return false;
	}
	if (!*first && !take(json, ','))
		return false;
	*first = false;
	return read_text(json, key) && take(json, ':');
}

bool is_at_end(struct json *json)
{
	skip_space(json);
	return !json->wrong && json->at == json->end;
}

bool is_text(const struct json_text *text, const char *wanted)
{
	return text->size == strlen(wanted) && memcmp(text->bytes, wanted, text->size) == 0;
}

bool begins_with(const struct json_text *text, const char *wanted)
{
	return text->size >= strlen(wanted) && memcmp(text->bytes, wanted, strlen(wanted)) == 0;
}

bool is_plain(const char *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (bytes[i] <= ' ' || bytes[i] > '~' || bytes[i] == '"' || bytes[i] == '\\')
			return false;
	return size > 0;
}

bool copy_plain(const struct json_text *text, char *copy, size_t size)
{
	if (text->size >= size || !is_plain(text->bytes, text->size))
		return false;
	memcpy(copy, text->bytes, text->size);
	copy[text->size] = '\0';
	return true;
}
