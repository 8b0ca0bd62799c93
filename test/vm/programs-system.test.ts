// Programs that change the system: its network, mounts and namespaces, and its packages.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { told } from './jail.js';
import { area, begin, end, fails, inRole, works } from './tools.js';

before(begin);
after(end);

const contents = (path: string): string => (existsSync(path) ? readFileSync(path, 'utf8') : '');

describe('ping', () => {
  const ping = ['ping', '-n', '-c', '1', '-W', '5', '127.0.0.1'];
  test('works in a role with net_raw and any network', () => {
    works(inRole('pinger', ...ping), /1 received/);
  });
  test('is told in a role without net_raw', () => {
    fails(inRole('open-network', ...ping), /ping: socket: Operation not permitted/, 'ping use net_raw');
  });
  test('is told in a role that lists what it reaches', () => {
    const { status, stderr, denials } = inRole('client', ...ping);
    assert.match(stderr, /ping: socket: Permission denied/);
    assert.deepEqual(
      [status, told(denials)],
      [2, ['ping socket inet protocol 1', 'ping socket inet6 protocol 58']],
    );
  });
});

describe('ip', () => {
  const add = (address: string) => ['ip', 'addr', 'add', `${address}/32`, 'dev', 'lo'];
  const shown = () => execFileSync('ip', ['addr', 'show', 'lo'], { encoding: 'utf8' });
  test('shows addresses in a role that has a network', () => {
    for (const role of ['open-network', 'client'])
      works(inRole(role, 'ip', 'addr', 'show', 'lo'), /inet 127\.0\.0\.1\/8/);
  });
  test('adds an address in a role with net_admin and any network', () => {
    works(inRole('router', ...add('10.99.0.1')), '');
    assert.match(shown(), /10\.99\.0\.1\/32/);
  });
  test('does not in a role without net_admin', () => {
    const says = /RTNETLINK answers: Operation not permitted/;
    fails(inRole('open-network', ...add('10.99.0.2')), says, 'ip use net_admin');
    assert.doesNotMatch(shown(), /10\.99\.0\.2/);
  });
});

describe('mount', () => {
  const place = () => `${area}/mounted`;
  const tmpfs = () => ['mount', '-t', 'tmpfs', 'none', place()];
  const isMounted = () => contents('/proc/self/mounts').includes(` ${place()} `);
  before(() => mkdirSync(place()));
  after(() => {
    if (isMounted()) execFileSync('umount', [place()]);
  });
  test('is told in a role without mount', () => {
    const { status, stderr, denials } = inRole('shell', ...tmpfs());
    assert.match(stderr, /mount: .*permission denied/);
    assert.equal(status, 32);
    assert.ok(told(denials).includes('mount use mount'), `${told(denials)}`);
    assert.equal(isMounted(), false);
  });
  test('mounts and unmounts in a role with mount, and no rule grants what is on it', () => {
    works(inRole('mounter', ...tmpfs()), '');
    assert.ok(isMounted());
    works(inRole('mounter', 'umount', place()), '');
    assert.equal(isMounted(), false);
    const script = `mount -t tmpfs none ${place()} && touch ${place()}/new`;
    const outcome = inRole('mounter', 'sh', '-c', script);
    fails(outcome, /touch: .*Permission denied/, `touch create ${place()}/new`);
  });
});

describe('unshare', () => {
  test('is told in a role without namespaces', () => {
    for (const option of ['-m', '-U', '-n', '-p'])
      fails(inRole('shell', 'unshare', option, 'true'), /Operation not permitted/, 'unshare use namespaces');
  });
  test('makes namespaces in a role with them', () => {
    works(inRole('namespaces', 'unshare', '-n', '-u', '-i', 'cat', '/proc/self/net/dev'), /lo:/);
  });
  test('wants mount, too, for a mount namespace that it makes private', () => {
    const outcome = inRole('namespaces', 'unshare', '-m', 'true');
    fails(outcome, /cannot change root filesystem propagation/, 'unshare use mount');
  });
  test('gives no say over the users of the host’s own namespace, and does over those of a new one', () => {
    const outcome = inRole('container', 'sh', '-c', ': >/proc/self/setgroups');
    fails(outcome, /setgroups: Permission denied/, 'sh use sys_admin');
    works(inRole('container', 'unshare', '-U', '-r', 'cat', '/proc/self/setgroups'), 'deny');
  });
  test('becomes root of a user namespace, with mounts and a network of its own, where the role has all that', () => {
    works(inRole('container', 'unshare', '-U', '-r', '-m', '-n', 'ip', '-br', 'link'), /^lo +DOWN/);
  });
});

describe('chroot', () => {
  test('works in a role with chroot', () => works(inRole('chrooter', 'chroot', '/', 'id', '-un'), 'root'));
  test('is told in a role without', () =>
    fails(inRole('shell', 'chroot', '/', 'id'), /cannot change root directory/, 'chroot use chroot'));
});

describe('tar as root', () => {
  const archive = '/mnt/ext4/tools.tar';
  before(() => {
    mkdirSync(`${area}/tree`);
    writeFileSync(`${area}/tree/file`, 'text');
    execFileSync('chown', ['1234:4321', `${area}/tree/file`]);
    execFileSync('chmod', ['751', `${area}/tree/file`]);
    execFileSync('mknod', [`${area}/tree/device`, 'c', '1', '3']);
    execFileSync('tar', ['-C', area, '-cf', `${area}/all.tar`, 'tree']);
    execFileSync('tar', ['-C', area, '-cf', `${area}/file.tar`, 'tree/file']);
    execFileSync('chmod', ['4751', `${area}/tree/file`]);
    execFileSync('tar', ['-C', area, '-cf', `${area}/set-id.tar`, 'tree/file']);
    rmSync(`${area}/tree`, { recursive: true });
  });
  after(() => rmSync(archive, { force: true }));
  test('restores owners and modes in a role that may write there', () => {
    works(inRole('restorer', 'tar', '-xpf', `${area}/file.tar`), '');
    const { uid, gid, mode } = statSync(`${area}/tree/file`);
    assert.deepEqual([uid, gid, mode & 0o7777], [1234, 4321, 0o751]);
  });
  test('makes no set-id file without setfcap', () => {
    const outcome = inRole('restorer', 'tar', '-xpf', `${area}/set-id.tar`);
    fails(outcome, /file: Cannot change mode to rwsr-x--x: Operation not permitted/, 'tar use setfcap');
    assert.equal(statSync(`${area}/tree/file`).mode & 0o6000, 0);
  });
  test('makes no device without mknod', () => {
    const outcome = inRole('restorer', 'tar', '-xpf', `${area}/all.tar`);
    fails(outcome, /device: Cannot mknod: Operation not permitted/, 'tar use mknod');
  });
});

describe('a package', () => {
  const name = 'jailrun-test-package';
  const made = `/opt/${name}/configured`;
  const file = () => `${area}/${name}.deb`;
  before(() => {
    const tree = `${area}/package`;
    for (const directory of ['DEBIAN', `opt/${name}`]) mkdirSync(`${tree}/${directory}`, { recursive: true });
    const control = `Package: ${name}\nVersion: 1\nArchitecture: all\nMaintainer: t <t@t>\nDescription: t\n`;
    writeFileSync(`${tree}/DEBIAN/control`, control);
    const script = `#!/bin/sh\n[ "$1" != configure ] || id -un >${made}\n`;
    writeFileSync(`${tree}/DEBIAN/postinst`, script, { mode: 0o755 });
    writeFileSync(`${tree}/DEBIAN/prerm`, `#!/bin/sh\nrm -f ${made}\n`, { mode: 0o755 });
    writeFileSync(`${tree}/opt/${name}/file`, 'text');
    execFileSync('dpkg-deb', ['--root-owner-group', '-b', tree, file()]);
  });
  test('is installed and removed by dpkg in a role for packages', () => {
    works(inRole('packager', 'dpkg', '-i', file()), /Setting up jailrun-test-package/);
    assert.equal(contents(made), 'root\n');
    works(inRole('packager', 'dpkg', '-r', name), /Removing jailrun-test-package/);
    assert.equal(existsSync(`/opt/${name}`), false);
  });
  test('is installed by apt-get, as its own user, in a role for packages', () => {
    // It asks for a larger buffer than is allowed and does with less.
    works(inRole('packager', 'apt-get', 'install', '-y', file()), /Setting up/, [/^apt-get use net_admin$/]);
    assert.equal(contents(made), 'root\n');
  });
  test('is not installed by dpkg in a role that may not write there', () => {
    const outcome = inRole('shell', 'dpkg', '-i', file());
    const says = /you do not have permission to lock the dpkg database/;
    fails(outcome, says, 'dpkg write /var/lib/dpkg/lock-frontend');
  });
});
