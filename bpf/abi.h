/* SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later */
/*
 * The kernel border: every number and struct that BPF programs, the addon, jail-enter and
 * TypeScript share. src/abi.ts is generated from this file's BTF (npm run generate).
 *
 * Change JR_LAYOUT whenever a struct, a map or the meaning of a number changes: programs and maps
 * outlive the process that pinned them, and a launcher must refuse pins it does not understand.
 */
#ifndef JAILRUN_ABI_H
#define JAILRUN_ABI_H

#ifdef __BPF__
typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef int __s32;
typedef unsigned long long __u64;
#else
#include <linux/types.h>
#endif

enum jr_limit {
	JR_LAYOUT = 10,
	JR_MAX_PODS = 32768,
	JR_MAX_ROLES = 32768,
	JR_MAX_DEPTH = 128, /* components between a file and its super block's root */
	JR_MAX_NAME = 120,  /* bytes of one component in a rule; longer names in the tree match no literal */
	JR_MAX_STATES = 65536,     /* a role's automaton */
	JR_MAX_GLOB_ROWS = 8192,   /* a role's table of wildcards */
	JR_MAX_TARGET = 512,       /* bytes of a path in a denial; longer ones lose their head */
	JR_COMM = 16,              /* TASK_COMM_LEN */
	JR_RING_BYTES = 1 << 18,   /* the host's ring of denials */
	JR_DEVICES = 1 << 17,      /* entries of device_epochs */
	JR_MAJOR_STEP = 81621,     /* see there */
	JR_KEPT_DENIALS = 256,     /* a supervised pod's own record of its first denials */
	JR_MAX_KEPT = 1 << 16,     /* the same, of all pods together */
	JR_MAX_IPC = 1 << 16,      /* objects of System V that jails made */
	JR_MAX_WATCHED = 4096,     /* cgroups whose tasks are enrolled */
	JR_MAX_EXECUTABLES = 8192, /* entries of `executables`, two for each file */
	JR_MAX_CONTAINERS = 16384,
	JR_MAX_CLAIMS = 8192,   /* entries of `claims`, two for each role that files may claim */
	JR_MAX_OWNERS = 1024,   /* users whose files may */
	JR_MAX_READINGS = 1024, /* tasks that execute programs, and look for claims, at the same instant */
	JR_MAX_CLAIM = 60,      /* bytes of a role's name in an extended attribute, with a NUL */
};

/* What a files, exec or network section says. */
enum jr_scope {
	JR_SCOPE_NONE = 0,
	JR_SCOPE_RULES = 1,
	JR_SCOPE_ANY = 2,
};

enum jr_role_flag {
	JR_ROLE_HIDES = 1,   /* a rule gives JR_ACCESS_HIDDEN: without it nobody is asked about stat */
	JR_ROLE_SOCKETS = 2, /* it has unix: rules, so sockets are decided by JR_ACCESS_CONNECT and _BIND */
	JR_ROLE_NO_JIT = 4,  /* no anonymous memory becomes executable */
	JR_ROLE_KILLS = 8,   /* what is denied ends the process that tried it */
};

/*
 * Bits of a role's powers. The first are the kernel's capabilities with the kernel's numbers, which their
 * use is decided by; those behind them are cut out of CAP_SYS_ADMIN, or stand for what no capability guards.
 * The names that policies have for them are in src/profiles/powers.ts.
 */
enum jr_power {
	JR_POWER_CHOWN = 0,
	JR_POWER_DAC_OVERRIDE = 1,
	JR_POWER_DAC_READ_SEARCH = 2,
	JR_POWER_FOWNER = 3,
	JR_POWER_FSETID = 4,
	JR_POWER_KILL = 5,
	JR_POWER_SETGID = 6,
	JR_POWER_SETUID = 7,
	JR_POWER_SETPCAP = 8,
	JR_POWER_LINUX_IMMUTABLE = 9,
	JR_POWER_NET_BIND_SERVICE = 10,
	JR_POWER_NET_BROADCAST = 11,
	JR_POWER_NET_ADMIN = 12,
	JR_POWER_NET_RAW = 13,
	JR_POWER_IPC_LOCK = 14,
	JR_POWER_IPC_OWNER = 15,
	JR_POWER_SYS_MODULE = 16,
	JR_POWER_SYS_RAWIO = 17,
	JR_POWER_SYS_CHROOT = 18,
	JR_POWER_SYS_PTRACE = 19,
	JR_POWER_SYS_PACCT = 20,
	JR_POWER_SYS_ADMIN = 21,
	JR_POWER_SYS_BOOT = 22,
	JR_POWER_SYS_NICE = 23,
	JR_POWER_SYS_RESOURCE = 24,
	JR_POWER_SYS_TIME = 25,
	JR_POWER_SYS_TTY_CONFIG = 26,
	JR_POWER_MKNOD = 27,
	JR_POWER_LEASE = 28,
	JR_POWER_AUDIT_WRITE = 29,
	JR_POWER_AUDIT_CONTROL = 30,
	JR_POWER_SETFCAP = 31,
	JR_POWER_MAC_OVERRIDE = 32,
	JR_POWER_MAC_ADMIN = 33,
	JR_POWER_SYSLOG = 34,
	JR_POWER_WAKE_ALARM = 35,
	JR_POWER_BLOCK_SUSPEND = 36,
	JR_POWER_AUDIT_READ = 37,
	JR_POWER_PERFMON = 38,
	JR_POWER_BPF = 39,
	JR_POWER_CHECKPOINT_RESTORE = 40,
	JR_POWER_FUTURE = 41, /* capabilities that this version does not know */
	JR_POWER_MOUNT = 42,
	JR_POWER_NAMESPACES = 43,
	JR_POWER_HOSTNAME = 44,
	JR_POWER_SWAP = 45,
	JR_POWER_QUOTA = 46,
	JR_POWER_FANOTIFY = 47,
	JR_POWER_KEYS = 48,
	JR_POWER_SIGNAL = 49, /* tasks outside the pod */
	JR_POWER_TRACE = 50,  /* the same */
	JR_POWER_IPC = 51,    /* objects that were not made in the pod */
	JR_POWER_IO_URING = 52,
	JR_POWER_USERFAULTFD = 53,
	JR_POWER_RAW_DISK = 54,
	JR_POWER_CGROUP = 55,
};

/* What an operation asks of a path, and what a rule grants. */
enum jr_access {
	JR_ACCESS_READ = 1,
	JR_ACCESS_WRITE = 2,
	JR_ACCESS_EXEC = 4,
	JR_ACCESS_HIDDEN = 8,   /* denied expressly: not even stat */
	JR_ACCESS_CONNECT = 16, /* to a unix socket, or to send to it; only under JR_ROLE_SOCKETS */
	JR_ACCESS_BIND = 32,    /* to make a unix socket; the same */
	JR_ACCESS_MAP = 64,     /* a library: may be mapped executable, as what JR_ACCESS_EXEC grants may */
};

enum jr_task_flag {
	/* What enrolls is jail-enter: the next exec that succeeds is the command's. */
	JR_TASK_ENTRY = 1,
	/* Deny nothing, report everything. */
	JR_TASK_AUDIT = 2,
};

/* Keys of a role's rule map. `state` is an automaton state except where said. */
enum jr_key_kind {
	/*
	 * state = the file system's s_dev, `name` = its epoch, four bytes in the host's order: where a walk
	 * from its root starts.
	 */
	JR_KEY_DEVICE = 1,
	JR_KEY_NAME = 2,     /* the component `name` follows `state` */
	JR_KEY_ANY_NAME = 3, /* any other component follows `state` */
	JR_KEY_GLOB = 6,     /* a component follows `state` whose glob match is `length` */
	JR_KEY_LENGTHS =
	    4, /* state = enum jr_space: struct jr_lengths, of the prefixes that its rules have */
	/*
	 * state = enum jr_space, `length` = the prefix's, `name` = 16 bytes of address, IPv4 in the first
	 * four: the rules for it are JR_KEY_PORTS entries, `access` many, the first of them `state`.
	 */
	JR_KEY_PREFIX = 5,
	/*
	 * state = a number. The ports from `state` >> 16 to `state` & 0xffff; `access` is 1 where `rule`
	 * grants them. The entries of a prefix go upwards and do not overlap. Of JR_KEY_BIND's port 0 see
	 * enum jr_space.
	 */
	JR_KEY_PORTS = 7,
	/*
	 * state = enum jr_space, 0 or JR_SPACE_CONNECT. Abstract names of unix sockets: from the row `glob`
	 * of the wildcards on a name leads to its match, and `length` = the match to the entry that decides
	 * it. `access` is 1 where `rule` grants it; with length 0, a name of the kernel's choice.
	 */
	JR_KEY_ABSTRACT = 8,
};

/*
 * Each of these bits halves the rules for addresses. To listen without a port, which lets the kernel choose
 * one, is to bind port 0: it is granted where all ports are.
 */
enum jr_space {
	JR_SPACE_CONNECT = 1, /* or bind */
	JR_SPACE_UDP = 2,     /* or TCP */
	JR_SPACE_INET6 = 4,   /* or IPv4 */
};

enum jr_rule_flag {
	JR_RULE_LEAF = 1,      /* nothing below changes the answer: the walk ends here */
	JR_RULE_HAS_ANY = 2,   /* a JR_KEY_ANY_NAME edge leaves this state */
	JR_RULE_HAS_NAMES = 4, /* and JR_KEY_NAME edges */
};

/*
 * What was denied, one number for each LSM hook that can deny. The kernel's name of the hook is
 * the rest of the constant's name in lower case.
 */
enum jr_hook {
	JR_HOOK_FILE_OPEN = 1,
	JR_HOOK_BPRM_CHECK_SECURITY = 2,
	JR_HOOK_SOCKET_CREATE = 3,
	JR_HOOK_SOCKET_BIND = 4,
	JR_HOOK_SOCKET_CONNECT = 5,
	JR_HOOK_SOCKET_LISTEN = 6,
	JR_HOOK_SOCKET_SENDMSG = 7,
	JR_HOOK_UNIX_STREAM_CONNECT = 8,
	JR_HOOK_UNIX_MAY_SEND = 9,
	JR_HOOK_PATH_MKNOD = 10,
	JR_HOOK_PATH_MKDIR = 11,
	JR_HOOK_PATH_SYMLINK = 12,
	JR_HOOK_PATH_LINK = 13,
	JR_HOOK_PATH_UNLINK = 14,
	JR_HOOK_PATH_RMDIR = 15,
	JR_HOOK_PATH_RENAME = 16,
	JR_HOOK_PATH_TRUNCATE = 17,
	JR_HOOK_PATH_CHMOD = 18,
	JR_HOOK_PATH_CHOWN = 19,
	JR_HOOK_BPF = 20,
	JR_HOOK_TASK_ALLOC = 21,
	JR_HOOK_INODE_GETATTR = 22,
	JR_HOOK_INODE_SETATTR = 23,
	JR_HOOK_INODE_SETXATTR = 24,
	JR_HOOK_INODE_REMOVEXATTR = 25,
	JR_HOOK_INODE_SET_ACL = 26,
	JR_HOOK_INODE_REMOVE_ACL = 27,
	JR_HOOK_INODE_GETXATTR = 28,
	JR_HOOK_INODE_LISTXATTR = 29,
	JR_HOOK_INODE_GET_ACL = 30,
	JR_HOOK_INODE_READLINK = 31,
	JR_HOOK_INODE_FOLLOW_LINK = 32,
	JR_HOOK_INODE_FILE_SETATTR = 33,
	JR_HOOK_INODE_FILE_GETATTR = 34,
	JR_HOOK_PATH_CHROOT = 35,
	JR_HOOK_PATH_NOTIFY = 36,
	JR_HOOK_FILE_RECEIVE = 37,
	JR_HOOK_FILE_IOCTL = 38,
	JR_HOOK_FILE_IOCTL_COMPAT = 39,
	JR_HOOK_SOCKET_SETSOCKOPT = 40,
	JR_HOOK_CAPABLE = 41,
	JR_HOOK_BPRM_CREDS_FROM_FILE = 42,
	JR_HOOK_MMAP_FILE = 43,
	JR_HOOK_FILE_MPROTECT = 44,
	JR_HOOK_PTRACE_ACCESS_CHECK = 45,
	JR_HOOK_PTRACE_TRACEME = 46,
	JR_HOOK_TASK_KILL = 47,
	JR_HOOK_TASK_SETNICE = 48,
	JR_HOOK_TASK_SETIOPRIO = 49,
	JR_HOOK_TASK_SETSCHEDULER = 50,
	JR_HOOK_TASK_SETRLIMIT = 51,
	JR_HOOK_TASK_MOVEMEMORY = 52,
	JR_HOOK_FILE_FCNTL = 53,
	JR_HOOK_KEY_PERMISSION = 54,
	JR_HOOK_IPC_PERMISSION = 55,
	JR_HOOK_SHM_ALLOC_SECURITY = 56,
	JR_HOOK_SHM_ASSOCIATE = 57,
	JR_HOOK_SHM_SHMCTL = 58,
	JR_HOOK_SEM_ALLOC_SECURITY = 59,
	JR_HOOK_SEM_ASSOCIATE = 60,
	JR_HOOK_SEM_SEMCTL = 61,
	JR_HOOK_MSG_QUEUE_ALLOC_SECURITY = 62,
	JR_HOOK_MSG_QUEUE_ASSOCIATE = 63,
	JR_HOOK_MSG_QUEUE_MSGCTL = 64,
	JR_HOOK_PERF_EVENT_OPEN = 65,
	JR_HOOK_SYSLOG = 66,
	JR_HOOK_KERNEL_MODULE_REQUEST = 67,
	JR_HOOK_USERNS_CREATE = 68,
	JR_HOOK_INODE_INIT_SECURITY_ANON = 69,
	JR_HOOK_INODE_CREATE = 70,
	JR_HOOK_INODE_UNLINK = 71,
	JR_HOOK_SB_MOUNT = 72,
	JR_HOOK_SB_UMOUNT = 73,
	JR_HOOK_SB_PIVOTROOT = 74,
	JR_HOOK_MOVE_MOUNT = 75,
};

enum jr_operation {
	JR_OPERATION_READ = 1,
	JR_OPERATION_WRITE = 2,
	JR_OPERATION_EXEC = 3,
	JR_OPERATION_CREATE = 4,
	JR_OPERATION_BIND = 5,
	JR_OPERATION_CONNECT = 6,
	JR_OPERATION_LISTEN = 7,
	JR_OPERATION_SEND = 8,
	JR_OPERATION_SOCKET = 9,
	JR_OPERATION_FORK = 10,
	JR_OPERATION_STAT = 11, /* to learn anything of the object: only a deny rule forbids it */
	JR_OPERATION_RING = 12, /* to use an io_uring ring that another process made */
	JR_OPERATION_USE = 13,  /* a power, which jr_denial.power names */
	JR_OPERATION_MAP = 14,  /* to make a part of a file, or of anonymous memory, executable */
};

/* Why, where the rule alone does not tell. */
enum jr_reason {
	JR_REASON_RULE = 0,           /* `rule` decided; 0 means that no rule grants it */
	JR_REASON_UNKNOWN_DEVICE = 1, /* a file system that was not there when the jail began */
	JR_REASON_TOO_DEEP = 2,       /* more than JR_MAX_DEPTH components */
	JR_REASON_DISCONNECTED = 3,   /* no way from the object up to its file system's root */
	JR_REASON_BROKEN = 4,         /* a look-up that cannot fail has failed: doubt denies */
	JR_REASON_FAMILY = 5,         /* a socket family, type or protocol that no rule can name */
	JR_REASON_MORE_RIGHTS = 6, /* the new place grants more than the old one, to it or to what it holds */
	JR_REASON_TOO_WIDE = 7,    /* speaks of a whole mount or file system, and no rule does */
	JR_REASON_MOVING = 8,      /* renamed again and again while its name was read */
	JR_REASON_UNCLEAR = 9,     /* an address by which the kernel could mean several hosts */
	JR_REASON_CHOSEN_NAME = 10, /* an abstract name of the kernel's choice */
	JR_REASON_ROUTED = 11,      /* would name hosts for a packet to go by */
	JR_REASON_LINK = 12,        /* a rule's own path would become a symbolic link, which rules follow */
	JR_REASON_OWN = 13,         /* it belongs to what holds the jails: no role may */
	JR_REASON_JIT = 14,         /* the role says `jit: none` */
	JR_REASON_NAMELESS = 15,    /* a memfd or a deleted file, which no path leads to */
	JR_REASON_CLAIM = 16,       /* it claims a role that files may not claim, or two roles */
	JR_REASON_UNREADABLE = 17,  /* what it claims cannot be read */
};

/*
 * bpf(JR_PROBE_COMMAND, &(struct jr_probe){...}, sizeof) tells a task what holds it. The kernel
 * knows no such command and answers EINVAL; our lsm/bpf program answers first for a jailed task.
 */
enum jr_probe_answer {
	JR_PROBE_COMMAND = 0x6a6c, /* below bit 16, which 7.2 takes for a flag */
	JR_PROBE_THIS_POD = 114,   /* EALREADY: jailed, in the pod that was asked for */
	JR_PROBE_OTHER_POD = 18,   /* EXDEV: jailed, in another pod */
};

struct jr_probe {
	__u64 pod;
};

/* meta[0]: what is pinned here. */
struct jr_meta {
	__u32 layout;   /* JR_LAYOUT */
	__u32 hooks;    /* number of pinned links */
	__u8 build[16]; /* first bytes of the SHA-256 of the BPF object */
	__u32 fmod_ret; /* 1: attached to security_*, 0: through the BPF LSM */
	/* The launcher's own directory (/run/jailrun), by its device and inode: no jailed task may touch it.
	 */
	__u32 run_device;
	__u64 run_inode;
};

/*
 * device_epochs: how many file systems that had this device number are gone; the kernel gives the number of
 * an unmounted one to the next. Entry 0 counts those of all devices: device 0:0 is no file system's.
 *
 * The index is (device + major * JR_MAJOR_STEP) % JR_DEVICES. Devices without a major (tmpfs, overlay, proc)
 * have small minors; the step puts the block devices that Linux has names for 1,300 or more apart, and 7,400
 * from 0. Where two share an entry, an end of one is taken for the other's too, which only denies.
 */

/*
 * pods: what holds the tasks of a pod. The map cgroup_enrollment has a pod's number for a cgroup's: a task
 * that executes a program there is enrolled in it. watched_cgroups has one, too: what gets there or below it
 * is enrolled at once.
 */
struct jr_pod {
	__u64 number; /* the entry's own key: see read_held() */
	__u64 role;   /* key of `roles` and `role_rules` */
	__u32 flags;  /* enum jr_task_flag */
	__u32 next_flags;
	__u64 next_role;
	__u64 since; /* the state of the policies from which on the next ones count */
};

/* What jr_sweep_tasks does with the tasks that it comes by. */
enum jr_sweep {
	/* Enrolls what belongs into a jail; without it only says what it would do. */
	JR_SWEEP_ENROLL = 1,
	/* Every task that it comes by, and whoever has its memory, belongs into the request's pod. */
	JR_SWEEP_PROCESS = 2,
	/* And so do children of what is in that pod. */
	JR_SWEEP_CHILDREN = 4,
	/* A process with all that has its memory goes from pod request_from to the request's pod, ... */
	JR_SWEEP_STACK = 8,
	/* ... and, once no program runs that began before that, takes over the role of that. */
	JR_SWEEP_RENEW = 16,
};

enum jr_swept_what {
	JR_SWEPT_JAILED = 1,   /* it was before; sweeps say it only under JR_SWEEP_PROCESS */
	JR_SWEPT_ENROLLED = 2, /* or, when the sweep only looks, would be */
	JR_SWEPT_FAILED = 3,   /* there is no memory for its jail, or its pod is gone */
	JR_SWEPT_TRACED = 4,   /* not jailed, and does what something wants that is jailed or will be */
};

/* What jr_sweep_tasks and jr_list_tasks write, one for each task that they have something to say of. */
struct jr_swept {
	__u64 pod;
	__u32 pid;
	__u32 tid;
	__u32 tracer; /* the process that traces it, of JR_SWEPT_TRACED */
	__u32 what;   /* enum jr_swept_what */
};

/*
 * The launcher's word to the programs. Counting `policy` up changes the roles of all pods that have it as
 * `since`, at once.
 */
struct jr_variables {
	__u64 policy;
	__u32 watched;        /* entries of watched_cgroups; 0: nobody looks there */
	__u32 executables;    /* entries of `executables`; the same */
	__u64 request_pod;    /* the pod that a sweep enrolls in; 0: none */
	__u64 request_from;   /* the pod that JR_SWEEP_STACK takes a process from */
	__u64 request_cgroup; /* what is in this cgroup or below it belongs into the request's pod; 0: none */
	__u64 request_time;   /* nanoseconds since boot: what began later has a number that was another's */
	__u64 memory;         /* the programs' own: the memory of the process that is enrolled */
	__u32 sweep;          /* enum jr_sweep */
	__u32 missed;         /* the programs' own: tasks that could not be enrolled */
	__u32 containers;     /* entries of `containers`; 0: nobody looks there */
	__u32 xattrs;         /* 1: files may claim roles; 0: nobody looks at their extended attributes */
	__u32 refused;        /* the programs' own: programs that were not started for what they claim */
	__u32 pad;
};

/*
 * claims: the pod of whoever executes a file that claims a role, by the role's name (user.jailrun.role) or by
 * its number (user.bpfjailer.role_id); the other one is zero.
 */
struct jr_claim {
	__u32 id;
	char role[JR_MAX_CLAIM]; /* unused bytes are zero */
};

/*
 * executables: the pod in which whoever executes a file is enrolled. A file has two keys, by its inode and by
 * its place, which a package's new version of it takes. Without a name `inode` is the file's, with one it is
 * that of the directory that has it by this name.
 */
struct jr_executable {
	__u64 inode;
	__u32 device;
	__u32 generation;
	char name[JR_MAX_NAME]; /* unused bytes are zero */
};

/*
 * containers: the pod of a container, by its cgroup's id. Its runtime works in that cgroup, too, until it
 * executes the container's command, so only such an exec is enrolled: one by a task whose root directory is
 * not the one that the runtime began with, or, once there has been one, that is in a mount namespace which is
 * neither the runtime's nor the host's: what is in a container can mount what it has been given on its root.
 * Where the container has the runtime's root directory as its own, every exec is.
 */
struct jr_container {
	__u64 pod;
	__u64 begun; /* there was an exec with another root directory */
	__u64 runtime_inode;
	__u64 root_inode;
	__u32 runtime_device;
	__u32 root_device;
	__u32 runtime_generation;
	__u32 root_generation;
	__u64 runtime_mounts; /* a mount namespace, as mounts_number() tells it */
	__u64 host_mounts;
};

/* watched_names: the pod that a cgroup enrolls into as soon as it is made, by its parent's id and its name.
 */
struct jr_cgroup_name {
	__u64 parent;
	char name[JR_MAX_NAME]; /* unused bytes are zero */
};

/* What jr_describe_files writes, one for each descriptor of a process: what its file is in `executables`. */
struct jr_described {
	__u64 inode;
	__u64 parent;
	__u64 mounts; /* of a namespace in nsfs: the number of this mount namespace; 0: it is no namespace */
	__u32 device;
	__u32 generation;
	__u32 parent_generation;
	__u32 fd;
	char name[JR_MAX_NAME];
};

/* roles: a compiled role. Its key is a digest of its compiled form, so equal roles share it. */
struct jr_role {
	__u32 id;     /* the number that the policy gives it; 0: it is not whole, and grants nothing */
	__u8 files;   /* enum jr_scope */
	__u8 exec;    /* enum jr_scope */
	__u8 network; /* enum jr_scope */
	__u8 flags;   /* enum jr_role_flag */
	__u64 powers; /* a bit for each of enum jr_power */
};

/* The key of a role's rule map; unused bytes are zero. */
struct jr_rule_key {
	__u32 state;
	__u16 kind;   /* enum jr_key_kind */
	__u16 length; /* bytes of name */
	char name[JR_MAX_NAME];
};

struct jr_rule {
	__u32 state;        /* the automaton state this edge leads to */
	__u32 access;       /* enum jr_access: what the deepest rule so far grants */
	__u32 rule;         /* number of that rule in the role's list, from 1; 0: none. See also stack.ts */
	__u32 exec_rule;    /* the same for exec, which has its own list */
	__u32 connect_rule; /* and for unix sockets */
	__u32 bind_rule;
	__u32 flags; /* enum jr_rule_flag */
	__u32 glob;  /* the row from which the next component's bytes lead to its match; 0: none */
};

/* The value of a JR_KEY_LENGTHS key, as large as struct jr_rule. Bit n is set where there are prefixes of n
 * bits. */
struct jr_lengths {
	__u32 longest; /* 128 has no bit */
	__u32 bits[4];
	__u32 pad[3];
};

/*
 * A role's wildcards: from its first byte to its last a component leads from row to row. Row 0 leads
 * nowhere and matches nothing.
 */
struct jr_glob_row {
	__u16 next[256];
	__u32 match; /* of a component that ends here: which JR_KEY_GLOB edge it takes; 0: none */
	__u32 pad;
};

/* pod_counters: they outlive the tasks of a pod until the pod is removed. */
struct jr_counters {
	__u64 denials; /* also those that audit mode let through */
	__u64 lost;    /* denials that should have been kept and were not */
	__u64 kept;    /* slots of pod_denials that were asked for */
	__u32 keep;    /* how many there are, from the first; 0: none is kept, and none is lost */
	__u32 pad;
};

/* pod_denials: a pod's own record, which no other reader can take away. */
struct jr_denial_key {
	__u64 pod;
	__u64 slot; /* from 1 */
};

/* One denial, in the pod's record and in the host's ring. */
struct jr_denial {
	__u64 time;     /* nanoseconds since boot, CLOCK_BOOTTIME */
	__u64 sequence; /* the pod's count of denials, from 1 */
	__u64 repeats;  /* how often its task was denied the same again, with nothing else in between */
	__u64 pod;
	__u64 role;
	__u64 start_time; /* the process's, nanoseconds since boot; tells a reused pid */
	__u32 pid;
	__u32 tid;
	__u32 ppid;
	__u32 uid;
	__s32 error;     /* errno, positive */
	__u32 rule;      /* see struct jr_rule */
	__u16 hook;      /* enum jr_hook */
	__u16 operation; /* enum jr_operation */
	__u16 reason;    /* enum jr_reason */
	__u16 audit;     /* 1: let through */
	__u32 device;    /* s_dev of `path` */
	__u16 family;    /* AF_*, 0 where the target is a path */
	__u16 protocol;  /* IPPROTO_* */
	__u16 port;
	__u16 path_start; /* offset of the first byte of `path` that counts */
	__u32 power;      /* enum jr_power, for JR_OPERATION_USE */
	__u32 subject;    /* what it was wanted for: the process it is done to, otherwise a system call; 0:
			     unknown */
	__u32 pad;        /* what follows is compared by eight bytes */
	__u8 address[16]; /* network byte order; IPv4 in the first four bytes */
	char comm[JR_COMM];
	/*
	 * From the file system's root, right-aligned, NUL-terminated. With family AF_UNIX and device 0 an
	 * abstract name, which may hold NULs.
	 */
	char path[JR_MAX_TARGET];
};

/*
 * launcher -> jailrun front, one message on descriptor JR_PLAN_FD with JR_PLAN_FDS descriptors
 * attached, when a pod is ready for its command.
 */
enum jr_plan_number {
	JR_PLAN_FD = 3,      /* where the launcher finds its end of the socket pair */
	JR_PLAN_REPORT = 4,  /* where it finds the descriptor that --report-fd names */
	JR_PLAN_EXEC = 1,    /* flag: become the command, leave no supervisor behind */
	JR_PLAN_JSON = 2,    /* flag: --json */
	JR_PLAN_NO_GAIN = 4, /* flag: set-id programs run without changing who one is */
	JR_PLAN_PATH = 1024, /* bytes of a path in a plan, NUL included */
};

/* The numbers of pods that have no cgroup of their own; those of others are their cgroups' ids. */
enum jr_enrolled_pod {
	JR_ENROLLED_POD_BIT = 62,
};

/* Order of the descriptors that come with a plan. */
enum jr_plan_fd {
	JR_PLAN_CGROUP = 0,     /* the pod's cgroup directory */
	JR_PLAN_STATE = 1,      /* the pod's state file; its flock says that somebody still needs the pod */
	JR_PLAN_ENROLLMENT = 2, /* map cgroup_enrollment */
	JR_PLAN_PODS = 3,       /* map pods */
	JR_PLAN_COUNTERS = 4,   /* map pod_counters */
	JR_PLAN_DENIALS = 5,    /* map pod_denials */
	JR_PLAN_FDS = 6,
};

struct jr_plan {
	__u32 layout;  /* JR_LAYOUT */
	__u32 flags;   /* JR_PLAN_EXEC, JR_PLAN_JSON, JR_PLAN_NO_GAIN */
	__u32 command; /* index of the command in the front's own argv: bytes survive */
	__u32 report;  /* the front's descriptor for errors and reports; 0: standard error */
	__u64 pod;     /* also the cgroup's id, and the key of its entries in the maps */
	char cgroup[JR_PLAN_PATH];
	char state[JR_PLAN_PATH];
};

/*
 * A remembered start: what the launcher leaves below /run/jailrun/starts when it has made a pod for a command
 * (src/launcher/remembered.ts), so that the front can do the same again without it, as long as all that
 * decided about it is as it was (native/remembered.c).
 *
 * A struct jr_start; the first line of the pod's state file, with gaps where the cgroup, the name and the
 * command go, all in JSON's form; then one struct jr_sight after the other. Each part, and what follows the
 * struct in a sight, is filled up to four bytes with zeros.
 */
enum jr_start_number {
	JR_START_FORMAT = 2,    /* another one with each change of what follows, or of its meaning */
	JR_START_MAX = 1 << 24, /* bytes of such a file */
};

struct jr_start {
	__u32 format;   /* JR_START_FORMAT */
	__u32 layout;   /* JR_LAYOUT */
	__u32 size;     /* of the file, in bytes */
	__u32 checksum; /* FNV-1a of the bytes of the file's name, then of the 32-bit words behind this one */
	__u64 role;     /* key of `roles` */
	__u32 flags;    /* enum jr_task_flag */
	__u32 plan;     /* flags of struct jr_plan, without JR_PLAN_EXEC */
	/* Bytes of the text before each gap, and of that behind the last one. */
	__u32 to_cgroup;
	__u32 to_name;
	__u32 to_command;
	__u32 to_end;
	__u8 meta[sizeof(struct jr_meta)];
};

/*
 * A remembered container: what the launcher leaves there when it has jailed one (src/launcher/template.ts),
 * so that the front can jail the next one like it (native/container.c). What differs between the two has
 * symbols and gaps here: file systems are numbered as the container's mount table comes by them, and
 * components of mounts' roots that are each container's own are variables, numbered in the order of their
 * bytes.
 *
 * A struct jr_template; the mount table in its normal form (native/table.h); the first line of the pod's
 * state file as struct jr_piece, one after the other; the role's entries; the rows of its wildcards; then one
 * struct jr_sight after the other, of which those of links have paths from the container's root directory on.
 * Each part, and what follows the struct in a piece, is filled up to four bytes with zeros.
 */
enum jr_template_number {
	JR_TEMPLATE_FORMAT = 0x101, /* no struct jr_start has it; another one with each change */
	JR_TEMPLATE_SLOTS = 16,     /* of containers with the same mounts and other links */
	JR_MAX_VARIABLES = 16,
	/* So many hexadecimal digits and hyphens in a row are a container's own, ... */
	JR_VARIABLE_LENGTH = 32,
	/* ... and so many such digits where they are all of a component. */
	JR_VARIABLE_WORD = 8,
	JR_MAX_DIFFERENT = 256, /* mounts of a container, and file systems of them */
};

struct jr_template {
	__u32 format;   /* JR_TEMPLATE_FORMAT */
	__u32 layout;   /* JR_LAYOUT */
	__u32 size;     /* of the file, in bytes */
	__u32 checksum; /* as in struct jr_start */
	__u64 digest;   /* of a role without entries, which is the same for each container */
	__u8 role[sizeof(struct jr_role)];
	__u8 meta[sizeof(struct jr_meta)];
	__u32 flags;  /* enum jr_task_flag */
	__u32 keep;   /* denials of the pod that are kept */
	__u32 table;  /* bytes of the mount table's normal form */
	__u32 pieces; /* bytes of the first line's pieces */
	__u32 entries;
	__u32 rows;
};

/* What stands in the state file behind a piece of text; numbers are decimal. */
enum jr_gap {
	JR_GAP_NONE = 0,
	JR_GAP_DIGEST = 1,
	JR_GAP_NAME = 2, /* the pod's */
	JR_GAP_ID = 3,   /* the container's */
	JR_GAP_CGROUP = 4,
	JR_GAP_CGROUP_ID = 5,
	JR_GAP_ROOT_DEVICE = 6, /* of the container's root directory, as stat(2) has it */
	JR_GAP_ROOT_INODE = 7,
	JR_GAP_MOUNT = 8,     /* the id of mount `index` of those in the normal form */
	JR_GAP_PARENT = 9,    /* its parent's */
	JR_GAP_DEVICE = 10,   /* of file system `index`, as the kernel has it */
	JR_GAP_EPOCH = 11,    /* the same one's */
	JR_GAP_VARIABLE = 12, /* variable `index` */
};

struct jr_piece {
	__u32 text; /* bytes that follow */
	__u16 gap;  /* enum jr_gap */
	__u16 index;
};

/*
 * An entry of the role. Of a JR_KEY_DEVICE key `state` is the file system's number here, and the epoch is
 * zero; the component of a JR_KEY_NAME key is variable `variable` - 1, unless that is 0.
 */
struct jr_template_entry {
	__u8 key[sizeof(struct jr_rule_key)];
	__u8 value[sizeof(struct jr_rule)];
	__u32 variable;
};

/* What the launcher looked at, and found. */
enum jr_sight_kind {
	JR_SIGHT_MOUNTS = 1,    /* the bytes of `path`, a mount table */
	JR_SIGHT_EPOCHS = 2,    /* of its devices: struct jr_epoch, one after the other */
	JR_SIGHT_CGROUPS = 3,   /* `path` is where the root of this namespace's cgroups is mounted */
	JR_SIGHT_ABSENT = 4,    /* there is nothing at `path` */
	JR_SIGHT_PLACE = 5,     /* what is at `path` itself, link or not, is `owner`'s and has `mode` */
	JR_SIGHT_DIRECTORY = 6, /* the names in it that begin with no dot, each with a NUL */
	JR_SIGHT_FILE = 7,      /* a regular file of `owner` and `mode`: its bytes */
	JR_SIGHT_LINK = 8,      /* a symbolic link: its target */
	JR_SIGHT_NO_LINK = 9,   /* there is none at `path`, or nothing */
	JR_SIGHT_SAME = 10,     /* struct jr_identity; `path` may begin at the front's directory */
};

struct jr_sight {
	__u32 size;  /* of this struct, the path and the data */
	__u16 kind;  /* enum jr_sight_kind */
	__u16 path;  /* bytes of the path behind it, NULs included, a multiple of four */
	__u32 data;  /* bytes of what follows the path */
	__u32 owner; /* st_uid */
	__u32 mode;  /* st_mode */
};

struct jr_epoch {
	__u32 index; /* in device_epochs */
	__u32 epoch;
};

/* What tells a file from another one, and from what it was: stat(2), times in nanoseconds. */
struct jr_identity {
	__u64 device;
	__u64 inode;
	__u64 size;
	__u64 modified;
	__u64 changed;
};

#endif
