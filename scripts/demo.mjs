// `npm run demo`: Debian's nginx unjailed and in the role webserver, side by side, doing what it
// should do and what it should not. Every act is nginx's own. Runs natively where this host can
// attach the programs, otherwise in a throw-away VM on this machine's own file system.
import { spawn, spawnSync } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const jailrun = `${root}dist/jailrun`;
const kernel = '6.12';

const plain = !(process.stdout.isTTY || process.env.JAILRUN_DEMO_COLOR) || process.env.NO_COLOR;
const bold = (text) => (plain ? text : `\x1b[1m${text}\x1b[0m`);
const say = (text = '') => console.log(text);

/** Attaches natively, or says why not. */
function attachHere() {
  const { status, stderr } = spawnSync(jailrun, ['attach'], { encoding: 'utf8' });
  return status === 0 ? undefined : stderr.trim();
}

async function main() {
  const { setup } = await import('./setup.mjs');
  await setup({ vm: false });
  const refusal = attachHere();
  if (!refusal) {
    say('Running natively: this host attaches the programs.');
    await showAll();
    return spawnSync(jailrun, ['detach']);
  }
  say('This host does not attach the programs, so the demo runs in a throw-away VM:');
  say(refusal.replace(/^/gm, '  '));
  await setup({ vm: true });
  const { boot } = await import('./vm.mjs');
  say(`Booting Linux ${kernel} in QEMU on this machine's own file system (nothing is written to it)…`);
  const { status, reported } = await boot({
    kernel,
    lsm: 'fmod_ret',
    command: [process.execPath, fileURLToPath(import.meta.url), '--show'],
    cwd: root,
    env: { ...(plain && { NO_COLOR: '1' }), ...(process.stdout.isTTY && { JAILRUN_DEMO_COLOR: '1' }) },
    onOutput: (chunk) => process.stdout.write(chunk),
    timeoutSeconds: 180,
  });
  if (!reported) throw new Error('The VM ended without a result.');
  process.exitCode = status;
}

const configPath = '/etc/nginx/jailrun-demo.conf';
const upstreamPort = 7777;
const config = (extra) => `user root; # so that only the jail stands before /etc/shadow
daemon off;
error_log stderr error;
events {}
http {
  access_log off;
  server {
    listen 8080;${extra}
    root /var/www/html;
    index index.nginx-debian.html;
    location = /shadow { alias /etc/shadow; default_type text/plain; }
    location = /out { proxy_pass http://127.0.0.1:${upstreamPort}/; }
  }
}
`;

/** nginx, directly or in the jail. Resolves when it answers or has ended. */
async function startNginx(jailed, extra = '') {
  writeFileSync(configPath, config(extra));
  const command = ['nginx', '-c', configPath];
  const words = jailed ? [jailrun, '--role', 'webserver', '--', ...command] : command;
  const child = spawn(words[0], words.slice(1), { stdio: ['ignore', 'inherit', 'pipe'] });
  const nginx = { child, errors: '', ended: new Promise((resolve) => child.on('close', resolve)) };
  child.stderr.on('data', (data) => {
    nginx.errors += data;
  });
  for (let i = 0; i < 200 && child.exitCode === null; i++) {
    if ((await curl('/')).status === 0) break;
    await sleep(50);
  }
  return nginx;
}

/** Ends nginx as a service manager would, and returns what it and jailrun said. */
async function stopNginx(nginx) {
  if (nginx.child.exitCode === null) nginx.child.kill('SIGTERM');
  await nginx.ended;
  return nginx.errors;
}

/** Runs a program to its end; not spawnSync, because this process is also the server that nginx connects to. */
function execute(...words) {
  const child = spawn(words[0], words.slice(1), { stdio: ['ignore', 'pipe', 'pipe'] });
  const result = { stdout: '', stderr: '' };
  for (const stream of ['stdout', 'stderr']) {
    child[stream].on('data', (data) => {
      result[stream] += data;
    });
  }
  return new Promise((done) => child.on('close', (status) => done({ ...result, status })));
}

async function curl(path) {
  const { status, stdout } = await execute(
    ...['curl', '-s', '-m', '5', '-w', '\n%{http_code}', `http://127.0.0.1:8080${path}`],
  );
  const lines = stdout.split('\n');
  const code = lines.pop();
  return { status, code, body: lines.join('\n') };
}

/** The five acts, unjailed or in the role, with what jailrun reported of them. */
async function act(jailed) {
  const nginx = await startNginx(jailed);
  const page = await curl('/');
  const shadow = await curl('/shadow');
  const out = await curl('/out');
  const errors = [await stopNginx(nginx)];

  const program = await execute(
    ...(jailed ? [jailrun, '--role', 'webserver', '--'] : []),
    'sh',
    '-c',
    'id -un',
  );
  errors.push(program.stderr);

  const second = await startNginx(jailed, '\n    listen 9090;');
  const refused = /bind\(\) to .*/.exec(second.errors);
  errors.push(await stopNginx(second));
  return {
    results: [
      `${page.code} ${/<title>.*<\/title>/.exec(page.body)?.[0] ?? ''}`,
      shadow.code === '200' ? `200 ${shadow.body.split('\n')[0]} …` : `${shadow.code} Forbidden`,
      out.code === '200' ? `200 ${out.body.trim()}` : `${out.code} Bad Gateway`,
      program.stdout.trim() || program.stderr.split('\n')[0],
      refused ? `nginx: ${refused[0]}` : 'nginx listens on 9090',
    ],
    report: errors.map(reportOf).join(''),
  };
}

const reportOf = (errors) =>
  errors
    .split('\n')
    .filter((line) => line.startsWith('jailrun: '))
    .map((line) => `${line}\n`)
    .join('');

const acts = [
  'serve its page       curl http://127.0.0.1:8080/',
  'read a secret        curl http://127.0.0.1:8080/shadow     (alias /etc/shadow, workers as root)',
  `connect out          curl http://127.0.0.1:8080/out        (proxy_pass http://127.0.0.1:${upstreamPort}/)`,
  'run a program        sh -c "id -un"                        (in the place of nginx, as after an exploit)',
  'bind another port    nginx with «listen 9090;»',
];

async function showAll() {
  const upstream = createServer((_, response) => response.end('hello from outside the role\n')).listen(
    upstreamPort,
    '127.0.0.1',
  );
  try {
    say(`\n${bold('$ nginx -c /etc/nginx/jailrun-demo.conf')}`);
    const free = await act(false);
    say(`${bold('$ jailrun --role webserver -- nginx -c /etc/nginx/jailrun-demo.conf')}\n`);
    const jailed = await act(true);
    acts.forEach((title, i) => {
      say(bold(title));
      say(`  unjailed   ${free.results[i]}`);
      say(`  webserver  ${jailed.results[i]}`);
    });
    say(`\n${bold("jailrun's own report, on standard error when nginx ended:")}`);
    say(jailed.report.trimEnd());
    process.exitCode = isAsPromised(free.results, jailed.results, jailed.report) ? 0 : 1;
    say(process.exitCode === 0 ? '\nAs promised.' : '\nNOT as promised: the demo failed.');
  } finally {
    rmSync(configPath, { force: true });
    upstream.close();
  }
}

function isAsPromised(free, jailed, report) {
  const wanted = [
    [/^200 .*nginx/, /^200 .*nginx/],
    [/^200 root:/, /^403/],
    [/^200 hello/, /^502/],
    [/^root$/, /id: Permission denied/],
    [/^nginx listens/, /bind\(\) to 0\.0\.0\.0:9090 failed \(13/],
  ];
  const reported = [
    /read \/etc\/shadow/,
    /connect tcp 127\.0\.0\.1:7777/,
    /exec \/usr\/bin\/id/,
    /bind tcp 0\.0\.0\.0:9090/,
  ];
  return (
    wanted.every(([unjailed, held], i) => unjailed.test(free[i]) && held.test(jailed[i])) &&
    reported.every((pattern) => pattern.test(report))
  );
}

await (process.argv.includes('--show') ? showInGuest() : main());

function showInGuest() {
  const refusal = attachHere();
  if (refusal) {
    say(refusal);
    process.exitCode = 1;
    return undefined;
  }
  return showAll();
}
