/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The front. It becomes the command or stands for it, and has the launcher, a node process with a clean
 * environment, do the thinking: node changes limits, descriptors and signals of its own process, and so
 * must not be a process that the command comes from. What the launcher has thought of before it does by
 * itself: a start like one before (remembered.c), a container like one before (container.c).
 *
 * The same file is the command's last mile (enter.c), stands in for a container runtime (wrap.c), and
 * installs bundles where there is no node (install.c).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "caller.h"
#include "container.h"
#include "enter.h"
#include "install.h"
#include "launcher.h"
#include "message.h"
#include "pod.h"
#include "probe.h"
#include "remembered.h"
#include "supervise.h"
#include "warm.h"
#include "wrap.h"

/* Whether jailrun itself is given the option, which only the launcher knows for sure. */
static bool seems_given(char *const arguments[], const char *option)
{
	for (; *arguments && strcmp(*arguments, "--") != 0; arguments++)
		if (strcmp(*arguments, option) == 0)
			return true;
	return false;
}

/* What seen_report() answers beside the number of an open descriptor. */
enum { NOT_NAMED = -1, NOT_OPEN = -2 };

/*
 * The descriptor that --report-fd seems to name. One of the command's streams the launcher refuses; until
 * then it is standard error.
 */
static int seen_report(char *const arguments[])
{
	static const char option[] = "--report-fd";
	int report = NOT_NAMED;

	for (; *arguments && strcmp(*arguments, "--") != 0; arguments++) {
		const char *value = *arguments + strlen(option);
		long number;

		if (strncmp(*arguments, option, strlen(option)) != 0)
			continue;
		if (*value == '=')
			value++;
		else if (*value == '\0' && arguments[1])
			value = *++arguments;
		else
			continue;
		number = strtol(value, NULL, 10);
		report = number > STDERR_FILENO && number <= INT_MAX ? (int)number : STDERR_FILENO;
		if (fcntl(report, F_GETFD) < 0)
			return NOT_OPEN;
	}
	return report;
}

/* For a system call that failed: says what could not be done, and `mend`, which usually helps. */
static int fail(struct voice voice, const char *what, const char *mend)
{
	if (errno == EMFILE || errno == ENFILE)
		mend = "Raise the limit of open files: ulimit -n";
	complain(voice, "SYSTEM", "The command was not started: %s: %s. %s", what, strerror(errno), mend);
	return STATUS_FAILED;
}

/* Runs the launcher until it has sent something or ended. Returns our end of its socket; -1, with errno. */
static int ask_launcher(const struct launcher *launcher, char *const arguments[], struct process *node)
{
	int ends[2];
	int descriptors[] = {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO, -1, launcher->voice.fd};
	int count = seen_report(arguments) == NOT_NAMED ? JR_PLAN_REPORT : JR_PLAN_REPORT + 1;
	struct pollfd events[2] = {{.events = POLLIN}, {.events = POLLIN}};

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return -1;
	descriptors[JR_PLAN_FD] = ends[1];
	*node = start_launcher(launcher, arguments, descriptors, count);
	if (node->pid < 0)
		return -1;
	close(ends[1]);
	events[0].fd = ends[0];
	/* Its end counts, too: what it has started may have inherited the other end of the socket. */
	events[1].fd = node->fd;
	while (poll(events, 2, -1) < 0)
		;
	return ends[0];
}

/* True with a pod to run the command in; otherwise `end` says how the front is to end. */
static bool prepare_pod(const struct launcher *launcher, int argc, char *argv[], struct pod *pod,
			siginfo_t *end)
{
	struct process node;
	int socket = ask_launcher(launcher, argv + (argc > 0), &node);
	const char *fault = NULL;
	siginfo_t launcher_end;
	bool planned;
	char byte;

	*end = (siginfo_t){.si_code = CLD_EXITED, .si_status = STATUS_FAILED};
	if (socket < 0) {
		fail(launcher->voice, "the launcher has no process",
		     "Raise the limit of processes: ulimit -u, pids.max");
		return false;
	}
	planned = recv(socket, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
	if (planned)
		fault = receive_pod(pod, socket, argc);
	/* Nobody reads another message, and a launcher that wants to send one must not wait. */
	close(socket);
	launcher_end = wait_for_end(node);
	restore_streams(launcher->caller);
	if (!planned) {
		*end = launcher_end;
		return false;
	}
	if (fault) {
		complain(launcher->voice, "PLAN",
			 "The command was not started: %s in the launcher's plan. Install jailrun and "
			 "launcher.cjs from the same package",
			 fault);
		return false;
	}
	if (!ended_well(&launcher_end)) {
		complain(launcher->voice, "LAUNCHER",
			 "The command was not started: the launcher failed when the pod was ready (%s %d). "
			 "Run it again; if that fails too, see: jailrun doctor",
			 launcher_end.si_code == CLD_EXITED ? "status" : "signal", launcher_end.si_status);
		remove_pod(pod);
		return false;
	}
	return true;
}

/* Moves this process into the pod's cgroup. Returns an errno, or 0. */
static int join_cgroup(const struct pod *pod)
{
	int members = openat(pod->descriptors[JR_PLAN_CGROUP], "cgroup.procs", O_WRONLY | O_CLOEXEC);

	return members < 0 || write(members, "0", 1) < 0 ? errno : 0;
}

/* Becomes the command, in the pod. Returns only on failure. */
static int become_command(const struct caller *caller, const struct pod *pod, int program, pid_t warmer,
			  char *const command[])
{
	int error = join_cgroup(pod);

	stop_warming(warmer);
	if (!error) {
		give_back(caller);
		return exec_enter(program, pod, getpid(), command);
	}
	errno = error;
	fail(voice_of(pod), "joining the pod's cgroup failed", "Run it without --exec");
	remove_pod(pod);
	return STATUS_FAILED;
}

static void report_denials(const struct launcher *launcher, const struct pod *pod)
{
	int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
	int voice = voice_of(pod).fd;
	int descriptors[] = {nothing, voice, voice, pod->descriptors[JR_PLAN_COUNTERS],
			     pod->descriptors[JR_PLAN_DENIALS]};
	char *const arguments[] = {"report-denials", (char *)pod->plan.state, NULL};
	struct process node = {-1, -1};
	siginfo_t end = {0};

	if (nothing >= 0)
		node = start_launcher(launcher, arguments, descriptors,
				      sizeof(descriptors) / sizeof(*descriptors));
	if (node.pid > 0)
		end = wait_for_end(node);
	/* It shares standard error with whoever else has it. */
	restore_streams(launcher->caller);
	if (!ended_well(&end))
		complain(voice_of(pod), "REPORT",
			 "The pod had %llu denials, but their report failed. Run it again; see also: jailrun "
			 "doctor",
			 (unsigned long long)count_denials(pod));
}

static int run(int argc, char *argv[])
{
	char *const *arguments = argv + (argc > 0);
	struct caller caller;
	int report = seen_report(arguments);
	struct launcher launcher = {
	    .caller = &caller,
	    .voice = {report < 0 ? STDERR_FILENO : report, seems_given(arguments, "--json")},
	};
	struct pod pod;
	siginfo_t end;
	pid_t warmer = -1;
	bool planned;
	int program;

	/* Before a descriptor of this process can be taken for it. */
	if (report == NOT_OPEN) {
		complain(launcher.voice, "USAGE",
			 "The command was not started: the descriptor that --report-fd names is not open. "
			 "Say: jailrun --report-fd 3 … 3>report");
		return STATUS_FAILED;
	}
	if (!take_over(&caller))
		return fail(launcher.voice, "a standard stream is closed and /dev/null cannot be opened",
			    "Mount /dev");
	program = open("/proc/self/exe", O_PATH | O_CLOEXEC);
	if (program < 0)
		return fail(launcher.voice, "jailrun does not find its own file, /proc/self/exe",
			    "Mount /proc");
	if (!find_script(&launcher))
		return fail(launcher.voice, "launcher.cjs is not beside jailrun's own file",
			    "Install jailrun anew");
	if (is_container_hook(argc, argv) && handle_container(&launcher))
		return 0;
	planned = make_remembered_pod(&pod, &launcher, argc, argv);
	if (!planned) {
		if (seems_given(arguments, "--exec"))
			warmer = start_warming();
		planned = prepare_pod(&launcher, argc, argv, &pod, &end);
	}
	if (planned && pod.plan.flags & JR_PLAN_EXEC)
		return become_command(&caller, &pod, program, warmer, argv + pod.plan.command);
	stop_warming(warmer);
	if (!planned)
		end_like(&end);
	if (!supervise(&caller, &pod, program, argv + pod.plan.command, &end)) {
		fail(voice_of(&pod), "no process can be cloned into the pod's cgroup",
		     "Raise the limit of processes: ulimit -u, pids.max");
		remove_pod(&pod);
		return STATUS_FAILED;
	}
	if (count_denials(&pod) > 0)
		report_denials(&launcher, &pod);
	remove_pod(&pod);
	end_like(&end);
}

int main(int argc, char *argv[])
{
	if (argc > 0 && strcmp(argv[0], ENTER_NAME) == 0)
		return enter(argc, argv);
	if (argc > 0 && strcmp(argv[0], PROBE_NAME) == 0)
		return probe(argc, argv);
	if (is_wrapper(argc, argv))
		return wrap(argc, argv);
	if (argc > 0 && is_install(argv + 1))
		return install(argv + 1);
	return run(argc, argv);
}
