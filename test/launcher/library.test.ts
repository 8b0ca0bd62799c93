// The library as other programs get it: the package's own name leads to what the build made. What needs a kernel
// with the programs is in test/vm/library.test.ts.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type * as Library from '../../src/launcher/library.js';
import { type Area, makeArea } from './command.js';

const root = join(import.meta.dirname, '../../..');
// The types of what is shipped are compared with an example below.
const name: string = 'jailrun';
const library: typeof Library = await import(name);
const { check, explain, JailrunError, roles, run } = library;

let area: Area;
before(() => {
  area = makeArea();
});
after(() => area.remove());

const refused = (code: string, message: RegExp) => (error: unknown) => {
  assert.ok(error instanceof JailrunError, String(error));
  assert.equal(error.code, code);
  assert.match(error.message, message);
  return true;
};

describe('explain', () => {
  test('answers what the command line prints as JSON', async () => {
    const words = ['explain', '--json', '--role', 'worker', '--role', 'ci', '--var', 'workspace=/srv/w'];
    const { lines } = area.run([...words, 'read', '/etc/shadow']);
    const verdict = await explain({
      role: ['worker', 'ci'],
      vars: { workspace: '/srv/w' },
      operation: 'read',
      target: '/etc/shadow',
    });
    assert.deepEqual(verdict, JSON.parse(lines[0] ?? ''));
    assert.equal(verdict.granted, false);
  });
  test('is refused for a role that does not exist', async () => {
    const asked = explain({ role: 'webserve', operation: 'read', target: '/' });
    await assert.rejects(asked, refused('UNKNOWN_ROLE', /did you mean webserver\?/));
  });
  test('is refused for a variable whose name could be another word', async () => {
    const asked = explain({ role: 'ci', vars: { 'a=b': 'c' }, operation: 'read', target: '/' });
    await assert.rejects(asked, refused('USAGE', /^vars: "a=b" is no name/));
  });
});

describe('check', () => {
  test('returns the roles of a file without a problem', async () => {
    const path = area.policy('good.yaml', 'version: 1\nroles:\n  good: {id: 700, files: {read: [/srv]}}\n');
    const report = await check(path);
    assert.deepEqual(report.problems, []);
    assert.deepEqual(
      report.roles.map(({ name, id, rules }) => [name, id, rules]),
      [['good', 700, 1]],
    );
  });
  test('returns every problem of several files, with its place', async () => {
    const one = area.policy('one.yaml', 'version: 1\nroles:\n  one: {id: 701, file: {}}\n');
    const two = area.policy('two.yaml', 'version: 1\nroles:\n  two: {id: 0}\n');
    const { problems, roles } = await check([one, two]);
    assert.deepEqual(
      problems.map(({ file, line }) => [file, line]),
      [
        [one, 3],
        [two, 3],
      ],
    );
    assert.deepEqual(roles, []);
  });
});

test('roles returns what the command line prints as JSON', async () => {
  const { lines } = area.run(['roles', '--json']);
  assert.deepEqual(
    await roles(),
    lines.map((line) => JSON.parse(line)),
  );
});

describe('run is refused', () => {
  const command = ['true'] as const;
  const directory = '/no/such/directory';
  test('without a command', async () => {
    await assert.rejects(run({ role: 'restricted', command: [] as never }), refused('USAGE', /^No command/));
  });
  test('without a role', async () => {
    await assert.rejects(run({ role: [], command }), refused('USAGE', /^No role is named/));
  });
  test('with a role that begins like an option', async () => {
    await assert.rejects(run({ role: '--exec', command }), refused('UNKNOWN_ROLE', /a role --exec/));
  });
  test('with an argument that no program can be given', async () => {
    const asked = run({ role: 'restricted', command: ['echo', 'a\0b'] });
    await assert.rejects(asked, refused('USAGE', /without null bytes/));
  });
  test('in a directory that does not exist', async () => {
    await assert.rejects(run({ role: 'restricted', command, cwd: directory }), refused('SYSTEM', /ENOENT/));
  });
  test('with a signal that was aborted before, for its reason', async () => {
    const reason = new Error('too late');
    const asked = run({ role: 'restricted', command, signal: AbortSignal.abort(reason) });
    await assert.rejects(asked, reason);
  });
});

test('nothing that is refused is printed, and the process stays as it was', () => {
  const program = `
    import { check, explain, run, status } from 'jailrun';
    const state = () => JSON.stringify([process.cwd(), process.umask(), process.eventNames(), process.exitCode]);
    const before = state();
    const command = ['cat', '/etc/passwd'];
    const { signal } = new AbortController();
    for (const failing of [
      () => run({ role: 'none-such', command, signal }),
      () => run({ role: 'restricted', command, cwd: '/no/such' }),
      () => explain({ role: 'none-such', operation: 'read', target: '/' }),
      () => explain({ role: 'worker', operation: 'use', target: 'none-such' }),
    ])
      await failing().then(() => { throw new Error('not refused'); }, ({ name }) => {
        if (name !== 'JailrunError') throw new Error(name);
      });
    await check('/no/such/file');
    if (state() !== before) throw new Error(state());
  `;
  const { status, stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', program], {
    cwd: root,
    encoding: 'utf8',
  });
  assert.deepEqual([status, stdout, stderr], [0, '', '']);
});

test('the command line does not load the library', () => {
  const launcher = readFileSync(join(root, 'dist/launcher-main.js'), 'utf8');
  assert.match(launcher, /reportFd/);
  assert.doesNotMatch(launcher, /AbortSignal|throwIfAborted/);
});

describe('TypeScript accepts', () => {
  const directory = join(root, 'build/library-types');
  const compile = (file: string, text: string): string => {
    writeFileSync(join(directory, file), text);
    const tsc = join(root, 'node_modules/typescript/bin/tsc');
    const strict = ['--noEmit', '--strict', '--exactOptionalPropertyTypes', '--target', 'es2023'];
    const words = [...strict, '--module', 'nodenext', '--types', 'node', '--ignoreConfig', file];
    return spawnSync(process.execPath, [tsc, ...words], { cwd: directory, encoding: 'utf8' }).stdout;
  };
  before(() => mkdirSync(directory, { recursive: true }));
  after(() => rmSync(directory, { recursive: true }));

  const readme = readFileSync(join(root, 'README.md'), 'utf8');
  const examples = [...readme.matchAll(/```js\n(.*?)```/gs)].map((match) => match[1] ?? '');
  test('the README’s examples', () => {
    assert.ok(examples.length >= 2);
    for (const [i, example] of examples.entries()) assert.equal(compile(`example-${i}.mts`, example), '');
  });
  test('a pipe as a stream, and nothing else', () => {
    const program = (options: string) =>
      `import { run } from 'jailrun';\nimport type { Readable } from 'node:stream';\n` +
      `export const { stdout } = await run({ role: 'x', command: ['y']${options} });\n` +
      'export const read: Readable = stdout;\n';
    assert.equal(compile('pipe.mts', program(", stdout: 'pipe', stdin: 'ignore'")), '');
    assert.match(compile('no-pipe.mts', program(", stderr: 'pipe'")), /TS2322.*'null' is not assignable/);
  });
});

test('the package has what it exports', () => {
  const { exports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const listed = execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], {
    cwd: root,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const files = JSON.parse(listed)[0].files.map(({ path }: { path: string }) => `./${path}`);
  for (const path of Object.values(exports['.'])) assert.ok(files.includes(path), String(path));
  for (const path of ['jailrun', 'launcher.cjs', 'jailrun.node', 'jailrun.bpf.o', 'roles.jsonl'])
    assert.ok(files.includes(`./dist/${path}`), path);
});
