// What is remembered of a start may be damaged, and whoever makes one from it may be killed or fail: the jail holds,
// and the next jailrun works and leaves nothing of it.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  cpSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { constants } from 'node:os';
import { after, before, describe, test } from 'node:test';
import { Start } from '../../src/abi.js';
import { checksumOf } from '../../src/launcher/remembered.js';
import { jailrun, until } from './jail.js';
import {
  about,
  area,
  asking,
  front,
  install,
  podEntries,
  probe,
  reads,
  settle,
  start,
  starts,
  states,
  sweep,
  uninstall,
  withoutNode,
} from './start.js';
import { type Command, canFail, describeStep, listSteps, runTo, type Step, takeInventory } from './steps.js';

const restricted = asking('restricted');
/** What the role may read, and what it may not. */
const questions = ['/etc/passwd', '/etc/shadow'];
const held = 'od';

before(async () => {
  install();
  await settle(restricted);
});
after(uninstall);

describe('a file of a remembered start', () => {
  const file = `${starts}/restricted`;
  /** The launcher is asked, and the front starts nothing by itself, whatever the file is. */
  function isNotBelieved(what: string, put: () => void): void {
    const good = readFileSync(file);
    rmSync(file);
    put();
    {
      using _ = withoutNode();
      const { stdout, status, node } = start(restricted, { input: about(questions) });
      assert.deepEqual([stdout, status, node], ['', 125, true], what);
    }
    rmSync(file, { recursive: true, force: true });
    writeFileSync(file, good, { mode: 0o600 });
    assert.deepEqual(reads(questions, restricted), [held, false], `after ${what}`);
  }
  test('of which the launcher is asked is held by what the launcher says', () => {
    const good = readFileSync(file);
    writeFileSync(file, good.subarray(4));
    assert.deepEqual(reads(questions, restricted), [held, true]);
    assert.deepEqual(reads(questions, restricted), [held, false]);
  });
  const some = (bytes: Buffer, at: number, value: number): Buffer => {
    const copy = Buffer.from(bytes);
    copy[at] = (copy[at] ?? 0) ^ value;
    return copy;
  };
  test('that is damaged anywhere is not believed', () => {
    const good = readFileSync(file);
    const places = Array.from({ length: 12 }, (_, i) => Math.floor((i * (good.length - 1)) / 11));
    for (const at of places)
      isNotBelieved(`byte ${at} flipped`, () => writeFileSync(file, some(good, at, 1 << (at % 8))));
  });
  test('that is cut off or longer is not believed', () => {
    const good = readFileSync(file);
    for (const size of [0, 4, Start.size - 4, Start.size, good.length - 4])
      isNotBelieved(`${size} bytes`, () => writeFileSync(file, good.subarray(0, size)));
    isNotBelieved('a word more', () => writeFileSync(file, Buffer.concat([good, new Uint8Array(4)])));
  });
  test('of which the sizes are wrong, though its checksum is right, is not believed', () => {
    const good = readFileSync(file);
    const texts = [32, 36, 40, 44].reduce((sum, at) => sum + good.readUInt32LE(at), 0);
    const sight = Start.size + ((texts + 3) & ~3);
    const words = [0, 4, 8, 28, 32, 36, 40, 44, sight, sight + 4, sight + 8].flatMap((at) => [
      [at, good.readUInt32LE(at) + 4] as const,
      [at, 0xfffffffc] as const,
    ]);
    for (const [at, value] of words) {
      const bytes = Buffer.from(good);
      bytes.writeUInt32LE(value, at);
      bytes.writeUInt32LE(checksumOf('restricted', bytes.subarray(16)), 12);
      isNotBelieved(`${value} at ${at}`, () => writeFileSync(file, bytes));
    }
  });
  test('of another role in its place is not believed', async () => {
    await settle(['--role', 'permissive', '--exec', '--', '/bin/true']);
    isNotBelieved('a copy', () => cpSync(`${starts}/permissive`, file));
  });
  test('that is none, or not root’s alone, is not believed', () => {
    const good = readFileSync(file);
    writeFileSync(`${area}/elsewhere`, good);
    isNotBelieved('a link', () => symlinkSync(`${area}/elsewhere`, file));
    isNotBelieved('a FIFO', () => execFileSync('mkfifo', [file]));
    isNotBelieved('a directory', () => mkdirSync(file));
    isNotBelieved('writable by others', () => {
      writeFileSync(file, good);
      chmodSync(file, 0o666);
    });
    isNotBelieved('another’s', () => {
      writeFileSync(file, good);
      chownSync(file, 65534, 0);
    });
  });
});

describe('a remembered start', () => {
  // The tracer runs the project's own jailrun.
  const command: Command = { words: restricted, input: about(questions) };
  let steps: ReturnType<typeof listSteps>;
  let clean: ReturnType<typeof takeInventory>;
  before(async () => {
    await until(() => {
      steps = listSteps(command);
      return steps.every(({ process }) => process === 1);
    });
    sweep();
    clean = takeInventory();
  });
  test('has no step of another process than the front', () => {
    assert.deepEqual(
      steps.filter(({ text }) => /^(clone|send)/.test(text)),
      [],
    );
    assert.ok(steps.length > 10, steps.map(describeStep).join('\n'));
  });
  test('that is killed at any of its steps lets nothing run unjailed, and the next one cleans up after it', () => {
    for (const step of listSteps(command)) {
      sweep();
      const { stdout, stderr } = runTo(step, 'kill', command);
      assert.ok(held.startsWith(stdout), `${describeStep(step)}: ${stdout} ${stderr}`);
      const { status } = spawnSync(jailrun, command.words, { input: '' });
      assert.equal(status, 0);
      assert.equal(readdirSync(states).length, 1, describeStep(step));
      assert.equal(podEntries().length, 1, describeStep(step));
      sweep();
      assert.deepEqual(takeInventory(), clean, describeStep(step));
    }
  });
  test('of which any call fails is made by the launcher, or says why it is not, and leaves nothing', () => {
    for (const step of listSteps(command).filter(({ text }) => text !== 'exit')) {
      sweep();
      const { stdout, stderr, status } = runTo(step, constants.errno.EIO, command);
      const late = step.text.startsWith('exec') || step.text.endsWith('cgroup.procs');
      if (late) {
        assert.deepEqual([stdout, status === 125 || status === 126], ['', true], describeStep(step));
        assert.match(stderr, /^jailrun: /);
      } else assert.equal(stdout, held, `${describeStep(step)}: ${stderr}`);
      sweep();
      assert.deepEqual(takeInventory(), clean, describeStep(step));
    }
  });
});

describe('a remembered start with a supervisor', () => {
  const command: Command = {
    program: front,
    words: ['--role', 'restricted', '--', probe],
    input: about(questions),
  };
  let node: ReturnType<typeof withoutNode>;
  let steps: Step[];
  let clean: ReturnType<typeof takeInventory>;
  before(async () => {
    await settle(command.words);
    // What is denied would be reported by node, which is not what is walked here.
    node = withoutNode();
    steps = listSteps(command).filter(({ process }) => process <= 2);
    sweep();
    clean = takeInventory();
  });
  after(() => node[Symbol.dispose]());
  test('that is killed at any of its steps lets nothing run unjailed, and the next one cleans up after it', () => {
    assert.ok(steps.some(({ process }) => process === 2));
    for (const step of steps) {
      const { stdout, stderr } = runTo(step, 'kill', command);
      assert.ok(held.startsWith(stdout), `${describeStep(step)}: ${stdout} ${stderr}`);
      sweep();
      assert.deepEqual(takeInventory(), clean, describeStep(step));
    }
  });
  test('of which any call fails starts nothing or what is held, and leaves nothing', () => {
    for (const step of steps.filter(canFail)) {
      const { stdout, status } = runTo(step, constants.errno.EIO, command);
      assert.ok(stdout === held || (stdout === '' && status !== 0), `${describeStep(step)}: ${stdout}`);
      sweep();
      assert.deepEqual(takeInventory(), clean, describeStep(step));
    }
  });
});
