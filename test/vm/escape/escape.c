// escape: tries ways out of a jail and prints what each achieved. It reads a way a line from standard input,
// "NAME [WORD…]", tries it in a child of its own, and prints "achieved: …" or "nothing: ERROR". So it starts
// no program, and tries in a role what whoever took over the role's only program could. Being static it needs
// no file but itself.
#include "escape.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct way *const tables[] = {process_ways, kernel_ways, file_ways};

char *argument[MAX_WORDS + 1];

long number(int i)
{
	return strtol(argument[i], NULL, 0);
}

const char *secret_in(int fd)
{
	static char text[256];
	ssize_t length = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (length < 0)
		return NULL;
	text[length] = 0;
	errno = ENODATA;
	return strstr(text, SECRET) ? "it read " SECRET : NULL;
}

static const struct way *way_named(const char *name)
{
	for (size_t i = 0; i < sizeof(tables) / sizeof(*tables); i++)
		for (const struct way *way = tables[i]; way->name; way++)
			if (strcmp(way->name, name) == 0)
				return way;
	fprintf(stderr, "escape: no way %s\n", name);
	exit(2);
}

static void try(const struct way *way)
{
	const char *achieved;

	/* Whoever waits in vain must not hold up the others. */
	alarm(20);
	errno = 0;
	achieved = way->try();
	if (achieved)
		printf("achieved: %s\n", achieved);
	else
		printf("nothing: %s\n", strerrorname_np(errno) ?: "0");
	fflush(stdout);
	_exit(0);
}

int main(void)
{
	char line[1024];

	while (fgets(line, sizeof(line), stdin)) {
		const struct way *way;
		int words = 0, status;
		pid_t child;

		line[strcspn(line, "\n")] = 0;
		way = way_named(strtok(line, " "));
		while (words < MAX_WORDS && (argument[words] = strtok(NULL, " ")))
			words++;
		child = fork();
		if (child == 0)
			try(way);
		if (child < 0 || waitpid(child, &status, 0) < 0)
			return 1;
		if (!WIFEXITED(status))
			printf("nothing: killed by signal %d\n", WTERMSIG(status));
		fflush(stdout);
	}
	return 0;
}
