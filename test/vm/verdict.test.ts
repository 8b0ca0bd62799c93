// Every operation that this version decides: denied with the right errno and event, the same operation
// unjailed, and its allowed twin in the same jail.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import {
  chmodSync,
  closeSync,
  copyFileSync,
  mkdirSync,
  openSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { release } from 'node:os';
import { after, before, describe, test } from 'node:test';
import { type Act, act, jailrun, runActs, writePolicy } from './jail.js';

/** The scratch ext4 of the VM; acts that need their own directory have one in each of its parts. */
const area = '/mnt/ext4/verdict';
const readable = `${area}/readable`;
const writable = `${area}/writable`;
const hidden = `${area}/hidden`;
/** An overlay whose layers no rule names. */
const overlay = `${area}/overlay`;
const merged = `${overlay}/merged`;

const policy = writePolicy(
  'verdict',
  `version: 1
roles:
  verdict:
    id: 500
    description: What the verdict tests may do.
    files:
      read: ["@runtime", ${readable}, ${act}, ${merged}]
      write: [${writable}, ${merged}/writable, /proc/sys/vm/drop_caches]
      deny: [${readable}/secret, ${writable}/project/private, ${writable}/project-2/private, ${writable}/future/private, ${merged}/secret]
    exec: [/bin/sh, /usr/bin/true, ${act}, ${readable}/program, ${writable}/bin]
    network:
      bind: [tcp:8080, udp:5353]
      connect: [tcp:7000, udp:7001]
    allow: [mount, namespaces, fanotify, io_uring, setuid, setpcap, chroot, linux_immutable, ptrace, sys_admin]
`,
);

interface Row {
  /** Reads on: "a jailed task cannot …". */
  name: string;
  denied: string[];
  allowed: string[];
  /** What the denial says; EACCES unless given. */
  error?: string;
  /** What the program sees, where that is not the error. */
  result?: string;
  /** True where kernels differ in what they try before; the last denial counts. */
  severalEvents?: true;
  hook: string;
  operation: string;
  target: string;
}

const RDONLY = '0';
const WRONLY = '1';
const MODE3 = '3';
const CREATE = '0101';
const APPEND = '02001';
const TRUNCATE = '01000';
const DIRECTORY = '0200000';

const files: Row[] = [
  {
    name: 'read a file that no rule grants',
    denied: ['open', `${hidden}/file`, RDONLY],
    allowed: ['open', `${readable}/file`, RDONLY],
    hook: 'file_open',
    operation: 'read',
    target: `${hidden}/file`,
  },
  {
    name: 'read a denied file below a granted directory',
    denied: ['open', `${readable}/secret/file`, RDONLY],
    allowed: ['open', `${readable}/secretive`, RDONLY],
    hook: 'file_open',
    operation: 'read',
    target: `${readable}/secret/file`,
  },
  {
    name: 'list a directory that no rule grants',
    denied: ['open', hidden, DIRECTORY],
    allowed: ['open', readable, DIRECTORY],
    hook: 'file_open',
    operation: 'read',
    target: hidden,
  },
  {
    name: 'read through a symbolic link that lies in a granted directory',
    denied: ['open', `${readable}/link-to-hidden`, RDONLY],
    allowed: ['open', `${readable}/link-to-file`, RDONLY],
    hook: 'file_open',
    operation: 'read',
    target: `${hidden}/file`,
  },
  {
    name: 'open a file in access mode 3, which has neither mode bit',
    denied: ['open', `${readable}/file`, MODE3],
    allowed: ['open', `${writable}/file`, MODE3],
    hook: 'file_open',
    operation: 'write',
    target: `${readable}/file`,
  },
  {
    name: 'write a file that may only be read',
    denied: ['open', `${readable}/file`, WRONLY],
    allowed: ['open', `${writable}/file`, WRONLY],
    hook: 'file_open',
    operation: 'write',
    target: `${readable}/file`,
  },
  {
    name: 'append to a file that may only be read',
    denied: ['open', `${readable}/file`, APPEND],
    allowed: ['open', `${writable}/file`, APPEND],
    hook: 'file_open',
    operation: 'write',
    target: `${readable}/file`,
  },
  {
    name: 'empty a file with O_RDONLY|O_TRUNC',
    denied: ['open', `${readable}/file`, TRUNCATE],
    allowed: ['open', `${writable}/file`, TRUNCATE],
    hook: 'file_open',
    operation: 'write',
    target: `${readable}/file`,
  },
  {
    name: 'truncate(2) a file that may only be read',
    denied: ['truncate', `${readable}/file`],
    allowed: ['truncate', `${writable}/file`],
    hook: 'path_truncate',
    operation: 'write',
    target: `${readable}/file`,
  },
  {
    name: 'create a file in a directory that may only be read',
    denied: ['open', `${readable}/new`, CREATE],
    allowed: ['open', `${writable}/new`, CREATE],
    hook: 'path_mknod',
    operation: 'create',
    target: `${readable}/new`,
  },
  {
    name: 'make a directory where it may only read',
    denied: ['mkdir', `${readable}/new-directory`],
    allowed: ['mkdir', `${writable}/new-directory`],
    hook: 'path_mkdir',
    operation: 'create',
    target: `${readable}/new-directory`,
  },
  {
    name: 'make a FIFO where it may only read',
    denied: ['mknod', `${readable}/fifo`],
    allowed: ['mknod', `${writable}/fifo`],
    hook: 'path_mknod',
    operation: 'create',
    target: `${readable}/fifo`,
  },
  {
    name: 'make a symbolic link where it may only read',
    denied: ['symlink', `${readable}/symlink`],
    allowed: ['symlink', `${writable}/symlink`],
    hook: 'path_symlink',
    operation: 'create',
    target: `${readable}/symlink`,
  },
  {
    name: 'give a hidden file a name in a granted directory',
    denied: ['link', `${hidden}/file`, `${writable}/hard-link`],
    allowed: ['link', `${writable}/file`, `${writable}/hard-link-2`],
    hook: 'path_link',
    operation: 'write',
    target: `${hidden}/file`,
  },
  {
    name: 'give a read-only file a name in a writable directory',
    denied: ['link', `${readable}/file`, `${writable}/hard-link-3`],
    allowed: ['link', `${writable}/file`, `${writable}/hard-link-4`],
    hook: 'path_link',
    operation: 'write',
    target: `${readable}/file`,
  },
  {
    name: 'remove a file that may only be read',
    denied: ['unlink', `${readable}/unlinked`],
    allowed: ['unlink', `${writable}/removable`],
    hook: 'path_unlink',
    operation: 'write',
    target: `${readable}/unlinked`,
  },
  {
    name: 'remove a directory that may only be read',
    denied: ['rmdir', `${readable}/empty`],
    allowed: ['rmdir', `${writable}/empty`],
    hook: 'path_rmdir',
    operation: 'write',
    target: `${readable}/empty`,
  },
  {
    name: 'move a hidden file into a granted directory',
    denied: ['rename', `${hidden}/moved`, `${writable}/moved`],
    allowed: ['rename', `${writable}/movable`, `${writable}/moved-2`],
    hook: 'path_rename',
    operation: 'write',
    target: `${hidden}/moved`,
  },
  {
    name: 'move a file over one that may only be read',
    denied: ['rename', `${writable}/replacing`, `${readable}/replaced`],
    allowed: ['rename', `${writable}/movable-2`, `${writable}/file-2`],
    hook: 'path_rename',
    operation: 'create',
    target: `${readable}/replaced`,
  },
  {
    name: 'exchange a hidden file with one of its own',
    denied: ['exchange', `${writable}/exchanged`, `${hidden}/exchanged`],
    allowed: ['exchange', `${writable}/file`, `${writable}/file-3`],
    hook: 'path_rename',
    operation: 'create',
    target: `${hidden}/exchanged`,
  },
  {
    name: 'change the mode of a file that may only be read',
    denied: ['chmod', `${readable}/file`],
    allowed: ['chmod', `${writable}/file`],
    hook: 'path_chmod',
    operation: 'write',
    target: `${readable}/file`,
  },
  {
    name: 'change the owner of a file that may only be read',
    denied: ['chown', `${readable}/file`],
    allowed: ['chown', `${writable}/file`],
    hook: 'path_chown',
    operation: 'write',
    target: `${readable}/file`,
  },
  {
    name: 'reopen an O_PATH descriptor of a hidden file through /proc/self/fd',
    denied: ['reopen', `${hidden}/file`, RDONLY],
    allowed: ['reopen', `${readable}/file`, RDONLY],
    hook: 'file_open',
    operation: 'read',
    target: `${hidden}/file`,
  },
  {
    name: 'turn a read-only descriptor into a writable one through /proc/self/fd',
    denied: ['reopen', `${readable}/file`, WRONLY],
    allowed: ['reopen', `${writable}/file`, WRONLY],
    hook: 'file_open',
    operation: 'write',
    target: `${readable}/file`,
  },
  {
    name: 'read a hidden file through a bind mount on a granted directory',
    denied: ['bind-open', hidden, `${readable}/mount-point`, 'file'],
    allowed: ['bind-open', readable, `${readable}/mount-point`, 'file'],
    hook: 'file_open',
    operation: 'read',
    target: `${hidden}/file`,
  },
  {
    name: 'read a hidden file through a detached mount',
    denied: ['detached-open', hidden, 'file'],
    allowed: ['detached-open', readable, 'file'],
    hook: 'file_open',
    operation: 'read',
    target: `${hidden}/file`,
  },
  {
    name: 'open a hidden file by its handle',
    denied: ['by-handle', `${hidden}/file`, readable],
    allowed: ['by-handle', `${readable}/file`, readable],
    hook: 'file_open',
    operation: 'read',
    target: `${hidden}/file`,
  },
  {
    name: 'execute a program that is not on its list',
    denied: ['exec', '/usr/bin/id'],
    allowed: ['exec', '/usr/bin/true'],
    hook: 'file_open',
    operation: 'exec',
    target: '/usr/bin/id',
  },
  {
    name: 'execute a program that it may read',
    denied: ['exec', `${readable}/readable-program`],
    allowed: ['exec', `${readable}/program/true`],
    hook: 'bprm_check_security',
    operation: 'exec',
    target: `${readable}/readable-program`,
  },
  {
    name: 'execute a program under a granted name that links to another one',
    denied: ['exec', `${readable}/link-to-id`],
    allowed: ['exec', `${readable}/program/true`],
    hook: 'file_open',
    operation: 'exec',
    target: '/usr/bin/id',
  },
  {
    name: 'execute a script whose interpreter is not on its list',
    denied: ['exec', `${readable}/program/python-script`],
    allowed: ['exec', `${readable}/program/sh-script`],
    hook: 'file_open',
    operation: 'exec',
    target: '/usr/bin/env',
  },
];

const [major = 0, minor = 0] = release().split('.').map(Number);
const since = (version: [number, number]): boolean =>
  major > version[0] || (major === version[0] && minor >= version[1]);
/** Before Linux 6.2 ACLs are attributes like any other. */
const aclHook = (hook: string): string =>
  since([6, 2])
    ? hook
    : hook.replace('set_acl', 'setxattr').replace('remove_acl', 'removexattr').replace('get_acl', 'getxattr');

/** Changes to what is said about a file. */
const metadata: Row[] = [
  ...(
    [
      ['set the times of', ['utimes'], 'inode_setattr'],
      ['touch', ['touch'], 'inode_setattr'],
      ['touch, by a descriptor that is open for reading,', ['futimens'], 'inode_setattr'],
      ['touch, by a descriptor without rights,', ['utimes-empty'], 'inode_setattr'],
      ['set an attribute of', ['setxattr', 'user.new'], 'inode_setxattr'],
      [
        'set, by a descriptor that is open for reading, an attribute of',
        ['fsetxattr', 'user.new'],
        'inode_setxattr',
      ],
      ['remove an attribute of', ['removexattr', 'user.kept'], 'inode_removexattr'],
      ['set an ACL of', ['set-acl', 'access'], aclHook('inode_set_acl')],
      ['remove the ACL of', ['remove-acl'], aclHook('inode_remove_acl')],
      ['set the flags of', ['set-flags'], 'file_ioctl'],
      ['set the extended flags of', ['set-xflags'], 'file_ioctl'],
      ['set, as 32-bit programs do, the flags of', ['set-flags-32'], 'file_ioctl_compat'],
      ...(since([6, 17])
        ? ([['set by file_setattr(2) the flags of', ['file-setattr'], 'inode_file_setattr']] as const)
        : []),
    ] as [string, [string, ...string[]], string][]
  ).flatMap(([what, [operation, ...more], hook]): Row[] =>
    [
      { where: 'a file', from: readable, to: writable },
      { where: 'a file on an overlay', from: merged, to: `${merged}/writable` },
    ].map(({ where, from, to }) => ({
      name: `${what} ${where} that may only be read`,
      denied: [operation, `${from}/file`, ...more],
      allowed: [operation, `${to}/${operation}`, ...more],
      hook,
      operation: 'write',
      target: `${from}/file`,
    })),
  ),
  {
    name: 'set an attribute of a file that no rule grants',
    denied: ['setxattr', `${hidden}/file`, 'user.new'],
    allowed: ['setxattr', `${writable}/file`, 'user.new'],
    hook: 'inode_setxattr',
    operation: 'write',
    target: `${hidden}/file`,
  },
  {
    name: 'set an attribute of a layer of the overlay on which it may set it',
    denied: ['setxattr', `${overlay}/upper/writable/upper`, 'user.new'],
    allowed: ['setxattr', `${merged}/writable/upper`, 'user.new'],
    hook: 'inode_setxattr',
    operation: 'write',
    target: `${overlay}/upper/writable/upper`,
  },
];

/** Learning of what is denied expressly. The twins are of an object that no rule grants. */
const secrets: Row[] = (
  [
    ['stat', ['stat'], 'inode_getattr'],
    ['fstat, by a descriptor without rights,', ['fstat-path'], 'inode_getattr'],
    ['statx, by a descriptor without rights,', ['statx-empty'], 'inode_getattr'],
    ['read an attribute of', ['getxattr', 'user.kept'], 'inode_getxattr'],
    ['list the attributes of', ['listxattr'], 'inode_listxattr'],
    ['read the ACL of', ['get-acl'], aclHook('inode_get_acl')],
    ...(since([6, 17])
      ? ([['read by file_getattr(2) the flags of', ['file-getattr'], 'inode_file_getattr']] as const)
      : []),
  ] as [string, [string, ...string[]], string][]
).flatMap(([what, [operation, ...more], hook]): Row[] =>
  [`${readable}/secret`, `${merged}/secret`].map((secret) => ({
    name: `${what} ${secret.startsWith(merged) ? 'a denied file on an overlay' : 'a denied file'}`,
    denied: [operation, `${secret}/file`, ...more],
    allowed: [operation, `${hidden}/file`, ...more],
    hook,
    operation: 'stat',
    target: `${secret}/file`,
  })),
);
const secret = `${readable}/secret`;
const point = `${readable}/mount-point`;
secrets.push(
  ...(
    [
      ['stat a denied directory', secret, ['stat', secret], ['stat', hidden]],
      [
        'stat a denied file through a symbolic link',
        `${secret}/file`,
        ['stat', `${readable}/link-to-secret`],
        ['stat', `${readable}/link-to-hidden`],
      ],
      [
        'stat a denied file from its directory',
        `${secret}/file`,
        ['fchdir-stat', secret, 'file'],
        ['fchdir-stat', hidden, 'file'],
      ],
      [
        // The kernel has forgotten the file's name, so the denial cannot tell it.
        'stat a denied file that it opened by its handle',
        '/mnt/ext4',
        ['by-handle-stat', `${secret}/file`, readable],
        ['by-handle-stat', `${readable}/file`, readable],
      ],
      [
        'stat a denied file through a bind mount',
        `${secret}/file`,
        ['bind-stat', secret, point, 'file'],
        ['bind-stat', hidden, point, 'file'],
      ],
      [
        'stat a denied file through a detached mount',
        `${secret}/file`,
        ['detached-stat', secret, 'file'],
        ['detached-stat', hidden, 'file'],
      ],
      [
        'statx a denied file by io_uring',
        `${secret}/file`,
        ['ring', 'statx', `${secret}/file`],
        ['ring', 'statx', `${hidden}/file`],
      ],
      [
        'change its root to a denied directory',
        secret,
        ['chroot', secret],
        ['chroot', hidden],
        'path_chroot',
      ],
      [
        'read a denied symbolic link',
        `${secret}/link`,
        ['readlink', `${secret}/link`],
        ['readlink', `${readable}/link-to-file`],
        'inode_readlink',
      ],
      [
        'follow a denied symbolic link',
        `${secret}/link`,
        ['open-path', `${secret}/link`],
        ['open-path', `${readable}/link-to-file`],
        'inode_follow_link',
      ],
    ] as [string, string, string[], string[], string?][]
  ).map(([name, target, denied, allowed, hook = 'inode_getattr']) => ({
    name,
    denied,
    allowed,
    hook,
    operation: 'stat',
    target,
  })),
);

/** A new name that would be worth more, to the object or to what it holds. */
const moves: Row[] = [
  ...(
    [
      [
        'link',
        'give a file a name where it may be executed',
        'tool',
        'bin/linked',
        'bin/tool',
        'linked-tool',
      ],
      ['rename', 'move a file to where it may be executed', 'tool', 'bin/moved', 'bin/movable', 'moved-tool'],
      [
        'rename',
        'move a directory to where its files may be executed',
        'tools',
        'bin/tools',
        'bin/movable-tools',
        'moved-tools',
      ],
      ['exchange', 'exchange a file with one that may be executed', 'tool-3', 'bin/tool-3', 'tool', 'tool-2'],
      [
        'exchange',
        'exchange, the other way round, a file with one that may be executed',
        'bin/tool-3',
        'tool-3',
        'bin/tool',
        'bin/tool-2',
      ],
      [
        'rename',
        'take a directory away from a rule for what it holds',
        'project',
        'taken',
        'plain',
        'moved-plain',
      ],
      [
        'rename',
        'move a directory to where a rule speaks of what it holds',
        'plain-2',
        'future',
        'plain-2',
        'moved-plain-2',
      ],
      [
        'exchange',
        'exchange a directory with one for which a rule speaks of what it holds',
        'plain-3',
        'project-2',
        'plain-3',
        'plain-4',
      ],
    ] as [string, string, string, string, string, string][]
  ).map(
    ([operation, name, from, to, allowedFrom, allowedTo]): Row => ({
      name,
      denied: [operation, `${writable}/${from}`, `${writable}/${to}`],
      allowed: [operation, `${writable}/${allowedFrom}`, `${writable}/${allowedTo}`],
      error: 'EXDEV',
      hook: operation === 'link' ? 'path_link' : 'path_rename',
      operation: 'create',
      target: `${writable}/${to}`,
    }),
  ),
];

const descriptors: Row[] = [
  ...(
    [
      ['read', `${hidden}/file`, RDONLY, `${readable}/file`],
      ['write', `${readable}/file`, WRONLY, `${writable}/file`],
      ['write', `${readable}/file`, MODE3, `${writable}/file`],
      ['read', hidden, DIRECTORY, readable],
    ] as [string, string, string, string][]
  ).map(
    ([operation, path, flags, allowed]): Row => ({
      name: `receive a descriptor for ${path}, opened with ${flags}, from outside`,
      denied: ['receive', `${writable}/opener.sock`, path, flags],
      allowed: ['receive', `${writable}/opener.sock`, allowed, flags],
      result: 'EBADMSG',
      hook: 'file_receive',
      operation,
      target: path,
    }),
  ),
  {
    name: 'take a descriptor for a hidden file from a process outside',
    denied: ['take', `${readable}/holder`, 'hidden'],
    allowed: ['take', `${readable}/holder`, 'readable'],
    hook: 'file_receive',
    operation: 'read',
    target: `${hidden}/file`,
  },
  {
    name: 'take an io_uring from a process outside',
    denied: ['take', `${readable}/holder`, 'ring'],
    allowed: ['take', `${readable}/holder`, 'pipe'],
    hook: 'file_receive',
    operation: 'ring',
    target: 'another process’s io_uring',
  },
  {
    name: 'watch a directory that no rule grants',
    denied: ['watch', hidden],
    allowed: ['watch', readable],
    hook: 'path_notify',
    operation: 'read',
    target: hidden,
  },
  ...['mount', 'filesystem'].map(
    (scope): Row => ({
      name: `watch a whole ${scope}`,
      denied: ['watch-wide', readable, scope],
      allowed: ['watch', readable],
      hook: 'path_notify',
      operation: 'read',
      target: readable,
    }),
  ),
  ...['range', 'sendfile', 'splice', 'fallocate', 'ftruncate'].map(
    (how): Row => ({
      name: `open what ${how} would change`,
      denied: ['copy', how, `${readable}/secretive`, `${readable}/replaced`],
      allowed: ['copy', how, `${readable}/secretive`, `${writable}/copied`],
      hook: 'file_open',
      operation: 'write',
      target: `${readable}/replaced`,
    }),
  ),
];

/** io_uring: by the submitter or by a worker that the kernel made for it. */
const rings: Row[] = (
  [
    ['open', [`${hidden}/file`], [`${readable}/file`], 'file_open', 'read'],
    ['create', [`${readable}/ringed`], [`${writable}/ringed`], 'path_mknod', 'create'],
    ['sqpoll-open', [`${hidden}/file`], [`${readable}/file`], 'file_open', 'read'],
    ['sqpoll-fsetxattr', [`${readable}/file`], [`${writable}/file`], 'inode_setxattr', 'write'],
    ['mkdir', [`${readable}/ring-directory`], [`${writable}/ring-directory`], 'path_mkdir', 'create'],
    ['symlink', [`${readable}/ring-link`], [`${writable}/ring-link`], 'path_symlink', 'create'],
    [
      'link',
      [`${readable}/file`, `${writable}/ring-hard`],
      [`${writable}/file`, `${writable}/ring-hard-2`],
      'path_link',
      'write',
    ],
    [
      'rename',
      [`${readable}/ring-2`, `${writable}/x`],
      [`${writable}/ring-movable`, `${writable}/ring-moved`],
      'path_rename',
      'write',
    ],
    ['unlink', [`${readable}/ring-1`], [`${writable}/ring-removable`], 'path_unlink', 'write'],
    ['setxattr', [`${readable}/file`], [`${writable}/file`], 'inode_setxattr', 'write'],
    ['fsetxattr', [`${readable}/file`], [`${writable}/file`], 'inode_setxattr', 'write'],
    ['fallocate', [`${readable}/file`], [`${writable}/copied`], 'file_open', 'write'],
    ...(since([6, 9])
      ? [['ftruncate', [`${readable}/file`], [`${writable}/copied`], 'file_open', 'write']]
      : []),
    ['fsetxattr', [`${merged}/file`], [`${merged}/writable/ring-1`], 'inode_setxattr', 'write'],
    ['create', [`${merged}/ringed`], [`${merged}/writable/ringed`], 'path_mknod', 'create'],
    ['mkdir', [`${merged}/ring-directory`], [`${merged}/writable/ring-directory`], 'path_mkdir', 'create'],
  ] as [string, string[], string[], string, string][]
).map(([name, denied, allowed, hook, operation]) => ({
  name: `${name} by io_uring ${denied[0]}`,
  denied: ['ring', name, ...denied],
  allowed: ['ring', name, ...allowed],
  hook,
  operation,
  target: denied[0] as string,
}));
for (const [attack, how] of [
  ['ring-creds', 'of an older worker'],
  ['ring-personality', 'that were put by'],
] as const) {
  for (const mine of [`${writable}/file`, `${merged}/writable/${attack}`]) {
    rings.push({
      name: `set an attribute with the credentials ${how}, after it did on ${mine}`,
      denied: [attack, mine, `${readable}/file`],
      allowed: [attack, mine, mine],
      hook: 'inode_setxattr',
      operation: 'write',
      target: `${readable}/file`,
    });
  }
}

const network: Row[] = [
  ...(['4', '6'] as const).flatMap((family): Row[] => {
    const host = family === '4' ? '127.0.0.1' : '::1';
    const shown = family === '4' ? host : `[${host}]`;
    const over = `over IPv${family}`;
    return [
      {
        name: `bind a TCP port that no rule names ${over}`,
        denied: ['bind', family, 'tcp', host, '9090'],
        allowed: ['bind', family, 'tcp', host, '8080'],
        hook: 'socket_bind',
        operation: 'bind',
        target: `tcp ${shown}:9090`,
      },
      {
        name: `bind a UDP port that is granted for TCP ${over}`,
        denied: ['bind', family, 'udp', host, '8080'],
        allowed: ['bind', family, 'udp', host, '5353'],
        hook: 'socket_bind',
        operation: 'bind',
        target: `udp ${shown}:8080`,
      },
      {
        name: `connect to a TCP port that no rule names ${over}`,
        denied: ['connect', family, 'tcp', host, '7002'],
        allowed: ['connect', family, 'tcp', host, '7000'],
        hook: 'socket_connect',
        operation: 'connect',
        target: `tcp ${shown}:7002`,
      },
      {
        name: `connect a UDP socket to a port that no rule names ${over}`,
        denied: ['connect', family, 'udp', host, '53'],
        allowed: ['connect', family, 'udp', host, '7001'],
        hook: 'socket_connect',
        operation: 'connect',
        target: `udp ${shown}:53`,
      },
      {
        name: `send a datagram to a port that no rule names ${over}`,
        denied: ['send', family, 'udp', host, '53'],
        allowed: ['send', family, 'udp', host, '7001'],
        hook: 'socket_sendmsg',
        operation: 'send',
        target: `udp ${shown}:53`,
      },
      {
        name: `connect by TCP Fast Open to a port that no rule names ${over}`,
        denied: ['send', family, 'tcp', host, '7002'],
        allowed: ['send', family, 'tcp', host, '7000'],
        hook: 'socket_sendmsg',
        operation: 'send',
        target: `tcp ${shown}:7002`,
      },
    ];
  }),
  {
    name: 'connect over an IPv4-mapped IPv6 address to a port that no rule names',
    denied: ['connect', '6', 'tcp', '::ffff:127.0.0.1', '7002'],
    allowed: ['connect', '6', 'tcp', '::ffff:127.0.0.1', '7000'],
    hook: 'socket_connect',
    operation: 'connect',
    target: 'tcp [::ffff:7f00:1]:7002',
  },
  {
    name: 'send a datagram whose address has no family to a port that no rule names',
    denied: ['send-unspec', '127.0.0.1', '53'],
    allowed: ['send-unspec', '127.0.0.1', '7001'],
    hook: 'socket_sendmsg',
    operation: 'send',
    target: 'udp 127.0.0.1:53',
  },
  {
    name: 'listen without bind, on a port of the kernel’s choice',
    denied: ['listen'],
    allowed: ['bind', '4', 'tcp', '0.0.0.0', '8080'],
    hook: 'socket_listen',
    operation: 'listen',
    target: 'tcp 0.0.0.0:0',
  },
  ...[
    ['a raw socket', '2', '3', '1', 'inet protocol 1'],
    ['a packet socket', '17', '3', '0', 'packet'],
    ['an MPTCP socket', '2', '1', '262', 'inet protocol 262'],
    ['a netlink socket for netfilter', '16', '3', '12', 'netlink protocol 12'],
    ['a vsock socket', '40', '1', '0', 'family 40'],
    ['an AF_ALG socket', '38', '5', '0', 'family 38'],
  ].map(
    ([what, family, type, protocol, target]): Row => ({
      name: `make ${what}`,
      denied: ['socket', family as string, type as string, protocol as string],
      allowed: ['socket', '16', '3', '0'],
      hook: 'socket_create',
      operation: 'socket',
      target: target as string,
    }),
  ),
  {
    name: 'connect to a unix socket whose path it may not write',
    denied: ['unix', 'stream', `${readable}/stream.sock`],
    allowed: ['unix', 'stream', `${writable}/stream.sock`],
    hook: 'unix_stream_connect',
    operation: 'connect',
    target: `${readable}/stream.sock`,
  },
  {
    name: 'send to a unix datagram socket whose path it may not write',
    denied: ['unix', 'dgram', `${readable}/dgram.sock`],
    allowed: ['unix', 'dgram', `${writable}/dgram.sock`],
    hook: 'unix_may_send',
    operation: 'send',
    target: `${readable}/dgram.sock`,
  },
  {
    name: 'connect to an abstract unix socket',
    denied: ['unix', 'stream', '@jailrun-test'],
    allowed: ['socketpair'],
    hook: 'unix_stream_connect',
    operation: 'connect',
    target: 'unix',
  },
  {
    name: 'bind an abstract unix name',
    denied: ['unix-bind', '@jailrun-test-2'],
    allowed: ['unix-bind', `${writable}/own.sock`],
    hook: 'socket_bind',
    operation: 'bind',
    target: 'unix',
  },
];

/** A file system that is mounted after the jail began has no allowed twin but the ones mounted before. */
const others: Row[] = [
  {
    name: 'use a file system that was mounted after the jail began',
    denied: ['fresh-mount', `${readable}/mount-point`],
    allowed: ['open', `${writable}/new-2`, CREATE],
    hook: 'path_mknod',
    operation: 'create',
    target: '/file',
  },
  {
    name: 'stat a denied file through an overlay of its own',
    denied: ['overlay-stat', `${readable}/secret`, `${readable}/mount-point`, 'file'],
    allowed: ['stat', `${hidden}/file`],
    // Overlayfs reads the directory's attributes, in vain, when it is mounted.
    severalEvents: true,
    hook: 'inode_getattr',
    operation: 'stat',
    target: '/file',
  },
];

const rows = [...files, ...metadata, ...secrets, ...moves, ...descriptors, ...rings, ...network, ...others];

/** Files for the acts of their names: each changes its own. */
const writtenTo = [
  ...new Set(metadata.flatMap(({ allowed: [name = ''] }) => name)),
  ...['ring-1', 'ring-creds', 'ring-personality'],
];
const layers = ['lower', 'upper'].map((name) => `${overlay}/${name}`);

function removeTree(): void {
  spawnSync('umount', ['-q', merged]);
  rmSync(area, { recursive: true, force: true });
}

function makeTree(): void {
  removeTree();
  for (const directory of [
    readable,
    `${readable}/secret`,
    `${readable}/empty`,
    `${readable}/mount-point`,
    `${readable}/program`,
    writable,
    `${writable}/empty`,
    hidden,
    ...[
      'bin/movable-tools',
      'tools',
      'project/private',
      'project-2/private',
      'plain',
      'plain-2',
      'plain-3',
      'plain-4',
    ].map((name) => `${writable}/${name}`),
    merged,
    `${overlay}/work`,
    ...layers.flatMap((layer) => [`${layer}/writable`, `${layer}/secret`]),
  ]) {
    mkdirSync(directory, { recursive: true });
  }
  const names = {
    [readable]: ['file', 'secret/file', 'secretive', 'unlinked', 'replaced', 'ring-1', 'ring-2'],
    [writable]: [
      ...[
        'file',
        'file-2',
        'file-3',
        'removable',
        'movable',
        'movable-2',
        'replacing',
        'exchanged',
        'copied',
      ],
      ...[
        'tool',
        'tool-2',
        'bin/tool',
        'bin/tool-2',
        'tool-3',
        'bin/tool-3',
        'bin/movable',
        'ring-movable',
        'ring-removable',
      ],
      ...writtenTo,
    ],
    // Those are copied up when they are written; these need not be.
    [`${overlay}/lower`]: ['file', 'secret/file', ...writtenTo.map((name) => `writable/${name}`)],
    [`${overlay}/upper`]: ['writable/upper'],
    [hidden]: ['file', 'moved', 'exchanged'],
  };
  for (const [directory, files] of Object.entries(names)) {
    for (const name of files) writeFileSync(`${directory}/${name}`, 'text');
  }
  const kept = [writable, `${overlay}/lower/writable`].map((directory) => `${directory}/removexattr`);
  const marked = [
    ...kept,
    `${readable}/file`,
    `${readable}/secret/file`,
    `${hidden}/file`,
    `${overlay}/lower/file`,
    `${overlay}/lower/secret/file`,
  ];
  for (const path of marked) spawnSync(act, ['setxattr', path, 'user.kept']);
  for (const path of [writable, `${overlay}/lower/writable`])
    spawnSync(act, ['set-acl', `${path}/remove-acl`, 'access']);
  for (const path of [`${readable}/file`, `${overlay}/lower/file`])
    spawnSync(act, ['set-acl', path, 'access']);
  const options = `lowerdir=${overlay}/lower,upperdir=${overlay}/upper,workdir=${overlay}/work`;
  const mounted = spawnSync('mount', ['-t', 'overlay', '-o', options, 'test', merged], { encoding: 'utf8' });
  assert.equal(mounted.status, 0, mounted.stderr);
  symlinkSync(`${readable}/secret/file`, `${readable}/link-to-secret`);
  symlinkSync('file', `${readable}/secret/link`);
  symlinkSync(`${hidden}/file`, `${readable}/link-to-hidden`);
  symlinkSync(`${readable}/file`, `${readable}/link-to-file`);
  symlinkSync('/usr/bin/id', `${readable}/link-to-id`);
  for (const name of ['program/true', 'readable-program']) {
    copyFileSync('/usr/bin/true', `${readable}/${name}`);
    chmodSync(`${readable}/${name}`, 0o755);
  }
  writeFileSync(`${readable}/program/sh-script`, '#!/bin/sh\n:\n');
  writeFileSync(`${readable}/program/python-script`, '#!/usr/bin/env python3\n');
  for (const name of ['sh-script', 'python-script']) chmodSync(`${readable}/program/${name}`, 0o755);
}

const servers = `
import socket, time, os
kept = []
for family, host in ((socket.AF_INET, '127.0.0.1'), (socket.AF_INET6, '::1')):
    for port in (7000, 7002):
        s = socket.socket(family, socket.SOCK_STREAM)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind((host, port)); s.listen(64); kept.append(s)
    for port in (53, 7001):
        s = socket.socket(family, socket.SOCK_DGRAM)
        s.bind((host, port)); kept.append(s)
s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM); s.bind('\\0jailrun-test'); s.listen(64); kept.append(s)
for directory in ('${readable}', '${writable}'):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM); s.bind(directory + '/stream.sock'); s.listen(64); kept.append(s)
    s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.bind(directory + '/dgram.sock'); kept.append(s)
import ctypes, threading
s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM); s.bind('${writable}/opener.sock'); s.listen(64)
def serve():
    while True:
        peer = s.accept()[0]
        path, flags = peer.recv(4096).decode().split()
        fd = os.open(path, int(flags, 8))
        socket.send_fds(peer, [b'x'], [fd])
        os.close(fd); peer.close()
threading.Thread(target=serve, daemon=True).start()
held = {
    'hidden': os.open('${hidden}/file', os.O_RDONLY),
    'readable': os.open('${readable}/file', os.O_RDONLY),
    'pipe': os.pipe()[0],
    'ring': ctypes.CDLL(None).syscall(425, 8, ctypes.create_string_buffer(120)),
}
with open('${readable}/holder', 'w') as list:
    for name, fd in held.items(): list.write(f'{name} {os.getpid()} {fd}\\n')
print('ready', flush=True)
time.sleep(3600)
`;

async function withServers<T>(action: () => T): Promise<T> {
  const child = spawn('python3', ['-c', servers], { stdio: ['ignore', 'pipe', 'inherit'] });
  const closed = new Promise((resolve) => child.once('close', resolve));
  try {
    await new Promise((resolve, reject) => {
      child.stdout.once('data', resolve);
      child.once('close', () => reject(new Error('the servers did not start')));
    });
    return action();
  } finally {
    child.kill('SIGKILL');
    await closed;
  }
}

describe('a jailed task cannot', () => {
  let unjailed: Act[];
  let jailed: ReturnType<typeof runActs>;
  const both = rows.flatMap(({ denied, allowed }) => [denied, allowed]);

  before(async () => {
    makeTree();
    unjailed = await withServers(() => runActs(rows.map(({ denied }) => denied)).acts);
    makeTree();
    jailed = await withServers(() => runActs(both, ['--policy', policy, '--role', 'verdict']));
  });
  after(removeTree);

  rows.forEach((row, i) => {
    test(row.name, () => {
      const denied = jailed.acts[2 * i] as Act;
      const { result: without } = unjailed[i] as Act;
      assert.equal(denied.result, row.result ?? row.error ?? 'EACCES');
      // What this kernel does not offer to anybody is denied all the same, before it could be asked for.
      if (row.hook !== 'socket_create') assert.equal(without, 'ok', 'unjailed');
      const events = jailed.denials.filter(({ pid, ppid }) => pid === denied.pid || ppid === denied.pid);
      if (!row.severalEvents) assert.equal(events.length, 1, JSON.stringify(events));
      assert.notEqual(events.length, 0);
      const { hook, operation, target, error } = events.at(-1) as (typeof events)[0];
      assert.deepEqual(
        { hook, operation, target, error },
        { hook: row.hook, operation: row.operation, target: row.target, error: row.error ?? 'EACCES' },
      );
    });
    test(`${row.name}; its allowed twin works`, () => {
      const { result, pid } = jailed.acts[2 * i + 1] as Act;
      assert.equal(result, 'ok');
      assert.deepEqual(
        jailed.denials.filter((denial) => denial.pid === pid),
        [],
      );
    });
  });
});

describe('a descriptor of a denied file that was handed over', () => {
  const target = `${readable}/secret/file`;
  /** Runs `act on-fd 3 …` with descriptor 3 open in `mode`; what it said, and the denials' hooks. */
  const onFd = (mode: string, ...how: string[]): [string, string[]] => {
    mkdirSync(`${readable}/secret`, { recursive: true });
    mkdirSync(writable, { recursive: true });
    writeFileSync(target, 'text');
    const fd = openSync(target, mode);
    const command = ['--json', '--policy', policy, '--role', 'verdict', '--', act, 'on-fd', '3', ...how];
    const { stdout, stderr } = spawnSync(jailrun, command, {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe', fd],
    });
    closeSync(fd);
    const denials = stderr.split('\n').filter((line) => line.startsWith('{'));
    return [stdout.split(' ')[0] as string, denials.map((line) => JSON.parse(line).hook)];
  };
  after(removeTree);

  // Before Linux 6.6 an fstatat(2) of a descriptor, which is the C library's fstat(), is like a stat(2).
  for (const how of ['write', 'ftruncate', 'fstat', ...(since([6, 6]) ? ['fstatat'] : [])])
    test(`may be used as it is: ${how}`, () => assert.deepEqual(onFd('r+', how), ['ok', []]));
  test('does not give more than it was opened for', () => {
    assert.deepEqual(onFd('r', 'write'), ['EBADF', []]);
    assert.deepEqual(onFd('r', 'ftruncate'), ['EINVAL', []]);
  });
  test('may not be opened anew', () => assert.deepEqual(onFd('r+', 'reopen'), ['EACCES', ['file_open']]));
  test('may not be given a name', () =>
    assert.deepEqual(onFd('r+', 'link', `${writable}/named`), ['EACCES', ['path_link']]));
});

test('the kernel itself refuses to map a file for writing that is open for reading', () => {
  mkdirSync(readable, { recursive: true });
  writeFileSync(`${readable}/file`, 'text');
  const { acts, denials } = runActs([['map', `${readable}/file`]], ['--policy', policy, '--role', 'verdict']);
  assert.deepEqual([acts[0]?.result, denials], ['EACCES', []]);
  removeTree();
});

test('what is only audited goes on and is reported once', () => {
  makeTree();
  const rows = [
    ['stat', `${secret}/file`],
    ['setxattr', `${readable}/file`, 'user.new'],
    ['rename', `${writable}/tool`, `${writable}/bin/moved`],
    ['rename', `${hidden}/moved`, `${writable}/moved`],
  ];
  const { acts, denials } = runActs(rows, ['--policy', policy, '--role', 'verdict', '--audit']);
  assert.deepEqual(
    acts.map(({ result, pid }) => [
      result,
      ...denials.filter((denial) => denial.pid === pid).map(({ hook }) => hook),
    ]),
    [
      ['ok', 'inode_getattr'],
      ['ok', 'inode_setxattr'],
      ['ok', 'path_rename'],
      ['ok', 'path_rename'],
    ],
  );
  removeTree();
});
