// Ways through what the kernel does for whoever asks: programs that it starts outside, devices, terminals and
// the network's configuration.
#include "escape.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/netlink.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

/* core DIRECTORY: lets the kernel write the image of a crash there */
static const char *core(void)
{
	struct rlimit limit;
	pid_t child = fork();
	int status;

	if (child == 0) {
		getrlimit(RLIMIT_CORE, &limit);
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_CORE, &limit);
		if (chdir(argument[0]))
			_exit(1);
		/* A signal to oneself, which is not decided. */
		__builtin_trap();
	}
	if (waitpid(child, &status, 0) < 0 || !WIFSIGNALED(status) || !WCOREDUMP(status))
		return NULL;
	return "the kernel wrote a core file";
}

/* modprobe PROGRAM: asks for what only a module has: a family of sockets, a kind of program */
static const char *modprobe(void)
{
	char *const words[] = {argument[0], NULL};
	int status;

	socket(9 /* X.25 */, SOCK_SEQPACKET, 0);
	socket(AF_INET, SOCK_SEQPACKET, 132 /* SCTP */);
	if (fork() == 0)
		_exit(execv(argument[0], words));
	wait(&status);
	return NULL;
}

/* request-key: asks for a key that nobody has, so that the kernel starts /sbin/request-key to make it */
static const char *request_key(void)
{
	syscall(SYS_keyctl, 0 /* GET_KEYRING_ID */, -2 /* the process's */, 1);
	syscall(SYS_keyctl, 1 /* JOIN_SESSION_KEYRING */, NULL);
	for (int keyring = 0; keyring >= -5; keyring--)
		if (syscall(SYS_request_key, "user", "escape", "called out", keyring) >= 0)
			return "it was given a key";
	return NULL;
}

/* uevent: tells udev's listeners of a device, as the kernel and udev do */
static const char *uevent(void)
{
	static const char message[] =
	    "add@/devices/escape\0ACTION=add\0DEVPATH=/devices/escape\0SUBSYSTEM=mem";
	int fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_KOBJECT_UEVENT);

	for (unsigned int groups = 1; groups <= 2; groups++) {
		struct sockaddr_nl to = {.nl_family = AF_NETLINK, .nl_groups = groups};

		if (sendto(fd, message, sizeof(message), 0, (void *)&to, sizeof(to)) > 0)
			return "it sent an event";
	}
	return NULL;
}

/* interface: configures one by ioctl */
static const char *interface(void)
{
	struct ifreq request = {.ifr_name = "lo", .ifr_mtu = 60000};

	return ioctl(socket(AF_INET, SOCK_DGRAM, 0), 0x8922 /* SIOCSIFMTU */, &request)
		   ? NULL
		   : "it changed an interface";
}

/* sniff: every packet of every interface */
static const char *sniff(void)
{
	int fd = socket(AF_PACKET, SOCK_RAW, 0x0300 /* ETH_P_ALL, network order */);

	if (fd < 0)
		fd = socket(AF_INET, SOCK_RAW, 6);
	return fd < 0 ? NULL : "it sees packets of others";
}

/* faults: handles page faults by a descriptor of the device instead of the system call */
static const char *faults(void)
{
	int fd = ioctl(open("/dev/userfaultfd", O_RDWR), 0xaa00 /* USERFAULTFD_IOC_NEW */, O_CLOEXEC);

	return fd < 0 ? NULL : "it handles page faults";
}

static const char *superblock(int fd)
{
	unsigned char magic[2] = {0};

	return pread(fd, magic, 2, 1080) == 2 && magic[0] == 0x53 && magic[1] == 0xef ? "it read the disk"
										      : NULL;
}

/* disk DEVICE DIRECTORY: by its node, and by one of its own making */
static const char *disk(void)
{
	const char *read = superblock(open(argument[0], O_RDONLY));
	struct stat node;
	char path[256];

	if (read || stat(argument[0], &node))
		return read;
	snprintf(path, sizeof(path), "%s/disk", argument[1]);
	mknod(path, S_IFBLK | 0600, node.st_rdev);
	read = superblock(open(path, O_RDONLY));
	unlink(path);
	return read;
}

/* loop FILE: a disk of its own making, which it could then mount */
static const char *loop(void)
{
	int device = ioctl(open("/dev/loop-control", O_RDWR), 0x4c82 /* LOOP_CTL_GET_FREE */);
	int file = open(argument[0], O_RDONLY), fd;
	char path[32];

	snprintf(path, sizeof(path), "/dev/loop%d", device);
	fd = open(path, O_RDONLY);
	if (fd < 0 || ioctl(fd, 0x4c00 /* LOOP_SET_FD */, file))
		return NULL;
	ioctl(fd, 0x4c01 /* LOOP_CLR_FD */, 0);
	return "it has a loop device";
}

/* release-agent DIRECTORY: a program that the kernel starts when a cgroup of the first version is empty */
static const char *release_agent(void)
{
	char path[256];
	int agent, done;

	if (mount("none", argument[0], "cgroup", 0, "none,name=escape"))
		return NULL;
	snprintf(path, sizeof(path), "%s/release_agent", argument[0]);
	agent = open(path, O_WRONLY);
	done = write(agent, "/nowhere", 8) == 8;
	close(agent);
	umount(argument[0]);
	return done ? "it named a release agent" : NULL;
}

/* type TERMINAL: for whoever reads it */
static const char *type(void)
{
	int fd = open(argument[0], O_RDWR | O_NOCTTY);

	return ioctl(fd, TIOCSTI, "x") ? NULL : "it typed on a terminal";
}

/*
 * terminal-signal TERMINAL: a terminal whose descriptor has no owner yet signals the process group in its
 * foreground, as often as somebody types there. F_SETFL and FIOASYNC both ask it to.
 */
static const char *terminal_signal(void)
{
	int on = 1;

	for (int i = 0; i < 2; i++) {
		int fd = open(argument[0], O_RDWR | O_NOCTTY);

		fcntl(fd, F_SETSIG, SIGWINCH);
		if (i ? ioctl(fd, FIOASYNC, &on) : fcntl(fd, F_SETFL, O_ASYNC))
			continue;
		usleep(1500 * 1000);
	}
	return NULL;
}

const struct way kernel_ways[] = {
    {"core", core},
    {"modprobe", modprobe},
    {"request-key", request_key},
    {"uevent", uevent},
    {"interface", interface},
    {"sniff", sniff},
    {"faults", faults},
    {"disk", disk},
    {"loop", loop},
    {"release-agent", release_agent},
    {"type", type},
    {"terminal-signal", terminal_signal},
    {NULL, NULL},
};
