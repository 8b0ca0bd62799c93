/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include "supervise.h"

#include <errno.h>
#include <linux/sched.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "enter.h"
#include "message.h"

struct command {
	pid_t pid;
	int fd; /* its pidfd */
};

static void send(const struct command *command, int number, const siginfo_t *info)
{
	syscall(SYS_pidfd_send_signal, command->fd, number, info, 0);
}

/*
 * Whether a signal that this process got was meant for the command as well, which then has it already or,
 * if it left the process group, would not have got it without jailrun either: what the terminal sends,
 * it sends to the whole foreground group. A hang-up is for the group, too, except that the session
 * leader gets one alone. A signal that a process sends to the group cannot be told from one sent to this
 * process, and the command gets it twice: better than never.
 */
static bool command_has(const struct command *command, const siginfo_t *info)
{
	if (info->si_code <= 0)
		/* Sent by the command, kill(0, …): passing it back may never end. */
		return info->si_pid == command->pid;
	switch (info->si_signo) {
	case SIGINT:
	case SIGQUIT:
	case SIGTSTP:
	case SIGTTIN:
	case SIGTTOU:
	case SIGWINCH:
		return true;
	case SIGHUP:
	case SIGCONT:
		return getsid(0) != getpid();
	default:
		return false;
	}
}

/* Passes a signal on, with its value if it was queued with one. */
static void pass_on(const struct command *command, const siginfo_t *info)
{
	/* pidfd_send_signal(2) lets nobody speak for kill(2), tgkill(2) or the kernel. */
	bool queued = info->si_code < 0 && info->si_code != SI_TKILL;

	send(command, info->si_signo, queued ? info : NULL);
}

/* Whether the command is in the state that was reported last. */
static bool is_unchanged(const struct command *command)
{
	siginfo_t change = {0};

	waitid(P_PIDFD, command->fd, &change, WEXITED | WSTOPPED | WCONTINUED | WNOHANG | WNOWAIT);
	return change.si_pid == 0;
}

/*
 * Stops this process by the signal that stopped the command, so that the shell sees its job stopped, and
 * once it goes on sees to it that the command does, too. `fg` continues the whole group; whoever continues
 * only this process, or a group that the command has left, means the command as well. So does a signal
 * that stopped the command and cannot stop this process, whose group is orphaned: without jailrun it would
 * have stopped neither.
 */
static void stop_like(const struct command *command, int number)
{
	struct sigaction standard = {.sa_handler = SIG_DFL}, before;
	const struct timespec now = {0};

	sigaction(number, &standard, &before);
	/*
	 * Blocked it waits, and a SIGCONT takes it back. A group's newest process gets a signal first: as
	 * long as the command is stopped no SIGCONT that this process has had before now was for the group.
	 */
	kill(getpid(), number);
	if (is_unchanged(command))
		set_blocked(every_signal & ~signal_bit(number));
	else
		take_signal(signal_bit(number), NULL, &now);
	set_blocked(every_signal);
	sigaction(number, &before, NULL);

	take_signal(signal_bit(SIGCONT), NULL, &now);
	if (is_unchanged(command))
		send(command, SIGCONT, NULL);
}

/* Follows the command's changes of state. True once it has ended. */
static bool has_ended(const struct command *command, siginfo_t *change)
{
	for (;;) {
		change->si_pid = 0;
		if (waitid(P_PIDFD, command->fd, change, WEXITED | WSTOPPED | WCONTINUED | WNOHANG) < 0)
			return true;
		if (change->si_pid == 0)
			return false;
		if (change->si_code == CLD_STOPPED)
			stop_like(command, change->si_status);
		else if (change->si_code != CLD_CONTINUED)
			return true;
	}
}

static int ascending(const void *left, const void *right)
{
	return *(const int *)left - *(const int *)right;
}

/*
 * Closes all that the command has of its own now: were the front to keep a pipe or a listening socket
 * open, the other side would not see the command close it. Where the report goes is kept, and with the
 * directory no file system is kept from being unmounted.
 */
static void let_go(const struct pod *pod, int pidfd)
{
	int kept[JR_PLAN_FDS + 2] = {voice_of(pod).fd, pidfd};
	unsigned int next = 0;

	for (int i = 0; i < JR_PLAN_FDS; i++)
		kept[2 + i] = pod->descriptors[i];
	qsort(kept, JR_PLAN_FDS + 2, sizeof(*kept), ascending);
	for (int i = 0; i < JR_PLAN_FDS + 2; i++) {
		if ((unsigned int)kept[i] > next)
			syscall(SYS_close_range, next, kept[i] - 1, 0);
		next = kept[i] + 1;
	}
	syscall(SYS_close_range, next, ~0U, 0);
	if (chdir("/") < 0)
		return;
}

/* Starts the command's last mile in the pod's cgroup. Every signal must be blocked. */
static struct command start_command(const struct caller *caller, const struct pod *pod, int program,
				    char *const words[])
{
	struct command command = {-1, -1};
	/* A process that is cloned into a cgroup was never outside of it, and no lock makes it wait. */
	struct clone_args how = {
	    .flags = CLONE_PIDFD | CLONE_INTO_CGROUP,
	    .pidfd = (uintptr_t)&command.fd,
	    .exit_signal = SIGCHLD,
	    .cgroup = pod->descriptors[JR_PLAN_CGROUP],
	};
	pid_t front = getpid();

	command.pid = syscall(SYS_clone3, &how, sizeof(how));
	if (command.pid == 0) {
		/* Whoever kills the front with SIGKILL means the command, which would not learn of it. */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != front)
			_exit(STATUS_FAILED);
		give_back(caller);
		_exit(exec_enter(program, pod, front, words));
	}
	return command;
}

bool supervise(const struct caller *caller, const struct pod *pod, int program, char *const words[],
	       siginfo_t *end)
{
	struct command command;
	signal_set early;
	siginfo_t info;

	/* Those of faults, too: kill(1) sends them, and blocked or not they end a process that faults. */
	set_blocked(every_signal);
	/* The command, which did not exist yet, has none of these. */
	early = get_pending();
	command = start_command(caller, pod, program, words);
	if (command.pid < 0)
		return false;
	let_go(pod, command.fd);
	for (;;) {
		int number = take_signal(every_signal, &info, NULL);

		if (number < 0)
			continue;
		if (number == SIGCHLD && info.si_code > 0) {
			if (has_ended(&command, end))
				break;
		} else if (early & signal_bit(number) || !command_has(&command, &info)) {
			pass_on(&command, &info);
		}
		early &= ~signal_bit(number);
	}
	close(command.fd);
	return true;
}

_Noreturn void end_like(const siginfo_t *end)
{
	struct sigaction standard = {.sa_handler = SIG_DFL};
	struct rlimit no_core = {0};

	if (end->si_code == CLD_EXITED)
		_exit(end->si_status);
	/* The core, if there is one, is the other process's. */
	setrlimit(RLIMIT_CORE, &no_core);
	sigaction(end->si_status, &standard, NULL);
	kill(getpid(), end->si_status);
	set_blocked(every_signal & ~signal_bit(end->si_status));
	/* The first process of a container does not die by a signal of its own. */
	_exit(128 + end->si_status);
}
