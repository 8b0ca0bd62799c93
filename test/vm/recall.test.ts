// What was granted is remembered (bpf/recall.h). None of these changes, made by others while a jailed task has
// just been granted the file, may leave it with what it had.
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';
import { attach, jailrun, leave, root, writePolicy } from './jail.js';

const area = '/mnt/ext4/recall';
const open = `${area}/open`;
const shut = `${area}/shut`;
const policy = writePolicy(
  'recall',
  `version: 1
roles:
  recall: {id: 610, files: {read: [${open}], deny: [${open}/secret, "${open}/**/*.key"]}}
  writer: {id: 611, files: {write: [${open}]}}
  other: {id: 612, files: {read: [${shut}]}}
  mounted: {id: 613, files: {read: [${area}/first]}}
`,
);

/** A jailed task that opens what it is told to, and tells "o" for opened, "d" for denied, "n" for not there. */
class Probe {
  readonly #child: ChildProcess;
  readonly #answers: string[] = [];
  #waiting: ((answer: string) => void) | undefined;
  errors = '';

  constructor(role: string) {
    const words = ['--policy', policy, '--role', role, '--', join(root, 'build/probe')];
    this.#child = spawn(jailrun, words, { stdio: ['pipe', 'pipe', 'pipe'] });
    this.#child.stderr?.on('data', (text) => {
      this.errors += text;
    });
    this.#child.stdout?.on('data', (bytes) => {
      for (const answer of String(bytes)) this.#answers.push(answer);
      this.#give();
    });
    this.#child.on('close', () => {
      this.#answers.push(`ended: ${this.errors}`);
      this.#give();
    });
  }

  #give(): void {
    const answer = this.#waiting && this.#answers.shift();
    if (answer === undefined) return;
    this.#waiting?.(answer);
    this.#waiting = undefined;
  }

  ask(operation: 'r' | 'w', path: string): Promise<string> {
    const answer = new Promise<string>((resolve) => {
      this.#waiting = resolve;
    });
    this.#child.stdin?.write(`${operation} ${path}\n`);
    this.#give();
    return answer;
  }

  /** Twice, so that the second answer is a remembered one. */
  async warm(path: string): Promise<void> {
    for (let i = 0; i < 2; i++) assert.equal(await this.ask('r', path), 'o', this.errors);
  }

  async end(): Promise<void> {
    const closed = new Promise((resolve) => this.#child.once('close', resolve));
    this.#child.stdin?.end();
    await closed;
  }
}

describe('what was granted a moment ago is denied after', () => {
  let probe: Probe;
  before(() => {
    attach();
    mkdirSync(area, { recursive: true });
    probe = new Probe('recall');
  });
  after(async () => {
    await probe.end();
    rmSync(area, { recursive: true, force: true });
    leave();
  });
  beforeEach(() => {
    rmSync(open, { recursive: true, force: true });
    rmSync(shut, { recursive: true, force: true });
    for (const directory of [`${open}/a/b`, `${open}/secret`, shut])
      mkdirSync(directory, { recursive: true });
    writeFileSync(`${open}/a/b/file`, '');
  });

  test('the file was renamed out of what the role grants', async () => {
    await probe.warm(`${open}/a/b/file`);
    renameSync(`${open}/a/b/file`, `${shut}/file`);
    assert.equal(await probe.ask('r', `${shut}/file`), 'd');
    assert.equal(await probe.ask('r', `${open}/a/b/file`), 'n');
  });
  test('the file was renamed to what a pattern denies, in its own directory', async () => {
    await probe.warm(`${open}/a/b/file`);
    renameSync(`${open}/a/b/file`, `${open}/a/b/file.key`);
    assert.equal(await probe.ask('r', `${open}/a/b/file.key`), 'd');
    renameSync(`${open}/a/b/file.key`, `${open}/a/b/file`);
    assert.equal(await probe.ask('r', `${open}/a/b/file`), 'o');
  });
  test('a directory above it was renamed to one that is denied', async () => {
    await probe.warm(`${open}/a/b/file`);
    renameSync(`${open}/a`, `${open}/secret/a`);
    assert.equal(await probe.ask('r', `${open}/secret/a/b/file`), 'd');
    assert.equal(await probe.ask('r', `${open}/a/b/file`), 'n');
  });
  test('two directories above were exchanged', async () => {
    mkdirSync(`${open}/secret/b`);
    writeFileSync(`${open}/secret/b/file`, '');
    await probe.warm(`${open}/a/b/file`);
    execFileSync(join(root, 'build/act'), ['exchange', `${open}/a`, `${open}/secret`]);
    assert.equal(await probe.ask('r', `${open}/secret/b/file`), 'd');
    assert.equal(await probe.ask('r', `${open}/a/b/file`), 'o');
  });
  test('it was removed and its name and dentry were used again elsewhere', async () => {
    for (let i = 0; i < 300; i++) {
      const [granted, denied] = [`${open}/a/${i}`, `${open}/secret/${i}`];
      writeFileSync(granted, '');
      await probe.warm(granted);
      rmSync(granted);
      writeFileSync(denied, '');
      assert.equal(await probe.ask('r', denied), 'd');
      rmSync(denied);
    }
  });
  test('its directory was removed and made again below a denied one', async () => {
    for (let i = 0; i < 100; i++) {
      mkdirSync(`${open}/x`);
      writeFileSync(`${open}/x/file`, '');
      await probe.warm(`${open}/x/file`);
      rmSync(`${open}/x`, { recursive: true });
      mkdirSync(`${open}/secret/x`);
      writeFileSync(`${open}/secret/x/file`, '');
      assert.equal(await probe.ask('r', `${open}/secret/x/file`), 'd');
      rmSync(`${open}/secret/x`, { recursive: true });
    }
  });
  test('another file system is mounted on its directory, with the same names in it', async () => {
    await probe.warm(`${open}/a/b/file`);
    execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', `${open}/a`]);
    try {
      mkdirSync(`${open}/a/b`);
      writeFileSync(`${open}/a/b/file`, '');
      assert.equal(await probe.ask('r', `${open}/a/b/file`), 'd');
    } finally {
      execFileSync('umount', ['-l', `${open}/a`]);
    }
    assert.equal(await probe.ask('r', `${open}/a/b/file`), 'o');
  });

  test('what is new in its directory is another matter', async () => {
    await probe.warm(`${open}/a/b/file`);
    for (const name of ['new', 'new.key', `${'n'.repeat(40)}.key`, 'n'.repeat(40)]) {
      writeFileSync(`${open}/a/b/${name}`, '');
      assert.equal(await probe.ask('r', `${open}/a/b/${name}`), name.endsWith('.key') ? 'd' : 'o', name);
    }
    mkdirSync(`${open}/a/b/c.key`);
    writeFileSync(`${open}/a/b/c.key/new`, '');
    assert.equal(await probe.ask('r', `${open}/a/b/c.key/new`), 'd');
    mkdirSync(`${open}/a/secret`);
    writeFileSync(`${open}/a/secret/new`, '');
    assert.equal(await probe.ask('r', `${open}/a/secret/new`), 'o');
    writeFileSync(`${open}/secret/new`, '');
    assert.equal(await probe.ask('r', `${open}/secret/new`), 'd');
  });
  test('another role asks for it', async () => {
    await probe.warm(`${open}/a/b/file`);
    const other = new Probe('other');
    assert.equal(await other.ask('r', `${open}/a/b/file`), 'd');
    await other.end();
    assert.equal(await probe.ask('r', `${open}/a/b/file`), 'o');
  });
  test('more is asked of it than was granted', async () => {
    await probe.warm(`${open}/a/b/file`);
    assert.equal(await probe.ask('w', `${open}/a/b/file`), 'd');
    const writer = new Probe('writer');
    assert.equal(await writer.ask('w', `${open}/a/b/file`), 'o');
    await writer.end();
    assert.equal(await probe.ask('w', `${open}/a/b/file`), 'd');
  });
});

describe('a directory that the jail itself moves to and fro', () => {
  const [from, to] = [`${area}/a/d1`, `${area}/b/d2`];
  const moving = writePolicy(
    'moving',
    `version: 1
roles:
  moving:
    id: 614
    files:
      read: [${join(root, 'build/mover')}]
      write: [${area}/a, ${area}/b, ${area}/a/d2/x/secret]
      deny: ["${area}/*/d?/x"]
    allow: [nice]
`,
  );
  before(() => {
    attach();
    mkdirSync(`${from}/x`, { recursive: true });
    mkdirSync(`${area}/b`);
    writeFileSync(`${from}/x/secret`, '');
  });
  after(() => {
    rmSync(area, { recursive: true, force: true });
    leave();
  });
  const move = (file: string): RegExpExecArray => {
    const words = [
      '--policy',
      moving,
      '--role',
      'moving',
      '--',
      join(root, 'build/mover'),
      from,
      to,
      file,
      '20000',
    ];
    const said = execFileSync(jailrun, words, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
    return /^(\d+) opened, (\d+) moves$/m.exec(said) ?? assert.fail(said);
  };

  test('never has the name of one place in the other place', () => {
    const [, opened, moves] = move('x/secret');
    assert.equal(opened, '0');
    assert.notEqual(moves, '0');
  });
  test('may be read wherever it is', () => {
    writeFileSync(`${from}/open`, '');
    const [, opened, moves] = move('open');
    assert.equal(opened, '20000');
    assert.notEqual(moves, '0');
  });
});

describe('the kernel gives the device number of an unmounted file system to the next one', () => {
  const [first, second] = [`${area}/first`, `${area}/second`];
  const image = (name: string) => `/run/jailrun-test/${name}.ext4`;
  const fileSystems: Record<string, (point: string) => void> = {
    tmpfs: (point) => execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', point]),
    'a disk': (point) => {
      execFileSync('mount', ['-o', 'loop', image(point.split('/').at(-1) ?? ''), point]);
    },
  };
  before(() => {
    attach();
    execFileSync('modprobe', ['loop']);
    for (const point of [first, second]) mkdirSync(point, { recursive: true });
    for (const name of ['first', 'second']) {
      execFileSync('truncate', ['-s', '4M', image(name)]);
      execFileSync('mkfs.ext4', ['-q', image(name)], { stdio: 'ignore' });
    }
  });
  after(() => {
    for (const path of [area, image('first'), image('second')])
      rmSync(path, { recursive: true, force: true });
    leave();
  });

  function mountAt(point: string, mount: (point: string) => void): number {
    mount(point);
    writeFileSync(`${point}/file`, '');
    return statSync(point).dev;
  }

  for (const [name, mount] of Object.entries(fileSystems)) {
    test(`a jail that was granted the first, ${name}, gets nothing of the next`, async () => {
      const device = mountAt(first, mount);
      const probe = new Probe('mounted');
      await probe.warm(`${first}/file`);
      execFileSync('umount', [first]);
      assert.equal(mountAt(second, mount), device);
      assert.equal(await probe.ask('r', `${second}/file`), 'd');
      execFileSync('umount', [second]);
      // Nor of what is mounted where the first one was; but a jail that begins now does.
      assert.equal(mountAt(first, mount), device);
      assert.equal(await probe.ask('r', `${first}/file`), 'd');
      await probe.end();
      const later = new Probe('mounted');
      assert.equal(await later.ask('r', `${first}/file`), 'o', later.errors);
      await later.end();
      execFileSync('umount', [first]);
    });
    test(`a jail keeps what it was granted of ${name} when others are unmounted`, async () => {
      mountAt(first, mount);
      const probe = new Probe('mounted');
      execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', second]);
      execFileSync('umount', [second]);
      assert.equal(await probe.ask('r', `${first}/file`), 'o', probe.errors);
      await probe.end();
      execFileSync('umount', [first]);
    });
  }
});
