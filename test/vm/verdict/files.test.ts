// Opening files, and changing what is in them.
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { runActs } from '../jail.js';
import { APPEND, CREATE, DIRECTORY, MODE3, RDONLY, type Row, TMPFILE, TRUNCATE, WRONLY } from './table.js';
import { hidden, jail, readable, removeTree, testTreeRows, writable } from './tree.js';

const rows: Row[] = [
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
    name: 'make a file without a name in a directory that may only be read',
    denied: ['open', readable, TMPFILE],
    allowed: ['open', writable, TMPFILE],
    hook: 'file_open',
    operation: 'write',
    target: new RegExp(`^${readable}/#\\d+$`),
  },
  {
    name: 'map a file to write it that may only be read',
    denied: ['map-shared', `${readable}/file`],
    allowed: ['map-shared', `${writable}/file`],
    hook: 'file_open',
    operation: 'write',
    target: `${readable}/file`,
  },
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

testTreeRows(rows);

test('the kernel itself refuses to map a file for writing that is open for reading', () => {
  mkdirSync(readable, { recursive: true });
  writeFileSync(`${readable}/file`, 'text');
  const { acts, denials } = runActs([['map', `${readable}/file`]], jail);
  assert.deepEqual([acts[0]?.result, denials], ['EACCES', []]);
  removeTree();
});
