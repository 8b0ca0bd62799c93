/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include "pod.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "map.h"

enum {
	/* Room for more descriptors than a plan has, so that too many are seen as such. */
	RECEIVED_MAX = JR_PLAN_FDS + 8,
	/* Cgroups below a pod's that are removed with it; deeper ones wait for the next jailrun. */
	CGROUP_DEPTH = 64,
	/* How long a cgroup may stay populated after the command: processes that end with it lag a moment. */
	LAG_ROUNDS = 5,
	LAG_MILLISECONDS = 5,
};

static bool is_cgroup(int fd, __u64 id)
{
	struct statfs file_system;
	struct stat directory;

	return fstatfs(fd, &file_system) == 0 && file_system.f_type == CGROUP2_SUPER_MAGIC &&
	       fstat(fd, &directory) == 0 && directory.st_ino == id;
}

static bool is_path(const char path[JR_PLAN_PATH])
{
	return path[0] == '/' && memchr(path, '\0', JR_PLAN_PATH);
}

static const char *check_plan(const struct pod *pod, int words)
{
	const struct jr_plan *plan = &pod->plan;
	const int *descriptors = pod->descriptors;

	if (plan->layout != JR_LAYOUT)
		return "another layout version";
	if (plan->flags & ~(JR_PLAN_EXEC | JR_PLAN_JSON | JR_PLAN_NO_GAIN))
		return "an unknown flag";
	if (plan->command < 1 || plan->command >= (__u32)words)
		return "a command that is not among the arguments";
	if (plan->report && fcntl(plan->report, F_GETFD) < 0)
		return "a descriptor for reports that is not open";
	if (!is_path(plan->cgroup) || !is_path(plan->state))
		return "a path that is not absolute or not terminated";
	if (!is_cgroup(descriptors[JR_PLAN_CGROUP], plan->pod))
		return "a cgroup that is not the pod's";
	if (!is_map(descriptors[JR_PLAN_ENROLLMENT], sizeof(__u64), sizeof(__u64)) ||
	    !is_map(descriptors[JR_PLAN_PODS], sizeof(__u64), sizeof(struct jr_pod)) ||
	    !is_map(descriptors[JR_PLAN_COUNTERS], sizeof(__u64), sizeof(struct jr_counters)) ||
	    !is_map(descriptors[JR_PLAN_DENIALS], sizeof(struct jr_denial_key), sizeof(struct jr_denial)))
		return "a map of another kind";
	return NULL;
}

/* The descriptors that came with a message; returns how many. */
static int take_descriptors(struct msghdr *message, int descriptors[RECEIVED_MAX])
{
	struct cmsghdr *header = CMSG_FIRSTHDR(message);
	int count;

	if (!header || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
		return 0;
	count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
	memcpy(descriptors, CMSG_DATA(header), count * sizeof(int));
	return count;
}

const char *receive_pod(struct pod *pod, int socket, int words)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(RECEIVED_MAX * sizeof(int))];
	} control;
	struct iovec body = {&pod->plan, sizeof(pod->plan)};
	struct msghdr message = {
	    .msg_iov = &body, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
	ssize_t size = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
	int received[RECEIVED_MAX];
	int count = size < 0 ? 0 : take_descriptors(&message, received);
	const char *fault = NULL;

	if (size != sizeof(pod->plan) || message.msg_flags & MSG_TRUNC)
		fault = "another size";
	else if (count != JR_PLAN_FDS || message.msg_flags & MSG_CTRUNC)
		fault = "another number of descriptors";
	if (!fault) {
		memcpy(pod->descriptors, received, sizeof(pod->descriptors));
		fault = check_plan(pod, words);
	}
	for (int i = 0; fault && i < count; i++)
		close(received[i]);
	return fault;
}

static struct jr_counters read_counters(const struct pod *pod)
{
	struct jr_counters counters = {0};

	look_up(pod->descriptors[JR_PLAN_COUNTERS], &pod->plan.pod, &counters);
	return counters;
}

bool open_pod_maps(int descriptors[JR_PLAN_FDS])
{
	bool open = true;

	descriptors[JR_PLAN_CGROUP] = -1;
	descriptors[JR_PLAN_STATE] = -1;
	descriptors[JR_PLAN_ENROLLMENT] = open_map("cgroup_enrollment", sizeof(__u64), sizeof(__u64));
	descriptors[JR_PLAN_PODS] = open_map("pods", sizeof(__u64), sizeof(struct jr_pod));
	descriptors[JR_PLAN_COUNTERS] = open_map("pod_counters", sizeof(__u64), sizeof(struct jr_counters));
	descriptors[JR_PLAN_DENIALS] =
	    open_map("pod_denials", sizeof(struct jr_denial_key), sizeof(struct jr_denial));
	for (int i = JR_PLAN_ENROLLMENT; i < JR_PLAN_FDS; i++)
		open = open && descriptors[i] >= 0;
	return open;
}

uint64_t count_denials(const struct pod *pod)
{
	return read_counters(pod).denials;
}

bool has_task(uint64_t pod)
{
	size_t size;
	char *bytes = iterate("jr_list_tasks", -1, &size);
	bool found = !bytes || size % sizeof(struct jr_swept) != 0;

	for (size_t at = 0; !found && at < size; at += sizeof(struct jr_swept)) {
		struct jr_swept task;

		memcpy(&task, bytes + at, sizeof(task));
		found = task.pod == pod;
	}
	free(bytes);
	return found;
}

/* The counters come last: they tell which slots there are to delete. */
bool delete_entries(const struct pod *pod)
{
	struct jr_counters counters = read_counters(pod);
	struct jr_denial_key denial = {.pod = pod->plan.pod};

	if (!delete_key(pod->descriptors[JR_PLAN_ENROLLMENT], &pod->plan.pod))
		return false;
	while (denial.slot < counters.kept && denial.slot < counters.keep) {
		denial.slot++;
		if (!delete_key(pod->descriptors[JR_PLAN_DENIALS], &denial))
			return false;
	}
	return delete_key(pod->descriptors[JR_PLAN_PODS], &pod->plan.pod) &&
	       delete_key(pod->descriptors[JR_PLAN_COUNTERS], &pod->plan.pod);
}

/* Removes the cgroups below `parent` that are empty; those that are not make the parent's removal fail. */
static void remove_cgroups_below(int parent, int depth)
{
	int fd = openat(parent, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *directory = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (!directory) {
		close(fd);
		return;
	}
	while ((entry = readdir(directory))) {
		int child;

		if (entry->d_type != DT_DIR || strcmp(entry->d_name, ".") == 0 ||
		    strcmp(entry->d_name, "..") == 0)
			continue;
		child = openat(fd, entry->d_name, O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (child >= 0 && depth < CGROUP_DEPTH)
			remove_cgroups_below(child, depth + 1);
		close(child);
		unlinkat(fd, entry->d_name, AT_REMOVEDIR);
	}
	closedir(directory);
}

static int remove_directory(const char *path)
{
	return rmdir(path) < 0 && errno != ENOENT ? errno : 0;
}

/* Returns 0 once the cgroup is gone, otherwise an errno. EBUSY: processes live in it. */
static int remove_cgroup(const struct pod *pod)
{
	int directory = pod->descriptors[JR_PLAN_CGROUP];
	int events = openat(directory, "cgroup.events", O_RDONLY | O_CLOEXEC);
	int error = EBUSY;

	for (int round = 0; error == EBUSY && round <= LAG_ROUNDS; round++) {
		struct pollfd change = {.fd = events, .events = POLLPRI};
		char text[64];

		if (round > 0)
			poll(&change, 1, LAG_MILLISECONDS);
		/* Only a read makes poll(2) wait for the change after it. */
		if (pread(events, text, sizeof(text), 0) < 0)
			text[0] = '\0';
		error = remove_directory(pod->plan.cgroup);
		/* Most have none below them, and to list the kernel's files in it takes longest of all. */
		if (error == EBUSY) {
			remove_cgroups_below(directory, 0);
			error = remove_directory(pod->plan.cgroup);
		}
	}
	close(events);
	return error;
}

const char *take_apart(const struct pod *pod)
{
	errno = remove_cgroup(pod);
	if (errno == EBUSY)
		return NULL;
	if (errno)
		return pod->plan.cgroup;
	if (!delete_entries(pod))
		return "its map entries";
	if (unlink(pod->plan.state) < 0 && errno != ENOENT)
		return pod->plan.state;
	return NULL;
}

void remove_pod(const struct pod *pod)
{
	const char *left = take_apart(pod);

	if (left)
		complain(voice_of(pod), "POD_LEFT",
			 "The pod was not removed whole (%s: %s). The next jailrun tries again; look at: "
			 "jailrun status",
			 left, strerror(errno));
}
