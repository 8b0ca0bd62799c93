// Redis and PostgreSQL, and their clients, over loopback and a link to another network namespace.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { jailrun } from './jail.js';
import {
  area,
  end,
  far,
  here,
  hereSix,
  inFar,
  jailed,
  listens,
  makeLink,
  policy,
  removeLink,
  start,
  within,
} from './link.js';

before(makeLink);
after(removeLink);

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
      const { status, stdout, denied } = jailed('cache-client', ['redis-cli', ...where, 'ping']);
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
    const { status, denied } = jailed('cache-client', [
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
