// Whoever of a reload, a kill, an upgrade or an enrollment is killed, and whatever fails it, at whichever of its steps:
// what lives is held, by the old or the new, and the next jailrun ends what was begun.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, cpSync, readdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { openPins } from '../../src/launcher/kernel.js';
import { compileStack, findStack } from '../../src/launcher/role.js';
import {
  cleanUp,
  denied,
  granted,
  held,
  inRole,
  onCleanHost,
  policyOf,
  probe,
  questions,
  Room,
  recover,
} from './crash.js';
import { jailrun, mapSize, root, until, writePolicy } from './jail.js';
import {
  assertSaysWhy,
  type Command,
  canFail,
  describeStep,
  errorFor,
  type Inventory,
  listSteps,
  runTo,
  takeInventory,
  walked,
  walkedLast,
} from './steps.js';

onCleanHost();

/** A program that answers questions while it runs. */
class Asked {
  readonly #child: ChildProcess;
  #answers = '';
  #ended = false;
  constructor(program: string, ...words: string[]) {
    this.#child = spawn(program, words, { stdio: ['pipe', 'pipe', 'ignore'] });
    this.#child.stdin?.on('error', () => {});
    this.#child.stdout?.on('data', (data) => {
      this.#answers += data;
    });
    this.#child.once('close', () => {
      this.#ended = true;
    });
  }
  get pid(): number | undefined {
    return this.#child.pid;
  }
  /** Undefined once it has ended. */
  async ask(): Promise<string | undefined> {
    this.#answers = '';
    this.#child.stdin?.write(questions);
    await until(() => this.#answers.length === 2 || this.#ended);
    return this.#ended ? undefined : this.#answers;
  }
  async end(): Promise<void> {
    this.#child.stdin?.end();
    if (!this.#ended) await once(this.#child, 'close');
  }
}

const podNamed = (name: string): Asked => new Asked(jailrun, '--name', name, ...inRole, '--', probe);

const stateSizes = (): number[] =>
  readdirSync('/run/jailrun/pods').map((name) => statSync(join('/run/jailrun/pods', name)).size);

const changePolicy = (file: string, more: number): string => writePolicy('crash', policyOf(file, more));

describe('with pods that live, a reload', () => {
  let pods: Asked[];
  let between: Inventory;
  /** Counts the policies, each of which is another one than those before. */
  let count = 0;
  const ask = (): Promise<(string | undefined)[]> => Promise.all(pods.map((pod) => pod.ask()));
  const reload = () => spawnSync(jailrun, ['reload'], { encoding: 'utf8' });
  /** What is there but the denials of the pods, whose answers make more of them. */
  function takeStanding(): Inventory {
    const inventory = takeInventory();
    return { ...inventory, maps: { ...inventory.maps, pod_denials: [] } };
  }

  before(async () => {
    changePolicy(granted, 0);
    pods = ['one', 'two'].map((name) => podNamed(name));
    assert.deepEqual(await ask(), ['od', 'od']);
    between = takeStanding();
  });
  after(async () => {
    changePolicy(granted, 0);
    await Promise.all(pods.map((pod) => pod.end()));
    recover('the pods');
  });

  /** The next policy, by which the files change their parts; says what a pod answers then. */
  function nextPolicy(): string {
    count++;
    changePolicy(count % 2 ? denied : granted, count);
    return count % 2 ? 'do' : 'od';
  }

  /** As many roles as stay in the kernel, so that each new one takes old ones away. */
  async function fillRoles(): Promise<void> {
    const kernel = openPins();
    assert.ok(kernel);
    const role = compileStack(await findStack({ role: ['permissive'] }, {}, ''), kernel);
    for (let i = 1n; mapSize('roles') < 64; i++) kernel.installRole({ ...role, digest: i });
    kernel.close();
  }

  test('that is killed at any of its steps has changed all of them or none, and the next one changes all', async () => {
    const command = { words: ['reload'] };
    await fillRoles();
    nextPolicy();
    for (const step of walked(listSteps(command))) {
      await fillRoles();
      const after = nextPolicy();
      runTo(step, 'kill', command);
      const answers = new Set(await ask());
      assert.ok(['od', 'do'].some((all) => answers.has(all)) && answers.size === 1, describeStep(step));
      const { status, stderr } = reload();
      assert.deepEqual([status, await ask()], [0, [after, after]], `${describeStep(step)}: ${stderr}`);
      assert.deepEqual(takeStanding(), between, describeStep(step));
    }
  });
  test('of which any call fails changes nothing or all of them, and says so', async () => {
    const command = { words: ['--json', 'reload'] };
    await fillRoles();
    let now = nextPolicy();
    for (const step of walked(listSteps(command)).filter(canFail)) {
      await fillRoles();
      const next = nextPolicy();
      const { status, stdout, stderr } = runTo(step, errorFor(step), command);
      const works = status === 0;
      now = works ? next : now;
      assert.deepEqual(await ask(), [now, now], `${describeStep(step)}: ${stdout}${stderr}`);
      if (!works) assertSaysWhy(stderr, describeStep(step));
      assert.deepEqual(takeStanding(), between, describeStep(step));
    }
  });
  test('to and fro writes no more into the state files than the policies that there are', () => {
    const to = () => changePolicy(denied, 1000);
    const fro = () => changePolicy(granted, 1000);
    for (const change of [to, fro]) {
      change();
      assert.equal(reload().status, 0);
    }
    const before = stateSizes();
    for (const change of [to, fro]) {
      change();
      assert.equal(reload().status, 0);
    }
    assert.deepEqual(stateSizes(), before);
  });
  test('for which there is no room on /run changes nothing, and says so', async () => {
    const [before] = await ask();
    const after = nextPolicy();
    const sizes = stateSizes();
    const room = new Room();
    try {
      room.leave(0);
      const { status, stderr } = spawnSync(jailrun, ['--json', 'reload'], { encoding: 'utf8' });
      assert.equal(status, 125, stderr);
      assert.match(stderr, /"code":"STATE".*\/run/);
      assert.deepEqual([await ask(), stateSizes()], [[before, before], sizes]);
    } finally {
      room.end();
    }
    assert.deepEqual([reload().status, await ask()], [0, [after, after]]);
  });
});

test('a kill that is killed at any of its steps leaves the pod to the next one, and held until then', async () => {
  const command = { words: ['kill', 'victim'] };
  const victim = async (): Promise<Asked> => {
    const pod = podNamed('victim');
    assert.equal(await pod.ask(), held);
    return pod;
  };
  const first = await victim();
  const steps = listSteps(command);
  await first.end();
  for (const step of steps) {
    const pod = await victim();
    runTo(step, 'kill', command);
    const answer = await pod.ask();
    if (answer !== undefined) {
      assert.equal(answer, held, describeStep(step));
      assert.equal(spawnSync(jailrun, command.words).status, 0, describeStep(step));
    }
    await pod.end();
    recover(describeStep(step));
  }
});

test('another build that is killed at any of its steps as it is attached leaves the pods in their jail', async () => {
  const newer = '/run/jailrun-test/newer';
  cpSync(join(root, 'dist'), newer, { recursive: true });
  // Of another digest, and the same to the kernel.
  appendFileSync(`${newer}/jailrun.bpf.o`, '\n');
  const command = { program: `${newer}/jailrun`, words: ['attach'] };
  const goBack = (): void => assert.equal(spawnSync(jailrun, ['attach']).status, 0);
  const steps = walkedLast(listSteps(command), /LINK_CREATE|^rename|^unlink .*links/);
  goBack();
  const before = takeInventory();
  const pod = podNamed('upgraded');
  for (const step of steps) {
    const where = describeStep(step);
    assert.equal(await pod.ask(), held, where);
    runTo(step, 'kill', command);
    assert.equal(await pod.ask(), held, where);
    goBack();
  }
  await pod.end();
  recover('them all');
  assert.deepEqual(takeInventory().pins, before.pins);
  rmSync(newer, { recursive: true });
});

test('an enrollment that is killed at any of its steps leaves a process in its jail or outside, and nothing behind', async () => {
  const free = 'oo';
  const command = (pid: number | undefined): Command => ({
    words: ['enroll', ...inRole, '--pid', String(pid)],
  });
  const first = new Asked(probe);
  const steps = listSteps(command(first.pid));
  assert.equal(await first.ask(), held);
  await first.end();
  recover('an enrollment to which nothing happened');
  for (const step of walked(steps)) {
    const where = describeStep(step);
    const process = new Asked(probe);
    assert.equal(await process.ask(), free, where);
    const { status } = runTo(step, 'kill', command(process.pid));
    const answer = await process.ask();
    assert.ok(answer === held || (answer === free && status !== 0), `${where}: ${answer}`);
    assert.equal(spawnSync(jailrun, ['ps']).status, 0, where);
    assert.equal(await process.ask(), answer, where);
    await process.end();
    cleanUp(where);
  }
});
