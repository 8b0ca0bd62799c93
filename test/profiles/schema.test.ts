import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { parse as parseYaml } from 'yaml';
import { parse } from '../../src/profiles/parse.js';
import { PolicyError, type PolicyProblem } from '../../src/profiles/policy.js';

type Schema = { [keyword: string]: unknown };

const schema = JSON.parse(readFileSync('profiles/policy.v1.schema.json', 'utf8')) as Schema;

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Each keyword of JSON Schema (draft 7) that policy.v1.schema.json uses, and no other. */
const keywords: Record<string, (argument: never, value: unknown, all: Schema) => boolean> = {
  $schema: () => true,
  title: () => true,
  description: () => true,
  definitions: () => true,
  $ref: (ref: string, value) => {
    const { definitions } = schema as { definitions: Record<string, Schema> };
    return accepts(definitions[ref.replace('#/definitions/', '')] ?? assert.fail(ref), value);
  },
  type: (type: string, value) =>
    ({
      object: isObject(value),
      array: Array.isArray(value),
      string: typeof value === 'string',
      integer: Number.isInteger(value),
    })[type] ?? assert.fail(type),
  const: (constant: unknown, value) => value === constant,
  enum: (values: unknown[], value) => values.includes(value),
  pattern: (pattern: string, value) => typeof value !== 'string' || new RegExp(pattern, 'u').test(value),
  not: (inner: Schema, value) => !accepts(inner, value),
  anyOf: (options: Schema[], value) => options.some((option) => accepts(option, value)),
  minimum: (minimum: number, value) => typeof value !== 'number' || value >= minimum,
  maximum: (maximum: number, value) => typeof value !== 'number' || value <= maximum,
  required: (names: string[], value) => !isObject(value) || names.every((name) => Object.hasOwn(value, name)),
  minProperties: (count: number, value) => !isObject(value) || Object.keys(value).length >= count,
  properties: (properties: Record<string, Schema>, value) =>
    !isObject(value) ||
    Object.entries(properties).every(
      ([name, inner]) => !Object.hasOwn(value, name) || accepts(inner, value[name]),
    ),
  patternProperties: (patterns: Record<string, Schema>, value) =>
    !isObject(value) ||
    Object.entries(patterns).every(([pattern, inner]) =>
      Object.keys(value).every((name) => !new RegExp(pattern, 'u').test(name) || accepts(inner, value[name])),
    ),
  additionalProperties: (allowed: boolean, value, { properties = {}, patternProperties = {} }) =>
    allowed ||
    !isObject(value) ||
    Object.keys(value).every(
      (name) =>
        Object.hasOwn(properties as object, name) ||
        Object.keys(patternProperties as object).some((pattern) => new RegExp(pattern, 'u').test(name)),
    ),
  minItems: (count: number, value) => !Array.isArray(value) || value.length >= count,
  uniqueItems: (unique: boolean, value) =>
    !unique ||
    !Array.isArray(value) ||
    new Set(value.map((item) => JSON.stringify(item))).size === value.length,
  items: (inner: Schema, value) => !Array.isArray(value) || value.every((item) => accepts(inner, item)),
};

function accepts(part: Schema, value: unknown): boolean {
  return Object.entries(part).every(([keyword, argument]) => {
    const check =
      keywords[keyword] ?? assert.fail(`the schema uses ${keyword}, which this test does not know`);
    return check(argument as never, value, part);
  });
}

function problemsOf(text: string): readonly PolicyProblem[] {
  try {
    parse(Buffer.from(text), 'p.yaml');
    return [];
  } catch (error) {
    if (error instanceof PolicyError) return error.problems;
    throw error;
  }
}

describe('the JSON Schema', () => {
  test('accepts the built-in policies', () => {
    for (const name of readdirSync('profiles').filter((file) => file.endsWith('.yaml')))
      assert.ok(accepts(schema, parseYaml(readFileSync(join('profiles', name), 'utf8'))), name);
  });

  /** `good` nearly always, so that most of a policy is good and what is bad stands out. */
  const mostly = (good: fc.Arbitrary<unknown>, bad: fc.Arbitrary<unknown> = junk) =>
    fc.oneof({ weight: 40, arbitrary: good }, { weight: 1, arbitrary: bad });
  const junk = fc.constantFrom<unknown>(null, true, 0, 1, 2.5, -1, 'any', '', 'x', [], {}, [[]], ['any'], {
    a: 1,
  });
  const path = mostly(
    fc.constantFrom(
      ...['/', '/srv', '/a b/c', '/.x', '/..x', '/proc/selfish', '@runtime', '@web-data'],
      ...['/a/*', '/a?', '/[a]', '/a/**/b', '/**', '/[!a-z]*', '/[]]', '/[^]x]'],
      ...['$\u007bv}', '$\u007bv-1}/x*', '/a/$\u007bv}b/.$\u007bw}', '/a$b{c}'],
    ),
    fc.constantFrom(
      ...[
        '',
        'srv',
        '~',
        '/srv/',
        '//srv',
        '/.',
        '/a/../b',
        '/a**',
        '/**a/b',
        '/[',
        '/[]',
        '/[!]',
        '/[a/]',
        '/[ä]',
      ],
      ...[
        '/$\u007bV}',
        '/$\u007b',
        '$\u007bv}x/y',
        '/$\u007bv/w}',
        '@',
        '@A',
        '/proc/self',
        '/proc/self/x',
        '/proc/thread-self',
      ],
    ),
  );
  const number = fc.integer({ min: 1, max: 65535 }).map(String);
  const range = fc
    .tuple(fc.integer({ min: 1, max: 400 }), fc.integer({ min: 401, max: 65535 }))
    .map((ports) => ports.join('-'));
  const host = fc.constantFrom(
    ...['10.0.0.0/8', '0.0.0.0/0', '255.255.255.255', '192.168.1.0/24', '[::]', '[fd00::/8]', '[::/0]'],
    ...['[64:ff9b::1.2.3.4]', '@private', '@metadata', '@loopback', '@link-local'],
  );
  const parts = fc.tuple(
    fc.constantFrom('tcp', 'udp'),
    fc.oneof(
      fc.constant([]),
      host.map((one) => [one]),
    ),
    fc.oneof(
      fc.constant([]),
      fc.oneof(number, range).map((one) => [one]),
    ),
  );
  const good = fc.oneof(
    parts.map(([protocol, hosts, ports]) => [protocol, ...hosts, ...ports].join(':')),
    fc.constantFrom(
      'unix:/',
      'unix:/run/*.sock',
      'unix:/$\u007bv}/x',
      'unix:@a',
      'unix:@*',
      'unix:@/x y?[a-z/]',
    ),
  );
  const ill = fc.oneof(
    fc.constantFrom(
      ...['tcp:0', 'tcp:080', 'tcp:', '80', 'TCP:80', 'sctp:1', 'tcp:*', 'tcp:1-', 'tcp:-1', 'tcp::1', 'any'],
      ...[
        'tcp:1.2.3',
        'tcp:1.2.3.256',
        'tcp:1.2.3.4/33',
        'tcp:01.2.3.4',
        'tcp:[::]1',
        'tcp:[::/129]',
        'tcp:fd00::1',
      ],
      ...[
        'tcp:@privat',
        'tcp:@',
        'unix:',
        'unix:x',
        'unix:/x/',
        'unix:/proc/self',
        'unix:@',
        'unix:@a**',
        'unix:@[',
      ],
    ),
    fc.integer({ min: 65_536, max: 200_000 }).map((port) => `tcp:${port}`),
  );
  const end = mostly(good, ill);
  const deniedEnd = mostly(
    fc.oneof(
      good,
      fc
        .tuple(
          host,
          fc.oneof(
            fc.constant([]),
            number.map((one) => [one]),
          ),
        )
        .map(([one, ports]) => [one, ...ports].join(':')),
    ),
    ill,
  );
  const listOf = (item: fc.Arbitrary<unknown>) =>
    mostly(
      fc.uniqueArray(mostly(item), {
        minLength: 1,
        maxLength: 3,
        selector: (entry) => JSON.stringify(entry),
      }),
      fc.tuple(item, item),
    );
  /** A mapping with any of the fields, and sometimes one that does not belong there. */
  const someOf = (fields: Record<string, fc.Arbitrary<unknown>>, required: string[], wrong: string) =>
    mostly(
      fc.record(fields, { requiredKeys: required }),
      fc.record({ ...fields, [wrong]: listOf(path) }, { requiredKeys: [wrong] }),
    );
  const scope = fc.constantFrom('any', 'none');
  const account = mostly(
    fc.constantFrom('www-data', '_a.b', '0', '1001'),
    fc.constantFrom('01', '', '1a', 'a b', '99999999999'),
  );
  const stack = fc.oneof(fc.constantFrom('web', 'x'), listOf(fc.constantFrom('web', 'x')));
  const enrollments = mostly(
    fc.dictionary(
      mostly(
        fc.constantFrom('/usr/sbin/nginx', '/a b/.c'),
        fc.constantFrom('/', 'a', '/a/', '/a/../b', '/a*', '/a//b', '/.'),
      ) as fc.Arbitrary<string>,
      mostly(stack),
      { minKeys: 1, maxKeys: 2 },
    ),
  );
  const role = someOf(
    {
      id: mostly(fc.integer({ min: 1, max: 65535 }), fc.constantFrom<unknown>(0, -1, 65536, 1e21, 1.5, '3')),
      description: mostly(fc.string()),
      extends: listOf(fc.constantFrom('a', 'b', 'c')),
      vars: listOf(fc.constantFrom('v', 'w', 'v-1')),
      mode: mostly(fc.constantFrom('enforce', 'audit')),
      files: mostly(fc.oneof(scope, someOf({ read: listOf(path), write: listOf(path) }, ['read'], 'raed'))),
      exec: mostly(fc.oneof(scope, listOf(path))),
      allow: mostly(
        fc.oneof(
          scope,
          listOf(fc.constantFrom('setuid', 'ptrace', 'raw-disk', 'sys_admin', 'CAP_SETUID', '')),
        ),
      ),
      jit: mostly(scope),
      'on-denial': mostly(fc.constantFrom('deny', 'kill'), scope),
      enroll: someOf({ users: listOf(account), groups: listOf(account) }, ['users'], 'user'),
      network: mostly(
        fc.oneof(
          scope,
          someOf({ bind: listOf(end), connect: listOf(end), deny: listOf(deniedEnd) }, ['bind'], 'denied'),
        ),
      ),
    },
    ['id'],
    'on-denials',
  );
  const named = (value: fc.Arbitrary<unknown>) =>
    mostly(
      fc.dictionary(fc.constantFrom('web', 'web_with-db2'), mostly(value), { minKeys: 1, maxKeys: 2 }),
      fc.dictionary(fc.constantFrom('Web', '1', '', 'a.b', '-a', '__proto'), value, { maxKeys: 1 }),
    );
  const policy = someOf(
    {
      version: mostly(fc.constant(1), fc.constantFrom<unknown>(0, 2, '1')),
      sets: named(listOf(path)),
      roles: named(role),
      cgroups: enrollments,
      executables: enrollments,
      containers: someOf(
        {
          default: mostly(fc.oneof(fc.constant('none'), stack)),
          roles: mostly(fc.oneof(fc.constant('any'), listOf(fc.constantFrom('web', 'x')))),
        },
        ['roles'],
        'role',
      ),
      xattrs: someOf(
        { owners: listOf(account), roles: listOf(fc.constantFrom('web', 'x')) },
        ['owners', 'roles'],
        'users',
      ),
    },
    ['version'],
    'rolse',
  );

  test('accepts and refuses what the validator does, on random policies', () => {
    let good = 0;
    let bad = 0;
    fc.assert(
      fc.property(policy, (document) => {
        const problems = problemsOf(JSON.stringify(document));
        if (problems.length === 0) good++;
        else bad++;
        const told = problems.map(({ code, where, message }) => `${code} ${where}: ${message}`).join('\n');
        assert.equal(accepts(schema, document), problems.length === 0, told);
      }),
      { numRuns: 5000 },
    );
    assert.ok(good > 500 && bad > 500, `${good} policies were good and ${bad} bad`);
  });

  test('accepts nothing but what only the validator can see, among bad ones', () => {
    const role = (body: string) => `version: 1\nroles: {a: {id: 1, ${body}}}`;
    const beyond = {
      'a number that is not written in decimal': 'version: 1\nroles: {a: {id: 0x10}}',
      'a component that is too long in bytes': `version: 1\nsets: {a: [/${'n'.repeat(121)}]}`,
      'a path that is too deep': `version: 1\nsets: {a: [${'/d'.repeat(129)}]}`,
      'a class with a reversed range': 'version: 1\nsets: {a: ["/[z-a]"]}',
      'half a character': 'version: 1\nsets: {a: ["/\\ud800"]}',
      'bits behind a prefix': role('network: {bind: ["tcp:10.0.0.1/8"]}'),
      'an IPv6 address that is none': role('network: {bind: ["tcp:[::1::]"]}'),
      'IPv4 in IPv6 form': role('network: {bind: ["tcp:[::ffff:1.2.3.4]"]}'),
      'a range that goes down': role('network: {bind: [tcp:5-4]}'),
      'a rule in two forms': role('network: {bind: [tcp, tcp:1-65535]}'),
      'an abstract name that is too long': role(`network: {bind: ["unix:@${'n'.repeat(108)}"]}`),
      'an alias': 'version: 1\nsets: {a: &a [/x], b: *a}',
    };
    for (const [what, text] of Object.entries(beyond)) {
      assert.notEqual(problemsOf(text).length, 0, what);
      assert.ok(accepts(schema, parseYaml(text)), what);
    }
  });
});
