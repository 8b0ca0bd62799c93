// act OPERATION [ARGUMENT…]: makes one system call's worth of trouble and prints "ok" or the errno's name,
// and its pid, by which a test finds the denial that belongs to it.
// The VM tests run it jailed and unjailed; being static it needs no file but itself.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static char **argument;

static long number(int i)
{
	return strtol(argument[i], NULL, 0);
}

/* open PATH FLAGS */
static int act_open(void)
{
	return open(argument[0], number(1), 0600);
}

static int act_truncate(void)
{
	return truncate(argument[0], 0);
}

static int act_mkdir(void)
{
	return mkdir(argument[0], 0700);
}

static int act_mknod(void)
{
	return mknod(argument[0], S_IFIFO | 0600, 0);
}

static int act_symlink(void)
{
	return symlink("/etc/passwd", argument[0]);
}

static int act_link(void)
{
	return link(argument[0], argument[1]);
}

static int act_unlink(void)
{
	return unlink(argument[0]);
}

static int act_rmdir(void)
{
	return rmdir(argument[0]);
}

static int act_rename(void)
{
	return rename(argument[0], argument[1]);
}

/* RENAME_EXCHANGE changes both names in one call. */
static int act_exchange(void)
{
	return renameat2(AT_FDCWD, argument[0], AT_FDCWD, argument[1], RENAME_EXCHANGE);
}

static int act_chmod(void)
{
	return chmod(argument[0], 0777);
}

static int act_chown(void)
{
	return chown(argument[0], 1, 1);
}

/* Opens a directory entry without rights, then asks for rights through /proc. */
static int act_reopen(void)
{
	char path[64];
	int fd = open(argument[0], O_PATH);

	if (fd < 0)
		return fd;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, number(1));
}

/* Opens by a second path to the same object: bind SOURCE on TARGET, open TARGET/REST. */
static int act_bind_open(void)
{
	char path[4096];

	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount(argument[0], argument[1], NULL, MS_BIND, NULL))
		return -1;
	snprintf(path, sizeof(path), "%s/%s", argument[1], argument[2]);
	return open(path, O_RDONLY);
}

/* A mount that is in no namespace's tree: open_tree(CLONE), then openat. */
static int act_detached_open(void)
{
	int tree = syscall(SYS_open_tree, AT_FDCWD, argument[0], 1 /* OPEN_TREE_CLONE */ | O_CLOEXEC);

	return tree < 0 ? tree : openat(tree, argument[1], O_RDONLY);
}

/* A file system that is mounted after the jail began. */
static int act_fresh_mount(void)
{
	char path[4096];

	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("fresh", argument[0], "tmpfs", 0, NULL))
		return -1;
	snprintf(path, sizeof(path), "%s/file", argument[0]);
	return open(path, O_CREAT | O_WRONLY, 0600);
}

/* by-handle PATH DIRECTORY: any directory of the file system will do */
static int act_by_handle(void)
{
	struct {
		struct file_handle head;
		char bytes[128];
	} handle = {.head.handle_bytes = sizeof(handle.bytes)};
	int mount_id;
	int mount = open(argument[1], O_RDONLY | O_DIRECTORY);

	if (name_to_handle_at(AT_FDCWD, argument[0], &handle.head, &mount_id, 0))
		return -1;
	return open_by_handle_at(mount, &handle.head, O_RDONLY);
}

/* Pipes, memfds and pidfds have no path; opening them again must stay possible. */
static int act_reopen_pipe(void)
{
	char path[64];
	int ends[2];

	if (pipe(ends))
		return -1;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", ends[0]);
	return open(path, O_RDONLY | O_NONBLOCK);
}

static int act_reopen_memfd(void)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", memfd_create("act", 0));
	return open(path, O_RDONLY);
}

static int act_pidfd(void)
{
	return syscall(SYS_pidfd_open, getpid(), 0);
}

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

static socklen_t address_of(const char *family, const char *host, int port, struct sockaddr_storage *storage)
{
	struct sockaddr_in *in = (void *)storage;
	struct sockaddr_in6 *in6 = (void *)storage;

	memset(storage, 0, sizeof(*storage));
	if (strcmp(family, "6") == 0) {
		in6->sin6_family = AF_INET6;
		in6->sin6_port = htons(port);
		inet_pton(AF_INET6, host, &in6->sin6_addr);
		return sizeof(*in6);
	}
	in->sin_family = AF_INET;
	in->sin_port = htons(port);
	inet_pton(AF_INET, host, &in->sin_addr);
	return sizeof(*in);
}

static int make_socket(const char *family, const char *protocol)
{
	return socket(*family == '6' ? AF_INET6 : AF_INET, *protocol == 'u' ? SOCK_DGRAM : SOCK_STREAM, 0);
}

/* bind 4|6 tcp|udp HOST PORT */
static int act_bind(void)
{
	struct sockaddr_storage address;
	socklen_t length = address_of(argument[0], argument[2], number(3), &address);
	int fd = make_socket(argument[0], argument[1]);
	int yes = 1;

	/* A connection of an earlier test may still be in TIME_WAIT. */
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	return fd < 0 ? fd : bind(fd, (void *)&address, length);
}

/* connect 4|6 tcp|udp HOST PORT */
static int act_connect(void)
{
	struct sockaddr_storage address;
	socklen_t length = address_of(argument[0], argument[2], number(3), &address);
	int fd = make_socket(argument[0], argument[1]);

	return fd < 0 ? fd : connect(fd, (void *)&address, length);
}

/* send 4|6 tcp|udp HOST PORT: without connecting first; tcp by Fast Open */
static int act_send(void)
{
	struct sockaddr_storage address;
	socklen_t length = address_of(argument[0], argument[2], number(3), &address);
	int fd = make_socket(argument[0], argument[1]);

	return fd < 0 ? fd
		      : sendto(fd, "x", 1, *argument[1] == 'u' ? 0 : MSG_FASTOPEN, (void *)&address, length);
}

/* An AF_UNSPEC address means IPv4 to sendto(2). */
static int act_send_unspec(void)
{
	struct sockaddr_storage address;
	socklen_t length = address_of("4", argument[0], number(1), &address);
	int fd = make_socket("4", "udp");

	address.ss_family = AF_UNSPEC;
	return fd < 0 ? fd : sendto(fd, "x", 1, 0, (void *)&address, length);
}

/* listen: without bind(), on a port of the kernel's choice */
static int act_listen(void)
{
	int fd = make_socket("4", "tcp");

	return fd < 0 ? fd : listen(fd, 1);
}

/* listen-zero: after bind() to port 0 */
static int act_listen_zero(void)
{
	struct sockaddr_storage address;
	socklen_t length = address_of("4", "127.0.0.1", 0, &address);
	int fd = make_socket("4", "tcp");

	return bind(fd, (void *)&address, length) ? -1 : listen(fd, 1);
}

/* socket FAMILY TYPE PROTOCOL */
static int act_socket(void)
{
	return socket(number(0), number(1), number(2));
}

static int act_socketpair(void)
{
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_DGRAM, 0, ends))
		return -1;
	return send(ends[0], "x", 1, 0);
}

/* unix stream|dgram PATH, an abstract name with a leading @ */
static int act_unix(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, *argument[0] == 's' ? SOCK_STREAM : SOCK_DGRAM, 0);
	socklen_t length = offsetof(struct sockaddr_un, sun_path) + strlen(argument[1]);

	strncpy(address.sun_path, argument[1], sizeof(address.sun_path) - 1);
	if (*argument[1] == '@')
		address.sun_path[0] = '\0';
	else
		length++;
	if (*argument[0] == 's')
		return connect(fd, (void *)&address, length);
	return sendto(fd, "x", 1, 0, (void *)&address, length);
}

static int act_unix_bind(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strncpy(address.sun_path, argument[0], sizeof(address.sun_path) - 1);
	if (*argument[0] == '@')
		address.sun_path[0] = '\0';
	return bind(fd, (void *)&address, offsetof(struct sockaddr_un, sun_path) + strlen(argument[0]) + 1);
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

static const struct {
	const char *name;
	int (*act)(void);
} operations[] = {
    {"open", act_open},
    {"truncate", act_truncate},
    {"mkdir", act_mkdir},
    {"mknod", act_mknod},
    {"symlink", act_symlink},
    {"link", act_link},
    {"unlink", act_unlink},
    {"rmdir", act_rmdir},
    {"rename", act_rename},
    {"exchange", act_exchange},
    {"chmod", act_chmod},
    {"chown", act_chown},
    {"reopen", act_reopen},
    {"bind-open", act_bind_open},
    {"detached-open", act_detached_open},
    {"fresh-mount", act_fresh_mount},
    {"by-handle", act_by_handle},
    {"reopen-pipe", act_reopen_pipe},
    {"reopen-memfd", act_reopen_memfd},
    {"pidfd", act_pidfd},
    {"exec", act_exec},
    {"bind", act_bind},
    {"connect", act_connect},
    {"send", act_send},
    {"send-unspec", act_send_unspec},
    {"listen", act_listen},
    {"listen-zero", act_listen_zero},
    {"socket", act_socket},
    {"socketpair", act_socketpair},
    {"unix", act_unix},
    {"unix-bind", act_unix_bind},
    {"bpf", act_bpf},
    {"thread", act_thread},
    {"thread-exec", act_thread_exec},
    {"grandchild", act_grandchild},
};

int main(int argc, char **argv)
{
	if (argc < 2)
		return 2;
	argument = argv + 2;
	for (size_t i = 0; i < sizeof(operations) / sizeof(*operations); i++) {
		if (strcmp(operations[i].name, argv[1]) != 0)
			continue;
		if (operations[i].act() < 0) {
			printf("%s %d\n", strerrorname_np(errno), getpid());
			return 1;
		}
		printf("ok %d\n", getpid());
		return 0;
	}
	fprintf(stderr, "act: no operation %s\n", argv[1]);
	return 2;
}
