/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include "enter.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "map.h"
#include "message.h"

/* The last mile's argv. */
enum {
	ENTER_POD = 1,   /* in hexadecimal */
	ENTER_FRONT = 2, /* a pid */
	ENTER_FORM = 3,  /* of errors: "json" or "text" */
	ENTER_VOICE = 4, /* the descriptor for them */
	ENTER_COMMAND = 5,
};

int exec_enter(int program, const struct pod *pod, pid_t front, char *const command[])
{
	char id[sizeof("0123456789abcdef")];
	char pid[sizeof("-2147483648")];
	char fd[sizeof("-2147483648")];
	struct voice voice = voice_of(pod);
	size_t words = 0;
	char **argv;

	while (command[words])
		words++;
	/* A set-id program then runs as who started it, for all that the command starts, too. */
	if (pod->plan.flags & JR_PLAN_NO_GAIN && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) {
		complain(voice, "SYSTEM", "The command was not started: prctl: %s", strerror(errno));
		return STATUS_FAILED;
	}
	argv = malloc((ENTER_COMMAND + words + 1) * sizeof(*argv));
	if (argv) {
		snprintf(id, sizeof(id), "%" PRIx64, (uint64_t)pod->plan.pod);
		snprintf(pid, sizeof(pid), "%d", front);
		argv[0] = ENTER_NAME;
		argv[ENTER_POD] = id;
		argv[ENTER_FRONT] = pid;
		snprintf(fd, sizeof(fd), "%d", voice.fd);
		argv[ENTER_FORM] = voice.json ? "json" : "text";
		argv[ENTER_VOICE] = fd;
		memcpy(argv + ENTER_COMMAND, command, (words + 1) * sizeof(*argv));
		syscall(SYS_execveat, program, "", argv, environ, AT_EMPTY_PATH);
		free(argv);
	}
	complain(voice, "SYSTEM",
		 "The command was not started: jailrun cannot execute itself: %s. Its own file must "
		 "be executable, on a file system that is not mounted noexec",
		 strerror(errno));
	return STATUS_FAILED;
}

/* Asks our lsm/bpf program, if it runs, which pod this task is in. Returns 0 or the answer as an errno. */
static int prove_pod(const char *id)
{
	int answer = probe_pod(strtoull(id, NULL, 16));

	return answer == JR_PROBE_THIS_POD ? 0 : answer;
}

static int refuse(struct voice voice, int answer)
{
	switch (answer) {
	case EINVAL:
		complain(voice, "NOT_JAILED",
			 "The command was not started, because its task is in no pod: the programs are "
			 "detached, or the pod's enrollment is gone. Run it again; if that fails too, see: "
			 "jailrun doctor");
		break;
	case JR_PROBE_OTHER_POD:
		complain(
		    voice, "OTHER_POD",
		    "The command was not started, because its task is in another pod, which a task never "
		    "leaves. Run jailrun outside of the jail; see: jailrun status");
		break;
	default:
		complain(
		    voice, "NO_PROOF",
		    "The command was not started, because nothing proves that its task is jailed: bpf(2) "
		    "answers \"%s\". If a seccomp filter denies bpf(2), run jailrun outside of it; see: "
		    "jailrun doctor",
		    strerror(answer));
	}
	return STATUS_FAILED;
}

/*
 * sd_listen_fds(3) takes the descriptors only when $LISTEN_PID is its own process. A supervised command
 * is not the process that the service manager started, but stands for it. $LISTEN_PIDFDID, which newer
 * service managers add, names that process too and may be absent.
 */
static void pass_on_sockets(const char *front)
{
	static char own[sizeof("LISTEN_PID=-2147483648")];
	const char *addressee = getenv("LISTEN_PID");

	if (!addressee || strcmp(addressee, front) != 0 || atoi(front) == getpid())
		return;
	snprintf(own, sizeof(own), "LISTEN_PID=%d", getpid());
	putenv(own);
	unsetenv("LISTEN_PIDFDID");
}

/* Says why exec failed, as env(1) would, and returns the status for it. */
static int report_exec(struct voice voice, const char *command, int error)
{
	bool is_path = strchr(command, '/');

	if (error != ENOENT) {
		complain(voice, "COMMAND_NOT_INVOKED", "%s: cannot be invoked: %s", command, strerror(error));
		return STATUS_NOT_INVOKED;
	}
	if (!is_path)
		complain(voice, "COMMAND_NOT_FOUND", "%s: not found in PATH", command);
	else if (access(command, F_OK) == 0)
		complain(voice, "COMMAND_NOT_FOUND", "%s: the interpreter that it names is not found",
			 command);
	else
		complain(voice, "COMMAND_NOT_FOUND", "%s: not found", command);
	return STATUS_NOT_FOUND;
}

int enter(int argc, char *argv[])
{
	struct voice voice = {.fd = STDERR_FILENO};
	int answer;

	if (argc <= ENTER_COMMAND) {
		complain(voice, "USAGE",
			 "This is a part of jailrun that it starts itself. Say: jailrun -- COMMAND [ARG…]");
		return STATUS_FAILED;
	}
	voice = (struct voice){atoi(argv[ENTER_VOICE]), strcmp(argv[ENTER_FORM], "json") == 0};
	/* jailrun's own, like what it says there. */
	if (voice.fd != STDERR_FILENO)
		fcntl(voice.fd, F_SETFD, FD_CLOEXEC);
	answer = prove_pod(argv[ENTER_POD]);
	if (answer)
		return refuse(voice, answer);
	pass_on_sockets(argv[ENTER_FRONT]);
	execvp(argv[ENTER_COMMAND], argv + ENTER_COMMAND);
	return report_exec(voice, argv[ENTER_COMMAND], errno);
}
