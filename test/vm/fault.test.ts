// Bad input and faults: a clear error (what, why, the mend), status 125, and the command never starts.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, chownSync, cpSync, renameSync, rmSync, unlinkSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { addon, MapType, UpdateFlag } from '../../src/launcher/addon.js';
import { attach, clearMap, fillMap, jailrun, leave, run, runAfter, writePolicy } from './jail.js';

const pins = '/sys/fs/bpf/jailrun';

/** Asserts that jailrun failed with this code, and that its command, which prints `ran`, did not run. */
function assertRefused(outcome: ReturnType<typeof run>, code: string, message: RegExp): void {
  assert.deepEqual(
    { status: outcome.status, stdout: outcome.stdout, codes: outcome.errors.map((error) => error.code) },
    { status: 125, stdout: '', codes: [code] },
    outcome.stderr,
  );
  assert.match(outcome.errors[0]?.message ?? '', message);
}

const command = ['--', 'echo', 'ran'];

before(attach);
after(leave);

describe('jailrun refuses to start the command', () => {
  test('in an unknown role, and names the nearest one', () => {
    assertRefused(run(['--role', 'webservr', ...command]), 'UNKNOWN_ROLE', /did you mean webserver\?/);
  });
  test('without a role', () => {
    assertRefused(run(command), 'USAGE', /--role NAME/);
  });
  test('in a role that is named twice', () => {
    assertRefused(run(['--role', 'worker', '--role', 'worker', ...command]), 'USAGE', /named twice/);
  });
  test('with an unknown option', () => {
    assertRefused(run(['--rolle', 'permissive', ...command]), 'USAGE', /--rolle/);
  });
  test('without a command', () => {
    assertRefused(run(['--role', 'permissive', '--']), 'USAGE', /COMMAND/);
  });

  const policies: [string, string, RegExp][] = [
    ['a syntax error', 'version: 1\nroles: {a: [}\n', /bad\.yaml:2:\d+: /],
    [
      'an unknown key',
      'version: 1\nroles:\n  a:\n    id: 600\n    filez: any\n',
      /bad\.yaml:5:5: .*filez.*files/,
    ],
    [
      'a duplicate id',
      'version: 1\nroles:\n  a: {id: 600, files: any}\n  b: {id: 600, files: any}\n',
      /bad\.yaml:4:\d+: .*600/,
    ],
    [
      'wildcards that mean nothing',
      'version: 1\nroles:\n  a:\n    id: 600\n    files: {read: ["/srv/a**"]}\n',
      /bad\.yaml:5:\d+: /,
    ],
    [
      'a power that is none',
      'version: 1\nroles:\n  a: {id: 600, allow: [setuit]}\n',
      /bad\.yaml:3:\d+: .*setuid/,
    ],
  ];
  for (const [what, text, message] of policies) {
    test(`with a policy that has ${what}, and says where`, () => {
      const policy = writePolicy('bad', text);
      assertRefused(run(['--policy', policy, '--role', 'a', ...command]), 'POLICY', message);
    });
  }
  test('with a policy that somebody else may write', () => {
    const policy = writePolicy('bad', 'version: 1\nroles:\n  a: {id: 600, files: any}\n');
    chmodSync(policy, 0o666);
    assertRefused(run(['--policy', policy, '--role', 'a', ...command]), 'POLICY', /chmod go-w/);
    chmodSync(policy, 0o644);
    chownSync(policy, 1000, 0);
    assertRefused(run(['--policy', policy, '--role', 'a', ...command]), 'POLICY', /chown root/);
    rmSync(policy);
  });
  test('with a policy that does not exist', () => {
    assertRefused(run(['--policy', '/run/none.yaml', '--role', 'a', ...command]), 'POLICY', /does not exist/);
  });

  test('when it is not root', () => {
    // The checkout may lie where only root can go.
    cpSync(dirname(jailrun), '/run/jailrun-test/dist', { recursive: true });
    const { status, stdout, stderr } = spawnSync(
      'setpriv',
      [
        '--reuid=65534',
        '--regid=65534',
        '--clear-groups',
        '/run/jailrun-test/dist/jailrun',
        '--role',
        'permissive',
        ...command,
      ],
      { encoding: 'utf8' },
    );
    assert.deepEqual([status, stdout], [125, '']);
    assert.match(stderr, /root/);
  });
  test('without cgroup2', () => {
    assertRefused(runAfter('umount -l /sys/fs/cgroup'), 'NO_CGROUP2', /mount -t cgroup2/);
  });
  test('without bpffs', () => {
    assertRefused(runAfter('umount -l /sys/fs/bpf'), 'NO_BPFFS', /mount -t bpf/);
  });
  test('inside a jail, which cannot start another one', () => {
    const outcome = run([
      '--role',
      'permissive',
      '--',
      jailrun,
      '--json',
      '--role',
      'permissive',
      ...command,
    ]);
    assertRefused({ ...outcome, errors: outcome.errors.slice(0, 1) }, 'JAILED', /in a jail already/);
  });

  test('when the enrollment map is full, and works again when it is not', () => {
    fillMap('cgroup_enrollment');
    try {
      assertRefused(run(['--role', 'permissive', ...command]), 'MAP_FULL', /cgroup_enrollment.*32768/);
    } finally {
      clearMap('cgroup_enrollment');
    }
    assert.equal(run(['--role', 'permissive', ...command]).stdout, 'ran\n');
  });
  test('when the pins have another layout version', () => {
    renameSync(`${pins}/maps/meta`, `${pins}/maps/old_meta`);
    const fd = addon.mapCreate({
      type: MapType.ARRAY,
      name: 'meta',
      keySize: 4,
      valueSize: 64,
      maxEntries: 1,
    });
    const value = new Uint8Array(64);
    value[0] = 200;
    addon.mapUpdate(fd, new Uint8Array(4), value, UpdateFlag.ANY);
    addon.objPin(fd, `${pins}/maps/meta`);
    try {
      assertRefused(run(['--role', 'permissive', ...command]), 'LAYOUT', /layout 200.*jailrun detach/);
    } finally {
      unlinkSync(`${pins}/maps/meta`);
      renameSync(`${pins}/maps/old_meta`, `${pins}/maps/meta`);
    }
  });
  test('when a program is no longer pinned', () => {
    const lost = [`${pins}/links/jr_socket_bind`, `${pins}/lost`] as const;
    renameSync(...lost);
    try {
      assertRefused(run(['--role', 'permissive', ...command]), 'PINS_INCOMPLETE', /jr_socket_bind/);
    } finally {
      renameSync(lost[1], lost[0]);
    }
  });
});

describe('the exit status', () => {
  const status = (...words: string[]) => run(['--role', 'permissive', '--', ...words]).status;
  test('is the command’s own', () => assert.equal(status('sh', '-c', 'exit 7'), 7));
  test('is 127 when the command is not found', () => assert.equal(status('no-such-command'), 127));
  test('is 127 when the named file does not exist', () => assert.equal(status('/no/such/file'), 127));
  test('is 126 when the command is not executable', () => {
    writeFileSync('/run/jailrun-test/plain', 'text', { mode: 0o644 });
    assert.equal(status('/run/jailrun-test/plain'), 126);
  });
  test('is 126 when the command is a directory', () => assert.equal(status('/usr'), 126));
  test('is a death by the same signal when a signal ends the command', () => {
    assert.equal(run(['--role', 'permissive', '--', 'sh', '-c', 'kill -KILL $$']).signal, 'SIGKILL');
  });
  test('is 128+n for a shell', () => {
    const script = `${jailrun} --role permissive -- sh -c 'kill -TERM $$'; echo $?`;
    assert.match(spawnSync('sh', ['-c', script], { encoding: 'utf8' }).stdout, /^143$/m);
  });
});
