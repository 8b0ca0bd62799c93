/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * latency ROUNDS FILE PROGRAM ARGUMENT…: runs the program so often, each time to its end, and prints the
 * median, the least and the most of what the time-stamp counter says it took. Before each time it removes the
 * file, if there is one. In a guest that counts
 * (scripts/vm.mjs), one tick is one instruction, and a tick of waiting is a nanosecond of the guest's clock.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "counter.h"

enum { MOST_ROUNDS = 1000 };

int main(int argc, char *argv[])
{
	static unsigned long long ticks[MOST_ROUNDS];
	int rounds = argc > 3 ? atoi(argv[1]) : 0;

	if (rounds < 1 || rounds > MOST_ROUNDS) {
		fprintf(stderr, "usage: latency ROUNDS FILE PROGRAM ARGUMENT…; at most %d rounds\n",
			MOST_ROUNDS);
		return 2;
	}
	/* The first run, which reads files for the first time, does not count. */
	for (int i = -1; i < rounds; i++) {
		unsigned long long begin;
		pid_t child;
		int status;

		unlink(argv[2]);
		begin = now();
		child = vfork();
		if (child == 0) {
			execv(argv[3], argv + 3);
			_exit(127);
		}
		if (child < 0 || waitpid(child, &status, 0) != child || status != 0) {
			fprintf(stderr, "latency: %s failed\n", argv[3]);
			return 1;
		}
		if (i >= 0)
			ticks[i] = now() - begin;
	}
	sort_ticks(ticks, rounds);
	printf("%llu %llu %llu\n", ticks[rounds / 2], ticks[0], ticks[rounds - 1]);
	return 0;
}
