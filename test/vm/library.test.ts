// The library against a kernel: what a run tells while it goes on and at its end, and that aborting it leaves
// nothing. What needs no kernel is in test/launcher/library.test.ts.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { getEventListeners, once } from 'node:events';
import {
  appendFileSync,
  closeSync,
  cpSync,
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
} from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import type * as Library from '../../src/launcher/library.js';
import { act, attach, detach, jailrun, leave, mapSize, pods, root, until, writePolicy } from './jail.js';

const name: string = 'jailrun';
const library: typeof Library = await import(name);
const { JailrunError, reload, run, status } = library;

const secret = '/etc/shadow';
const policy = writePolicy(
  'library',
  `version: 1
roles:
  library:
    id: 800
    description: Runs programs and reads what they need, and no secrets.
    files: {read: ["@runtime", ${act}, /proc], write: [/dev/null]}
    exec: any
    allow: [cgroup]
  any: {id: 802, files: any, exec: any, network: any}
  mover: {id: 801, extends: [library], files: {write: [/sys/fs/cgroup]}}
`,
);
const role = 'library';
const elsewhere = '/sys/fs/cgroup/library-test';

/** Without drafts, which lock out nobody and go a minute after their maker. */
const states = (): string[] => readdirSync('/run/jailrun/pods').filter((entry) => !entry.startsWith('.'));
/** What is left of pods. */
const left = (): number[] => [
  states().length,
  ...['pods', 'cgroup_enrollment', 'pod_counters', 'pod_denials'].map(mapSize),
];
const nothing = [0, 0, 0, 0, 0];
const isAlive = (pid: number): boolean => existsSync(`/proc/${pid}`);
/** Sleeps as long as a number that stands for the test. */
const sleepers = (seconds: number): number[] =>
  readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'latin1') === `sleep\0${seconds}\0`;
      } catch {
        return false;
      }
    })
    .map(Number);

/** Two denials a round, one unlike the other, so that each takes a place in the record. */
const manyDenials = (rounds: number): string =>
  `i=0; while [ $i -lt ${rounds} ]; do i=$((i+1)); read x </etc/shadow; read x </etc/gshadow; done`;

before(attach);
after(leave);

describe('run', () => {
  test('gives the command its arguments, environment, directory and streams', async () => {
    const script = 'read line; echo "$line $1 $V $PWD"; echo err >&2; exit 3';
    const jailed = await run({
      role,
      policy,
      command: ['sh', '-c', script, 'sh', 'a b'],
      env: { V: 'v', PATH: '/usr/bin' },
      cwd: '/usr',
      stdin: 'pipe',
      stdout: 'pipe',
      stderr: 'pipe',
    });
    jailed.stdin.end('in\n');
    assert.equal(await text(jailed.stdout), 'in a b v /usr\n');
    assert.equal(await text(jailed.stderr), 'err\n');
    assert.deepEqual(await jailed.ended, { status: 3, signal: null, denials: [], lost: 0, faults: [] });
    assert.deepEqual(left(), nothing);
  });
  test('gives the command the descriptors of the request and no other', async () => {
    const path = '/tmp/library-descriptor';
    const fd = openSync(path, 'w');
    const script =
      'echo three >&3; for fd in 0 1 2 3 4 5; do [ -e /proc/$$/fd/$fd ] && echo $fd >&3; done; :';
    const jailed = await run({
      role,
      policy,
      command: ['sh', '-c', script],
      stdin: 'ignore',
      descriptors: [fd],
    });
    closeSync(fd);
    await jailed.ended;
    assert.equal(readFileSync(path, 'utf8'), 'three\n0\n1\n2\n3\n');
    rmSync(path);
  });
  test('tells the pod, which status lists', async () => {
    const jailed = await run({ role, policy, name: 'told', command: ['sleep', '900'] });
    assert.match(jailed.pod.name, /^told-[0-9a-f]{8}$/);
    const { pods } = await status();
    assert.deepEqual(
      pods.map(({ name, id, role, cgroup }) => ({ name, id, role, cgroup })),
      [jailed.pod],
    );
    await jailed.kill('SIGKILL');
    assert.equal((await jailed.ended).signal, 'SIGKILL');
  });
  test('passes a signal on to the command, which may live on', async () => {
    const script = `trap 'echo caught' TERM; echo ready; while :; do read line && exit 4; done`;
    const command = ['sh', '-c', script] as const;
    const jailed = await run({ role, policy, command, stdin: 'pipe', stdout: 'pipe' });
    await once(jailed.stdout, 'data');
    await jailed.kill();
    const [data] = await once(jailed.stdout, 'data');
    assert.equal(String(data), 'caught\n');
    jailed.stdin.end('\n');
    assert.equal((await jailed.ended).status, 4);
  });
  test('refuses the signal that would stop its supervisor alone', async () => {
    const jailed = await run({ role, policy, command: ['sleep', '900'] });
    await assert.rejects(jailed.kill('SIGSTOP'), { code: 'USAGE' });
    await jailed.kill();
    assert.equal((await jailed.ended).signal, 'SIGTERM');
  });
  test('rejects the end of a command that is not there, and the iterator with it', async () => {
    const jailed = await run({ role, policy, command: ['no-such-command'] });
    const iterated = (async () => {
      for await (const _ of jailed.denials);
    })();
    await assert.rejects(iterated, { name: 'JailrunError', code: 'COMMAND_NOT_FOUND' });
    await assert.rejects(jailed.ended, (error) => error instanceof JailrunError);
    assert.deepEqual(left(), nothing);
  });
  test('takes status 125 for the command’s own where it is', async () => {
    const jailed = await run({ role, policy, command: ['sh', '-c', 'exit 125'] });
    assert.equal((await jailed.ended).status, 125);
  });
  test('lets a role of a stack deny, and says which', async () => {
    const jailed = await run({ role: ['permissive', role], policy, command: [act, 'open', secret, '0'] });
    const { denials } = await jailed.ended;
    assert.deepEqual(
      denials.map(({ decider, target }) => [decider, target]),
      [[role, secret]],
    );
  });
  test('only reports where it audits', async () => {
    const command = [act, 'open', secret, '0'] as const;
    const jailed = await run({ role, policy, audit: true, command, stdout: 'pipe' });
    assert.match(await text(jailed.stdout), /^ok /);
    assert.deepEqual(
      (await jailed.ended).denials.map(({ audit, target }) => [audit, target]),
      [[true, secret]],
    );
  });
  test('has reload speak of its pod', async () => {
    const jailed = await run({ role, policy, command: ['sleep', '900'] });
    const reports = await reload({ dryRun: true });
    assert.deepEqual(
      reports.map((report) => report.type === 'reload' && [report.podId, report.changed]),
      [[jailed.pod.id, false]],
    );
    await jailed.kill('SIGKILL');
    await jailed.ended;
  });
});

describe('denials', () => {
  /** Opens each path that it reads from standard input. */
  const opener = ['sh', '-c', `while read path; do ${act} open "$path" 0; done`] as const;
  test('are told while the command runs, and end with it', async () => {
    const jailed = await run({ role, policy, command: opener, stdin: 'pipe', stdout: 'ignore' });
    const denials = jailed.denials[Symbol.asyncIterator]();
    for (const path of [secret, '/etc/gshadow']) {
      jailed.stdin.write(`${path}\n`);
      assert.equal((await denials.next()).value?.target, path);
    }
    jailed.stdin.end();
    assert.deepEqual(await denials.next(), { done: true, value: undefined });
    const targets = (await jailed.ended).denials.map(({ target }) => target);
    assert.deepEqual(targets, [secret, '/etc/gshadow']);
  });
  test('are told to each who asks, also when all is over', async () => {
    const jailed = await run({ role, policy, command: opener, stdin: 'pipe', stdout: 'ignore' });
    const all = async () => {
      const targets: string[] = [];
      for await (const { target } of jailed.denials) targets.push(target);
      return targets;
    };
    const early = [all(), all()];
    jailed.stdin.end(`${secret}\n`);
    assert.deepEqual(await Promise.all([...early, jailed.ended.then(all)]), Array(3).fill([secret]));
  });
  test('keep their order and their number, and what is more is counted', async () => {
    const jailed = await run({ role, policy, command: ['sh', '-c', manyDenials(150)], stderr: 'ignore' });
    const told: number[] = [];
    for await (const { sequence } of jailed.denials) told.push(sequence);
    const { denials, lost } = await jailed.ended;
    assert.deepEqual([denials.length, lost], [256, 44]);
    assert.deepEqual(
      told,
      denials.map(({ sequence }) => sequence),
    );
  });
  test('of one pod are not told for another', async () => {
    const [one, other] = await Promise.all(
      [secret, '/etc/gshadow'].map((path) => run({ role, policy, command: [act, 'open', path, '0'] })),
    );
    const [mine, others] = await Promise.all([one?.ended, other?.ended]);
    assert.deepEqual(
      [mine, others].map((outcome) => outcome?.denials.map(({ target }) => target)),
      [[secret], ['/etc/gshadow']],
    );
  });
});

describe('aborting', () => {
  const reason = new Error('enough');
  test('kills what the command started, in sessions of their own, too, and rejects with the reason', async () => {
    const controller = new AbortController();
    const script = 'setsid sleep 901 & sleep 901 & echo; wait';
    const command = ['sh', '-c', script] as const;
    const jailed = await run({ role, policy, command, stdout: 'pipe', signal: controller.signal });
    await once(jailed.stdout, 'data');
    await until(() => sleepers(901).length === 2);
    controller.abort(reason);
    await assert.rejects(jailed.ended, reason);
    assert.deepEqual([sleepers(901), isAlive(jailed.pid)], [[], false]);
    assert.deepEqual(left(), nothing);
  });
  test('kills what left the pod’s cgroup', async () => {
    spawnSync('mkdir', ['-p', elsewhere]);
    const controller = new AbortController();
    const script = `sleep 902 & echo $! >${elsewhere}/cgroup.procs; echo; wait`;
    const command = ['sh', '-c', script] as const;
    const jailed = await run({ role: 'mover', policy, command, stdout: 'pipe', signal: controller.signal });
    await once(jailed.stdout, 'data');
    assert.match(readFileSync(`${elsewhere}/cgroup.procs`, 'utf8'), /\d/);
    controller.abort(reason);
    await assert.rejects(jailed.ended, reason);
    assert.deepEqual(sleepers(902), []);
    spawnSync('rmdir', [elsewhere]);
  });
  test('at any moment of the start leaves nothing that runs and nothing of a pod', async () => {
    for (const isRemembered of [false, true]) {
      const prepare = () => isRemembered || rmSync('/run/jailrun/starts', { recursive: true, force: true });
      prepare();
      const begin = Date.now();
      await (await run({ role, policy, command: ['true'] })).ended;
      const whole = Date.now() - begin;
      for (let part = 0; part <= 1; part += 0.1) {
        const milliseconds = Math.round(whole * part);
        prepare();
        const signal = AbortSignal.timeout(milliseconds);
        const command = ['sh', '-c', 'setsid sleep 903 & sleep 903'] as const;
        const started = run({ role, policy, command, signal }).then((jailed) => jailed.ended);
        await assert.rejects(started, { name: 'TimeoutError' });
        assert.deepEqual(sleepers(903), [], `${milliseconds} of ${whole} ms`);
      }
    }
    // A pod that was being made may have been locked by its dying maker a moment ago.
    const isClean = () => pods().length === 0 && isDeepStrictEqual(left(), nothing);
    await until(isClean).catch(() => assert.deepEqual([states(), left()], [[], nothing]));
  });
  test('between the pod and its command leaves no command', async () => {
    const controller = new AbortController();
    const jailed = await run({ role, policy, command: ['sleep', '905'], signal: controller.signal });
    process.kill(jailed.pid, 'SIGSTOP');
    controller.abort(reason);
    await sleep(1000);
    process.kill(jailed.pid, 'SIGCONT');
    await assert.rejects(jailed.ended, reason);
    assert.deepEqual(sleepers(905), []);
  });
  test('takes its listener away from a signal that outlives the run', async () => {
    const { signal } = new AbortController();
    await (await run({ role, policy, command: ['true'], signal })).ended;
    assert.deepEqual(getEventListeners(signal, 'abort'), []);
  });
});

test('kill ends what a command left behind', async () => {
  const jailed = await run({ role, policy, command: ['sh', '-c', 'sleep 904 & :'] });
  assert.equal((await jailed.ended).status, 0);
  await until(() => sleepers(904).length === 1);
  await jailed.kill('SIGKILL');
  assert.deepEqual(sleepers(904), []);
  await jailed.kill('SIGKILL');
});

test('a command whose caller is killed goes on in its role, and its pod goes with it', async () => {
  const program = `
    import { run } from 'jailrun';
    const command = ['sh', '-c', 'echo $$; read line; ${act} open ${secret} 0'];
    await run({ role: 'library', policy: '${policy}', command });
  `;
  const caller = spawn(process.execPath, ['--input-type=module', '-e', program], {
    cwd: root,
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  let output = '';
  caller.stdout.on('data', (data) => {
    output += data;
  });
  const exited = once(caller, 'exit');
  await until(() => /^\d+\n/.test(output));
  const command = Number.parseInt(output, 10);
  caller.kill('SIGKILL');
  await exited;
  assert.ok(isAlive(command));
  caller.stdin.write('\n');
  await until(() => !isAlive(command));
  assert.match(output, /\nEACCES /);
  await until(() => states().length === 0);
  assert.deepEqual(left(), nothing);
});

describe('attach', () => {
  before(detach);
  test('attaches once, and says what there was', async () => {
    const first = await library.attach();
    const second = await library.attach();
    assert.deepEqual([first.already, second.already, second.current], [false, true, true]);
    const { attached, jailrun } = await status();
    assert.deepEqual({ ...attached, already: true, renewed: false, enrolled: [] }, second);
    assert.equal(attached?.build, jailrun.build);
    const maps = readdirSync('/sys/fs/bpf/jailrun/maps').length;
    assert.deepEqual(await library.detach(), { links: first.programs, maps, pods: 0 });
    assert.equal(await library.detach(), undefined);
    assert.equal((await status()).attached, null);
  });
  after(attach);
});

describe('status', () => {
  test('tells each map’s entries and capacity', async () => {
    const jailed = await run({ role, policy, command: ['sleep', '900'] });
    const { maps } = await status();
    const pods = maps.find(({ name }) => name === 'pods');
    assert.deepEqual(pods, { name: 'pods', entries: 1, capacity: 32768 });
    for (const { name, entries, capacity } of maps) assert.ok(entries <= capacity, name);
    await jailed.kill('SIGKILL');
    await jailed.ended;
  });
  test('tells the denials that were not kept, in words, too', async () => {
    const command = ['sh', '-c', `${manyDenials(130)}; echo; sleep 900`] as const;
    const jailed = await run({ role, policy, command, stdout: 'pipe', stderr: 'ignore' });
    await once(jailed.stdout, 'data');
    const { lost, pods } = await status();
    assert.deepEqual([lost, pods[0]?.lost, pods[0]?.denials], [4, 4, 260]);
    const { stdout } = spawnSync(jailrun, ['status'], { encoding: 'utf8' });
    assert.match(
      stdout,
      /^4 denials were not kept for their reports\.\n1 pods live:\n.* 260 denials, 4 not kept/m,
    );
    await jailed.kill('SIGKILL');
    await jailed.ended;
  });
});

describe('pods and kill', () => {
  test('tell the processes of a pod, and end them', async () => {
    const jailed = await run({ role, policy, name: 'living', command: ['sleep', '900'] });
    const living = async () =>
      (await library.pods()).map(({ name, processes }) => [name, ...processes.map(({ command }) => command)]);
    // It is made before its command is jailed.
    await until(async () => (await living()).flat().length > 1);
    assert.deepEqual(await living(), [[jailed.pod.name, 'sleep 900']]);
    assert.equal(await library.kill('living'), jailed.pod.name);
    assert.equal((await jailed.ended).signal, 'SIGKILL');
    await assert.rejects(library.kill('living'), { code: 'NO_POD' });
    assert.deepEqual(await library.pods(), []);
  });
});

test('no function leaves a descriptor open in a program that goes on', async () => {
  const child = spawn('/bin/sleep', ['900'], { stdio: 'ignore' });
  const pid = child.pid ?? 0;
  const actions = [
    library.attach,
    status,
    reload,
    library.pods,
    () => library.enroll({ role, policy, pid }),
    () => assert.rejects(library.enroll({ role, policy, pid }), { code: 'ENROLLED' }),
    () => assert.rejects(library.unenroll('nobody'), { code: 'NO_POD' }),
    () => library.kill('sleep'),
    async () => (await run({ role, policy, command: ['true'] })).ended,
  ];
  const open = () => readdirSync('/proc/self/fd').length;
  for (const action of actions) {
    const before = open();
    await action();
    assert.equal(open(), before, String(action));
  }
});

describe('another build of jailrun', () => {
  const other = '/tmp/other-build';
  before(() => {
    cpSync(join(root, 'dist'), other, { recursive: true });
    appendFileSync(join(other, 'jailrun.bpf.o'), '\0');
  });
  after(() => rmSync(other, { recursive: true }));
  test('says that what is attached is not its own', () => {
    const says = (...words: string[]) =>
      spawnSync(join(other, 'jailrun'), ['status', ...words], { encoding: 'utf8' }).stdout;
    assert.match(says(), /^Attached: .*, which is another jailrun's\.\nThey hold .*: jailrun attach$/m);
    const { jailrun: own, attached }: Library.StatusReport = JSON.parse(says('--json'));
    assert.deepEqual([attached?.current, attached?.build === own.build], [false, false]);
  });
});

describe('what --report-fd names', () => {
  const report = '/tmp/library-report';
  /** Runs a script in a role, with a supervisor whose descriptor 3 is the report. */
  const reporting = (script: string) =>
    spawn(
      'sh',
      ['-c', `exec ${jailrun} --report-fd 3 --policy ${policy} --role any -- sh -c '${script}' 3>${report}`],
      {
        stdio: ['pipe', 'pipe', 'pipe'],
      },
    );
  test('is out of the command’s reach, also in its supervisor', async () => {
    const child = reporting('echo forged >/proc/$PPID/fd/3; echo $?');
    const exited = once(child, 'exit');
    assert.equal(
      await text(child.stderr),
      `sh: 1: cannot create /proc/${child.pid}/fd/3: Permission denied\n`,
    );
    await exited;
    assert.match(readFileSync(report, 'utf8'), /^jailrun: sh\[\d+\] was denied use ptrace .*\n$/);
  });
  test('is in the reach of root outside, as any descriptor is', async () => {
    const child = reporting('echo; read line');
    await once(child.stdout, 'data');
    appendFileSync(`/proc/${child.pid}/fd/3`, 'from outside\n');
    child.stdin.end('\n');
    await once(child, 'exit');
    assert.equal(readFileSync(report, 'utf8'), 'from outside\n');
  });
  after(() => rmSync(report));
});

test('the README’s first example prints what it says', () => {
  const readme = readFileSync(join(root, 'README.md'), 'utf8');
  const [, example, shown] = /```js\n(.*?)```\n\nprints\n\n```text\n(.*?)```/s.exec(readme) ?? [];
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    ['--input-type=module', '-e', `${example}`],
    {
      cwd: root,
      encoding: 'utf8',
    },
  );
  assert.deepEqual([status, stdout, stderr], [0, shown, '']);
});
