// Whoever of jailrun is killed, and whatever fails it, at whichever of its steps: the jail holds, nothing runs
// unjailed, and the next run works and leaves nothing of it.
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  appendFileSync,
  cpSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  statfsSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { openPins } from '../../src/launcher/kernel.js';
import { removeDeadPods } from '../../src/launcher/pods.js';
import { compileStack, findStack } from '../../src/launcher/role.js';
import { attach, clearMap, jailrun, leave, mapSize, root, run, until, writePolicy } from './jail.js';
import {
  type Action,
  assertSaysWhy,
  type Command,
  canFail,
  describeStep,
  errorFor,
  type Faulted,
  type Inventory,
  listRemembered,
  listSteps,
  runAround,
  runTo,
  type Step,
  takeInventory,
  walked,
  walkedLast,
} from './steps.js';

const area = '/run/jailrun-test/crash';
const probe = join(root, 'build/probe');
const [granted, denied] = [`${area}/granted`, `${area}/denied`];

/** Grants one of two files; `more` makes it another role all the same. */
const policyOf = (file: string, more = 0): string => `version: 1
roles:
  crash:
    id: 810
    files: {read: ["@runtime", /dev/null, ${probe}, ${file}, ${area}/${more}]}
    exec: [/bin, /usr/bin, ${probe}]
`;
const policy = writePolicy('crash', policyOf(granted));
const inRole = ['--policy', policy, '--role', 'crash'];
/** Reads the two files and says how that went, a letter each. */
const questions = `r ${granted}\nr ${denied}\n`;
const held = 'od';

const supervised: Command = { words: [...inRole, '--', probe], input: questions };
const becoming: Command = { words: [...inRole, '--exec', '--', probe], input: questions };

let clean: Inventory;

/** Makes /run small, with as little room as one says. */
class Room {
  readonly #filler = '/run/filler';
  constructor() {
    const { blocks, bfree, bsize } = statfsSync('/run');
    this.#resize((blocks - bfree) * bsize + (1 << 20));
  }
  #resize(bytes: number): void {
    execFileSync('mount', ['-o', `remount,size=${bytes}`, '/run']);
  }
  /** In pages of 4096 bytes. */
  leave(pages: number): void {
    rmSync(this.#filler, { force: true });
    writeFileSync(this.#filler, '');
    const { bavail, bsize } = statfsSync('/run');
    writeFileSync(this.#filler, new Uint8Array((bavail - pages) * bsize));
    assert.equal(statfsSync('/run').bavail, pages);
  }
  end(): void {
    rmSync(this.#filler);
    this.#resize(1 << 30);
  }
}

/** The next run works, and nothing is left of those before it. */
function recover(where: string): void {
  const { status, stderr } = run(['--role', 'permissive', '--', '/bin/true']);
  assert.equal(status, 0, `the run after ${where}: ${stderr}`);
  assert.deepEqual(takeInventory(), clean, where);
}

/** No role is known to the kernel, and no start is remembered: the next run brings its own. Only where no pod lives. */
function forget(): void {
  for (const map of ['role_rules', 'role_globs', 'roles']) clearMap(map);
  rmSync('/run/jailrun/starts', { recursive: true, force: true });
}

/** What the command said is what a jailed one says, as far as it came. */
function assertHeld({ stdout, stderr }: Faulted, where: string): void {
  assert.ok(held.startsWith(stdout), `${where}: the command said ${stdout}; ${stderr}`);
}

/** After how many steps a run cleans up, which takes a second. Otherwise its own function for that is called here. */
const row = 8;

/** Nothing is left once the clean-up that every jailrun begins with is done. */
function cleanUp(where: string): void {
  const kernel = openPins();
  assert.ok(kernel);
  removeDeadPods(kernel);
  kernel.close();
  assert.deepEqual(takeInventory(), clean, where);
}

/** Visits steps of the command, once for each action, with no role in the kernel, and cleans up after each. */
function walk(
  command: Command,
  actions: (step: Step, steps: readonly Step[]) => Action[],
  visit: (step: Step, action: Action, where: string) => void,
): void {
  forget();
  const steps = listSteps(command);
  recover('a run to which nothing happened');
  let visited = 0;
  for (const step of walked(steps))
    for (const action of actions(step, steps)) {
      const where = `${action} at ${describeStep(step)}`;
      forget();
      visit(step, action, where);
      if (++visited % row === 0) recover(where);
      else cleanUp(where);
    }
}

/** The launcher's steps until it hands the pod over are the same in every run. */
const isOfPlan = ({ process, text }: Step, steps: readonly Step[]): boolean =>
  process === steps.find((step) => step.text === 'send')?.process && !/^(send|exit)$/.test(text);

/** Killing the front ends the others, too; at which of the launcher's steps makes no difference but at its ends. */
const killings = (step: Step): Action[] =>
  step.process > 1 && /^(exec|lock|send|exit)/.test(step.text) ? ['kill', 'front'] : ['kill'];

before(() => {
  attach();
  mkdirSync(area, { recursive: true });
  for (const file of [granted, denied]) writeFileSync(file, 'text\n');
  run(['--role', 'permissive', '--', '/bin/true']);
  clean = takeInventory();
});
after(() => {
  rmSync(area, { recursive: true, force: true });
  leave();
});

for (const [what, command, isNew] of [
  ['a supervised run', supervised, () => true],
  ['a run with --exec', becoming, (step: Step, steps: readonly Step[]) => !isOfPlan(step, steps)],
] as const) {
  test(`${what} that is killed at any of its steps, in any of its processes, lets nothing run unjailed, and the next run leaves nothing of it`, () => {
    walk(
      command,
      (step, steps) => (isNew(step, steps) ? killings(step) : []),
      (step, action, where) => assertHeld(runTo(step, action, command), where),
    );
  });
  test(`${what} of which any call fails lets nothing run unjailed, says why it does not start, and leaves nothing`, () => {
    const json = { ...command, words: ['--json', ...command.words] };
    walk(
      json,
      (step, steps) => (canFail(step) && isNew(step, steps) ? [errorFor(step)] : []),
      (step, action, where) => {
        const outcome = runTo(step, action, json);
        assertHeld(outcome, where);
        if (outcome.stdout === held) return;
        assertSaysWhy(outcome.stderr, where);
        // Who has joined the pod's cgroup, to become the command, cannot remove it.
        if (command !== becoming) assert.deepEqual(takeInventory(), clean, where);
      },
    );
  });
}

describe('on a /run that is full', () => {
  test('a run says so and leaves nothing, until there is room for what it writes', () => {
    recover('what came before, which would make room');
    const room = new Room();
    try {
      for (let pages = 0; ; pages++) {
        room.leave(pages);
        const { status, stdout, stderr, errors } = run(supervised.words, { input: questions });
        assert.deepEqual(takeInventory(), clean, `${pages} pages`);
        if (status === 0) {
          assert.ok(pages > 0);
          assert.equal(stdout, held);
          break;
        }
        assert.deepEqual([status, stdout, errors.map(({ code }) => code)], [125, '', ['STATE']], stderr);
      }
    } finally {
      room.end();
    }
  });
});

describe('of the pins', () => {
  const pin = (name: string): string => `/sys/fs/bpf/jailrun/maps/${name}`;
  /** Runs the command while a map is not to be found. */
  function runWithout(map: string): ReturnType<typeof run> {
    renameSync(pin(map), pin('lost'));
    try {
      return run(supervised.words, { input: questions });
    } finally {
      renameSync(pin('lost'), pin(map));
    }
  }
  test('the host’s ring of denials may be lost: the jail holds and reports', () => {
    const { status, stdout, denials } = runWithout('denials');
    assert.deepEqual([status, stdout, denials.map(({ target }) => target)], [0, held, [denied]]);
  });
  for (const map of ['pods', 'roles', 'role_rules', 'pod_counters', 'cgroup_enrollment']) {
    test(`no run does without ${map}, says so, and leaves nothing`, () => {
      forget();
      const { status, stdout, stderr, errors } = runWithout(map);
      assert.deepEqual(
        [status, stdout, errors.map(({ code }) => code)],
        [125, '', ['PINS_INCOMPLETE']],
        stderr,
      );
      recover(`a run without ${map}`);
    });
  }
});

test('a host’s ring that nobody reads fills up, and the jail holds and reports', () => {
  const script = `i=0; while [ $i -lt 500 ]; do : <${area}/$i; i=$((i+1)); done 2>/dev/null`;
  for (const name of Array.from({ length: 500 }, (_, i) => String(i))) writeFileSync(`${area}/${name}`, '');
  run([...inRole, '--', '/bin/sh', '-c', script]);
  const { stdout, denials } = run(supervised.words, { input: questions });
  assert.deepEqual([stdout, denials.map(({ target }) => target)], [held, [denied]]);
});

test('a supervisor that is killed once its command has left a daemon leaves that in its jail', async () => {
  const script = `exec 3<&0; ${probe} <&3 &`;
  const command = { words: [...inRole, '--', '/bin/sh', '-c', script] };
  // Here the daemon ends with its input. Where it lives, the cgroup stays, and the front ends after that step.
  const removal = listRemembered(command).find(
    ({ process, text }) => process === 1 && text.startsWith('rmdir'),
  );
  assert.ok(removal);
  recover('a run to which nothing happened');
  for (const step of [removal, { ...removal, number: removal.number + 1, text: 'exit' }]) {
    const { stdout } = await runAround(step, 'kill', command, { afterwards: questions });
    assert.equal(stdout, held, describeStep(step));
    recover(describeStep(step));
  }
});

test('a clean-up that is killed at any of its steps is ended by the next run', () => {
  const steps = listRemembered(supervised);
  recover('a run to which nothing happened');
  const end = steps.find(({ process, text }) => process === 1 && text.startsWith('rmdir'));
  assert.ok(end);
  const command = { words: ['ps'] };
  runTo(end, 'kill', supervised);
  assert.equal(mapSize('pod_denials'), 1);
  for (const step of walked(listSteps(command))) {
    runTo(end, 'kill', supervised);
    runTo(step, 'kill', command);
    cleanUp(describeStep(step));
  }
  recover('them all');
});

test('a pod’s number that was cut off as it was written, on a full disk, keeps nobody from removing the pod', () => {
  const step = listRemembered(supervised).find(({ text }) => /^write .*\.json$/.test(text));
  assert.ok(step);
  recover('a run to which nothing happened');
  runTo(step, 'kill', supervised);
  const [name = ''] = readdirSync('/run/jailrun/pods');
  appendFileSync(join('/run/jailrun/pods', name), '{"id":"12');
  recover('one that is cut off');
});

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
