import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { Power } from '../../src/abi.js';
import { parse } from '../../src/profiles/parse.js';
import { PolicyError, type ResolvedRole } from '../../src/profiles/policy.js';
import {
  allPowers,
  impliedBy,
  nameOfBit,
  powerMask,
  powerNamed,
  powerNames,
  powers,
} from '../../src/profiles/powers.js';
import { resolve } from '../../src/profiles/resolve.js';

const nothing = { files: false, bind: false };

/** The roles of a policy's lines below `roles:`. */
function rolesOf(body: string): Map<string, ResolvedRole> {
  return resolve([
    parse(Buffer.from(`version: 1\nsets: {libraries: [/lib, /usr/lib]}\nroles:\n${body}`), 'p.yaml'),
  ]);
}

test('every bit is one name’s, or implied', () => {
  const owners = Object.values(Power).map((bit) =>
    powerNames.filter((name) => powers[name]?.bits.includes(bit)),
  );
  for (const [index, names] of owners.entries()) {
    const bit = Object.values(Power)[index] as Power;
    const always = powerMask([], nothing) & (1n << BigInt(bit));
    assert.equal(names.length + (impliedBy(bit) || always ? 1 : 0), 1, nameOfBit(bit));
  }
});

test('a role has the bits of its names, those that its sections imply, and no other', () => {
  const bits = (mask: bigint) => Object.values(Power).filter((bit) => mask & (1n << BigInt(bit)));
  const base = [Power.KILL, Power.IPC_OWNER, Power.SYS_PTRACE];
  assert.deepEqual(bits(powerMask([], nothing)), base);
  assert.deepEqual(
    bits(powerMask(['setuid'], nothing)).filter((bit) => !base.some((own) => own === bit)),
    [Power.SETGID, Power.SETUID],
  );
  assert.ok(bits(powerMask([], { files: true, bind: false })).includes(Power.DAC_OVERRIDE));
  assert.ok(!bits(powerMask([], { files: true, bind: false })).includes(Power.NET_BIND_SERVICE));
  assert.ok(bits(powerMask([], { files: false, bind: true })).includes(Power.NET_BIND_SERVICE));
  assert.equal(powerMask('any', nothing), allPowers);
});

test('a denial of a power is told by its name', () => {
  assert.equal(powerNamed(Power.SYS_MODULE), 'module');
  assert.equal(powerNamed(Power.DAC_OVERRIDE), undefined);
});

test('lists append to those of the base, and any and none replace them', () => {
  const roles = rolesOf(`
  a: {id: 1, allow: [setuid]}
  b: {id: 2, extends: [a], allow: [kill, setuid]}
  c: {id: 3, extends: [b], allow: none}
  d: {id: 4, extends: [b], allow: any}
  e: {id: 5, extends: [d], allow: [mount]}
  f: {id: 6}`);
  const allow = Object.fromEntries([...roles.values()].map((role) => [role.name, role.allow]));
  assert.deepEqual(allow, { a: ['setuid'], b: ['kill', 'setuid'], c: [], d: 'any', e: ['mount'], f: [] });
});

test('a name that is none is refused with the nearest one', () => {
  for (const [name, said] of [
    ['setuidd', 'did you mean setuid?'],
    ['CAP_NET_ADMIN', 'did you mean net_admin?'],
    ['everything', 'the powers are setuid, '],
  ])
    assert.throws(
      () => rolesOf(`  a: {id: 1, allow: [${name}]}`),
      (error) =>
        error instanceof PolicyError &&
        error.message.includes(`p.yaml:4:22: roles.a.allow[0]: there is no power "${name}"; ${said}`),
    );
});

test('jit is any unless somebody says none', () => {
  const roles = rolesOf('  a: {id: 1}\n  b: {id: 2, jit: none}\n  c: {id: 3, extends: [b], jit: any}');
  assert.deepEqual(
    [...roles.values()].map(({ jit }) => jit),
    [true, false, true],
  );
});

test('what covers libraries marks them, unless a rule that denies decides', () => {
  const roles = rolesOf(`
  a: {id: 1, files: {read: [/usr]}}
  b: {id: 2, files: {read: [/], deny: [/usr]}}
  c: {id: 3, files: {read: [/], deny: ["/u*"]}}
  d: {id: 4, files: {read: [/usr/lib/nginx]}}
  e: {id: 5, files: any}
  f: {id: 6, files: {write: [/], deny: ["/home/*/.ssh"]}, exec: any}
  g: {id: 7, files: {write: [/], deny: ["/home/*/.ssh"]}}`);
  const marked = Object.fromEntries(
    [...roles.values()].map(({ name, paths }) => [
      name,
      paths.filter(({ library }) => library).map(({ text }) => text),
    ]),
  );
  assert.deepEqual(marked, {
    a: ['/usr/lib'],
    b: ['/lib'],
    c: [],
    d: ['/usr/lib/nginx'],
    e: ['/lib', '/usr/lib'],
    f: [],
    g: ['/lib', '/usr/lib'],
  });
});

test('the schema and the README know the same names', () => {
  const schema = JSON.parse(readFileSync('profiles/policy.v1.schema.json', 'utf8'));
  assert.deepEqual(schema.definitions.powers.items.enum, powerNames);
  const rows = readFileSync('README.md', 'utf8').matchAll(/^\| `([a-z_-]+)` \| (.*) \| (.*) \|$/gm);
  const listed = Object.fromEntries([...rows].map(([, name, lets, hooks]) => [name, { lets, hooks }]));
  for (const name of powerNames)
    assert.deepEqual(listed[name], { lets: powers[name]?.lets, hooks: powers[name]?.hooks });
});
