// Every power: denied with EPERM and an event that names it in a role that does not have it, and done in a role
// that has nothing else. Both roles may use any file, program and address, so that nothing but the power decides.
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { chownSync, existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { release } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import type { DenialReport } from '../../src/launcher/report.js';
import { powerNames } from '../../src/profiles/powers.js';
import { type Act, attach, leave, root, run, runActs, writePolicy } from './jail.js';

const legacyTiocsti = '/proc/sys/dev/tty/legacy_tiocsti';
const power = join(root, 'build/power');
const area = '/mnt/ext4/powers';

interface Row {
  /** Reads on: "a jailed root cannot …". */
  name: string;
  act: string[];
  hook: string;
  /** What the program sees where that is not EPERM. */
  result?: string;
}

/** A process outside of every pod, of the same user. */
let outside: ChildProcess;
const pidOfOutside = (): string => String(outside.pid);

const NEWNS = String(0x00020000);
const NEWUSER = String(0x10000000);
const NEWPID = String(0x20000000);
const NEWNET = String(0x40000000);

const capable = 'capable';

const rows = (): Record<string, Row[]> => ({
  setuid: [
    { name: 'change its user', act: ['setuid'], hook: capable },
    { name: 'change its group', act: ['setgid'], hook: capable },
    { name: 'change its groups', act: ['setgroups'], hook: capable },
  ],
  setpcap: [{ name: 'drop a bounding capability', act: ['bset'], hook: capable }],
  setfcap: [
    { name: 'give a file capabilities', act: ['setfcap', `${area}/file`], hook: capable },
    { name: 'give a file a set-id bit', act: ['chmod_set_id', `${area}/changed`], hook: 'path_chmod' },
    { name: 'make a file that has one', act: ['create_set_id', `${area}/created`], hook: 'path_mknod' },
    { name: 'make one by mknod', act: ['mknod_set_id', `${area}/made`], hook: 'path_mknod' },
    { name: 'name a file that has one', act: ['link_set_id', area, `${area}/linked`], hook: 'path_link' },
  ],
  cgroup: [
    {
      name: 'have a child born in another cgroup',
      act: ['clone_into', '/sys/fs/cgroup'],
      hook: 'task_alloc',
    },
  ],
  chroot: [{ name: 'chroot', act: ['chroot'], hook: capable }],
  mknod: [{ name: 'make a device node', act: ['mknod', `${area}/node`], hook: capable }],
  linux_immutable: [
    { name: 'make a file immutable', act: ['immutable', `${area}/immutable`], hook: capable },
  ],
  lease: [
    {
      name: 'take a lease on a file of another user',
      act: ['lease', `${area}/theirs`],
      hook: capable,
      result: 'EACCES',
    },
  ],
  kill: [
    { name: 'signal a process outside', act: ['kill', pidOfOutside(), '0'], hook: 'task_kill' },
    { name: 'signal a process outside by pidfd', act: ['pidfd_kill', pidOfOutside()], hook: 'task_kill' },
    {
      name: 'let a descriptor signal a process outside',
      act: ['setown', pidOfOutside()],
      hook: 'file_fcntl',
    },
    { name: 'do so by F_SETOWN_EX', act: ['setown_ex', pidOfOutside()], hook: 'file_fcntl' },
    { name: 'let a terminal do so', act: ['tty_async'], hook: 'file_fcntl' },
    { name: 'let a terminal do so by FIOASYNC', act: ['tty_fioasync'], hook: 'file_ioctl' },
    { name: 'do so by SIOCSPGRP', act: ['siocspgrp', pidOfOutside()], hook: 'file_ioctl' },
  ],
  ptrace: [
    { name: 'trace a process outside', act: ['ptrace', pidOfOutside()], hook: 'ptrace_access_check' },
    { name: 'read its memory', act: ['readv', pidOfOutside()], hook: 'ptrace_access_check' },
    { name: 'write its memory', act: ['writev', pidOfOutside()], hook: 'ptrace_access_check' },
    { name: 'take its descriptors', act: ['getfd', pidOfOutside()], hook: 'ptrace_access_check' },
    { name: 'compare itself with it', act: ['kcmp', pidOfOutside()], hook: 'ptrace_access_check' },
    {
      name: 'read its environment',
      act: ['read_proc', pidOfOutside(), 'environ'],
      hook: 'ptrace_access_check',
      result: 'EACCES',
    },
    {
      name: 'open its memory',
      act: ['open', `/proc/${pidOfOutside()}/mem`, '2'],
      hook: 'ptrace_access_check',
      result: 'EACCES',
    },
    {
      name: 'read its maps',
      act: ['read_proc', pidOfOutside(), 'maps'],
      hook: 'ptrace_access_check',
      result: 'EACCES',
    },
    {
      name: 'follow its root',
      act: ['proc_link', pidOfOutside(), 'root'],
      hook: 'ptrace_access_check',
      result: 'EACCES',
    },
    {
      name: 'follow its descriptors',
      act: ['proc_link', pidOfOutside(), 'fd/0'],
      hook: 'ptrace_access_check',
      result: 'EACCES',
    },
    {
      name: 'see its namespaces',
      act: ['proc_link', pidOfOutside(), 'ns/net'],
      hook: 'ptrace_access_check',
      result: 'EACCES',
    },
  ],
  nice: [
    { name: 'raise its priority', act: ['raise'], hook: capable, result: 'EACCES' },
    { name: 'schedule in real time', act: ['realtime'], hook: capable },
    { name: 'set the priority of a process outside', act: ['nice', pidOfOutside()], hook: 'task_setnice' },
    { name: 'set the IO priority of one', act: ['ioprio', pidOfOutside()], hook: 'task_setioprio' },
    { name: 'set the affinity of one', act: ['affinity', pidOfOutside()], hook: 'task_setscheduler' },
    { name: 'set the scheduling of one', act: ['scheduler', pidOfOutside()], hook: 'task_setscheduler' },
  ],
  resource: [
    { name: 'go beyond a hard limit', act: ['raise_limit'], hook: capable },
    { name: 'set a limit of a process outside', act: ['prlimit', pidOfOutside()], hook: 'task_setrlimit' },
    {
      name: 'choose what is killed where memory is short',
      act: ['open', `/proc/${pidOfOutside()}/oom_score_adj`, '1'],
      hook: 'file_open',
    },
    {
      name: 'choose what of a process outside is dumped',
      act: ['open', `/proc/${pidOfOutside()}/task/${pidOfOutside()}/../../coredump_filter`, '1'],
      hook: 'file_open',
    },
  ],
  ipc: [
    {
      name: 'find shared memory that others made',
      act: ['shm', '0x6a01'],
      hook: 'ipc_permission',
      result: 'EACCES',
    },
    {
      name: 'find semaphores that others made',
      act: ['sem', '0x6a02'],
      hook: 'ipc_permission',
      result: 'EACCES',
    },
    {
      name: 'find a message queue that others made',
      act: ['msg', '0x6a03'],
      hook: 'ipc_permission',
      result: 'EACCES',
    },
    {
      name: 'attach shared memory of others by its number',
      act: ['shm_id', shmOfOutside()],
      hook: 'ipc_permission',
      result: 'EACCES',
    },
    { name: 'remove shared memory of others', act: ['shm_remove', shmOfOutside()], hook: 'shm_shmctl' },
    { name: 'open a POSIX message queue', act: ['mq', '/jailrun-test'], hook: 'inode_create' },
    { name: 'open one that is there', act: ['mq', '/jailrun-outside'], hook: 'file_open' },
    {
      name: 'remove a POSIX message queue',
      act: ['mq_unlink', '/jailrun-outside'],
      hook: 'inode_unlink',
      result: 'EACCES',
    },
  ],
  ipc_lock: [{ name: 'lock memory beyond its limit', act: ['mlock'], hook: capable }],
  keys: [
    { name: 'look at root’s keyring', act: ['key'], hook: 'key_permission', result: 'ENOKEY' },
    { name: 'add a key to it', act: ['add_key'], hook: 'key_permission', result: 'ENOKEY' },
  ],
  namespaces: [
    { name: 'make a mount namespace', act: ['unshare', NEWNS], hook: capable },
    { name: 'make a user namespace', act: ['unshare', NEWUSER], hook: 'userns_create' },
    { name: 'make a child in a user namespace', act: ['clone', NEWUSER], hook: 'userns_create' },
    { name: 'make a child in a pid namespace', act: ['clone', NEWPID], hook: capable },
    { name: 'make a network namespace', act: ['unshare', NEWNET], hook: capable },
    { name: 'enter a namespace', act: ['setns', '/proc/self/ns/uts'], hook: capable },
  ],
  mount: [
    { name: 'mount', act: ['mount'], hook: capable },
    { name: 'bind a mount', act: ['bind', `${area}/a`, `${area}/b`], hook: capable },
    { name: 'unmount', act: ['umount', `${area}/a`, '0'], hook: capable },
    { name: 'pivot the root', act: ['pivot_root'], hook: capable },
    { name: 'clone a mount', act: ['open_tree'], hook: capable },
    { name: 'move a mount', act: ['move_mount', `${area}/a`, `${area}/b`], hook: capable },
    { name: 'open a file system', act: ['fsopen'], hook: capable },
    { name: 'pick a mounted file system', act: ['fspick', '/'], hook: capable },
    { name: 'change attributes of mounts', act: ['mount_setattr'], hook: capable },
  ],
  hostname: [
    { name: 'name the host', act: ['sethostname'], hook: capable },
    { name: 'name the domain', act: ['setdomainname'], hook: capable },
  ],
  time: [
    { name: 'set the clock', act: ['settime'], hook: capable },
    { name: 'tune the clock', act: ['adjtimex'], hook: capable },
  ],
  reboot: [
    { name: 'reboot', act: ['reboot'], hook: capable },
    { name: 'load a kernel to boot', act: ['kexec'], hook: capable },
  ],
  wake_alarm: [{ name: 'make a timer that wakes the system', act: ['wake_alarm'], hook: capable }],
  block_suspend: [
    { name: 'keep the system awake by epoll', act: ['block_suspend'], hook: capable, result: 'ok' },
  ],
  net_admin: [{ name: 'set flags of a link', act: ['net_admin'], hook: capable }],
  net_raw: [{ name: 'make a raw socket', act: ['net_raw'], hook: capable }],
  audit_write: [{ name: 'write into the audit log', act: ['audit_write'], hook: capable }],
  audit_control: [{ name: 'ask how auditing is configured', act: ['audit_get'], hook: capable }],
  audit_read: [{ name: 'read the audit log', act: ['audit_read'], hook: capable }],
  checkpoint_restore: [{ name: 'choose a pid', act: ['choose_pid'], hook: capable }],
  swap: [
    { name: 'start swapping', act: ['swapon'], hook: capable },
    { name: 'stop swapping', act: ['swapoff'], hook: capable },
  ],
  quota: [{ name: 'switch quotas', act: ['quota', '/dev/vda'], hook: capable }],
  acct: [{ name: 'switch accounting', act: ['acct'], hook: capable }],
  syslog: [
    { name: 'read the kernel’s log', act: ['syslog'], hook: capable },
    { name: 'silence the console', act: ['console_level'], hook: capable },
  ],
  module: [
    { name: 'load a module', act: ['init_module'], hook: capable },
    { name: 'unload a module', act: ['delete_module'], hook: capable },
  ],
  // Before 6.4 the capability is asked for first.
  bpf: [{ name: 'make a BPF map', act: ['bpf'], hook: release().startsWith('6.1.') ? capable : 'bpf' }],
  perf: [{ name: 'open a performance event', act: ['perf'], hook: capable, result: 'EACCES' }],
  fanotify: [{ name: 'use fanotify', act: ['fanotify'], hook: capable }],
  io_uring: [{ name: 'make an io_uring', act: ['io_uring'], hook: 'inode_init_security_anon' }],
  userfaultfd: [{ name: 'handle page faults', act: ['userfaultfd'], hook: 'inode_init_security_anon' }],
  'raw-disk': [{ name: 'open a disk', act: ['open', '/dev/vda', '0'], hook: 'file_open' }],
  'raw-io': [
    { name: 'raise its IO privilege level', act: ['iopl'], hook: capable },
    { name: 'use an IO port', act: ['ioperm'], hook: capable },
    { name: 'open memory', act: ['open', '/dev/mem', '0'], hook: 'file_open' },
    { name: 'open ports', act: ['open', '/dev/port', '0'], hook: 'file_open' },
  ],
  tty: [{ name: 'type for another on a terminal', act: ['tiocsti'], hook: 'file_ioctl' }],
  sys_admin: [
    { name: 'set a trusted attribute', act: ['admin', `${area}/file`], hook: capable },
    { name: 'name the host by a 32-bit system call', act: ['hostname_32'], hook: capable },
  ],
});

/** What the kernel asks for nowhere, or only for another security module. */
const untested = ['net_broadcast', 'mac_override', 'mac_admin'];

let shmId = '';
const shmOfOutside = (): string => shmId;

function makeObjects(): void {
  for (const [flag, key] of [
    ['-M 4096', '0x6a01'],
    ['-S 1', '0x6a02'],
    ['-Q', '0x6a03'],
  ])
    spawnSync('perl', ['-e', makeObject(flag ?? '', key ?? '')]);
  shmId = execFileSync('perl', ['-e', 'print shmget(0x6a01, 4096, 0)'], { encoding: 'utf8' });
}

const makeObject = (flag: string, key: string): string =>
  flag.startsWith('-M')
    ? `shmget(${key}, 4096, 01600)`
    : flag.startsWith('-S')
      ? `semget(${key}, 1, 01600)`
      : `msgget(${key}, 01600)`;

function policyText(): string {
  const roles = [`  powerless: {id: 700, files: any, exec: any, network: any}`];
  for (const [index, name] of powerNames.entries())
    roles.push(`  has-${name}: {id: ${701 + index}, files: any, exec: any, network: any, allow: [${name}]}`);
  return `version: 1\nroles:\n${roles.join('\n')}\n`;
}

describe('a jailed root', () => {
  outside = spawn('sleep', ['infinity'], { stdio: ['ignore', 'ignore', 'ignore'] });
  attach();
  rmSync(area, { recursive: true, force: true });
  mkdirSync(`${area}/a`, { recursive: true });
  mkdirSync(`${area}/b`);
  for (const name of ['file', 'immutable', 'theirs']) writeFileSync(`${area}/${name}`, '');
  chownSync(`${area}/theirs`, 65534, 65534);
  makeObjects();
  spawnSync(power, ['mq', '/jailrun-outside']);
  // Without this Linux 6.2 and later want CAP_SYS_ADMIN for TIOCSTI.
  if (existsSync(legacyTiocsti)) writeFileSync(legacyTiocsti, '1');
  const policy = writePolicy('powers', policyText());
  const all = rows();
  const list = Object.entries(all).flatMap(([name, some]) => some.map((row) => ({ power: name, row })));
  const actsOf = (only: Row[]): string[][] => only.map(({ act }) => act);
  const denied = runActs(
    actsOf(list.map(({ row }) => row)),
    ['--policy', policy, '--role', 'powerless'],
    power,
  );

  for (const [i, { power: name, row }] of list.entries()) {
    test(`without ${name} cannot ${row.name}`, () => {
      const act = denied.acts[i] as Act;
      assert.equal(act.result, row.result ?? 'EPERM');
      const events = denied.denials.filter(({ pid }) => pid === act.pid);
      // 7.2 asks for capabilities that would do as well, after the hook.
      const event = events.find(({ hook }) => hook === row.hook);
      assert.deepEqual(event && summary(event), {
        hook: row.hook,
        operation: 'use',
        target: name,
        error: 'EPERM',
        allow: `allow: ${name}`,
      });
    });
  }
  for (const [name, some] of Object.entries(all)) {
    if (some.length === 0) continue;
    test(`with ${name} can`, () => {
      const twin = runActs(actsOf(some), ['--policy', policy, '--role', `has-${name}`], power);
      assert.deepEqual(
        twin.acts.map(({ result }, i) => [some[i]?.name, result]),
        some.map((row) => [row.name, 'ok']),
        twin.stderr,
      );
    });
  }
  test('has a test for every power but those listed', () => {
    const tested = Object.keys(all).filter((name) => all[name]?.length);
    assert.deepEqual([...tested, ...untested].sort(), [...powerNames].sort());
  });
});

describe('what is in the pod', () => {
  test('is free to a jailed root without any power', () => {
    const script = `
      sleep 60 & pid=$!
      for act in "kill $pid 0" "pidfd_kill $pid" "setown_own" "ptrace $pid" "readv $pid" "getfd $pid" "kcmp $pid" \
        "read_proc $pid environ" "proc_link $pid root" "nice $pid" "ioprio $pid" "affinity $pid" "scheduler $pid" \
        "prlimit $pid" "open /proc/self/oom_score_adj 1" "traceme" "shm 0" "sem 0" "msg 0"; do echo "$act: $(${power} $act)"; done
      kill $pid`;
    const policy = '/run/jailrun-test/powers.yaml';
    const { stdout, denials } = run([
      '--policy',
      policy,
      '--role',
      'powerless',
      '--',
      '/bin/sh',
      '-c',
      script,
    ]);
    assert.deepEqual(
      stdout.split('\n').filter((line) => line && !/: ok \d+$/.test(line)),
      [],
    );
    assert.deepEqual(denials, []);
  });
  test('can be followed by strace, and a process outside cannot', () => {
    const words = [
      '--policy',
      '/run/jailrun-test/powers.yaml',
      '--role',
      'powerless',
      '--',
      'strace',
      '-f',
      '-o',
      '/dev/null',
    ];
    assert.equal(run([...words, 'sh', '-c', 'true; echo seen']).stdout, 'seen\n');
    assert.match(run([...words, '-p', pidOfOutside()]).stderr, /attach: .*Operation not permitted/);
  });
});

describe('modprobe', () => {
  test('is not started for a jailed root without module, and is for one with it', () => {
    const words = (role: string) => [
      '--policy',
      '/run/jailrun-test/powers.yaml',
      '--role',
      role,
      '--',
      power,
      'request_module',
      '5',
    ];
    const events = run(words('powerless')).denials.map(({ hook, target, error }) => [hook, target, error]);
    assert.deepEqual(events[0], ['kernel_module_request', 'module', 'EPERM']);
    assert.deepEqual(run(words('has-module')).denials, []);
  });
});

function summary({ hook, operation, target, error, allow }: DenialReport): object {
  return { hook, operation, target, error, allow: `${allow?.section}: ${allow?.text}` };
}

after(() => {
  outside.kill();
  leave();
});
