/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * operations DIRECTORY [landlock | apparmor PROFILE]: makes each operation many times below the directory
 * and prints a line "NAME:MEDIAN" for each, in ticks. First it restricts itself by Landlock to the directory,
 * or enters an AppArmor profile. A jail it gets from whoever starts it.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <linux/landlock.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "counter.h"

enum { WARM = 20, ROUNDS = 200 };

static void must(int good, const char *what)
{
	if (good)
		return;
	fprintf(stderr, "operations: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void open_shallow(void)
{
	close(open("file", O_RDONLY));
}

static void open_deep(void)
{
	close(open("1/2/3/4/5/6/file", O_RDONLY));
}

static void open_write(void)
{
	close(open("1/2/file", O_WRONLY));
}

/* Each is opened once in a while only, so a jail has much to remember. */
static void open_many(void)
{
	static int next;
	char name[32];

	snprintf(name, sizeof(name), "1/2/many/%d", next++ % 100);
	close(open(name, O_RDONLY));
}

/* Each file once, so that nothing is remembered of it. */
static void open_first(void)
{
	static int next;
	char name[32];

	snprintf(name, sizeof(name), "1/2/first/%d", next++);
	close(open(name, O_RDONLY));
}

static int page;

static void map_page(void)
{
	void *address = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, page, 0);

	must(address != MAP_FAILED && munmap(address, 4096) == 0, "mmap");
}

static int library;

static void map_code(void)
{
	void *address = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, library, 0);

	must(address != MAP_FAILED && munmap(address, 4096) == 0, "mmap");
}

static void signal_itself(void)
{
	must(kill(getpid(), 0) == 0, "kill");
}

static void set_user(void)
{
	must(setuid(0) == 0, "setuid");
}

static void read_page(void)
{
	char bytes[1024];

	must(pread(page, bytes, sizeof(bytes), 0) == sizeof(bytes), "pread");
}

static void look(void)
{
	struct stat found;

	must(stat("1/2/file", &found) == 0, "stat");
}

static void create_and_remove(void)
{
	close(open("1/new", O_CREAT | O_WRONLY, 0600));
	must(unlink("1/new") == 0, "unlink");
}

static void rename_there_and_back(void)
{
	must(rename("1/2/file", "1/2/other") == 0 && rename("1/2/other", "1/2/file") == 0, "rename");
}

static void fork_and_wait(void)
{
	pid_t child = fork();

	if (child == 0)
		_exit(0);
	must(waitpid(child, NULL, 0) == child, "fork");
}

static void execute(void)
{
	char *const words[] = {"true", NULL};
	pid_t child = vfork();
	int status;

	if (child == 0) {
		execv("program", words);
		_exit(127);
	}
	must(waitpid(child, &status, 0) == child && status == 0, "exec");
}

static struct sockaddr_in at(int port)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return address;
}

static int bound(int type, int port)
{
	struct sockaddr_in address = at(port);
	int fd = socket(AF_INET, type, 0);
	int yes = 1;

	must(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) == 0, "setsockopt");
	must(bind(fd, (void *)&address, sizeof(address)) == 0, "bind");
	return fd;
}

enum { LISTENER = 7700, SINK, OTHER_SINK, BOUND };

static int listener, connected, unconnected, stream, far_stream;

/* Reset at its end, so that it leaves nothing behind. */
static void connect_and_close(void)
{
	struct sockaddr_in address = at(LISTENER);
	struct linger reset = {.l_onoff = 1};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	must(connect(fd, (void *)&address, sizeof(address)) == 0, "connect");
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	close(accept(listener, NULL, NULL));
	close(fd);
}

static void bind_and_close(void)
{
	close(bound(SOCK_STREAM, BOUND));
}

static void connect_datagrams(void)
{
	struct sockaddr_in address = at(SINK);

	must(connect(connected, (void *)&address, sizeof(address)) == 0, "connect");
}

static void send_connected(void)
{
	must(send(connected, "x", 1, 0) == 1, "send");
}

/* The other end takes it, or its queue would fill. */
static void send_stream(void)
{
	char byte;

	must(send(stream, "x", 1, 0) == 1 && recv(far_stream, &byte, 1, 0) == 1, "send");
}

static void send_to(void)
{
	struct sockaddr_in address = at(OTHER_SINK);

	must(sendto(unconnected, "x", 1, 0, (void *)&address, sizeof(address)) == 1, "sendto");
}

/* The sinks are never read; each has room for what is sent to it. */
static void make_sockets(void)
{
	struct sockaddr_in address = at(LISTENER);

	listener = bound(SOCK_STREAM, LISTENER);
	must(listen(listener, 8) == 0, "listen");
	stream = socket(AF_INET, SOCK_STREAM, 0);
	must(connect(stream, (void *)&address, sizeof(address)) == 0, "connect");
	far_stream = accept(listener, NULL, NULL);
	bound(SOCK_DGRAM, SINK);
	bound(SOCK_DGRAM, OTHER_SINK);
	connected = socket(AF_INET, SOCK_DGRAM, 0);
	unconnected = socket(AF_INET, SOCK_DGRAM, 0);
}

static const struct {
	const char *name;
	void (*operation)(void);
} operations[] = {
    {"open and close", open_shallow},
    {"open and close, six deep", open_deep},
    {"open and close to write", open_write},
    {"open and close, of 100 files", open_many},
    {"open and close, for the first time", open_first},
    {"map a page of a file", map_page},
    {"map a page of a library to execute", map_code},
    {"read a kilobyte", read_page},
    {"signal itself", signal_itself},
    {"set the user", set_user},
    {"stat", look},
    {"create and unlink", create_and_remove},
    {"rename twice", rename_there_and_back},
    {"fork", fork_and_wait},
    {"exec", execute},
    {"connect over TCP and close", connect_and_close},
    {"bind and close", bind_and_close},
    {"connect a UDP socket", connect_datagrams},
    {"send and receive over TCP", send_stream},
    {"send on a connected UDP socket", send_connected},
    {"send a datagram to an address", send_to},
};

/* Files of a page each, called by their numbers. */
static void make_files(const char *directory, int count)
{
	static const char bytes[4096];
	char path[64];

	must(mkdir(directory, 0755) == 0 || errno == EEXIST, "mkdir");
	for (int i = 0; i < count; i++) {
		int fd;

		snprintf(path, sizeof(path), "%s/%d", directory, i);
		fd = open(path, O_CREAT | O_WRONLY, 0644);
		must(write(fd, bytes, sizeof(bytes)) == sizeof(bytes), "write");
		close(fd);
	}
}

/* Made by the first run; what a later one made or looked at would be remembered. */
static void make_tree(const char *directory)
{
	char path[64];

	must(chdir(directory) == 0, directory);
	if (mkdir("1", 0755) < 0) {
		must(errno == EEXIST, "mkdir");
		return;
	}
	close(open("file", O_CREAT | O_WRONLY, 0644));
	for (int i = 2; i <= 6; i++) {
		strcpy(path, "1");
		for (int j = 2; j <= i; j++)
			sprintf(path + strlen(path), "/%d", j);
		must(mkdir(path, 0755) == 0, "mkdir");
	}
	make_files("1/2/many", 100);
	make_files("1/2/first", WARM + ROUNDS);
	make_files("1/2", 1);
	must(rename("1/2/0", "1/2/file") == 0, "rename");
	make_files("1/2/3/4/5/6", 1);
	must(rename("1/2/3/4/5/6/0", "1/2/3/4/5/6/file") == 0, "rename");
}

static void restrict_by_landlock(const char *directory)
{
	__u64 all = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1;
	struct landlock_ruleset_attr ruleset = {.handled_access_fs = all};
	struct landlock_path_beneath_attr beneath = {.allowed_access = all};
	int fd = syscall(SYS_landlock_create_ruleset, &ruleset, sizeof(ruleset), 0);

	beneath.parent_fd = open(directory, O_PATH | O_CLOEXEC);
	must(fd >= 0 && beneath.parent_fd >= 0, "landlock_create_ruleset");
	must(syscall(SYS_landlock_add_rule, fd, LANDLOCK_RULE_PATH_BENEATH, &beneath, 0) == 0,
	     "landlock_add_rule");
	must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "no_new_privs");
	must(syscall(SYS_landlock_restrict_self, fd, 0) == 0, "landlock_restrict_self");
}

static void enter_profile(const char *profile)
{
	char text[128];
	int fd = open("/proc/self/attr/apparmor/current", O_WRONLY | O_CLOEXEC);
	int length = snprintf(text, sizeof(text), "changeprofile %s", profile);

	must(fd >= 0 && write(fd, text, length) == length, "changeprofile");
	close(fd);
}

int main(int argc, char *argv[])
{
	static unsigned long long ticks[ROUNDS];

	must(argc >= 2, "usage: operations DIRECTORY [landlock]");
	make_tree(argv[1]);
	/* Before Landlock knows of it: there it is not among what may be opened. */
	library = open("/lib/x86_64-linux-gnu/libc.so.6", O_RDONLY);
	if (argc == 3)
		restrict_by_landlock(argv[1]);
	if (argc == 4)
		enter_profile(argv[3]);
	page = open("1/2/file", O_RDONLY);
	make_sockets();
	for (size_t i = 0; i < sizeof(operations) / sizeof(*operations); i++) {
		for (int round = -WARM; round < ROUNDS; round++) {
			unsigned long long begin = now();

			operations[i].operation();
			if (round >= 0)
				ticks[round] = now() - begin;
		}
		sort_ticks(ticks, ROUNDS);
		printf("%s:%llu\n", operations[i].name, ticks[ROUNDS / 2]);
	}
	return 0;
}
