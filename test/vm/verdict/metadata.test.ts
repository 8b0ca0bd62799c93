// Changes to what is said about a file.
import { aclHook, type Row, since } from './table.js';
import { hidden, merged, overlay, readable, testTreeRows, writable } from './tree.js';

const modes: Row[] = [
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
];

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

testTreeRows([...modes, ...metadata], {
  writtenTo: [...new Set(metadata.flatMap(({ allowed: [name = ''] }) => name))],
});
