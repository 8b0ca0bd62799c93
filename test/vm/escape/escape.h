// What the parts of `escape` share. A way returns in words what it achieved, or NULL with errno where that is
// nothing; `argument` are the words behind its name.
#ifndef ESCAPE_H
#define ESCAPE_H

#define _GNU_SOURCE
#include <stddef.h>

struct way {
	const char *name;
	const char *(*try)(void);
};

/* One for each file; a row without a name ends it. */
extern const struct way process_ways[];
extern const struct way kernel_ways[];
extern const struct way file_ways[];

#define MAX_WORDS 8
extern char *argument[MAX_WORDS + 1];

long number(int i);

/* What the descriptor's file says, if that is what nobody in a jail may know; NULL otherwise. */
const char *secret_in(int fd);

/* What files outside of a jail say, and the memory of processes there. */
#define SECRET "known outside"

#endif
