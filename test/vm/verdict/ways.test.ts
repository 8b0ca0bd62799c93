// Ways to an object other than its path: mounts, handles, descriptors without rights, overlays.
import { CREATE, RDONLY, type Row, WRONLY } from './table.js';
import { hidden, merged, readable, testTreeRows, withNameKept, writable } from './tree.js';

const ways: Row[] = [
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
    name: 'write a read-only file through a bind mount on a writable directory',
    denied: ['bind-open', readable, `${writable}/empty`, 'file', WRONLY],
    allowed: ['bind-open', writable, `${readable}/mount-point`, 'file', WRONLY],
    hook: 'file_open',
    operation: 'write',
    target: `${readable}/file`,
  },
  {
    name: 'read a hidden file in a mount namespace of its own',
    denied: ['unshared-open', `${hidden}/file`],
    allowed: ['unshared-open', `${readable}/file`],
    hook: 'file_open',
    operation: 'read',
    target: `${hidden}/file`,
  },
  {
    name: 'read a hidden file below a root of its own',
    denied: ['chroot-open', hidden, '/file'],
    allowed: ['chroot-open', readable, '/file'],
    hook: 'file_open',
    operation: 'read',
    target: `${hidden}/file`,
  },
  {
    name: 'read a hidden file through /proc/PID/root of a process with another root',
    denied: ['root-open', hidden, '/file'],
    allowed: ['root-open', readable, '/file'],
    hook: 'file_open',
    operation: 'read',
    target: `${hidden}/file`,
  },
  {
    name: 'read a hidden file through /proc/self/root',
    denied: ['open', `/proc/self/root${hidden}/file`, RDONLY],
    allowed: ['open', `/proc/self/root${readable}/file`, RDONLY],
    hook: 'file_open',
    operation: 'read',
    target: `${hidden}/file`,
  },
  {
    name: 'read a hidden file through /proc/self/cwd',
    denied: ['cwd-open', hidden, 'file'],
    allowed: ['cwd-open', readable, 'file'],
    hook: 'file_open',
    operation: 'read',
    target: `${hidden}/file`,
  },
  {
    // The kernel has forgotten the file's name, so the denial cannot tell it. That of the twin it has
    // not, because the file is open.
    name: 'open a hidden file by its handle, when the kernel has forgotten its name',
    denied: ['by-handle-forgotten', `${hidden}/forgotten`, readable],
    allowed: ['by-handle-forgotten', `${readable}/file`, readable],
    hook: 'file_open',
    operation: 'read',
    target: '/mnt/ext4',
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
    name: 'use a file system that it made and mounted nowhere',
    denied: ['fsmount-create'],
    allowed: ['open', `${writable}/new-3`, CREATE],
    hook: 'path_mknod',
    operation: 'create',
    target: '/file',
  },
  {
    name: 'read a hidden file through an overlay of its own',
    denied: ['overlay-open', hidden, `${readable}/mount-point`, 'file'],
    allowed: ['open', `${merged}/file`, RDONLY],
    hook: 'file_open',
    operation: 'read',
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

testTreeRows([...ways, ...others], { around: withNameKept });
