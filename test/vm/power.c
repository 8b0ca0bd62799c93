// power OPERATION [ARGUMENT…]: uses one power of root and prints "ok" or the errno's name, and its pid, by
// which a test finds the denial that belongs to it. Where an operation would change the host, it asks for
// what cannot be done, so that who has the power gets another error than who has not: then that error counts
// as "ok".
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <linux/fs.h>
#include <linux/io_uring.h>
#include <linux/netlink.h>
#include <linux/perf_event.h>
#include <linux/sched.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/fanotify.h>
#include <sys/io.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/klog.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/msg.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/quota.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <time.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/timex.h>
#include <sys/uio.h>
#include <grp.h>
#include <sys/reboot.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <mqueue.h>
#include <unistd.h>

static char **argument;

static long number(int i)
{
	return strtol(argument[i], NULL, 0);
}

/* What the kernel says once the power has been granted. */
static int expecting(long result, int error)
{
	return result < 0 && errno == error ? 0 : (int)result;
}

static int act_setuid(void)
{
	return setresuid(65534, 65534, 65534);
}
static int act_setgid(void)
{
	return setresgid(65534, 65534, 65534);
}
static int act_setgroups(void)
{
	return setgroups(0, NULL);
}
static int act_bset(void)
{
	return prctl(PR_CAPBSET_DROP, 0);
}
static int act_chroot(void)
{
	return chroot("/");
}
static int act_sethostname(void)
{
	return sethostname("jailrun-vm", 10);
}
static int act_setdomainname(void)
{
	return setdomainname("(none)", 6);
}
static int act_settime(void)
{
	struct timespec now;

	return clock_gettime(CLOCK_REALTIME, &now) || clock_settime(CLOCK_REALTIME, &now) ? -1 : 0;
}
static int act_adjtimex(void)
{
	struct timex change = {.modes = ADJ_TICK, .tick = 10000};

	return adjtimex(&change) < 0 ? -1 : 0;
}
static int act_reboot(void)
{
	return reboot(-1) < 0 && errno == EINVAL ? 0 : -1;
}
static int act_kexec(void)
{
	return expecting(syscall(SYS_kexec_load, 0, 1000, NULL, 0), EINVAL);
}
static int act_swapon(void)
{
	return expecting(swapon("/nowhere", 0), ENOENT);
}
static int act_swapoff(void)
{
	return expecting(swapoff("/nowhere"), ENOENT);
}
static int act_quota(void)
{
	return expecting(quotactl(QCMD(Q_QUOTAOFF, USRQUOTA), argument[0], 0, NULL), ESRCH);
}
static int act_acct(void)
{
	return acct(NULL);
}
static int act_syslog(void)
{
	char byte;

	return klogctl(3, &byte, 1);
}
static int act_console_level(void)
{
	return klogctl(8, NULL, 7);
}
static int act_init_module(void)
{
	return expecting(syscall(SYS_init_module, "", 0, ""), ENOEXEC);
}
static int act_delete_module(void)
{
	return expecting(syscall(SYS_delete_module, "nothing", O_NONBLOCK), ENOENT);
}
/* A protocol family that only a module has, and that no network rule is asked about when the module is
 * missing. */
static int act_bpf(void)
{
	union bpf_attr map = {
	    .map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 4, .max_entries = 1};

	return syscall(SYS_bpf, BPF_MAP_CREATE, &map, sizeof(map));
}
static int act_bpf_by_id(void)
{
	union bpf_attr next = {0};

	if (syscall(SYS_bpf, BPF_MAP_GET_NEXT_ID, &next, sizeof(next)))
		return -1;
	next.map_id = next.next_id;
	next.next_id = 0;
	return syscall(SYS_bpf, BPF_MAP_GET_FD_BY_ID, &next, sizeof(next));
}
static int act_bpf_get(void)
{
	union bpf_attr get = {.pathname = (unsigned long)argument[0]};

	return syscall(SYS_bpf, BPF_OBJ_GET, &get, sizeof(get));
}
static int act_perf(void)
{
	struct perf_event_attr event = {
	    .type = PERF_TYPE_SOFTWARE, .size = sizeof(event), .config = PERF_COUNT_SW_CPU_CLOCK};

	return syscall(SYS_perf_event_open, &event, 0, -1, -1, 0);
}
static int act_userfaultfd(void)
{
	return syscall(SYS_userfaultfd, O_CLOEXEC);
}
static int act_io_uring(void)
{
	struct io_uring_params parameters = {0};

	return syscall(SYS_io_uring_setup, 1, &parameters);
}
static int act_fanotify(void)
{
	return fanotify_init(FAN_CLASS_NOTIF, O_RDONLY);
}
static int act_iopl(void)
{
	return iopl(3);
}
static int act_ioperm(void)
{
	return ioperm(0x80, 1, 1);
}
static int act_mknod(void)
{
	return mknod(argument[0], S_IFBLK | 0600, makedev(7, 200));
}
static int act_open(void)
{
	return open(argument[0], number(1));
}
static int act_unshare(void)
{
	return unshare(number(0));
}
static int act_clone(void)
{
	pid_t child = syscall(SYS_clone, number(0) | SIGCHLD, NULL, NULL, NULL, NULL);

	if (child == 0)
		_exit(0);
	return child < 0 ? -1 : waitpid(child, NULL, 0) < 0;
}
static int act_setns(void)
{
	int fd = open(argument[0], O_RDONLY);

	return fd < 0 ? fd : setns(fd, 0);
}
static int act_mount(void)
{
	return expecting(mount("none", "/etc", NULL, MS_PRIVATE, NULL), EINVAL);
}
static int act_bind(void)
{
	return mount(argument[0], argument[1], NULL, MS_BIND, NULL);
}
static int act_umount(void)
{
	return expecting(umount2(argument[0], number(1)), EINVAL);
}
static int act_pivot_root(void)
{
	return expecting(syscall(SYS_pivot_root, "/", "/"), EBUSY);
}
static int act_open_tree(void)
{
	return syscall(SYS_open_tree, AT_FDCWD, "/", 1 /* OPEN_TREE_CLONE */);
}
static int act_fsopen(void)
{
	return syscall(SYS_fsopen, "tmpfs", 0);
}
static int act_fspick(void)
{
	return syscall(SYS_fspick, AT_FDCWD, argument[0], 0);
}
static int act_mount_setattr(void)
{
	struct {
		__u64 set, clear, propagation, fd;
	} attributes = {0};

	return syscall(SYS_mount_setattr, AT_FDCWD, "/", 0, &attributes, sizeof(attributes));
}
/* Clones the mount of one path and attaches it to another. */
static int act_move_mount(void)
{
	int tree = syscall(SYS_open_tree, AT_FDCWD, argument[0], 1);

	return tree < 0 ? tree
			: syscall(SYS_move_mount, tree, "", AT_FDCWD, argument[1], 4 /* F_EMPTY_PATH */);
}
/* Asks CAP_SYS_ADMIN in a system call that belongs to no other power. */
static int act_admin(void)
{
	return setxattr(argument[0], "trusted.jailrun", "", 0, 0);
}

static int act_setfcap(void)
{
	struct vfs_cap_data nothing = {.magic_etc = VFS_CAP_REVISION_2};

	return setxattr(argument[0], "security.capability", &nothing, XATTR_CAPS_SZ_2, 0);
}
static int act_immutable(void)
{
	int file = open(argument[0], O_RDONLY);
	int flags = FS_IMMUTABLE_FL;

	if (file < 0 || ioctl(file, FS_IOC_SETFLAGS, &flags) < 0)
		return -1;
	flags = 0;
	return ioctl(file, FS_IOC_SETFLAGS, &flags);
}
static int act_lease(void)
{
	return fcntl(open(argument[0], O_RDONLY), F_SETLEASE, F_RDLCK);
}
static int act_wake_alarm(void)
{
	return timerfd_create(CLOCK_REALTIME_ALARM, 0);
}
/* Without the power the kernel adds the descriptor and leaves out the flag. */
static int act_block_suspend(void)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLWAKEUP};
	int pair[2];

	return pipe(pair) < 0 ? -1 : epoll_ctl(epoll_create1(0), EPOLL_CTL_ADD, pair[0], &event);
}
static int act_net_admin(void)
{
	struct ifreq lo = {.ifr_name = "lo"};
	int any = socket(AF_INET, SOCK_DGRAM, 0);

	return ioctl(any, SIOCGIFFLAGS, &lo) < 0 ? -1 : ioctl(any, SIOCSIFFLAGS, &lo);
}
static int act_net_raw(void)
{
	return socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
}
static int audit_message(int type)
{
	struct {
		struct nlmsghdr head;
		struct nlmsgerr answer;
	} message = {.head = {.nlmsg_len = sizeof(struct nlmsghdr), .nlmsg_type = type}};
	int audit = socket(AF_NETLINK, SOCK_RAW, NETLINK_AUDIT);

	message.head.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	if (send(audit, &message, sizeof(message.head), 0) < 0 ||
	    recv(audit, &message, sizeof(message), 0) < 0)
		return -1;
	errno = message.head.nlmsg_type == NLMSG_ERROR ? -message.answer.error : 0;
	return errno ? -1 : 0;
}
static int act_audit_write(void)
{
	return audit_message(AUDIT_USER);
}
static int act_audit_get(void)
{
	return audit_message(AUDIT_GET);
}
static int act_audit_read(void)
{
	struct sockaddr_nl log = {.nl_family = AF_NETLINK, .nl_groups = 1 << (AUDIT_NLGRP_READLOG - 1)};

	return bind(socket(AF_NETLINK, SOCK_RAW, NETLINK_AUDIT), (void *)&log, sizeof(log));
}
static int act_choose_pid(void)
{
	int pid = 31000;
	struct clone_args how = {.exit_signal = SIGCHLD, .set_tid = (unsigned long)&pid, .set_tid_size = 1};
	int child = syscall(SYS_clone3, &how, sizeof(how));

	if (child == 0)
		_exit(0);
	return child;
}

/* The same as sethostname, as a 32-bit program does it. */
static int act_hostname_32(void)
{
	long result;
	void *low = mmap((void *)0x10000000, 4096, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);

	strcpy(low, "jailrun-vm");
	__asm__ volatile("int $0x80" : "=a"(result) : "0"(74), "b"(low), "c"(10) : "memory");
	if (result < 0)
		errno = -result;
	return result < 0 ? -1 : 0;
}

static int act_kill(void)
{
	return kill(number(0), number(1));
}
static int act_pidfd_kill(void)
{
	int fd = syscall(SYS_pidfd_open, number(0), 0);

	return fd < 0 ? fd : syscall(SYS_pidfd_send_signal, fd, 0, NULL, 0);
}
/* Lets a pipe's readiness send SIGIO, or another signal, to a process. */
static int act_setown(void)
{
	int ends[2];

	return pipe(ends) ? -1 : fcntl(ends[0], F_SETOWN, number(0));
}
static int act_setown_own(void)
{
	int ends[2];

	return pipe(ends) ? -1 : fcntl(ends[0], F_SETOWN, getpid());
}
static int act_setown_ex(void)
{
	int ends[2];
	struct f_owner_ex owner = {F_OWNER_PID, number(0)};

	return pipe(ends) ? -1 : fcntl(ends[0], F_SETOWN_EX, &owner);
}
/* Without an owner yet, a terminal's descriptor gets who is in the terminal's foreground. */
static int act_tty_async(void)
{
	return fcntl(posix_openpt(O_RDWR | O_NOCTTY), F_SETFL, O_ASYNC);
}
static int act_tty_fioasync(void)
{
	int on = 1;

	return ioctl(posix_openpt(O_RDWR | O_NOCTTY), FIOASYNC, &on);
}
static int act_siocspgrp(void)
{
	int owner = number(0);

	return ioctl(socket(AF_UNIX, SOCK_STREAM, 0), 0x8902 /* SIOCSPGRP */, &owner);
}
static int act_ptrace(void)
{
	if (ptrace(PTRACE_SEIZE, number(0), 0, 0))
		return -1;
	ptrace(PTRACE_DETACH, number(0), 0, 0);
	return 0;
}
/* The process that started this one becomes its tracer. */
static int act_traceme(void)
{
	return ptrace(PTRACE_TRACEME, 0, 0, 0);
}
static int act_readv(void)
{
	char byte;
	struct iovec here = {&byte, 1}, there = {(void *)0x1000, 1};

	return expecting(process_vm_readv(number(0), &here, 1, &there, 1, 0), EFAULT);
}
static int act_writev(void)
{
	char byte = 0;
	struct iovec here = {&byte, 1}, there = {(void *)0x1000, 1};

	return expecting(process_vm_writev(number(0), &here, 1, &there, 1, 0), EFAULT);
}
static int act_getfd(void)
{
	int fd = syscall(SYS_pidfd_open, number(0), 0);

	return fd < 0 ? fd : expecting(syscall(SYS_pidfd_getfd, fd, 1000, 0), EBADF);
}
static int act_kcmp(void)
{
	return syscall(SYS_kcmp, getpid(), number(0), 1 /* KCMP_VM */, 0, 0) < 0 ? -1 : 0;
}
static int act_read_proc(void)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%s/%s", argument[0], argument[1]);
	fd = open(path, O_RDONLY);
	return fd < 0 ? fd : read(fd, path, sizeof(path)) < 0 ? -1 : 0;
}
static int act_proc_link(void)
{
	char path[64], target[256];

	snprintf(path, sizeof(path), "/proc/%s/%s", argument[0], argument[1]);
	return readlink(path, target, sizeof(target)) < 0 ? -1 : 0;
}
static int act_nice(void)
{
	return setpriority(PRIO_PROCESS, number(0), 5);
}
static int act_raise(void)
{
	return setpriority(PRIO_PROCESS, 0, -5);
}
static int act_ioprio(void)
{
	return syscall(SYS_ioprio_set, 1, number(0), 2 << 13 | 7);
}
static int act_affinity(void)
{
	cpu_set_t cpus;

	return sched_getaffinity(0, sizeof(cpus), &cpus) || sched_setaffinity(number(0), sizeof(cpus), &cpus)
		   ? -1
		   : 0;
}
static int act_scheduler(void)
{
	struct sched_param parameter = {0};

	return sched_setscheduler(number(0), SCHED_BATCH, &parameter);
}
static int act_realtime(void)
{
	struct sched_param parameter = {1};

	return sched_setscheduler(0, SCHED_FIFO, &parameter);
}
static int act_prlimit(void)
{
	struct rlimit limit;

	return prlimit(number(0), RLIMIT_CORE, NULL, &limit) || prlimit(number(0), RLIMIT_CORE, &limit, NULL)
		   ? -1
		   : 0;
}
static int act_raise_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return -1;
	limit.rlim_max++;
	return setrlimit(RLIMIT_NOFILE, &limit);
}
static int act_move_pages(void)
{
	void *page = (void *)0x1000;
	int node = 0, status;

	return syscall(SYS_move_pages, number(0), 1, &page, &node, &status, 0) < 0 ? -1 : 0;
}
static int act_mlock(void)
{
	struct rlimit none = {0, 0};

	return setrlimit(RLIMIT_MEMLOCK, &none) ? -1 : mlock(&none, 1);
}
static int act_key(void)
{
	return syscall(SYS_keyctl, 6 /* DESCRIBE */, -4 /* user's keyring */, NULL, 0) < 0 ? -1 : 0;
}
static int act_add_key(void)
{
	return syscall(SYS_add_key, "user", "jailrun", "x", 1, -4) < 0 ? -1 : 0;
}

/* shm KEY, sem KEY, msg KEY: uses what has the key; without one, what it makes itself. */
static int act_shm(void)
{
	int id = shmget(number(0), 4096, number(0) ? 0 : IPC_CREAT | 0600);

	return id < 0                                                                           ? id
	       : shmat(id, NULL, 0) == (void *)-1 || (!number(0) && shmctl(id, IPC_RMID, NULL)) ? -1
												: 0;
}
static int act_sem(void)
{
	int id = semget(number(0), 1, number(0) ? 0 : IPC_CREAT | 0600);
	struct sembuf up = {0, 1, 0};

	return id < 0 ? id : semop(id, &up, 1) || (!number(0) && semctl(id, 0, IPC_RMID)) ? -1 : 0;
}
static int act_msg(void)
{
	int id = msgget(number(0), number(0) ? 0 : IPC_CREAT | 0600);
	struct {
		long type;
		char text;
	} message = {1, 'x'};

	return id < 0                                                                     ? id
	       : msgsnd(id, &message, 1, 0) || (!number(0) && msgctl(id, IPC_RMID, NULL)) ? -1
											  : 0;
}
/* By the number that shmget gave its maker: no look-up by key is asked. */
static int act_shm_id(void)
{
	return shmat(number(0), NULL, SHM_RDONLY) == (void *)-1 ? -1 : 0;
}
static int act_shm_remove(void)
{
	return shmctl(number(0), IPC_RMID, NULL);
}
static int act_mq_unlink(void)
{
	return expecting(mq_unlink(argument[0]), ENOENT);
}
static int act_mq(void)
{
	return mq_open(argument[0], O_RDWR | O_CREAT, 0600, NULL);
}

/* A child that ends at once, in the cgroup. An O_PATH descriptor of that is enough. */
static int act_clone_into(void)
{
	struct clone_args arguments = {
	    .flags = CLONE_INTO_CGROUP, .exit_signal = SIGCHLD, .cgroup = open(argument[0], O_PATH)};
	pid_t child = syscall(SYS_clone3, &arguments, sizeof(arguments));

	if (child == 0)
		_exit(0);
	return child < 0 ? -1 : waitpid(child, NULL, 0) < 0;
}

/* A file that others run as its owner, by each way to get the mode. */
static int act_chmod_set_id(void)
{
	return fchmod(open(argument[0], O_WRONLY | O_CREAT, 0755), 04755);
}
static int act_create_set_id(void)
{
	return open(argument[0], O_WRONLY | O_CREAT | O_EXCL, 02755);
}
static int act_mknod_set_id(void)
{
	return mknod(argument[0], S_IFREG | 04755, 0);
}
static int act_link_set_id(void)
{
	int fd = open(argument[0], O_TMPFILE | O_WRONLY, 04755);
	char unnamed[32];

	snprintf(unnamed, sizeof(unnamed), "/proc/self/fd/%d", fd);
	return fd < 0 ? fd : linkat(AT_FDCWD, unnamed, AT_FDCWD, argument[1], AT_SYMLINK_FOLLOW);
}

static int act_tiocsti(void)
{
	int terminal = posix_openpt(O_RDWR | O_NOCTTY);

	if (setsid() < 0 || grantpt(terminal) || unlockpt(terminal))
		return -1;
	return ioctl(open(ptsname(terminal), O_RDWR), TIOCSTI, "x");
}

/* Maps a file to execute it, at once or by a later mprotect. */
static int act_map(void)
{
	int fd = open(argument[0], O_RDONLY);

	return fd < 0                                                                      ? fd
	       : mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0) == MAP_FAILED ? -1
											   : 0;
}
static int act_protect(void)
{
	int fd = open(argument[0], O_RDONLY);
	void *at = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0);

	return at == MAP_FAILED ? -1 : mprotect(at, 4096, PROT_READ | PROT_EXEC);
}
static int act_implied(void)
{
	int fd = open(argument[0], O_RDONLY);

	personality(READ_IMPLIES_EXEC);
	return mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0) == MAP_FAILED ? -1 : 0;
}
static int act_map_memfd(void)
{
	int fd = memfd_create("code", 0);

	return ftruncate(fd, 4096) || mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0) == MAP_FAILED
		   ? -1
		   : 0;
}
static int act_map_deleted(void)
{
	int fd = open(argument[0], O_RDWR | O_CREAT, 0700);

	if (fd < 0 || ftruncate(fd, 4096) || unlink(argument[0]))
		return -1;
	return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0) == MAP_FAILED ? -1 : 0;
}
static int act_jit(void)
{
	void *at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return mprotect(at, 4096, PROT_READ | PROT_EXEC);
}
/* Writes over the private copy of a mapped file, then makes that executable. */
static int act_jit_file(void)
{
	int fd = open(argument[0], O_RDONLY);
	char *at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);

	if (at == MAP_FAILED)
		return -1;
	*at = 0;
	return mprotect(at, 4096, PROT_READ | PROT_EXEC);
}
static int act_jit_both(void)
{
	int fd = open(argument[0], O_RDONLY);

	return mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE, fd, 0) == MAP_FAILED ? -1
												      : 0;
}
static int act_jit_mmap(void)
{
	return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? -1
													 : 0;
}
static int run_fd(int fd)
{
	char *const words[] = {"true", NULL};

	return syscall(SYS_execveat, fd, "", words, environ, AT_EMPTY_PATH);
}
/* Copies a program into a memfd and executes that. */
static int act_exec_memfd(void)
{
	int from = open(argument[0], O_RDONLY), to = memfd_create("program", 0);
	char buffer[65536];
	ssize_t size;

	while ((size = read(from, buffer, sizeof(buffer))) > 0)
		if (write(to, buffer, size) != size)
			return -1;
	return run_fd(to);
}
static int act_exec_fd(void)
{
	return run_fd(open(argument[0], O_PATH));
}
/* exec PROGRAM [ARGUMENT…] in a child; fails as the program's exec does, or with ECHILD when it ends with
 * other than 0. */
static int act_exec(void)
{
	int ends[2], error = 0, status;
	pid_t child;

	if (pipe2(ends, O_CLOEXEC))
		return -1;
	child = fork();
	if (child == 0) {
		execv(argument[0], argument);
		error = errno;
		_exit(write(ends[1], &error, sizeof(error)) < 0);
	}
	close(ends[1]);
	if (read(ends[0], &error, sizeof(error)) < 0 || waitpid(child, &status, 0) < 0)
		return -1;
	errno = error ? error : ECHILD;
	return error || status ? -1 : 0;
}

/* Asks the kernel to load a module: a protocol of a family that is there. */
static int act_request_module(void)
{
	syscall(SYS_socket, number(0), SOCK_DGRAM, 0);
	return expecting(-1, errno);
}

static int act_unlink(void)
{
	return unlink(argument[0]);
}
static int act_rmdir(void)
{
	return rmdir(argument[0]);
}
static int act_mkdir(void)
{
	return mkdir(argument[0], 0700);
}
static int act_rename(void)
{
	return rename(argument[0], argument[1]);
}
static int act_chmod(void)
{
	return chmod(argument[0], 0777);
}
static int act_write(void)
{
	int fd = open(argument[0], O_WRONLY | O_APPEND);

	return fd < 0 ? fd : write(fd, argument[1], strlen(argument[1])) < 0 ? -1 : 0;
}

static const struct {
	const char *name;
	int (*act)(void);
} operations[] = {
#define ACT(name)                                                                                            \
	{                                                                                                    \
#name, act_##name                                                                            \
	}
    ACT(setuid),        ACT(setgid),        ACT(setgroups),
    ACT(bset),          ACT(chroot),        ACT(sethostname),
    ACT(setdomainname), ACT(settime),       ACT(adjtimex),
    ACT(reboot),        ACT(kexec),         ACT(swapon),
    ACT(swapoff),       ACT(quota),         ACT(acct),
    ACT(syslog),        ACT(console_level), ACT(init_module),
    ACT(delete_module), ACT(bpf),           ACT(bpf_by_id),
    ACT(bpf_get),       ACT(perf),          ACT(userfaultfd),
    ACT(io_uring),      ACT(fanotify),      ACT(iopl),
    ACT(ioperm),        ACT(mknod),         ACT(open),
    ACT(unshare),       ACT(clone),         ACT(setns),
    ACT(mount),         ACT(bind),          ACT(umount),
    ACT(pivot_root),    ACT(open_tree),     ACT(fsopen),
    ACT(fspick),        ACT(mount_setattr), ACT(move_mount),
    ACT(admin),         ACT(hostname_32),   ACT(setfcap),
    ACT(immutable),     ACT(lease),         ACT(wake_alarm),
    ACT(block_suspend), ACT(net_admin),     ACT(net_raw),
    ACT(audit_write),   ACT(audit_get),     ACT(audit_read),
    ACT(choose_pid),    ACT(kill),          ACT(pidfd_kill),
    ACT(setown),        ACT(setown_own),    ACT(setown_ex),
    ACT(siocspgrp),     ACT(ptrace),        ACT(traceme),
    ACT(readv),         ACT(writev),        ACT(getfd),
    ACT(kcmp),          ACT(read_proc),     ACT(proc_link),
    ACT(nice),          ACT(raise),         ACT(ioprio),
    ACT(affinity),      ACT(scheduler),     ACT(realtime),
    ACT(prlimit),       ACT(raise_limit),   ACT(move_pages),
    ACT(mlock),         ACT(key),           ACT(add_key),
    ACT(shm),           ACT(sem),           ACT(msg),
    ACT(shm_id),        ACT(shm_remove),    ACT(mq),
    ACT(mq_unlink),     ACT(tiocsti),       ACT(map),
    ACT(protect),       ACT(implied),       ACT(map_memfd),
    ACT(map_deleted),   ACT(jit),           ACT(jit_mmap),
    ACT(jit_file),      ACT(jit_both),      ACT(exec_memfd),
    ACT(exec_fd),       ACT(exec),          ACT(request_module),
    ACT(unlink),        ACT(rmdir),         ACT(mkdir),
    ACT(rename),        ACT(chmod),         ACT(write),
    ACT(tty_async),     ACT(tty_fioasync),  ACT(clone_into),
    ACT(chmod_set_id),  ACT(create_set_id), ACT(mknod_set_id),
    ACT(link_set_id),
};

int main(int argc, char **argv)
{
	if (argc < 2)
		return 2;
	argument = argv + 2;
	alarm(20);
	for (size_t i = 0; i < sizeof(operations) / sizeof(*operations); i++) {
		int result, error;

		if (strcmp(operations[i].name, argv[1]) != 0)
			continue;
		result = operations[i].act();
		error = errno;
		printf("%s %d\n", result < 0 ? strerrorname_np(error) : "ok", getpid());
		return result < 0;
	}
	fprintf(stderr, "power: no operation %s\n", argv[1]);
	return 2;
}
