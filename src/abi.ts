// Generated from bpf/abi.h by `npm run generate`; do not edit.

function put(bytes: Uint8Array, at: number, length: number, value: Uint8Array): void {
  if (value.length > length) throw new RangeError(`${value.length} bytes do not fit into ${length}`);
  bytes.set(value, at);
}

export const Limit = {
  LAYOUT: 10,
  MAX_PODS: 32768,
  MAX_ROLES: 32768,
  MAX_DEPTH: 128,
  MAX_NAME: 120,
  MAX_STATES: 65536,
  MAX_GLOB_ROWS: 8192,
  MAX_TARGET: 512,
  COMM: 16,
  RING_BYTES: 262144,
  DEVICES: 131072,
  MAJOR_STEP: 81621,
  KEPT_DENIALS: 256,
  MAX_KEPT: 65536,
  MAX_IPC: 65536,
  MAX_WATCHED: 4096,
  MAX_EXECUTABLES: 8192,
  MAX_CONTAINERS: 16384,
  MAX_CLAIMS: 8192,
  MAX_OWNERS: 1024,
  MAX_READINGS: 1024,
  MAX_CLAIM: 60,
} as const;
export type Limit = (typeof Limit)[keyof typeof Limit];

export const Scope = {
  NONE: 0,
  RULES: 1,
  ANY: 2,
} as const;
export type Scope = (typeof Scope)[keyof typeof Scope];

export const RoleFlag = {
  HIDES: 1,
  SOCKETS: 2,
  NO_JIT: 4,
  KILLS: 8,
} as const;
export type RoleFlag = (typeof RoleFlag)[keyof typeof RoleFlag];

export const Power = {
  CHOWN: 0,
  DAC_OVERRIDE: 1,
  DAC_READ_SEARCH: 2,
  FOWNER: 3,
  FSETID: 4,
  KILL: 5,
  SETGID: 6,
  SETUID: 7,
  SETPCAP: 8,
  LINUX_IMMUTABLE: 9,
  NET_BIND_SERVICE: 10,
  NET_BROADCAST: 11,
  NET_ADMIN: 12,
  NET_RAW: 13,
  IPC_LOCK: 14,
  IPC_OWNER: 15,
  SYS_MODULE: 16,
  SYS_RAWIO: 17,
  SYS_CHROOT: 18,
  SYS_PTRACE: 19,
  SYS_PACCT: 20,
  SYS_ADMIN: 21,
  SYS_BOOT: 22,
  SYS_NICE: 23,
  SYS_RESOURCE: 24,
  SYS_TIME: 25,
  SYS_TTY_CONFIG: 26,
  MKNOD: 27,
  LEASE: 28,
  AUDIT_WRITE: 29,
  AUDIT_CONTROL: 30,
  SETFCAP: 31,
  MAC_OVERRIDE: 32,
  MAC_ADMIN: 33,
  SYSLOG: 34,
  WAKE_ALARM: 35,
  BLOCK_SUSPEND: 36,
  AUDIT_READ: 37,
  PERFMON: 38,
  BPF: 39,
  CHECKPOINT_RESTORE: 40,
  FUTURE: 41,
  MOUNT: 42,
  NAMESPACES: 43,
  HOSTNAME: 44,
  SWAP: 45,
  QUOTA: 46,
  FANOTIFY: 47,
  KEYS: 48,
  SIGNAL: 49,
  TRACE: 50,
  IPC: 51,
  IO_URING: 52,
  USERFAULTFD: 53,
  RAW_DISK: 54,
  CGROUP: 55,
} as const;
export type Power = (typeof Power)[keyof typeof Power];

export const Access = {
  READ: 1,
  WRITE: 2,
  EXEC: 4,
  HIDDEN: 8,
  CONNECT: 16,
  BIND: 32,
  MAP: 64,
} as const;
export type Access = (typeof Access)[keyof typeof Access];

export const TaskFlag = {
  ENTRY: 1,
  AUDIT: 2,
} as const;
export type TaskFlag = (typeof TaskFlag)[keyof typeof TaskFlag];

export const KeyKind = {
  DEVICE: 1,
  NAME: 2,
  ANY_NAME: 3,
  GLOB: 6,
  LENGTHS: 4,
  PREFIX: 5,
  PORTS: 7,
  ABSTRACT: 8,
} as const;
export type KeyKind = (typeof KeyKind)[keyof typeof KeyKind];

export const Space = {
  CONNECT: 1,
  UDP: 2,
  INET6: 4,
} as const;
export type Space = (typeof Space)[keyof typeof Space];

export const RuleFlag = {
  LEAF: 1,
  HAS_ANY: 2,
  HAS_NAMES: 4,
} as const;
export type RuleFlag = (typeof RuleFlag)[keyof typeof RuleFlag];

export const Hook = {
  FILE_OPEN: 1,
  BPRM_CHECK_SECURITY: 2,
  SOCKET_CREATE: 3,
  SOCKET_BIND: 4,
  SOCKET_CONNECT: 5,
  SOCKET_LISTEN: 6,
  SOCKET_SENDMSG: 7,
  UNIX_STREAM_CONNECT: 8,
  UNIX_MAY_SEND: 9,
  PATH_MKNOD: 10,
  PATH_MKDIR: 11,
  PATH_SYMLINK: 12,
  PATH_LINK: 13,
  PATH_UNLINK: 14,
  PATH_RMDIR: 15,
  PATH_RENAME: 16,
  PATH_TRUNCATE: 17,
  PATH_CHMOD: 18,
  PATH_CHOWN: 19,
  BPF: 20,
  TASK_ALLOC: 21,
  INODE_GETATTR: 22,
  INODE_SETATTR: 23,
  INODE_SETXATTR: 24,
  INODE_REMOVEXATTR: 25,
  INODE_SET_ACL: 26,
  INODE_REMOVE_ACL: 27,
  INODE_GETXATTR: 28,
  INODE_LISTXATTR: 29,
  INODE_GET_ACL: 30,
  INODE_READLINK: 31,
  INODE_FOLLOW_LINK: 32,
  INODE_FILE_SETATTR: 33,
  INODE_FILE_GETATTR: 34,
  PATH_CHROOT: 35,
  PATH_NOTIFY: 36,
  FILE_RECEIVE: 37,
  FILE_IOCTL: 38,
  FILE_IOCTL_COMPAT: 39,
  SOCKET_SETSOCKOPT: 40,
  CAPABLE: 41,
  BPRM_CREDS_FROM_FILE: 42,
  MMAP_FILE: 43,
  FILE_MPROTECT: 44,
  PTRACE_ACCESS_CHECK: 45,
  PTRACE_TRACEME: 46,
  TASK_KILL: 47,
  TASK_SETNICE: 48,
  TASK_SETIOPRIO: 49,
  TASK_SETSCHEDULER: 50,
  TASK_SETRLIMIT: 51,
  TASK_MOVEMEMORY: 52,
  FILE_FCNTL: 53,
  KEY_PERMISSION: 54,
  IPC_PERMISSION: 55,
  SHM_ALLOC_SECURITY: 56,
  SHM_ASSOCIATE: 57,
  SHM_SHMCTL: 58,
  SEM_ALLOC_SECURITY: 59,
  SEM_ASSOCIATE: 60,
  SEM_SEMCTL: 61,
  MSG_QUEUE_ALLOC_SECURITY: 62,
  MSG_QUEUE_ASSOCIATE: 63,
  MSG_QUEUE_MSGCTL: 64,
  PERF_EVENT_OPEN: 65,
  SYSLOG: 66,
  KERNEL_MODULE_REQUEST: 67,
  USERNS_CREATE: 68,
  INODE_INIT_SECURITY_ANON: 69,
  INODE_CREATE: 70,
  INODE_UNLINK: 71,
  SB_MOUNT: 72,
  SB_UMOUNT: 73,
  SB_PIVOTROOT: 74,
  MOVE_MOUNT: 75,
} as const;
export type Hook = (typeof Hook)[keyof typeof Hook];

export const Operation = {
  READ: 1,
  WRITE: 2,
  EXEC: 3,
  CREATE: 4,
  BIND: 5,
  CONNECT: 6,
  LISTEN: 7,
  SEND: 8,
  SOCKET: 9,
  FORK: 10,
  STAT: 11,
  RING: 12,
  USE: 13,
  MAP: 14,
} as const;
export type Operation = (typeof Operation)[keyof typeof Operation];

export const Reason = {
  RULE: 0,
  UNKNOWN_DEVICE: 1,
  TOO_DEEP: 2,
  DISCONNECTED: 3,
  BROKEN: 4,
  FAMILY: 5,
  MORE_RIGHTS: 6,
  TOO_WIDE: 7,
  MOVING: 8,
  UNCLEAR: 9,
  CHOSEN_NAME: 10,
  ROUTED: 11,
  LINK: 12,
  OWN: 13,
  JIT: 14,
  NAMELESS: 15,
  CLAIM: 16,
  UNREADABLE: 17,
} as const;
export type Reason = (typeof Reason)[keyof typeof Reason];

export const ProbeAnswer = {
  COMMAND: 27244,
  THIS_POD: 114,
  OTHER_POD: 18,
} as const;
export type ProbeAnswer = (typeof ProbeAnswer)[keyof typeof ProbeAnswer];

export interface Probe {
  pod: bigint;
}
export const Probe = {
  size: 8,
  encode(value: Probe): Uint8Array {
    const bytes = new Uint8Array(8);
    const view = new DataView(bytes.buffer);
    view.setBigUint64(0, value.pod, true);
    return bytes;
  },
  decode(bytes: Uint8Array): Probe {
    const view = new DataView(bytes.buffer, bytes.byteOffset, 8);
    return {
      pod: view.getBigUint64(0, true),
    };
  },
} as const;

export interface Meta {
  layout: number;
  hooks: number;
  build: Uint8Array;
  fmodRet: number;
  runDevice: number;
  runInode: bigint;
}
export const Meta = {
  size: 40,
  encode(value: Meta): Uint8Array {
    const bytes = new Uint8Array(40);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, value.layout, true);
    view.setUint32(4, value.hooks, true);
    put(bytes, 8, 16, value.build);
    view.setUint32(24, value.fmodRet, true);
    view.setUint32(28, value.runDevice, true);
    view.setBigUint64(32, value.runInode, true);
    return bytes;
  },
  decode(bytes: Uint8Array): Meta {
    const view = new DataView(bytes.buffer, bytes.byteOffset, 40);
    return {
      layout: view.getUint32(0, true),
      hooks: view.getUint32(4, true),
      build: new Uint8Array(bytes.subarray(8, 24)),
      fmodRet: view.getUint32(24, true),
      runDevice: view.getUint32(28, true),
      runInode: view.getBigUint64(32, true),
    };
  },
} as const;

export interface Pod {
  number: bigint;
  role: bigint;
  flags: number;
  nextFlags: number;
  nextRole: bigint;
  since: bigint;
}
export const Pod = {
  size: 40,
  encode(value: Pod): Uint8Array {
    const bytes = new Uint8Array(40);
    const view = new DataView(bytes.buffer);
    view.setBigUint64(0, value.number, true);
    view.setBigUint64(8, value.role, true);
    view.setUint32(16, value.flags, true);
    view.setUint32(20, value.nextFlags, true);
    view.setBigUint64(24, value.nextRole, true);
    view.setBigUint64(32, value.since, true);
    return bytes;
  },
  decode(bytes: Uint8Array): Pod {
    const view = new DataView(bytes.buffer, bytes.byteOffset, 40);
    return {
      number: view.getBigUint64(0, true),
      role: view.getBigUint64(8, true),
      flags: view.getUint32(16, true),
      nextFlags: view.getUint32(20, true),
      nextRole: view.getBigUint64(24, true),
      since: view.getBigUint64(32, true),
    };
  },
} as const;

export const Sweep = {
  ENROLL: 1,
  PROCESS: 2,
  CHILDREN: 4,
  STACK: 8,
  RENEW: 16,
} as const;
export type Sweep = (typeof Sweep)[keyof typeof Sweep];

export const SweptWhat = {
  JAILED: 1,
  ENROLLED: 2,
  FAILED: 3,
  TRACED: 4,
} as const;
export type SweptWhat = (typeof SweptWhat)[keyof typeof SweptWhat];

export interface Swept {
  pod: bigint;
  pid: number;
  tid: number;
  tracer: number;
  what: number;
}
export const Swept = {
  size: 24,
  encode(value: Swept): Uint8Array {
    const bytes = new Uint8Array(24);
    const view = new DataView(bytes.buffer);
    view.setBigUint64(0, value.pod, true);
    view.setUint32(8, value.pid, true);
    view.setUint32(12, value.tid, true);
    view.setUint32(16, value.tracer, true);
    view.setUint32(20, value.what, true);
    return bytes;
  },
  decode(bytes: Uint8Array): Swept {
    const view = new DataView(bytes.buffer, bytes.byteOffset, 24);
    return {
      pod: view.getBigUint64(0, true),
      pid: view.getUint32(8, true),
      tid: view.getUint32(12, true),
      tracer: view.getUint32(16, true),
      what: view.getUint32(20, true),
    };
  },
} as const;

export interface Variables {
  policy: bigint;
  watched: number;
  executables: number;
  requestPod: bigint;
  requestFrom: bigint;
  requestCgroup: bigint;
  requestTime: bigint;
  memory: bigint;
  sweep: number;
  missed: number;
  containers: number;
  xattrs: number;
  refused: number;
}
export const Variables = {
  size: 80,
  encode(value: Variables): Uint8Array {
    const bytes = new Uint8Array(80);
    const view = new DataView(bytes.buffer);
    view.setBigUint64(0, value.policy, true);
    view.setUint32(8, value.watched, true);
    view.setUint32(12, value.executables, true);
    view.setBigUint64(16, value.requestPod, true);
    view.setBigUint64(24, value.requestFrom, true);
    view.setBigUint64(32, value.requestCgroup, true);
    view.setBigUint64(40, value.requestTime, true);
    view.setBigUint64(48, value.memory, true);
    view.setUint32(56, value.sweep, true);
    view.setUint32(60, value.missed, true);
    view.setUint32(64, value.containers, true);
    view.setUint32(68, value.xattrs, true);
    view.setUint32(72, value.refused, true);
    return bytes;
  },
  decode(bytes: Uint8Array): Variables {
    const view = new DataView(bytes.buffer, bytes.byteOffset, 80);
    return {
      policy: view.getBigUint64(0, true),
      watched: view.getUint32(8, true),
      executables: view.getUint32(12, true),
      requestPod: view.getBigUint64(16, true),
      requestFrom: view.getBigUint64(24, true),
      requestCgroup: view.getBigUint64(32, true),
      requestTime: view.getBigUint64(40, true),
      memory: view.getBigUint64(48, true),
      sweep: view.getUint32(56, true),
      missed: view.getUint32(60, true),
      containers: view.getUint32(64, true),
      xattrs: view.getUint32(68, true),
      refused: view.getUint32(72, true),
    };
  },
} as const;

export interface Claim {
  id: number;
  role: Uint8Array;
}
export const Claim = {
  size: 64,
  encode(value: Claim): Uint8Array {
    const bytes = new Uint8Array(64);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, value.id, true);
    put(bytes, 4, 60, value.role);
    return bytes;
  },
  decode(bytes: Uint8Array): Claim {
    const view = new DataView(bytes.buffer, bytes.byteOffset, 64);
    return {
      id: view.getUint32(0, true),
      role: new Uint8Array(bytes.subarray(4, 64)),
    };
  },
} as const;

export interface Executable {
  inode: bigint;
  device: number;
  generation: number;
  name: Uint8Array;
}
export const Executable = {
  size: 136,
  encode(value: Executable): Uint8Array {
    const bytes = new Uint8Array(136);
    const view = new DataView(bytes.buffer);
    view.setBigUint64(0, value.inode, true);
    view.setUint32(8, value.device, true);
    view.setUint32(12, value.generation, true);
    put(bytes, 16, 120, value.name);
    return bytes;
  },
  decode(bytes: Uint8Array): Executable {
    const view = new DataView(bytes.buffer, bytes.byteOffset, 136);
    return {
      inode: view.getBigUint64(0, true),
      device: view.getUint32(8, true),
      generation: view.getUint32(12, true),
      name: new Uint8Array(bytes.subarray(16, 136)),
    };
  },
} as const;

export interface Container {
  pod: bigint;
  begun: bigint;
  runtimeInode: bigint;
  rootInode: bigint;
  runtimeDevice: number;
  rootDevice: number;
  runtimeGeneration: number;
  rootGeneration: number;
  runtimeMounts: bigint;
  hostMounts: bigint;
}
export const Container = {
  size: 64,
  encode(value: Container): Uint8Array {
    const bytes = new Uint8Array(64);
    const view = new DataView(bytes.buffer);
    view.setBigUint64(0, value.pod, true);
    view.setBigUint64(8, value.begun, true);
    view.setBigUint64(16, value.runtimeInode, true);
    view.setBigUint64(24, value.rootInode, true);
    view.setUint32(32, value.runtimeDevice, true);
    view.setUint32(36, value.rootDevice, true);
    view.setUint32(40, value.runtimeGeneration, true);
    view.setUint32(44, value.rootGeneration, true);
    view.setBigUint64(48, value.runtimeMounts, true);
    view.setBigUint64(56, value.hostMounts, true);
    return bytes;
  },
  decode(bytes: Uint8Array): Container {
    const view = new DataView(bytes.buffer, bytes.byteOffset, 64);
    return {
      pod: view.getBigUint64(0, true),
      begun: view.getBigUint64(8, true),
      runtimeInode: view.getBigUint64(16, true),
      rootInode: view.getBigUint64(24, true),
      runtimeDevice: view.getUint32(32, true),
      rootDevice: view.getUint32(36, true),
      runtimeGeneration: view.getUint32(40, true),
      rootGeneration: view.getUint32(44, true),
      runtimeMounts: view.getBigUint64(48, true),
      hostMounts: view.getBigUint64(56, true),
    };
  },
} as const;

export interface CgroupName {
  parent: bigint;
  name: Uint8Array;
}
export const CgroupName = {
  size: 128,
  encode(value: CgroupName): Uint8Array {
    const bytes = new Uint8Array(128);
    const view = new DataView(bytes.buffer);
    view.setBigUint64(0, value.parent, true);
    put(bytes, 8, 120, value.name);
    return bytes;
  },
  decode(bytes: Uint8Array): CgroupName {
    const view = new DataView(bytes.buffer, bytes.byteOffset, 128);
    return {
      parent: view.getBigUint64(0, true),
      name: new Uint8Array(bytes.subarray(8, 128)),
    };
  },
} as const;

export interface Described {
  inode: bigint;
  parent: bigint;
  mounts: bigint;
  device: number;
  generation: number;
  parentGeneration: number;
  fd: number;
  name: Uint8Array;
}
export const Described = {
  size: 160,
  encode(value: Described): Uint8Array {
    const bytes = new Uint8Array(160);
    const view = new DataView(bytes.buffer);
    view.setBigUint64(0, value.inode, true);
    view.setBigUint64(8, value.parent, true);
    view.setBigUint64(16, value.mounts, true);
    view.setUint32(24, value.device, true);
    view.setUint32(28, value.generation, true);
    view.setUint32(32, value.parentGeneration, true);
    view.setUint32(36, value.fd, true);
    put(bytes, 40, 120, value.name);
    return bytes;
  },
  decode(bytes: Uint8Array): Described {
    const view = new DataView(bytes.buffer, bytes.byteOffset, 160);
    return {
      inode: view.getBigUint64(0, true),
      parent: view.getBigUint64(8, true),
      mounts: view.getBigUint64(16, true),
      device: view.getUint32(24, true),
      generation: view.getUint32(28, true),
      parentGeneration: view.getUint32(32, true),
      fd: view.getUint32(36, true),
      name: new Uint8Array(bytes.subarray(40, 160)),
    };
  },
} as const;

export interface Role {
  id: number;
  files: number;
  exec: number;
  network: number;
  flags: number;
  powers: bigint;
}
export const Role = {
  size: 16,
  encode(value: Role): Uint8Array {
    const bytes = new Uint8Array(16);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, value.id, true);
    view.setUint8(4, value.files);
    view.setUint8(5, value.exec);
    view.setUint8(6, value.network);
    view.setUint8(7, value.flags);
    view.setBigUint64(8, value.powers, true);
    return bytes;
  },
  decode(bytes: Uint8Array): Role {
    const view = new DataView(bytes.buffer, bytes.byteOffset, 16);
    return {
      id: view.getUint32(0, true),
      files: view.getUint8(4),
      exec: view.getUint8(5),
      network: view.getUint8(6),
      flags: view.getUint8(7),
      powers: view.getBigUint64(8, true),
    };
  },
} as const;

export interface RuleKey {
  state: number;
  kind: number;
  length: number;
  name: Uint8Array;
}
export const RuleKey = {
  size: 128,
  encode(value: RuleKey): Uint8Array {
    const bytes = new Uint8Array(128);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, value.state, true);
    view.setUint16(4, value.kind, true);
    view.setUint16(6, value.length, true);
    put(bytes, 8, 120, value.name);
    return bytes;
  },
  decode(bytes: Uint8Array): RuleKey {
    const view = new DataView(bytes.buffer, bytes.byteOffset, 128);
    return {
      state: view.getUint32(0, true),
      kind: view.getUint16(4, true),
      length: view.getUint16(6, true),
      name: new Uint8Array(bytes.subarray(8, 128)),
    };
  },
} as const;

export interface Rule {
  state: number;
  access: number;
  rule: number;
  execRule: number;
  connectRule: number;
  bindRule: number;
  flags: number;
  glob: number;
}
export const Rule = {
  size: 32,
  encode(value: Rule): Uint8Array {
    const bytes = new Uint8Array(32);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, value.state, true);
    view.setUint32(4, value.access, true);
    view.setUint32(8, value.rule, true);
    view.setUint32(12, value.execRule, true);
    view.setUint32(16, value.connectRule, true);
    view.setUint32(20, value.bindRule, true);
    view.setUint32(24, value.flags, true);
    view.setUint32(28, value.glob, true);
    return bytes;
  },
  decode(bytes: Uint8Array): Rule {
    const view = new DataView(bytes.buffer, bytes.byteOffset, 32);
    return {
      state: view.getUint32(0, true),
      access: view.getUint32(4, true),
      rule: view.getUint32(8, true),
      execRule: view.getUint32(12, true),
      connectRule: view.getUint32(16, true),
      bindRule: view.getUint32(20, true),
      flags: view.getUint32(24, true),
      glob: view.getUint32(28, true),
    };
  },
} as const;

export interface Lengths {
  longest: number;
  bits: Uint8Array;
}
export const Lengths = {
  size: 32,
  encode(value: Lengths): Uint8Array {
    const bytes = new Uint8Array(32);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, value.longest, true);
    put(bytes, 4, 16, value.bits);
    return bytes;
  },
  decode(bytes: Uint8Array): Lengths {
    const view = new DataView(bytes.buffer, bytes.byteOffset, 32);
    return {
      longest: view.getUint32(0, true),
      bits: new Uint8Array(bytes.subarray(4, 20)),
    };
  },
} as const;

export interface GlobRow {
  next: Uint8Array;
  match: number;
}
export const GlobRow = {
  size: 520,
  encode(value: GlobRow): Uint8Array {
    const bytes = new Uint8Array(520);
    const view = new DataView(bytes.buffer);
    put(bytes, 0, 512, value.next);
    view.setUint32(512, value.match, true);
    return bytes;
  },
  decode(bytes: Uint8Array): GlobRow {
    const view = new DataView(bytes.buffer, bytes.byteOffset, 520);
    return {
      next: new Uint8Array(bytes.subarray(0, 512)),
      match: view.getUint32(512, true),
    };
  },
} as const;

export interface Counters {
  denials: bigint;
  lost: bigint;
  kept: bigint;
  keep: number;
}
export const Counters = {
  size: 32,
  encode(value: Counters): Uint8Array {
    const bytes = new Uint8Array(32);
    const view = new DataView(bytes.buffer);
    view.setBigUint64(0, value.denials, true);
    view.setBigUint64(8, value.lost, true);
    view.setBigUint64(16, value.kept, true);
    view.setUint32(24, value.keep, true);
    return bytes;
  },
  decode(bytes: Uint8Array): Counters {
    const view = new DataView(bytes.buffer, bytes.byteOffset, 32);
    return {
      denials: view.getBigUint64(0, true),
      lost: view.getBigUint64(8, true),
      kept: view.getBigUint64(16, true),
      keep: view.getUint32(24, true),
    };
  },
} as const;

export interface DenialKey {
  pod: bigint;
  slot: bigint;
}
export const DenialKey = {
  size: 16,
  encode(value: DenialKey): Uint8Array {
    const bytes = new Uint8Array(16);
    const view = new DataView(bytes.buffer);
    view.setBigUint64(0, value.pod, true);
    view.setBigUint64(8, value.slot, true);
    return bytes;
  },
  decode(bytes: Uint8Array): DenialKey {
    const view = new DataView(bytes.buffer, bytes.byteOffset, 16);
    return {
      pod: view.getBigUint64(0, true),
      slot: view.getBigUint64(8, true),
    };
  },
} as const;

export interface Denial {
  time: bigint;
  sequence: bigint;
  repeats: bigint;
  pod: bigint;
  role: bigint;
  startTime: bigint;
  pid: number;
  tid: number;
  ppid: number;
  uid: number;
  error: number;
  rule: number;
  hook: number;
  operation: number;
  reason: number;
  audit: number;
  device: number;
  family: number;
  protocol: number;
  port: number;
  pathStart: number;
  power: number;
  subject: number;
  address: Uint8Array;
  comm: Uint8Array;
  path: Uint8Array;
}
export const Denial = {
  size: 648,
  encode(value: Denial): Uint8Array {
    const bytes = new Uint8Array(648);
    const view = new DataView(bytes.buffer);
    view.setBigUint64(0, value.time, true);
    view.setBigUint64(8, value.sequence, true);
    view.setBigUint64(16, value.repeats, true);
    view.setBigUint64(24, value.pod, true);
    view.setBigUint64(32, value.role, true);
    view.setBigUint64(40, value.startTime, true);
    view.setUint32(48, value.pid, true);
    view.setUint32(52, value.tid, true);
    view.setUint32(56, value.ppid, true);
    view.setUint32(60, value.uid, true);
    view.setInt32(64, value.error, true);
    view.setUint32(68, value.rule, true);
    view.setUint16(72, value.hook, true);
    view.setUint16(74, value.operation, true);
    view.setUint16(76, value.reason, true);
    view.setUint16(78, value.audit, true);
    view.setUint32(80, value.device, true);
    view.setUint16(84, value.family, true);
    view.setUint16(86, value.protocol, true);
    view.setUint16(88, value.port, true);
    view.setUint16(90, value.pathStart, true);
    view.setUint32(92, value.power, true);
    view.setUint32(96, value.subject, true);
    put(bytes, 104, 16, value.address);
    put(bytes, 120, 16, value.comm);
    put(bytes, 136, 512, value.path);
    return bytes;
  },
  decode(bytes: Uint8Array): Denial {
    const view = new DataView(bytes.buffer, bytes.byteOffset, 648);
    return {
      time: view.getBigUint64(0, true),
      sequence: view.getBigUint64(8, true),
      repeats: view.getBigUint64(16, true),
      pod: view.getBigUint64(24, true),
      role: view.getBigUint64(32, true),
      startTime: view.getBigUint64(40, true),
      pid: view.getUint32(48, true),
      tid: view.getUint32(52, true),
      ppid: view.getUint32(56, true),
      uid: view.getUint32(60, true),
      error: view.getInt32(64, true),
      rule: view.getUint32(68, true),
      hook: view.getUint16(72, true),
      operation: view.getUint16(74, true),
      reason: view.getUint16(76, true),
      audit: view.getUint16(78, true),
      device: view.getUint32(80, true),
      family: view.getUint16(84, true),
      protocol: view.getUint16(86, true),
      port: view.getUint16(88, true),
      pathStart: view.getUint16(90, true),
      power: view.getUint32(92, true),
      subject: view.getUint32(96, true),
      address: new Uint8Array(bytes.subarray(104, 120)),
      comm: new Uint8Array(bytes.subarray(120, 136)),
      path: new Uint8Array(bytes.subarray(136, 648)),
    };
  },
} as const;

export const PlanNumber = {
  FD: 3,
  REPORT: 4,
  EXEC: 1,
  JSON: 2,
  NO_GAIN: 4,
  PATH: 1024,
} as const;
export type PlanNumber = (typeof PlanNumber)[keyof typeof PlanNumber];

export const EnrolledPod = {
  BIT: 62,
} as const;
export type EnrolledPod = (typeof EnrolledPod)[keyof typeof EnrolledPod];

export const PlanFd = {
  CGROUP: 0,
  STATE: 1,
  ENROLLMENT: 2,
  PODS: 3,
  COUNTERS: 4,
  DENIALS: 5,
  FDS: 6,
} as const;
export type PlanFd = (typeof PlanFd)[keyof typeof PlanFd];

export interface Plan {
  layout: number;
  flags: number;
  command: number;
  report: number;
  pod: bigint;
  cgroup: Uint8Array;
  state: Uint8Array;
}
export const Plan = {
  size: 2072,
  encode(value: Plan): Uint8Array {
    const bytes = new Uint8Array(2072);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, value.layout, true);
    view.setUint32(4, value.flags, true);
    view.setUint32(8, value.command, true);
    view.setUint32(12, value.report, true);
    view.setBigUint64(16, value.pod, true);
    put(bytes, 24, 1024, value.cgroup);
    put(bytes, 1048, 1024, value.state);
    return bytes;
  },
  decode(bytes: Uint8Array): Plan {
    const view = new DataView(bytes.buffer, bytes.byteOffset, 2072);
    return {
      layout: view.getUint32(0, true),
      flags: view.getUint32(4, true),
      command: view.getUint32(8, true),
      report: view.getUint32(12, true),
      pod: view.getBigUint64(16, true),
      cgroup: new Uint8Array(bytes.subarray(24, 1048)),
      state: new Uint8Array(bytes.subarray(1048, 2072)),
    };
  },
} as const;

export const StartNumber = {
  FORMAT: 2,
  MAX: 16777216,
} as const;
export type StartNumber = (typeof StartNumber)[keyof typeof StartNumber];

export interface Start {
  format: number;
  layout: number;
  size: number;
  checksum: number;
  role: bigint;
  flags: number;
  plan: number;
  toCgroup: number;
  toName: number;
  toCommand: number;
  toEnd: number;
  meta: Uint8Array;
}
export const Start = {
  size: 88,
  encode(value: Start): Uint8Array {
    const bytes = new Uint8Array(88);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, value.format, true);
    view.setUint32(4, value.layout, true);
    view.setUint32(8, value.size, true);
    view.setUint32(12, value.checksum, true);
    view.setBigUint64(16, value.role, true);
    view.setUint32(24, value.flags, true);
    view.setUint32(28, value.plan, true);
    view.setUint32(32, value.toCgroup, true);
    view.setUint32(36, value.toName, true);
    view.setUint32(40, value.toCommand, true);
    view.setUint32(44, value.toEnd, true);
    put(bytes, 48, 40, value.meta);
    return bytes;
  },
  decode(bytes: Uint8Array): Start {
    const view = new DataView(bytes.buffer, bytes.byteOffset, 88);
    return {
      format: view.getUint32(0, true),
      layout: view.getUint32(4, true),
      size: view.getUint32(8, true),
      checksum: view.getUint32(12, true),
      role: view.getBigUint64(16, true),
      flags: view.getUint32(24, true),
      plan: view.getUint32(28, true),
      toCgroup: view.getUint32(32, true),
      toName: view.getUint32(36, true),
      toCommand: view.getUint32(40, true),
      toEnd: view.getUint32(44, true),
      meta: new Uint8Array(bytes.subarray(48, 88)),
    };
  },
} as const;

export const TemplateNumber = {
  TEMPLATE_FORMAT: 257,
  TEMPLATE_SLOTS: 16,
  MAX_VARIABLES: 16,
  VARIABLE_LENGTH: 32,
  VARIABLE_WORD: 8,
  MAX_DIFFERENT: 256,
} as const;
export type TemplateNumber = (typeof TemplateNumber)[keyof typeof TemplateNumber];

export interface Template {
  format: number;
  layout: number;
  size: number;
  checksum: number;
  digest: bigint;
  role: Uint8Array;
  meta: Uint8Array;
  flags: number;
  keep: number;
  table: number;
  pieces: number;
  entries: number;
  rows: number;
}
export const Template = {
  size: 104,
  encode(value: Template): Uint8Array {
    const bytes = new Uint8Array(104);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, value.format, true);
    view.setUint32(4, value.layout, true);
    view.setUint32(8, value.size, true);
    view.setUint32(12, value.checksum, true);
    view.setBigUint64(16, value.digest, true);
    put(bytes, 24, 16, value.role);
    put(bytes, 40, 40, value.meta);
    view.setUint32(80, value.flags, true);
    view.setUint32(84, value.keep, true);
    view.setUint32(88, value.table, true);
    view.setUint32(92, value.pieces, true);
    view.setUint32(96, value.entries, true);
    view.setUint32(100, value.rows, true);
    return bytes;
  },
  decode(bytes: Uint8Array): Template {
    const view = new DataView(bytes.buffer, bytes.byteOffset, 104);
    return {
      format: view.getUint32(0, true),
      layout: view.getUint32(4, true),
      size: view.getUint32(8, true),
      checksum: view.getUint32(12, true),
      digest: view.getBigUint64(16, true),
      role: new Uint8Array(bytes.subarray(24, 40)),
      meta: new Uint8Array(bytes.subarray(40, 80)),
      flags: view.getUint32(80, true),
      keep: view.getUint32(84, true),
      table: view.getUint32(88, true),
      pieces: view.getUint32(92, true),
      entries: view.getUint32(96, true),
      rows: view.getUint32(100, true),
    };
  },
} as const;

export const Gap = {
  NONE: 0,
  DIGEST: 1,
  NAME: 2,
  ID: 3,
  CGROUP: 4,
  CGROUP_ID: 5,
  ROOT_DEVICE: 6,
  ROOT_INODE: 7,
  MOUNT: 8,
  PARENT: 9,
  DEVICE: 10,
  EPOCH: 11,
  VARIABLE: 12,
} as const;
export type Gap = (typeof Gap)[keyof typeof Gap];

export interface Piece {
  text: number;
  gap: number;
  index: number;
}
export const Piece = {
  size: 8,
  encode(value: Piece): Uint8Array {
    const bytes = new Uint8Array(8);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, value.text, true);
    view.setUint16(4, value.gap, true);
    view.setUint16(6, value.index, true);
    return bytes;
  },
  decode(bytes: Uint8Array): Piece {
    const view = new DataView(bytes.buffer, bytes.byteOffset, 8);
    return {
      text: view.getUint32(0, true),
      gap: view.getUint16(4, true),
      index: view.getUint16(6, true),
    };
  },
} as const;

export interface TemplateEntry {
  key: Uint8Array;
  value: Uint8Array;
  variable: number;
}
export const TemplateEntry = {
  size: 164,
  encode(value: TemplateEntry): Uint8Array {
    const bytes = new Uint8Array(164);
    const view = new DataView(bytes.buffer);
    put(bytes, 0, 128, value.key);
    put(bytes, 128, 32, value.value);
    view.setUint32(160, value.variable, true);
    return bytes;
  },
  decode(bytes: Uint8Array): TemplateEntry {
    const view = new DataView(bytes.buffer, bytes.byteOffset, 164);
    return {
      key: new Uint8Array(bytes.subarray(0, 128)),
      value: new Uint8Array(bytes.subarray(128, 160)),
      variable: view.getUint32(160, true),
    };
  },
} as const;

export const SightKind = {
  MOUNTS: 1,
  EPOCHS: 2,
  CGROUPS: 3,
  ABSENT: 4,
  PLACE: 5,
  DIRECTORY: 6,
  FILE: 7,
  LINK: 8,
  NO_LINK: 9,
  SAME: 10,
} as const;
export type SightKind = (typeof SightKind)[keyof typeof SightKind];

export interface Sight {
  size: number;
  kind: number;
  path: number;
  data: number;
  owner: number;
  mode: number;
}
export const Sight = {
  size: 20,
  encode(value: Sight): Uint8Array {
    const bytes = new Uint8Array(20);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, value.size, true);
    view.setUint16(4, value.kind, true);
    view.setUint16(6, value.path, true);
    view.setUint32(8, value.data, true);
    view.setUint32(12, value.owner, true);
    view.setUint32(16, value.mode, true);
    return bytes;
  },
  decode(bytes: Uint8Array): Sight {
    const view = new DataView(bytes.buffer, bytes.byteOffset, 20);
    return {
      size: view.getUint32(0, true),
      kind: view.getUint16(4, true),
      path: view.getUint16(6, true),
      data: view.getUint32(8, true),
      owner: view.getUint32(12, true),
      mode: view.getUint32(16, true),
    };
  },
} as const;

export interface Epoch {
  index: number;
  epoch: number;
}
export const Epoch = {
  size: 8,
  encode(value: Epoch): Uint8Array {
    const bytes = new Uint8Array(8);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, value.index, true);
    view.setUint32(4, value.epoch, true);
    return bytes;
  },
  decode(bytes: Uint8Array): Epoch {
    const view = new DataView(bytes.buffer, bytes.byteOffset, 8);
    return {
      index: view.getUint32(0, true),
      epoch: view.getUint32(4, true),
    };
  },
} as const;

export interface Identity {
  device: bigint;
  inode: bigint;
  size: bigint;
  modified: bigint;
  changed: bigint;
}
export const Identity = {
  size: 40,
  encode(value: Identity): Uint8Array {
    const bytes = new Uint8Array(40);
    const view = new DataView(bytes.buffer);
    view.setBigUint64(0, value.device, true);
    view.setBigUint64(8, value.inode, true);
    view.setBigUint64(16, value.size, true);
    view.setBigUint64(24, value.modified, true);
    view.setBigUint64(32, value.changed, true);
    return bytes;
  },
  decode(bytes: Uint8Array): Identity {
    const view = new DataView(bytes.buffer, bytes.byteOffset, 40);
    return {
      device: view.getBigUint64(0, true),
      inode: view.getBigUint64(8, true),
      size: view.getBigUint64(16, true),
      modified: view.getBigUint64(24, true),
      changed: view.getBigUint64(32, true),
    };
  },
} as const;
