// Templates of containers: what a role is compiled to for symbols gives, with the symbols replaced, what it is compiled
// to for any other container with the same normal form. The front's half is in test/vm/fast-containers.test.ts.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { Scope } from '../../src/abi.js';
import { compileHere } from '../../src/launcher/role.js';
import { compileSymbolic, digestFor, normalize } from '../../src/launcher/template.js';
import { type Mount, mountsBelow, parseMountinfo } from '../../src/profiles/mounts.js';
import type { PathSection, ResolvedRole } from '../../src/profiles/policy.js';

const place = { file: 'p.yaml', line: 1, column: 1 };

function roleOf(rules: readonly (readonly [PathSection, string])[]): ResolvedRole {
  return {
    name: 'r',
    id: 3,
    description: '',
    sections: {},
    audit: false,
    files: Scope.RULES,
    exec: Scope.RULES,
    network: Scope.NONE,
    allow: [],
    jit: true,
    kills: false,
    paths: rules.map(([section, text]) => ({ section, text, ...place })),
    addresses: [],
    abstracts: [],
    vars: [],
    place,
  } as unknown as ResolvedRole;
}

/** A mount as a test says it: its device and its root have numbers where variables go. */
interface Said {
  device: number;
  root: (string | number)[];
  point: string;
}

/** What is one container's own. */
interface Own {
  id: string;
  /** By the number of the device, and of the variable. */
  devices: readonly number[];
  values: readonly string[];
}

/** The table of a runtime's mount namespace, in this order. */
function tableOf(said: readonly Said[], { id, devices, values }: Own, order: readonly number[]): Buffer {
  const root = `/run/bundles/${id}/root`;
  const ids = new Map(said.map(({ point }, i) => [point, 100 + i]));
  const parentOf = (point: string): number => {
    if (point === '') return 10;
    for (let end = point.lastIndexOf('/'); end >= 0; end = point.lastIndexOf('/', end - 1)) {
      const found = ids.get(point.slice(0, end));
      if (found !== undefined) return found;
    }
    return 10;
  };
  const lines = said.map(({ device, root: names, point }) => {
    const way = names.map((name) => (typeof name === 'number' ? values[name] : name)).join('/');
    return `${ids.get(point)} ${parentOf(point)} 0:${devices[device]} /${way} ${root}${point} rw - tmpfs none rw`;
  });
  const sorted = order.flatMap((i) => lines[i] ?? []);
  return Buffer.from(`${['10 1 8:1 / / rw - ext4 none rw', ...sorted].join('\n')}\n`);
}

/** What the launcher reads of such a table. */
function read(table: Buffer, { id }: Own): { mounts: Mount[]; normal: ReturnType<typeof normalize> } {
  const root = `/run/bundles/${id}/root`;
  const mounts = mountsBelow(root, parseMountinfo(table)) ?? [];
  return {
    mounts: mounts.map((mount) => ({ ...mount, epoch: mount.device % 7 })),
    normal: normalize(table, root, id),
  };
}

const hex = fc.string({ unit: fc.constantFrom(...'0123456789abcdef'), minLength: 64, maxLength: 64 });
const name = fc.constantFrom('a', 'ab', 'b', 'run');
const own = fc.record({
  id: fc.constantFrom('web', 'container-1', 'x'),
  devices: fc.uniqueArray(fc.integer({ min: 20, max: 99 }), { minLength: 3, maxLength: 3 }),
  values: fc.uniqueArray(hex, { minLength: 3, maxLength: 3 }).map((values) => values.sort()),
});
const mount = fc.record({
  device: fc.integer({ min: 0, max: 2 }),
  root: fc.array(fc.oneof(name, name, fc.integer({ min: 0, max: 2 })), { maxLength: 4 }),
  point: fc.array(name, { minLength: 1, maxLength: 3 }).map((names) => `/${names.join('/')}`),
});
const said = fc
  .tuple(
    fc.array(mount, { minLength: 1, maxLength: 6 }),
    fc.record({
      device: fc.integer({ min: 0, max: 2 }),
      root: fc.constant<string[]>([]),
      point: fc.constant(''),
    }),
  )
  .map(([mounts, first]): Said[] => [first, ...new Map(mounts.map((one) => [one.point, one])).values()]);
const rule = fc.tuple(
  fc.constantFrom<PathSection>('files.read', 'files.write', 'files.deny', 'exec'),
  fc
    .array(fc.oneof(name, fc.constantFrom('*', 'a*', '[0-9]*', '**', 'f*')), { maxLength: 4 })
    .map((names) => `/${names.join('/')}`),
);

/** A container that has /etc/hostname from a directory with its own number. */
const typical: Said[] = [
  { device: 0, root: [], point: '' },
  { device: 1, root: ['containers', 0, 'hostname'], point: '/etc/hostname' },
];
const first: Own = {
  id: 'web',
  devices: [30, 40, 50],
  values: ['1'.repeat(64), '2'.repeat(64), '3'.repeat(64)],
};
const role = (
  ...rules: [PathSection, string][]
): ((mounts: readonly Mount[]) => ReturnType<typeof compileHere>) => {
  const stack = [roleOf(rules)];
  return (mounts) => compileHere(stack, mounts, () => undefined);
};
const isRemembered = (mounts: Said[], ...rules: [PathSection, string][]): boolean => {
  const { mounts: seen, normal } = read(
    tableOf(
      mounts,
      first,
      mounts.map((_, i) => i),
    ),
    first,
  );
  assert.ok(normal);
  return compileSymbolic(normal, seen, role(...rules)) !== undefined;
};

describe('the template of a container', () => {
  test('gives any other one with the same normal form what would be compiled for it', () => {
    let made = 0;
    fc.assert(
      fc.property(
        said,
        fc.array(rule, { maxLength: 5 }),
        own,
        own,
        fc.infiniteStream(fc.nat()),
        (mounts, rules, a, b, keys) => {
          const order = mounts.map((_, i) => i);
          const shuffled = order.map((i) => [keys.next().value, i] as const).sort(([x], [y]) => x - y);
          const one = read(tableOf(mounts, a, order), a);
          const other = read(
            tableOf(
              mounts,
              b,
              shuffled.map(([, i]) => i),
            ),
            b,
          );
          assert.ok(one.normal && other.normal);
          assert.equal(one.normal.text, other.normal.text);
          const compileFor = role(...rules);
          const symbolic = compileSymbolic(one.normal, one.mounts, compileFor);
          if (!symbolic) return;
          made++;
          for (const { normal, mounts: seen } of [one, other]) {
            const epochs = new Map(seen.map(({ device, epoch }) => [device, epoch]));
            assert.ok(normal);
            assert.equal(digestFor(symbolic, normal, epochs), compileFor(seen).digest);
          }
        },
      ),
      { numRuns: 3000 },
    );
    assert.ok(made > 500, `only ${made} were remembered`);
  });
  test('is made for what engines mount', () => {
    assert.equal(isRemembered(typical, ['files.read', '/'], ['files.deny', '/etc/hostname']), true);
  });
  test('is not made where a pattern could be asked about what is variable', () => {
    const whole = { device: 1, root: ['containers'], point: '/host' };
    assert.equal(isRemembered([...typical, whole], ['files.read', '/host/*']), false);
    const above = { device: 1, root: [], point: '/host' };
    assert.equal(isRemembered([...typical, above], ['files.read', '/host']), false);
  });
  test('is not made where a name that is no variable stands beside one', () => {
    const beside = { device: 1, root: ['containers', 'named'], point: '/srv' };
    assert.equal(isRemembered([...typical, beside], ['files.read', '/']), false);
    const elsewhere = { device: 2, root: ['containers', 'named'], point: '/srv' };
    assert.equal(isRemembered([...typical, elsewhere], ['files.read', '/']), true);
  });
  test('is another one for another mount, another order of variables and another file system', () => {
    const text = (mounts: Said[]): string | undefined =>
      read(
        tableOf(
          mounts,
          first,
          mounts.map((_, i) => i),
        ),
        first,
      ).normal?.text;
    const two = (a: number, b: number): Said[] => [
      ...typical.slice(0, 1),
      { device: 1, root: ['containers', a, 'hostname'], point: '/etc/hostname' },
      { device: 1, root: ['containers', b, 'hosts'], point: '/etc/hosts' },
    ];
    const texts = [typical, two(0, 1), two(1, 0), two(0, 0)].map(text);
    const other = typical.map((one) => ({ ...one, device: 0 }));
    assert.equal(new Set([...texts, text(other)]).size, 5);
  });
});

test('what engines name by numbers is variable, and what people name is not', () => {
  const symbols = (...names: string[]): number => {
    const said = [...typical.slice(0, 1), { device: 1, root: names, point: '/srv' }];
    return read(tableOf(said, first, [0, 1]), first).normal?.variables.length ?? 0;
  };
  const uuid = '0b5d4b6e-7a3c-4f0e-9a51-3f2c1d0e9b8a';
  assert.equal(symbols('web', uuid, `libpod-${'0'.repeat(64)}.scope`, 'crun-web.scope', '3f2a1b0c'), 5);
  assert.equal(symbols('webs', 'a-web', 'web.scope', 'cafe', 'deadbeef-x', `volume-${uuid.slice(0, 20)}`), 0);
});

describe('a mount table is unusual', () => {
  const table = tableOf(typical, first, [0, 1]);
  const isUsual = (bytes: Buffer, root = '/run/bundles/web/root', id = 'web'): boolean =>
    normalize(bytes, root, id) !== undefined;
  const changed = (from: string, to: string): Buffer => Buffer.from(table.toString().replace(from, to));
  test('with names that are not written as they are', () => {
    assert.equal(isUsual(table), true);
    assert.equal(isUsual(changed('/etc/hostname', '/etc/host\\040name')), false);
    assert.equal(isUsual(changed('/containers', '/cont"ainers')), false);
  });
  test('of a directory that was removed while it was mounted', () => {
    assert.equal(isUsual(changed('/hostname ', '/hostname//deleted ')), false);
  });
  test('of a container that has the root directory of the host, or whose id says nothing', () => {
    assert.equal(isUsual(table, '/'), false);
    assert.equal(isUsual(table, '/run/bundles/web/root', '..'), false);
  });
  test('with very many mounts', () => {
    const many = Array.from({ length: 300 }, (_, i) => ({ device: 0, root: [], point: `/${i}` }));
    const mounts = [...typical, ...many];
    assert.equal(
      isUsual(
        tableOf(
          mounts,
          first,
          mounts.map((_, i) => i),
        ),
      ),
      false,
    );
  });
});
