/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include "message.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
	MESSAGE_SIZE = 8192,
	LINE_SIZE = JSON_GROWTH * MESSAGE_SIZE + 128,
};

/* The length of the UTF-8 sequence at `text`, 0 where the bytes are none. RFC 3629, section 4. */
static int utf8_length(const unsigned char *text)
{
	int length = text[0] < 0x80 ? 1 : text[0] < 0xe0 ? 2 : text[0] < 0xf0 ? 3 : 4;
	unsigned char lowest = text[0] == 0xe0 ? 0xa0 : text[0] == 0xf0 ? 0x90 : 0x80;
	unsigned char highest = text[0] == 0xed ? 0x9f : text[0] == 0xf4 ? 0x8f : 0xbf;

	if ((text[0] >= 0x80 && text[0] < 0xc2) || text[0] > 0xf4)
		return 0;
	for (int i = 1; i < length; i++) {
		if (text[i] < lowest || text[i] > highest)
			return 0;
		lowest = 0x80;
		highest = 0xbf;
	}
	return length;
}

char *append_json(char *end, const char *text)
{
	while (*text) {
		int length = utf8_length((const unsigned char *)text);

		if (length == 0) {
			end = stpcpy(end, "\\ufffd");
			length = 1;
		} else if (*text == '"' || *text == '\\') {
			*end++ = '\\';
			*end++ = *text;
		} else if ((unsigned char)*text < 0x20 || *text == 0x7f) {
			end += sprintf(end, "\\u%04x", *text);
		} else {
			end = mempcpy(end, text, length);
		}
		text += length;
	}
	return end;
}

/* Control characters would let a command's name rewrite the terminal or forge a second message. */
static char *append_plain(char *end, const char *text)
{
	for (; *text; text++)
		*end++ = (unsigned char)*text < 0x20 || *text == 0x7f ? '?' : *text;
	return end;
}

void complain(struct voice voice, const char *code, const char *format, ...)
{
	char text[MESSAGE_SIZE];
	char line[LINE_SIZE];
	char *end = line;
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	if (voice.json) {
		end += sprintf(end, "{\"version\":1,\"type\":\"error\",\"code\":\"%s\",\"message\":\"", code);
		end = stpcpy(append_json(end, text), "\"}\n");
	} else {
		end = stpcpy(append_plain(stpcpy(end, "jailrun: "), text), "\n");
	}
	if (write(voice.fd, line, end - line) < 0)
		return;
}
