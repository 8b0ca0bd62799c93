// What runs in pods is found and ended by what the kernel knows of it, wherever it has moved.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, rmdirSync, writeFileSync } from 'node:fs';
import { after, afterEach, before, describe, test } from 'node:test';
import { attach, jailrun, leave, pods, say, until } from './jail.js';

const elsewhere = '/sys/fs/cgroup/ps-test';

const commandsOf = (name: string): string[] =>
  pods()
    .filter((pod) => pod.name.startsWith(name))
    .flatMap(({ processes }) => processes.map(({ command }) => command));

const started: ChildProcess[] = [];
/** Runs a script in a pod of this name and waits until it has said that all of it runs. */
async function start(name: string, script: string): Promise<ChildProcess> {
  const words = ['--role', 'permissive', '--name', name, '--', 'sh', '-c', `${script}`];
  const child = spawn(jailrun, words, { stdio: ['ignore', 'pipe', 'ignore'] });
  started.push(child);
  await once(child.stdout ?? child, 'data');
  return child;
}

before(() => {
  attach();
  mkdirSync(elsewhere);
});
afterEach(async () => {
  for (const { name } of pods()) await say('kill', name);
  for (const child of started.splice(0)) {
    if (child.exitCode === null && child.signalCode === null) await once(child, 'close');
  }
});
after(() => {
  rmdirSync(elsewhere);
  leave();
});

describe('ps', () => {
  test('shows each pod with its processes, below those that started them', async () => {
    await start('tree', 'sleep 1001 & sleep 1002 & echo; wait');
    const { stdout } = await say('ps');
    assert.match(stdout, /^tree-[0-9a-f]{8} {2}role permissive {2}0 denials\n {1,7}\d+ {2}sh -c .*\n/);
    assert.match(stdout, /^ +\d+ {4}sleep 1001\n +\d+ {4}sleep 1002\n$/m);
  });
  test('finds a process that was moved to another cgroup, and none that is not jailed', async () => {
    await start('moved', 'sleep 1003 & echo; wait');
    const [pod] = pods();
    for (const { pid } of pod?.processes ?? []) writeFileSync(`${elsewhere}/cgroup.procs`, String(pid));
    assert.deepEqual(commandsOf('moved').slice(1), ['sleep 1003']);
    assert.equal((await say('kill', 'moved')).status, 0);
    await until(() => pods().length === 0);
  });
  test('says so where nothing runs', async () => {
    assert.equal((await say('ps')).stdout, 'No pod lives.\n');
  });
});

describe('kill', () => {
  test('ends a pod whose processes start others without end, and no other pod', async () => {
    await start('storm', 'f() { while :; do (sleep 0.1) & sleep 0.02; done; }; f & f & echo; wait');
    await start('calm', 'sleep 1004 & echo; wait');
    const { status, stdout } = await say('kill', 'storm');
    assert.deepEqual([status, stdout.replace(/-[0-9a-f]+/, '')], [0, 'Killed: storm\n']);
    await until(() => pods().length === 1);
    assert.deepEqual(commandsOf('calm').slice(1), ['sleep 1004']);
  });
  test('of a pod that is not there says so', async () => {
    const { status, stderr } = await say('kill', 'nobody');
    assert.deepEqual([status, stderr], [125, 'jailrun: No pod nobody lives. See: jailrun ps\n']);
  });
  test('wants more of a name that several pods begin with', async () => {
    await start('twin', 'echo; sleep 1005');
    await start('twin', 'echo; sleep 1005');
    const { status, stderr } = await say('kill', 'twin');
    assert.equal(status, 125);
    assert.match(stderr, /begins the names of several pods: twin-\w+, twin-\w+\. Say more/);
    assert.equal(pods().length, 2);
  });
});
