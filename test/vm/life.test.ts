// The life of a jail: who is born in it, what survives its supervisor, and what is gone afterwards.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import {
  act,
  attach,
  clearMap,
  jailrun,
  leave,
  mapSize,
  root,
  run,
  told,
  until,
  writePolicy,
} from './jail.js';
import { listRemembered, runAround } from './steps.js';

const policy = writePolicy(
  'life',
  `version: 1
roles:
  life:
    id: 501
    description: May run programs and read what they need, and no secrets.
    files: {read: ["@runtime", ${act}], write: [/dev/null]}
    exec: any
`,
);
const life = ['--policy', policy, '--role', 'life'];
const secret = '/etc/shadow';
const pods = (): string[] => readdirSync('/run/jailrun/pods');

before(attach);

describe('whoever is born in a jail stays in it:', () => {
  for (const [who, operation] of [
    ['a great-grandchild', 'grandchild'],
    ['a thread', 'thread'],
    ['a program that a thread other than the leader executed', 'thread-exec'],
  ] as const) {
    test(`${who} of a jailed command cannot read ${secret}`, () => {
      const jailed = run([...life, '--', act, operation, secret]);
      assert.match(jailed.stdout, /^EACCES /);
      assert.deepEqual(
        jailed.denials.map(({ hook, target }) => [hook, target]),
        [['file_open', secret]],
      );
    });
    test(`${who} of a jailed command can read /etc/passwd`, () => {
      const jailed = run([...life, '--', act, operation, '/etc/passwd']);
      assert.match(jailed.stdout, /^ok /);
      assert.deepEqual(jailed.denials, []);
    });
    test(`${who} of an unjailed command can read ${secret}`, () => {
      const { stdout } = spawnSync(act, [operation, secret], { encoding: 'utf8' });
      assert.match(stdout, /^ok /);
    });
  }

  test('a command that left the pod’s cgroup is still jailed', () => {
    const script = `echo $$ > /sys/fs/cgroup/cgroup.procs; cat /proc/self/cgroup; exec ${act} open ${secret} 0`;
    const writer = writePolicy(
      'leaver',
      `version: 1
roles:
  leaver:
    id: 502
    description: May write cgroups.
    files: {read: ["@runtime", /proc, ${act}], write: [/sys/fs/cgroup]}
    exec: any
    allow: [cgroup]
`,
    );
    const { stdout } = run(['--policy', writer, '--role', 'leaver', '--', 'sh', '-c', script]);
    assert.match(stdout, /^0::\/\nEACCES /);
  });
});

describe('the command that jailrun is given', () => {
  const entry = writePolicy(
    'entry',
    `version: 1
roles:
  entry:
    id: 503
    description: Runs nothing but its command.
    files: {read: ["@runtime", ${act}]}
    exec: none
`,
  );
  const role = ['--policy', entry, '--role', 'entry'];
  test('starts although the role lets it execute nothing', () => {
    assert.equal(run([...role, '--', 'true']).status, 0);
  });
  test('starts as a script, which its interpreter may read', () => {
    const { status, stdout, stderr } = run([...role, '--', '/run/jailrun-test/script']);
    assert.deepEqual([status, stdout], [0, 'started\n'], stderr);
  });
  test('cannot execute anything afterwards, not even itself', () => {
    const { denials } = run([...role, '--', act, 'exec', act]);
    assert.deepEqual(
      denials.map(({ hook, target, error }) => [hook, target, error]),
      [['bprm_check_security', act, 'EACCES']],
    );
  });
  before(() => {
    spawnSync('sh', [
      '-c',
      `printf '#!/bin/sh\\necho started\\n' > /run/jailrun-test/script; chmod +x /run/jailrun-test/script`,
    ]);
  });
});

describe('bpf(2)', () => {
  test('is denied to a jailed root with EPERM, and reported', () => {
    const { stdout, denials } = run(['--role', 'restricted', '--', act, 'bpf', '0']);
    assert.match(stdout, /^EPERM /);
    // Linux 6.1 asks for both CAP_BPF and CAP_SYS_ADMIN before it asks the hook.
    const told = new Set(denials.map(({ target, error }) => `${target} ${error}`));
    assert.deepEqual([...told], ['bpf EPERM']);
  });
  test('works unjailed while programs are attached', () => {
    const { stdout } = spawnSync(act, ['bpf', '0'], { encoding: 'utf8' });
    // An empty attribute makes no map, but the kernel looked at it.
    assert.match(stdout, /^EINVAL /);
  });
});

describe('audit', () => {
  test('denies nothing and reports what would have been denied', () => {
    const { stdout, denials } = run([...life, '--audit', '--', act, 'open', secret, '0']);
    assert.match(stdout, /^ok /);
    assert.deepEqual(
      denials.map(({ target, audit, error }) => [target, audit, error]),
      [[secret, true, 'EACCES']],
    );
  });
});

describe('after a run', () => {
  test('the pod’s cgroup, map entries and state file are gone', () => {
    const { stdout } = run([
      '--role',
      'permissive',
      '--name',
      'gone',
      '--',
      'sh',
      '-c',
      'cat /proc/self/cgroup',
    ]);
    const cgroup = `/sys/fs/cgroup${stdout.trim().slice('0::'.length)}`;
    assert.match(cgroup, /\/jailrun-gone-[0-9a-f]{8}$/);
    assert.equal(existsSync(cgroup), false);
    assert.deepEqual(pods(), []);
    assert.deepEqual([mapSize('cgroup_enrollment'), mapSize('pods'), mapSize('pod_denials')], [0, 0, 0]);
  });
  test('denials leave nothing behind either', () => {
    const { denials } = run([...life, '--', 'sh', '-c', `for i in 1 2 3; do ${act} open ${secret} 0; done`]);
    assert.equal(denials.length, 3);
    assert.equal(mapSize('pod_denials'), 0);
  });
  test('more denials than are kept are counted', () => {
    const script = `i=0; while [ $i -lt 150 ]; do true < ${secret}; true < /etc/gshadow; i=$((i+1)); done 2>/dev/null`;
    const { stderr, denials } = run([...life, '--', 'sh', '-c', script]);
    assert.equal(denials.length, 256, stderr);
    assert.match(stderr, /^\{"version":1,"type":"lost","denials":44\}$/m);
  });
  test('the same denial again and again takes the room of one', () => {
    const script = `i=0; while [ $i -lt 300 ]; do true < ${secret}; i=$((i+1)); done 2>/dev/null; true < /etc/gshadow`;
    const { stderr } = run([...life, '--', 'sh', '-c', script]);
    const rows = stderr
      .split('\n')
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line));
    assert.deepEqual(
      rows.map(({ target, count }) => [target, count]),
      [
        [secret, 300],
        ['/etc/gshadow', 1],
      ],
    );
  });
  test('a daemon that the command left keeps its pod and stays jailed', async () => {
    const script = `(sleep 1; ${act} open ${secret} 0 > /dev/shm/daemon; sleep 2) >/dev/null 2>&1 &`;
    const daemon = writePolicy(
      'daemon',
      `version: 1
roles:
  daemon:
    id: 504
    description: Leaves a daemon.
    files: {read: ["@runtime", ${act}], write: [/dev/null, /dev/shm]}
    exec: any
`,
    );
    assert.equal(run(['--policy', daemon, '--role', 'daemon', '--', 'sh', '-c', script]).status, 0);
    assert.equal(pods().length, 1);
    await until(() => existsSync('/dev/shm/daemon') && readFileSync('/dev/shm/daemon', 'utf8') !== '');
    assert.match(readFileSync('/dev/shm/daemon', 'utf8'), /^EACCES /);
    await until(() => {
      run(['--role', 'permissive', '--', 'true']);
      return pods().length === 0;
    });
    assert.equal(mapSize('pods'), 0);
  });
});

describe('nothing of the command runs unjailed:', () => {
  const command = { words: ['--role', 'permissive', '--', 'echo', 'ran'] };
  /** Does something just before the last mile starts, which makes the task the pod's. */
  async function runWith(meanwhile: () => void): ReturnType<typeof runAround> {
    const lastMile = listRemembered(command).find(({ text }) => text === 'exec');
    assert.ok(lastMile);
    return runAround(lastMile, 'wait', command, { meanwhile });
  }
  test('when the supervisor is killed while it runs, what the command started stays jailed', async () => {
    const script = `(sleep 2; ${act} open ${secret} 0 >&3) & echo started; wait`;
    const child = spawn(jailrun, [...life, '--', 'sh', '-c', `exec 3>&1; ${script}`], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let stdout = '';
    child.stdout.on('data', (data) => {
      stdout += data;
    });
    await until(() => stdout.includes('started'));
    child.kill('SIGKILL');
    await until(() => /^started\n(ok|E)/.test(stdout));
    assert.match(stdout, /^started\nEACCES /);
  });
  test('what a killed supervisor left is gone after the next run', async () => {
    run(['--role', 'permissive', '--', 'true']);
    assert.deepEqual(pods(), []);
    assert.deepEqual([mapSize('cgroup_enrollment'), mapSize('pods'), mapSize('pod_denials')], [0, 0, 0]);
    assert.deepEqual(
      readdirSync('/sys/fs/cgroup').filter((name) => name.startsWith('jailrun-')),
      [],
    );
  });
  test('when the enrollment is gone just before it would start, it does not start', async () => {
    const { status, stdout, stderr } = await runWith(() => clearMap('cgroup_enrollment'));
    assert.deepEqual([status, stdout], [125, ''], stderr);
  });
});

after(leave);

describe('a role with on-denial: kill', () => {
  const killing = writePolicy(
    'killing',
    `version: 1
roles:
  killing:
    id: 840
    files: {read: ["@runtime", /bin, /usr], deny: [${secret}]}
    exec: any
    on-denial: kill
`,
  );
  const swarm = `${join(root, 'build/swarm')} threads ${secret} /none /none`;
  const script = `cat ${secret}; echo $?; ${swarm}; echo $?; cat /none; echo $?`;
  test('ends the process that is denied something, with all its threads, and no other', () => {
    const { stdout, denials } = run([
      '--policy',
      killing,
      '--role',
      'killing',
      '--',
      '/bin/sh',
      '-c',
      script,
    ]);
    assert.equal(stdout.replace('started\n', ''), '137\n137\n1\n');
    assert.deepEqual(told(denials), [`cat read ${secret}`, `swarm read ${secret}`]);
  });
  test('ends the command itself, with the status of a signal', () => {
    assert.equal(run(['--policy', killing, '--role', 'killing', '--', '/bin/cat', secret]).signal, 'SIGKILL');
  });
  test('ends nothing under --audit', () => {
    const { stdout, denials } = run([
      '--audit',
      '--policy',
      killing,
      '--role',
      'killing',
      '--',
      '/bin/sh',
      '-c',
      `cat ${secret} >/dev/null; echo $?`,
    ]);
    assert.equal(stdout, '0\n');
    assert.ok(denials.length > 0 && denials.every(({ audit }) => audit));
  });
});
