// Debuggers, and programs that make code as they run.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { told } from './jail.js';
import { area, begin, end, fails, inRole, outside, works } from './tools.js';

before(begin);
after(end);

describe('a debugger', () => {
  const onChild = [
    'gdb',
    '-q',
    '-nx',
    '-batch',
    '-ex',
    'break exit',
    '-ex',
    'run',
    '-ex',
    'continue',
    '/bin/true',
  ];
  const onOutside = () => ['gdb', '-q', '-nx', '-batch', '-ex', 'bt', '-p', String(outside.pid)];
  /** gdb's own Python would keep what it compiled; without /proc/PID/mem gdb uses ptrace. */
  const idle = [/^gdb create \/usr\/share\/gdb\/.*__pycache__$/, /^gdb write \/proc\/N\/(task\/N\/)?mem$/];
  for (const role of ['shell', 'ci']) {
    test(`gdb runs a program to a breakpoint and to its end in the role ${role}`, () => {
      works(inRole(role, ...onChild), /Breakpoint 1, [\s\S]*exited normally/, idle);
    });
    test(`strace follows a program and its children in the role ${role}`, () => {
      works(
        inRole(role, 'strace', '-f', '-o', `${area}/trace`, 'sh', '-c', 'cat /dev/null; echo seen'),
        'seen',
      );
      assert.match(readFileSync(`${area}/trace`, 'utf8'), /^\d+ +execve\(".*\/cat"/m);
    });
  }
  test('strace starts nothing that the role does not let start', () => {
    const outcome = inRole('isolated', 'strace', '-o', '/dev/null', '/bin/true');
    fails(outcome, /exec: Permission denied/, 'strace exec /usr/bin/true');
  });
  test('gdb attaches to a process outside in a role with ptrace', () => {
    works(inRole('tracer', ...onOutside()), /#\d .*__libc_start_main/, idle);
  });
  test('gdb does not in a role without', () => {
    const { stdout, stderr, denials } = inRole('shell', ...onOutside());
    assert.match(stderr, /ptrace: Operation not permitted/);
    assert.doesNotMatch(stdout, /#0/);
    assert.ok(told(denials).includes('gdb use ptrace'), `${told(denials)}`);
  });
  test('strace attaches to a process outside in a role with ptrace', () => {
    const { stderr, denials } = inRole(
      'tracer',
      'timeout',
      '-s',
      'INT',
      '5',
      'strace',
      '-p',
      `${outside.pid}`,
    );
    assert.match(stderr, /strace: Process \d+ attached/);
    assert.deepEqual(told(denials), []);
  });
  test('strace does not in a role without', () => {
    const outcome = inRole('shell', 'strace', '-p', `${outside.pid}`);
    fails(outcome, /attach: .*Operation not permitted/, 'strace use ptrace');
  });
});

describe('a program that makes code as it runs', () => {
  const jit = 'local s = 0; for i = 1, 1e7 do s = s + i end; print(s)';
  const loop = 'let s = 0; for (let i = 0; i < 3e6; i++) s += i; console.log(s)';
  const callback =
    'import ctypes; f = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)(lambda x: x + 1); print(f(41))';
  const source =
    'class Sum { public static void main(String[] a) { long s = 0; for (int i = 0; i < 30000000; i++) s += i; System.out.println(s); } }';
  const mapping = (name: string) => `${name} map anonymous memory`;
  /** It looks which networks there are, and says what a dump would hold by a file that each process has. */
  const javaDoesWithout = [/^java write \/proc\/N\/coredump_filter$/, /^java socket inet6?$/];
  before(() => writeFileSync(`${area}/Sum.java`, source));

  for (const role of ['shell', 'ci']) {
    test(`is node in the role ${role}`, () => works(inRole(role, 'node', '-e', loop), '4499998500000'));
    test(`is luajit in the role ${role}`, () => works(inRole(role, 'luajit', '-e', jit), '50000005000000'));
    test(`is python with a callback from C in the role ${role}`, () =>
      works(inRole(role, 'python3', '-c', callback), '42'));
    test(`is java in the role ${role}`, () =>
      works(inRole(role, 'java', 'Sum.java'), '449999985000000', javaDoesWithout));
  }
  for (const [name, command, says] of [
    ['node', ['node', '-e', loop], /Check failed: 12 == \(\*__errno_location \(\)\)/],
    ['luajit', ['luajit', '-e', jit], /runtime code generation failed, restricted kernel\?/],
    ['python3', ['python3', '-c', callback], /MemoryError/],
    ['java', ['java', '-version'], /Failed to mark memory page as executable/],
    ['java', ['java', '-Xint', '-version'], /Failed to mark memory page as executable/],
  ] as const)
    test(`fails under jit: none (${command.slice(0, 2).join(' ')})`, () => {
      const { status, stdout, stderr, denials } = inRole('no-jit', ...command);
      assert.notEqual(status, 0);
      assert.match(stdout + stderr, says);
      assert.ok(told(denials).includes(mapping(name)), `${told(denials)}`);
    });
  for (const [name, command, prints] of [
    ['node without its compiler', ['node', '--jitless', '-e', loop], '4499998500000'],
    ['luajit without its compiler', ['luajit', '-joff', '-e', 'print(6 * 7)'], '42'],
    ['python', ['python3', '-c', 'import json; print(json.dumps(sum(range(10))))'], '45'],
    ['perl', ['perl', '-e', 'print 6 * 7'], '42'],
  ] as const)
    test(`is none under jit: none, as ${name} is, and works`, () =>
      works(inRole('no-jit', ...command), prints));
});
