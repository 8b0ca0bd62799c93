// What runs already, or is started by others, is jailed: by its process, its cgroup or its file.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  renameSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { EnrollReport } from '../../src/launcher/enroll.js';
import {
  attach,
  endPods,
  jailrun,
  leave,
  pods,
  root,
  run,
  type Said,
  say,
  sayBy,
  until,
  writePolicy,
} from './jail.js';

const area = '/run/jailrun-test/enroll';
const secret = `${area}/secret`;
const marker = `${area}/marker`;
const stop = `${area}/stop`;
const cgroups = '/sys/fs/cgroup/enroll-test';
const swarm = join(root, 'build/swarm');

const text = `version: 1
roles:
  held:
    id: 810
    files: {read: [/], write: [/], deny: ["${secret}"]}
    exec: any
    network: any
    allow: any
  other:
    id: 811
    files: any
    exec: any
    network: any
    allow: any
`;
const policy = writePolicy('enroll', text);
const inRole = ['--policy', policy, '--role', 'held'];

const enroll = (...words: string[]): Promise<Said> => say('enroll', ...inRole, ...words);
/** Enrolls and returns the report; fails the test where that fails. */
async function enrolled(...words: string[]): Promise<EnrollReport> {
  const { status, stdout, stderr } = await enroll('--json', ...words);
  assert.equal(status, 0, stderr);
  return JSON.parse(stdout);
}
/** The pod that holds a process; undefined for none. */
const podOf = (pid: number | undefined): string | undefined =>
  pods().find(({ processes }) => processes.some((one) => one.pid === pid))?.name;
const reads = (program: string, ...words: string[]): boolean =>
  spawnSync(program, [...words, secret], { encoding: 'utf8' }).stdout === 'secret';

/** A program that goes on until the test ends, with what it says. */
class Running {
  readonly child: ChildProcess;
  said = '';
  constructor(program: string, words: string[]) {
    this.child = spawn(program, words, { stdio: ['pipe', 'pipe', 'inherit'] });
    this.child.stdout?.setEncoding('utf8').on('data', (text) => {
      this.said += text;
    });
    running.push(this);
  }
  get pid(): number {
    return this.child.pid as number;
  }
  async says(pattern: RegExp): Promise<string> {
    await until(() => pattern.test(this.said));
    return pattern.exec(this.said)?.[1] ?? '';
  }
  /** The last word, after a while in which escapes count. */
  async outcome(): Promise<string> {
    writeFileSync(marker, '');
    await sleep(500);
    writeFileSync(stop, '');
    await until(() => /^(held|escaped)$/m.test(this.said));
    return /^(held|escaped)$/m.exec(this.said)?.[0] ?? '';
  }
  async end(): Promise<void> {
    // What it started may have it, too.
    this.child.stdout?.destroy();
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    this.child.kill('SIGKILL');
    await once(this.child, 'exit');
  }
}
const running: Running[] = [];
const startSwarm = (way: string): Running => new Running(swarm, [way, secret, marker, stop]);

before(() => {
  mkdirSync(area, { recursive: true });
  writeFileSync(secret, 'secret');
  attach();
});
afterEach(async () => {
  writeFileSync(stop, '');
  for (const one of running.splice(0)) await one.end();
  await endPods();
  rmSync(marker, { force: true });
  rmSync(stop, { force: true });
});
after(() => {
  rmSync(area, { recursive: true });
  leave();
});

describe('a process that is enrolled', () => {
  test('is jailed with all its threads, and with those that it starts meanwhile', async () => {
    const one = startSwarm('threads');
    await one.says(/started/);
    const report = await enrolled('--pid', String(one.pid));
    assert.deepEqual(report.pids, [one.pid]);
    assert.ok(report.threads >= 3);
    assert.equal(await one.outcome(), 'held');
  });
  test('is jailed whole where it has many threads', async () => {
    const one = startSwarm('crowd');
    await one.says(/started/);
    assert.equal((await enrolled('--pid', String(one.pid))).threads, 65);
    assert.equal(await one.outcome(), 'held');
  });
  test('is not jailed before', async () => {
    const one = startSwarm('threads');
    await one.says(/started/);
    assert.equal(await one.outcome(), 'escaped');
  });
  test('is jailed while a thread of it executes programs all the time', async () => {
    const one = startSwarm('exec');
    await one.says(/started/);
    await enrolled('--pid', String(one.pid));
    assert.equal(await one.outcome(), 'held');
  });
  test('is jailed in the thread of its that polls a ring, and in the workers of it', async () => {
    const one = startSwarm('polled');
    await one.says(/started/);
    await enrolled('--pid', String(one.pid));
    assert.equal(await one.outcome(), 'held');
  });
  test('takes its children along where that is asked for, whatever they start meanwhile', async () => {
    const one = startSwarm('children');
    await one.says(/started/);
    await enrolled('--pid', String(one.pid), '--descendants');
    assert.equal(await one.outcome(), 'held');
  });
  test('leaves the children outside that it had before', async () => {
    const shell = new Running('/bin/sh', ['-c', 'sleep 1000 & echo $!; wait']);
    const child = Number(await shell.says(/^(\d+)$/m));
    await enrolled('--pid', String(shell.pid));
    assert.ok(podOf(shell.pid));
    assert.equal(podOf(child), undefined);
    process.kill(child);
  });
  test('takes along what has its memory', async () => {
    const one = startSwarm('memory');
    await one.says(/^(\d+)$/m);
    const { pids } = await enrolled('--pid', String(one.pid));
    assert.equal(pids.length, 2);
    assert.equal(await one.outcome(), 'held');
  });
  test('has a pod that lists and counts it, and ends with it', async () => {
    const shell = new Running('/bin/sh', ['-c', `echo; read x; cat ${secret}; read x`]);
    await shell.says(/^$/m);
    const { pod } = await enrolled('--pid', String(shell.pid), '--name', 'service');
    assert.match(pod, /^service-/);
    shell.child.stdin?.write('\n');
    await until(() => pods()[0]?.denials === 1);
    assert.equal(podOf(shell.pid), pod);
    await shell.end();
    assert.deepEqual(pods(), []);
  });
  test('is killed with its pod', async () => {
    const one = new Running('/bin/sleep', ['1000']);
    const { pod } = await enrolled('--pid', String(one.pid));
    assert.equal((await say('kill', pod)).status, 0);
    await until(() => one.child.signalCode === 'SIGKILL');
  });
  test('gets another policy by a reload', async () => {
    const shell = new Running('/bin/sh', ['-c', 'while read x; do cat "$x" || echo no; done']);
    await enrolled('--pid', String(shell.pid));
    shell.child.stdin?.write(`${secret}\n`);
    await shell.says(/(no)/);
    writeFileSync(policy, text.replace(secret, `${area}/none`));
    assert.equal((await say('reload')).status, 0);
    shell.child.stdin?.write(`${secret}\n`);
    await shell.says(/(secret)/);
    writeFileSync(policy, text);
  });
});

/** What is said of an enrollment that is refused; nothing may be left of it. */
async function refusal(...words: string[]): Promise<string> {
  const { status, stderr } = await enroll('--json', ...words);
  assert.equal(status, 125);
  assert.deepEqual(pods(), []);
  return JSON.parse(stderr).code;
}

describe('an enrollment is refused', () => {
  test('of a process that is not there', async () => {
    assert.equal(await refusal('--pid', '4000000'), 'NO_PROCESS');
  });
  test('of init, of what is no number, and of nothing', async () => {
    assert.deepEqual(
      [
        await refusal('--pid', '1'),
        await refusal('--pid', '1x'),
        await refusal(),
        await refusal('--cgroup', area, '--descendants'),
      ],
      ['USAGE', 'USAGE', 'USAGE', 'USAGE'],
    );
  });
  test('of a process that traces another', async () => {
    const one = startSwarm('tracer');
    await one.says(/^(\d+)$/m);
    assert.equal(await refusal('--pid', String(one.pid)), 'HELD_OPEN');
  });
  test('of a process that has a ring which another one works for', async () => {
    const one = startSwarm('ring');
    const child = await one.says(/^(\d+)$/m);
    assert.equal(await refusal('--pid', child), 'HELD_OPEN');
  });
  test('of what is no cgroup, of the whole host, and of this process’s own cgroup', async () => {
    mkdirSync(cgroups, { recursive: true });
    assert.deepEqual(
      [
        await refusal('--cgroup', area),
        await refusal('--cgroup', `${area}/none`),
        await refusal('--cgroup', '/sys/fs/cgroup'),
      ],
      ['NO_CGROUP', 'NO_CGROUP', 'USAGE'],
    );
    const shell = `echo 0 > ${cgroups}/cgroup.procs; exec ${jailrun} enroll --json ${inRole.join(' ')} --cgroup ${cgroups}`;
    const { stderr } = spawnSync('/bin/sh', ['-c', shell], { encoding: 'utf8' });
    assert.equal(JSON.parse(stderr).code, 'USAGE');
    rmdirSync(cgroups);
  });
  test('of a process that is jailed already', async () => {
    const one = new Running('/bin/sleep', ['1000']);
    const { pod } = await enrolled('--pid', String(one.pid));
    const { status, stderr } = await say(
      'enroll',
      '--policy',
      policy,
      '--role',
      'other',
      '--pid',
      String(one.pid),
    );
    assert.equal(status, 125);
    assert.ok(stderr.includes(`is in pod ${pod} already`));
  });
});

const moveTo = (cgroup: string, pid: number): void => writeFileSync(`${cgroup}/cgroup.procs`, String(pid));

describe('a cgroup that is enrolled', () => {
  const inner = `${cgroups}/inner`;
  const outer = '/sys/fs/cgroup/enroll-outer';

  before(() => {
    mkdirSync(inner, { recursive: true });
    mkdirSync(outer, { recursive: true });
  });
  after(() => {
    for (const path of [inner, cgroups, outer]) rmdirSync(path);
  });

  test('jails what is in it and below it', async () => {
    const one = startSwarm('threads');
    await one.says(/started/);
    moveTo(inner, one.pid);
    assert.deepEqual((await enrolled('--cgroup', cgroups)).pids, [one.pid]);
    assert.equal(await one.outcome(), 'held');
  });
  test('jails what is moved into it at once, with all its threads', async () => {
    await enrolled('--cgroup', cgroups);
    const one = startSwarm('threads');
    await one.says(/started/);
    moveTo(inner, one.pid);
    assert.equal(await one.outcome(), 'held');
  });
  test('jails a process of many threads whole', async () => {
    const missed = async (): Promise<number> => JSON.parse((await say('status', '--json')).stdout).missed;
    // A thread that was born while others moved may have been counted, and jailed a moment later.
    const before = await missed();
    await enrolled('--cgroup', cgroups);
    const one = startSwarm('crowd');
    await one.says(/started/);
    moveTo(inner, one.pid);
    assert.equal(await one.outcome(), 'held');
    assert.equal(await missed(), before);
  });
  test('jails what is forked while its parent moves there', async () => {
    await enrolled('--cgroup', cgroups);
    const one = startSwarm('children');
    await one.says(/started/);
    moveTo(cgroups, one.pid);
    // A child that was there before stays where it was.
    await sleep(200);
    assert.equal(await one.outcome(), 'held');
  });
  test('jails a child that is born into it', async () => {
    await enrolled('--cgroup', cgroups);
    const born = `
import os, ctypes, sys
libc = ctypes.CDLL(None, use_errno=True)
class Args(ctypes.Structure):
    _fields_ = [(n, ctypes.c_uint64) for n in ('flags','pidfd','child_tid','parent_tid','exit_signal','stack','stack_size','tls','set_tid','set_tid_size','cgroup')]
args = Args(flags=0x200000000, exit_signal=17, cgroup=os.open(sys.argv[1], os.O_RDONLY))
pid = libc.syscall(435, ctypes.byref(args), ctypes.sizeof(args))
if pid == 0:
    try:
        open(sys.argv[2]); os._exit(1)
    except PermissionError:
        os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
open(sys.argv[2])
`;
    const { status, stdout, stderr } = spawnSync('python3', ['-c', born, inner, secret], {
      encoding: 'utf8',
    });
    assert.deepEqual([status, stdout], [0, '7\n'], stderr);
  });
  test('frees nobody who leaves it', async () => {
    await enrolled('--cgroup', cgroups);
    const one = startSwarm('threads');
    await one.says(/started/);
    moveTo(cgroups, one.pid);
    moveTo(outer, one.pid);
    assert.equal(await one.outcome(), 'held');
  });
  test('does not jail what is moved into it by somebody who is jailed', async () => {
    await enrolled('--cgroup', cgroups);
    const one = new Running('/bin/sleep', ['1000']);
    const script = `echo ${one.pid} > ${inner}/cgroup.procs`;
    const { status } = run(['--policy', policy, '--role', 'other', '--', '/bin/sh', '-c', script]);
    assert.equal(status, 0);
    assert.equal(podOf(one.pid), undefined);
  });
  test('is followed when it is removed and made anew', async () => {
    const { pod } = await enrolled('--cgroup', inner);
    rmdirSync(inner);
    mkdirSync(inner);
    const one = new Running('/bin/sleep', ['1000']);
    moveTo(inner, one.pid);
    assert.equal(podOf(one.pid), pod);
  });
  test('jails nothing more after unenroll, and what it jailed stays so', async () => {
    const { pod } = await enrolled('--cgroup', cgroups);
    const [early, late] = [new Running('/bin/sleep', ['1000']), new Running('/bin/sleep', ['1000'])];
    moveTo(cgroups, early.pid);
    assert.equal((await say('unenroll', pod)).status, 0);
    moveTo(cgroups, late.pid);
    assert.deepEqual([podOf(early.pid), podOf(late.pid)], [pod, undefined]);
  });
  test('cannot be enrolled twice', async () => {
    const { pod } = await enrolled('--cgroup', cgroups);
    const { status, stderr } = await enroll('--cgroup', cgroups);
    assert.equal(status, 125);
    assert.ok(stderr.includes(`is in pod ${pod} already`));
  });
});

describe('a file that is enrolled', () => {
  const program = `${area}/reader`;
  const makeProgram = (path: string): void => {
    copyFileSync('/bin/cat', path);
    chmodSync(path, 0o755);
  };
  before(() => makeProgram(program));

  test('jails whoever executes it, and nobody else', async () => {
    assert.equal(reads(program), true);
    await enrolled('--exe', program);
    assert.equal(reads(program), false);
    assert.equal(reads('/bin/cat'), true);
    assert.equal(
      spawnSync('/bin/sh', ['-c', `${program} ${secret}; cat ${secret}`]).stdout.toString(),
      'secret',
    );
  });
  test('jails by another name, and by the loader', async () => {
    await enrolled('--exe', program);
    linkSync(program, `${area}/link`);
    assert.equal(reads(`${area}/link`), false);
    assert.equal(reads('/lib64/ld-linux-x86-64.so.2', program), false);
    assert.equal(reads('/lib64/ld-linux-x86-64.so.2', '/bin/cat'), true);
    rmSync(`${area}/link`);
  });
  test('jails what takes its place, before it runs, and by the names that this has', async () => {
    await enrolled('--exe', program);
    makeProgram(`${area}/new`);
    renameSync(`${area}/new`, program);
    assert.equal(reads(program), false);
    linkSync(program, `${area}/link`);
    assert.equal(reads(`${area}/link`), false);
    rmSync(`${area}/link`);
  });
  test('jails as a script', async () => {
    const script = `${area}/script`;
    writeFileSync(script, '#!/bin/cat\n', { mode: 0o755 });
    await enrolled('--exe', script);
    assert.equal(reads(script), false);
  });
  test('does not jail whose execution of it fails', async () => {
    const script = `${area}/broken`;
    writeFileSync(script, '#!/nowhere\n', { mode: 0o755 });
    await enrolled('--exe', script);
    const text = `import os
try:
    os.execv(${JSON.stringify(script)}, ['x'])
except FileNotFoundError:
    print(open(${JSON.stringify(secret)}).read())
os.execv('/bin/cat', ['cat', ${JSON.stringify(secret)}])`;
    assert.equal(spawnSync('python3', ['-uc', text], { encoding: 'utf8' }).stdout, 'secret\nsecret');
  });
  test('does not jail by what an execution meant that failed when the file still enrolled', async () => {
    const script = `${area}/broken`;
    writeFileSync(script, '#!/nowhere\n', { mode: 0o755 });
    const { pod } = await enrolled('--exe', script);
    const text = `import os
try:
    os.execv(${JSON.stringify(script)}, ['x'])
except FileNotFoundError:
    print('failed')
input()
os.execv('/bin/cat', ['cat', ${JSON.stringify(secret)}])`;
    const one = new Running('python3', ['-uc', text]);
    await one.says(/failed/);
    await say('unenroll', pod);
    one.child.stdin?.write('\n');
    await one.says(/(secret)/);
  });
  test('jails by a symbolic link’s name what that leads to', async () => {
    spawnSync('ln', ['-s', program, `${area}/symlink`]);
    await enrolled('--exe', `${area}/symlink`);
    assert.equal(reads(program), false);
    rmSync(`${area}/symlink`);
  });
  test('jails nobody after unenroll', async () => {
    const { pod } = await enrolled('--exe', program);
    assert.equal((await say('unenroll', pod)).status, 0);
    assert.equal(reads(program), true);
    assert.deepEqual(pods(), []);
  });
  test('cannot be enrolled twice, nor can what is no file', async () => {
    await enrolled('--exe', program);
    assert.match((await enroll('--exe', program)).stderr, /already/);
    assert.match((await enroll('--exe', area)).stderr, /is not a file/);
    assert.ok(existsSync(program));
  });
});

describe('a policy that enrolls', () => {
  const program = `${area}/by-policy`;
  const cgroup = '/sys/fs/cgroup/enroll-policy';
  const file = (enrollments: string): string => writePolicy('enrolls', `${text}${enrollments}`);
  const both = `cgroups:\n  ${cgroup}: held\nexecutables:\n  ${program}: [held, other]\n`;
  const names = (): string[] => pods().map(({ name }) => name.replace(/-[^-]+$/, ''));

  after(() => rmdirSync(cgroup));

  test('jails what is to come, from attach on, and what is there no longer after a reload without it', async () => {
    const { status, stdout, stderr } = await sayBy(file(both), 'attach');
    assert.equal(status, 0, stderr);
    assert.match(
      stdout,
      /^Already.*\nEnrolls: enroll-policy-\w+, role held\.\nEnrolls: by-policy-\w+, role held\+other\.\n$/,
    );
    copyFileSync('/bin/cat', program);
    chmodSync(program, 0o755);
    mkdirSync(cgroup);
    const one = new Running('/bin/sleep', ['1000']);
    moveTo(cgroup, one.pid);
    assert.deepEqual([reads(program), typeof podOf(one.pid)], [false, 'string']);

    assert.equal((await sayBy(file(''), 'reload', '--dry-run')).stdout.match(/^- enrolls/gm)?.length, 2);
    assert.equal(reads(program), false);
    assert.equal((await sayBy(file(''), 'reload')).status, 0);
    assert.equal(reads(program), true);
    assert.deepEqual(names(), ['enroll-policy']);
  });
  test('gets nothing changed that is the same, and changes nothing where it is at fault', async () => {
    await sayBy(file(both), 'attach');
    const before = pods().map(({ id }) => id);
    assert.equal((await sayBy(file(both), 'reload')).status, 0);
    assert.deepEqual(
      pods().map(({ id }) => id),
      before,
    );
    const { status, stderr } = await sayBy(file('executables:\n  /nowhere/at/all: held\n'), 'reload');
    assert.equal(status, 125);
    assert.match(stderr, /\/nowhere\/at\/all cannot be opened/);
    assert.deepEqual(
      pods().map(({ id }) => id),
      before,
    );
  });
});
