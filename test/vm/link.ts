// A link to another network namespace, with real programs at both ends, some of them jailed.
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { mkdirSync, rmSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { attach, leave, run, writePolicy } from './jail.js';

export const area = '/mnt/ext4/network-programs';
const namespace = 'jailrun-far';
/** This end of the link, and the other one. */
export const [here, far] = ['10.77.0.1', '10.77.0.2'];
export const [hereSix, farSix] = ['fd00:77::1', 'fd00:77::2'];

/** What all clients have but whom they may reach. */
const client = `files: {read: ["@runtime", /usr, /bin, /etc, "/proc/[0-9]*"], write: [${area}/work, "@tmp", "@devices"], deny: ["@secrets"]}, exec: any`;
export const policy = writePolicy(
  'network-programs',
  `version: 1
roles:
  web: {id: 650, extends: [webserver], files: {read: [${area}], write: [${area}/work]}}
  cache: {id: 651, extends: [database], files: {write: [${area}/redis]}}
  postgres: {id: 652, extends: [database], files: {read: [/usr], write: [${area}/postgres]}, exec: [/usr/lib/postgresql]}
  client:
    {id: 653, ${client}, network: {connect: ["tcp:${far}:8000", "tcp:[${farSix}]:8000", "udp:127.0.0.1:53"]}}
  cache-client:
    {id: 654, ${client}, network: {connect: ["tcp:@loopback:6379", "tcp:${here}:6379", "unix:${area}/redis/*.sock"]}}
  postgres-client: {id: 655, ${client}, network: {connect: ["tcp:@loopback:5432", "tcp:${here}:5432"]}}
`,
);
const children: ChildProcess[] = [];

function ip(...words: string[]): void {
  execFileSync('ip', words);
}

/** Starts a program that removeLink() ends; `errors` is all that it has written. */
export function start(program: string, words: string[]): ChildProcess & { errors: () => string } {
  const child = spawn(program, words, { stdio: ['ignore', 'pipe', 'pipe'] });
  let errors = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (data) => {
      errors += data;
    });
  children.push(child);
  return Object.assign(child, { errors: () => errors });
}

export async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const closed = new Promise((resolve) => child.once('close', resolve));
  child.kill('SIGTERM');
  await closed;
}

/** Waits until `condition` holds, for a minute: a guest starts programs slowly on a busy machine. */
export async function within(what: string, condition: () => boolean): Promise<void> {
  for (const end = Date.now() + 60_000; !condition(); await sleep(200))
    if (Date.now() > end) throw new Error(`waited a minute for ${what}`);
}

export function listens(host: string, port: number): Promise<void> {
  const script = `import socket; socket.create_connection(('${host}', ${port}), timeout=5).close()`;
  return within(`${host} ${port}`, () => spawnSync('python3', ['-c', script]).status === 0);
}

/** What runs a command at the other end. */
export const inFar = ['ip', 'netns', 'exec', namespace];

/** Runs a command in the role; what it says, and what was denied as COMMAND OPERATION TARGET. */
export function jailed(
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

/** Attaches the programs, makes the link and the directories. */
export function makeLink(): void {
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
}

/** Ends what was started, and leaves nothing. */
export async function removeLink(): Promise<void> {
  await Promise.all(children.map(end));
  spawnSync('ip', ['link', 'del', 'jr-here']);
  spawnSync('ip', ['netns', 'del', namespace]);
  rmSync(area, { recursive: true, force: true });
  leave();
}
