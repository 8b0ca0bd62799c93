// The same few operations on every kind of file system that a role may name, by every path it is seen at.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { describe } from 'node:test';
import { act, writePolicy } from './jail.js';
import { CREATE, DIRECTORY, RDONLY, type Row, testRows, WRONLY } from './verdict/table.js';

/** Mounted on tmpfs, on the root, which is an overlay in the VM, and on ext4. */
const onTmpfs = '/run/filesystems';
const onRoot = '/var/lib/filesystems';
const onExt4 = '/mnt/ext4/filesystems';

interface Place {
  name: string;
  /** What the rules name, and what holds the directories of fill(). */
  path: string;
  /** Another path to the same directory; rules for `path` hold there, too. */
  also?: string;
  mount?: string[];
}

const places: Place[] = [
  { name: 'the overlay that is the root', path: onRoot },
  { name: 'tmpfs', path: onTmpfs },
  { name: 'ext4', path: onExt4 },
  {
    name: 'a tmpfs of its own',
    path: `${onExt4}-mounts/tmpfs`,
    mount: ['-t', 'tmpfs', 'test', `${onExt4}-mounts/tmpfs`],
  },
  {
    name: 'an overlay whose layers are elsewhere',
    path: `${onExt4}-mounts/merged`,
    mount: [
      '-t',
      'overlay',
      '-o',
      ['lower', 'upper', 'work'].map((name) => `${name}dir=${onExt4}-mounts/${name}`).join(),
      'test',
      `${onExt4}-mounts/merged`,
    ],
  },
  {
    name: 'a bind mount over a directory',
    path: `${onTmpfs}-mounts/bound`,
    also: `${onExt4}-mounts/source`,
    mount: ['--bind', `${onExt4}-mounts/source`, `${onTmpfs}-mounts/bound`],
  },
];

const bound = `${onTmpfs}-mounts/files`;
const boundSource = `${onExt4}-mounts/files`;
const cpus = '/sys/devices/system/cpu';
const hugepage = '/sys/kernel/mm/transparent_hugepage';

const list = (paths: string[]): string => `[${paths.map((path) => JSON.stringify(path)).join(', ')}]`;
const policy = writePolicy(
  'filesystems',
  `version: 1
roles:
  filesystems:
    id: 630
    description: What the tests of file systems may do.
    files:
      read: ${list([
        '@libraries',
        act,
        ...places.map(({ path }) => `${path}/given`),
        `${bound}/given`,
        '/proc/[0-9]*/status',
        '/proc/sys/kernel/ostype',
        `${cpus}/cpu[0-9]*/uevent`,
        `${hugepage}/enabled`,
        `${hugepage}/khugepaged`,
      ])}
      write: ${list([
        ...places.map(({ path }) => `${path}/own`),
        `${bound}/own`,
        '/proc/sys/kernel/domainname',
        `${hugepage}/defrag`,
      ])}
      deny: ${list([
        ...places.flatMap(({ path }) => [`${path}/given/secret`, `${path}/given/*/key`]),
        `${bound}/denied`,
        '/proc/[0-9]*/environ',
        '/proc/sys/kernel/hostname',
        `${hugepage}/khugepaged/defrag`,
      ])}
    exec: [${act}]
    allow: [mount, namespaces]
`,
);

/** Everything that rowsFor() works on. */
function fill(path: string): void {
  for (const name of ['given/secret', 'given/some', 'own', 'other'])
    mkdirSync(`${path}/${name}`, { recursive: true });
  for (const name of [
    ...['file', 'removed', 'replaced', 'secret/file', 'secretive', 'some/key', 'some/keys'].map(
      (name) => `given/${name}`,
    ),
    ...['file', 'removed', 'moved', 'moved-2'].map((name) => `own/${name}`),
    'other/file',
  ])
    writeFileSync(`${path}/${name}`, 'text');
}

/** `at` is the path that is used, `path` what denials show. */
function rowsFor(at: string, shown: string): Row[] {
  const row = (
    name: string,
    denied: string[],
    allowed: string[],
    hook: string,
    operation: string,
    target = denied[1] as string,
  ): Row => ({
    name,
    denied: denied.map((word) => word.replace(/^\//, `${at}/`)),
    allowed: allowed.map((word) => word.replace(/^\//, `${at}/`)),
    hook,
    operation,
    target: `${shown}${target}`,
  });
  return [
    row(
      'read what no rule grants',
      ['open', '/other/file', RDONLY],
      ['open', '/given/file', RDONLY],
      'file_open',
      'read',
    ),
    row(
      'list what no rule grants',
      ['open', '/other', DIRECTORY],
      ['open', '/given', DIRECTORY],
      'file_open',
      'read',
    ),
    row(
      'read what is denied beside what is granted',
      ['open', '/given/secret/file', RDONLY],
      ['open', '/given/secretive', RDONLY],
      'file_open',
      'read',
    ),
    row(
      'read what a pattern denies',
      ['open', '/given/some/key', RDONLY],
      ['open', '/given/some/keys', RDONLY],
      'file_open',
      'read',
    ),
    row(
      'stat what is denied',
      ['stat', '/given/secret/file'],
      ['stat', '/other/file'],
      'inode_getattr',
      'stat',
    ),
    row(
      'write what may only be read',
      ['open', '/given/file', WRONLY],
      ['open', '/own/file', WRONLY],
      'file_open',
      'write',
    ),
    row(
      'create where it may only read',
      ['open', '/given/new', CREATE],
      ['open', '/own/new', CREATE],
      'path_mknod',
      'create',
    ),
    row(
      'make a directory where it may only read',
      ['mkdir', '/given/dir'],
      ['mkdir', '/own/dir'],
      'path_mkdir',
      'create',
    ),
    row(
      'remove what may only be read',
      ['unlink', '/given/removed'],
      ['unlink', '/own/removed'],
      'path_unlink',
      'write',
    ),
    row(
      'replace what may only be read',
      ['rename', '/own/moved', '/given/replaced'],
      ['rename', '/own/moved-2', '/own/moved-3'],
      'path_rename',
      'create',
      '/given/replaced',
    ),
    row(
      'change the mode of what may only be read',
      ['chmod', '/given/file'],
      ['chmod', '/own/file'],
      'path_chmod',
      'write',
    ),
  ];
}

const mounted = (target: string, ...words: string[]): void => {
  mkdirSync(target, { recursive: true });
  const { status, stderr } = spawnSync('mount', words, { encoding: 'utf8' });
  assert.equal(status, 0, stderr);
};

function removePlaces(): void {
  const files = ['given', 'own', 'denied'].map((name) => `${bound}/${name}`);
  const points = [...places.filter(({ mount }) => mount).map(({ path }) => path), ...files];
  for (const point of points) spawnSync('umount', ['-q', point]);
  for (const path of [onRoot, onTmpfs, onExt4, `${onTmpfs}-mounts`, `${onExt4}-mounts`])
    rmSync(path, { recursive: true, force: true });
}

function makePlaces(): void {
  removePlaces();
  for (const name of ['lower', 'upper', 'work', 'source', 'files'])
    mkdirSync(`${onExt4}-mounts/${name}`, { recursive: true });
  // On the overlay what may be read is in the lower layer, and is copied up where it is changed.
  fill(`${onExt4}-mounts/lower`);
  for (const { path, mount } of places) {
    if (mount) mounted(path, ...mount);
    fill(path);
  }
  mkdirSync(bound);
  for (const name of ['given', 'own', 'denied', 'sibling']) writeFileSync(`${boundSource}/${name}`, 'text');
  for (const name of ['given', 'own', 'denied']) {
    writeFileSync(`${bound}/${name}`, '');
    const { status, stderr } = spawnSync('mount', ['--bind', `${boundSource}/${name}`, `${bound}/${name}`], {
      encoding: 'utf8',
    });
    assert.equal(status, 0, stderr);
  }
}

const boundFiles: Row[] = [bound, boundSource].flatMap((at): Row[] => [
  {
    name: `write one that may only be read, as ${at}`,
    denied: ['open', `${at}/given`, WRONLY],
    allowed: ['open', `${at}/own`, WRONLY],
    hook: 'file_open',
    operation: 'write',
    target: `${bound}/given`,
  },
  {
    name: `read one that is denied, as ${at}`,
    denied: ['open', `${at}/denied`, RDONLY],
    allowed: ['open', `${at}/given`, RDONLY],
    hook: 'file_open',
    operation: 'read',
    target: `${bound}/denied`,
  },
  {
    name: `stat one that is denied, as ${at}`,
    denied: ['stat', `${at}/denied`],
    allowed: ['stat', `${at}/own`],
    hook: 'inode_getattr',
    operation: 'stat',
    target: `${bound}/denied`,
  },
]);
boundFiles.push({
  name: 'read what lies beside the file that is mounted',
  denied: ['open', `${boundSource}/sibling`, RDONLY],
  allowed: ['open', `${boundSource}/given`, RDONLY],
  hook: 'file_open',
  operation: 'read',
  target: `${boundSource}/sibling`,
});

/** Nothing can be created in proc or sysfs, nor renamed, by anybody. */
const proc: Row[] = [
  {
    name: 'read what no rule grants of a process',
    denied: ['open', '/proc/self/stat', RDONLY],
    allowed: ['open', '/proc/self/status', RDONLY],
    hook: 'file_open',
    operation: 'read',
    target: /^\/proc\/\d+\/stat$/,
  },
  {
    name: 'read what a pattern grants of processes, of a thread',
    denied: ['open', '/proc/thread-self/status', RDONLY],
    allowed: ['open', '/proc/1/status', RDONLY],
    hook: 'file_open',
    operation: 'read',
    target: /^\/proc\/\d+\/task\/\d+\/status$/,
  },
  {
    name: 'stat what a pattern denies of a process',
    denied: ['stat', '/proc/self/environ'],
    allowed: ['stat', '/proc/self/stat'],
    hook: 'inode_getattr',
    operation: 'stat',
    target: /^\/proc\/\d+\/environ$/,
  },
  {
    name: 'list the processes',
    denied: ['open', '/proc', DIRECTORY],
    allowed: ['open', '/proc/sys/kernel/ostype', RDONLY],
    hook: 'file_open',
    operation: 'read',
    target: '/proc',
  },
  {
    name: 'write a setting that no rule grants',
    denied: ['open', '/proc/sys/kernel/core_pattern', WRONLY],
    allowed: ['open', '/proc/sys/kernel/domainname', WRONLY],
    hook: 'file_open',
    operation: 'write',
    target: '/proc/sys/kernel/core_pattern',
  },
  {
    name: 'read a setting that is denied',
    denied: ['open', '/proc/sys/kernel/hostname', RDONLY],
    allowed: ['open', '/proc/sys/kernel/ostype', RDONLY],
    hook: 'file_open',
    operation: 'read',
    target: '/proc/sys/kernel/hostname',
  },
  {
    // A further proc is a file system of its own, which came after the jail.
    name: 'read what it may on a proc of its own',
    denied: ['mount-open', 'proc', `${onExt4}/own`, 'sys/kernel/ostype'],
    allowed: ['open', '/proc/sys/kernel/ostype', RDONLY],
    hook: 'file_open',
    operation: 'read',
    target: '/sys/kernel/ostype',
  },
];

const sysfs: Row[] = [
  {
    name: 'read what no rule grants',
    denied: ['open', `${hugepage}/use_zero_page`, RDONLY],
    allowed: ['open', `${hugepage}/enabled`, RDONLY],
    hook: 'file_open',
    operation: 'read',
    target: `${hugepage}/use_zero_page`,
  },
  {
    name: 'read what a pattern does not grant',
    denied: ['open', `${cpus}/uevent`, RDONLY],
    allowed: ['open', `${cpus}/cpu0/uevent`, RDONLY],
    hook: 'file_open',
    operation: 'read',
    target: `${cpus}/uevent`,
  },
  {
    name: 'write what may only be read',
    denied: ['open', `${hugepage}/enabled`, WRONLY],
    allowed: ['open', `${hugepage}/defrag`, WRONLY],
    hook: 'file_open',
    operation: 'write',
    target: `${hugepage}/enabled`,
  },
  {
    name: 'stat what is denied',
    denied: ['stat', `${hugepage}/khugepaged/defrag`],
    allowed: ['stat', `${hugepage}/use_zero_page`],
    hook: 'inode_getattr',
    operation: 'stat',
    target: `${hugepage}/khugepaged/defrag`,
  },
  {
    name: 'read what is denied beside what is granted',
    denied: ['open', `${hugepage}/khugepaged/defrag`, RDONLY],
    allowed: ['open', `${hugepage}/khugepaged/pages_to_scan`, RDONLY],
    hook: 'file_open',
    operation: 'read',
    target: `${hugepage}/khugepaged/defrag`,
  },
  {
    // The kernel shows the same file system there.
    name: 'read what no rule grants on a sysfs of its own',
    denied: ['mount-open', 'sysfs', `${onExt4}/own`, 'kernel/mm/transparent_hugepage/use_zero_page'],
    allowed: ['mount-open', 'sysfs', `${onExt4}/own`, 'kernel/mm/transparent_hugepage/enabled'],
    hook: 'file_open',
    operation: 'read',
    target: `${hugepage}/use_zero_page`,
  },
];

const ground = { make: makePlaces, remove: removePlaces };
const options = ['--policy', policy, '--role', 'filesystems'];
/** One jail runs the acts of all; `of` only heads the names. */
const of = (name: string, rows: Row[]): Row[] =>
  rows.map((row) => ({ ...row, name: `${row.name}, on ${name}` }));

describe('on each file system', () =>
  testRows(
    [
      ...places.flatMap(({ name, path }) => of(name, rowsFor(path, path))),
      ...of('bind mounts of files', boundFiles),
      ...of('proc', proc),
      ...of('sysfs', sysfs),
    ],
    ground,
    options,
  ));

describe('by the path of what is mounted elsewhere', () => {
  for (const { name, path, also } of places)
    if (also) testRows(of(name, rowsFor(also, path)), ground, options);
});
