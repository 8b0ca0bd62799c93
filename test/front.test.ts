// The front (native/*.c) with a stand-in for the launcher and, by a seccomp filter, for the kernel's answer
// to the probe: what it does with processes, signals and descriptors needs no BPF program. test/vm has the
// same transparency cases on the real thing.
import assert from 'node:assert/strict';
import { execFileSync, type SpawnSyncReturns, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { ProbeAnswer } from '../src/abi.js';
import { cases, type Way } from './front/cases.js';
import { type Ending, eventually, isAlive, run, Session } from './front/session.js';
import { buildTools, compile, gcc, root, type Tools } from './front/tools.js';

let directory: string;
let tools: Tools;
let front: string;
let launcher: string;
let env: NodeJS.ProcessEnv;
let cgroup: string;

before(() => {
  directory = mkdtempSync('/tmp/jailrun-front-');
  chmodSync(directory, 0o755);
  tools = buildTools(directory);
  launcher = compile('launcher', directory);
  front = join(directory, 'jailrun');
  buildFront(front, launcher);
  writeFileSync(join(directory, 'launcher.cjs'), '');
  for (const name of ['maps', 'state']) mkdirSync(join(directory, name));
  execFileSync('mount', ['-t', 'bpf', 'none', join(directory, 'maps')]);
  cgroup = join(cgroupMount(), `jailrun-front-${process.pid}`);
  mkdirSync(cgroup);
  env = { PATH: process.env.PATH, JAILRUN_TEST_DIR: directory, JAILRUN_TEST_CGROUP: cgroup };
  execFileSync(launcher, ['', '--make-maps'], { env });
});

after(() => {
  execFileSync('umount', [join(directory, 'maps')]);
  rmSync(directory, { recursive: true });
  rmdirSync(cgroup);
});

/** Builds the front as the project does, with another program in node's place. */
function buildFront(path: string, node: string): void {
  const sources = readdirSync(join(root, 'native')).filter((name) => name.endsWith('.c'));
  gcc(path, ['-static', `-DJAILRUN_NODE="${node}"`, ...sources.map((name) => join(root, 'native', name))]);
}

function cgroupMount(): string {
  const line = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .find((line) => line.includes(' - cgroup2 '));
  const path = line?.split(' ')[4];
  if (path === undefined)
    throw new Error('cgroup2 is not mounted. Mount it: mount -t cgroup2 none /sys/fs/cgroup');
  return path;
}

const pods = (): string[] => readdirSync(cgroup).filter((name) => name.startsWith('pod-'));
const states = (): string[] => readdirSync(join(directory, 'state'));
const entries = (): number =>
  Number(execFileSync(launcher, ['', '--count-entries'], { env, encoding: 'utf8' }));

/** What the next jailrun would clean up. */
const left = () => ({ pods: pods().length, states: states().length, entries: entries() });
const nothing = { pods: 0, states: 0, entries: 0 };
const onePod = { pods: 1, states: 1, entries: 3 };

function unlessGone<T>(action: () => T): T | undefined {
  try {
    return action();
  } catch (error) {
    // ENODEV is what a read gives when the cgroup goes after it was opened.
    if (['ENOENT', 'ENODEV'].includes((error as NodeJS.ErrnoException).code ?? '')) return undefined;
    throw error;
  }
}

/** Ends and removes the pods that a test leaves behind on purpose. A supervisor may still be removing one. */
async function removePods(): Promise<void> {
  for (const name of pods()) {
    const path = join(cgroup, name);
    const read = () => readFileSync(join(path, 'cgroup.procs'), 'utf8').split('\n').filter(Boolean);
    const procs = () => unlessGone(read)?.map(Number) ?? [];
    for (const pid of procs()) process.kill(pid, 'SIGKILL');
    await eventually('the pod is empty', () => procs().length === 0);
    unlessGone(() => rmdirSync(path));
  }
  for (const name of states()) rmSync(join(directory, 'state', name));
  execFileSync(launcher, ['', '--drop-entries'], { env });
}

/** Runs the front where the kernel answers the probe as it does to a task of the pod, or otherwise. */
const jailrun = (
  args: string[],
  answer: number = ProbeAnswer.THIS_POD,
  settings: string[] = [],
): Promise<Ending> => run([tools.start, `probe:${answer}`, ...settings, '--', front, ...args], { env });

for (const mode of [[], ['--exec']]) {
  describe(`a command behind jailrun ${mode.join(' ')}`.trim(), () => {
    afterEach(removePods);
    const settings = [`probe:${ProbeAnswer.THIS_POD}`];
    for (const { name, observe } of cases) {
      test(name, async () => {
        const direct: Way = { tools, settings, prefix: [], env };
        const jailed: Way = { tools, settings, prefix: [front, ...mode, '--'], env };
        assert.deepEqual(await observe(jailed), await observe(direct));
      });
    }
  });
}

describe('the last mile', () => {
  afterEach(removePods);
  const refusals: [string, number, string][] = [
    ['a task that is in no pod', 22, 'NOT_JAILED'],
    ['a task that is in another pod', ProbeAnswer.OTHER_POD, 'OTHER_POD'],
    ['a task to which bpf(2) is denied', 1, 'NO_PROOF'],
  ];
  for (const [who, answer, code] of refusals) {
    for (const mode of [[], ['--exec']]) {
      test(`never starts the command in ${who} ${mode.join(' ')}`.trim(), async () => {
        const mark = join(directory, 'mark');
        const { end, errors } = await jailrun([...mode, '--json', '--', '/bin/sh', '-c', `>${mark}`], answer);
        assert.equal(end, 125);
        assert.equal(JSON.parse(errors).code, code);
        assert.equal(existsSync(mark), false);
      });
    }
  }

  test('gets no proof from a kernel without the programs', async () => {
    const { end, errors } = await run([front, '--', 'echo', 'started'], { env });
    assert.equal(end, 125);
    assert.match(errors, /^jailrun: The command was not started, because its task is in no pod: /);
  });

  test('cannot be entered by hand', async () => {
    for (const args of [[], ['1'], ['1', '1', 'text', '2'], ['1', '1', 'text', '2', 'echo', 'started']]) {
      const script = 'exec -a jail-enter "$0" "$@"';
      const { end, output } = await run(['bash', '--norc', '-c', script, front, ...args], { env });
      assert.deepEqual({ end, output }, { end: 125, output: '' });
    }
  });

  test('says 127 and the name when PATH has no such command', async () => {
    const { end, errors } = await jailrun(['--', 'no-such-command']);
    assert.deepEqual({ end, errors }, { end: 127, errors: 'jailrun: no-such-command: not found in PATH\n' });
  });

  test('says 127 when a path leads nowhere', async () => {
    const { end, errors } = await jailrun(['--', '/no/such/command']);
    assert.deepEqual({ end, errors }, { end: 127, errors: 'jailrun: /no/such/command: not found\n' });
  });

  test('says 127 and why when a script names an interpreter that is not there', async () => {
    const script = makeFile('script', '#!/no/such/interpreter\n', 0o755);
    const { end, errors } = await jailrun(['--', script]);
    assert.deepEqual(
      { end, errors },
      { end: 127, errors: `jailrun: ${script}: the interpreter that it names is not found\n` },
    );
  });

  test('says 126 when a file is not executable', async () => {
    const { end, errors } = await jailrun(['--', makeFile('plain', 'echo started\n', 0o644)]);
    assert.equal(end, 126);
    assert.match(errors, /^jailrun: .*\/plain: cannot be invoked: Permission denied\n$/);
  });

  test('says 126 for a directory', async () => {
    assert.equal((await jailrun(['--', '/'])).end, 126);
  });

  test('runs a script without an interpreter by the shell, as env does', async () => {
    const script = makeFile('bare', 'echo started with $1\n', 0o755);
    assert.equal((await jailrun(['--', script, 'one'])).output, 'started with one\n');
  });

  test('prefers a later executable in PATH over an earlier one that it may not run', async () => {
    makeFile('early/tool', '', 0o644);
    makeFile('late/tool', '#!/bin/sh\necho late\n', 0o755);
    const path = `PATH=${join(directory, 'early')}:${join(directory, 'late')}`;
    const argv = [tools.start, `probe:${ProbeAnswer.THIS_POD}`, '--', 'env', path, front, '--', 'tool'];
    assert.equal((await run(argv, { env })).output, 'late\n');
  });

  test('says 126 when PATH has only a file that it may not run', async () => {
    makeFile('early/only', '', 0o644);
    const path = `PATH=${join(directory, 'early')}`;
    const argv = [tools.start, `probe:${ProbeAnswer.THIS_POD}`, '--', 'env', path, front, '--', 'only'];
    assert.equal((await run(argv, { env })).end, 126);
  });

  test('writes an error about any bytes as one line of valid JSON', async () => {
    const { errors } = await jailrun(['--json', '--', 'a"b\\c%0ad%ff%c3%a9%1b']);
    assert.deepEqual(JSON.parse(errors), {
      version: 1,
      type: 'error',
      code: 'COMMAND_NOT_FOUND',
      message: 'a"b\\c\nd\ufffdé\x1b: not found in PATH',
    });
  });

  test('writes an error about any bytes as one line of text', async () => {
    assert.equal((await jailrun(['--', 'a%0ab%1b[31m'])).errors, 'jailrun: a?b?[31m: not found in PATH\n');
  });

  test('drops $LISTEN_PIDFDID, which names the front, when it hands sockets on', async () => {
    const argv = [tools.command, 'sockets'];
    const { output } = await jailrun(['--', ...argv], ProbeAnswer.THIS_POD, [
      'listen:3',
      'env:LISTEN_PIDFDID=9',
    ]);
    assert.equal(output, 'mine 1 count 1 accepts 1 pidfd not named\n');
  });
});

function makeFile(name: string, content: string | Buffer, mode: number): string {
  const path = join(directory, name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content);
  chmodSync(path, mode);
  return path;
}

describe('an installation that lacks', () => {
  for (const file of ['launcher.cjs', 'launcher-main.js', 'launcher-main.cache', 'jailrun.node']) {
    test(`${file} runs no command and says so`, (t) => {
      const copy = join(directory, 'copy');
      t.after(() => rmSync(copy, { recursive: true }));
      cpSync(join(root, 'dist'), copy, { recursive: true });
      rmSync(join(copy, file));
      const { status, stdout, stderr } = spawnSync(
        join(copy, 'jailrun'),
        ['--role', 'permissive', '--', 'echo'],
        {
          encoding: 'utf8',
        },
      );
      assert.deepEqual({ status, stdout }, { status: 125, stdout: '' });
      assert.match(stderr, /Install jailrun anew/);
    });
  }
});

describe('the launcher', () => {
  afterEach(removePods);

  test('hands its own status on when it has no plan', async () => {
    assert.deepEqual(await jailrun(['--fault', 'exit', '--', 'echo', 'started']), {
      end: 7,
      output: '',
      errors: '',
    });
  });

  test('hands its own death on when it has no plan', async () => {
    assert.deepEqual(await jailrun(['--fault', 'die']), { end: 'SIGTERM', output: '', errors: '' });
  });

  test('is asked even where jailrun is started without any argument, its own name included', async () => {
    const { end, errors } = await run([tools.start, 'no-arguments', '--', front], { env });
    assert.equal(end, 125);
    assert.match(errors, /^jailrun: .*not among the arguments in the launcher's plan/);
  });

  test('knows of the environment what it may, and nothing that steers node', async () => {
    const known = {
      PATH: env.PATH,
      HOME: '/h',
      LC_ALL: 'C',
      NO_COLOR: '1',
      XDG_RUNTIME_DIR: '/x',
      JAILRUN_POLICY: '/p',
    };
    const steering = {
      NODE_OPTIONS: '--require=/x',
      NODE_PATH: '/x',
      LD_PRELOAD: '',
      HOMEBREW: '1',
      PATHS: '/',
      BASH_ENV: '/x',
    };
    const { output } = await run([front, '--environment'], { env: { ...steering, ...known } });
    const expected = Object.entries(known).map(([name, value]) => `${name}=${value}`);
    assert.deepEqual(output.trim().split('\n').sort(), expected.sort());
  });

  test('has its own streams even where the caller’s are closed', async () => {
    const { end, output } = await run([tools.start, 'close:0', 'close:2', '--', front, '--descriptors'], {
      env,
    });
    assert.deepEqual({ end, output }, { end: 0, output: '0 1 2 3 \n' });
  });

  test('works for a user other than root', async () => {
    const user = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'];
    assert.deepEqual(await run([...user, front, '--descriptors'], { env }), {
      end: 0,
      output: '0 1 2 3 \n',
      errors: '',
    });
  });

  test('has no descriptor but the streams and its socket', async () => {
    const settings = [3, 4, 5, 90].map((fd) => `open:${fd}`);
    const { output } = await run([tools.start, ...settings, '--', front, '--descriptors'], { env });
    assert.equal(output, '0 1 2 3 \n');
  });

  test('dies with a front that is killed', async () => {
    for (const signal of ['SIGTERM', 'SIGINT', 'SIGKILL'] as const) {
      const session = new Session([front, '--fault', 'hang', '--', 'true'], { env });
      const [, pid] = await session.until(/launcher (\d+)\n/);
      process.kill(session.pid, signal);
      assert.equal((await session.end()).end, signal);
      await eventually('the launcher is gone', () => !isAlive(Number(pid)));
    }
  });

  test('survives the signals that the caller ignores', async () => {
    const argv = [
      tools.start,
      'ignore:1',
      'ignore:2',
      '--',
      front,
      '--fault',
      'wait',
      '--',
      'echo',
      'started',
    ];
    const session = new Session([tools.start, `probe:${ProbeAnswer.THIS_POD}`, '--', ...argv], { env });
    const [, pid] = await session.until(/launcher (\d+)\n/);
    for (const signal of ['SIGHUP', 'SIGINT'] as const) process.kill(Number(pid), signal);
    session.write('\n');
    assert.match((await session.end()).output, /started\n$/);
  });

  test('stops and goes on with the front at the terminal', async () => {
    const shell = new Session([tools.terminal, 'bash', '--norc', '--noprofile', '-i'], {
      env: { ...env, TERM: 'dumb', PS1: 'prompt> ' },
    });
    await shell.until(/prompt> /);
    shell.write(
      `${tools.start} probe:${ProbeAnswer.THIS_POD} -- ${front} --fault wait -- echo it has start""ed\n`,
    );
    await shell.until(/launcher \d+/);
    shell.write('\x1a');
    await shell.until(/Stopped[\s\S]*prompt> /);
    shell.write('fg\n');
    await shell.until(/wait/);
    shell.write('\n');
    await shell.until(/it has started/);
    shell.stdin.end();
    await shell.end();
  });

  test('is believed only when it ends well after its plan', async () => {
    const { end, output, errors } = await jailrun([
      '--json',
      '--fault',
      'exit-after-plan',
      '--',
      'echo',
      'started',
    ]);
    assert.deepEqual(
      { end, output, code: JSON.parse(errors).code },
      { end: 125, output: '', code: 'LAUNCHER' },
    );
    assert.deepEqual(left(), nothing);
  });

  const faults = {
    short: 'another size',
    'descriptors-missing': 'another number of descriptors',
    'no-descriptors': 'another number of descriptors',
    'descriptors-over': 'another number of descriptors',
    'descriptors-too-many': 'another number of descriptors',
    layout: 'another layout version',
    flag: 'an unknown flag',
    'command-over': 'not among the arguments',
    'command-zero': 'not among the arguments',
    'path-unterminated': 'not absolute or not terminated',
    'path-relative': 'not absolute or not terminated',
    'other-pod': 'a cgroup that is not the pod',
    'no-cgroup': 'a cgroup that is not the pod',
    'maps-swapped': 'a map of another kind',
    'no-map': 'a map of another kind',
  };
  for (const [fault, reason] of Object.entries(faults)) {
    test(`starts nothing by a plan with this fault: ${fault}`, async () => {
      const { end, output, errors } = await jailrun(['--fault', fault, '--', 'echo', 'started']);
      assert.deepEqual({ end, output }, { end: 125, output: '' });
      assert.match(errors, new RegExp(`^jailrun: .*${reason}.* in the launcher's plan\\. Install .*\n$`));
    });
  }

  test('is blamed for a plan in JSON where that is asked for', async () => {
    const { errors } = await jailrun(['--json', '--fault', 'layout', '--', 'echo', 'started']);
    assert.equal(JSON.parse(errors).code, 'PLAN');
  });

  for (const mode of [[], ['--exec']]) {
    test(`loses the pod it made when its cgroup cannot be joined ${mode.join(' ')}`.trim(), async () => {
      // Beside a threaded cgroup only threaded ones take a process.
      const sibling = join(cgroup, 'threaded');
      mkdirSync(sibling);
      writeFileSync(join(sibling, 'cgroup.type'), 'threaded');
      const { end, output, errors } = await jailrun([...mode, '--', 'echo', 'started']);
      const leftovers = left();
      rmdirSync(sibling);
      assert.deepEqual({ end, output, leftovers }, { end: 125, output: '', leftovers: nothing });
      assert.match(
        errors,
        /^jailrun: The command was not started: .*cgroup.*: Operation not supported\. .*\n$/,
      );
    });
  }

  test('is missed with the way to get it', async () => {
    const lonely = join(directory, 'lonely');
    buildFront(lonely, '/no/such/node');
    const { end, errors } = await run([lonely, '--', 'echo', 'started'], { env });
    assert.equal(end, 125);
    assert.match(
      errors,
      /^jailrun: .*\/no\/such\/node: No such file or directory.*apt-get install nodejs\n$/,
    );
  });
});

describe('the supervisor', () => {
  afterEach(removePods);

  test('removes the pod when the command has ended', async () => {
    await jailrun(['--', 'true']);
    assert.deepEqual(left(), nothing);
  });

  test('removes the pod when the command could not be started', async () => {
    await jailrun(['--', 'no-such-command']);
    assert.deepEqual(left(), nothing);
  });

  test('removes the cgroups that the command made in its own', async () => {
    const script = `cd ${cgroup}/pod-* && mkdir -p a/b c`;
    const { end } = await jailrun(['--', 'sh', '-c', script]);
    assert.deepEqual({ end, ...left() }, { end: 0, ...nothing });
  });

  test('removes the pod though the command’s children end a moment after it', async () => {
    const { end } = await jailrun(['--', 'sh', '-c', 'sleep 0.005 & exit 4']);
    assert.deepEqual({ end, ...left() }, { end: 4, ...nothing });
  });

  test('leaves the pod alone while something lives in it', async () => {
    const { end } = await jailrun(['--', 'sh', '-c', 'sleep 60 >/dev/null 2>&1 & exit 5']);
    assert.deepEqual({ end, ...left() }, { end: 5, ...onePod });
  });

  test('leaves a pod with no lock when it is killed, for the next jailrun to remove', async () => {
    const session = new Session(
      [
        tools.start,
        `probe:${ProbeAnswer.THIS_POD}`,
        '--',
        front,
        '--',
        'sh',
        '-c',
        'sleep 60 >&- 2>&- & echo ready; wait',
      ],
      { env },
    );
    await session.until(/ready\n/);
    const [state] = states();
    const isLocked = () =>
      spawnSync('flock', ['--nonblock', join(directory, 'state', state ?? ''), 'true']).status === 1;
    assert.equal(isLocked(), true);
    process.kill(session.pid, 'SIGKILL');
    await session.end();
    assert.equal(isLocked(), false);
    assert.deepEqual(left(), onePod);
  });

  test('runs the command in the pod’s cgroup and stays outside', async () => {
    const { output } = await jailrun(['--', 'sh', '-c', 'grep ^0:: /proc/$$/cgroup /proc/$PPID/cgroup']);
    const [command, supervisor] = output.split('\n').map((line) => line.split(':').at(-1));
    assert.match(command ?? '', /\/pod-\d+$/);
    assert.equal(supervisor?.includes('/pod-'), false);
  });

  test('cannot be traced or dumped, though the command can', async () => {
    // A process that is not dumpable has its files in /proc owned by root whoever it runs as.
    const script = 'stat -c %u /proc/$PPID/mem /proc/$$/mem';
    const argv = [tools.start, `probe:${ProbeAnswer.THIS_POD}`, '--', front, '--', 'sh', '-c', script];
    assert.equal(
      (await run(['setpriv', '--regid=65534', '--clear-groups', ...argv], { env })).output,
      '0\n0\n',
    );
  });

  test('holds nothing of the command’s but standard error', async () => {
    const session = new Session(
      [
        tools.start,
        `probe:${ProbeAnswer.THIS_POD}`,
        'open:3',
        'listen:9',
        '--',
        front,
        '--',
        'sh',
        '-c',
        'echo ready; read line',
      ],
      { env },
    );
    await session.until(/ready\n/);
    const links = () =>
      readdirSync(`/proc/${session.pid}/fd`).filter(
        (fd) => Number(fd) < 3 || linkOf(fd).match(/socket|pipe/),
      );
    const linkOf = (fd: string) => readlinkSync(`/proc/${session.pid}/fd/${fd}`);
    await eventually('it has let go', () => links().join() === '2');
    assert.equal(readlinkSync(`/proc/${session.pid}/cwd`), '/');
    session.write('\n');
    await session.end();
  });

  test('reports denials on standard error, after the command', async () => {
    const { output, errors } = await jailrun(['--denials', '3', '--', 'sh', '-c', 'echo out; echo err >&2']);
    assert.equal(output, 'out\n');
    assert.equal(errors, 'err\nreport: map 1 denials 3 stdin 0 descriptor 5 closed\n');
    assert.deepEqual(left(), nothing);
  });

  test('says so when the report fails, and ends as the command all the same', async () => {
    const { end, errors } = await jailrun(['--denials', '13', '--json', '--', 'sh', '-c', 'exit 6']);
    assert.equal(end, 6);
    assert.equal(JSON.parse(errors.split('\n')[1] ?? '').code, 'REPORT');
    assert.deepEqual(left(), nothing);
  });

  test('reports nothing when nothing was denied', async () => {
    assert.equal((await jailrun(['--', 'true'])).errors, '');
  });

  test('continues a command that it finds stopped when only itself is continued', async () => {
    const session = new Session(
      [tools.start, `probe:${ProbeAnswer.THIS_POD}`, '--', front, '--', tools.command, 'signals'],
      { env },
    );
    const [, pid] = await session.until(/ready (\d+)/);
    const isStopped = (pid: number) => /^State:\s+T/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
    // Not SIGTSTP, which stops nobody in an orphaned process group such as CI's may be.
    for (const signal of ['SIGSTOP', 'SIGSTOP'] as const) {
      process.kill(Number(pid), signal);
      await eventually('both are stopped', () => isStopped(Number(pid)) && isStopped(session.pid));
      process.kill(session.pid, 'SIGCONT');
      await session.until(/signal 18\n/);
    }
    process.kill(session.pid, 'SIGTERM');
    await session.until(/signal 15\n/);
    process.kill(session.pid, 'SIGTERM');
    const { end, output } = await session.end();
    assert.equal(end, 0);
    assert.equal(output.match(/signal 18\n/g)?.length, 2);
  });
});

describe('jailrun --exec', () => {
  afterEach(removePods);

  test('is the command’s process, in the pod’s cgroup', async () => {
    const session = new Session(
      [
        tools.start,
        `probe:${ProbeAnswer.THIS_POD}`,
        '--',
        front,
        '--exec',
        '--',
        'sh',
        '-c',
        'echo pid $$; cat /proc/self/cgroup',
      ],
      { env },
    );
    const { output } = await session.end();
    assert.match(output, new RegExp(`^pid ${session.pid}\n`));
    assert.match(output, /^0::.*\/pod-\d+$/m);
  });

  test('leaves the command no children and no lock', async () => {
    const { output } = await jailrun(['--exec', '--', 'sh', '-c', 'cat /proc/$$/task/$$/children; echo end']);
    assert.equal(output.replace(/\d+ /, ''), 'end\n');
    assert.deepEqual(left(), onePod);
  });
});

describe('jailrun --report-fd', () => {
  afterEach(removePods);
  const words = (args: string[]): string[] => [`probe:${ProbeAnswer.THIS_POD}`, '--', front, ...args];
  /** Descriptor 3 is a pipe, whose contents are output[3]. */
  const reporting = (args: string[]): SpawnSyncReturns<string> =>
    spawnSync(tools.start, words(args), { env, encoding: 'utf8', stdio: Array(4).fill('pipe') });
  const report = 'report: map 1 denials 3 stdin 0 descriptor 5 closed\n';

  for (const option of [
    ['--report-fd', '3'],
    ['--report-fd=3', '--report-fd', '3'],
  ])
    test(`as ${option.join(' ')} keeps the report apart from standard error`, () => {
      const { status, output } = reporting([...option, '--denials', '3', '--', 'sh', '-c', 'echo err >&2']);
      assert.deepEqual([status, ...output.slice(1)], [0, '', 'err\n', report]);
      assert.deepEqual(left(), nothing);
    });

  for (const mode of [[], ['--exec']]) {
    test(`leaves the command nothing of the descriptor ${mode.join(' ')}`.trim(), () => {
      const script = 'for fd in 2 3; do [ -e /proc/$$/fd/$fd ] && echo $fd; done; true';
      assert.equal(reporting([...mode, '--report-fd', '3', '--', 'sh', '-c', script]).stdout, '2\n');
    });
    test(`takes what the last mile says ${mode.join(' ')}`.trim(), () => {
      const { status, output } = reporting([...mode, '--json', '--report-fd', '3', '--', 'no-such-command']);
      assert.deepEqual([status, output[2]], [127, '']);
      assert.equal(JSON.parse(output[3] ?? '').code, 'COMMAND_NOT_FOUND');
    });
  }

  test('takes what the front says before it has a plan', () => {
    const { status, output } = reporting(['--json', '--fault', 'layout', '--report-fd', '3', '--', 'true']);
    assert.deepEqual([status, output[2]], [125, '']);
    assert.equal(JSON.parse(output[3] ?? '').code, 'PLAN');
  });

  test('is there for the launcher, as its descriptor 4', () => {
    assert.equal(reporting(['--descriptors', '--report-fd', '3']).stdout, '0 1 2 3 4 \n');
  });

  test('behind -- is the command’s', () => {
    const { stdout } = reporting(['--descriptors', '--', '--report-fd', '3']);
    assert.equal(stdout, '0 1 2 3 \n');
  });

  // The front opens descriptors of its own from 3 on.
  for (const number of ['3', '77'])
    test(`that names ${number}, which is not open, starts nothing`, async () => {
      const { end, output, errors } = await jailrun(['--report-fd', number, '--', 'echo', 'started']);
      assert.deepEqual([end, output], [125, '']);
      assert.match(errors, /^jailrun: .*the descriptor that --report-fd names is not open/);
    });

  test('lets the supervisor close standard error, too', async () => {
    const child = spawn(tools.start, words(['--report-fd', '3', '--', 'sh', '-c', 'echo ready; read line']), {
      env,
      stdio: Array(4).fill('pipe'),
    });
    const path = `/proc/${child.pid}/fd`;
    const streams = () =>
      readdirSync(path).filter((fd) =>
        /socket|pipe/.test(unlessGone(() => readlinkSync(`${path}/${fd}`)) ?? ''),
      );
    await eventually('it has let go', () => streams().join() === '3');
    child.stdin?.end('\n');
    await once(child, 'exit');
  });

  test('whose reader is gone costs the command nothing', async () => {
    const script = 'read line; exit 6';
    const child = spawn(
      tools.start,
      words(['--report-fd', '3', '--denials', '3', '--', 'sh', '-c', script]),
      {
        env,
        stdio: Array(4).fill('pipe'),
      },
    );
    const exited = once(child, 'exit');
    await eventually('the pod is there', () => pods().length === 1);
    child.stdio[3]?.destroy();
    child.stdin?.end('\n');
    assert.deepEqual(await exited, [6, null]);
    assert.deepEqual(left(), nothing);
  });
});

test('a node that lies beside the launcher is started, by the loader and with the libraries that lie there, too', () => {
  const own = join(directory, 'own');
  mkdirSync(join(own, 'lib'), { recursive: true });
  cpSync(front, join(own, 'jailrun'));
  writeFileSync(join(own, 'launcher.cjs'), '');
  writeFileSync(join(own, 'lib/ld-linux-x86-64.so.2'), '#!/bin/sh\necho "$@"\n', { mode: 0o755 });
  const { status, stdout } = spawnSync(join(own, 'jailrun'), ['--role', 'x', '--', 'true'], {
    env,
    encoding: 'utf8',
  });
  const words = ['--library-path', `${own}/lib`, `${own}/node`, `${own}/launcher.cjs`];
  assert.deepEqual([status, stdout], [0, `${[...words, '--role', 'x', '--', 'true'].join(' ')}\n`]);
});
