// act OPERATION [ARGUMENT…]: makes one system call's worth of trouble and prints "ok" or the errno's name,
// and its pid, by which a test finds the denial that belongs to it.
// The VM tests run it jailed and unjailed; being static it needs no file but itself.
#include "act.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct operation *const tables[] = {
    file_operations, metadata_operations, way_operations,  descriptor_operations,
    task_operations, socket_operations,   ring_operations,
};

char **argument;

long number(int i)
{
	return strtol(argument[i], NULL, 0);
}

static int perform(const struct operation *operation)
{
	argument += 2;
	/* Whoever waits in vain must not hold up the others. */
	alarm(20);
	if (operation->act() < 0) {
		printf("%s %d\n", strerrorname_np(errno), getpid());
		return 1;
	}
	printf("ok %d\n", getpid());
	return 0;
}

int main(int argc, char **argv)
{
	argument = argv;
	if (argc < 2)
		return 2;
	for (size_t i = 0; i < sizeof(tables) / sizeof(*tables); i++)
		for (const struct operation *operation = tables[i]; operation->name; operation++)
			if (strcmp(operation->name, argv[1]) == 0)
				return perform(operation);
	fprintf(stderr, "act: no operation %s\n", argv[1]);
	return 2;
}
