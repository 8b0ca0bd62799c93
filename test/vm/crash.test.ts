// Whoever of a run is killed, and whatever fails it, at whichever of its steps: the jail holds, nothing runs unjailed,
// and the next run works and leaves nothing of it.
import assert from 'node:assert/strict';
import { appendFileSync, readdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import {
  area,
  assertHeld,
  becoming,
  clean,
  cleanUp,
  denied,
  forget,
  held,
  inRole,
  onCleanHost,
  probe,
  questions,
  Room,
  recover,
  supervised,
} from './crash.js';
import { mapSize, run } from './jail.js';
import {
  type Action,
  assertSaysWhy,
  type Command,
  canFail,
  describeStep,
  errorFor,
  listRemembered,
  listSteps,
  runAround,
  runTo,
  type Step,
  takeInventory,
  walked,
} from './steps.js';

/** After how many steps a run cleans up, which takes a second. Otherwise its own function for that is called here. */
const row = 8;

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

onCleanHost();

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
