// Real programs at their work in a role that fits: all goes well, and nothing is denied that would surprise.
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { attach, jailrun, leave, run, until, writePolicy } from './jail.js';

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
  initdb:
    id: 621
    description: Makes a cluster for the role database; initdb runs the server by a shell, and the server locale.
    extends: [database]
    exec: ["/usr/lib/postgresql/*/bin/initdb", /bin/sh, /usr/bin/locale]
  psql:
    id: 622
    description: Asks a server on this host.
    files:
      read: ["@runtime"]
      write: [/run/postgresql]
    network: {connect: [tcp:5432]}
`,
);

before(attach);
after(leave);

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
    rmSync(area, { recursive: true, force: true });
    for (const directory of [work, `${area}/origin`, `${area}/package`])
      mkdirSync(directory, { recursive: true });
  });
  after(() => rmSync(area, { recursive: true, force: true }));

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

describe('PostgreSQL', () => {
  const bin = `/usr/lib/postgresql/${readdirSync('/usr/lib/postgresql').sort().at(-1)}/bin`;
  const cluster = '/var/lib/postgresql/jailrun-test';
  /** The server refuses to run as root, and jailrun needs it: the command gives it up. */
  const asPostgres = ['setpriv', '--reuid', 'postgres', '--regid', 'postgres', '--init-groups'];
  const env = { PATH: '/usr/bin:/bin', LANG: 'C.UTF-8' };
  const clean = ({ status, stderr, denials }: ReturnType<typeof run>) => {
    assert.deepEqual(denials, []);
    assert.equal(status, 0, stderr);
  };
  let server: ChildProcess;
  let log = '';
  const psql = (...commands: string[]) => {
    const asked = commands.flatMap((command) => ['-c', command]);
    const words = [
      `${bin}/psql`,
      '-X',
      '-q',
      '-A',
      '-t',
      '-h',
      '/run/postgresql',
      '-U',
      'postgres',
      ...asked,
    ];
    const outcome = run(['--policy', policy, '--role', 'psql', '--', ...words], { env });
    clean(outcome);
    return outcome.stdout.trim();
  };
  before(() => {
    for (const directory of [cluster, '/run/postgresql']) {
      mkdirSync(directory, { recursive: true });
      execFileSync('chown', ['postgres:', directory]);
    }
  });
  after(() => {
    server?.kill('SIGKILL');
    for (const directory of [cluster, '/run/postgresql']) rmSync(directory, { recursive: true, force: true });
  });

  test('makes a cluster in a role that adds to database what initdb executes', () => {
    const words = [...asPostgres, `${bin}/initdb`, '-D', cluster, '--auth=trust', '--no-sync'];
    clean(run(['--policy', policy, '--role', 'initdb', '--', ...words], { env, cwd: '/' }));
  });
  test('starts in the role database', async () => {
    const words = [...asPostgres, `${bin}/postgres`, '-D', cluster];
    server = spawn(jailrun, ['--json', '--role', 'database', '--', ...words], {
      env,
      cwd: '/',
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    server.stderr?.on('data', (text) => {
      log += text;
    });
    await until(() => log.includes('ready to accept connections') || server.exitCode !== null);
    assert.equal(server.exitCode, null, log);
  });
  test('answers a client over its unix socket, and keeps what that wrote', () => {
    psql(
      'create table t(x int primary key, y text)',
      "insert into t select i, repeat('y', 1000) from generate_series(1, 2000) i",
      'update t set y = y || x where x % 2 = 0',
      'delete from t where x > 1000',
    );
    assert.equal(psql('select count(*), sum(x) from t'), '1000|500500');
  });
  test('vacuums, sorts on disk, works in parallel, and writes a checkpoint', () => {
    psql('vacuum (full, analyze) t', 'vacuum t', 'checkpoint');
    const sorted = 'select count(*) from (select i from generate_series(1, 20000) i order by -i offset 0) s';
    assert.equal(psql("set work_mem = '64kB'", sorted), '20000');
    const forced = ['set force_parallel_mode = on', 'set parallel_setup_cost = 0'];
    assert.equal(psql(...forced, 'select sum(x) from t'), '500500');
  });
  test('reads its configuration again', () => {
    psql("alter system set work_mem = '5MB'", 'select pg_reload_conf()');
    assert.equal(psql('select pg_sleep(1)', 'show work_mem'), '5MB');
  });
  test('cannot run a program for its client', () => {
    const words = [`${bin}/psql`, '-X', '-h', '/run/postgresql', '-U', 'postgres'];
    const copy = ['-c', "copy (select 'x') to program 'cat >/tmp/x'"];
    const { status, stderr } = run(['--policy', policy, '--role', 'psql', '--', ...words, ...copy], { env });
    assert.match(stderr, /ERROR: {2}could not execute command "cat >\/tmp\/x"/);
    assert.equal(status, 1);
  });
  test('stops in order, with nothing denied but that program', async () => {
    const closed = new Promise((resolve) => server.once('close', resolve));
    server.kill('SIGINT');
    await closed;
    assert.match(log, /database system is shut down/);
    const denials = log.split('\n').filter((line) => line.startsWith('{"version":1,"type":"denial"'));
    assert.deepEqual(
      denials.map((line) => JSON.parse(line)).map(({ hook, operation, target }) => [hook, operation, target]),
      [['file_open', 'exec', '/usr/bin/dash']],
    );
    assert.equal(server.exitCode, 0, log);
  });
});
