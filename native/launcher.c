/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include "launcher.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#ifndef JAILRUN_NODE
#error "Say where node is: -DJAILRUN_NODE='\"/usr/bin/node\"'"
#endif

/* The most words that it takes to start node with the launcher's script. */
enum { NODE_WORDS = 5 };

/*
 * What the launcher may know of the caller's environment, beside every JAILRUN_* variable. It works
 * with rights that the command will not have, and NODE_OPTIONS alone would make it run the caller's code.
 */
static const char *const known_variables[] = {
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "TERM",
    "LANG",
    "LC_ALL",
    "LC_MESSAGES",
    "NO_COLOR",
    "TMPDIR",
    "XDG_CONFIG_HOME",
    "XDG_RUNTIME_DIR",
    /* What CI systems tell a job, see src/launcher/ci.ts. */
    "GITHUB_STEP_SUMMARY",
    "GITHUB_WORKSPACE",
    "CI_PROJECT_DIR",
    "BUILD_SOURCESDIRECTORY",
    "BUILDKITE_BUILD_CHECKOUT_PATH",
    "BITBUCKET_CLONE_DIR",
    "DRONE_WORKSPACE",
    "CI_WORKSPACE",
    "TRAVIS_BUILD_DIR",
    "WORKSPACE",
};

/*
 * Limits of the caller's that are meant for the command and would keep node from starting: V8 reserves
 * gigabytes of addresses, and a state file is a file.
 */
static const struct {
	int resource;
	rlim_t wanted;
} needed_limits[] = {
    {RLIMIT_AS, RLIM_INFINITY},    {RLIMIT_DATA, RLIM_INFINITY}, {RLIMIT_CPU, RLIM_INFINITY},
    {RLIMIT_FSIZE, RLIM_INFINITY}, {RLIMIT_STACK, 8 << 20},      {RLIMIT_NOFILE, 1024},
};

bool find_script(struct launcher *launcher)
{
	static const char name[] = "launcher.cjs";
	ssize_t length = readlink("/proc/self/exe", launcher->script, sizeof(launcher->script));
	char *slash;

	if (length < 0)
		return false;
	if ((size_t)length == sizeof(launcher->script)) {
		errno = ENAMETOOLONG;
		return false;
	}
	launcher->script[length] = '\0';
	slash = strrchr(launcher->script, '/');
	if (slash + sizeof(name) >= launcher->script + sizeof(launcher->script)) {
		errno = ENAMETOOLONG;
		return false;
	}
	strcpy(slash + 1, name);
	return access(launcher->script, R_OK) == 0;
}

static bool is_known(const char *variable)
{
	if (strncmp(variable, "JAILRUN_", strlen("JAILRUN_")) == 0)
		return true;
	for (size_t i = 0; i < sizeof(known_variables) / sizeof(*known_variables); i++) {
		size_t length = strlen(known_variables[i]);

		if (strncmp(variable, known_variables[i], length) == 0 && variable[length] == '=')
			return true;
	}
	return false;
}

/* Drops the variables that the launcher must not know. Only for a child that is about to exec. */
static void filter_environment(void)
{
	char **kept = environ;

	for (char **variable = environ; *variable; variable++)
		if (is_known(*variable))
			*kept++ = *variable;
	*kept = NULL;
}

static void raise_limits(void)
{
	for (size_t i = 0; i < sizeof(needed_limits) / sizeof(*needed_limits); i++) {
		rlim_t wanted = needed_limits[i].wanted;
		struct rlimit limit;

		getrlimit(needed_limits[i].resource, &limit);
		if (limit.rlim_cur >= wanted)
			continue;
		limit.rlim_cur = wanted;
		if (limit.rlim_max < wanted)
			limit.rlim_max = wanted;
		setrlimit(needed_limits[i].resource, &limit);
	}
}

/*
 * node resets every signal's disposition when it starts, so what the caller ignores (nohup, a
 * background job of a script) would kill the launcher; blocked it waits for ever. SIGCHLD is the
 * exception: libuv needs it.
 */
static void hold_ignored_signals(const struct caller *caller)
{
	signal_set blocked = caller->blocked;

	for (int number = 1; number <= SIGNAL_COUNT; number++) {
		struct sigaction action;

		if (sigaction(number, NULL, &action) == 0 && action.sa_handler == SIG_IGN)
			blocked |= signal_bit(number);
	}
	set_blocked(blocked & ~signal_bit(SIGCHLD));
}

/* Makes `descriptors` this process's 0 to count - 1 and closes all others. */
static bool arrange_descriptors(const int descriptors[], int count)
{
	int copies[8];

	/* First out of the way, since one's number may be another's place. */
	for (int i = 0; i < count; i++) {
		copies[i] = fcntl(descriptors[i], F_DUPFD_CLOEXEC, count);
		if (copies[i] < 0)
			return false;
	}
	for (int i = 0; i < count; i++)
		if (dup2(copies[i], i) < 0)
			return false;
	return syscall(SYS_close_range, count, ~0U, 0) == 0;
}

/* The path of a file that lies beside the launcher's script; NULL where there is no memory. */
static char *path_beside(const struct launcher *launcher, const char *name)
{
	char *path = malloc(strlen(launcher->script) + strlen(name) + 1);

	if (path)
		strcpy(strrchr(strcpy(path, launcher->script), '/') + 1, name);
	return path;
}

/*
 * Writes the words that start node to `argv` and returns how many they are, 0 where there is no memory. What
 * was installed with a node of its own has its libraries and their loader, too: a host may have none that fit
 * it.
 */
static int name_node(const struct launcher *launcher, char *argv[NODE_WORDS])
{
	char *loader = path_beside(launcher, "lib/ld-linux-x86-64.so.2");
	int words = 0;

	if (!loader)
		return 0;
	if (access(loader, X_OK) == 0) {
		argv[words++] = loader;
		argv[words++] = "--library-path";
		argv[words++] = path_beside(launcher, "lib");
		argv[words++] = path_beside(launcher, "node");
		if (!argv[words - 2] || !argv[words - 1])
			return 0;
	} else {
		argv[words++] = JAILRUN_NODE;
	}
	argv[words++] = (char *)launcher->script;
	return words;
}

static _Noreturn void become_launcher(const struct launcher *launcher, char *const arguments[],
				      const int descriptors[], int count)
{
	size_t words = 0;
	int own = 0;
	char **argv;

	while (arguments[words])
		words++;
	argv = malloc((NODE_WORDS + words + 1) * sizeof(*argv));
	if (argv)
		own = name_node(launcher, argv);
	if (own > 0 && arrange_descriptors(descriptors, count)) {
		memcpy(argv + own, arguments, (words + 1) * sizeof(*argv));
		filter_environment();
		raise_limits();
		hold_ignored_signals(launcher->caller);
		execve(argv[0], argv, environ);
	}
	complain(launcher->voice, "NO_NODE",
		 "The command was not started: the launcher cannot be (%s: %s). It needs Node.js 20 "
		 "there: apt-get install nodejs",
		 own > 0 ? argv[0] : JAILRUN_NODE, strerror(errno));
	_exit(STATUS_FAILED);
}

struct process start_launcher(const struct launcher *launcher, char *const arguments[],
			      const int descriptors[], int count)
{
	struct process child = {-1, -1};
	struct clone_args how = {.flags = CLONE_PIDFD, .pidfd = (uintptr_t)&child.fd, .exit_signal = SIGCHLD};
	pid_t self = getpid();

	child.pid = syscall(SYS_clone3, &how, sizeof(how));
	if (child.pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		/* The front may have died before the line above. */
		if (getppid() != self)
			_exit(STATUS_FAILED);
		become_launcher(launcher, arguments, descriptors, count);
	}
	return child;
}

siginfo_t wait_for_end(struct process process)
{
	siginfo_t end = {0};

	while (waitid(P_PIDFD, process.fd, &end, WEXITED) < 0 && errno == EINTR)
		;
	close(process.fd);
	return end;
}
