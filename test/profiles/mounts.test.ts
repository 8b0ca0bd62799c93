import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import {
  hasPaths,
  type Mount,
  mountsBelow,
  objectAt,
  parseMountinfo,
  visibleMounts,
  visiblePath,
} from '../../src/profiles/mounts.js';
import { allPaths, Namespace, pathText } from './model.js';

function mountsOf(...lines: string[]): Mount[] {
  return parseMountinfo(Buffer.from(`${lines.join('\n')}\n`, 'latin1'));
}

function visibleOf(...lines: string[]): string[] {
  return visibleMounts(mountsOf(...lines))
    .map(({ id, mountPoint }) => `${mountPoint} ${id}`)
    .sort();
}

describe('a line of a mount table', () => {
  test('is read with any number of optional fields', () => {
    const mount = {
      id: 36,
      parent: 35,
      device: (98 << 20) | 5,
      epoch: 0,
      root: '/mnt1',
      mountPoint: '/mnt2',
      fsType: 'ext3',
    };
    assert.deepEqual(
      mountsOf(
        '36 35 98:5 /mnt1 /mnt2 rw,noatime - ext3 /dev/root rw,errors=continue',
        '36 35 98:5 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw',
        '36 35 98:5 /mnt1 /mnt2 rw,noatime shared:2 master:1 propagate_from:3 - ext3 /dev/root rw',
      ),
      [mount, mount, mount],
    );
  });

  test('has the device number as the kernel holds it, up to the highest', () => {
    assert.equal(mountsOf('1 0 4095:1048575 / / rw - x x rw')[0]?.device, 0xffffffff);
  });

  test('has its paths unescaped, byte for byte', () => {
    const [mount] = mountsOf('1 0 8:1 /a\\040b\\134040 /\xff\\011\\012 rw - x x rw');
    assert.equal(mount?.root, '/a b\\040');
    assert.equal(mount?.mountPoint, '/\xff\t\n');
  });

  test('that is something else is refused', () => {
    for (const line of ['hello', '1 0 8 / / rw - ext4 x rw', '1 0 8:1 / / rw', 'x 0 8:1 / / rw - ext4 x rw'])
      assert.throws(() => mountsOf(line), /no line of a mount table/);
  });

  test('of this host is understood', () => {
    const mounts = parseMountinfo(readFileSync('/proc/self/mountinfo'));
    const proc = visibleMounts(mounts).find(({ mountPoint }) => mountPoint === '/proc');
    assert.equal(proc?.fsType, 'proc');
  });
});

describe('mounts are visible', () => {
  const root = '20 1 8:1 / / rw - ext4 x rw';

  test('beside and below each other', () => {
    assert.deepEqual(visibleOf(root, '21 20 0:2 / /a rw - t t rw', '22 21 0:3 / /a/b rw - t t rw'), [
      '/ 20',
      '/a 21',
      '/a/b 22',
    ]);
  });

  test('only the topmost where they are stacked', () => {
    const stack = ['21 20 0:2 / /a rw - t t rw', '22 21 0:3 / /a rw - t t rw', '23 22 0:4 / /a rw - t t rw'];
    assert.deepEqual(visibleOf(root, ...stack), ['/ 20', '/a 23']);
    assert.deepEqual(visibleOf(root, ...stack.toReversed()), ['/ 20', '/a 23']);
  });

  test('not below a stacked mount', () => {
    assert.deepEqual(
      visibleOf(
        root,
        '21 20 0:2 / /a rw - t t rw',
        '22 21 0:3 / /a/b rw - t t rw',
        '23 21 0:4 / /a rw - t t rw',
      ),
      ['/ 20', '/a 23'],
    );
  });

  test('not below a directory that was mounted over later', () => {
    assert.deepEqual(
      visibleOf(
        root,
        '21 20 0:2 / /a/b rw - t t rw',
        '22 20 0:3 / /a rw - t t rw',
        '23 22 0:4 / /a/b rw - t t rw',
      ),
      ['/ 20', '/a 22', '/a/b 23'],
    );
  });

  test('unless they lie on the root itself, which no look-up enters', () => {
    assert.deepEqual(
      visibleOf(
        root,
        '21 20 0:2 / / rw - t t rw',
        '22 20 0:3 / /a rw - t t rw',
        '23 21 0:4 / /b rw - t t rw',
      ),
      ['/ 20', '/a 22'],
    );
  });

  test('where the root is a plain directory that the table does not show', () => {
    assert.deepEqual(visibleOf('21 9 0:2 / /proc rw - proc proc rw', '22 21 0:3 / /proc/x rw - t t rw'), [
      '/proc 21',
      '/proc/x 22',
    ]);
  });
});

test('the root of a mount has a path unless it is removed, an object of its own, or above the namespace', () => {
  const hasPathsWith = (root: string) =>
    hasPaths({ id: 2, parent: 1, device: 1, epoch: 0, root, mountPoint: '/a', fsType: 'x' });
  for (const root of ['/', '/a/b', '/a..b', '/deleted']) assert.ok(hasPathsWith(root), root);
  for (const root of ['net:[4026531840]', '/a//deleted', '/..', '/../../x'])
    assert.ok(!hasPathsWith(root), root);
});

describe('the visible path of an object', () => {
  const namespace = new Namespace(1);
  namespace.mount(['srv', 'data'], 2, []);
  namespace.bind(['srv', 'www'], ['mnt']);
  namespace.mount(['opt', 'x'], 3, ['sub', 'dir']);
  const mounts = mountsOf(...namespace.lines());

  test('is its path on the file system below the mount point', () => {
    assert.equal(visiblePath(1, '/etc/passwd', mounts), '/etc/passwd');
    assert.equal(visiblePath(2, '/', mounts), '/srv/data');
    assert.equal(visiblePath(2, '/a/ü', mounts), '/srv/data/a/ü');
    assert.equal(visiblePath(3, '/sub/dir/f', mounts), '/opt/x/f');
  });

  test('is the shortest of several', () => {
    assert.equal(visiblePath(1, '/srv/www/index.html', mounts), '/mnt/index.html');
  });

  test('is unknown where no mount shows it', () => {
    assert.equal(visiblePath(1, '/srv/data/hidden', mounts), undefined);
    assert.equal(visiblePath(3, '/sub', mounts), undefined);
    assert.equal(visiblePath(3, '/sub/directory', mounts), undefined);
    assert.equal(visiblePath(9, '/', mounts), undefined);
  });
});

describe('the object at a path', () => {
  const namespace = new Namespace(1);
  namespace.mount(['srv', 'data'], 2, []);
  namespace.bind(['srv', 'www'], ['mnt']);
  namespace.mount(['opt', 'x'], 3, ['sub', 'dir']);
  const mounts = mountsOf(...namespace.lines());

  test('is in the file system that is mounted nearest above it', () => {
    assert.deepEqual(objectAt('/', mounts), { device: 1, path: '/' });
    assert.deepEqual(objectAt('/etc/passwd', mounts), { device: 1, path: '/etc/passwd' });
    assert.deepEqual(objectAt('/srv/data', mounts), { device: 2, path: '/' });
    assert.deepEqual(objectAt('/srv/data/a/ü', mounts), { device: 2, path: '/a/ü' });
    assert.deepEqual(objectAt('/opt/x/f', mounts), { device: 3, path: '/sub/dir/f' });
  });

  test('goes by its name there, whatever name a bind mount gives it', () => {
    assert.deepEqual(objectAt('/mnt/index.html', mounts), { device: 1, path: '/srv/www/index.html' });
  });

  test('is unknown where the mount table does not tell its path', () => {
    const namespaceFile = '21 20 0:4 net:[4026531840] /run/n rw - nsfs nsfs rw';
    const removed = '22 20 0:1 /old//deleted /a rw - ext4 x rw';
    const told = mountsOf('20 1 0:1 / / rw - ext4 x rw', namespaceFile, removed);
    for (const path of ['/run/n', '/a', '/a/b']) assert.equal(objectAt(path, told), undefined);
    assert.equal(objectAt('/a', []), undefined);
  });

  test('is the one that a walk through the mounts arrives at', () => {
    const path = fc.array(fc.constantFrom('a', 'b'), { maxLength: 3 });
    const mount = fc.record({ point: path, device: fc.constantFrom(1, 2, 3), root: path });
    const visible = allPaths(['a', 'b', 'c'], 4);
    fc.assert(
      fc.property(path, fc.array(mount, { maxLength: 6 }), (root, more) => {
        const random = new Namespace(1, root);
        for (const { point, device, root: from } of more) random.mount(point, device, from);
        const table = mountsOf(...random.lines());
        for (const names of visible) {
          const { device, path: inside } = random.resolve(names);
          assert.deepEqual(objectAt(pathText(names), table), { device, path: pathText(inside) });
        }
      }),
      { numRuns: 100 },
    );
  });
});

describe('the mount table below a directory', () => {
  const table = mountsOf(
    '1 0 8:1 / / rw - ext4 a rw',
    '2 1 0:30 / /c/root rw - overlay o rw',
    '3 2 0:30 / /c/root rw - overlay o rw',
    '4 3 0:31 / /c/root/proc rw - proc p rw',
    '5 3 8:1 /var/hosts /c/root/etc/hosts rw - ext4 a rw',
    '6 1 0:32 / /c/rootless rw - tmpfs t rw',
    '7 2 0:33 / /c/root/hidden rw - tmpfs t rw',
  );
  const seen = (root: string) =>
    mountsBelow(root, table)?.map(({ device, root, mountPoint }) => `${mountPoint} ${device} ${root}`);

  test('is what a root directory there shows, topmost mounts only', () => {
    assert.deepEqual(seen('/c/root')?.sort(), [
      '/ 30 /',
      `/etc/hosts ${(8 << 20) | 1} /var/hosts`,
      '/proc 31 /',
    ]);
  });
  test('begins within a file system where nothing is mounted on the directory itself', () => {
    assert.deepEqual(seen('/c')?.sort(), [
      `/ ${(8 << 20) | 1} /c`,
      '/root 30 /',
      `/root/etc/hosts ${(8 << 20) | 1} /var/hosts`,
      '/root/proc 31 /',
      '/rootless 32 /',
    ]);
  });
  test('is the whole one below /', () => {
    assert.deepEqual(
      mountsBelow('/', table)
        ?.map(({ mountPoint }) => mountPoint)
        .sort(),
      visibleMounts(table)
        .map(({ mountPoint }) => mountPoint)
        .sort(),
    );
  });
  test('shows the same to a second look', () => {
    const below = mountsBelow('/c/root', table) ?? [];
    assert.deepEqual(visibleMounts(below).length, below.length);
  });
});
