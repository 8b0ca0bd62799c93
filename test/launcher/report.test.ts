// What a denial is reported as, from the kernel's record of it.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Denial, Hook, Limit, Operation, Reason, Scope } from '../../src/abi.js';
import type { PodHeader } from '../../src/launcher/pods.js';
import { describeDenial, formatDenial } from '../../src/launcher/report.js';
import { parseMountinfo } from '../../src/profiles/mounts.js';
import type { CompiledMember } from '../../src/profiles/stack.js';

const mounts = parseMountinfo(
  Buffer.from('20 1 8:1 / / rw - ext4 /dev/a rw\n21 20 8:2 /shown /mnt rw - ext4 /dev/b rw\n'),
);
const disk = (8 << 20) | 1;
const otherDisk = (8 << 20) | 2;

const bytes = (text: string, size: number): Uint8Array => {
  const field = new Uint8Array(size);
  field.set(Buffer.from(text));
  return field;
};

/** A record of a denial by `cat`; paths lie at the front of their field, which the kernel fills from its end. */
function denialOf(changes: Partial<Denial>, path?: string): Denial {
  const blank = Denial.decode(new Uint8Array(Denial.size));
  const file = path === undefined ? {} : { device: disk, path: bytes(path, blank.path.length) };
  return {
    ...blank,
    comm: bytes('cat', blank.comm.length),
    pid: 233,
    error: 13,
    hook: Hook.FILE_OPEN,
    operation: Operation.READ,
    ...file,
    ...changes,
  };
}

const builtIn: PodHeader = {
  version: 1,
  name: 'cat-1',
  cgroup: '/sys/fs/cgroup/jailrun-cat-1',
  role: 'shop',
  request: { role: ['shop'], var: [], audit: false, gains: false },
  digest: '7',
  other: [],
  roles: [
    {
      name: 'shop',
      id: 1,
      definition: { file: 'built-in/shop.yaml', line: 4 },
      scopes: { files: Scope.RULES, exec: Scope.RULES, network: Scope.RULES },
      powers: '0',
      jit: true,
      rules: 3,
    },
  ],
  command: 'cat',
  json: false,
  rules: [
    { section: 'files.read', text: '/srv', file: '/etc/p.yaml', line: 8 },
    { section: 'files.deny', text: '/srv/x', file: '/etc/p.yaml', line: 9 },
    { section: 'files.read', text: '/opt', file: '/etc/p.yaml', line: 3, set: 'site' },
  ],
};
/** A pod whose one role differs from that of `builtIn`. */
const podOf = (changes: Partial<CompiledMember>): PodHeader => ({
  ...builtIn,
  roles: builtIn.roles?.map((role) => ({ ...role, ...changes })) ?? [],
});
const own = podOf({ definition: { file: '/etc/p.yaml', line: 6 } });

const lineOf = (denial: Denial, pod = builtIn, count = 1): string =>
  formatDenial(describeDenial(denial, pod, mounts), count);

describe('a denial that no rule grants', () => {
  test('is reported with the rule to add', () => {
    assert.equal(
      lineOf(denialOf({}, '/etc/shadow')),
      'cat[233] was denied read /etc/shadow (EACCES): role shop does not grant it; to allow it: files.read: [/etc/shadow]',
    );
  });
  test('says where to add it, unless the role is built in', () => {
    assert.match(
      lineOf(denialOf({}, '/etc/shadow'), own),
      /to allow it: files\.read: \[\/etc\/shadow\] in \/etc\/p\.yaml:6$/,
    );
  });
  test('is reported once with its count', () => {
    assert.match(lineOf(denialOf({}, '/x'), own, 3), /denied read \/x, 3 times \(EACCES\): /);
  });
  test('names the section that grants the operation', () => {
    const { WRITE, CREATE, EXEC, CONNECT, SEND, BIND } = Operation;
    for (const [operation, section, text] of [
      [WRITE, 'files.write', '/x'],
      [CREATE, 'files.write', '/x'],
      [EXEC, 'exec', '/x'],
      [CONNECT, 'network.connect', 'unix:/x'],
      [SEND, 'network.connect', 'unix:/x'],
      [BIND, 'network.bind', 'unix:/x'],
    ] as const)
      assert.deepEqual(describeDenial(denialOf({ operation }, '/x'), builtIn, mounts).allow, {
        section,
        text,
      });
  });
  test('names the address and the port, and no port that a rule cannot name', () => {
    const connect = { hook: Hook.SOCKET_CONNECT, operation: Operation.CONNECT, family: 2, protocol: 6 };
    const address = bytes('\x7f\0\0\x01', 16);
    assert.equal(
      lineOf(denialOf({ ...connect, address, port: 7777 })),
      'cat[233] was denied connect tcp 127.0.0.1:7777 (EACCES): role shop does not grant it; to allow it: network.connect: [tcp:127.0.0.1:7777]',
    );
    assert.match(lineOf(denialOf({ ...connect, address, port: 0 })), /does not grant it$/);
    const six = Uint8Array.from([0xfd, ...Array(14).fill(0), 1]);
    assert.match(
      lineOf(denialOf({ ...connect, family: 10, protocol: 17, address: six, port: 53 })),
      /denied connect udp \[fd00::1\]:53 .*: network\.connect: \["udp:\[fd00::1\]:53"\]$/,
    );
  });
  test('to listen names the port alone where every address was meant, and none where the kernel chooses', () => {
    const listen = { hook: Hook.SOCKET_LISTEN, operation: Operation.LISTEN, protocol: 6 };
    const told = (port: number, family = 2) =>
      describeDenial(denialOf({ ...listen, family, port }), builtIn, mounts).allow?.text;
    assert.deepEqual([told(80), told(80, 10), told(0)], ['tcp:80', 'tcp:80', 'tcp']);
  });
  test('names an abstract name, and what is no text in it by a wildcard', () => {
    const reach = { hook: Hook.UNIX_STREAM_CONNECT, operation: Operation.CONNECT, family: 1, device: 0 };
    const named = (name: string) => {
      const path = new Uint8Array(Limit.MAX_TARGET);
      const pathStart = path.length - 1 - name.length;
      path.set(Buffer.from(name), pathStart);
      return denialOf({ ...reach, path, pathStart });
    };
    const line = (name: string) => lineOf(named(name));
    assert.match(line('bus'), /connect unix @bus \(.*: network\.connect: \[unix:@bus\]$/);
    assert.match(line('a*b'), /\["unix:@a\[\*\]b"\]$/);
    const { allow } = describeDenial(named('a\0\0b'), builtIn, mounts);
    assert.equal(allow?.text, 'unix:@a*b');
  });
  test('names the path by which an object is seen, and none where it is not seen', () => {
    const device = otherDisk;
    assert.match(lineOf(denialOf({ device }, '/shown/a')), /read \/mnt\/a .* files\.read: \[\/mnt\/a\]$/);
    assert.match(lineOf(denialOf({ device }, '/not-shown')), /read \/not-shown .* does not grant it$/);
  });
});

describe('a denial by a rule', () => {
  test('that takes away names the rule’s line, which is what to change', () => {
    assert.equal(
      lineOf(denialOf({ rule: 2 }, '/srv/x/key'), own),
      'cat[233] was denied read /srv/x/key (EACCES) by files.deny /srv/x (/etc/p.yaml:9)',
    );
  });
  test('that grants less says so, and what would grant it', () => {
    assert.equal(
      lineOf(denialOf({ rule: 1, operation: Operation.WRITE }, '/srv/a'), own),
      'cat[233] was denied write /srv/a (EACCES) by files.read /srv (/etc/p.yaml:8), which grants reading only; to allow it: files.write: [/srv/a] in /etc/p.yaml:6',
    );
  });
  test('of a set names the set', () => {
    const line = lineOf(denialOf({ rule: 3, operation: Operation.WRITE }, '/opt/a'));
    assert.match(line, / by files\.read \/opt of @site \(\/etc\/p\.yaml:3\), /);
  });
  test('is JSON with the rule and what to add', () => {
    const { rule, allow } = describeDenial(
      denialOf({ rule: 1, operation: Operation.WRITE }, '/srv/a'),
      own,
      mounts,
    );
    assert.deepEqual(rule, own.rules[0]);
    assert.deepEqual(allow, { section: 'files.write', text: '/srv/a', file: '/etc/p.yaml', line: 6 });
  });
});

describe('a denial in a stack of roles', () => {
  const [shop] = builtIn.roles as [CompiledMember];
  const scopes = { files: Scope.RULES, exec: Scope.RULES, network: Scope.ANY };
  const stack: PodHeader = {
    ...builtIn,
    role: 'shop+ci',
    roles: [
      { ...shop, scopes: { ...scopes, network: Scope.RULES }, powers: '2' },
      {
        ...shop,
        name: 'ci',
        definition: { file: '/etc/ci.yaml', line: 7 },
        scopes,
        powers: '1',
        jit: false,
        rules: 1,
      },
    ],
    rules: [...builtIn.rules, { section: 'files.read', text: '/home', file: '/etc/ci.yaml', line: 9 }],
  };
  const line = (changes: Partial<Denial>, path?: string) => lineOf(denialOf(changes, path), stack);
  test('names the role whose rule decided', () => {
    assert.equal(
      line({ rule: 4, operation: Operation.WRITE }, '/home/x'),
      'cat[233] was denied write /home/x (EACCES) by files.read /home in role ci (/etc/ci.yaml:9), which grants reading only; to allow it: files.write: [/home/x] in /etc/ci.yaml:7',
    );
    assert.match(
      line({ rule: 2 }, '/srv/x/y'),
      / by files\.deny \/srv\/x in role shop \(\/etc\/p\.yaml:9\)$/,
    );
  });
  test('names the role of which no rule grants it', () => {
    assert.equal(
      line({ rule: 6 }, '/x'),
      'cat[233] was denied read /x (EACCES): role ci does not grant it; to allow it: files.read: [/x] in /etc/ci.yaml:7',
    );
    assert.match(
      line({ rule: 5 }, '/x'),
      /: role shop does not grant it; to allow it: files\.read: \[\/x\]$/,
    );
  });
  test('names the first role that limits the section where no rule was asked', () => {
    const socket = {
      hook: Hook.SOCKET_CREATE,
      operation: Operation.SOCKET,
      family: 17,
      reason: Reason.FAMILY,
    };
    assert.match(
      line(socket),
      /no rule can name this kind of socket \(role shop\); to allow it: network: any$/,
    );
  });
  test('names the first role without the power', () => {
    const use = { operation: Operation.USE, hook: Hook.CAPABLE, error: 1 };
    const { decider } = describeDenial(denialOf({ ...use, power: 1 }), stack, mounts);
    const { decider: other, role } = describeDenial(denialOf({ ...use, power: 0 }), stack, mounts);
    assert.deepEqual([decider, other, role], ['ci', 'shop', 'shop+ci']);
  });
  test('names the role that says jit: none', () => {
    const jit = { operation: Operation.MAP, hook: Hook.MMAP_FILE, reason: Reason.JIT };
    assert.match(line(jit), /map anonymous memory \(EACCES\): the role says jit: none \(role ci\)$/);
  });
  test('names no role where none could have granted it', () => {
    const { decider } = describeDenial(denialOf({ reason: Reason.OWN }, '/x'), stack, mounts);
    assert.equal(decider, undefined);
  });
});

describe('a denial for another reason', () => {
  test('gives the reason, and no rule where none would help', () => {
    for (const [reason, text] of [
      [Reason.UNKNOWN_DEVICE, /: it lies on a file system that was not mounted when the jail began$/],
      [Reason.TOO_DEEP, /: it lies too deep/],
      [Reason.BROKEN, /: the role could not be looked up$/],
      [Reason.CLAIM, /: its extended attributes claim a role that files may not claim, or two$/],
      [Reason.UNREADABLE, /: it may claim a role, which who executes it cannot read; chmod a\+r lets it$/],
    ] as const)
      assert.match(lineOf(denialOf({ reason }, '/x')), text);
  });
  test('of a socket that no rule can name is allowed by `any` alone', () => {
    const socket = { hook: Hook.SOCKET_CREATE, operation: Operation.SOCKET, family: 17 };
    assert.equal(
      lineOf(denialOf({ ...socket, reason: Reason.FAMILY }), own),
      'cat[233] was denied socket packet (EACCES): no rule can name this kind of socket; to allow it: network: any in /etc/p.yaml:6',
    );
  });
  test('of a unix socket in a role without network names no rule for its path', () => {
    const connect = { hook: Hook.UNIX_STREAM_CONNECT, operation: Operation.CONNECT };
    assert.match(
      lineOf(
        denialOf(connect, '/run/nscd/socket'),
        podOf({ scopes: { files: Scope.RULES, exec: Scope.RULES, network: Scope.NONE } }),
      ),
      /: its role has no network, which unix sockets belong to$/,
    );
  });
});

describe('names that the jailed choose', () => {
  test('do not reach the terminal as they are', () => {
    const name = '/x\u001b[2J\njailrun: all is well\u202e';
    const line = lineOf(denialOf({ comm: bytes('a\u001b]b', 16) }, name));
    for (const character of ['\u001b', '\n', '\u202e']) assert.ok(!line.includes(character));
    assert.ok(line.startsWith('a\\u{1b}]b[233] was denied read /x\\u{1b}[2J\\u{a}jailrun: all'), line);
  });
  test('are quoted where a list of a policy needs it', () => {
    const allowOf = (path: string) => /files\.read: (.*)$/.exec(lineOf(denialOf({}, path)))?.[1];
    assert.equal(allowOf('/a b'), '[/a b]');
    assert.equal(allowOf('/a, b'), '["/a, b"]');
    assert.equal(allowOf('/a: #b'), '["/a: #b"]');
    assert.equal(allowOf('/a\n\u202e'), '["/a\\n\\u202e"]');
  });
  test('that a rule would take for a wildcard or a variable are offered in brackets', () => {
    assert.match(lineOf(denialOf({}, '/srv/a*')), /files\.read: \["\/srv\/a\[\*\]"\]$/);
    assert.match(lineOf(denialOf({}, '/srv/$\u007ba}')), /files\.read: \["\/srv\/\[\$\]\{a\}"\]$/);
  });
});
