/**
 * The powers that a role may keep under `allow`: what each lets do, and which of the kernel's hooks asks for
 * it. Every operation belongs to exactly one name, and every bit of `Power` to one entry here (tested). The
 * README's table is this one.
 */
import { Power } from '../abi.js';
import { nearest } from './spelling.js';

/** A name under `allow`. */
export interface PowerEntry {
  /** The bits of struct jr_role's powers that it sets. */
  bits: readonly Power[];
  /** What it lets do, as the README says it. */
  lets: string;
  /** Where that is decided: hooks of the kernel, and for `capable` the capability. */
  hooks: string;
  /** With it a task can get out of its jail, or make others act for it: check warns. */
  escapes?: true;
}

const capability = (bit: Power, lets: string): PowerEntry => ({
  bits: [bit],
  lets,
  hooks: `capable (CAP_${nameOfBit(bit)})`,
});

/** The audit log is reached by a socket, which each of the three lets make. */
const audit = (bit: Power, lets: string): PowerEntry => ({
  bits: [bit],
  lets,
  hooks: `socket_create, capable (CAP_${nameOfBit(bit)})`,
});

export const powers: Readonly<Record<string, PowerEntry>> = {
  setuid: {
    bits: [Power.SETUID, Power.SETGID],
    lets: 'change user and groups (setuid, setgid, setgroups and their kin), and gain by set-id programs (sudo, su)',
    hooks: 'capable (CAP_SETUID, CAP_SETGID), bprm_creds_from_file, no_new_privs',
  },
  setpcap: capability(Power.SETPCAP, 'change the sets of capabilities that are inherited'),
  setfcap: {
    bits: [Power.SETFCAP],
    lets: 'give files capabilities and set-id bits, with which others run them outside of the jail',
    hooks: 'capable (CAP_SETFCAP), path_chmod, path_mknod, path_link',
    escapes: true,
  },
  chroot: capability(Power.SYS_CHROOT, 'chroot'),
  mknod: capability(Power.MKNOD, 'make device nodes'),
  linux_immutable: capability(Power.LINUX_IMMUTABLE, 'set and clear the immutable and append-only flags'),
  lease: capability(Power.LEASE, 'take leases on files of others'),
  kill: {
    bits: [Power.SIGNAL],
    lets: 'signal processes outside the pod, and send the signals of a descriptor to others',
    hooks: 'task_kill, file_fcntl, file_ioctl',
  },
  ptrace: {
    bits: [Power.TRACE],
    lets: 'trace and read processes outside the pod: ptrace, process_vm_readv, pidfd_getfd, kcmp, /proc/PID/mem and its kin',
    hooks: 'ptrace_access_check, ptrace_traceme',
    escapes: true,
  },
  nice: {
    bits: [Power.SYS_NICE],
    lets: 'raise priorities and schedule in real time; set priority, affinity and memory nodes of processes outside the pod',
    hooks: 'capable (CAP_SYS_NICE), task_setnice, task_setioprio, task_setscheduler, task_movememory',
  },
  resource: {
    bits: [Power.SYS_RESOURCE],
    lets: 'go beyond limits and quotas, lower oom scores; set limits of processes outside the pod, and oom scores and dump filters of other processes',
    hooks: 'capable (CAP_SYS_RESOURCE), task_setrlimit, file_open',
  },
  ipc: {
    bits: [Power.IPC],
    lets: 'use shared memory, semaphores and message queues that the pod did not make, and POSIX message queues',
    hooks: 'ipc_permission, the hooks of shm, sem and msg_queue, file_open, inode_create, inode_unlink',
  },
  ipc_lock: capability(Power.IPC_LOCK, 'lock memory beyond the limit'),
  keys: {
    bits: [Power.KEYS],
    lets: 'use the kernel’s keyrings',
    hooks: 'key_permission, capable (CAP_SYS_ADMIN in add_key, request_key, keyctl)',
  },
  namespaces: {
    bits: [Power.NAMESPACES],
    lets: 'make and enter namespaces (clone, unshare, setns), user namespaces with their users too',
    hooks:
      'userns_create, capable (CAP_SYS_ADMIN in clone, clone3, unshare, setns; over a user namespace in open, openat, write)',
  },
  mount: {
    bits: [Power.MOUNT],
    lets: 'mount, unmount, move and change mounts, by the old and the new system calls, and pivot_root; what is mounted later no path rule grants',
    hooks:
      'capable (CAP_SYS_ADMIN in mount, umount2, pivot_root, open_tree, move_mount, fsopen, fsconfig, fsmount, fspick, mount_setattr, statmount, listmount)',
  },
  cgroup: {
    bits: [Power.CGROUP],
    lets: 'change cgroups, where path rules grant it, never those of pods; have children born in other cgroups',
    hooks: 'file_open, path_*, task_alloc (CLONE_INTO_CGROUP)',
  },
  hostname: {
    bits: [Power.HOSTNAME],
    lets: 'set the host’s and the domain’s name',
    hooks: 'capable (CAP_SYS_ADMIN in sethostname, setdomainname)',
  },
  time: {
    bits: [Power.SYS_TIME],
    lets: 'set the clocks',
    hooks: 'capable (CAP_SYS_TIME)',
  },
  wake_alarm: capability(Power.WAKE_ALARM, 'wake the system by a timer'),
  block_suspend: capability(Power.BLOCK_SUSPEND, 'keep the system from suspending'),
  reboot: { ...capability(Power.SYS_BOOT, 'reboot, and load a kernel to boot (kexec)'), escapes: true },
  swap: {
    bits: [Power.SWAP],
    lets: 'start and stop swapping',
    hooks: 'capable (CAP_SYS_ADMIN in swapon, swapoff)',
  },
  quota: {
    bits: [Power.QUOTA],
    lets: 'set disk quotas',
    hooks: 'capable (CAP_SYS_ADMIN in quotactl, quotactl_fd)',
  },
  acct: capability(Power.SYS_PACCT, 'switch process accounting'),
  syslog: {
    bits: [Power.SYSLOG],
    lets: 'read and steer the kernel’s log',
    hooks: 'syslog, capable (CAP_SYSLOG; CAP_SYS_ADMIN in syslog)',
  },
  module: {
    bits: [Power.SYS_MODULE],
    lets: 'load and unload kernel modules, and have the kernel load them',
    hooks: 'capable (CAP_SYS_MODULE), kernel_module_request',
    escapes: true,
  },
  bpf: {
    bits: [Power.BPF],
    lets: 'make BPF maps and programs of its own',
    hooks: 'bpf, capable (CAP_BPF; CAP_SYS_ADMIN and CAP_PERFMON in bpf)',
    escapes: true,
  },
  perf: {
    bits: [Power.PERFMON],
    lets: 'measure and trace (perf_event_open)',
    hooks: 'perf_event_open, capable (CAP_PERFMON and CAP_SYS_ADMIN in perf_event_open)',
    escapes: true,
  },
  fanotify: {
    bits: [Power.FANOTIFY],
    lets: 'watch by fanotify, where path rules grant it',
    hooks: 'capable (CAP_SYS_ADMIN in fanotify_init, fanotify_mark)',
  },
  io_uring: {
    bits: [Power.IO_URING],
    lets: 'make io_uring rings; each request is decided as the system call would be',
    hooks: 'inode_init_security_anon, file_receive',
  },
  userfaultfd: {
    bits: [Power.USERFAULTFD],
    lets: 'handle page faults in user space',
    hooks: 'inode_init_security_anon',
  },
  'raw-disk': {
    bits: [Power.RAW_DISK],
    lets: 'open block devices, where path rules grant them',
    hooks: 'file_open, file_receive',
    escapes: true,
  },
  'raw-io': {
    bits: [Power.SYS_RAWIO],
    lets: 'iopl, ioperm, /dev/mem, /dev/kmem, /dev/port, commands to devices that pass their driver by',
    hooks: 'capable (CAP_SYS_RAWIO), file_open, file_receive',
    escapes: true,
  },
  tty: {
    bits: [Power.SYS_TTY_CONFIG],
    lets: 'steer terminals: vhangup, type for others (TIOCSTI, TIOCLINUX), take the console',
    hooks: 'file_ioctl, capable (CAP_SYS_TTY_CONFIG)',
    escapes: true,
  },
  net_admin: capability(
    Power.NET_ADMIN,
    'configure the network; over netlink, as ip(8) does, also under `network: any` only',
  ),
  net_raw: capability(Power.NET_RAW, 'raw and packet sockets, under `network: any`'),
  net_broadcast: capability(Power.NET_BROADCAST, 'broadcast (the kernel asks nowhere)'),
  audit_write: audit(Power.AUDIT_WRITE, 'write records into the audit log, as sudo and su do'),
  audit_control: audit(Power.AUDIT_CONTROL, 'configure auditing'),
  audit_read: audit(Power.AUDIT_READ, 'read the audit log'),
  mac_override: capability(Power.MAC_OVERRIDE, 'override a security module’s policy'),
  mac_admin: {
    ...capability(Power.MAC_ADMIN, 'change a security module’s policy'),
    escapes: true,
  },
  checkpoint_restore: capability(Power.CHECKPOINT_RESTORE, 'choose pids and restore processes'),
  sys_admin: {
    bits: [Power.SYS_ADMIN, Power.FUTURE],
    lets: 'everything else that CAP_SYS_ADMIN is asked for, and capabilities that this version does not know',
    hooks: 'capable',
    escapes: true,
  },
};

/**
 * The bits that no name has: where the object decides, which another hook knows, the capability itself is
 * implied.
 */
const implied = {
  /** Every role: task_kill, ptrace_access_check and the hooks of System V's objects decide. */
  always: [Power.KILL, Power.SYS_PTRACE, Power.IPC_OWNER],
  /** Where a role has files: the hooks that know the path decide. */
  files: [Power.CHOWN, Power.DAC_OVERRIDE, Power.DAC_READ_SEARCH, Power.FOWNER, Power.FSETID],
  /** Where it may bind a port: socket_bind decides which. */
  bind: [Power.NET_BIND_SERVICE],
} as const;

export const powerNames: readonly string[] = Object.keys(powers);

/** What is wrong with a name that is none, and the mend. */
export function noSuchPower(text: string): string {
  const meant = nearest(text.replace(/^CAP_/i, ''), powerNames);
  return `there is no power ${JSON.stringify(text)}; ${meant ? `did you mean ${meant}?` : `the powers are ${powerNames.join(', ')}`}`;
}

/** `allow: any` */
export const allPowers = 0xffff_ffff_ffff_ffffn;

const maskOf = (bits: readonly Power[]): bigint => bits.reduce((mask, bit) => mask | (1n << BigInt(bit)), 0n);

/** What struct jr_role says for a role that has these names, and files or ports to bind. */
export function powerMask(allow: 'any' | readonly string[], has: { files: boolean; bind: boolean }): bigint {
  if (allow === 'any') return allPowers;
  return maskOf([
    ...implied.always,
    ...(has.files ? implied.files : []),
    ...(has.bind ? implied.bind : []),
    ...allow.flatMap((name) => powers[name]?.bits ?? []),
  ]);
}

/** The name of the power that a denial is about. What has none is implied by something else. */
export function powerNamed(bit: number): string | undefined {
  return powerNames.find((name) => powers[name]?.bits.some((own) => own === bit));
}

/** The bit's name in the kernel or here, in upper case, for one that no power has. */
export function nameOfBit(bit: number): string {
  return Object.entries(Power).find(([, number]) => number === bit)?.[0] ?? String(bit);
}

/** Bits that a section of the role implies. */
export function impliedBy(bit: number): 'files' | 'network' | undefined {
  if (implied.files.some((own) => own === bit)) return 'files';
  return implied.bind.some((own) => own === bit) ? 'network' : undefined;
}
