// A shell on a terminal, and becoming somebody else by sudo and su.
import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { appendFileSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { Session } from '../front/session.js';
import { compile } from '../front/tools.js';
import { jailrun, told, until } from './jail.js';
import { area, begin, end, env, fails, inRole, outside, words, works } from './tools.js';

const user = 'jailrun-user';
const podName = 'users-pod';
const sudoers = '/etc/sudoers.d/jailrun-test';

before(begin);
after(end);

describe('an interactive shell in a role', () => {
  let shell: Session;
  /** Types a line and waits for what it brings. */
  const type = (line: string, brings: RegExp) => {
    shell.write(`${line}\n`);
    return shell.until(brings);
  };
  before(async () => {
    const bash = ['bash', '--norc', '--noprofile', '-i'];
    const command = [compile('terminal', area), jailrun, '--json', ...words('shell', ...bash)];
    shell = new Session(command, { cwd: area, env });
    await shell.until(/% $/);
  });

  test('has its terminal', async () => {
    await type('stty size; tty | tr a-z A-Z', /24 80\s+\/DEV\/PTS\/\d/);
  });
  test('runs pipes, and redirects', async () => {
    await type('echo one two | tr a-z A-Z | tee file | cut -d" " -f2', /\nTWO/);
    await type('tr A-Z a-z <file 2>/dev/null | rev', /\nowt eno/);
  });
  test('substitutes commands and processes', async () => {
    await type('paste -d+ <(echo $((6*7))) <(echo $(expr 40 + 3))', /\n42\+43/);
  });
  test('runs a job in the background, lists it and kills it', async () => {
    await type('sleep 1001 &', /\[1\] \d+/);
    await type('jobs', /\[1\]\+ +Running +sleep 1001/);
    await type('kill %1; wait %1; echo status=$?', /status=143/);
  });
  test('stops a job by Ctrl-Z, lets it go on in the background and in the foreground, and ends it by Ctrl-C', async () => {
    shell.write('sleep 1002\n');
    await shell.until(/sleep 1002\r?\n/);
    await until(() => isRunning('sleep 1002'));
    shell.write('\x1a');
    await shell.until(/\[1\]\+ +Stopped +sleep 1002/);
    await type('bg', /\[1\]\+ sleep 1002 &/);
    await type('jobs', /\[1\]\+ +Running +sleep 1002/);
    await type('fg', /\nsleep 1002/);
    // The shell says so before it gives the terminal away.
    await until(() => processes('sleep 1002').some(hasTerminal));
    shell.write('\x03');
    await type('echo status=$?', /status=130/);
  });
  test('signals a process group of its own', async () => {
    await type('(sleep 1003 | sleep 1004) & sleep 1; kill -- -$!; wait $!; echo status=$?', /status=143/);
    assert.deepEqual([isRunning('sleep 1003'), isRunning('sleep 1004')], [false, false]);
  });
  test('stops a job that reads from the terminal in the background', async () => {
    await type('cat &', /\[1\] \d+/);
    await type('sleep 1; jobs', /\[1\]\+ +Stopped +cat/);
    await type('kill -9 %1; sleep 1; jobs', /\[1\]\+ +Killed +cat/);
  });
  test('cannot signal a process outside, and says so', async () => {
    await type(`kill ${outside.pid}`, /kill: \(\d+\) - Operation not permitted/);
  });
  test('ends with its own status, and nothing was denied but that signal', async () => {
    shell.write('exit 7\n');
    const { end, output } = await shell.end();
    assert.equal(end, 7);
    const rows = output.split(/\r?\n/).filter((line) => line.startsWith('{"version":1,'));
    assert.deepEqual(told(rows.map((line) => JSON.parse(line))), ['bash use kill']);
    assert.equal(outside.exitCode, null);
  });
});

/** Those that execute the command. */
const processes = (command: string): string[] =>
  readdirSync('/proc').filter((pid) => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8') === `${command.replaceAll(' ', '\0')}\0`;
    } catch {
      return false;
    }
  });
const isRunning = (command: string): boolean => processes(command).length > 0;

/** Whether its group is the one in the terminal's foreground; proc(5) has the fields behind the name. */
function hasTerminal(pid: string): boolean {
  const [, , group, , , foreground] = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/.*\) /s, '')
    .split(' ');
  return group === foreground;
}

describe('script(1), which makes a terminal,', () => {
  const script = ['script', '-qec', 'stty size && tty', '/dev/null'];
  test('works in a role with the terminals', () => {
    works(inRole('terminals', ...script), /\/dev\/pts\/\d/);
  });
  test('says that it may not in a role without', () => {
    const says = /script: failed to create pseudo-terminal: Permission denied/;
    fails(inRole('shell', ...script), says, 'script write /dev/ptmx');
  });
});

describe('becoming somebody else', () => {
  const asUser = ['setpriv', '--reuid', user, '--regid', user, '--init-groups'];
  const sudo = ['sudo', '-n', '-u', user, 'id', '-un'];
  const su = ['su', user, '-c', 'id -un'];
  let hosts = '';
  before(() => {
    execFileSync('useradd', ['--no-create-home', '--shell', '/bin/sh', user]);
    writeFileSync(sudoers, `${user} ALL=(ALL) NOPASSWD: ALL\nroot ALL=(ALL) ALL\n`, { mode: 0o440 });
    hosts = readFileSync('/etc/hosts', 'utf8');
    // sudo asks for the host's own name.
    appendFileSync('/etc/hosts', `127.0.0.1 ${execFileSync('hostname', { encoding: 'utf8' })}`);
    mkdirSync('/run/sudo', { mode: 0o711, recursive: true });
  });
  after(() => {
    writeFileSync('/etc/hosts', hosts);
    rmSync(sudoers);
    execFileSync('userdel', [user], { stdio: 'ignore' });
  });

  for (const [name, command, becomes] of [
    ['root becomes a user by sudo', sudo, user],
    ['root becomes a user by su', su, user],
    ['a user becomes root by sudo', [...asUser, 'sudo', '-n', 'id', '-un'], 'root'],
    ['a user becomes a user by way of root', [...asUser, 'sudo', '-n', ...su], user],
  ] as const)
    test(`${name} in a role with setuid and audit_write`, () => {
      works(inRole('admin', ...command), becomes);
    });
  for (const [name, command] of [
    ['sudo', sudo],
    ['setpriv', [...asUser, 'id', '-un']],
  ] as const)
    test(`root does not by ${name} in a role without setuid`, () => {
      const { status, stdout, denials } = inRole('tools', ...command);
      assert.deepEqual([status === 0, stdout], [false, '']);
      assert.ok(told(denials).includes(`${name} use setuid`), `${told(denials)}`);
    });
  test('su lets nobody in without the audit log, and the report names the power', () => {
    const { status, stderr, denials } = inRole('unlogged', ...su);
    assert.equal(status, 1);
    assert.match(stderr, /su: System error/);
    const wanted = denials.filter(({ target }) => target === 'audit_write');
    assert.deepEqual(wanted[0]?.allow?.text, 'audit_write');
    assert.equal(wanted[0]?.error, 'EPERM');
  });
  test('audit_write lets write into the audit log, and neither configure nor follow it', () => {
    const outcome = inRole('admin', 'python3', '-c', askAudit);
    assert.deepEqual(outcome.stdout.trim().split('\n'), ['-1', 'EPERM'], outcome.stderr);
    assert.deepEqual(told(outcome.denials), ['python3 use audit_control', 'python3 use audit_read']);
  });
  for (const [role, says, denied] of [
    ['admin', 'root', []],
    ['tools', '', ['sh use setuid']],
  ] as const)
    test(`a user who was jailed as such ${says ? 'becomes' : 'does not become'} root by sudo in the role ${role}`, async () => {
      const pod = spawn(jailrun, ['--json', '--name', podName, ...words(role, 'sleep', '1005')], {
        env,
        stdio: ['ignore', 'ignore', 'pipe'],
      });
      let errors = '';
      pod.stderr.on('data', (text) => {
        errors += text;
      });
      const closed = new Promise((resolve) => pod.once('close', resolve));
      await until(() => cgroupOf() !== undefined && isRunning('sleep 1005'));
      const { stdout } = spawnSync('python3', ['-c', joinAs, `${cgroupOf()}`, user, 'sudo -n id -un; true'], {
        env,
        cwd: '/',
        encoding: 'utf8',
      });
      pod.kill('SIGTERM');
      await closed;
      const rows = errors.split('\n').filter((line) => line.startsWith('{"version":1,"type":"denial"'));
      assert.deepEqual([stdout.trim(), told(rows.map((line) => JSON.parse(line)))], [says, denied], errors);
    });
});

/** Asks for the state of auditing (AUDIT_GET), and prints the answer's error; then joins the group that gets all records. */
const askAudit = `
import errno, socket, struct
log = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 9)
log.send(struct.pack('IHHII', 16, 1000, 1 | 4, 1, 0))
print(struct.unpack_from('i', log.recv(512), 16)[0])
try: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 9).bind((0, 1)); print('bound')
except OSError as error: print(errno.errorcode[error.errno])
`;

/** Joins a cgroup, becomes a user, and executes a shell: that exec enrolls it. */
const joinAs = `
import os, pwd, sys
cgroup, user, script = sys.argv[1:]
open(cgroup + '/cgroup.procs', 'w').write(str(os.getpid()))
who = pwd.getpwnam(user)
os.setgroups([]); os.setgid(who.pw_gid); os.setuid(who.pw_uid)
os.execv('/bin/sh', ['sh', '-c', script])
`;

function cgroupOf(): string | undefined {
  const name = readdirSync('/sys/fs/cgroup').find((entry) => entry.includes(podName));
  return name && `/sys/fs/cgroup/${name}`;
}
