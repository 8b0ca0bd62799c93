// Names: made, given, moved, exchanged and taken away.
import type { Row } from './table.js';
import { hidden, readable, testTreeRows, writable } from './tree.js';

const names: Row[] = [
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
];

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

moves.push({
  name: 'give a file that never had a name one by which it may be executed',
  denied: ['tmpfile-link', writable, `${writable}/bin/unnamed`],
  allowed: ['tmpfile-link', writable, `${writable}/unnamed`],
  error: 'EXDEV',
  hook: 'path_link',
  operation: 'create',
  target: `${writable}/bin/unnamed`,
});

testTreeRows([...names, ...moves]);
