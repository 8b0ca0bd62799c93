/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * flip GRANTED DENIED: from the end of its input on opens both files, in one child after another and in
 * itself, until SIGTERM; then prints how often it opened both, and how often it was denied the one or granted
 * the other. A reload must leave the last at 0 where the old policy and the new one agree on both files.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile sig_atomic_t ended;

static void end(int signal)
{
	ended = signal;
}

/* True where what is granted is granted and what is denied denied. */
static int looks_right(char **files)
{
	int granted = open(files[0], O_RDONLY);
	int denied = open(files[1], O_RDONLY);

	if (granted >= 0)
		close(granted);
	if (denied >= 0)
		close(denied);
	return granted >= 0 && denied < 0;
}

int main(int argc, char **argv)
{
	struct sigaction action = {.sa_handler = end};
	int tried = 0;
	int wrong = 0;

	if (argc != 3 || sigaction(SIGTERM, &action, NULL) < 0)
		return 2;
	while (!ended && getchar() != EOF)
		;
	while (!ended) {
		int status = 0;
		pid_t child = fork();

		if (child < 0)
			return 2;
		if (child == 0)
			_exit(looks_right(argv + 1) ? 0 : 1);
		while (waitpid(child, &status, 0) < 0)
			;
		tried += 2;
		wrong += status != 0;
		wrong += !looks_right(argv + 1);
	}
	printf("%d tried, %d wrong\n", tried, wrong);
	return 0;
}
