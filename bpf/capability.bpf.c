// SPDX-License-Identifier: GPL-2.0-only
/*
 * capable: what a jailed root may do as root. A capability is a power of the same name; CAP_SYS_ADMIN, and
 * what else is too wide to be one, is parted by the system call that asks for it. What cannot be told apart
 * stays the wide power: doubt takes more.
 * bprm_creds_from_file: a set-id program changes who one is, so it needs `setuid`. The launcher has the
 * kernel run such a program without that (no_new_privs); this is for who was jailed without the launcher.
 * What a file's capabilities give is decided when it is used.
 *
 * That a capability is had at all is the kernel's business: the hook only takes away. Capabilities in a user
 * namespace are the same powers.
 */
#include "overlay.h"
#include "power.h"

/* arch/x86/entry/syscalls/syscall_64.tbl */
enum {
	CALL_WRITE = 1,
	CALL_OPEN = 2,
	CALL_CLONE = 56,
	CALL_SEMCTL = 66,
	CALL_MSGCTL = 71,
	CALL_SHMCTL = 31,
	CALL_SYSLOG = 103,
	CALL_PIVOT_ROOT = 155,
	CALL_MOUNT = 165,
	CALL_UMOUNT2 = 166,
	CALL_SWAPON = 167,
	CALL_SWAPOFF = 168,
	CALL_SETHOSTNAME = 170,
	CALL_SETDOMAINNAME = 171,
	CALL_QUOTACTL = 179,
	CALL_ADD_KEY = 248,
	CALL_REQUEST_KEY = 249,
	CALL_KEYCTL = 250,
	CALL_OPENAT = 257,
	CALL_UNSHARE = 272,
	CALL_PERF_EVENT_OPEN = 298,
	CALL_FANOTIFY_INIT = 300,
	CALL_FANOTIFY_MARK = 301,
	CALL_SETNS = 308,
	CALL_BPF = 321,
	CALL_IO_URING_ENTER = 426,
	CALL_OPEN_TREE = 428,
	CALL_FSPICK = 433, /* open_tree, move_mount, fsopen, fsconfig, fsmount, fspick in a row */
	CALL_CLONE3 = 435,
	CALL_MOUNT_SETATTR = 442,
	CALL_QUOTACTL_FD = 443,
	CALL_STATMOUNT = 457,
	CALL_LISTMOUNT = 458,
	CALL_OPEN_TREE_ATTR = 467,
};

static __always_inline __u32 part_of_admin(__u32 call)
{
	if (call >= CALL_OPEN_TREE && call <= CALL_FSPICK)
		return JR_POWER_MOUNT;
	switch (call) {
	case CALL_MOUNT:
	case CALL_UMOUNT2:
	case CALL_PIVOT_ROOT:
	case CALL_MOUNT_SETATTR:
	case CALL_OPEN_TREE_ATTR:
	case CALL_STATMOUNT:
	case CALL_LISTMOUNT:
		return JR_POWER_MOUNT;
	case CALL_UNSHARE:
	case CALL_SETNS:
	case CALL_CLONE:
	case CALL_CLONE3:
		return JR_POWER_NAMESPACES;
	case CALL_SETHOSTNAME:
	case CALL_SETDOMAINNAME:
		return JR_POWER_HOSTNAME;
	case CALL_SWAPON:
	case CALL_SWAPOFF:
		return JR_POWER_SWAP;
	case CALL_QUOTACTL:
	case CALL_QUOTACTL_FD:
		return JR_POWER_QUOTA;
	case CALL_ADD_KEY:
	case CALL_REQUEST_KEY:
	case CALL_KEYCTL:
		return JR_POWER_KEYS;
	case CALL_FANOTIFY_INIT:
	case CALL_FANOTIFY_MARK:
		return JR_POWER_FANOTIFY;
	case CALL_PERF_EVENT_OPEN:
		return JR_POWER_PERFMON;
	case CALL_BPF:
		return JR_POWER_BPF;
	case CALL_SYSLOG: /* CAP_SYS_ADMIN does as well as CAP_SYSLOG there, until 6.6 */
		return JR_POWER_SYSLOG;
	/* Whose object it is, process.bpf.c decides: the hooks there are asked after this. */
	case CALL_SHMCTL:
	case CALL_SEMCTL:
	case CALL_MSGCTL:
		return JR_POWER_IPC_OWNER;
	default:
		return JR_POWER_SYS_ADMIN;
	}
}

static __always_inline __u32 power_of(__u32 capability, __u32 call)
{
	switch (capability) {
	case JR_POWER_SYS_ADMIN:
		return part_of_admin(call);
	case JR_POWER_SYS_CHROOT:
		return call == CALL_SETNS ? JR_POWER_NAMESPACES : capability;
	case JR_POWER_PERFMON:
		if (call == CALL_BPF)
			return JR_POWER_BPF;
		/* With it 7.2 shows maps and environments of all processes. */
		return call == CALL_PERF_EVENT_OPEN ? capability : JR_POWER_SYS_ADMIN;
	default:
		return capability < JR_POWER_FUTURE ? capability : JR_POWER_FUTURE;
	}
}

/*
 * True where who made a user namespace says which users it has, as it must before it is of use: writing
 * /proc/PID/uid_map and its kin, opening /proc/PID/setgroups. Nothing of the host's asks for the capability
 * over such a namespace.
 */
static __always_inline bool maps_users(struct user_namespace *ns, __u32 call)
{
	return ns->level && (call == CALL_WRITE || call == CALL_OPEN || call == CALL_OPENAT);
}

/* True where the kernel itself will say no: nothing to deny, and nothing to report. */
static __always_inline bool lacks(const struct cred *cred, struct user_namespace *ns, __u32 capability)
{
	__u64 effective = 0;

	if (cred->user_ns != ns)
		return false;
	bpf_probe_read_kernel(&effective, sizeof(effective), &cred->cap_effective);
	return !(effective >> (capability & 63) & 1);
}

/* What is asked while a file system does its own work. */
#define FILE_CAPABILITIES                                                                                    \
	(1ull << JR_POWER_CHOWN | 1ull << JR_POWER_DAC_OVERRIDE | 1ull << JR_POWER_DAC_READ_SEARCH |         \
	 1ull << JR_POWER_FOWNER | 1ull << JR_POWER_FSETID | 1ull << JR_POWER_SETFCAP |                      \
	 1ull << JR_POWER_LINUX_IMMUTABLE | 1ull << JR_POWER_SYS_RESOURCE | 1ull << JR_POWER_MKNOD |         \
	 1ull << JR_POWER_SYS_ADMIN)

/*
 * True where overlayfs asks, as whoever mounted it: for its trusted attributes, without which files that an
 * upper layer removed would be seen again. A ring's request may come with other credentials of the task, too;
 * who makes it is then a worker or in io_uring_enter.
 */
static __always_inline bool is_for_overlay(struct jail *jail, __u32 capability)
{
	return capability < JR_POWER_FUTURE && FILE_CAPABILITIES >> capability & 1 && is_layer_call(jail) &&
	       system_call() != CALL_IO_URING_ENTER;
}

SEC("lsm/capable")
int BPF_PROG(jr_capable, const struct cred *cred, struct user_namespace *ns, int capability,
	     unsigned int options)
{
	struct jail *jail = current_jail();
	__u32 call = 0;
	__u32 power = capability;

	if (!jail)
		return 0;
	if (power == JR_POWER_SYS_ADMIN || power == JR_POWER_SYS_CHROOT || power == JR_POWER_PERFMON ||
	    power >= JR_POWER_FUTURE) {
		call = system_call();
		power = power_of(power, call);
		if (power == JR_POWER_SYS_ADMIN && maps_users(ns, call))
			power = JR_POWER_NAMESPACES;
	}
	if (has_power(jail, power) || lacks(cred, ns, capability) || is_for_overlay(jail, capability))
		return 0;
	/* The last mile asks bpf(2) where it is, and before 6.4 that asks for CAP_BPF. */
	if (exec_is_free(jail))
		return 0;
	/* The kernel only looks whether there is more to be had: nobody was refused anything. */
	if (options & CAP_OPT_NOAUDIT)
		return verdict(!(jail->flags & JR_TASK_AUDIT), EPERM);
	return verdict(deny_power(jail, power, call ? call : system_call(), JR_HOOK_CAPABLE), EPERM);
}

SEC("lsm/bprm_creds_from_file")
int BPF_PROG(jr_bprm_creds_from_file, struct linux_binprm *bprm)
{
	struct jail *jail = current_jail();
	const struct cred *old = bpf_get_current_task_btf()->cred;
	struct cred *new = bprm->cred;

	if (!jail || (new->euid.val == old->euid.val &&new->egid.val == old->egid.val))
		return 0;
	if (has_power(jail, JR_POWER_SETUID))
		return 0;
	return verdict(deny_power(jail, JR_POWER_SETUID, 0, JR_HOOK_BPRM_CREDS_FROM_FILE), EPERM);
}
