// Real programs at their work in a role that fits: all goes well, and nothing is denied that would surprise.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { attach, detach, run, writePolicy } from './jail.js';

const area = '/mnt/ext4/programs';
const work = `${area}/work`;
const policy = writePolicy(
  'programs',
  `version: 1
roles:
  build:
    id: 620
    description: Builds in its workspace from what lies beside it.
    vars: [work]
    files:
      read: ["@runtime", /usr, /bin, /etc/alternatives, /etc/gitconfig, ${area}/origin, ${area}/package, "/proc/[0-9]*"]
      write: ["\${work}", "@tmp", "@devices"]
      deny: ["@secrets"]
    exec: [/usr, /bin, "\${work}"]
    network: none
`,
);

/** Runs a shell script in the role; whatever is denied must be among `expected`, as COMMAND OPERATION TARGET. */
function build(script: string, expected: RegExp[] = []): string {
  const words = [
    '--policy',
    policy,
    '--var',
    `work=${work}`,
    '--role',
    'build',
    '--',
    '/bin/sh',
    '-ec',
    script,
  ];
  const env = { PATH: '/usr/bin:/bin', HOME: work, LANG: 'C.UTF-8' };
  const { status, stdout, stderr, denials } = run(words, { cwd: work, env });
  const told = denials.map(({ command, operation, target }) => `${command} ${operation} ${target}`);
  assert.deepEqual(
    told.filter((line) => !expected.some((pattern) => pattern.test(line))),
    [],
  );
  assert.equal(status, 0, stderr);
  return stdout.trim();
}

describe('in a role for builds', () => {
  before(() => {
    attach();
    rmSync(area, { recursive: true, force: true });
    for (const directory of [work, `${area}/origin`, `${area}/package`])
      mkdirSync(directory, { recursive: true });
  });
  after(() => {
    rmSync(area, { recursive: true, force: true });
    detach();
  });

  test('git clones a local repository, commits and checks out', () => {
    const git = (...words: string[]) =>
      execFileSync('git', ['-C', `${area}/origin`, ...words], { stdio: 'pipe' });
    git('init', '-q', '-b', 'main');
    writeFileSync(`${area}/origin/file`, 'one\n');
    git('add', '.');
    git('-c', 'user.name=a', '-c', 'user.email=a@b', 'commit', '-q', '-m', 'one');
    const said = build(
      `
      git clone -q --no-local ${area}/origin clone
      cd clone
      echo two >file
      git -c user.name=a -c user.email=a@b commit -q -a -m two
      git checkout -q HEAD~1
      cat file
      git checkout -q main
      cat file`,
      // For the committer's address git asks for the host's full name.
      [/^git socket inet$/],
    );
    assert.equal(said, 'one\ntwo');
  });
  test('gcc compiles and links a program, and the program runs', () => {
    const source = '#include <stdio.h>\nint main(void) { return puts("hello") < 0; }\n';
    writeFileSync(`${work}/hello.c`, source);
    assert.equal(build('gcc -O2 -o hello hello.c && ./hello'), 'hello');
  });
  test('python imports, writes its caches and starts another process', () => {
    writeFileSync(`${work}/part.py`, 'answer = 42\n');
    const script =
      'import json, subprocess, part; print(json.dumps(part.answer), flush=True); subprocess.run(["true"], check=True)';
    assert.equal(build(`PYTHONPATH=. python3 -c '${script}'; ls __pycache__ | wc -l`), '42\n1');
  });
  test('sqlite makes a database, with a journal and with a write-ahead log', () => {
    const script =
      'import sqlite3\n' +
      'for mode in ("delete", "wal"):\n' +
      '    c = sqlite3.connect(f"{mode}.db"); c.execute(f"pragma journal_mode={mode}")\n' +
      '    c.execute("create table t(x)"); c.executemany("insert into t values (?)", [(i,) for i in range(100)]); c.commit()\n' +
      '    print(c.execute("select sum(x) from t").fetchone()[0]); c.close()\n';
    writeFileSync(`${work}/db.py`, script);
    assert.equal(build('python3 db.py'), '4950\n4950');
  });
  test('npm installs a small package from its lock file', () => {
    const manifest = (name: string, more: object) => JSON.stringify({ name, version: '1.0.0', ...more });
    writeFileSync(`${area}/package/package.json`, manifest('small', { main: 'index.js' }));
    writeFileSync(`${area}/package/index.js`, 'module.exports = 42;\n');
    const dependencies = { small: `file:${area}/package` };
    writeFileSync(`${work}/package.json`, manifest('app', { dependencies }));
    execFileSync('npm', ['install', '--package-lock-only', '--offline', '--no-audit', '--no-fund'], {
      cwd: work,
      stdio: 'pipe',
    });
    const said = build(
      `
      npm ci --offline --no-audit --no-fund --cache ${work}/.npm --update-notifier=false >/dev/null
      node -p 'require("small")'`,
      // npm looks which networks there are.
      [/^npm socket netlink$/],
    );
    assert.equal(said, '42');
  });
});
