// The kernel's verdicts on random policies, trees and mounts, held against the plain model of
// test/profiles/model.ts. JAILRUN_OPERATIONS says how many operations to try and JAILRUN_SEED where to
// begin; a failure names the seed and is shrunk to the smallest case that fails.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import fc from 'fast-check';
import {
  allPaths,
  isHidden,
  type ModelRole,
  type ModelRule,
  mayExec,
  mayRead,
  mayWrite,
  Namespace,
  namesOfObjects,
  objectKey,
} from '../profiles/model.js';
import { attach, leave, root, run, writePolicy } from './jail.js';

const operations = Number(process.env.JAILRUN_OPERATIONS ?? 2000);
const seed = Number(process.env.JAILRUN_SEED ?? 20_261_121);

/** The scratch ext4 of the VM is file system 1; others are tmpfs, mounted below. */
const area = '/mnt/ext4/differential';
const inArea = (path: string[]): string => [area, ...path].join('/');
const probe = join(root, 'build/probe');
/** Long enough that no component of a rule could spell it out. */
const long = `n${'o'.repeat(200)}`;
const letters = ['a', 'ab', long];
const directories = allPaths(letters, 3);
const inside = allPaths(letters, 2);
const programs = ['x', '.x'];

/** An ELF program that needs no other file: exit(0). */
const program = Buffer.alloc(132);
program.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
program.writeUInt16LE(2, 16); // ET_EXEC
program.writeUInt16LE(62, 18); // x86-64
program.writeUInt32LE(1, 20);
program.writeBigUInt64LE(0x400078n, 24); // entry
program.writeBigUInt64LE(64n, 32); // program headers
program.writeUInt16LE(64, 52);
program.writeUInt16LE(56, 54);
program.writeUInt16LE(1, 56);
program.writeUInt32LE(1, 64); // PT_LOAD
program.writeUInt32LE(5, 68); // readable, executable
program.writeBigUInt64LE(0x400000n, 80);
program.writeBigUInt64LE(132n, 96);
program.writeBigUInt64LE(132n, 104);
program.writeBigUInt64LE(0x1000n, 112);
program.set([0x31, 0xff, 0xb8, 0x3c, 0, 0, 0, 0x0f, 0x05], 120);

interface Mount {
  point: string[];
  /** What is bound there; without it a tmpfs is mounted. */
  from?: string[];
}
interface Case {
  /** A stack, mostly of one. */
  roles: ModelRole[];
  mounts: Mount[];
}

const component = fc.constantFrom(
  'a',
  'ab',
  '*',
  '**',
  '?',
  '?b',
  'a*',
  '[!a]*',
  '*o',
  '[a-c]',
  'x',
  '.x',
  '.*',
);
const plain = fc.array(fc.constantFrom('a', 'ab', 'x'), { maxLength: 4 });
const rule: fc.Arbitrary<ModelRule> = fc.record({
  section: fc.constantFrom('read', 'write', 'deny', 'exec'),
  path: fc.oneof(plain, fc.array(component, { maxLength: 4 })),
});
/** A mount below a name that no rule can spell out is refused, so there are none. */
const directory = fc.array(fc.constantFrom('a', 'ab'), { minLength: 1, maxLength: 3 });
const role = fc.record({ rules: fc.array(rule, { minLength: 1, maxLength: 8 }), exec: fc.constant('rules') });
const randomCase: fc.Arbitrary<Case> = fc.record({
  roles: fc.oneof(fc.tuple(role), fc.array(role, { minLength: 2, maxLength: 3 })),
  mounts: fc.array(fc.record({ point: directory, from: fc.option(directory, { nil: undefined }) }), {
    maxLength: 3,
  }),
}) as fc.Arbitrary<Case>;

function plant(paths: string[][], top: string[]): void {
  for (const path of paths) {
    mkdirSync(inArea([...top, ...path]), { recursive: true });
    for (const name of programs) writeFileSync(inArea([...top, ...path, name]), program, { mode: 0o755 });
  }
}

/** Makes the mounts that can be made, and says what the kernel and the model then see. */
function mountAll(mounts: Mount[]): { namespace: Namespace; points: string[] } {
  const namespace = new Namespace(1);
  const points: string[] = [];
  const exists = (path: string[]): boolean =>
    namespace.resolve(path).path.length <= (isRoot(namespace, path) ? 3 : 2);
  let device = 2;
  for (const { point, from } of mounts) {
    if (!exists(point) || (from && !exists(from))) continue;
    const at = inArea(point);
    if (from) {
      execFileSync('mount', ['--bind', inArea(from), at]);
      namespace.bind(from, point);
    } else {
      execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', at]);
      namespace.mount(point, device++, []);
      plant(inside, point);
    }
    points.push(at);
  }
  return { namespace, points };
}

const isRoot = (namespace: Namespace, path: string[]): boolean => namespace.resolve(path).device === 1;

function roleText({ rules }: ModelRole, number: number): string {
  const list = (section: ModelRule['section']): string =>
    JSON.stringify([
      ...new Set(rules.filter((one) => one.section === section).map((one) => inArea(one.path))),
    ]);
  const files = (['read', 'write', 'deny'] as const)
    .filter((section) => rules.some((one) => one.section === section))
    .map((section) => `${section}: ${list(section)}`);
  const filesText = files.length > 0 ? `{${files.join(', ')}}` : 'none';
  const exec = rules.some((one) => one.section === 'exec') ? list('exec') : 'none';
  return `  random-${number}: {id: ${600 + number}, files: ${filesText}, exec: ${exec}}\n`;
}

/** Runs one case; returns how many operations it tried. */
function compareCase({ roles, mounts }: Case): number {
  const all = (may: (role: ModelRole, names: string[][]) => boolean, names: string[][]) =>
    roles.every((role) => may(role, names));
  const { namespace, points } = mountAll(mounts);
  try {
    const visible = allPaths([...letters, ...programs], 6);
    const reachable = visible.filter((path) => {
      const { device, path: within } = namespace.resolve(path);
      const parents = within.slice(0, -1);
      const last = within.at(-1) ?? '';
      const depth = device === 1 ? 3 : 2;
      if (parents.some((name) => programs.includes(name))) return false;
      return programs.includes(last) ? parents.length <= depth : within.length <= depth;
    });
    const names = namesOfObjects(namespace, reachable);
    const asked = reachable.flatMap((path) => {
      const isProgram = programs.includes(path.at(-1) ?? '');
      const known = names.get(objectKey(namespace.resolve(path))) ?? [];
      const write = all(mayWrite, known);
      const rows: [operation: string, may: boolean][] = [
        ['r', all(mayRead, known)],
        ['s', all((role, names) => !isHidden(role, names), known)],
        ['t', write],
      ];
      if (isProgram) rows.push(['w', write], ['x', all(mayExec, known)]);
      return rows.map(([operation, may]) => ({
        line: `${operation} ${inArea(path)}`,
        expected: may ? 'o' : 'd',
      }));
    });
    // What is made for a moment is decided by names that are not there yet.
    for (const directory of reachable.filter((path) => !programs.includes(path.at(-1) ?? '')))
      for (const [operation, name] of [
        ['c', 'new'],
        ['d', 'abc'],
      ] as const) {
        const path = [...directory, name];
        const known = (names.get(objectKey(namespace.resolve(directory))) ?? []).map((one) => [...one, name]);
        asked.push({ line: `${operation} ${inArea(path)}`, expected: all(mayWrite, known) ? 'o' : 'd' });
      }
    const policy = writePolicy('differential', `version: 1\nroles:\n${roles.map(roleText).join('')}`);
    const stack = roles.flatMap((_, number) => ['--role', `random-${number}`]);
    const input = asked.map(({ line }) => `${line}\n`).join('');
    const { status, stdout, stderr } = run(['--policy', policy, ...stack, '--exec', '--', probe], {
      input,
    });
    assert.equal(status, 0, `${stdout.slice(-300)}\n${stderr.slice(-2000)}`);
    const wrong = asked.filter(({ expected }, i) => expected !== stdout[i]);
    const told = wrong.slice(0, 5).map(({ line, expected }) => `${line}: should be ${expected}`);
    assert.equal(wrong.length, 0, told.join('\n'));
    return asked.length;
  } finally {
    for (const point of points.reverse()) execFileSync('umount', ['-l', point]);
  }
}

before(() => {
  attach();
  rmSync(area, { recursive: true, force: true });
  plant(directories, []);
});
after(() => {
  leave();
  rmSync(area, { recursive: true, force: true });
});

test(`the kernel answers as the model does, in ${operations} operations from seed ${seed}`, () => {
  let tried = 0;
  let cases = 0;
  fc.assert(
    fc.property(randomCase, (one) => {
      if (tried >= operations) return;
      tried += compareCase(one);
      cases++;
    }),
    { numRuns: operations, seed, maxSkipsPerRun: 0 },
  );
  console.log(`${tried} operations in ${cases} cases from seed ${seed}`);
  assert.ok(tried >= operations);
});
