// The container hook that needs no node is killed, or any of its calls fails: no container begins unjailed, and the next
// jailrun cleans up after it. The container is a process like the one that a runtime has when it calls the hook.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { after, afterEach, before, describe, test } from 'node:test';
import { attach, clearMap, jailrun, leave, mapSize, until } from './jail.js';
import { podEntries, starts, states, sweep as sweepPods } from './start.js';
import { type Command, describeStep, listSteps, runTo, type Step, takeInventory } from './steps.js';

const area = '/run/fast-hook';
const rootfs = `${area}/root`;

interface Container {
  /** What its runtime says of it. */
  state(status: string): string;
  end(): Promise<void>;
}

let count = 0;
/** A process in a cgroup and a mount namespace of its own, as a runtime has it at createRuntime. */
async function begin(role: string): Promise<Container> {
  const id = `container-${++count}`;
  const cgroup = `/sys/fs/cgroup/${id}`;
  const bundle = `${area}/${id}`;
  mkdirSync(cgroup);
  mkdirSync(bundle);
  writeFileSync(`${bundle}/config.json`, JSON.stringify({ root: { path: rootfs } }));
  const mounts = `mount --bind ${rootfs} ${rootfs} && mount -t tmpfs none ${rootfs}/tmp && echo ready && exec sleep 1000`;
  const script = `echo $$ > ${cgroup}/cgroup.procs && exec unshare --mount sh -c '${mounts}'`;
  const child = spawn('/bin/sh', ['-c', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(child.stdout, 'data');
  return {
    state: (status) =>
      JSON.stringify({
        ...{ ociVersion: '1.0.2', id, status, bundle, pid: status === 'stopped' ? 0 : child.pid },
        annotations: { 'io.jailrun.role': role, 'org.example.text': 'a "word"\n' },
      }),
    async end() {
      child.kill('SIGKILL');
      await once(child, 'exit');
      await until(() => {
        try {
          rmdirSync(cgroup);
          return true;
        } catch {
          return false;
        }
      });
      rmSync(bundle, { recursive: true });
    },
  };
}

const commandOf = (container: Container, status: string): Command => ({
  words: ['oci-hook'],
  input: container.state(status),
});
function hook(container: Container, status: string): void {
  const { words, input = '' } = commandOf(container, status);
  const { status: code, stderr } = spawnSync(jailrun, words, { input, encoding: 'utf8' });
  assert.equal(code, 0, stderr);
}
const isJailed = (): boolean => podEntries().length === 1 && mapSize('containers') === 1;

/** With a container, from its begin to its end. */
async function withContainer(action: (container: Container) => void, role = 'restricted'): Promise<void> {
  const container = await begin(role);
  try {
    action(container);
  } finally {
    await container.end();
  }
}

/** Without wildcards, and with them, which the front puts into the kernel by a process of its own. */
const roles = ['restricted', 'isolated'];

/** Without roles of earlier containers, of which some would be removed only once there are many. */
function sweep(): void {
  sweepPods();
  for (const map of ['role_rules', 'role_globs', 'roles']) clearMap(map);
}

let clean: ReturnType<typeof takeInventory>;
before(async () => {
  mkdirSync(`${rootfs}/tmp`, { recursive: true });
  attach();
  for (const role of roles) {
    let steps: Step[] = [];
    // What is younger than two seconds is not remembered.
    for (let i = 0; i < 20 && !isWithoutNode(steps); i++) {
      spawnSync('sleep', ['1']);
      await withContainer((container) => {
        steps = listSteps(commandOf(container, 'creating'));
        hook(container, 'stopped');
      }, role);
    }
    assert.ok(isWithoutNode(steps), steps.map(describeStep).join('\n'));
  }
  sweep();
  clean = takeInventory();
});
afterEach(sweep);
after(() => {
  for (const directory of [area, starts]) rmSync(directory, { recursive: true, force: true });
  leave();
});

/** A process that waits for a grace period the front has, too, and that one executes nothing. */
function isWithoutNode(steps: readonly Step[]): boolean {
  return steps.length > 0 && !steps.some(({ text }) => text.startsWith('exec'));
}

/** The steps of a hook that needs no node. */
async function stepsOf(status: string, role?: string): Promise<Step[]> {
  sweep();
  let steps: Step[] = [];
  await withContainer((container) => {
    if (status === 'stopped') hook(container, 'creating');
    steps = listSteps(commandOf(container, status));
    if (status !== 'stopped') hook(container, 'stopped');
  }, role);
  assert.ok(steps.length > 3 && isWithoutNode(steps), steps.map(describeStep).join('\n'));
  return steps;
}

for (const role of roles)
  describe(`the hook that begins a container in the role ${role}`, () => {
    test('and is killed at any of its steps leaves nothing once the container is gone', async () => {
      for (const step of await stepsOf('creating', role)) {
        await withContainer((container) => {
          runTo(step, step.process === 1 ? 'kill' : 'front', commandOf(container, 'creating'));
        }, role);
        sweep();
        assert.deepEqual(takeInventory(), clean, describeStep(step));
      }
    });
    test('and of which any call fails is the launcher’s, or stops the container, and leaves nothing', async () => {
      for (const step of (await stepsOf('creating', role)).filter(({ text }) => text !== 'exit')) {
        await withContainer((container) => {
          const { status, stderr } = runTo(step, constants.errno.EIO, commandOf(container, 'creating'));
          if (status === 0) assert.equal(isJailed(), true, `${describeStep(step)}: ${stderr}`);
          else assert.match(stderr, /^jailrun: /, describeStep(step));
          hook(container, 'stopped');
        }, role);
        sweep();
        assert.deepEqual(takeInventory(), clean, describeStep(step));
      }
    });
  });

describe('the hook that ends a container', () => {
  test('and is killed at any of its steps leaves nothing to the next jailrun', async () => {
    for (const step of await stepsOf('stopped')) {
      await withContainer((container) => {
        hook(container, 'creating');
        assert.equal(isJailed(), true);
        runTo(step, 'kill', commandOf(container, 'stopped'));
      });
      sweep();
      assert.deepEqual(takeInventory(), clean, describeStep(step));
    }
  });
  test('and of which any call fails is the launcher’s, and leaves nothing', async () => {
    for (const step of (await stepsOf('stopped')).filter(({ text }) => text !== 'exit')) {
      await withContainer((container) => {
        hook(container, 'creating');
        runTo(step, constants.errno.EIO, commandOf(container, 'stopped'));
      });
      sweep();
      assert.deepEqual([takeInventory(), readdirSync(states)], [clean, []], describeStep(step));
    }
  });
});
