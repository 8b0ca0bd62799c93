// Starts that are remembered: the front makes them by itself, no node process is started, and the command is as jailed
// as by the launcher, and finds all as without jailrun. What only the launcher knows it is asked about.
import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Denial, Hook } from '../../src/abi.js';
import { addon } from '../../src/launcher/addon.js';
import { cases, type Way } from '../front/cases.js';
import { buildTools, type Tools } from '../front/tools.js';
import { clearMap, jailrun, say, until, writePolicy } from './jail.js';
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
  test('leaves what was enrolled while it lives, and has the launcher take it away when it has ended', async () => {
    const enrolled = spawn('/bin/sleep', ['1000']);
    await once(enrolled, 'spawn');
    const { status, stderr } = await say('enroll', '--role', 'restricted', '--pid', String(enrolled.pid));
    assert.equal(status, 0, stderr);
    assert.deepEqual(reads(questions, restricted), [held, false]);
    enrolled.kill('SIGKILL');
    await once(enrolled, 'exit');
    assert.deepEqual(reads(questions, restricted), [held, true]);
    assert.deepEqual(
      readdirSync(states).filter((name) => name.startsWith('sleep')),
      [],
    );
    assert.deepEqual(reads(questions, restricted), [held, false]);
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
  const options = ['--role', 'permissive'];
  before(async () => {
    tools = buildTools(area);
    await settle([...options, '--', '/bin/true']);
  });
  const terminal = { ...process.env, TERM: 'dumb' };
  const wayOf = (...prefix: string[]): Way => ({ tools, prefix, settings: [], env: terminal });
  for (const { name, observe } of cases)
    test(name, async () => {
      const direct = await observe(wayOf());
      for (const more of [[], ['--exec']]) {
        forgetNode();
        assert.deepEqual(await observe(wayOf(front, ...options, ...more, '--')), direct, more.join());
        // With a limit of the size of files the launcher makes the start.
        if (!name.includes('file size')) assert.equal(hasNodeRun(), false, more.join());
      }
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
  /** Grants what the built-in role does not. */
  const policy = writePolicy(
    'fast-own',
    'version: 1\nroles: {own: {id: 881, extends: [restricted], files: any}}\n',
  );
  const site = writePolicy(
    'fast-site',
    `version: 1\nroles: {site: {id: 882, files: {read: ["@runtime", "\${file}"]}, exec: [${probe}], vars: [file]}}\n`,
  );
  const files = [`${area}/one`, `${area}/two`];
  before(() => {
    for (const file of files) writeFileSync(file, '');
  });
  const forms: [string, string[], string][] = [
    ['--audit', [...role, '--audit', '--exec', '--', probe], 'oo'],
    ['--json', ['--json', ...role, '--exec', '--', probe], held],
    ['a stack', [...role, '--role=permissive', '--exec', '--', probe], held],
    ['a stack in another order', ['--role=permissive', ...role, '--exec', '--', probe], held],
    ['a policy', ['--policy', policy, '--role', 'own', '--exec', '--', probe], 'oo'],
  ];
  for (const [what, words, answer] of forms)
    test(what, async () => {
      await settle(words);
      assert.deepEqual(reads(questions, words), [answer, false]);
      assert.deepEqual(reads(questions, restricted), [held, false]);
    });
  test('a value and another value', async () => {
    for (const [i, file] of files.entries()) {
      const words = [`--policy=${site}`, '--role=site', '--var', `file=${file}`, '--exec', '--', probe];
      await settle(words);
      assert.deepEqual(reads(files, words), [['od', 'do'][i], false]);
    }
  });
  test('what one policy and another say, where both are called the same from where one stands', async () => {
    const words = ['--policy', 'fast.yaml', '--role=here', '--exec', '--', probe];
    for (const [i, file] of files.entries()) {
      const cwd = `${file}.d`;
      mkdirSync(cwd);
      const role = `here: {id: 883, files: {read: ["@runtime", ${file}]}, exec: [${probe}]}`;
      writeFileSync(`${cwd}/fast.yaml`, `version: 1\nroles: {${role}}\n`);
      const ask = () => start(words, { input: about(files), cwd });
      await until(() => !ask().node);
      assert.equal(ask().stdout, ['od', 'do'][i]);
    }
  });
  test('what $JAILRUN_POLICY names', async () => {
    const words = ['--role=own', '--exec', '--', probe];
    const ask = () => start(words, { input: about(questions), env: { ...env, JAILRUN_POLICY: policy } });
    await until(() => !ask().node);
    assert.equal(ask().stdout, 'oo');
    assert.deepEqual(start(words).status, 125);
  });
  test('no commands that are named by a path without two hyphens before it', () => {
    assert.deepEqual(reads(questions, [...role, '--exec', probe]), [held, false]);
    assert.deepEqual(reads(questions, ['--exec', ...role, probe, '--']), [held, false]);
  });
  test('no starts with a supervisor, and none without', () => {
    assert.deepEqual(reads(questions.slice(0, 1), [...role, '--', probe]), ['o', false]);
  });
});

describe('a supervised start like one before', () => {
  const words = ['--json', '--role', 'restricted', '--', probe];
  const input = about(questions);
  before(() => settle(words));

  test('needs no node where nothing is denied, and leaves nothing', () => {
    assert.deepEqual(reads(questions.slice(0, 1), words), ['o', false]);
    sweep();
    assert.deepEqual([readdirSync(states), podEntries(), podCgroups()], [[], [], []]);
  });
  test('reports what was denied as the launcher’s start does', () => {
    const report = (): unknown[] => {
      const { stdout, stderr, status } = start(words, { input });
      assert.deepEqual([stdout, status], [held, 0], stderr);
      const own = ['time', 'startTime', 'sequence', 'pod', 'podId', 'pid', 'tid', 'ppid'];
      return stderr
        .trimEnd()
        .split('\n')
        .map((line) => Object.entries(JSON.parse(line)).filter(([name]) => !own.includes(name)));
    };
    const fast = report();
    rmSync(starts, { recursive: true });
    assert.deepEqual(fast, report());
    assert.equal(fast.length, 1);
  });
  test('tells a program of its pod as the launcher does, with the name that it was given', () => {
    const line = (): string => {
      const options = ['--report-fd=4', '--name', 'a b', ...words];
      const script = `exec 4>${area}/report; exec "$@"`;
      const { status, stderr } = start(options, { prefix: ['/bin/sh', '-c', script, 'sh'] });
      assert.equal(status, 0, stderr);
      const text = readFileSync(`${area}/report`, 'utf8');
      assert.match(text, /"name":"a_b-[0-9a-f]{8}"/);
      return text.replace(/[0-9a-f]{8}"/g, 'N"').replace(/"id":"\d+"/, '"id":"N"');
    };
    const fast = line();
    assert.equal(hasNodeRun(), false);
    rmSync(starts, { recursive: true });
    assert.equal(fast, line());
    assert.equal(hasNodeRun(), true);
  });
  test('is held, by a supervisor that passes on signals and its command’s end', async () => {
    await settle(words);
    forgetNode();
    const child = spawn(front, words, { env, stdio: ['pipe', 'pipe', 'inherit'] });
    child.stdin.write(about(questions.slice(0, 1)));
    await once(child.stdout, 'data');
    const [pod] = podsShown();
    assert.equal(pod?.role, 'restricted');
    assert.deepEqual(pod?.processes.length, 1);
    assert.notEqual(pod?.processes[0]?.pid, child.pid);
    child.kill('SIGUSR1');
    const [, signal] = await once(child, 'exit');
    assert.deepEqual([signal, hasNodeRun()], ['SIGUSR1', false]);
    assert.deepEqual([podsShown(), readdirSync(states)], [[], []]);
  });
  test('is refused by a descriptor for reports that nobody reads, and starts nothing', () => {
    const script = 'exec 4> >(:); sleep 0.1; exec "$@"';
    const prefix = ['/bin/bash', '-c', script, 'bash'];
    const { status, stdout } = start(['--report-fd=4', ...words], { prefix, input });
    assert.deepEqual([status, stdout], [125, '']);
    sweep();
    assert.deepEqual([readdirSync(states), podEntries(), podCgroups()], [[], [], []]);
  });
});

describe('the launcher is asked about', () => {
  const exec = ['--role', 'restricted', '--exec'];
  const supervised = ['--role', 'restricted', '--', probe];
  const policy = writePolicy('fast', 'version: 1\nroles: {more: {id: 880}}\n');
  const forms: [string, string[], Surroundings?][] = [
    ['another policy', ['--policy', policy, ...exec, '--', probe]],
    ['a variable that the role does not have', ['--var', 'a=b', ...exec, '--', probe]],
    ['a name that is none', ['--name', '', ...exec, '--', probe]],
    ['a name that begins like a draft', ['--name', '.other', ...exec, '--', probe]],
    ['a command’s stream for reports', ['--report-fd', '2', ...exec, '--', probe]],
    ['a summary', ['--summary', `${area}/summary`, ...supervised]],
    [
      'the summary of a step in GitHub Actions',
      supervised,
      { env: { ...env, GITHUB_STEP_SUMMARY: `${area}/step` } },
    ],
    ['an option that nobody knows', ['--unknown', ...exec, '--', probe]],
    ['an option that has a value and takes none', ['--exec=yes', '--role', 'restricted', '--', probe]],
    ['what could be a subcommand', [...exec, 'ps']],
    ['a role without a name', ['--exec', '--role', '--', probe]],
    ['a role with a path for a name', ['--exec', '--role', '../pods/x', '--', probe]],
    ['a role named twice', [...exec, '--role', 'restricted', '--', probe]],
    ['no command', [...exec, '--']],
    ['another $JAILRUN_POLICY', [...exec, '--', probe], { env: { ...env, JAILRUN_POLICY: policy } }],
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
