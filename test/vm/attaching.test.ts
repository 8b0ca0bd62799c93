// Attaching and detaching: all programs or none, whoever is killed at whichever of its steps, whatever fails it, and
// however many try at once.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { cpSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { addon } from '../../src/launcher/addon.js';
import { choosePrograms, detach } from '../../src/launcher/attach.js';
import { chooseWay, readFacts } from '../../src/launcher/host.js';
import { hostPlaces, openPins } from '../../src/launcher/kernel.js';
import { root } from './jail.js';
import {
  assertSaysWhy,
  type Command,
  canFail,
  describeStep,
  errorFor,
  listSteps,
  runTo,
  type Step,
  walkedLast,
} from './steps.js';

const pinDirectories = (): string[] =>
  readdirSync(hostPlaces.bpffs).filter((name) => name.startsWith('jailrun'));
/** All links that the kernel has are ours. */
const countLinks = (): number =>
  JSON.parse(spawnSync('/usr/sbin/bpftool', ['-j', 'link', 'show'], { encoding: 'utf8' }).stdout).length;
const ended = (child: ChildProcess): Promise<number | null> =>
  new Promise((resolve) => child.once('close', resolve));

/** jailrun with few and small programs: an emulated kernel takes a quarter of a minute to check the real ones. */
const installed = '/run/jailrun-test/attaching';
const program = join(installed, 'jailrun');
const bpfObjectPath = join(root, 'build/floor.bpf.o');

const programs = choosePrograms(new addon.BpfObject(bpfObjectPath), chooseWay(readFacts())).map(
  ({ name }) => name,
);
/** What the kernel has where everything is attached. */
let links: number;

function attach(): void {
  const { status, stderr } = spawnSync(program, ['attach'], { encoding: 'utf8' });
  assert.equal(status, 0, stderr);
}

before(() => {
  cpSync(join(root, 'dist'), installed, { recursive: true });
  cpSync(bpfObjectPath, join(installed, 'jailrun.bpf.o'));
  detach({ force: true });
  attach();
  links = countLinks();
  detach();
});
after(() => rmSync(installed, { recursive: true }));
afterEach(() => void detach({ force: true }));

/** Attaches what is missing, of which nothing half done is left then, and takes it away again. */
function recover(): void {
  attach();
  assert.deepEqual(pinDirectories(), ['jailrun']);
  assertAllOrNone('after attaching');
  detach();
  assert.deepEqual([pinDirectories(), countLinks()], [[], 0]);
}

/** All programs are attached, or none as far as jailrun knows. */
function assertAllOrNone(where: string): void {
  using kernel = openPins();
  if (kernel) assert.deepEqual([kernel.meta.hooks, countLinks()], [programs.length, links], where);
}

describe('attaching', () => {
  const command: Command = { program, words: ['--json', 'attach'] };
  let all: readonly Step[];
  before(() => {
    all = listSteps(command);
    detach();
  });

  test('in four processes at once attaches one set of programs', async () => {
    const children = Array.from({ length: 4 }, () => spawn(program, ['attach'], { stdio: 'ignore' }));
    assert.deepEqual(await Promise.all(children.map(ended)), [0, 0, 0, 0]);
    assert.deepEqual(pinDirectories(), ['jailrun']);
    assert.equal(openPins()?.meta.hooks, programs.length);
    assert.equal(countLinks(), links);
  });

  test('that is killed at any of its steps has attached all or nothing, and the next one attaches all', () => {
    // What is not pinned ends with its process, and with the last step everything is attached.
    const until = all.findIndex(({ text }) => text.startsWith('rename'));
    for (const step of walkedLast(all.slice(0, until + 1), /LINK_CREATE|^rename/)) {
      // What the one before left would be more steps.
      detach();
      runTo(step, 'kill', command);
      assertAllOrNone(describeStep(step));
    }
    assert.match(pinDirectories().join(), /^jailrun-new-\d+$/);
    recover();
  });

  test('of which any call fails attaches nothing, says why, and leaves nothing', () => {
    for (const step of walkedLast(all, /PROG_LOAD|OBJ_PIN|^rename/).filter(canFail)) {
      const where = describeStep(step);
      const { status, stderr } = runTo(step, errorFor(step), command);
      assert.equal(status, 125, where);
      assertSaysWhy(stderr, where);
      assert.deepEqual([pinDirectories(), countLinks()], [[], 0], where);
    }
    recover();
  });
});

describe('detaching', () => {
  const command: Command = { program, words: ['--json', 'detach'] };

  test('that is killed at any of its steps, or fails at one, has taken away all or nothing', () => {
    attach();
    for (const step of walkedLast(listSteps(command), /^rename|^unlink .*links/))
      for (const action of canFail(step) ? (['kill', errorFor(step)] as const) : (['kill'] as const)) {
        const where = `${action} at ${describeStep(step)}`;
        attach();
        const { status, stderr } = runTo(step, action, command);
        if (action !== 'kill' && status !== 0) assertSaysWhy(stderr, where);
        assertAllOrNone(where);
      }
    recover();
  });
});
