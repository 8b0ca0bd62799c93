// The directories, the overlay and the role that the tests of verdicts on files share.
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
import { act, writePolicy } from '../jail.js';
import { type Row, testRows } from './table.js';

/** The scratch ext4 of the VM; acts that need their own directory have one in each of its parts. */
const area = '/mnt/ext4/verdict';
export const readable = `${area}/readable`;
export const writable = `${area}/writable`;
export const hidden = `${area}/hidden`;
/** An overlay whose layers no rule names. */
export const overlay = `${area}/overlay`;
export const merged = `${overlay}/merged`;

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

/** Options of jailrun for that role. */
export const jail = ['--policy', policy, '--role', 'verdict'];

const layers = ['lower', 'upper'].map((name) => `${overlay}/${name}`);

export function removeTree(): void {
  spawnSync('umount', ['-q', merged]);
  rmSync(area, { recursive: true, force: true });
}

/** @param writtenTo further files that may be written, also on the overlay: acts that would disturb others have their own */
export function makeTree(writtenTo: string[] = []): void {
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
    [readable]: [
      'file',
      'secret/file',
      'secretive',
      'unlinked',
      'replaced',
      'ring-1',
      'ring-2',
      'deleted',
      'deleted-2',
    ],
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
        'deleted',
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
    [hidden]: ['file', 'moved', 'exchanged', 'forgotten', 'deleted'],
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
        if 'deleted' in path: os.unlink(path)
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

/**
 * Runs `action` while servers outside of the jail listen, and hold and send descriptors (`act receive`,
 * `act take`). A file whose name has "deleted" in it they remove once they have it open.
 */
export async function withServers<T>(action: () => T): Promise<T> {
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

/** Runs `action` while the kernel cannot forget the name of `readable`/file, because somebody has it open. */
export async function withNameKept<T>(action: () => T): Promise<T> {
  const fd = openSync(`${readable}/file`, 'r');
  try {
    return action();
  } finally {
    closeSync(fd);
  }
}

/** Two tests for each row, in this tree; `around` and `writtenTo` as above. */
export function testTreeRows(
  rows: Row[],
  { writtenTo, around }: { writtenTo?: string[]; around?: typeof withServers } = {},
): void {
  testRows(rows, { make: () => makeTree(writtenTo), remove: removeTree, ...(around && { around }) }, jail);
}
