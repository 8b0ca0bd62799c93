// act OPERATION [ARGUMENT…]: makes one system call's worth of trouble and prints "ok" or the errno's name,
// and its pid, by which a test finds the denial that belongs to it.
// The VM tests run it jailed and unjailed; being static it needs no file but itself.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/io_uring.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

static char **argument;

static long number(int i)
{
	return strtol(argument[i], NULL, 0);
}

/* Private mounts: what follows is seen by nobody else. */
static int unshare_mounts(void)
{
	return unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ? -1 : 0;
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

	if (unshare_mounts() || mount(argument[0], argument[1], NULL, MS_BIND, NULL))
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

	if (unshare_mounts() || mount("fresh", argument[0], "tmpfs", 0, NULL))
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

static int act_stat(void)
{
	struct stat status;

	return stat(argument[0], &status);
}

static int act_lstat(void)
{
	struct stat status;

	return lstat(argument[0], &status);
}

/* O_PATH asks no hook, but gives no rights either. */
static int act_fstat_path(void)
{
	struct stat status;

	return fstat(open(argument[0], O_PATH | O_NOFOLLOW), &status);
}

static int act_statx_empty(void)
{
	struct statx status;

	return statx(open(argument[0], O_PATH), "", AT_EMPTY_PATH, STATX_BASIC_STATS, &status);
}

/* fchdir-stat DIRECTORY NAME */
static int act_fchdir_stat(void)
{
	struct stat status;

	if (fchdir(open(argument[0], O_PATH)))
		return -1;
	return stat(argument[1], &status);
}

/* by-handle-stat PATH DIRECTORY: an O_PATH descriptor of an object that no path led to */
static int act_by_handle_stat(void)
{
	struct {
		struct file_handle head;
		char bytes[128];
	} handle = {.head.handle_bytes = sizeof(handle.bytes)};
	struct stat status;
	int mount_id;
	int drop;

	if (name_to_handle_at(AT_FDCWD, argument[0], &handle.head, &mount_id, 0))
		return -1;
	/* Without a cached name the kernel has an alias that is connected to nothing. */
	drop = open("/proc/sys/vm/drop_caches", O_WRONLY);
	if (drop >= 0 && write(drop, "2", 1) < 0)
		return -1;
	return fstat(open_by_handle_at(open(argument[1], O_RDONLY | O_DIRECTORY), &handle.head, O_PATH),
		     &status);
}

/* bind-stat SOURCE TARGET NAME */
static int act_bind_stat(void)
{
	char path[4096];
	struct stat status;

	if (unshare_mounts() || mount(argument[0], argument[1], NULL, MS_BIND, NULL))
		return -1;
	snprintf(path, sizeof(path), "%s/%s", argument[1], argument[2]);
	return stat(path, &status);
}

static int act_detached_stat(void)
{
	int tree = syscall(SYS_open_tree, AT_FDCWD, argument[0], 1 /* OPEN_TREE_CLONE */ | O_CLOEXEC);
	struct stat status;

	return tree < 0 ? tree : fstatat(tree, argument[1], &status, 0);
}

/* overlay-stat LOWER TARGET NAME: an overlay of one's own shows what lies below it */
static int act_overlay_stat(void)
{
	char text[4096];
	struct stat status;

	snprintf(text, sizeof(text), "lowerdir=%s:/usr/lib", argument[0]);
	if (unshare_mounts() || mount("mine", argument[1], "overlay", MS_RDONLY, text))
		return -1;
	snprintf(text, sizeof(text), "%s/%s", argument[1], argument[2]);
	return stat(text, &status);
}

static int act_chroot(void)
{
	return chroot(argument[0]);
}

static int act_readlink(void)
{
	char target[4096];

	return readlink(argument[0], target, sizeof(target));
}

static int act_open_path(void)
{
	return open(argument[0], O_PATH);
}

static int act_utimes(void)
{
	struct timespec times[2] = {{.tv_sec = 1}, {.tv_sec = 1}};

	return utimensat(AT_FDCWD, argument[0], times, 0);
}

static int act_touch(void)
{
	return utimensat(AT_FDCWD, argument[0], NULL, 0);
}

static int act_futimens(void)
{
	return futimens(open(argument[0], O_RDONLY), NULL);
}

static int act_utimes_empty(void)
{
	return utimensat(open(argument[0], O_PATH), "", NULL, AT_EMPTY_PATH);
}

/* setxattr PATH NAME, and the same for the others */
static int act_setxattr(void)
{
	return setxattr(argument[0], argument[1], "value", 5, 0);
}

static int act_fsetxattr(void)
{
	return fsetxattr(open(argument[0], O_RDONLY), argument[1], "value", 5, 0);
}

static int act_removexattr(void)
{
	return removexattr(argument[0], argument[1]);
}

static int act_getxattr(void)
{
	char value[64];

	return getxattr(argument[0], argument[1], value, sizeof(value));
}

static int act_listxattr(void)
{
	char names[4096];

	return listxattr(argument[0], names, sizeof(names));
}

/* An ACL with one entry more than the mode says: user 1 may read. */
static const unsigned char acl[] = {2, 0, 0,   0,   1,   0,   7,  0, 255, 255, 255, 255, 2,   0,  4,
				    0, 1, 0,   0,   0,   4,   0,  4, 0,   255, 255, 255, 255, 16, 0,
				    4, 0, 255, 255, 255, 255, 32, 0, 4,   0,   255, 255, 255, 255};

/* set-acl PATH access|default */
static int act_set_acl(void)
{
	char name[64];

	snprintf(name, sizeof(name), "system.posix_acl_%s", argument[1]);
	return setxattr(argument[0], name, acl, sizeof(acl), 0);
}

static int act_remove_acl(void)
{
	return removexattr(argument[0], "system.posix_acl_access");
}

static int act_get_acl(void)
{
	char value[128];
	int length = getxattr(argument[0], "system.posix_acl_access", value, sizeof(value));

	return length < 0 && errno == ENODATA ? 0 : length;
}

/* The flags of a file change through a descriptor that is open for reading. */
static int act_set_flags(void)
{
	int fd = open(argument[0], O_RDONLY);
	int flags;

	if (ioctl(fd, FS_IOC_GETFLAGS, &flags))
		return -1;
	flags |= FS_NODUMP_FL;
	return ioctl(fd, FS_IOC_SETFLAGS, &flags);
}

static int act_set_xflags(void)
{
	int fd = open(argument[0], O_RDONLY);
	struct fsxattr attributes;

	if (ioctl(fd, FS_IOC_FSGETXATTR, &attributes))
		return -1;
	attributes.fsx_xflags |= FS_XFLAG_NODUMP;
	return ioctl(fd, FS_IOC_FSSETXATTR, &attributes);
}

/* What a 32-bit program does; its pointers are short, as are a static program's. */
static int act_set_flags_32(void)
{
	static int flags;
	long fd = open(argument[0], O_RDONLY);
	long result = ioctl(fd, FS_IOC_GETFLAGS, &flags);

	if (result)
		return -1;
	flags |= FS_NODUMP_FL;
	asm volatile("int $0x80"
		     : "=a"(result)
		     : "a"(54L), "b"(fd), "c"((long)FS_IOC32_SETFLAGS), "d"((long)&flags)
		     : "memory", "r8", "r9", "r10", "r11");
	errno = (int)-result;
	return (int)result;
}

static int act_get_flags(void)
{
	int flags;

	return ioctl(open(argument[0], O_RDONLY), FS_IOC_GETFLAGS, &flags);
}

/* file_getattr(2) and file_setattr(2), Linux 6.17 */
static int act_file_getattr(void)
{
	__u64 attributes[3] = {0};

	return syscall(468, AT_FDCWD, argument[0], attributes, sizeof(attributes), 0);
}

static int act_file_setattr(void)
{
	__u64 attributes[3] = {FS_XFLAG_NODUMP};

	return syscall(469, AT_FDCWD, argument[0], attributes, sizeof(attributes), 0);
}

static int act_watch(void)
{
	return inotify_add_watch(inotify_init1(0), argument[0], IN_CREATE);
}

/* watch-wide PATH mount|filesystem */
static int act_watch_wide(void)
{
	int scope = *argument[1] == 'm' ? FAN_MARK_MOUNT : FAN_MARK_FILESYSTEM;

	return fanotify_mark(fanotify_init(FAN_CLASS_NOTIF, O_RDONLY), FAN_MARK_ADD | scope, FAN_OPEN,
			     AT_FDCWD, argument[0]);
}

/* receive SOCKET PATH FLAGS: asks a server outside to open and send; EBADMSG where nothing came */
static int act_receive(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char control[CMSG_SPACE(sizeof(int))];
	char text[4096];
	struct iovec part = {.iov_base = text, .iov_len = sizeof(text)};
	struct msghdr message = {
	    .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	int length = snprintf(text, sizeof(text), "%s %s\n", argument[1], argument[2]);

	strncpy(address.sun_path, argument[0], sizeof(address.sun_path) - 1);
	if (connect(fd, (void *)&address, sizeof(address)) || write(fd, text, length) != length ||
	    recvmsg(fd, &message, 0) < 0)
		return -1;
	if (CMSG_FIRSTHDR(&message) && CMSG_FIRSTHDR(&message)->cmsg_len == CMSG_LEN(sizeof(int)))
		return 0;
	errno = EBADMSG;
	return -1;
}

/* take FILE NAME: the file has lines "NAME PID FD"; takes that descriptor out of that process */
static int act_take(void)
{
	FILE *list = fopen(argument[0], "r");
	char name[64];
	int pid;
	int fd;

	while (list && fscanf(list, "%63s %d %d", name, &pid, &fd) == 3)
		if (strcmp(name, argument[1]) == 0)
			return syscall(SYS_pidfd_getfd, syscall(SYS_pidfd_open, pid, 0), fd, 0);
	return -1;
}

/* copy HOW FROM TO: the ways to move bytes between descriptors */
static int act_copy(void)
{
	int from = open(argument[1], O_RDONLY);
	int to = open(argument[2], O_WRONLY);
	int ends[2];

	if (from < 0 || to < 0)
		return -1;
	if (strcmp(argument[0], "range") == 0)
		return copy_file_range(from, NULL, to, NULL, 4, 0);
	if (strcmp(argument[0], "sendfile") == 0)
		return sendfile(to, from, NULL, 4);
	if (strcmp(argument[0], "fallocate") == 0)
		return fallocate(to, 0, 0, 4096);
	if (strcmp(argument[0], "ftruncate") == 0)
		return ftruncate(to, 0);
	if (pipe(ends) || splice(from, NULL, ends[1], NULL, 4, 0) < 0)
		return -1;
	return splice(ends[0], NULL, to, NULL, 4, 0);
}

/* map PATH: a shared writable mapping of a file that is open for reading; then mprotect */
static int act_map(void)
{
	int fd = open(argument[0], O_RDONLY);
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (page != MAP_FAILED)
		return 0;
	page = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
	return page == MAP_FAILED ? -1 : mprotect(page, 4096, PROT_READ | PROT_WRITE);
}

/* on-fd N HOW: uses a descriptor that was there at the start */
static int act_on_fd(void)
{
	char path[64];
	struct stat status;

	if (strcmp(argument[1], "ftruncate") == 0)
		return ftruncate(number(0), 0);
	if (strcmp(argument[1], "write") == 0)
		return write(number(0), "text", 4);
	if (strcmp(argument[1], "fstat") == 0)
		return syscall(SYS_fstat, number(0), &status);
	if (strcmp(argument[1], "fstatat") == 0)
		return fstatat(number(0), "", &status, AT_EMPTY_PATH);
	snprintf(path, sizeof(path), "/proc/self/fd/%ld", number(0));
	if (strcmp(argument[1], "link") == 0)
		return linkat(AT_FDCWD, path, AT_FDCWD, argument[2], AT_SYMLINK_FOLLOW);
	return open(path, O_WRONLY);
}

/* A ring with one request in it at a time. */
struct ring {
	int fd;
	char *rings;
	struct io_uring_params params;
	struct io_uring_sqe *entries;
};

static int make_ring(struct ring *ring, unsigned flags)
{
	size_t size;

	memset(ring, 0, sizeof(*ring));
	ring->params.flags = flags;
	ring->fd = syscall(SYS_io_uring_setup, 8, &ring->params);
	if (ring->fd < 0)
		return -1;
	size = ring->params.cq_off.cqes + ring->params.cq_entries * sizeof(struct io_uring_cqe);
	ring->rings = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd, IORING_OFF_SQ_RING);
	ring->entries = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd, IORING_OFF_SQES);
	return ring->rings == MAP_FAILED || ring->entries == MAP_FAILED ? -1 : 0;
}

static int submit(struct ring *ring, struct io_uring_sqe entry)
{
	unsigned *tail = (unsigned *)(ring->rings + ring->params.sq_off.tail);
	unsigned *head = (unsigned *)(ring->rings + ring->params.cq_off.head);
	unsigned *indices = (unsigned *)(ring->rings + ring->params.sq_off.array);
	struct io_uring_cqe *results = (struct io_uring_cqe *)(ring->rings + ring->params.cq_off.cqes);
	int result;

	indices[*tail & 7] = 0;
	ring->entries[0] = entry;
	__atomic_add_fetch(tail, 1, __ATOMIC_RELEASE);
	if (syscall(SYS_io_uring_enter, ring->fd, 1, 1, IORING_ENTER_GETEVENTS | IORING_ENTER_SQ_WAKEUP, NULL,
		    0) < 0)
		return -1;
	result = results[*head & (ring->params.cq_entries - 1)].res;
	__atomic_add_fetch(head, 1, __ATOMIC_RELEASE);
	errno = -result;
	return result;
}

static struct io_uring_sqe setxattr_request(const char *path, const char *name)
{
	return (struct io_uring_sqe){
	    .opcode = IORING_OP_FSETXATTR,
	    .fd = open(path, O_RDONLY),
	    .addr = (unsigned long)name,
	    .addr2 = (unsigned long)"value",
	    .len = 5,
	};
}

/* ring OPERATION PATH [PATH] */
static int act_ring(void)
{
	static struct statx status;
	const struct {
		const char *name;
		struct io_uring_sqe entry;
	} requests[] = {
	    {"open", {.opcode = IORING_OP_OPENAT, .open_flags = O_RDONLY}},
	    {"create", {.opcode = IORING_OP_OPENAT, .open_flags = O_CREAT | O_WRONLY, .len = 0600}},
	    {"statx", {.opcode = IORING_OP_STATX, .len = STATX_BASIC_STATS, .off = (unsigned long)&status}},
	    {"rename", {.opcode = IORING_OP_RENAMEAT, .len = AT_FDCWD, .addr2 = (unsigned long)argument[2]}},
	    {"unlink", {.opcode = IORING_OP_UNLINKAT}},
	    {"mkdir", {.opcode = IORING_OP_MKDIRAT, .len = 0700}},
	    {"link", {.opcode = IORING_OP_LINKAT, .len = AT_FDCWD, .addr2 = (unsigned long)argument[2]}},
	};
	struct io_uring_sqe entry;
	struct ring ring;
	unsigned flags = 0;

	/* sqpoll-OPERATION: a thread of the kernel's takes the request up. */
	if (strncmp(argument[0], "sqpoll-", 7) == 0) {
		argument[0] += 7;
		flags = IORING_SETUP_SQPOLL;
	}
	if (make_ring(&ring, flags))
		return -1;
	if (strcmp(argument[0], "fsetxattr") == 0)
		return submit(&ring, setxattr_request(argument[1], "user.ring"));
	if (strcmp(argument[0], "setxattr") == 0) {
		entry = (struct io_uring_sqe){.opcode = IORING_OP_SETXATTR,
					      .addr = (unsigned long)"user.ring",
					      .addr2 = (unsigned long)"value",
					      .addr3 = (unsigned long)argument[1],
					      .len = 5};
		return submit(&ring, entry);
	}
	if (strcmp(argument[0], "symlink") == 0) {
		entry = (struct io_uring_sqe){.opcode = IORING_OP_SYMLINKAT,
					      .fd = AT_FDCWD,
					      .addr = (unsigned long)"target",
					      .addr2 = (unsigned long)argument[1]};
		return submit(&ring, entry);
	}
	if (strcmp(argument[0], "ftruncate") == 0) {
		entry = (struct io_uring_sqe){.opcode = 55 /* IORING_OP_FTRUNCATE */,
					      .fd = open(argument[1], O_RDWR)};
		return entry.fd < 0 ? -1 : submit(&ring, entry);
	}
	if (strcmp(argument[0], "fallocate") == 0) {
		entry = (struct io_uring_sqe){
		    .opcode = IORING_OP_FALLOCATE, .fd = open(argument[1], O_RDWR), .addr = 4096};
		return entry.fd < 0 ? -1 : submit(&ring, entry);
	}
	for (size_t i = 0; i < sizeof(requests) / sizeof(*requests); i++) {
		if (strcmp(requests[i].name, argument[0]) != 0)
			continue;
		entry = requests[i].entry;
		entry.fd = AT_FDCWD;
		entry.addr = (unsigned long)argument[1];
		return submit(&ring, entry);
	}
	return -1;
}

/*
 * ring-creds MINE TARGET: a worker that was born before the program changed its credentials acts with
 * others than its own, as for overlayfs.
 */
static int act_ring_creds(void)
{
	struct ring ring;

	if (make_ring(&ring, 0) || submit(&ring, setxattr_request(argument[0], "user.ring")) < 0)
		return -1;
	if (syscall(SYS_setgid, getgid()))
		return -1;
	return submit(&ring, setxattr_request(argument[1], "user.ring"));
}

/* ring-personality MINE TARGET: the same with credentials that were put by */
static int act_ring_personality(void)
{
	struct io_uring_sqe entry = setxattr_request(argument[1], "user.ring");
	struct ring ring;

	if (make_ring(&ring, 0) || submit(&ring, setxattr_request(argument[0], "user.ring")) < 0)
		return -1;
	if (syscall(SYS_setgid, getgid()))
		return -1;
	entry.personality = syscall(SYS_io_uring_register, ring.fd, IORING_REGISTER_PERSONALITY, NULL, 0);
	return submit(&ring, entry);
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
    {"stat", act_stat},
    {"lstat", act_lstat},
    {"fstat-path", act_fstat_path},
    {"statx-empty", act_statx_empty},
    {"fchdir-stat", act_fchdir_stat},
    {"by-handle-stat", act_by_handle_stat},
    {"bind-stat", act_bind_stat},
    {"detached-stat", act_detached_stat},
    {"overlay-stat", act_overlay_stat},
    {"chroot", act_chroot},
    {"readlink", act_readlink},
    {"open-path", act_open_path},
    {"utimes", act_utimes},
    {"touch", act_touch},
    {"futimens", act_futimens},
    {"utimes-empty", act_utimes_empty},
    {"setxattr", act_setxattr},
    {"fsetxattr", act_fsetxattr},
    {"removexattr", act_removexattr},
    {"getxattr", act_getxattr},
    {"listxattr", act_listxattr},
    {"set-acl", act_set_acl},
    {"remove-acl", act_remove_acl},
    {"get-acl", act_get_acl},
    {"set-flags", act_set_flags},
    {"set-xflags", act_set_xflags},
    {"set-flags-32", act_set_flags_32},
    {"get-flags", act_get_flags},
    {"file-getattr", act_file_getattr},
    {"file-setattr", act_file_setattr},
    {"watch", act_watch},
    {"watch-wide", act_watch_wide},
    {"receive", act_receive},
    {"take", act_take},
    {"copy", act_copy},
    {"map", act_map},
    {"on-fd", act_on_fd},
    {"ring", act_ring},
    {"ring-creds", act_ring_creds},
    {"ring-personality", act_ring_personality},
};

int main(int argc, char **argv)
{
	if (argc < 2)
		return 2;
	argument = argv + 2;
	/* Whoever waits in vain must not hold up the others. */
	alarm(20);
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
