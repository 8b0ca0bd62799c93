// io_uring: what it does for a jailed task, by the submitter or by a worker that the kernel made for it.
import { type Row, since } from './table.js';
import { hidden, merged, readable, testTreeRows, writable } from './tree.js';

const rings: Row[] = (
  [
    ['open', [`${hidden}/file`], [`${readable}/file`], 'file_open', 'read'],
    ['open2', [`${hidden}/file`], [`${readable}/file`], 'file_open', 'read'],
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

testTreeRows(rings, { writtenTo: ['ring-1', 'ring-creds', 'ring-personality'] });
