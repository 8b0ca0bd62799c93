// The main job: Debian's nginx in the role webserver serves its page and can do nothing else.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { after, before, describe, test } from 'node:test';
import type { DenialReport } from '../../src/launcher/report.js';
import { attach, detach, jailrun, until } from './jail.js';

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

async function untilItAnswers(): Promise<void> {
  let answered = false;
  await until(() => {
    void answers().then((yes) => {
      answered ||= yes;
    });
    return answered;
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
  detach();
});

describe('nginx unjailed', () => {
  let nginx: Nginx;
  before(async () => {
    nginx = start([]);
    await untilItAnswers();
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
    await untilItAnswers();
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
