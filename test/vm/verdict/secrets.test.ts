// Learning of what is denied expressly.
import { aclHook, type Row, since } from './table.js';
import { hidden, merged, readable, testTreeRows, withNameKept } from './tree.js';

/** The twins are of an object that no rule grants. */
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
        // The kernel has forgotten the file's name, so the denial cannot tell it. That of the twin it has
        // not, because the file is open.
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

testTreeRows(secrets, { around: withNameKept });
