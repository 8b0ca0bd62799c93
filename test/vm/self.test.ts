// The jail itself, attacked by a jailed root: one that may use any file, and one that has every power as well.
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { openPins } from '../../src/launcher/kernel.js';
import { attach, jailrun, leave, root, run, runActs, until, writePolicy } from './jail.js';

const power = join(root, 'build/power');
const policy = writePolicy(
  'self',
  `version: 1
roles:
  any-file: {id: 760, files: any, exec: any, network: any}
  any-path:
    id: 761
    files: {write: [/]}
    exec: any
    network: any
  any-cgroup: {id: 762, extends: [any-path], allow: [cgroup]}
`,
);
const roles = {
  'any file': ['--policy', policy, '--role', 'any-file'],
  'a rule for /': ['--policy', policy, '--role', 'any-path'],
  'all powers': ['--role', 'permissive'],
  'a rule for / and cgroup': ['--policy', policy, '--role', 'any-cgroup'],
};
const link = '/sys/fs/bpf/jailrun/links/jr_file_open';
const map = '/sys/fs/bpf/jailrun/maps/roles';
const area = '/run/self-test';

const podCgroup = (): string =>
  `/sys/fs/cgroup/${readdirSync('/sys/fs/cgroup').find((name) => name.startsWith('jailrun-')) ?? ''}`;

interface Attack {
  name: string;
  act: string[];
  result: string;
  /** The same elsewhere, which works. */
  twin?: string[];
}

const onFiles = (): Attack[] => [
  { name: 'unpin a link', act: ['unlink', link], result: 'EACCES', twin: ['unlink', `${area}/file`] },
  { name: 'unpin a map', act: ['unlink', map], result: 'EACCES' },
  {
    name: 'move the pins',
    act: ['rename', '/sys/fs/bpf/jailrun', '/sys/fs/bpf/gone'],
    result: 'EACCES',
    twin: ['rename', `${area}/a`, `${area}/b`],
  },
  {
    name: 'make a directory beside the pins',
    act: ['mkdir', '/sys/fs/bpf/jailrun-new-1'],
    result: 'EACCES',
    twin: ['mkdir', `${area}/new`],
  },
  { name: 'open the pins to others', act: ['chmod', '/sys/fs/bpf/jailrun'], result: 'EACCES' },
  { name: 'list the pins', act: ['open', '/sys/fs/bpf/jailrun', '0'], result: 'EACCES' },
  { name: 'read the launcher’s state', act: ['open', '/run/jailrun/pods', '0'], result: 'EACCES' },
  { name: 'move the launcher’s state', act: ['rename', '/run/jailrun', '/run/gone'], result: 'EACCES' },
  { name: 'make a file in the launcher’s state', act: ['mkdir', '/run/jailrun/pods/new'], result: 'EACCES' },
  { name: 'freeze a pod', act: ['write', `${podCgroup()}/cgroup.freeze`, '1'], result: 'EACCES' },
  { name: 'kill a pod', act: ['write', `${podCgroup()}/cgroup.kill`, '1'], result: 'EACCES' },
  {
    name: 'move another task into a pod',
    act: ['write', `${podCgroup()}/cgroup.procs`, String(process.pid)],
    result: 'EACCES',
  },
  { name: 'remove a pod’s cgroup', act: ['rmdir', podCgroup()], result: 'EACCES' },
  { name: 'make a cgroup in a pod’s', act: ['mkdir', `${podCgroup()}/own`], result: 'EACCES' },
];

const withPowers = (): Attack[] => [
  { name: 'unmount the bpffs', act: ['umount', '/sys/fs/bpf', '0'], result: 'EPERM' },
  {
    name: 'detach the bpffs',
    act: ['umount', '/sys/fs/bpf', '2'],
    result: 'EPERM',
    twin: ['umount', `${area}/mounted`, '2'],
  },
  { name: 'detach what the bpffs is mounted on', act: ['umount', '/sys', '2'], result: 'EPERM' },
  {
    name: 'cover the bpffs',
    act: ['bind', area, '/sys/fs/bpf'],
    result: 'EPERM',
    twin: ['bind', area, `${area}/new`],
  },
  {
    name: 'cover the bpffs with a moved mount',
    act: ['move_mount', area, '/sys/fs/bpf'],
    result: 'EPERM',
    twin: ['move_mount', area, `${area}/other`],
  },
  { name: 'take a pinned map', act: ['bpf_get', map], result: 'EPERM', twin: ['bpf'] },
  { name: 'take a map by its number', act: ['bpf_by_id'], result: 'EPERM' },
];

const withoutPowers = (supervisor: string): Attack[] => [
  { name: 'leave its cgroup', act: ['write', '/sys/fs/cgroup/cgroup.procs', '0'], result: 'EACCES' },
  { name: 'kill a supervisor', act: ['kill', supervisor, '9'], result: 'EPERM' },
  { name: 'stop a supervisor', act: ['kill', supervisor, '19'], result: 'EPERM' },
  { name: 'trace a supervisor', act: ['ptrace', supervisor], result: 'EPERM' },
  { name: 'unmount the bpffs', act: ['umount', '/sys/fs/bpf', '2'], result: 'EPERM' },
  { name: 'take a pinned map', act: ['bpf_get', map], result: 'EPERM' },
];

describe('a jailed root', async () => {
  attach();
  const other: ChildProcess = spawn(jailrun, ['--role', 'permissive', '--', 'sleep', 'infinity'], {
    stdio: 'ignore',
  });
  await until(() => podCgroup() !== '/sys/fs/cgroup/' && existsSync(`${podCgroup()}/cgroup.procs`));
  const attacks: Record<keyof typeof roles, Attack[]> = {
    'any file': [...onFiles(), ...withoutPowers(String(other.pid))],
    'a rule for /': [...onFiles(), ...withoutPowers(String(other.pid))],
    'all powers': [...onFiles(), ...withPowers()],
    'a rule for / and cgroup': onFiles(),
  };
  for (const [name, options] of Object.entries(roles)) {
    const some = attacks[name as keyof typeof roles];
    rmSync(area, { recursive: true, force: true });
    for (const directory of ['', '/a', '/mounted', '/other'])
      mkdirSync(area + directory, { recursive: true });
    writeFileSync(`${area}/file`, '');
    if (name === 'all powers') execFileSync('mount', ['-t', 'tmpfs', 'none', `${area}/mounted`]);
    const twins = some.filter(({ twin }) => twin);
    // What is remembered of a directory must say nothing of what is ours in it.
    const looks = [area, '/sys/fs/cgroup/cgroup.procs', '/run/jailrun-test'].map((path) => [
      'open',
      path,
      '0',
    ]);
    const acts = [...looks, ...some.map(({ act }) => act), ...twins.map(({ twin }) => twin ?? [])];
    const { acts: all, denials } = runActs(acts, options, power);
    const results = all.slice(looks.length);
    for (const [i, { name: what, result }] of some.entries())
      test(`with ${name} cannot ${what}`, () => {
        assert.equal(results[i]?.result, result);
        const events = denials.filter(({ pid }) => pid === results[i]?.pid);
        assert.equal(events.at(-1)?.error, result);
      });
    for (const [i, { twin }] of twins.entries())
      test(`with ${name} can ${twin?.join(' ')}`, () => assert.equal(results[some.length + i]?.result, 'ok'));
    for (const target of [`${area}/other`, `${area}/new`]) {
      while (readMounts().includes(` ${target} `)) execFileSync('umount', ['-l', target]);
    }
  }
  test('leaves everything as it was', () => {
    assert.equal(openPins()?.meta.hooks, readdirSync('/sys/fs/bpf/jailrun/links').length);
    const { status, denials } = run(['--role', 'restricted', '--', 'cat', '/etc/shadow']);
    assert.deepEqual([status, denials.map(({ target }) => target)], [1, ['/etc/shadow']]);
    assert.equal(other.exitCode, null);
    other.kill('SIGKILL');
  });
});

const readMounts = (): string => execFileSync('cat', ['/proc/self/mountinfo'], { encoding: 'utf8' });

after(() => {
  rmSync(area, { recursive: true, force: true });
  leave();
});
