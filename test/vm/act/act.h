// What the parts of `act` share: an operation is a function that makes its system calls with `argument`, and
// returns less than 0, with errno, where one failed.
#ifndef ACT_H
#define ACT_H

#define _GNU_SOURCE
#include <stddef.h>

struct operation {
	const char *name;
	int (*act)(void);
};

/* One for each file; a row without a name ends it. */
extern const struct operation file_operations[];
extern const struct operation metadata_operations[];
extern const struct operation way_operations[];
extern const struct operation descriptor_operations[];
extern const struct operation task_operations[];
extern const struct operation socket_operations[];
extern const struct operation ring_operations[];

/* What follows the operation's name on the command line. */
extern char **argument;

long number(int i);

#endif
