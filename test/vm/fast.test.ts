// Starts that are remembered: the front makes them by itself, no node process is started, and the command is as jailed
// as by the launcher, and finds all as without jailrun. What only the launcher knows it is asked about.
import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Denial, Hook } from '../../src/abi.js';
import { addon } from '../../src/launcher/addon.js';
import { cases, type Way } from '../front/cases.js';
import { buildTools, type Tools } from '../front/tools.js';
import { clearMap, jailrun, until, writePolicy } from './jail.js';
import {
  about,
  area,
  asking,
  env,
  forgetNode,
  front,
  hasNodeRun,
  install,
  podCgroups,
  podEntries,
  probe,
  reads,
  type Surroundings,
  settle,
  start,
  starts,
  states,
  sweep,
  uninstall,
} from './start.js';

const restricted = asking('restricted');
/** What the role may read, and what it may not. */
const questions = ['/etc/passwd', '/etc/shadow'];
const held = 'od';

before(async () => {
  install();
  await settle(restricted);
});
after(uninstall);

describe('a start like one before', () => {
  test('needs no node, and the command may do what its role grants and nothing else', () => {
    assert.deepEqual(reads(questions, restricted), [held, false]);
    const { stdout } = spawnSync(probe, { input: about(questions), encoding: 'utf8' });
    assert.equal(stdout, 'oo', 'what is denied is there');
  });
  test('executes nothing but jailrun and the command', () => {
    const words = ['-f', '-qq', '-e', 'trace=execve,execveat,clone,clone3,fork,vfork', '-o', `${area}/trace`];
    const { status, stderr } = start(restricted, { prefix: ['strace', ...words], input: '' });
    assert.equal(status, 0, stderr);
    const calls = readFileSync(`${area}/trace`, 'utf8').match(/(exec|clone|fork|vfork)\w*\([^,]*/g);
    assert.deepEqual(
      calls?.map((call) => call.replace(/execveat\(\d+/, 'execveat(N')),
      [`execve("${front}"`, 'execveat(N', `execve("${probe}"`],
    );
  });
  test('has its denials in the host’s ring, with the pod and the errno', () => {
    const ring = new addon.Ring(addon.objGet('/sys/fs/bpf/jailrun/maps/denials'));
    while (ring.consume().length > 0);
    reads(questions, restricted);
    const [pod] = podEntries();
    const found = ring.consume().map((bytes) => Denial.decode(bytes));
    ring.close();
    assert.deepEqual(
      found.map(({ pod, hook, error, path }) => [
        pod,
        hook,
        error,
        Buffer.from(path).toString().endsWith('/etc/shadow\0'),
      ]),
      [[pod?.id, Hook.FILE_OPEN, constants.errno.EACCES, true]],
    );
    assert.equal(pod?.denials, 1n);
  });
  test('leaves a state file that differs from the launcher’s only in what is each pod’s own', () => {
    const read = (): unknown => {
      const [name = ''] = readdirSync(states);
      const [header = '', id = ''] = readFileSync(join(states, name), 'utf8').split('\n');
      const { cgroup, name: pod, command, ...rest } = JSON.parse(header);
      assert.match(pod, /^probe-[0-9a-f]{8}$/);
      assert.deepEqual(
        [name, cgroup, command, Object.keys(JSON.parse(id))],
        [`${pod}.json`, `/sys/fs/cgroup/jailrun-${pod}`, probe, ['id']],
      );
      return [rest, Object.keys(JSON.parse(header))];
    };
    reads(questions, restricted);
    const fast = read();
    rmSync(starts, { recursive: true });
    assert.deepEqual(reads(questions, restricted), [held, true]);
    assert.deepEqual(read(), fast);
    assert.deepEqual(reads(questions, restricted), [held, false]);
  });
  test('is in ps while the command runs, and can be killed', async () => {
    const child = spawn(front, restricted, { env, stdio: ['pipe', 'pipe', 'inherit'] });
    child.stdin.write(about(questions.slice(0, 1)));
    await once(child.stdout, 'data');
    const [pod] = podsShown();
    assert.deepEqual([pod?.role, pod?.processes.map(({ pid }) => pid)], ['restricted', [child.pid]]);
    execFileSync(jailrun, ['kill', pod?.name ?? '']);
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    assert.equal(child.signalCode, 'SIGKILL');
    assert.deepEqual(podsShown(), []);
  });
  test('removes the pods of those before it, so that there are never many', () => {
    for (let i = 0; i < 40; i++) assert.deepEqual(reads(questions, restricted), [held, false]);
    assert.ok(readdirSync(states).length <= 2, readdirSync(states).join());
    sweep();
    assert.deepEqual([readdirSync(states), podEntries(), podCgroups()], [[], [], []]);
  });
  test('may happen many times at once', async () => {
    forgetNode();
    const children = Array.from({ length: 12 }, () => {
      const child = spawn(front, restricted, { env, stdio: ['pipe', 'pipe', 'inherit'] });
      child.stdin.write(about(questions));
      return child;
    });
    const said = children.map(({ stdout }) => {
      const text = { whole: '' };
      stdout.on('data', (data) => {
        text.whole += data;
      });
      return text;
    });
    await until(() => said.every(({ whole }) => whole.length === held.length));
    const node = hasNodeRun();
    const shown = podsShown();
    for (const child of children) child.stdin.end();
    await Promise.all(children.map((child) => child.exitCode ?? once(child, 'close')));
    assert.deepEqual(
      said.map(({ whole }) => whole),
      children.map(() => held),
    );
    assert.equal(node, false);
    assert.equal(new Set(shown.map(({ id }) => id)).size, children.length);
    assert.deepEqual(
      shown.flatMap(({ processes }) => processes.map(({ pid }) => pid)).sort(),
      children.map(({ pid }) => pid).sort(),
    );
  });
});

const podsShown = (): { id: string; name: string; role: string; processes: { pid: number }[] }[] =>
  execFileSync(jailrun, ['ps', '--json'], { encoding: 'utf8' })
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line));

describe('the command finds of a remembered start what it would find without jailrun:', () => {
  let tools: Tools;
  const options = ['--role', 'permissive', '--exec'];
  before(async () => {
    tools = buildTools(area);
    await settle([...options, '--', '/bin/true']);
  });
  const terminal = { ...process.env, TERM: 'dumb' };
  const wayOf = (...prefix: string[]): Way => ({ tools, prefix, settings: [], env: terminal });
  for (const { name, observe } of cases)
    test(name, async () => {
      const direct = await observe(wayOf());
      forgetNode();
      assert.deepEqual(await observe(wayOf(front, ...options, '--')), direct);
      // With a limit of the size of files the launcher makes the start.
      if (!name.includes('file size')) assert.equal(hasNodeRun(), false);
    });
  for (const [role, value] of [
    ['restricted', 1],
    ['permissive', 0],
  ] as const)
    test(`the privileges of set-id programs, which the role ${role} lets it have or not`, async () => {
      const words = [`--role=${role}`, '--exec', '--', '/usr/bin/setpriv', '--dump'];
      await settle(words);
      const { stdout, node } = start(words);
      assert.deepEqual([/no_new_privs: (.*)/.exec(stdout)?.[1], node], [String(value), false]);
    });
});

describe('remembered apart are', () => {
  const role = ['--role', 'restricted'];
  const forms: [string, string[], string][] = [
    ['--audit', [...role, '--audit', '--exec', '--', probe], 'oo'],
    ['--json', ['--json', ...role, '--exec', '--', probe], held],
    ['a stack', [...role, '--role=permissive', '--exec', '--', probe], held],
    ['a stack in another order', ['--role=permissive', ...role, '--exec', '--', probe], held],
  ];
  for (const [what, words, answer] of forms)
    test(what, async () => {
      await settle(words);
      assert.deepEqual(reads(questions, words), [answer, false]);
      assert.deepEqual(reads(questions, restricted), [held, false]);
    });
  test('no commands that are named by a path without two hyphens before it', () => {
    assert.deepEqual(reads(questions, [...role, '--exec', probe]), [held, false]);
    assert.deepEqual(reads(questions, ['--exec', ...role, probe, '--']), [held, false]);
  });
});

describe('the launcher is asked about', () => {
  const exec = ['--role', 'restricted', '--exec'];
  const policy = writePolicy('fast', 'version: 1\nroles: {more: {id: 880}}\n');
  const forms: [string, string[], Surroundings?][] = [
    ['a supervised start', ['--role', 'restricted', '--', probe]],
    ['another policy', ['--policy', policy, ...exec, '--', probe]],
    ['a variable', ['--var', 'a=b', ...exec, '--', probe]],
    ['a name', ['--name', 'other', ...exec, '--', probe]],
    ['a descriptor for reports', ['--report-fd', '2', ...exec, '--', probe]],
    ['an option that nobody knows', ['--unknown', ...exec, '--', probe]],
    ['an option that has a value and takes none', ['--exec=yes', '--role', 'restricted', '--', probe]],
    ['what could be a subcommand', [...exec, 'ps']],
    ['a role without a name', ['--exec', '--role', '--', probe]],
    ['a role with a path for a name', ['--exec', '--role', '../pods/x', '--', probe]],
    ['a role named twice', [...exec, '--role', 'restricted', '--', probe]],
    ['no command', [...exec, '--']],
    ['$JAILRUN_POLICY', [...exec, '--', probe], { env: { ...env, JAILRUN_POLICY: policy } }],
    ['a limit for files', [...exec, '--', probe], { prefix: ['prlimit', '--fsize=1000000'] }],
    ['another user', [...exec, '--', probe], { prefix: ['setpriv', '--reuid=65534', '--clear-groups'] }],
    [
      'a caller that may not use bpf(2)',
      [...exec, '--', probe],
      { prefix: ['setpriv', '--bounding-set=-all', '--inh-caps=-all'] },
    ],
    ['another mount namespace', [...exec, '--', probe], { prefix: ['unshare', '--mount'] }],
  ];
  for (const [what, words, surroundings] of forms)
    test(what, () => assert.equal(start(words, { input: '', ...surroundings }).node, true));

  test('a start in a jail, which it refuses', () => {
    const prefix = [jailrun, '--json', '--role', 'permissive', '--'];
    const { status, stderr, node } = start(['--json', ...exec, '--', probe], { prefix });
    assert.deepEqual([status, node, /"code":"JAILED"/.test(stderr)], [125, true, true], stderr);
    assert.doesNotMatch(stderr, /"target":"\/run\/jailrun/);
  });
  test('a role that the kernel no longer has, and no pod is left of the attempt', () => {
    sweep();
    for (const map of ['role_rules', 'role_globs', 'roles']) clearMap(map);
    assert.deepEqual(reads(questions, restricted), [held, true]);
    assert.equal(readdirSync(states).length, 1);
    assert.equal(podEntries().length, 1);
    assert.deepEqual(reads(questions, restricted), [held, false]);
  });
});

describe('a remembered start in the way of a jailed root', () => {
  test('cannot be written, read or removed, though all else may be', () => {
    const file = `${starts}/restricted`;
    const script = `echo x > ${area}/out; cat ${file}; : > ${file}; : > ${starts}/new; rm ${file}; ls ${starts}`;
    const words = ['--json', '--role', 'permissive', '--', '/bin/sh', '-c', script];
    const { stdout, stderr } = spawnSync(jailrun, words, { encoding: 'utf8' });
    assert.deepEqual([stdout, existsSync(`${area}/out`), existsSync(`${starts}/new`)], ['', true, false]);
    assert.match(stderr, /"error":"EACCES"/);
    assert.deepEqual(reads(questions, restricted), [held, false]);
  });
});
