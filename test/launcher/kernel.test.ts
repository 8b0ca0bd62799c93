import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, unlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import {
  Counters,
  Denial,
  DenialKey,
  KeyKind,
  Limit,
  Pod,
  Role,
  Rule,
  RuleKey,
  Scope,
  Variables,
} from '../../src/abi.js';
import { addon, UpdateFlag } from '../../src/launcher/addon.js';
import { detach } from '../../src/launcher/attach.js';
import { type Kernel, type KernelRole, openPins, pinsOf, readDenials } from '../../src/launcher/kernel.js';
import { makePlaces, meta, pinMaps, type TestPlaces } from './pins.js';

const keyOf = (id: bigint): Uint8Array => new Uint8Array(new BigUint64Array([id]).buffer);

const entry = (name: string): [Uint8Array, Uint8Array] => [
  RuleKey.encode({ state: 1, kind: KeyKind.NAME, length: name.length, name: Buffer.from(name) }),
  Rule.encode({ state: 2, access: 1, rule: 1, execRule: 0, connectRule: 0, bindRule: 0, flags: 0, glob: 0 }),
];
const roleOf = (digest: bigint, ...names: string[]): KernelRole => ({
  digest,
  role: Role.encode({
    id: 3,
    files: Scope.RULES,
    exec: Scope.NONE,
    network: Scope.NONE,
    flags: 0,
    powers: 0n,
  }),
  entries: names.map(entry),
  globs: new Uint8Array(),
});
const role = roleOf(7n, 'srv', 'www');

let places: TestPlaces;
beforeEach(() => {
  places = makePlaces();
});
afterEach(() => places.remove());

/** What is ours in the bpffs; some kernels put files of their own there. */
const pinDirectories = (): string[] => readdirSync(places.bpffs).filter((name) => name.startsWith('jailrun'));

describe('opening the pins', () => {
  test('finds nothing where nothing was attached', () => {
    assert.equal(openPins(places), undefined);
  });
  test('answers what was attached', () => {
    pinMaps(places);
    const kernel = openPins(places);
    assert.deepEqual(kernel?.meta, meta);
    kernel?.close();
  });
  test('fails where no bpffs is mounted, with the command that mounts it', () => {
    const elsewhere = { ...places, bpffs: tmpdir() };
    assert.throws(() => openPins(elsewhere), { code: 'NO_BPFFS', message: /mount -t bpf bpf / });
  });
  test('refuses another layout', () => {
    pinMaps(places, { ...meta, layout: Limit.LAYOUT + 1 });
    assert.throws(() => openPins(places), { code: 'LAYOUT', message: /jailrun detach/ });
  });
  test('refuses pins of which a link is gone, and names it', () => {
    pinMaps(places);
    unlinkSync(join(pinsOf(places), 'links/jr_bpf'));
    assert.throws(() => openPins(places), {
      code: 'PINS_INCOMPLETE',
      message: /^jr_bpf is no longer pinned/,
    });
  });
  test('refuses pins without the map that says what they are', () => {
    pinMaps(places);
    unlinkSync(join(pinsOf(places), 'maps/meta'));
    assert.throws(() => openPins(places), {
      code: 'PINS_INCOMPLETE',
      message: /maps\/meta cannot be opened/,
    });
  });
});

describe('with pinned maps', () => {
  let kernel: Kernel;
  beforeEach(() => {
    pinMaps(places);
    kernel = openPins(places) as Kernel;
  });
  afterEach(() => kernel.close());

  const lookup = (map: Parameters<Kernel['mapFd']>[0], key: Uint8Array) =>
    addon.mapLookup(kernel.mapFd(map), key);
  const fill = (map: Parameters<Kernel['mapFd']>[0]): void => {
    const { keySize, valueSize, maxEntries } = addon.mapInfo(kernel.mapFd(map));
    const keys = new Uint8Array(maxEntries * keySize);
    for (let i = 0; i < maxEntries; i++) new DataView(keys.buffer).setUint32(i * keySize, i + 1000, true);
    addon.mapUpdateBatch(kernel.mapFd(map), keys, new Uint8Array(maxEntries * valueSize), maxEntries);
  };

  describe('a pod', () => {
    test('that is made has its entry, its role and its enrollment', () => {
      kernel.createPod({ id: 42n, role, flags: 1, keep: 5 });
      assert.deepEqual(lookup('cgroup_enrollment', keyOf(42n)), keyOf(42n));
      assert.deepEqual(kernel.listPods(), [
        { id: 42n, role: 7n, flags: 1, denials: 0n, lost: 0n, kept: 0n, keep: 5 },
      ]);
      assert.deepEqual(lookup('roles', keyOf(7n)), role.role);
    });
    test('that is removed leaves nothing', () => {
      kernel.createPod({ id: 42n, role, flags: 0, keep: 5 });
      addDenials(42n, 2n);
      kernel.removePod(42n);
      for (const map of ['cgroup_enrollment', 'pods', 'pod_counters'] as const)
        assert.equal(lookup(map, keyOf(42n)), undefined);
      assert.equal(addon.mapNextKey(kernel.mapFd('pod_denials'), undefined), undefined);
    });
    test('that is not there can be removed', () => {
      kernel.removePod(1n);
    });
    for (const map of ['pods', 'pod_counters', 'cgroup_enrollment'] as const) {
      test(`is not made when ${map} is full, and leaves nothing`, () => {
        fill(map);
        assert.throws(() => kernel.createPod({ id: 42n, role, flags: 0, keep: 0 }), {
          code: 'MAP_FULL',
          message: new RegExp(`map ${map} is full: it has room for ${Limit.MAX_PODS} entries`),
        });
        for (const any of ['cgroup_enrollment', 'pod_counters', 'pods'] as const)
          assert.equal(lookup(any, keyOf(42n)), undefined);
      });
    }
  });

  test('a map whose pin is gone is missed by name', () => {
    unlinkSync(join(pinsOf(places), 'maps/pods'));
    assert.throws(() => kernel.listPods(), { code: 'PINS_INCOMPLETE', message: /maps\/pods/ });
  });

  describe('a change of roles', () => {
    const entry = (id: bigint): Pod => Pod.decode(lookup('pods', keyOf(id)) as Uint8Array);
    const policy = (): bigint =>
      Variables.decode(lookup('variables', new Uint8Array(4)) as Uint8Array).policy;
    beforeEach(() => {
      for (const id of [41n, 42n]) kernel.createPod({ id, role, flags: 0, keep: 0 });
    });
    test('counts from the next state of the policies on, for the pods named and no other', () => {
      const before = policy();
      kernel.changeRoles([{ id: 42n, role: roleOf(8n), flags: 1 }]);
      assert.equal(policy(), before + 1n);
      assert.deepEqual(entry(42n), {
        number: 42n,
        role: 7n,
        flags: 0,
        nextRole: 8n,
        nextFlags: 1,
        since: policy(),
      });
      assert.deepEqual(
        kernel
          .listPods()
          .map(({ id, role, flags }) => [id, role, flags])
          .sort(),
        [
          [41n, 7n, 0],
          [42n, 8n, 1],
        ],
      );
    });
    test('that was not finished does not come to count with the next one', () => {
      const left = { ...entry(41n), nextRole: 9n, since: policy() + 1n };
      addon.mapUpdate(kernel.mapFd('pods'), keyOf(41n), Pod.encode(left), UpdateFlag.EXIST);
      kernel.changeRoles([{ id: 42n, role: roleOf(8n), flags: 0 }]);
      assert.deepEqual(entry(41n), {
        number: 41n,
        role: 7n,
        flags: 0,
        nextRole: 7n,
        nextFlags: 0,
        since: 0n,
      });
    });
    test('does not bring back a pod that has ended', () => {
      kernel.removePod(42n);
      kernel.changeRoles([{ id: 42n, role: roleOf(8n), flags: 0 }]);
      assert.equal(lookup('pods', keyOf(42n)), undefined);
    });
    test('keeps the new roles, however many are idle', () => {
      for (let digest = 100n; digest < 170n; digest++) kernel.installRole(roleOf(digest));
      const coming = [200n, 201n, 202n, 203n];
      for (const id of [43n, 44n]) kernel.createPod({ id, role, flags: 0, keep: 0 });
      kernel.changeRoles(
        [41n, 42n, 43n, 44n].map((id, i) => ({ id, role: roleOf(coming[i] as bigint), flags: 0 })),
      );
      assert.deepEqual(
        coming.filter((digest) => !lookup('roles', keyOf(digest))),
        [],
      );
    });
  });

  describe('a role', () => {
    test('that is installed is found with its rules', () => {
      kernel.installRole(role);
      assert.ok(lookup('role_rules', keyOf(7n)));
      assert.deepEqual(lookup('roles', keyOf(7n)), role.role);
    });
    test('that is there already is not written again', () => {
      kernel.installRole(role);
      const first = lookup('role_rules', keyOf(7n));
      kernel.installRole(role);
      assert.deepEqual(lookup('role_rules', keyOf(7n)), first);
    });
    test('without rules is a role all the same', () => {
      kernel.installRole(roleOf(8n));
      assert.ok(lookup('role_rules', keyOf(8n)));
    });
    test('that is new pushes out idle ones, rules and all, once there are many, and none in use', () => {
      kernel.createPod({ id: 42n, role, flags: 0, keep: 0 });
      const digests = Array.from({ length: 70 }, (_, i) => BigInt(100 + i));
      for (const digest of digests) kernel.installRole(roleOf(digest));
      const kept = digests.filter((digest) => lookup('roles', keyOf(digest)));
      assert.ok(kept.length <= 64 && kept.includes(169n), `${kept}`);
      assert.deepEqual(
        kept,
        digests.filter((digest) => lookup('role_rules', keyOf(digest))),
      );
      assert.ok(lookup('roles', keyOf(7n)));
    });
  });

  /** What is left of a role whose maker was killed. */
  const leaveHalf = (digest: bigint): void =>
    addon.mapUpdate(kernel.mapFd('roles'), keyOf(digest), new Uint8Array(Role.size), UpdateFlag.ANY);
  describe('a role that is not whole', () => {
    test('is made anew where it is wanted', () => {
      leaveHalf(7n);
      kernel.createPod({ id: 42n, role, flags: 0, keep: 0 });
      assert.deepEqual(lookup('roles', keyOf(7n)), role.role);
      assert.ok(lookup('role_rules', keyOf(7n)));
    });
    test('counts as idle', () => {
      const digests = Array.from({ length: 64 }, (_, i) => BigInt(100 + i));
      for (const digest of digests) leaveHalf(digest);
      kernel.installRole(role);
      assert.equal(digests.filter((digest) => lookup('roles', keyOf(digest))).length, 62);
    });
  });

  /** What the programs do at a denial. */
  function addDenials(pod: bigint, count: bigint, lost = 0n): void {
    const encoded = lookup('pod_counters', keyOf(pod)) as Uint8Array;
    const counters = Counters.encode({
      ...Counters.decode(encoded),
      denials: count + lost,
      kept: count + lost,
      lost,
    });
    addon.mapUpdate(kernel.mapFd('pod_counters'), keyOf(pod), counters, UpdateFlag.EXIST);
    for (let sequence = 1n; sequence <= count; sequence++) {
      const denial = { ...Denial.decode(new Uint8Array(Denial.size)), pod, sequence };
      const key = DenialKey.encode({ pod, slot: sequence });
      addon.mapUpdate(kernel.mapFd('pod_denials'), key, Denial.encode(denial), UpdateFlag.ANY);
    }
  }

  describe('a pod’s denials', () => {
    test('are read in their order, with the number of those that were not kept', () => {
      kernel.createPod({ id: 41n, role, flags: 0, keep: 3 });
      kernel.createPod({ id: 42n, role, flags: 0, keep: 3 });
      addDenials(41n, 1n);
      addDenials(42n, 3n, 4n);
      const { denials, lost } = readDenials(kernel.mapFd('pod_counters'), kernel.mapFd('pod_denials'), 42n);
      assert.deepEqual(
        denials.map(({ pod, sequence }) => [pod, sequence]),
        [1n, 2n, 3n].map((sequence) => [42n, sequence]),
      );
      assert.equal(lost, 4);
    });
    test('are none for a pod that is not there', () => {
      assert.deepEqual(readDenials(kernel.mapFd('pod_counters'), kernel.mapFd('pod_denials'), 1n), {
        denials: [],
        lost: 0,
      });
    });
  });

  describe('detaching', () => {
    test('removes every pin and says how many', () => {
      const maps = readdirSync(join(pinsOf(places), 'maps')).length;
      assert.deepEqual(detach({}, places), { links: 2, maps, pods: 0 });
      assert.deepEqual(pinDirectories(), []);
    });
    test('is refused while a pod lives', () => {
      kernel.createPod({ id: 42n, role, flags: 0, keep: 0 });
      assert.throws(() => detach({}, places), {
        code: 'PODS_LIVE',
        message: /^1 pod lives, .*jailrun detach --force/,
      });
      assert.ok(openPins(places));
    });
    test('by force lets go of pods that live', () => {
      kernel.createPod({ id: 42n, role, flags: 0, keep: 0 });
      assert.equal(detach({ force: true }, places)?.pods, 1);
      assert.equal(openPins(places), undefined);
    });
  });
});

describe('detaching', () => {
  test('finds nothing where nothing was attached', () => {
    assert.equal(detach({}, places), undefined);
  });
  test('removes pins of another layout', () => {
    pinMaps(places, { ...meta, layout: Limit.LAYOUT + 1 });
    assert.equal(detach({}, places)?.links, 2);
    assert.deepEqual(pinDirectories(), []);
  });
  test('removes what a killed attach left', () => {
    mkdirSync(join(places.bpffs, 'jailrun-new-123/links'), { recursive: true });
    assert.equal(detach({}, places), undefined);
    assert.deepEqual(pinDirectories(), []);
  });
});
