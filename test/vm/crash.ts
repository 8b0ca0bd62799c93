// A host on which whoever of jailrun is killed, and whatever fails it: what must hold then, and that nothing is left.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before } from 'node:test';
import { openPins } from '../../src/launcher/kernel.js';
import { removeDeadPods } from '../../src/launcher/pods.js';
import { attach, clearMap, leave, root, run, writePolicy } from './jail.js';
import { type Command, type Faulted, type Inventory, takeInventory } from './steps.js';

export const area = '/run/jailrun-test/crash';
export const probe = join(root, 'build/probe');
export const [granted, denied] = [`${area}/granted`, `${area}/denied`];

/** Grants one of two files; `more` makes it another role all the same. */
export const policyOf = (file: string, more = 0): string => `version: 1
roles:
  crash:
    id: 810
    files: {read: ["@runtime", /dev/null, ${probe}, ${file}, ${area}/${more}]}
    exec: [/bin, /usr/bin, ${probe}]
`;
export const policy = writePolicy('crash', policyOf(granted));
export const inRole = ['--policy', policy, '--role', 'crash'];
/** Reads the two files and says how that went, a letter each. */
export const questions = `r ${granted}\nr ${denied}\n`;
export const held = 'od';

export const supervised: Command = { words: [...inRole, '--', probe], input: questions };
export const becoming: Command = { words: [...inRole, '--exec', '--', probe], input: questions };

export let clean: Inventory;

/** Makes /run small, with as little room as one says. */
export class Room {
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
export function recover(where: string): void {
  const { status, stderr } = run(['--role', 'permissive', '--', '/bin/true']);
  assert.equal(status, 0, `the run after ${where}: ${stderr}`);
  assert.deepEqual(takeInventory(), clean, where);
}

/** No role is known to the kernel, and no start is remembered: the next run brings its own. Only where no pod lives. */
export function forget(): void {
  for (const map of ['role_rules', 'role_globs', 'roles']) clearMap(map);
  rmSync('/run/jailrun/starts', { recursive: true, force: true });
}

/** What the command said is what a jailed one says, as far as it came. */
export function assertHeld({ stdout, stderr }: Faulted, where: string): void {
  assert.ok(held.startsWith(stdout), `${where}: the command said ${stdout}; ${stderr}`);
}

/** Nothing is left once the clean-up that every jailrun begins with is done. */
export function cleanUp(where: string): void {
  const kernel = openPins();
  assert.ok(kernel);
  removeDeadPods(kernel);
  kernel.close();
  assert.deepEqual(takeInventory(), clean, where);
}

/** Has a file of tests begin with the host as it is, and leave it so. */
export function onCleanHost(): void {
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
}
