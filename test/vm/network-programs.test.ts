// Real servers and clients over a link to another network namespace: in a role that fits they work and nothing is
// denied, and where it does not fit they fail as programs do when a network is closed.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { jailrun } from './jail.js';
import {
  area,
  end,
  far,
  farSix,
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

const startFar = (words: string[]) => start(inFar[0] as string, [...inFar.slice(1), ...words]);

let resolvConf: string | undefined;
before(async () => {
  makeLink();
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
    startFar(['python3', '-m', 'http.server', '-b', '::', '-d', `${area}/site`, port]);
  await listens(far, 8000);
  await listens(far, 8001);
});
after(async () => {
  if (resolvConf !== undefined) writeFileSync('/etc/resolv.conf', resolvConf);
  await removeLink();
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
