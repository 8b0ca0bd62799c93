// Descriptors that come from others: received, taken, handed over at the start; and watches.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, writeFileSync } from 'node:fs';
import { after, describe, test } from 'node:test';
import { act, jailrun } from '../jail.js';
import { DIRECTORY, MODE3, PATH, RDONLY, type Row, since, WRONLY } from './table.js';
import { hidden, jail, readable, removeTree, testTreeRows, withServers, writable } from './tree.js';

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
    name: 'open a deleted file anew by a descriptor without rights that it received',
    denied: ['receive-reopen', `${writable}/opener.sock`, `${hidden}/deleted`, PATH, RDONLY],
    allowed: ['receive-reopen', `${writable}/opener.sock`, `${readable}/deleted`, PATH, RDONLY],
    hook: 'file_open',
    operation: 'read',
    target: `${hidden}/deleted`,
  },
  {
    name: 'open a deleted file for writing by a descriptor that it received for reading',
    denied: ['receive-reopen', `${writable}/opener.sock`, `${readable}/deleted-2`, RDONLY, WRONLY],
    allowed: ['receive-reopen', `${writable}/opener.sock`, `${writable}/deleted`, RDONLY, WRONLY],
    hook: 'file_open',
    operation: 'write',
    target: `${readable}/deleted-2`,
  },
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
];

testTreeRows(descriptors, { around: withServers });

describe('a descriptor of a denied file that was handed over', () => {
  const target = `${readable}/secret/file`;
  /** Runs `act on-fd 3 …` with descriptor 3 open in `mode`; what it said, and the denials' hooks. */
  const onFd = (mode: string, ...how: string[]): [string, string[]] => {
    mkdirSync(`${readable}/secret`, { recursive: true });
    mkdirSync(writable, { recursive: true });
    writeFileSync(target, 'text');
    const fd = openSync(target, mode);
    const command = ['--json', ...jail, '--', act, 'on-fd', '3', ...how];
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
