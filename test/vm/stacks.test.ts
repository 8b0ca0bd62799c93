// Several roles on one command: each of them denies in the stack what it denies alone, in every order, and the
// report names it. A first run in each role by itself shows what it says.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, chownSync, copyFileSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { DenialReport } from '../../src/launcher/report.js';
import { type Act, act, attach, leave, root, run, runActs, writePolicy } from './jail.js';

const power = join(root, 'build/power');
const area = '/mnt/ext4/stacks';
const library = '/usr/lib/x86_64-linux-gnu/libc.so.6';
const [RDONLY, WRONLY] = ['0', '1'];

const policy = writePolicy(
  'stacks',
  `version: 1
roles:
  base:
    id: 760
    files: {read: ["@runtime", ${act}, ${power}]}
    exec: [/bin/sh, ${act}, ${power}]
  left:
    id: 761
    extends: [base]
    files:
      read: [${area}/code]
      write: [${area}/both, ${area}/left, ${area}/shown, ${area}/both/secret]
    exec: [${area}/both/program, ${area}/left/program, ${area}/code]
    network:
      bind: [tcp:8080-8090, "unix:${area}/both"]
      connect: ["tcp:127.0.0.0/8:7000-7010", "unix:${area}/sockets", "unix:@stack-*"]
      deny: [127.0.0.3, "unix:${area}/sockets/shut"]
    allow: [hostname, chroot]
  right:
    id: 762
    extends: [base]
    files:
      read: [${area}/shown, ${area}/code]
      write: [${area}/both, ${area}/right, ${area}/sockets]
      deny: [${area}/both/secret]
    exec: [${area}/both/program, ${area}/right/program]
    network:
      bind: [tcp:8085-8095]
      connect: [tcp:7005-7015, "unix:@*-a"]
    allow: [hostname, linux_immutable]
    jit: none
  offline: {id: 763, files: any, exec: any, allow: any}
  open: {id: 764, files: any, exec: any, network: any, allow: any}
  gains-not: {id: 765, files: any, exec: any, network: any}
  watched: {id: 766, mode: audit, files: any, exec: any, network: any, allow: any}
  one-site: {id: 767, extends: [base], vars: [site], files: {read: ["\${site}"]}, exec: [/bin/cat]}
  page: {id: 768, extends: [base], vars: [site, page], files: {read: ["\${site}/\${page}"]}, exec: [/bin/cat]}
`,
);
const inStack = (...roles: string[]): string[] => [
  '--policy',
  policy,
  ...roles.flatMap((role) => ['--role', role]),
];

/** Who denies: its rule, or what the report says in its place. */
type Blame = { rule: string } | { reason: string } | 'no rule';

interface Row {
  /** Reads on: "a stack cannot …", or "can" where neither role denies. */
  name: string;
  act: string[];
  left?: Blame;
  right?: Blame;
  /** What one gets who is denied, and who is not. */
  denied?: string;
  done?: string;
}

const files: Row[] = [
  { name: 'read what both grant', act: ['open', `${area}/both/file`, RDONLY] },
  { name: 'write what both grant', act: ['open', `${area}/both/file`, WRONLY] },
  { name: 'read what one grants', act: ['open', `${area}/left/file`, RDONLY], right: 'no rule' },
  { name: 'read what the other grants', act: ['open', `${area}/right/file`, RDONLY], left: 'no rule' },
  {
    name: 'read what neither grants',
    act: ['open', '/etc/shadow', RDONLY],
    left: 'no rule',
    right: 'no rule',
  },
  { name: 'read what one may write and the other read', act: ['open', `${area}/shown/file`, RDONLY] },
  {
    name: 'write what one may only read',
    act: ['open', `${area}/shown/file`, WRONLY],
    right: { rule: `${area}/shown` },
  },
  {
    name: 'look at what one denies expressly',
    act: ['stat', `${area}/both/secret/file`],
    right: { rule: `${area}/both/secret` },
  },
  { name: 'look at what one does not grant', act: ['stat', `${area}/left/file`] },
  { name: 'read in another thread what one grants', act: ['thread', `${area}/left/file`], right: 'no rule' },
  {
    name: 'rename to where one may only read',
    act: ['rename', `${area}/both/movable`, `${area}/shown/moved`],
    right: { rule: `${area}/shown` },
  },
  { name: 'execute what both let it', act: ['exec', `${area}/both/program`] },
  { name: 'execute what one lets it', act: ['exec', `${area}/left/program`], right: 'no rule' },
  { name: 'execute what the other lets it', act: ['exec', `${area}/right/program`], left: 'no rule' },
];

const network: Row[] = [
  { name: 'bind a port that both grant', act: ['bind', '4', 'tcp', '127.0.0.1', '8085'] },
  { name: 'bind a port that one grants', act: ['bind', '4', 'tcp', '127.0.0.1', '8084'], right: 'no rule' },
  {
    name: 'bind a port that the other grants',
    act: ['bind', '4', 'tcp', '127.0.0.1', '8091'],
    left: 'no rule',
  },
  {
    name: 'connect to a port that both grant',
    act: ['connect', '4', 'tcp', '127.0.0.1', '7005'],
    done: 'ECONNREFUSED',
  },
  {
    name: 'connect to a port that one grants',
    act: ['connect', '4', 'tcp', '127.0.0.1', '7004'],
    right: 'no rule',
    done: 'ECONNREFUSED',
  },
  {
    name: 'connect to an address that one denies',
    act: ['connect', '4', 'tcp', '127.0.0.3', '7005'],
    left: { rule: '127.0.0.3' },
    done: 'ECONNREFUSED',
  },
  {
    name: 'connect to an address that one names and the other does not',
    act: ['connect', '6', 'tcp', '::1', '7005'],
    left: 'no rule',
    done: 'ECONNREFUSED',
  },
  {
    name: 'connect to a socket that one lets it connect to and the other write',
    act: ['unix', 'stream', `${area}/sockets/open`],
  },
  {
    name: 'connect to a socket that one denies',
    act: ['unix', 'stream', `${area}/sockets/shut`],
    left: { rule: `unix:${area}/sockets/shut` },
  },
  {
    name: 'bind a socket where one lets it and the other write',
    act: ['unix-bind', `${area}/both/new.sock`],
  },
  {
    name: 'bind a socket that one does not grant',
    act: ['unix-bind', `${area}/sockets/new.sock`],
    left: 'no rule',
  },
  { name: 'connect to an abstract name that both match', act: ['unix', 'stream', '@stack-a'] },
  {
    name: 'connect to an abstract name that one matches',
    act: ['unix', 'stream', '@stack-b'],
    right: 'no rule',
  },
  {
    name: 'connect to an abstract name that the other matches',
    act: ['unix', 'stream', '@other-a'],
    left: 'no rule',
  },
];

const powers: Row[] = [
  { name: 'use a power that both have', act: ['sethostname'] },
  { name: 'use a power that one has', act: ['chroot'], right: 'no rule', denied: 'EPERM' },
  {
    name: 'use a power that the other has',
    act: ['immutable', `${area}/both/immutable`],
    left: 'no rule',
    denied: 'EPERM',
  },
  { name: 'map a library executable', act: ['map', library] },
  {
    name: 'map executable what one lets it and the other read',
    act: ['map', `${area}/code`],
    right: 'no rule',
  },
  { name: 'make memory executable', act: ['jit'], right: { reason: 'the role says jit: none' } },
];

let server: ChildProcess;

/** Listens on the sockets of the tests until it is killed. */
async function startServer(): Promise<void> {
  const names = [
    `${area}/sockets/open`,
    `${area}/sockets/shut`,
    ...['stack-a', 'stack-b', 'other-a'].map((name) => `@${name}`),
  ];
  const script = `import socket, sys, time
all = [socket.socket(socket.AF_UNIX) for _ in sys.argv[1:]]
for one, name in zip(all, sys.argv[1:]):
    one.bind(name.replace('@', chr(0)))
    one.listen(64)
print('listening', flush=True)
time.sleep(1000)`;
  server = spawn('python3', ['-c', script, ...names], { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(server.stdout as NodeJS.ReadableStream, 'data');
}

function makeTree(): void {
  rmSync(area, { recursive: true, force: true });
  for (const name of ['both/secret', 'left', 'right', 'shown', 'sockets'])
    mkdirSync(`${area}/${name}`, { recursive: true });
  for (const name of [
    'both/file',
    'both/movable',
    'both/secret/file',
    'left/file',
    'right/file',
    'shown/file',
    'both/immutable',
  ])
    writeFileSync(`${area}/${name}`, 'text');
  for (const name of ['both/program', 'left/program', 'right/program', 'code'])
    copyFileSync('/usr/bin/true', `${area}/${name}`);
}

/** What acts leave behind and would trip over. */
function tidy(): void {
  for (const name of ['both/new.sock', 'sockets/new.sock', 'shown/moved'])
    rmSync(`${area}/${name}`, { force: true });
  writeFileSync(`${area}/both/movable`, 'text');
}

const describeBlame = ({ rule, reason }: DenialReport): Blame => {
  if (rule) return { rule: rule.text };
  return reason === undefined ? 'no rule' : { reason };
};

/** Runs the rows in each role alone and in both stacks, and makes a test of each. */
function testRows(rows: Row[], program: string): void {
  const runIn = (...roles: string[]): { acts: Act[]; denials: DenialReport[] } => {
    tidy();
    return runActs(
      rows.map((row) => row.act),
      inStack(...roles),
      program,
    );
  };
  let results: Record<'left' | 'right' | 'forth' | 'back', ReturnType<typeof runIn>>;
  before(() => {
    results = {
      left: runIn('left'),
      right: runIn('right'),
      forth: runIn('left', 'right'),
      back: runIn('right', 'left'),
    };
  });
  for (const [i, row] of rows.entries()) {
    const { left, right, denied = 'EACCES', done = 'ok' } = row;
    const isDenied = left !== undefined || right !== undefined;
    const resultIn = (where: keyof typeof results) => results[where].acts[i]?.result;
    const denialsIn = (where: keyof typeof results) =>
      results[where].denials.filter(({ pid, ppid }) =>
        [pid, ppid].includes(results[where].acts[i]?.pid ?? 0),
      );
    test(`a stack ${isDenied ? 'cannot' : 'can'} ${row.name}`, () => {
      assert.equal(resultIn('left'), left ? denied : done, 'the first role alone');
      assert.equal(resultIn('right'), right ? denied : done, 'the second role alone');
      for (const where of ['forth', 'back'] as const) {
        assert.equal(resultIn(where), isDenied ? denied : done, where);
        const order = where === 'forth' ? (['left', 'right'] as const) : (['right', 'left'] as const);
        const decider = order.find((role) => row[role] !== undefined);
        const expected = decider ? [{ role: order.join('+'), decider, blame: row[decider] }] : [];
        const told = denialsIn(where).map((denial) => ({
          role: denial.role,
          decider: denial.decider,
          blame: describeBlame(denial),
        }));
        assert.deepEqual(told, expected, where);
      }
    });
  }
}

before(async () => {
  attach();
  makeTree();
  await startServer();
});
after(() => {
  server.kill();
  rmSync(area, { recursive: true, force: true });
  leave();
});

describe('on files', () => testRows(files, act));
describe('on the network', () => testRows(network, act));
describe('on powers and executable memory', () => testRows(powers, power));

describe('a stack', () => {
  const cat = (options: string[], path: string) => run([...options, '--', '/bin/cat', path]);

  test('of a role without network has none, whatever the others say', () => {
    const { acts, denials } = runActs([['socket', '2', '1', '0']], inStack('open', 'offline'));
    assert.equal(acts[0]?.result, 'EACCES');
    assert.deepEqual(
      denials.map(({ decider, operation }) => [decider, operation]),
      [['offline', 'socket']],
    );
    assert.equal(runActs([['socket', '2', '1', '0']], inStack('open', 'gains-not')).acts[0]?.result, 'ok');
  });

  test('of the built-in roles permissive and restricted is as restricted as that', () => {
    for (const order of [
      ['permissive', 'restricted'],
      ['restricted', 'permissive'],
    ]) {
      const roles = order.flatMap((role) => ['--role', role]);
      assert.equal(cat(roles, '/etc/passwd').status, 0);
      const { status, denials } = cat(roles, '/etc/shadow');
      assert.equal(status, 1);
      assert.deepEqual(
        denials.map(({ decider, target, allow }) => [decider, target, allow?.section]),
        [['restricted', '/etc/shadow', 'files.read']],
      );
    }
  });

  test('may be of eight roles', () => {
    const names = ['left', 'right', 'open', 'base', 'gains-not', 'one-site', 'page', 'offline'];
    const options = [...inStack(...names), '--var', `site=${area}/both`, '--var', 'page=file'];
    const { acts } = runActs(
      [
        ['open', act, RDONLY],
        ['open', `${area}/both/file`, RDONLY],
      ],
      options,
    );
    assert.deepEqual(
      acts.map(({ result }) => result),
      ['ok', 'EACCES'],
    );
  });

  test('binds a variable in every role that declares it', () => {
    const options = [...inStack('one-site', 'page'), '--var', `site=${area}/both`, '--var', 'page=file'];
    assert.equal(cat(options, `${area}/both/file`).status, 0);
    const { status, denials } = cat(options, `${area}/both/movable`);
    assert.deepEqual([status, denials.map(({ decider }) => decider)], [1, ['page']]);
  });

  test('lets set-id programs change the user only where every role does', () => {
    const program = `${area}/id`;
    copyFileSync('/usr/bin/id', program);
    chownSync(program, 65534, 65534);
    chmodSync(program, 0o6755);
    const user = (...roles: string[]) => run([...inStack(...roles), '--', program, '-u']).stdout.trim();
    assert.equal(user('open', 'offline'), '65534');
    assert.equal(user('open', 'gains-not'), '0');
    assert.equal(user('gains-not', 'open'), '0');
  });

  test('of an audited and an enforced role is refused, and with --audit it denies nothing', () => {
    const refused = cat(inStack('watched', 'right'), '/etc/shadow');
    assert.equal(refused.status, 125);
    assert.deepEqual(
      refused.errors.map(({ code }) => code),
      ['POLICY'],
    );
    const { status, denials } = cat([...inStack('watched', 'right'), '--audit'], '/etc/shadow');
    assert.equal(status, 0);
    assert.ok(denials.length > 0 && denials.every(({ audit, decider }) => audit && decider === 'right'));
  });

  test('that names a role twice does not start', () => {
    const { status, errors } = run([...inStack('left', 'left'), '--', '/bin/true']);
    assert.deepEqual([status, errors.map(({ code }) => code)], [125, ['USAGE']]);
  });
});
