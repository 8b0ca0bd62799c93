// The main job: Debian's nginx in the role webserver serves its page and can do nothing else.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, get, type Server } from 'node:http';
import { after, before, describe, test } from 'node:test';
import type { DenialReport } from '../../src/launcher/report.js';
import { attach, jailrun, leave, until } from './jail.js';

const config = '/etc/nginx/jailrun-test.conf';
/** Workers keep root's identity, so that only the jail stands before /etc/shadow. */
const text = (extra = '') => `user root;
daemon off;
error_log stderr error;
events {}
http {
  access_log off;
  server {
    listen 8080;
    listen [::]:8080;
    ${extra}
    root /var/www/html;
    index index.nginx-debian.html;
    location = /shadow { alias /etc/shadow; }
    location = /out { proxy_pass http://127.0.0.1:7777/; }
  }
}
`;

interface Nginx {
  child: ChildProcess;
  errors: string;
}

function start(prefix: string[], extra?: string): Nginx {
  writeFileSync(config, text(extra));
  const [program = '', ...args] = [...prefix, 'nginx', '-c', config];
  const child = spawn(program, args, { stdio: ['ignore', 'inherit', 'pipe'] });
  const nginx = { child, errors: '' };
  child.stderr.on('data', (data) => {
    nginx.errors += data;
  });
  return nginx;
}

async function end({ child }: Nginx): Promise<number | null> {
  if (child.exitCode === null) {
    child.kill('SIGTERM');
    await new Promise((resolve) => child.once('close', resolve));
  }
  return child.exitCode;
}

const status = async (path: string, host = '127.0.0.1'): Promise<number> =>
  (await fetch(`http://${host}:8080${path}`)).status;

const answers = (): Promise<boolean> =>
  status('/').then(
    () => true,
    () => false,
  );

/** @throws Error with what it wrote to standard error, where it does not answer in time */
async function untilItAnswers(errors: () => string): Promise<void> {
  let answered = false;
  const waiting = until(() => {
    void answers().then((yes) => {
      answered ||= yes;
    });
    return answered;
  });
  await waiting.catch((cause) => {
    throw new Error(`nginx does not answer; it wrote: ${errors()}`, { cause });
  });
}

let upstream: Server;
before(() => {
  attach();
  upstream = createServer((_, response) => response.end('from outside')).listen(7777, '127.0.0.1');
});
after(() => {
  upstream.close();
  rmSync(config, { force: true });
  leave();
});

describe('nginx unjailed', () => {
  let nginx: Nginx;
  before(async () => {
    nginx = start([]);
    await untilItAnswers(() => nginx.errors);
  });
  after(() => end(nginx));
  test('serves its page', async () => assert.equal(await status('/'), 200));
  test('serves /etc/shadow', async () => assert.equal(await status('/shadow'), 200));
  test('connects to another server', async () => assert.equal(await status('/out'), 200));
});

describe('nginx in the role webserver', () => {
  let nginx: Nginx;
  let denials: DenialReport[];
  before(async () => {
    nginx = start([jailrun, '--json', '--role', 'webserver', '--']);
    await untilItAnswers(() => nginx.errors);
  });
  after(() => end(nginx));

  test('serves its page over IPv4', async () => assert.equal(await status('/'), 200));
  test('serves its page over IPv6', async () => assert.equal(await status('/', '[::1]'), 200));
  test('cannot read /etc/shadow', async () => assert.equal(await status('/shadow'), 403));
  test('cannot connect out', async () => assert.equal(await status('/out'), 502));
  test('ends by SIGTERM with status 0, and with its pod gone', async () => {
    assert.equal(await end(nginx), 0, nginx.errors);
    assert.deepEqual(readdirSync('/run/jailrun/pods'), []);
  });
  test('has each denial reported once, with the rule that would allow it, and no other', () => {
    denials = nginx.errors
      .split('\n')
      .filter((line) => line.startsWith('{"version":1,"type":"denial"'))
      .map((line) => JSON.parse(line));
    assert.deepEqual(
      denials.map(({ operation, target, error, role, allow }) => ({ operation, target, error, role, allow })),
      [
        {
          operation: 'read',
          target: '/etc/shadow',
          error: 'EACCES',
          role: 'webserver',
          allow: { section: 'files.read', text: '/etc/shadow' },
        },
        {
          operation: 'connect',
          target: 'tcp 127.0.0.1:7777',
          error: 'EACCES',
          role: 'webserver',
          allow: { section: 'network.connect', text: 'tcp:127.0.0.1:7777' },
        },
      ],
    );
  });
  test('cannot bind port 9090', async () => {
    const refused = start([jailrun, '--json', '--role', 'webserver', '--'], 'listen 9090;');
    await new Promise((resolve) => refused.child.once('close', resolve));
    assert.equal(refused.child.exitCode, 1);
    assert.match(refused.errors, /bind\(\) to 0\.0\.0\.0:9090 failed \(13: Permission denied\)/);
    assert.match(refused.errors, /"operation":"bind","target":"tcp 0\.0\.0\.0:9090"/);
  });
});

describe('nginx as Debian configures it, in the role webserver', () => {
  const site = '/var/www/jailrun-test';
  const block = '/etc/nginx/conf.d/jailrun-test.conf';
  const logOf = (name: string) => readFileSync(`/var/log/nginx/${name}.log`, 'utf8');
  /** On a connection of its own: a worker that a reload ends closes those that wait for further requests. */
  const ask = (path: string, port = 8080): Promise<{ status: number | undefined; body: string }> =>
    new Promise((resolve, reject) => {
      get({ host: '127.0.0.1', port, path, agent: false }, (response) => {
        let body = '';
        response.setEncoding('utf8').on('data', (text) => {
          body += text;
        });
        response.once('end', () => resolve({ status: response.statusCode, body }));
      }).once('error', reject);
    });
  const statusOf = async (path: string) => (await ask(path)).status;
  const serve = (location: string) =>
    writeFileSync(block, `server { listen 8080; root ${site}; location ${location} { return 418; } }\n`);
  let child: ChildProcess;
  let errors = '';
  before(async () => {
    mkdirSync(site, { recursive: true });
    for (const name of ['access', 'error']) rmSync(`/var/log/nginx/${name}.log`, { force: true });
    writeFileSync(`${site}/large`, 'x'.repeat(4 << 20));
    writeFileSync(`${site}/index.html`, 'a page');
    serve('/one');
    const words = ['--json', '--role', 'webserver', '--', 'nginx', '-g', 'daemon off;'];
    child = spawn(jailrun, words, { stdio: ['ignore', 'ignore', 'pipe'] });
    child.stderr?.on('data', (text) => {
      errors += text;
    });
    await untilItAnswers(() => errors);
  });
  after(async () => {
    child.kill('SIGKILL');
    rmSync(site, { recursive: true, force: true });
    rmSync(block, { force: true });
  });

  test('serves a page, and its sites on port 80', async () => {
    assert.equal((await ask('/')).body, 'a page');
    assert.equal((await ask('/', 80)).status, 200);
  });
  test('serves a file that is sent in many pieces', async () => {
    assert.equal((await ask('/large')).body.length, 4 << 20);
  });
  test('logs what it served and what it did not find', async () => {
    assert.equal(await statusOf('/missing'), 404);
    await until(() => logOf('access').includes('"GET /missing HTTP/1.1" 404'));
    assert.match(logOf('error'), /open\(\) "\/var\/www\/jailrun-test\/missing" failed \(2:/);
  });
  test('reloads its configuration, and reopens its logs after they were moved away', async () => {
    assert.deepEqual([await statusOf('/one'), await statusOf('/two')], [418, 404]);
    serve('/two');
    process.kill(Number(readFileSync('/run/nginx.pid', 'utf8')), 'SIGHUP');
    let seen: (number | undefined)[] = [];
    await until(() => {
      void Promise.all([statusOf('/one'), statusOf('/two')]).then((now) => {
        seen = now;
      });
      return seen.join() === '404,418';
    });
    rmSync('/var/log/nginx/access.log');
    process.kill(Number(readFileSync('/run/nginx.pid', 'utf8')), 'SIGUSR1');
    await until(() => readdirSync('/var/log/nginx').includes('access.log'));
    await statusOf('/after');
    await until(() => logOf('access').includes('GET /after'));
  });
  test('ends by SIGQUIT with status 0, with nothing denied', async () => {
    child.kill('SIGQUIT');
    await new Promise((resolve) => child.once('close', resolve));
    assert.doesNotMatch(errors, /"type":"(denial|error)"/);
    assert.equal(child.exitCode, 0, errors);
  });
});
