/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Stands in for the launcher, in node's place: makes a pod with real cgroup and maps and sends a plan,
 * or fails in the way that --fault names.
 *
 *	launcher SCRIPT [--exec] [--json] [--report-fd N] [--denials N] [--fault NAME] -- COMMAND [ARG…]
 *	launcher SCRIPT report-denials STATE
 *	launcher SCRIPT --environment | --descriptors
 *	launcher SCRIPT --make-maps | --count-entries | --drop-entries
 *
 * $JAILRUN_TEST_DIR holds maps/ (a bpffs with the pinned maps) and state/; $JAILRUN_TEST_CGROUP is where
 * pods go. The maps are made once and outlive the runs, as the real ones do.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/bpf.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "abi.h"

static const struct {
	const char *name;
	__u32 key_size;
	__u32 value_size;
} maps[] = {
    [JR_PLAN_ENROLLMENT] = {"cgroup_enrollment", sizeof(__u64), sizeof(__u64)},
    [JR_PLAN_PODS] = {"pods", sizeof(__u64), sizeof(struct jr_pod)},
    [JR_PLAN_COUNTERS] = {"pod_counters", sizeof(__u64), sizeof(struct jr_counters)},
    [JR_PLAN_DENIALS] = {"pod_denials", sizeof(struct jr_denial_key), sizeof(struct jr_denial)},
};

static _Noreturn void fail(const char *what)
{
	fprintf(stderr, "stand-in launcher: %s: %s\n", what, strerror(errno));
	_exit(125);
}

static int check(int result, const char *what)
{
	if (result < 0)
		fail(what);
	return result;
}

static int bpf(enum bpf_cmd command, union bpf_attr *attributes)
{
	return syscall(SYS_bpf, command, attributes, sizeof(*attributes));
}

static const char *directory(void)
{
	const char *path = getenv("JAILRUN_TEST_DIR");

	return path ? path : "/nonexistent";
}

static void map_path(char path[PATH_MAX], int map)
{
	snprintf(path, PATH_MAX, "%s/maps/%s", directory(), maps[map].name);
}

static int make_maps(void)
{
	for (int i = JR_PLAN_ENROLLMENT; i <= JR_PLAN_DENIALS; i++) {
		union bpf_attr attributes = {.map_type = BPF_MAP_TYPE_HASH,
					     .key_size = maps[i].key_size,
					     .value_size = maps[i].value_size,
					     .max_entries = 64};
		char path[PATH_MAX];
		int fd;

		fd = check(bpf(BPF_MAP_CREATE, &attributes), maps[i].name);
		map_path(path, i);
		attributes = (union bpf_attr){.pathname = (uintptr_t)path, .bpf_fd = fd};
		check(bpf(BPF_OBJ_PIN, &attributes), path);
	}
	return 0;
}

static int open_map(int map)
{
	char path[PATH_MAX];
	union bpf_attr attributes = {.pathname = (uintptr_t)path};

	map_path(path, map);
	return check(bpf(BPF_OBJ_GET, &attributes), path);
}

/* Counts the entries of all maps, and with `drop` removes them. */
static int count_entries(bool drop)
{
	int total = 0;

	for (int i = JR_PLAN_ENROLLMENT; i <= JR_PLAN_DENIALS; i++) {
		struct jr_denial_key key, next; /* the longest key of the three */
		int fd = open_map(i);
		union bpf_attr walk = {.map_fd = fd, .next_key = (uintptr_t)&next};

		while (bpf(BPF_MAP_GET_NEXT_KEY, &walk) == 0) {
			union bpf_attr entry = {.map_fd = fd, .key = (uintptr_t)&key};

			key = next;
			total++;
			if (drop)
				check(bpf(BPF_MAP_DELETE_ELEM, &entry), "entry");
			else
				walk.key = (uintptr_t)&key;
		}
	}
	printf("%d\n", total);
	return 0;
}

static int show_environment(void)
{
	for (char **variable = environ; *variable; variable++)
		puts(*variable);
	return 0;
}

static int show_descriptors(void)
{
	for (int fd = 0; fd < 1024; fd++)
		if (fcntl(fd, F_GETFD) >= 0)
			printf("%d ", fd);
	puts("");
	return 0;
}

static void set_entry(int map, const void *key, const void *value)
{
	union bpf_attr attributes = {.map_fd = map, .key = (uintptr_t)key, .value = (uintptr_t)value};

	check(bpf(BPF_MAP_UPDATE_ELEM, &attributes), "entry");
}

/* What the reporter is handed, so that a test can tell that it is the pod's. */
static int report_denials(const char *state)
{
	struct bpf_map_info map = {0};
	union bpf_attr info = {.info = {.bpf_fd = 4, .info_len = sizeof(map), .info = (uintptr_t)&map}};
	__u64 pod = 0;
	struct jr_counters counters = {0};
	union bpf_attr lookup = {.map_fd = 3, .key = (uintptr_t)&pod, .value = (uintptr_t)&counters};
	bool has_more = fcntl(5, F_GETFD) >= 0;
	FILE *file = fopen(state, "re");
	char byte;

	if (!file || fscanf(file, "%llu", &pod) != 1)
		fail(state);
	check(bpf(BPF_OBJ_GET_INFO_BY_FD, &info), "denials");
	check(bpf(BPF_MAP_LOOKUP_ELEM, &lookup), "pods");
	printf("report: map %d denials %llu stdin %zd descriptor 5 %s\n",
	       map.value_size == sizeof(struct jr_denial), (unsigned long long)counters.denials,
	       read(STDIN_FILENO, &byte, 1), has_more ? "open" : "closed");
	fflush(stdout);
	return counters.denials == 13 ? 13 : 0;
}

struct options {
	struct jr_plan plan;
	__u64 denials;
	const char *fault;
};

static struct options parse(int argc, char *argv[])
{
	struct options options = {.fault = ""};

	/* argv[1] is the script; the front counts its own name instead. */
	for (int i = 2; i < argc; i++) {
		if (strcmp(argv[i], "--") == 0) {
			options.plan.command = i;
			break;
		} else if (strcmp(argv[i], "--exec") == 0) {
			options.plan.flags |= JR_PLAN_EXEC;
		} else if (strcmp(argv[i], "--json") == 0) {
			options.plan.flags |= JR_PLAN_JSON;
		} else if (strcmp(argv[i], "--report-fd") == 0) {
			options.plan.report = atoi(argv[++i]);
		} else if (strcmp(argv[i], "--denials") == 0) {
			options.denials = atoi(argv[++i]);
		} else if (strcmp(argv[i], "--fault") == 0) {
			options.fault = argv[++i];
		}
	}
	return options;
}

static void make_pod(struct options *options, int fds[JR_PLAN_FDS])
{
	struct jr_plan *plan = &options->plan;
	struct jr_pod pod = {.flags = JR_TASK_ENTRY};
	struct jr_counters counters = {
	    .denials = options->denials, .kept = options->denials, .keep = JR_KEPT_DENIALS};
	struct {
		struct jr_denial_key key;
		struct jr_denial value;
	} denial = {0};
	const char *parent = getenv("JAILRUN_TEST_CGROUP");
	struct stat cgroup;

	snprintf(plan->cgroup, sizeof(plan->cgroup), "%s/pod-%d", parent ? parent : "", getpid());
	snprintf(plan->state, sizeof(plan->state), "%s/state/pod-%d", directory(), getpid());
	fds[JR_PLAN_STATE] = check(open(plan->state, O_CREAT | O_EXCL | O_RDWR, 0600), plan->state);
	check(flock(fds[JR_PLAN_STATE], LOCK_EX), "lock");
	check(mkdir(plan->cgroup, 0755), plan->cgroup);
	fds[JR_PLAN_CGROUP] = check(open(plan->cgroup, O_RDONLY | O_DIRECTORY), plan->cgroup);
	check(fstat(fds[JR_PLAN_CGROUP], &cgroup), plan->cgroup);
	plan->layout = JR_LAYOUT;
	plan->pod = cgroup.st_ino;
	dprintf(fds[JR_PLAN_STATE], "%llu\n", (unsigned long long)plan->pod);
	for (int i = JR_PLAN_ENROLLMENT; i <= JR_PLAN_DENIALS; i++)
		fds[i] = open_map(i);
	pod.number = denial.key.pod = plan->pod;
	set_entry(fds[JR_PLAN_ENROLLMENT], &plan->pod, &plan->pod);
	set_entry(fds[JR_PLAN_PODS], &plan->pod, &pod);
	set_entry(fds[JR_PLAN_COUNTERS], &plan->pod, &counters);
	for (denial.key.slot = 1; denial.key.slot <= options->denials; denial.key.slot++)
		set_entry(fds[JR_PLAN_DENIALS], &denial.key, &denial.value);
}

static void send_plan(const struct jr_plan *plan, size_t size, const int fds[], int count)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(32 * sizeof(int))];
	} control = {0};
	struct iovec body = {(void *)plan, size};
	struct msghdr message = {.msg_iov = &body,
				 .msg_iovlen = 1,
				 .msg_control = count ? &control : NULL,
				 .msg_controllen = count ? CMSG_SPACE(count * sizeof(int)) : 0};

	control.header = (struct cmsghdr){CMSG_LEN(count * sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
	memcpy(CMSG_DATA(&control.header), fds, count * sizeof(int));
	check(sendmsg(JR_PLAN_FD, &message, MSG_NOSIGNAL), "sendmsg");
}

/* The plan of a launcher that is not this front's. True if the fault is of this kind, and was sent. */
static bool send_faulty_plan(const struct options *options, const int fds[JR_PLAN_FDS])
{
	struct jr_plan plan = options->plan;
	const char *fault = options->fault;
	int others[32];
	size_t size = sizeof(plan);
	int count = JR_PLAN_FDS;

	for (int i = 0; i < 32; i++)
		others[i] = i < JR_PLAN_FDS ? fds[i] : STDERR_FILENO;
	if (strcmp(fault, "short") == 0)
		size--;
	else if (strcmp(fault, "descriptors-missing") == 0)
		count--;
	else if (strcmp(fault, "no-descriptors") == 0)
		count = 0;
	else if (strcmp(fault, "descriptors-over") == 0)
		count++;
	else if (strcmp(fault, "descriptors-too-many") == 0)
		count = 32;
	else if (strcmp(fault, "layout") == 0)
		plan.layout++;
	else if (strcmp(fault, "flag") == 0)
		plan.flags |= 1 << 20;
	else if (strcmp(fault, "command-over") == 0)
		plan.command = 1000;
	else if (strcmp(fault, "command-zero") == 0)
		plan.command = 0;
	else if (strcmp(fault, "path-unterminated") == 0)
		memset(plan.cgroup, '/', sizeof(plan.cgroup));
	else if (strcmp(fault, "path-relative") == 0)
		strcpy(plan.state, "state");
	else if (strcmp(fault, "other-pod") == 0)
		plan.pod++;
	else if (strcmp(fault, "no-cgroup") == 0)
		others[JR_PLAN_CGROUP] = check(open("/", O_RDONLY), "/");
	else if (strcmp(fault, "maps-swapped") == 0)
		others[JR_PLAN_PODS] = fds[JR_PLAN_DENIALS];
	else if (strcmp(fault, "no-map") == 0)
		others[JR_PLAN_DENIALS] = STDERR_FILENO;
	else
		return false;
	send_plan(&plan, size, others, count);
	return true;
}

/* Does to its own process what node does to node's. */
static void behave_like_node(void)
{
	struct rlimit limit;

	signal(SIGPIPE, SIG_IGN);
	signal(SIGHUP, SIG_DFL);
	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	for (int fd = 0; fd < 3; fd++)
		fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

static void wait_for_line(void)
{
	struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
	char line[16];

	poll(&input, 1, -1);
	if (read(STDIN_FILENO, line, sizeof(line)) < 0)
		fail("standard input");
}

int main(int argc, char *argv[])
{
	struct options options;
	int fds[JR_PLAN_FDS];
	const char *word = argc > 2 ? argv[2] : "";

	if (strcmp(word, "--make-maps") == 0)
		return make_maps();
	if (strcmp(word, "--count-entries") == 0)
		return count_entries(false);
	if (strcmp(word, "--drop-entries") == 0)
		return count_entries(true);
	if (strcmp(word, "--environment") == 0)
		return show_environment();
	if (strcmp(word, "--descriptors") == 0)
		return show_descriptors();
	if (strcmp(word, "report-denials") == 0 && argc == 4)
		return report_denials(argv[3]);
	options = parse(argc, argv);
	if (strcmp(options.fault, "exit") == 0)
		_exit(7);
	if (strcmp(options.fault, "die") == 0)
		kill(getpid(), SIGTERM);
	if (strcmp(options.fault, "hang") == 0 || strcmp(options.fault, "wait") == 0) {
		printf("launcher %d\n", getpid());
		fflush(stdout);
	}
	if (strcmp(options.fault, "hang") == 0)
		pause();
	behave_like_node();
	if (strcmp(options.fault, "wait") == 0)
		wait_for_line();
	make_pod(&options, fds);
	if (send_faulty_plan(&options, fds))
		return 0;
	send_plan(&options.plan, sizeof(options.plan), fds, JR_PLAN_FDS);
	if (strcmp(options.fault, "exit-after-plan") == 0)
		_exit(7);
	_exit(0);
}
