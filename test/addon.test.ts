// The addon, as far as a host goes that loads no BPF program. What attaching does is tested in the VM.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { addon, bpfObjectPath, distDirectory, MapType, UpdateFlag } from '../src/launcher/addon.js';

const bytes = (...values: number[]): Uint8Array => new Uint8Array(values);
const makeHash = (maxEntries: number): number =>
  addon.mapCreate({ type: MapType.HASH, name: 'test', keySize: 2, valueSize: 3, maxEntries });

describe('a map', () => {
  let map: number;
  before(() => {
    map = makeHash(2);
  });
  after(() => closeSync(map));

  test('answers what it was made as', () => {
    const { id, ...info } = addon.mapInfo(map);
    assert.ok(id > 0);
    assert.deepEqual(info, { type: 1, name: 'test', keySize: 2, valueSize: 3, maxEntries: 2, flags: 0 });
  });
  test('holds an entry until it is deleted', () => {
    addon.mapUpdate(map, bytes(1, 2), bytes(3, 4, 5), UpdateFlag.NOEXIST);
    assert.deepEqual(addon.mapLookup(map, bytes(1, 2)), bytes(3, 4, 5));
    assert.equal(addon.mapDelete(map, bytes(1, 2)), true);
    assert.equal(addon.mapLookup(map, bytes(1, 2)), undefined);
    assert.equal(addon.mapDelete(map, bytes(1, 2)), false);
  });
  test('is refused a key or value of another size, which the kernel would read beyond its end', () => {
    assert.throws(() => addon.mapLookup(map, bytes(1)), {
      name: 'TypeError',
      message: 'key has 1 bytes where the map has 2',
    });
    assert.throws(() => addon.mapUpdate(map, bytes(1, 2), bytes(1), UpdateFlag.ANY), TypeError);
    assert.throws(() => addon.mapUpdateBatch(map, bytes(1, 2), bytes(1, 2, 3), 2), TypeError);
    assert.throws(() => addon.mapNextKey(map, bytes(1, 2, 3)), TypeError);
  });
  test('that is full answers E2BIG', () => {
    addon.mapUpdateBatch(map, bytes(1, 1, 2, 2), bytes(1, 1, 1, 2, 2, 2), 2);
    assert.throws(() => addon.mapUpdate(map, bytes(3, 3), bytes(0, 0, 0), UpdateFlag.ANY), {
      code: 'E2BIG',
      errno: -constants.errno.E2BIG,
      syscall: 'bpf(MAP_UPDATE_ELEM)',
    });
  });
  test('gives its keys one after another', () => {
    const first = addon.mapNextKey(map, undefined);
    const second = addon.mapNextKey(map, first);
    assert.equal(addon.mapNextKey(map, second), undefined);
    assert.deepEqual([first, second].map(String).sort(), ['1,1', '2,2']);
  });
  test('that is frozen can be read and not changed', () => {
    addon.mapFreeze(map);
    assert.deepEqual(addon.mapLookup(map, bytes(1, 1)), bytes(1, 1, 1));
    assert.throws(() => addon.mapDelete(map, bytes(1, 1)), { code: 'EPERM' });
  });
});

describe('a failed call', () => {
  test('throws the errno’s name and number and the operation', () => {
    assert.throws(() => addon.objGet('/sys/fs/bpf/no/such/pin'), {
      name: 'Error',
      code: 'ENOENT',
      errno: -constants.errno.ENOENT,
      syscall: 'bpf(OBJ_GET)',
      message: 'bpf(OBJ_GET): No such file or directory',
    });
  });
  test('of libbpf throws what libbpf said, too', () => {
    assert.throws(() => new addon.BpfObject(process.execPath), { code: 'ELIBBPF', log: /^libbpf: / });
  });
});

test('an argument of a wrong type throws a TypeError that names it', () => {
  const wrong = addon as unknown as Record<string, (...values: unknown[]) => unknown>;
  assert.throws(() => wrong.mapInfo?.('3'), { name: 'TypeError', message: /^fd must be an integer/ });
  assert.throws(() => wrong.mapInfo?.(-1), { name: 'TypeError', message: /^fd must be an integer/ });
  assert.throws(() => wrong.mapInfo?.(1.5), { name: 'TypeError', message: /^fd must be an integer/ });
  assert.throws(() => wrong.objGet?.('a\0b'), { name: 'TypeError', message: /^path must be a string/ });
  assert.throws(() => wrong.mapCreate?.(1), { name: 'TypeError', message: /^map must be an object/ });
  assert.throws(() => wrong.probe?.(1), { name: 'TypeError', message: /^pod must be/ });
  assert.throws(() => wrong.probe?.(1n << 64n), { name: 'TypeError', message: /^pod must be/ });
  assert.throws(() => wrong.flock?.(0, {}), { name: 'TypeError', message: /^exclusive must be/ });
  assert.throws(() => wrong.sendPlan?.(0, bytes(), [true]), {
    name: 'TypeError',
    message: /^an entry of fds/,
  });
});

describe('a BPF object', () => {
  test('names its programs by hook, and its maps', () => {
    const object = new addon.BpfObject(bpfObjectPath);
    const sections = object.programs().map(({ section }) => section);
    assert.ok(sections.includes('lsm/file_open'), String(sections));
    assert.ok(object.maps().includes('cgroup_enrollment'), String(object.maps()));
    object.close();
  });
  test('refuses a program that it does not have', () => {
    const object = new addon.BpfObject(bpfObjectPath);
    assert.throws(() => object.setAutoload('no_such', false), { code: 'ENOENT' });
    object.close();
  });
  test('leaves the descriptors of its maps behind', () => {
    const object = new addon.BpfObject(bpfObjectPath);
    for (const { name } of object.programs()) object.setAutoload(name, false);
    object.load();
    const fd = object.mapFd('pods');
    object.close();
    assert.equal(addon.mapInfo(fd).name, 'pods');
    assert.throws(() => object.maps(), /closed/);
    closeSync(fd);
  });
});

describe('a ring', () => {
  const makeRing = (): number =>
    addon.mapCreate({ type: MapType.RINGBUF, name: 'test', keySize: 0, valueSize: 0, maxEntries: 4096 });

  test('without records gives none', () => {
    const fd = makeRing();
    const ring = new addon.Ring(fd);
    assert.deepEqual(ring.consume(), []);
    ring.close();
    assert.throws(() => ring.consume(), /closed/);
    closeSync(fd);
  });
  test('that is watched keeps node alive until it is closed', () => {
    const script = `
      const { exports: addon } = ((module) => (process.dlopen(module, process.argv[1]), module))({ exports: {} });
      const ring = new addon.Ring(addon.mapCreate({ type: 27, name: 'r', keySize: 0, valueSize: 0, maxEntries: 4096 }));
      ring.watch(() => {});
      setTimeout(() => { console.log('still here'); ring.close(); }, 50).unref();`;
    const { status, stdout } = spawnSync(
      process.execPath,
      ['-e', script, join(distDirectory, 'jailrun.node')],
      {
        encoding: 'utf8',
        timeout: 10_000,
      },
    );
    assert.deepEqual([status, stdout], [0, 'still here\n']);
  });
  test('cannot be opened on another map', () => {
    const fd = makeHash(1);
    assert.throws(() => new addon.Ring(fd), { code: 'EINVAL' });
    closeSync(fd);
  });
});

test('an unjailed task that asks what holds it is answered EINVAL', () => {
  assert.equal(addon.probe(1n), constants.errno.EINVAL);
});

test('a lock keeps others out until its descriptor is closed', () => {
  const directory = mkdtempSync(join(tmpdir(), 'jailrun-test-'));
  const path = join(directory, 'lock');
  const [holder, other] = [openSync(path, 'a'), openSync(path, 'a')];
  assert.equal(addon.flock(holder, { exclusive: true, wait: false }), true);
  assert.equal(addon.flock(other, { exclusive: false, wait: false }), false);
  closeSync(holder);
  assert.equal(addon.flock(other, { exclusive: true, wait: true }), true);
  closeSync(other);
  rmSync(directory, { recursive: true });
});

test('an extended attribute is there until it is removed', () => {
  const directory = mkdtempSync(join(tmpdir(), 'jailrun-test-'));
  const fd = openSync(join(directory, 'file'), 'a');
  const read = () => addon.getXattr(fd, 'user.jailrun.test');
  assert.equal(read(), undefined);
  assert.equal(addon.removeXattr(fd, 'user.jailrun.test'), false);
  for (const bytes of [[0, 1, 255], []]) {
    addon.setXattr(fd, 'user.jailrun.test', new Uint8Array(bytes));
    assert.deepEqual([...(read() as Uint8Array)], bytes);
  }
  assert.equal(addon.removeXattr(fd, 'user.jailrun.test'), true);
  assert.equal(read(), undefined);
  assert.throws(() => addon.setXattr(fd, 'nowhere.test', new Uint8Array()), { code: 'EOPNOTSUPP' });
  closeSync(fd);
  assert.throws(() => addon.getXattr(fd, 'user.jailrun.test'), { code: 'EBADF' });
  rmSync(directory, { recursive: true });
});

test('a process can be signalled, and not one that took over its number', async () => {
  const child = spawn('sleep', ['infinity']);
  const pidfd = addon.pidfdOpen(child.pid ?? 0) ?? assert.fail('no such process');
  assert.equal(addon.pidfdSignal(pidfd, 0), true);
  assert.equal(addon.pidfdSignal(pidfd, constants.signals.SIGKILL), true);
  await once(child, 'close');
  assert.equal(addon.pidfdSignal(pidfd, 0), false);
  assert.equal(addon.pidfdOpen(child.pid ?? 0), undefined);
  closeSync(pidfd);
  const file = openSync('/dev/null', 'r');
  assert.throws(() => addon.pidfdSignal(file, 0), { code: 'EBADF', syscall: 'pidfd_send_signal' });
  closeSync(file);
});

test('a kernel file system can be read without a mount', () => {
  assert.match(addon.readUnmounted('proc', 'version'), /^Linux version /);
  assert.throws(() => addon.readUnmounted('no-such-type', 'x'), {
    code: 'ENODEV',
    syscall: 'fsopen no-such-type',
  });
  assert.throws(() => addon.readUnmounted('proc', 'no/such/file'), { code: 'ENOENT' });
});

test('a digest is what node:crypto’s is, whatever fills its last block', () => {
  for (let size = 0; size < 200; size++) {
    const bytes = new Uint8Array(size).map((_, i) => i * 7 + size);
    assert.deepEqual(Buffer.from(addon.sha256(bytes)), createHash('sha256').update(bytes).digest());
  }
  assert.throws(() => addon.sha256('text' as never), TypeError);
});

describe('a plan', () => {
  let server: Server;
  let sender: Socket;
  let receiver: Socket;
  before(async () => {
    const path = `\0jailrun-test-${process.pid}`;
    server = createServer().listen(path);
    const accepted = new Promise<Socket>((resolve) => server.once('connection', resolve));
    sender = connect(path);
    receiver = await accepted;
  });
  after(() => {
    for (const end of [sender, receiver, server]) end.unref();
    server.close();
  });
  /** node has no public name for a socket's descriptor. */
  const socketFd = (): number => (sender as unknown as { _handle: { fd: number } })._handle.fd;

  test('is sent with descriptors attached', async () => {
    const received = new Promise<Buffer>((resolve) => receiver.once('data', resolve));
    addon.sendPlan(socketFd(), Buffer.from('plan'), [0, 1, 2]);
    assert.equal(String(await received), 'plan');
  });
  test('with a descriptor that is not open is not sent', () => {
    assert.throws(() => addon.sendPlan(socketFd(), Buffer.from('plan'), [9999]), { code: 'EBADF' });
  });
  test('to a peer that is gone fails without a signal', async () => {
    receiver.destroy();
    await new Promise((resolve) => setImmediate(resolve));
    assert.throws(() => addon.sendPlan(socketFd(), Buffer.from('plan'), []), { code: 'EPIPE' });
  });
});

test('exitNow ends the process at once, without what node does at its exit', () => {
  const script = `
    const module = { exports: {} };
    process.dlopen(module, process.argv[1]);
    process.on('exit', () => console.log('node is leaving'));
    module.exports.exitNow(7);`;
  const { status, stdout } = spawnSync(
    process.execPath,
    ['-e', script, join(distDirectory, 'jailrun.node')],
    {
      encoding: 'utf8',
    },
  );
  assert.deepEqual([status, stdout], [7, '']);
});
