// Another build of the programs takes the place of those that are attached, while pods live.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, cpSync, existsSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { attach, detach, jailrun, root, until, writePolicy } from './jail.js';

const area = '/run/jailrun-test/upgrade';
const newer = `${area}/jailrun`;
const secret = '/run/jailrun-test/upgrade-secret';
const marker = `${area}-marker`;
const stop = `${area}-stop`;
const policy = writePolicy(
  'upgrade',
  `version: 1
roles:
  held:
    id: 830
    files: {read: [/], deny: [${secret}]}
    exec: any
`,
);
const words = ['--policy', policy, '--role', 'held'];

const say = (program: string, ...args: string[]): { status: number | null; stdout: string; stderr: string } =>
  spawnSync(program, args, { encoding: 'utf8' });
/** The build that holds, and how many links the kernel has: ours are all of them. */
function attached(): { build: string; links: number } {
  const { attached } = JSON.parse(say(jailrun, 'status', '--json').stdout);
  const links = JSON.parse(say('/usr/sbin/bpftool', '-j', 'link', 'show').stdout).length;
  return { build: attached.build, links };
}

let swarm: ChildProcess;
let said = '';

before(async () => {
  writeFileSync(secret, '');
  cpSync(join(root, 'dist'), area, { recursive: true });
  // Of another digest, and the same to the kernel.
  appendFileSync(`${area}/jailrun.bpf.o`, '\n');
  attach();
  const args = [...words, '--', join(root, 'build/swarm'), 'threads', secret, marker, stop];
  writeFileSync(marker, '');
  swarm = spawn(jailrun, args, { stdio: ['ignore', 'pipe', 'ignore'] });
  swarm.stdout?.setEncoding('utf8').on('data', (text) => {
    said += text;
  });
  await until(() => said.includes('started'));
});
after(async () => {
  if (swarm.exitCode === null) {
    swarm.kill('SIGKILL');
    await once(swarm, 'exit');
  }
  for (const path of [secret, marker, stop]) rmSync(path, { force: true });
  rmSync(area, { recursive: true });
  detach();
});

describe('another build that is attached', () => {
  test('takes over the pods, which are held at every instant, and leaves nothing of the old one', async () => {
    const old = attached();
    const { status, stdout, stderr } = say(newer, 'attach');
    assert.equal(status, 0, stderr);
    assert.match(stdout, /^Attached anew, with all pods: \d+ programs, /);
    const now = attached();
    assert.notEqual(now.build, old.build);
    assert.equal(now.links, old.links);
    assert.deepEqual(
      readdirSync('/sys/fs/bpf').filter((name) => name.startsWith('jailrun')),
      ['jailrun'],
    );
    assert.match(say(newer, 'ps').stdout, /^swarm-/);
    writeFileSync(stop, '');
    await until(() => swarm.exitCode !== null);
    assert.equal(said, 'started\nheld\n');
  });
  test('holds what starts then, by either launcher, and stays until it is attached anew', () => {
    for (const program of [newer, jailrun])
      assert.equal(say(program, ...words, '--', '/bin/cat', secret).status, 1, program);
    assert.match(say(newer, 'attach').stdout, /^Already attached/);
    assert.match(say(jailrun, 'attach').stdout, /^Attached anew/);
    assert.ok(existsSync('/sys/fs/bpf/jailrun/maps/meta'));
  });
});
