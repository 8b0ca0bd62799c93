/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef JAILRUN_MESSAGE_H
#define JAILRUN_MESSAGE_H

#include <stdbool.h>

/* Exit statuses of jailrun's own, those of env(1) and podman-run(1). */
enum {
	STATUS_FAILED = 125,      /* jailrun failed and the command never started */
	STATUS_NOT_INVOKED = 126, /* the command is there but cannot be invoked */
	STATUS_NOT_FOUND = 127,   /* there is no such command */
};

/* Where jailrun speaks for itself, and how: what --report-fd and --json say. */
struct voice {
	int fd;
	bool json;
};

/*
 * Says what went wrong, why and the mend: one line of text, or with `json` one of the
 * JSON lines that the launcher writes too. `code` is for programs and never changes. A write that fails
 * is nobody's concern: there is no other place to say so.
 */
void complain(struct voice voice, const char *code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/*
 * Writes text in JSON's form, as what is between the quotes of a string, and returns its end; a byte that is
 * no UTF-8 becomes U+FFFD. No byte of the text becomes more than JSON_GROWTH; nothing ends them.
 */
char *append_json(char *end, const char *text);
enum { JSON_GROWTH = 6 };

#endif
