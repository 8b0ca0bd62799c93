// Ways out: what a jailed root tries who has taken over its role's program, with all of the kernel's capabilities.
// Each way says what it achieved, which in a jail is nothing, and unjailed is something: else it shows nothing.
// What can be seen from outside is looked at from outside, too.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { readFacts } from '../../src/launcher/host.js';
import { attach, jailrun, leave, root, run, until, writePolicy } from './jail.js';

const sources = join(root, 'test/vm/escape');
const programs = {
  c: [join(root, 'build/escape')],
  // Given as text, since no role may read where it stands.
  python: ['/usr/bin/python3', '-c', readFileSync(join(sources, 'escape.py'), 'utf8')],
};
const secretText = 'known outside';

/** What no role grants but the one with a rule for `/`. */
const area = '/mnt/ext4/escape';
const secret = `${area}/secret`;
/** A directory of the jail's own, where its role has one. */
const workspace = '/mnt/ext4/escape-work';
const cgroup = '/sys/fs/cgroup/escape-outside';

const policy = writePolicy(
  'escape',
  `version: 1
roles:
  wide:
    id: 800
    description: Every path, program and address, and no power.
    files: {write: [/]}
    exec: any
    network: any
  database-that-runs: {id: 801, extends: [database], files: {read: [/usr]}, exec: any}
`,
);
const workspaceVariable = ['--var', `workspace=${workspace}`];
const roles: Record<string, string[]> = {
  restricted: [],
  webserver: [],
  isolated: [],
  worker: [],
  ci: workspaceVariable,
  ai_agent: workspaceVariable,
  'database-that-runs': ['--policy', policy],
  wide: ['--policy', policy],
};

/** Where a process outside gives its secret file to whoever asks. */
const exchange = '/tmp/escape-exchange/socket';

/** Where services listen that do what they are told, as root. */
const services = [
  '/run/systemd/private',
  '/run/systemd/io.systemd.ManagedOOM',
  '/run/systemd/notify',
  '/run/dbus/system_bus_socket',
  '/run/docker.sock',
  '/run/podman/podman.sock',
  '/run/containerd/containerd.sock',
  '/run/crio/crio.sock',
  '/run/udev/control',
  '/run/cron/socket',
  '/run/user/0/bus',
  '/run/user/0/systemd/private',
  '/tmp/tmux-0/default',
  '/tmp/.X11-unix/X0',
  '/tmp/ssh-escape/agent.1',
  '@/tmp/.X11-unix/X0',
  '@/tmp/dbus-escape',
  '@/org/kernel/linux/storage/multipathd',
  '@/containerd-shim/escape.sock',
];

/** Answers on the lines that outside.py prints. */
class Outside {
  readonly pid: number;
  readonly address: number;
  readonly fd: number;
  readonly terminal: string;
  private constructor(
    private readonly child: ChildProcess,
    private readonly lines: string[],
    place: { pid: number; address: number; fd: number; terminal: string },
  ) {
    ({ pid: this.pid, address: this.address, fd: this.fd, terminal: this.terminal } = place);
  }

  static async start(): Promise<Outside> {
    const lines: string[] = [];
    const words = [join(sources, 'outside.py'), area, exchange, ...services];
    // A session of its own: no terminal and no group shared with a jail.
    const child = spawn('/usr/bin/python3', words, { stdio: ['ignore', 'pipe', 'inherit'], detached: true });
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      lines.push(...text.split('\n').filter((line) => line !== ''));
    });
    await until(() => lines.length > 0);
    return new Outside(child, lines, JSON.parse(lines.shift() ?? ''));
  }

  saw(what: string): boolean {
    return this.lines.some((line) => line.startsWith(what));
  }

  memory(): string {
    const bytes = Buffer.alloc(secretText.length);
    readSync(openSync(`/proc/${this.pid}/mem`, 'r'), bytes, 0, bytes.length, this.address);
    return bytes.toString();
  }

  end(): void {
    this.child.kill('SIGKILL');
  }
}

interface Way {
  /** Reads on: "a jailed root cannot …". */
  name: string;
  in: keyof typeof programs;
  words: (outside: Outside) => (string | number)[];
  /** True where it is to be seen from outside that it worked. */
  seen?: (outside: Outside) => boolean;
  /** The program cannot tell what it achieved; only what is seen counts. */
  silent?: true;
  /** Roles whose rules grant just this, so that it leads nowhere. */
  granted?: string[];
}

const made = (path: string) => () => existsSync(path);
const helper = `${area}/helper-ran`;

const ways: Way[] = [
  {
    name: 'read the memory of a process outside',
    in: 'c',
    words: ({ pid, address }) => ['memory-read', pid, address],
  },
  {
    name: 'write to the memory of a process outside',
    in: 'c',
    words: ({ pid, address }) => ['memory-write', pid, address],
    seen: (outside) => outside.memory() !== secretText,
  },
  {
    name: 'take a descriptor of a process outside',
    in: 'c',
    words: ({ pid, fd }) => ['descriptor', pid, fd],
  },
  { name: 'read a file by the root of process 1', in: 'c', words: () => ['root', 1, secret] },
  {
    name: 'signal a process outside, by any of the ways to',
    in: 'c',
    words: ({ pid }) => ['signals', pid],
    seen: (outside) => outside.saw('signalled by another'),
  },
  {
    name: 'let a terminal signal whoever works there',
    in: 'c',
    words: ({ terminal }) => ['terminal-signal', terminal],
    seen: (outside) => outside.saw('signalled by its terminal'),
    silent: true,
  },
  {
    name: 'have a child born in another cgroup',
    in: 'c',
    words: () => ['cgroup-child', cgroup],
    seen: () => readFileSync(`${cgroup}/cgroup.procs`, 'utf8') !== '',
  },
  {
    name: 'kill the processes of another cgroup',
    in: 'c',
    words: () => ['cgroup-kill', `${cgroup}-killed`],
    seen: () => readFileSync(`${cgroup}-killed/cgroup.procs`, 'utf8') === '',
  },
  { name: 'enter the mount namespace of process 1', in: 'c', words: () => ['enter', 1] },
  { name: 'mount as the root of a user namespace', in: 'c', words: () => ['own-mount', `${area}/empty`] },
  {
    name: 'do outside, once the jail’s command and its supervisor have ended, what it could not before',
    in: 'c',
    words: () => ['outlive', `${area}/outlived`],
    seen: made(`${area}/outlived`),
    silent: true,
    granted: ['wide', 'isolated'],
  },
  {
    name: 'have the kernel write a core file where it may write none',
    in: 'c',
    words: () => ['core', area],
    seen: () => readdirSync(area).some((name) => name.startsWith('core')),
    granted: ['wide', 'isolated'],
  },
  {
    name: 'have the kernel start modprobe',
    in: 'c',
    words: () => ['modprobe', `${area}/unknown`],
    seen: made(`${helper}-modprobe`),
    silent: true,
  },
  {
    name: 'have the kernel start request-key',
    in: 'c',
    words: () => ['request-key'],
    seen: made(`${helper}-request-key`),
    silent: true,
  },
  {
    name: 'tell udev of a device',
    in: 'c',
    words: () => ['uevent'],
    seen: (outside) => outside.saw('uevent'),
  },
  { name: 'change a network interface by ioctl', in: 'c', words: () => ['interface'] },
  { name: 'see the packets of others', in: 'c', words: () => ['sniff'] },
  { name: 'handle page faults by /dev/userfaultfd', in: 'c', words: () => ['faults'] },
  { name: 'read a disk', in: 'c', words: () => ['disk', '/dev/vda', workspace] },
  { name: 'make a disk of a file', in: 'c', words: () => ['loop', '/usr/bin/true'] },
  {
    name: 'name a release agent in a cgroup hierarchy of its own',
    in: 'c',
    words: () => ['release-agent', `${area}/empty`],
  },
  { name: 'type on a terminal outside', in: 'c', words: ({ terminal }) => ['type', terminal] },
  {
    name: 'write on a terminal outside',
    in: 'python',
    words: ({ terminal }) => ['shout', terminal],
    seen: (outside) => outside.saw('shouted at'),
    granted: ['wide'],
  },
  {
    name: 'read a file by its handle',
    in: 'c',
    words: () => ['handle', secret],
    granted: ['wide', 'isolated'],
  },
  { name: 'read a file', in: 'python', words: () => ['read', secret], granted: ['wide', 'isolated'] },
  {
    name: 'win a race for what a name stands for',
    in: 'c',
    words: () => ['race', secret, workspace],
    granted: ['wide', 'isolated'],
  },
  {
    name: 'leave a program that others run as root',
    in: 'c',
    words: () => ['set-id', workspace],
    seen: () => readdirSync(workspace).some((name) => (statSync(join(workspace, name)).mode & 0o6000) !== 0),
  },
  {
    name: 'be given a file by a process outside',
    in: 'python',
    words: () => ['received', exchange],
    granted: ['wide'],
  },
  { name: 'watch a directory', in: 'python', words: () => ['watch', area], granted: ['wide', 'isolated'] },
  {
    name: 'say to a service that it is another process',
    in: 'python',
    words: ({ pid }) => ['pretend', pid],
  },
  ...services.map(
    (name): Way => ({
      name: `talk to ${name}`,
      in: 'python',
      words: () => ['connect', name],
      seen: (outside) => outside.saw(`connected ${name}`),
      granted: ['wide'],
    }),
  ),
];

/** Of what others outside act upon, some of each kind; test/profiles/builtin.test.ts asks the roles about all. */
const deputies = [
  ...['core_pattern', 'modprobe', 'poweroff_cmd', 'sysrq'].map((name) => `/proc/sys/kernel/${name}`),
  ...['/proc/sysrq-trigger', '/sys/kernel/uevent_helper', '/sys/fs/cgroup/cgroup.procs', '/dev/kmsg'],
  ...['/etc/cron.d', '/etc/crontab', '/var/spool/cron', '/var/spool/at', '/etc/logrotate.d'],
  ...['/etc/systemd/system', '/run/systemd/system', '/usr/lib/systemd/system', '/etc/udev/rules.d'],
  ...['/etc/ld.so.preload', '/usr/local/lib', '/usr/local/bin', '/usr/bin/true', '/lib/modules', '/boot'],
  ...['/etc/passwd', '/etc/sudoers.d', '/etc/pam.d', '/root/.ssh', '/home/escape/.ssh', '/root/.bashrc'],
  '/etc/jailrun/escape',
].filter((path) => !/^\/(proc|sys|dev)\//.test(path) || existsSync(path));

const missing = deputies.filter((path) => !existsSync(path));

/** What a run in a role, or without one, came to: for each way what the program said and what was seen. */
interface Outcome {
  said: Map<Way, string>;
  seen: Set<Way>;
}

/** A file that the kernel starts as root; it leaves a mark. */
function placeHelper(path: string, name: string): void {
  writeFileSync(path, `#!/bin/sh\n: >${helper}-${name}\n`, { mode: 0o755 });
}

const settings = {
  '/proc/sys/kernel/modprobe': `${area}/modprobe`,
  '/proc/sys/kernel/core_pattern': 'core',
  '/proc/sys/kernel/core_uses_pid': '1',
};

const settingsBefore = Object.keys(settings).map((path) => [path, readFileSync(path, 'utf8')] as const);

function makeGround(): void {
  for (const directory of [area, workspace]) {
    rmSync(directory, { recursive: true, force: true });
    mkdirSync(`${directory}/empty`, { recursive: true });
  }
  writeFileSync(secret, secretText);
  // No format of programs.
  writeFileSync(`${area}/unknown`, Buffer.alloc(128, 0x81), { mode: 0o755 });
  placeHelper(`${area}/modprobe`, 'modprobe');
  placeHelper('/sbin/request-key', 'request-key');
  for (const [path, value] of Object.entries(settings)) writeFileSync(path, value);
  if (existsSync('/proc/sys/dev/tty/legacy_tiocsti')) writeFileSync('/proc/sys/dev/tty/legacy_tiocsti', '1');
  for (const path of [cgroup, `${cgroup}-killed`]) mkdirSync(path, { recursive: true });
}

function emptyCgroup(path: string): void {
  writeFileSync(`${path}/cgroup.kill`, '1');
}

/** Tries all ways in the role, or unjailed, one after the other in one run for each language. */
async function tryAll(role: string | undefined, tried: readonly Way[]): Promise<Outcome> {
  makeGround();
  const outside = await Outside.start();
  const victim = spawn('sleep', ['infinity'], { stdio: 'ignore' });
  writeFileSync(`${cgroup}-killed/cgroup.procs`, String(victim.pid));
  const said = new Map<Way, string>();
  const seen = new Set<Way>();
  try {
    for (const [language, command] of Object.entries(programs)) {
      const own = tried.filter((way) => way.in === language);
      const input = own.map((way) => `${way.words(outside).join(' ')}\n`).join('');
      const [program = '', ...words] = command;
      const { stdout, stderr } =
        role === undefined
          ? spawnSync(program, words, { input, encoding: 'utf8' })
          : run([...(roles[role] ?? []), '--role', role, '--', ...command], { input });
      const lines = stdout.trimEnd().split('\n');
      assert.equal(lines.length, own.length, `${stdout}\n${stderr}`);
      for (const [i, way] of own.entries()) said.set(way, lines[i] ?? '');
    }
    // What comes later, comes now: signals, helpers of the kernel, and who waits for the jail's end.
    await sleep(2000);
    for (const way of tried) if (way.seen?.(outside)) seen.add(way);
    return { said, seen };
  } finally {
    for (const path of [cgroup, `${cgroup}-killed`]) emptyCgroup(path);
    outside.end();
  }
}

const writes = deputies.map(
  (path): Way => ({
    name: `write ${path}, which others act upon`,
    in: 'c',
    words: () => ['write', path],
    granted: ['wide'],
  }),
);
const all = [...ways, ...writes];

before(() => {
  attach();
  spawnSync('modprobe', ['loop']);
  for (const path of deputies) mkdirSync(dirname(path), { recursive: true });
});

describe('root, were it not jailed, could', () => {
  let outcome: Outcome;
  before(async () => {
    outcome = await tryAll(undefined, all);
  });
  for (const way of all)
    test(way.name, () => {
      if (!way.silent) assert.match(outcome.said.get(way) ?? '', /^achieved: /);
      if (way.seen) assert.ok(outcome.seen.has(way), 'nothing is to be seen');
    });
});

/** How the programs are attached makes no difference to what they answer: one way all roles are tried, and some the other. */
const tested = readFacts().lsms?.includes('bpf') ? Object.keys(roles) : ['restricted', 'ci', 'wide'];

for (const role of tested)
  describe(`root in the role ${role} cannot`, () => {
    const tried = all.filter(({ granted }) => !granted?.includes(role));
    let outcome: Outcome;
    before(async () => {
      outcome = await tryAll(role, tried);
    });
    for (const way of tried)
      test(way.name, () => {
        if (!way.silent) assert.match(outcome.said.get(way) ?? '', /^nothing: /);
        assert.ok(!outcome.seen.has(way), 'it is to be seen from outside');
      });
  });

/** Runs a way in the role webserver, as the program that the role is for. */
function tryAsWebserver(...words: string[]): ReturnType<typeof run> {
  return run(['--role', 'webserver', '--', ...programs.c], { input: `${words.join(' ')}\n` });
}

describe('a role that starts again', () => {
  /** The role may write it, wherever it leads, and Debian's package does not make it. */
  const cache = '/var/cache/nginx';
  before(() => {
    makeGround();
    mkdirSync('/var/lib/nginx', { recursive: true });
  });
  after(() => rmSync(cache, { recursive: true, force: true }));

  test('grants what a link leads to that root outside has made', () => {
    rmSync(cache, { recursive: true, force: true });
    symlinkSync(area, cache);
    assert.equal(tryAsWebserver('write', area).stdout, 'achieved: it may write\n');
    rmSync(cache);
  });
  test('has no link in the place of what a rule names, whichever way it tries to make one', () => {
    const { stdout, denials } = tryAsWebserver('replace', cache, area, '/var/lib/nginx');
    assert.equal(stdout, 'nothing: EACCES\n');
    assert.deepEqual(
      denials.map(({ hook, target, error }) => [hook, target, error]),
      [
        ['path_symlink', cache, 'EACCES'],
        ['path_link', cache, 'EACCES'],
        ['path_rename', cache, 'EACCES'],
        ['path_rename', cache, 'EACCES'],
        ['path_rename', '/var/lib/nginx/beside', 'EACCES'],
      ],
    );
    assert.match(denials[0]?.reason ?? '', /a rule names this path and would follow the link/);
    assert.ok(!lstatSync(cache, { throwIfNoEntry: false })?.isSymbolicLink());
    assert.match(tryAsWebserver('write', area).stdout, /^nothing: /);
  });
  test('may make links below what a rule names', () => {
    const { stdout, denials } = tryAsWebserver('replace', '/var/lib/nginx/link', area);
    assert.deepEqual([stdout, denials], ['achieved: it made a link\n', []]);
    assert.match(tryAsWebserver('write', `${area}/x`).stdout, /^nothing: /);
  });
});

describe('a jail', () => {
  test('ends with its command, whatever other child that gives its supervisor', () => {
    const { status, stdout } = run(['--role', 'restricted', '--', ...programs.c], { input: 'sibling\n' });
    assert.deepEqual([status, stdout], [0, 'achieved: \n']);
  });
  test('starts no other that may do more', () => {
    const freer = [jailrun, '--role', 'permissive', '--', '/bin/echo', 'ran'];
    assert.equal(spawnSync(freer[0] ?? '', freer.slice(1), { encoding: 'utf8' }).stdout, 'ran\n');
    const { status, stdout } = run(['--policy', policy, '--role', 'wide', '--', ...freer]);
    assert.deepEqual([status, stdout], [125, '']);
  });
});

after(() => {
  for (const path of [area, workspace, '/sbin/request-key', ...missing])
    rmSync(path, { recursive: true, force: true });
  for (const [path, value] of settingsBefore) writeFileSync(path, value);
  leave();
});
