// What may become executable memory, by which programs, and who one is after an exec.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, chownSync, copyFileSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { DenialReport } from '../../src/launcher/report.js';
import { attach, leave, root, run, runActs, writePolicy } from './jail.js';

const power = join(root, 'build/power');
const area = '/mnt/ext4/code';
const library = '/usr/lib/x86_64-linux-gnu/libc.so.6';
const interpreter = '/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2';
const python = '/usr/bin/python3';

const policy = writePolicy(
  'code',
  `version: 1
roles:
  listed:
    id: 750
    description: Runs what it is given and what is on its list.
    files:
      read: ["@runtime", /usr, ${power}, ${area}, ${process.execPath}, /proc]
      write: [${area}/bin, /dev/null, /tmp]
    exec: [/bin/sh, ${power}, ${area}/bin, ${area}/allowed, /usr/bin/true, ${interpreter}]
  listed-anywhere:
    id: 751
    description: The same, where it may open every file.
    files: any
    exec: [/bin/sh, ${power}, ${area}/allowed]
  no-jit: {id: 752, extends: [listed], jit: none}
  gains: {id: 753, files: any, exec: any, network: any, allow: [setuid]}
  gains-not: {id: 754, files: any, exec: any, network: any}
`,
);
const inRole = (name: string): string[] => ['--policy', policy, '--role', name];

interface Row {
  name: string;
  denied: string[];
  allowed: string[];
  hook: string;
  operation: string;
  target: RegExp;
  /** What the program sees where that is not EACCES. */
  result?: string;
}

const code: Row[] = [
  {
    name: 'map a file executable that is neither a library nor on its list',
    denied: ['map', `${area}/denied`],
    allowed: ['map', `${area}/allowed`],
    hook: 'mmap_file',
    operation: 'map',
    target: /^\/mnt\/ext4\/code\/denied$/,
  },
  {
    name: 'make a mapping of such a file executable later',
    denied: ['protect', `${area}/denied`],
    allowed: ['protect', library],
    hook: 'file_mprotect',
    operation: 'map',
    target: /^\/mnt\/ext4\/code\/denied$/,
  },
  {
    name: 'map such a file under READ_IMPLIES_EXEC',
    denied: ['implied', `${area}/denied`],
    allowed: ['implied', library],
    hook: 'mmap_file',
    operation: 'map',
    target: /^\/mnt\/ext4\/code\/denied$/,
  },
  {
    name: 'map a memfd executable',
    denied: ['map_memfd'],
    allowed: ['jit'],
    hook: 'mmap_file',
    operation: 'map',
    target: /^\/$/,
  },
  {
    name: 'map a file executable that it has deleted',
    denied: ['map_deleted', `${area}/bin/new`],
    allowed: ['map', `${area}/bin/program`],
    hook: 'mmap_file',
    operation: 'map',
    target: /^\/mnt\/ext4\/code\/bin\/new$/,
  },
  {
    name: 'execute a memfd',
    denied: ['exec_memfd', '/usr/bin/true'],
    allowed: ['exec_fd', '/usr/bin/true'],
    hook: 'bprm_check_security',
    operation: 'exec',
    target: /^\/$/,
  },
  {
    name: 'execute a denied program by its descriptor',
    denied: ['exec_fd', `${area}/denied`],
    allowed: ['exec_fd', `${area}/allowed`],
    hook: 'bprm_check_security',
    operation: 'exec',
    target: /^\/mnt\/ext4\/code\/denied$/,
  },
  {
    name: 'have ld.so run a denied program',
    denied: ['exec', interpreter, `${area}/denied`],
    allowed: ['exec', interpreter, `${area}/allowed`],
    hook: 'mmap_file',
    operation: 'map',
    target: /^\/mnt\/ext4\/code\/denied$/,
    result: 'ECHILD',
  },
];

function summary({ hook, operation, error }: DenialReport): object {
  return { hook, operation, error };
}

function testRows(rows: Row[], role: string): void {
  const acts = rows.flatMap(({ denied, allowed }) => [denied, allowed]);
  const { acts: results, denials } = runActs(acts, inRole(role), power);
  for (const [i, row] of rows.entries()) {
    const [denied, allowed] = [results[2 * i], results[2 * i + 1]];
    test(`${role} cannot ${row.name}`, () => {
      assert.equal(denied?.result, row.result ?? 'EACCES');
      const event = denials
        .filter(({ target }) => row.target.test(target))
        .find(({ hook }) => hook === row.hook);
      assert.deepEqual(event && summary(event), {
        hook: row.hook,
        operation: row.operation,
        error: 'EACCES',
      });
    });
    // execveat() replaces the program, which then prints nothing.
    test(`${role} can ${row.allowed.join(' ')}`, () => assert.equal(allowed?.result, 'ok'));
  }
}

describe('executable memory', () => {
  attach();
  rmSync(area, { recursive: true, force: true });
  mkdirSync(`${area}/bin`, { recursive: true });
  for (const name of ['denied', 'allowed', 'bin/program']) copyFileSync('/usr/bin/true', `${area}/${name}`);
  const printing = code.filter(({ allowed }) => allowed[0] !== 'exec_fd');
  testRows(printing, 'listed');
  testRows(
    code
      .filter(({ allowed }) => ['map', 'protect', 'implied'].includes(allowed[0] ?? ''))
      .filter(({ allowed }) => !allowed[1]?.includes('/bin/')),
    'listed-anywhere',
  );

  for (const row of code.filter(({ allowed }) => allowed[0] === 'exec_fd')) {
    test(`listed cannot ${row.name}`, () => {
      const { status, denials } = run([...inRole('listed'), '--', power, ...row.denied]);
      assert.equal(status, 1);
      assert.deepEqual(denials.map(summary), [{ hook: row.hook, operation: row.operation, error: 'EACCES' }]);
      assert.match(denials[0]?.target ?? '', row.target);
    });
    test(`listed can ${row.allowed.join(' ')}`, () => {
      const { status, denials } = run([...inRole('listed'), '--', power, ...row.allowed]);
      assert.deepEqual([status, denials], [0, []]);
    });
  }

  for (const act of [['jit'], ['jit_mmap'], ['jit_file', library], ['jit_both', library]])
    test(`is for a JIT (${act[0]}) unless the role says jit: none`, () => {
      assert.equal(runActs([act], inRole('listed'), power).acts[0]?.result, 'ok');
      const { acts, denials } = runActs([act], inRole('no-jit'), power);
      assert.equal(acts[0]?.result, 'EACCES');
      assert.deepEqual(
        denials.map(({ operation, target, reason }) => [operation, target, reason]),
        [['map', 'anonymous memory', 'the role says jit: none']],
      );
    });

  for (const [name, ...words] of [
    ['node', process.execPath, '-e', 'let s = 0; for (let i = 0; i < 1e6; i++) s += i; console.log(s)'],
    ['python', python, '-c', 'import ctypes, hashlib, ssl, sqlite3; print(499999500000)'],
    ['a script', `${area}/bin/script`],
  ] as const)
    test(`is what ${name} needs of it`, () => {
      writeFileSync(`${area}/bin/script`, '#!/usr/bin/perl\nuse POSIX; print 499999500000;');
      chmodSync(`${area}/bin/script`, 0o755);
      const { stdout, denials } = run([...inRole('listed'), '--', ...words]);
      assert.equal(stdout.trim(), '499999500000');
      assert.deepEqual(
        denials.filter(({ operation }) => operation === 'map'),
        [],
      );
    });
});

describe('a set-id program', () => {
  const program = `${area}/id`;
  before(() => {
    copyFileSync('/usr/bin/id', program);
    chownSync(program, 65534, 65534);
    chmodSync(program, 0o6755);
  });
  const effective = (options: string[]): string => run([...options, '--', program, '-u']).stdout.trim();

  test('changes the user unjailed', () => {
    assert.equal(spawnSync(program, ['-u'], { encoding: 'utf8' }).stdout.trim(), '65534');
  });
  test('changes the user in a role with setuid', () => {
    assert.equal(effective(inRole('gains')), '65534');
  });
  test('runs as the user who started it in a role without', () => {
    assert.equal(effective(inRole('gains-not')), '0');
  });
  test('is reported in audit mode, and changes the user', () => {
    const { stdout, denials } = run([...inRole('gains-not'), '--audit', '--', program, '-u']);
    assert.equal(stdout.trim(), '65534');
    assert.deepEqual(
      denials.map(({ hook, target, audit }) => [hook, target, audit]),
      [['bprm_creds_from_file', 'setuid', true]],
    );
  });
});

after(() => {
  rmSync(area, { recursive: true, force: true });
  leave();
});
