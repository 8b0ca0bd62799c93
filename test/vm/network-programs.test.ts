// Real servers and clients over loopback and over a link to another network namespace: in a role that fits they
// work and nothing is denied, and where it does not fit they fail as programs do when a network is closed.
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { attach, detach, jailrun, run, writePolicy } from './jail.js';

const area = '/mnt/ext4/network-programs';
const namespace = 'jailrun-far';
/** This end of the link, and the other one. */
const [here, far] = ['10.77.0.1', '10.77.0.2'];
const [hereSix, farSix] = ['fd00:77::1', 'fd00:77::2'];
const client = (rules: string) =>
  `{files: {read: ["@runtime", /usr, /bin, /etc, "/proc/[0-9]*"], write: [${area}/work, "@tmp", "@devices"], deny: ["@secrets"]}, exec: any, network: {connect: [${rules}]}}`;
const policy = writePolicy(
  'network-programs',
  `version: 1
roles:
  web: {id: 650, extends: [webserver], files: {read: [${area}], write: [${area}/work]}}
  cache: {id: 651, extends: [database], files: {write: [${area}/redis]}}
  client: {id: 652, extends: [base-client]}
  base-client: ${client(`"tcp:${far}:8000", "tcp:[${farSix}]:8000", "tcp:@loopback:6379", "udp:127.0.0.1:53", "unix:${area}/redis/*.sock", "tcp:${here}:6379"`).replace('{files', '{id: 653, files')}
  postgres-client: {id: 654, extends: [base-client], network: {connect: ["tcp:@loopback:5432", "tcp:${here}:5432"]}}
  postgres: {id: 655, extends: [database], files: {read: [/usr], write: [${area}/postgres]}, exec: [/usr/lib/postgresql]}
`,
);
const children: ChildProcess[] = [];

function ip(...words: string[]): void {
  execFileSync('ip', words);
}

function start(program: string, words: string[]): ChildProcess & { errors: () => string } {
  const child = spawn(program, words, { stdio: ['ignore', 'pipe', 'pipe'] });
  let errors = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (data) => {
      errors += data;
    });
  children.push(child);
  return Object.assign(child, { errors: () => errors });
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const closed = new Promise((resolve) => child.once('close', resolve));
  child.kill('SIGTERM');
  await closed;
}

/** Waits until `condition` holds, for a minute: a guest starts programs slowly on a busy machine. */
async function within(what: string, condition: () => boolean): Promise<void> {
  for (const end = Date.now() + 60_000; !condition(); await sleep(200))
    if (Date.now() > end) throw new Error(`waited a minute for ${what}`);
}

function listens(host: string, port: number): Promise<void> {
  const script = `import socket; socket.create_connection(('${host}', ${port}), timeout=5).close()`;
  return within(`${host} ${port}`, () => spawnSync('python3', ['-c', script]).status === 0);
}

const inFar = ['ip', 'netns', 'exec', namespace];

/** Runs a command in the role; what it says, and what was denied as COMMAND OPERATION TARGET. */
function jailed(
  role: string,
  words: string[],
): { status: number | null; stdout: string; stderr: string; denied: string[] } {
  const env = {
    PATH: '/usr/local/bin:/usr/bin:/bin',
    HOME: `${area}/work`,
    LANG: 'C.UTF-8',
    GIT_CONFIG_NOSYSTEM: '1',
    // Else git looks the host's own name up.
    GIT_COMMITTER_EMAIL: 'test@test',
    GIT_COMMITTER_NAME: 'test',
  };
  const { status, stdout, stderr, denials } = run(['--policy', policy, '--role', role, '--', ...words], {
    cwd: `${area}/work`,
    env,
  });
  const sockets = denials.filter(({ hook }) => /^(socket|unix|netlink)_/.test(hook));
  return { status, stdout, stderr, denied: sockets.map(({ operation, target }) => `${operation} ${target}`) };
}

const nameServer = `
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('127.0.0.1', 53))
while True:
    question, peer = s.recvfrom(512)
    kind = question[-4:-2]
    head = question[:2] + b'\\x81\\x80\\0\\1' + (b'\\0\\1' if kind == b'\\0\\1' else b'\\0\\0') + b'\\0\\0\\0\\0'
    end = question.index(b'\\0', 12) + 5
    answer = b'\\xc0\\x0c\\0\\1\\0\\1\\0\\0\\0\\x3c\\0\\4' + bytes([10, 77, 0, 2]) if kind == b'\\0\\1' else b''
    s.sendto(head + question[12:end] + answer, peer)
`;

let resolvConf: string | undefined;
before(async () => {
  attach();
  rmSync(area, { recursive: true, force: true });
  for (const name of ['work', 'site', 'redis']) mkdirSync(`${area}/${name}`, { recursive: true });
  ip('netns', 'add', namespace);
  ip('link', 'add', 'jr-here', 'type', 'veth', 'peer', 'name', 'jr-far', 'netns', namespace);
  ip('addr', 'add', `${here}/24`, 'dev', 'jr-here');
  ip('addr', 'add', `${hereSix}/64`, 'dev', 'jr-here', 'nodad');
  ip('link', 'set', 'jr-here', 'up');
  ip('-n', namespace, 'addr', 'add', `${far}/24`, 'dev', 'jr-far');
  ip('-n', namespace, 'addr', 'add', `${farSix}/64`, 'dev', 'jr-far', 'nodad');
  ip('-n', namespace, 'link', 'set', 'jr-far', 'up');
  ip('-n', namespace, 'link', 'set', 'lo', 'up');
  writeFileSync(`${area}/site/page`, 'from afar\n');
  const git = (...words: string[]) =>
    execFileSync('git', ['-c', 'user.name=t', '-c', 'user.email=t@t', '-C', `${area}/site`, ...words], {
      stdio: 'ignore',
    });
  git('init', '-q', 'source');
  writeFileSync(`${area}/site/source/file`, 'text\n');
  git('-C', 'source', 'add', 'file');
  git('-C', 'source', 'commit', '-qm', 'one');
  git('clone', '-q', '--bare', 'source', 'repository.git');
  git('-C', 'repository.git', 'update-server-info');
  for (const port of ['8000', '8001'])
    start('ip', [
      'netns',
      'exec',
      namespace,
      'python3',
      '-m',
      'http.server',
      '-b',
      '::',
      '-d',
      `${area}/site`,
      port,
    ]);
  await listens(far, 8000);
  await listens(far, 8001);
});
after(async () => {
  await Promise.all(children.map(end));
  if (resolvConf !== undefined) writeFileSync('/etc/resolv.conf', resolvConf);
  spawnSync('ip', ['link', 'del', 'jr-here']);
  spawnSync('ip', ['netns', 'del', namespace]);
  rmSync(area, { recursive: true, force: true });
  detach();
});

describe('nginx in the role webserver', () => {
  const config = `${area}/nginx.conf`;
  let nginx: ReturnType<typeof start>;
  before(async () => {
    writeFileSync(
      config,
      `user root; daemon off; pid ${area}/work/nginx.pid; error_log stderr;
events {}
http { access_log off; client_body_temp_path ${area}/work/body; proxy_temp_path ${area}/work/proxy; fastcgi_temp_path ${area}/work/f; uwsgi_temp_path ${area}/work/u; scgi_temp_path ${area}/work/s;
  server { listen 8080; listen [::]:8080; root ${area}/site; } }
`,
    );
    nginx = start(jailrun, ['--json', '--policy', policy, '--role', 'web', '--', 'nginx', '-c', config]);
    await listens(here, 8080);
  });
  after(() => end(nginx));
  for (const [name, host] of [
    ['IPv4', here],
    ['IPv6', `[${hereSix}]`],
  ])
    test(`serves another network namespace over ${name}`, () => {
      const [program = '', ...words] = [...inFar, 'curl', '-sS', '-m', '20', `http://${host}:8080/page`];
      assert.equal(execFileSync(program, words, { encoding: 'utf8' }), 'from afar\n');
    });
  test('is denied nothing meanwhile', () => assert.doesNotMatch(nginx.errors(), /"type":"denial"/));
});

describe('a client in a role that names its server', () => {
  for (const [name, host] of [
    ['IPv4', far],
    ['IPv6', `[${farSix}]`],
  ]) {
    test(`curl fetches a page over ${name}`, () => {
      const { status, stdout, denied } = jailed('client', [
        'curl',
        '-sS',
        '-m',
        '20',
        `http://${host}:8000/page`,
      ]);
      assert.deepEqual([status, stdout, denied], [0, 'from afar\n', []]);
    });
    test(`curl is told that it may not, of another port, over ${name}`, () => {
      const { status, denied } = jailed('client', ['curl', '-sS', '-m', '20', `http://${host}:8001/page`]);
      assert.deepEqual([status, denied], [7, [`connect tcp ${host}:8001`]]);
    });
    test(`node fetches a page over ${name}`, () => {
      const script = `fetch('http://${host}:8000/page').then((r) => r.text()).then((t) => process.stdout.write(t))`;
      const { status, stdout, stderr, denied } = jailed('client', [process.execPath, '-e', script]);
      assert.deepEqual([status, stdout, denied], [0, 'from afar\n', []], stderr);
    });
  }
  test('node is told that it may not, of another port', () => {
    const script = `fetch('http://${far}:8001/page').catch((e) => process.stdout.write(e.cause.code))`;
    const { stdout, denied } = jailed('client', [process.execPath, '-e', script]);
    assert.deepEqual([stdout, denied], ['EACCES', [`connect tcp ${far}:8001`]]);
  });
  test('git clones over HTTP', () => {
    const url = `http://${far}:8000/repository.git`;
    const { status, stderr, denied } = jailed('client', ['git', 'clone', '-q', url, `${area}/work/clone`]);
    assert.deepEqual([status, denied], [0, []], stderr);
    assert.equal(readFileSync(`${area}/work/clone/file`, 'utf8'), 'text\n');
    const refused = jailed('client', [
      'git',
      'clone',
      '-q',
      url.replace('8000', '8001'),
      `${area}/work/other`,
    ]);
    assert.deepEqual([refused.status, refused.denied], [128, [`connect tcp ${far}:8001`]]);
  });
  test('names are resolved by a resolver on loopback, and by no other', async () => {
    const resolver = start('python3', ['-c', nameServer]);
    await within('the resolver', () => readFileSync('/proc/net/udp', 'utf8').includes('0100007F:0035'));
    resolvConf = existsSync('/etc/resolv.conf') ? readFileSync('/etc/resolv.conf', 'utf8') : '';
    const page = ['curl', '-sS', '-m', '20', 'http://page.test:8000/page'];
    writeFileSync('/etc/resolv.conf', 'nameserver 127.0.0.1\n');
    const { status, stdout, stderr, denied } = jailed('client', page);
    assert.deepEqual([status, stdout, denied], [0, 'from afar\n', []], stderr);
    writeFileSync('/etc/resolv.conf', `nameserver ${far}\noptions timeout:1 attempts:1\n`);
    const refused = jailed('client', page);
    assert.equal(refused.status, 6);
    assert.deepEqual([...new Set(refused.denied)], [`connect udp ${far}:53`]);
    await end(resolver);
  });
});

describe('redis in the role database', () => {
  let redis: ReturnType<typeof start>;
  const socket = `${area}/redis/redis.sock`;
  before(async () => {
    const words = [
      '--bind',
      `127.0.0.1 ::1 ${here}`,
      '--port',
      '6379',
      '--unixsocket',
      socket,
      '--dir',
      `${area}/redis`,
      '--save',
      '',
      '--daemonize',
      'no',
      '--protected-mode',
      'no',
    ];
    redis = start(jailrun, ['--json', '--policy', policy, '--role', 'cache', '--', 'redis-server', ...words]);
    await listens('127.0.0.1', 6379);
  });
  after(() => end(redis));
  for (const where of [
    ['-h', '127.0.0.1'],
    ['-h', '::1'],
    ['-h', here],
    ['-s', socket],
  ])
    test(`answers redis-cli ${where.join(' ')}`, () => {
      const { status, stdout, denied } = jailed('client', ['redis-cli', ...where, 'ping']);
      assert.deepEqual([status, stdout.trim(), denied], [0, 'PONG', []]);
    });
  test('answers another network namespace', () => {
    const [program = '', ...words] = [...inFar, 'redis-cli', '-h', here, 'ping'];
    assert.equal(execFileSync(program, words, { encoding: 'utf8' }).trim(), 'PONG');
  });
  test('is denied nothing meanwhile', () => assert.doesNotMatch(redis.errors(), /"hook":"(socket|unix)_/));
  test('may not be told to follow another server', async () => {
    execFileSync('redis-cli', ['-h', '127.0.0.1', 'replicaof', far, '8000']);
    await within('redis to try', () => /Permission denied|Unable to connect/.test(redis.errors()));
    execFileSync('redis-cli', ['-h', '127.0.0.1', 'replicaof', 'no', 'one']);
    await end(redis);
    assert.match(
      redis.errors(),
      new RegExp(`"operation":"connect","target":"tcp ${far.replaceAll('.', '\\.')}:8000"`),
    );
  });
});

describe('PostgreSQL in a role for it', () => {
  const cluster = `${area}/postgres`;
  const as = ['setpriv', '--reuid', 'postgres', '--regid', 'postgres', '--init-groups'];
  let bin: string;
  let server: ReturnType<typeof start>;
  before(async () => {
    bin = `/usr/lib/postgresql/${readdirSync('/usr/lib/postgresql').sort().at(-1)}/bin`;
    mkdirSync(cluster);
    execFileSync('chown', ['postgres:', cluster]);
    const [program = '', ...words] = [
      ...as,
      `${bin}/initdb`,
      '-D',
      cluster,
      '-A',
      'trust',
      '-U',
      'postgres',
      '--no-sync',
    ];
    execFileSync(program, words, { stdio: 'ignore', cwd: '/' });
    writeFileSync(`${cluster}/pg_hba.conf`, 'local all all trust\nhost all all all trust\n');
    const settings = [
      `listen_addresses=127.0.0.1,::1,${here},${hereSix}`,
      `unix_socket_directories=${cluster}`,
      'fsync=off',
    ];
    const command = [...as, `${bin}/postgres`, '-D', cluster, ...settings.flatMap((one) => ['-c', one])];
    server = start(jailrun, ['--json', '--policy', policy, '--role', 'postgres', '--', ...command]);
    await listens('127.0.0.1', 5432);
  });
  after(() => end(server));
  for (const host of ['127.0.0.1', '::1', here])
    test(`answers psql on ${host}`, () => {
      const { status, stdout, stderr, denied } = jailed('postgres-client', [
        `${bin}/psql`,
        '-XAtU',
        'postgres',
        '-h',
        host,
        '-c',
        'select 6 * 7',
      ]);
      assert.deepEqual([status, stdout.trim(), denied], [0, '42', []], `${stderr}${server.errors()}`);
    });
  test('answers another network namespace over IPv6', () => {
    const [program = '', ...words] = [
      ...inFar,
      `${bin}/psql`,
      '-XAtU',
      'postgres',
      '-h',
      hereSix,
      '-c',
      'select 6 * 7',
    ];
    assert.equal(execFileSync(program, words, { encoding: 'utf8' }).trim(), '42');
  });
  test('psql may not reach it where its role names another port', () => {
    const { status, denied } = jailed('client', [
      `${bin}/psql`,
      '-XAtU',
      'postgres',
      '-h',
      '127.0.0.1',
      '-c',
      'select 1',
    ]);
    assert.deepEqual([status, denied], [2, ['connect tcp 127.0.0.1:5432']]);
  });
});
