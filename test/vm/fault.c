/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * fault PROCESS STEP ACTION COMMAND ARGUMENT…: runs jailrun and lets something happen to it at one of its
 * steps. A step is a system call that changes something other processes can see: the kernel's objects, files,
 * cgroups, locks, processes. It is stopped where it enters the kernel, so it has not happened yet, and what
 * is left is what the steps before it made. Nothing of this is compiled into jailrun: it is traced, by a
 * seccomp filter that stops at these calls alone.
 *
 * PROCESS is the number of a process in the order in which they start, from 1, and STEP the number of its
 * step. ACTION is what happens there: kill    the process is killed front   the process that was started
 * first is killed, and the call happens only if its caller outlives that NUMBER  the call fails with this
 * errno list    nothing; every step is listed, whatever PROCESS and STEP are Lines on descriptor 3 tell of
 * each step that was hit: "PROCESS STEP CALL OPERAND". The jailed command and what it starts have no steps;
 * they run on, and this program ends with the last of them, with the status of the first process, 128+n where
 * a signal ended it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/bpf.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	REPORT_FD = 3,
	WAIT_FD = 4,
	MOST_PROCESSES = 512,
	TEXT = 320,
};

/* What an argument says of the step. */
enum operand { NOTHING, PATH, FILE_FD, BPF_COMMAND };

static const struct call {
	int number;
	const char *name;
	enum operand operand;
	int argument;
} calls[] = {
    {SYS_mkdir, "mkdir", PATH, 0},     {SYS_mkdirat, "mkdir", PATH, 1},
    {SYS_rmdir, "rmdir", PATH, 0},     {SYS_rename, "rename", PATH, 0},
    {SYS_renameat, "rename", PATH, 1}, {SYS_renameat2, "rename", PATH, 1},
    {SYS_link, "link", PATH, 0},       {SYS_linkat, "link", PATH, 1},
    {SYS_unlink, "unlink", PATH, 0},   {SYS_unlinkat, "unlink", PATH, 1},
    {SYS_open, "create", PATH, 0},     {SYS_openat, "create", PATH, 1},
    {SYS_write, "write", FILE_FD, 0},  {SYS_pwrite64, "write", FILE_FD, 0},
    {SYS_writev, "write", FILE_FD, 0}, {SYS_ftruncate, "truncate", FILE_FD, 0},
    {SYS_flock, "lock", FILE_FD, 0},   {SYS_sendmsg, "send", NOTHING, 0},
    {SYS_kill, "signal", NOTHING, 0},  {SYS_pidfd_send_signal, "signal", NOTHING, 0},
    {SYS_clone, "clone", NOTHING, 0},  {SYS_clone3, "clone", NOTHING, 0},
    {SYS_fork, "clone", NOTHING, 0},   {SYS_vfork, "clone", NOTHING, 0},
    {SYS_execve, "exec", PATH, 0},     {SYS_execveat, "exec", PATH, 1},
    {SYS_bpf, "bpf", BPF_COMMAND, 0},  {SYS_exit_group, "exit", NOTHING, 0},
};

/* Commands of bpf(2) that change something or make an object; all others only look. */
static const struct {
	unsigned int number;
	const char *name;
} bpf_commands[] = {
    {BPF_MAP_CREATE, "MAP_CREATE"},
    {BPF_MAP_UPDATE_ELEM, "MAP_UPDATE_ELEM"},
    {BPF_MAP_DELETE_ELEM, "MAP_DELETE_ELEM"},
    {BPF_MAP_UPDATE_BATCH, "MAP_UPDATE_BATCH"},
    {BPF_MAP_FREEZE, "MAP_FREEZE"},
    {BPF_PROG_LOAD, "PROG_LOAD"},
    {BPF_OBJ_PIN, "OBJ_PIN"},
    {BPF_LINK_CREATE, "LINK_CREATE"},
    {BPF_RAW_TRACEPOINT_OPEN, "RAW_TRACEPOINT_OPEN"},
};

enum { CALLS = sizeof(calls) / sizeof(*calls), BPF_COMMANDS = sizeof(bpf_commands) / sizeof(*bpf_commands) };

struct process {
	pid_t pid;
	bool known;   /* its parent's clone has been seen, which numbers it */
	bool waiting; /* it is stopped until that */
	bool jailed;  /* it is the command, or what that started */
	int number;
	int steps;
	char last[TEXT];
};

static struct process processes[MOST_PROCESSES];
static int started;

static int wanted_process;
static int wanted_step;
static const char *action;

static pid_t front;
static pid_t held; /* waits for the front's end */

static _Noreturn void fail(const char *what)
{
	fprintf(stderr, "fault: %s: %s\n", what, strerror(errno));
	exit(2);
}

static struct process *find_process(pid_t pid)
{
	for (int i = 0; i < MOST_PROCESSES; i++)
		if (processes[i].pid == pid)
			return &processes[i];
	return NULL;
}

static struct process *need_process(pid_t pid)
{
	struct process *process = find_process(pid);

	if (process)
		return process;
	process = find_process(0);
	if (!process) {
		errno = ENOSPC;
		fail("the table of processes");
	}
	memset(process, 0, sizeof(*process));
	process->pid = pid;
	return process;
}

/* The process of a thread; 0 once it is gone. */
static pid_t process_of(pid_t thread)
{
	char path[64];
	char line[256];
	FILE *status;
	int pid = 0;

	snprintf(path, sizeof(path), "/proc/%d/status", thread);
	status = fopen(path, "re");
	if (!status)
		return 0;
	while (fgets(line, sizeof(line), status) && sscanf(line, "Tgid: %d", &pid) != 1)
		;
	fclose(status);
	return pid;
}

static unsigned int add(struct sock_filter *filter, unsigned int count, struct sock_filter instruction)
{
	filter[count] = instruction;
	return count + 1;
}

#define LOAD(field)                                                                                          \
	((struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field)))
#define JUMP(how, value, yes, no) ((struct sock_filter)BPF_JUMP(BPF_JMP | BPF_K | (how), value, yes, no))
#define ANSWER(value) ((struct sock_filter)BPF_STMT(BPF_RET | BPF_K, value))

/* Stops the calls above: an open that may create, a clone that is no thread's, a bpf(2) that changes
 * something. */
static unsigned int write_filter(struct sock_filter *filter)
{
	unsigned int n = 0;

	n = add(filter, n, LOAD(arch));
	n = add(filter, n, JUMP(BPF_JEQ, AUDIT_ARCH_X86_64, 1, 0));
	n = add(filter, n, ANSWER(SECCOMP_RET_ALLOW));
	n = add(filter, n, LOAD(nr));
	for (int i = 0; i < CALLS; i++) {
		switch (calls[i].number) {
		case SYS_open:
		case SYS_openat:
			n = add(filter, n, JUMP(BPF_JEQ, calls[i].number, 0, 4));
			n = add(filter, n, LOAD(args[calls[i].argument + 1]));
			n = add(filter, n, JUMP(BPF_JSET, O_CREAT, 0, 1));
			n = add(filter, n, ANSWER(SECCOMP_RET_TRACE));
			n = add(filter, n, ANSWER(SECCOMP_RET_ALLOW));
			break;
		case SYS_clone:
			n = add(filter, n, JUMP(BPF_JEQ, SYS_clone, 0, 4));
			n = add(filter, n, LOAD(args[0]));
			n = add(filter, n, JUMP(BPF_JSET, CLONE_THREAD, 1, 0));
			n = add(filter, n, ANSWER(SECCOMP_RET_TRACE));
			n = add(filter, n, ANSWER(SECCOMP_RET_ALLOW));
			break;
		case SYS_bpf:
			n = add(filter, n, JUMP(BPF_JEQ, SYS_bpf, 0, 2 + 2 * BPF_COMMANDS));
			n = add(filter, n, LOAD(args[0]));
			for (int k = 0; k < BPF_COMMANDS; k++) {
				n = add(filter, n, JUMP(BPF_JEQ, bpf_commands[k].number, 0, 1));
				n = add(filter, n, ANSWER(SECCOMP_RET_TRACE));
			}
			n = add(filter, n, ANSWER(SECCOMP_RET_ALLOW));
			break;
		default:
			n = add(filter, n, JUMP(BPF_JEQ, calls[i].number, 0, 1));
			n = add(filter, n, ANSWER(SECCOMP_RET_TRACE));
		}
	}
	return add(filter, n, ANSWER(SECCOMP_RET_ALLOW));
}

static _Noreturn void become(char *command[], int go)
{
	struct sock_filter filter[512];
	struct sock_fprog program = {.len = write_filter(filter), .filter = filter};
	char byte;

	/* Not before the tracer is there. */
	if (read(go, &byte, 1) != 1)
		_exit(2);
	/* Root needs no no_new_privs for it, which would change what the command may gain. */
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) < 0)
		fail("seccomp");
	execvp(command[0], command);
	fail(command[0]);
}

/* Reads from another process up to the end of a page, which is all that is sure to be there. */
static void read_text(pid_t thread, unsigned long long address, char text[TEXT])
{
	size_t length = 4096 - address % 4096;
	struct iovec here = {text, length < TEXT - 1 ? length : TEXT - 1};
	struct iovec there = {(void *)(uintptr_t)address, here.iov_len};
	ssize_t got = process_vm_readv(thread, &here, 1, &there, 1, 0);

	text[got < 0 ? 0 : got] = '\0';
}

static unsigned long long argument_of(const struct user_regs_struct *registers, int number)
{
	const unsigned long long arguments[] = {registers->rdi, registers->rsi, registers->rdx,
						registers->r10};

	return arguments[number];
}

/* The thread's new tasks are threads and no processes. */
static bool makes_thread(pid_t thread, const struct user_regs_struct *registers)
{
	struct clone_args how = {0};
	struct iovec here = {&how, CLONE_ARGS_SIZE_VER0};
	struct iovec there = {(void *)(uintptr_t)registers->rdi, CLONE_ARGS_SIZE_VER0};

	return registers->orig_rax == SYS_clone3 && process_vm_readv(thread, &here, 1, &there, 1, 0) > 0 &&
	       how.flags & CLONE_THREAD;
}

/* Says in `text` what the call is about. False for one that is no step: what goes to pipes and sockets is
 * talk. */
static bool describe(pid_t thread, const struct user_regs_struct *registers, char text[TEXT])
{
	const struct call *call = calls;
	char operand[TEXT] = "";
	char path[64];
	struct stat file;
	ssize_t length;

	while (call->number != (int)registers->orig_rax)
		if (++call == calls + CALLS)
			return false;
	if (makes_thread(thread, registers))
		return false;
	switch (call->operand) {
	case NOTHING:
		break;
	case PATH:
		read_text(thread, argument_of(registers, call->argument), operand);
		break;
	case FILE_FD:
		snprintf(path, sizeof(path), "/proc/%d/fd/%d", thread,
			 (int)argument_of(registers, call->argument));
		if (stat(path, &file) < 0 || !S_ISREG(file.st_mode))
			return false;
		length = readlink(path, operand, sizeof(operand) - 1);
		operand[length < 0 ? 0 : length] = '\0';
		break;
	case BPF_COMMAND:
		for (int i = 0; i < BPF_COMMANDS; i++)
			if (bpf_commands[i].number == registers->rdi)
				strcpy(operand, bpf_commands[i].name);
	}
	snprintf(text, TEXT, "%s %.*s", call->name, TEXT - 32, operand);
	return true;
}

static void go_on(pid_t thread, int signal)
{
	ptrace(PTRACE_CONT, thread, NULL, (void *)(long)signal);
}

/* Something happens here. */
static void act(pid_t thread, const struct process *process, struct user_regs_struct *registers)
{
	char byte;

	if (strcmp(action, "kill") == 0 || (strcmp(action, "front") == 0 && process->pid == front)) {
		/* A call that is stopped here and whose process is killed does not happen (seccomp(2)). */
		kill(process->pid, SIGKILL);
		return;
	}
	if (strcmp(action, "front") == 0) {
		held = thread;
		kill(front, SIGKILL);
		return;
	}
	if (strcmp(action, "wait") == 0) {
		if (read(WAIT_FD, &byte, 1) < 0)
			fail("descriptor 4");
		go_on(thread, 0);
		return;
	}
	registers->orig_rax = -1;
	registers->rax = -atoi(action);
	if (ptrace(PTRACE_SETREGS, thread, NULL, registers) < 0)
		fail("PTRACE_SETREGS");
	go_on(thread, 0);
}

static void on_call(pid_t thread)
{
	struct process *process = find_process(process_of(thread));
	struct user_regs_struct registers;
	char text[TEXT];
	bool listing = strcmp(action, "list") == 0;
	bool is_wanted;

	if (!process || process->jailed || ptrace(PTRACE_GETREGS, thread, NULL, &registers) < 0 ||
	    !describe(thread, &registers, text)) {
		go_on(thread, 0);
		return;
	}
	/* The same again is no other step: it is tried anew, or kept up. How often depends on the time. */
	if ((strncmp(text, "write", strlen("write")) == 0 || strncmp(text, "rmdir", strlen("rmdir")) == 0) &&
	    strcmp(text, process->last) == 0) {
		go_on(thread, 0);
		return;
	}
	strcpy(process->last, text);
	process->steps++;
	is_wanted = process->number == wanted_process && process->steps == wanted_step;
	if (listing || is_wanted)
		dprintf(REPORT_FD, "%d %d %s\n", process->number, process->steps, text);
	if (is_wanted && !listing)
		act(thread, process, &registers);
	else
		go_on(thread, 0);
}

/* A clone has made `child`, which is stopped or about to be. */
static void on_clone(pid_t thread, pid_t child)
{
	struct process *parent = find_process(process_of(thread));
	struct process *process;

	if (process_of(child) == child) {
		process = need_process(child);
		process->known = true;
		process->jailed = parent && parent->jailed;
		process->number = process->jailed ? 0 : ++started;
		if (process->waiting)
			go_on(child, 0);
	}
	go_on(thread, 0);
}

/* A new process may be seen before its parent's clone is. */
static void on_stop(pid_t thread, int signal)
{
	struct process *process;

	if (signal != SIGTRAP) {
		ptrace(PTRACE_LISTEN, thread, NULL, NULL);
		return;
	}
	if (process_of(thread) == thread) {
		process = need_process(thread);
		process->waiting = !process->known;
		if (process->waiting)
			return;
	}
	go_on(thread, 0);
}

/* What runs a program that is no part of jailrun is the command. */
static void on_exec(pid_t pid)
{
	struct process *process = find_process(pid);
	char path[64];
	char target[TEXT] = "";
	const char *name;

	snprintf(path, sizeof(path), "/proc/%d/exe", pid);
	if (readlink(path, target, sizeof(target) - 1) < 0)
		fail(path);
	name = strrchr(target, '/') + 1;
	if (process)
		process->jailed = strcmp(name, "jailrun") != 0 && strncmp(name, "node", strlen("node")) != 0;
	go_on(pid, 0);
}

static void on_end(pid_t thread)
{
	struct process *process = find_process(thread);

	if (process)
		process->pid = 0;
	if (thread == front && held) {
		/* By now it has the signal by which it dies with its parent, if it has asked for that. */
		go_on(held, 0);
		held = 0;
	}
}

/* Follows the processes until the last one has ended. Returns the wait status of the first one. */
static int follow(void)
{
	int front_status = 0;
	unsigned long child;
	int status;
	pid_t thread;

	while ((thread = waitpid(-1, &status, __WALL)) > 0) {
		if (!WIFSTOPPED(status)) {
			if (thread == front)
				front_status = status;
			on_end(thread);
			continue;
		}
		switch (status >> 16) {
		case PTRACE_EVENT_SECCOMP:
			on_call(thread);
			break;
		case PTRACE_EVENT_FORK:
		case PTRACE_EVENT_VFORK:
		case PTRACE_EVENT_CLONE:
			child = 0;
			ptrace(PTRACE_GETEVENTMSG, thread, NULL, &child);
			on_clone(thread, child);
			break;
		case PTRACE_EVENT_EXEC:
			on_exec(thread);
			break;
		case PTRACE_EVENT_STOP:
			on_stop(thread, WSTOPSIG(status));
			break;
		default:
			go_on(thread, WSTOPSIG(status));
		}
	}
	return front_status;
}

int main(int argc, char *argv[])
{
	const long options = PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE |
			     PTRACE_O_TRACEEXEC | PTRACE_O_TRACESECCOMP | PTRACE_O_EXITKILL;
	struct process *process;
	int go[2];
	int status;

	if (argc < 5) {
		fprintf(stderr, "usage: fault PROCESS STEP kill|front|ERRNO|wait|list COMMAND ARGUMENT…\n");
		return 2;
	}
	wanted_process = atoi(argv[1]);
	wanted_step = atoi(argv[2]);
	action = argv[3];
	/* Where there is no descriptor 4 nothing waits for it. */
	fcntl(WAIT_FD, F_SETFD, FD_CLOEXEC);
	if (fcntl(REPORT_FD, F_SETFD, FD_CLOEXEC) < 0 || pipe2(go, O_CLOEXEC) < 0)
		fail("descriptor 3, for the report");
	front = fork();
	if (front == 0)
		become(argv + 4, go[0]);
	process = need_process(front);
	process->known = true;
	process->number = ++started;
	/* Until it executes jailrun it makes no steps. */
	process->jailed = true;
	if (front < 0 || ptrace(PTRACE_SEIZE, front, NULL, (void *)options) < 0 || write(go[1], "", 1) != 1)
		fail("PTRACE_SEIZE");
	status = follow();
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
