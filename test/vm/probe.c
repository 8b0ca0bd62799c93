/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * probe: reads lines "OPERATION PATH" and prints a letter for each, "o" where it went well and "d" where it
 * was denied (EACCES). Operations: r opens for reading, w for writing, x executes, s asks for the state,
 * t sets the times, c makes and removes a file, d a directory. Anything else
 * that happens ends it, since the test that asked wants to know nothing but that.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static int open_and_close(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC);

	if (fd < 0)
		return errno;
	close(fd);
	return 0;
}

static int execute(const char *path)
{
	static volatile int error;
	char *const words[] = {(char *)path, NULL};
	pid_t child;
	int status;

	error = 0;
	child = vfork();
	if (child == 0) {
		execv(path, words);
		error = errno;
		_exit(0);
	}
	if (child < 0)
		return errno;
	waitpid(child, &status, 0);
	return error;
}

static int error_of(int result)
{
	return result < 0 ? errno : 0;
}

static int make_and_remove(const char *path, int directory)
{
	int fd = directory ? mkdir(path, 0700) : open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);

	if (fd < 0)
		return errno;
	if (!directory)
		close(fd);
	return error_of(directory ? rmdir(path) : unlink(path));
}

int main(void)
{
	struct stat state;
	char line[8192];

	setvbuf(stdout, NULL, _IONBF, 0);
	while (fgets(line, sizeof(line), stdin)) {
		const char *path = line + 2;
		int error;

		line[strcspn(line, "\n")] = '\0';
		switch (line[0]) {
		case 'r':
			error = open_and_close(path, O_RDONLY | O_NONBLOCK);
			break;
		case 'w':
			error = open_and_close(path, O_WRONLY);
			break;
		case 'x':
			error = execute(path);
			break;
		case 's':
			error = error_of(lstat(path, &state));
			break;
		case 't':
			error = error_of(utimensat(AT_FDCWD, path, NULL, 0));
			break;
		case 'c':
			error = make_and_remove(path, 0);
			break;
		case 'd':
			error = make_and_remove(path, 1);
			break;
		default:
			error = EINVAL;
		}
		if (error && error != EACCES && error != ENOENT) {
			printf("\n%s: %s\n", line, strerror(error));
			return 1;
		}
		putchar(error == EACCES ? 'd' : error ? 'n' : 'o');
	}
	return 0;
}
