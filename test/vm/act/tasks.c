// Programs, threads and children; bpf(2).
#include "act.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int act_exec(void)
{
	pid_t child = vfork();
	int status;

	if (child == 0) {
		dup2(2, 1);
		execv(argument[0], argument);
		_exit(errno == ENOENT ? 100 : errno == EACCES ? 101 : 102);
	}
	waitpid(child, &status, 0);
	errno = WEXITSTATUS(status) == 100 ? ENOENT : WEXITSTATUS(status) == 101 ? EACCES : EIO;
	return WIFEXITED(status) && WEXITSTATUS(status) < 100 ? 0 : -1;
}

static int act_bpf(void)
{
	char attributes[128] = {0};

	return syscall(SYS_bpf, number(0), attributes, sizeof(attributes));
}

static void *open_in_thread(void *unused)
{
	(void)unused;
	return (void *)(long)(open(argument[0], O_RDONLY) < 0 ? errno : 0);
}

static int act_thread(void)
{
	pthread_t thread;
	void *result;

	pthread_create(&thread, NULL, open_in_thread, NULL);
	pthread_join(thread, &result);
	errno = (long)result;
	return errno ? -1 : 0;
}

/* The leader sleeps while another thread executes: the thread takes over the leader's pid. */
static void *exec_in_thread(void *unused)
{
	char *words[] = {"act", "open", argument[0], "0", NULL};

	(void)unused;
	execv("/proc/self/exe", words);
	_exit(102);
}

static int act_thread_exec(void)
{
	pthread_t thread;

	pthread_create(&thread, NULL, exec_in_thread, NULL);
	pause();
	return -1;
}

static int act_grandchild(void)
{
	int status;

	for (int depth = 0; depth < 3; depth++) {
		pid_t child = fork();

		if (child > 0) {
			waitpid(child, &status, 0);
			_exit(WEXITSTATUS(status));
		}
	}
	return open(argument[0], O_RDONLY);
}

const struct operation task_operations[] = {
    {"exec", act_exec},
    {"bpf", act_bpf},
    {"thread", act_thread},
    {"thread-exec", act_thread_exec},
    {"grandchild", act_grandchild},
    {NULL, NULL},
};
