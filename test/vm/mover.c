/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * mover FROM TO FILE COUNT: opens FILE below the directory FROM, COUNT times, while another thread renames
 * the directory to TO and back, at any instant of an open where the kernel preempts. Prints how many opens
 * succeeded and how many renames did.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static volatile int stop;
static long moves;

static void must(int good, const char *what)
{
	if (good)
		return;
	fprintf(stderr, "mover: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* Both threads share a processor, so that one interrupts the other. */
static void stay_here(void)
{
	cpu_set_t first;

	CPU_ZERO(&first);
	CPU_SET(0, &first);
	must(sched_setaffinity(0, sizeof(first), &first) == 0, "sched_setaffinity");
}

static void *move(void *arguments)
{
	char **names = arguments;
	struct sched_param first_in_line = {.sched_priority = 50};
	unsigned int seed = 1;

	stay_here();
	errno = pthread_setschedparam(pthread_self(), SCHED_FIFO, &first_in_line);
	must(!errno, "pthread_setschedparam");
	while (!stop || moves % 2) {
		struct timespec pause = {.tv_nsec = 20000 + rand_r(&seed) % 60000};

		nanosleep(&pause, NULL);
		must(rename(names[moves % 2], names[1 - moves % 2]) == 0, "rename");
		moves++;
	}
	return NULL;
}

int main(int argc, char **argv)
{
	long opened = 0;
	int directory, file;
	pthread_t mover;

	must(argc == 5, "FROM TO FILE COUNT");
	directory = open(argv[1], O_PATH | O_DIRECTORY);
	must(directory >= 0, argv[1]);
	stay_here();
	errno = pthread_create(&mover, NULL, move, argv + 1);
	must(!errno, "pthread_create");
	for (long i = atol(argv[4]); i > 0; i--) {
		file = openat(directory, argv[3], O_RDONLY);
		if (file < 0) {
			must(errno == EACCES, argv[3]);
			continue;
		}
		opened++;
		close(file);
	}
	stop = 1;
	pthread_join(mover, NULL);
	printf("%ld opened, %ld moves\n", opened, moves);
}
