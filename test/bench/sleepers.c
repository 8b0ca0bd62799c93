/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * sleepers: for each line of its input, a cgroup's directory, starts a process there, which executes this
 * program anew, as the last mile of a jailrun --exec executes its command, and sleeps. Answers each with a
 * line once that is so. The processes outlive it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int start_in(const char *cgroup)
{
	int directory = open(cgroup, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	/* With CLONE_VFORK it returns once the child has executed the program. */
	struct clone_args how = {
	    .flags = CLONE_INTO_CGROUP | CLONE_VFORK,
	    .cgroup = directory,
	};
	pid_t child = directory < 0 ? -1 : syscall(SYS_clone3, &how, sizeof(how));

	if (child == 0) {
		execl("/proc/self/exe", "sleepers", "asleep", NULL);
		_exit(1);
	}
	close(directory);
	return child < 0 ? -1 : 0;
}

int main(int argc, char *argv[])
{
	char line[4096];

	(void)argv;
	if (argc > 1) {
		/* Nothing that it was given is kept open by it. */
		syscall(SYS_close_range, 0, ~0U, 0);
		for (;;)
			pause();
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	while (fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "\n")] = '\0';
		if (start_in(line) < 0) {
			fprintf(stderr, "sleepers: %s: %s\n", line, strerror(errno));
			return 1;
		}
		puts("asleep");
	}
	return 0;
}
