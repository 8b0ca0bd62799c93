// The distribution's programs in roles as their users would write them.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, rmSync } from 'node:fs';
import { attach, leave, type Outcome, run, told, writePolicy } from './jail.js';

export const area = '/mnt/ext4/tools';
export const env = {
  PATH: '/usr/sbin:/usr/bin:/sbin:/bin',
  HOME: area,
  TERM: 'dumb',
  LANG: 'C.UTF-8',
  PS1: '% ',
};

const policy = writePolicy(
  'tools',
  `version: 1
roles:
  tools:
    id: 660
    description: Runs the distribution's programs on a directory, with no power of root.
    files:
      read: ["@runtime", /usr, /bin, /sbin, /etc, /proc]
      write: [${area}, "@tmp", "@devices"]
    exec: [/usr, /bin, /sbin]
    network: none
  shell: {id: 661, extends: [tools], files: {deny: ["@secrets"]}}
  terminals: {id: 662, extends: [shell], files: {write: [/dev/ptmx, /dev/pts]}}
  # strace asks by a signal whether what it leaves is still there.
  tracer: {id: 663, extends: [shell], allow: [ptrace, kill]}
  no-jit: {id: 664, extends: [shell], jit: none}
  unlogged: {id: 665, extends: [tools], allow: [setuid]}
  admin:
    id: 666
    description: Becomes others by sudo and su, which log it.
    extends: [tools]
    files: {write: [/run/sudo, /var/lib/sudo, /var/log]}
    network: {connect: ["unix:/run/systemd/journal/dev-log"]}
    allow: [setuid, audit_write, resource]
  packager:
    id: 667
    description: Installs packages; who writes /etc and /usr writes what others act upon.
    extends: [tools]
    files: {write: [/usr, /etc, /opt, /var/lib/dpkg, /var/lib/apt, /var/cache, /var/log, /dev/ptmx, /dev/pts]}
    exec: any
    allow: [setuid]
  restorer:
    id: 668
    description: Unpacks archives as root, with their owners.
    files: {read: ["@runtime"], write: [${area}]}
    exec: [/usr/bin]
  pinger: {id: 669, files: {read: ["@runtime"]}, network: any, allow: [net_raw]}
  router: {id: 670, files: {read: ["@runtime", /etc/iproute2]}, network: any, allow: [net_admin]}
  open-network: {id: 671, files: {read: ["@runtime", /etc/iproute2]}, network: any}
  client: {id: 672, files: {read: ["@runtime", /etc/iproute2]}, network: {connect: [tcp:443]}}
  mounter: {id: 673, extends: [shell], files: {write: [/run/mount]}, allow: [mount]}
  container: {id: 674, extends: [shell], files: {write: ["/proc/[0-9]*"]}, network: any, allow: [namespaces, mount]}
  namespaces: {id: 675, extends: [shell], allow: [namespaces]}
  chrooter: {id: 676, extends: [shell], allow: [chroot]}
  manager:
    id: 677
    description: Asks the service manager, which works outside of the role.
    extends: [shell]
    network: {connect: ["unix:/run/systemd/private", "unix:/run/dbus/system_bus_socket"]}
  scheduler: {id: 678, extends: [tools], files: {write: [/var/spool/cron]}}
`,
);

/** The words behind jailrun for a command in one of the roles above or a built-in one. */
export const words = (role: string, ...command: string[]): string[] => [
  ...['--policy', policy, ...(role === 'ci' ? ['--var', `workspace=${area}`] : []), '--role', role],
  ...['--', ...command],
];

export const inRole = (role: string, ...command: string[]): Outcome =>
  run(words(role, ...command), { cwd: area, env });

/** The command works, and nothing is denied but what is `expected`. */
export function works(outcome: Outcome, stdout: string | RegExp, expected: RegExp[] = []): void {
  const surprises = told(outcome.denials).filter((line) => !expected.some((one) => one.test(line)));
  assert.deepEqual([outcome.status, surprises], [0, []], outcome.stdout + outcome.stderr);
  if (typeof stdout === 'string') assert.equal(outcome.stdout.trim(), stdout);
  else assert.match(outcome.stdout, stdout);
}

/** The command fails as `stderr` says, and what is denied is just this. */
export function fails(outcome: Outcome, stderr: RegExp, ...denied: string[]): void {
  assert.notEqual(outcome.status, 0, outcome.stdout);
  assert.match(outcome.stderr, stderr);
  assert.deepEqual(told(outcome.denials), denied);
}

/** A process outside of every pod, while the tests run. */
export let outside: ChildProcess;

export function begin(): void {
  attach();
  rmSync(area, { recursive: true, force: true });
  mkdirSync(area, { recursive: true });
  outside = spawn('sleep', ['infinity'], { stdio: 'ignore' });
}

export function end(): void {
  outside.kill('SIGKILL');
  rmSync(area, { recursive: true, force: true });
  leave();
}
