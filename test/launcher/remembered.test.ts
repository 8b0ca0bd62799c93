// What is noted of a start, which the front compares the next time (test/vm/fast*.test.ts).
import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { Sight, SightKind } from '../../src/abi.js';
import { checksumOf, fileName, isRemembered, Notes } from '../../src/launcher/remembered.js';
import type { RunRequest } from '../../src/launcher/run.js';
import { linkReader, readPolicies } from '../../src/profiles/load.js';

const kinds = new Map<number, string>(Object.entries(SightKind).map(([name, number]) => [number, name]));

/** KIND PATH of each, and of its data what is text. */
function tell(sights: Iterable<Uint8Array>): string[] {
  return [...sights].map((bytes) => {
    const { size, kind, path, data } = Sight.decode(bytes);
    assert.deepEqual([size, size % 4, path % 4], [bytes.length, 0, 0]);
    const text = (from: number, length: number) =>
      Buffer.from(bytes.subarray(from, from + length))
        .toString()
        .replace(/\0+$/, '')
        .replaceAll('\0', ',');
    return `${kinds.get(kind)} ${text(Sight.size, path)} ${text(Sight.size + path, data)}`.trimEnd();
  });
}

describe('notes', () => {
  let directory: string;
  beforeEach(() => {
    // /tmp is everybody's, and what root uses must not be.
    directory = mkdtempSync('/run/jailrun-notes-');
  });
  afterEach(() => rmSync(directory, { recursive: true }));

  test('tell of policies what was absent, whose the way is, which names there are and each byte', () => {
    const file = join(directory, 'policy.d/one.yaml');
    mkdirSync(join(directory, 'policy.d'));
    writeFileSync(file, 'version: 1\n');
    const notes = new Notes();
    readPolicies({ env: {}, cwd: '/', uid: 0, system: directory, fs: notes.policies });
    const told = tell(notes.policies.sights.values());
    for (const line of [
      'PLACE /',
      'PLACE /run',
      `PLACE ${directory}`,
      `PLACE ${directory}/policy.d`,
      `DIRECTORY ${directory}/policy.d one.yaml`,
      `ABSENT ${directory}/policy.yaml`,
      `PLACE ${file}`,
      `FILE ${file} version: 1`,
    ])
      assert.ok(told.includes(line), `${line} is not among:\n${told.join('\n')}`);
    assert.equal(told.length, 8);
  });
  test('tell the owner and the mode of a policy', () => {
    const file = join(directory, 'policy.yaml');
    writeFileSync(file, '');
    chmodSync(file, 0o640);
    const notes = new Notes();
    readPolicies({ env: {}, cwd: '/', uid: 0, system: directory, fs: notes.policies });
    const sights = [...notes.policies.sights.values()].map((bytes) => Sight.decode(bytes));
    const found = sights.find(({ kind }) => kind === SightKind.FILE);
    assert.deepEqual([found?.owner, found?.mode], [0, 0o100640]);
  });
  test('tell of links only whether there is one, and where it leads', () => {
    symlinkSync('target', join(directory, 'link'));
    const notes = new Notes();
    const read = linkReader(notes.links);
    for (const name of ['link', 'none', 'none/below']) read(join(directory, name));
    read(directory);
    assert.deepEqual(tell(notes.links.sights.values()), [
      `LINK ${directory}/link target`,
      `NO_LINK ${directory}/none`,
      `NO_LINK ${directory}/none/below`,
      `NO_LINK ${directory}`,
    ]);
    assert.equal(notes.steady, true);
  });
  test('are of no use where something changed while it was looked at', () => {
    const notes = new Notes();
    const read = linkReader(notes.links);
    for (const target of ['one', 'two']) {
      symlinkSync(target, join(directory, 'link'));
      read(join(directory, 'link'));
      rmSync(join(directory, 'link'));
    }
    assert.equal(notes.steady, false);
  });
});

describe('a start is remembered', () => {
  const request: RunRequest = { role: ['webserver'], command: '/bin/true', position: 4 };
  const rows: [string, Partial<RunRequest>, boolean][] = [
    ['whatever else it asks for', { exec: true, policy: '/p', var: ['a=b'], name: 'n', reportFd: 3 }, true],
    ['not with a summary', { summary: 'file' }, false],
    ['not with more roles than a file’s name has room for', { role: Array(8).fill('a'.repeat(30)) }, false],
  ];
  for (const [when, more, expected] of rows)
    test(when, () => assert.equal(isRemembered({ ...request, ...more }), expected));
});

describe('the file of a start', () => {
  const request: RunRequest = { role: ['webserver'], command: '/bin/true', position: 4 };
  const nameOf = (more: Partial<RunRequest>): string => fileName({ ...request, ...more });
  test('is called after its roles, and what becomes of denials', () => {
    assert.equal(nameOf({ role: ['a', 'b'], audit: true, json: true }), 'a+b,audit,json');
  });
  test('is another one for each policy, variable and value', () => {
    const names = [
      {},
      { policy: '/a' },
      { policy: 'a' },
      { var: ['a=b'] },
      { var: ['a=c'] },
      { var: ['a=b', 'c=d'] },
      { var: ['a=bvar=c=d'] },
      { policy: '/a', var: ['a=b'] },
      { policy: '/avar=a=b' },
    ].map(nameOf);
    assert.equal(new Set(names).size, names.length, names.join('\n'));
    for (const name of names.slice(1)) assert.match(name, /^webserver,[0-9a-f]{64}$/);
  });
  test('is the same for a path from here as for the whole one', () => {
    assert.equal(nameOf({ policy: 'a' }), nameOf({ policy: `${process.cwd()}/a` }));
  });
  test('is the same however the command is run, what its pod is called and where reports go', () => {
    assert.equal(nameOf({ exec: true, name: 'n', reportFd: 3, command: '/bin/false' }), nameOf({}));
  });
});

test('a checksum is another one for another name, and for the same words in another order', () => {
  const words = Buffer.from(new Uint32Array([1, 2, 3]).buffer);
  const other = Buffer.from(new Uint32Array([3, 2, 1]).buffer);
  const sums = [checksumOf('a', words), checksumOf('b', words), checksumOf('a', other)];
  assert.equal(new Set(sums).size, 3);
});
