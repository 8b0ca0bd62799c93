// Every operation that this version decides: denied with the right errno and event, the same operation
// unjailed, and its allowed twin in the same jail.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { chmodSync, copyFileSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { type Act, act, runActs, writePolicy } from './jail.js';

/** The scratch ext4 of the VM; acts that need their own directory have one in each of its parts. */
const area = '/mnt/ext4/verdict';
const readable = `${area}/readable`;
const writable = `${area}/writable`;
const hidden = `${area}/hidden`;

const policy = writePolicy(
  'verdict',
  `version: 1
roles:
  verdict:
    id: 500
    description: What the verdict tests may do.
    files:
      read: ["@runtime", ${readable}, ${act}]
      write: [${writable}]
      deny: [${readable}/secret]
    exec: [/bin/sh, /usr/bin/true, ${act}, ${readable}/program]
    network:
      bind: [tcp:8080, udp:5353]
      connect: [tcp:7000, udp:7001]
`,
);

interface Row {
  /** Reads on: "a jailed task cannot …". */
  name: string;
  denied: string[];
  allowed: string[];
  error?: string;
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
];

const rows = [...files, ...network, ...others];

function makeTree(): void {
  rmSync(area, { recursive: true, force: true });
  for (const directory of [
    readable,
    `${readable}/secret`,
    `${readable}/empty`,
    `${readable}/mount-point`,
    `${readable}/program`,
    writable,
    `${writable}/empty`,
    hidden,
  ]) {
    mkdirSync(directory, { recursive: true });
  }
  const names = {
    [readable]: ['file', 'secret/file', 'secretive', 'unlinked', 'replaced'],
    [writable]: ['file', 'file-2', 'file-3', 'removable', 'movable', 'movable-2', 'replacing', 'exchanged'],
    [hidden]: ['file', 'moved', 'exchanged'],
  };
  for (const [directory, files] of Object.entries(names)) {
    for (const name of files) writeFileSync(`${directory}/${name}`, 'text');
  }
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
  after(() => rmSync(area, { recursive: true, force: true }));

  rows.forEach((row, i) => {
    test(row.name, () => {
      const denied = jailed.acts[2 * i] as Act;
      const { result: without } = unjailed[i] as Act;
      assert.equal(denied.result, row.error ?? 'EACCES');
      // What this kernel does not offer to anybody is denied all the same, before it could be asked for.
      if (row.hook !== 'socket_create') assert.equal(without, 'ok', 'unjailed');
      const events = jailed.denials.filter(({ pid, ppid }) => pid === denied.pid || ppid === denied.pid);
      assert.equal(events.length, 1, JSON.stringify(events));
      const [{ hook, operation, target, error }] = events as [(typeof events)[0]];
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
