import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parse } from '../../src/profiles/parse.js';
import { PolicyError, type ResolvedRole } from '../../src/profiles/policy.js';
import { resolve } from '../../src/profiles/resolve.js';
import { bindVariables } from '../../src/profiles/rulepath.js';

function resolveAll(text: string): Map<string, ResolvedRole> {
  return resolve([parse(Buffer.from(`version: 1\n${text}`), 'p.yaml')]);
}

function roleWith(vars: string[], ...read: string[]): ResolvedRole {
  const files = `{read: ${JSON.stringify(read)}}`;
  const role = resolveAll(`roles: {r: {id: 9, vars: [${vars}], files: ${files}}}`).get('r');
  assert.ok(role);
  return role;
}

const bound = (role: ResolvedRole, values: Record<string, string>): string[] =>
  bindVariables([role], new Map(Object.entries(values))).flatMap(({ paths }) =>
    paths.map(({ text }) => text),
  );

function problemOf(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    if (error instanceof PolicyError) return error.message;
    throw error;
  }
  return 'no problem';
}

describe('variables', () => {
  test('get their values, for a whole path, a component or a part of one', () => {
    const role = roleWith(['site', 'n'], '$\u007bsite}/*.html', '/run/$\u007bn}', '/run/a$\u007bn}b', '/x');
    assert.deepEqual(bound(role, { site: '/srv/www', n: 'one/two' }), [
      '/srv/www/*.html',
      '/run/one/two',
      '/run/aone/twob',
      '/x',
    ]);
  });
  test('without a value, and values without a variable, are refused', () => {
    const role = roleWith(['site'], '$\u007bsite}');
    assert.match(
      problemOf(() => bound(role, {})),
      /^p\.yaml:2:9: roles\.r\.vars: the variable site has no value; .*--var site=VALUE/,
    );
    assert.match(
      problemOf(() => bound(role, { site: '/a', sites: '/b' })),
      /no variable sites; did you mean site\?/,
    );
    assert.match(
      problemOf(() => bound(roleWith(['a'], '/x'), { b: '/b', a: '/a' })),
      /no variable b; it has a/,
    );
  });
  test('are bound in every role of a stack that declares them', () => {
    const stack = [
      roleWith(['a', 'b'], '/$\u007ba}/$\u007bb}'),
      roleWith(['a'], '/x/$\u007ba}'),
      roleWith(['b'], '/y'),
    ];
    const values = (entries: Record<string, string>) => new Map(Object.entries(entries));
    const texts = bindVariables(stack, values({ a: '1', b: '2' })).map(({ paths }) => paths[0]?.text);
    assert.deepEqual(texts, ['/1/2', '/x/1', '/y']);
    assert.match(
      problemOf(() => bindVariables(stack, values({ a: '1', b: '2', c: '3' }))),
      /none of the roles declares a variable c; they have a, b/,
    );
    assert.match(
      problemOf(() => bindVariables(stack, values({ a: '1' }))),
      /the variable b has no value/,
    );
  });
  test('whose value makes no rule are refused with the rule’s place', () => {
    const role = roleWith(['v'], '$\u007bv}/x', '/a/$\u007bv}');
    for (const value of ['relative', '/a/../b', '/a//b', '/a/', '/*', '/[a]', '/$\u007bv}'])
      assert.match(
        problemOf(() => bound(role, { v: value })),
        /^p\.yaml:2:\d+: files\.read \$\{v\}\/x: /,
        value,
      );
    assert.match(
      problemOf(() => bound(roleWith(['v'], '/proc/$\u007bv}'), { v: 'self' })),
      /different object for each process/,
    );
  });
  test('must be declared by the role that uses them or by one that it extends', () => {
    const set = 'sets: {s: ["$\u007bsite}/x"]}\n';
    assert.match(
      problemOf(() => resolveAll(`${set}roles: {r: {id: 9, files: {read: ["@s"]}}}`)),
      /^p\.yaml:2:12: roles\.r\.files\.read: role r has no variable site; declare it: vars: \[site\]/,
    );
    const roles = resolveAll(
      `${set}roles: {a: {id: 8, vars: [site]}, r: {id: 9, extends: [a], files: {read: ["@s"]}}}`,
    );
    assert.deepEqual(roles.get('r')?.vars, ['site']);
    assert.match(
      problemOf(() => resolveAll('roles: {r: {id: 9, vars: [site], exec: ["/x/$\u007bsites}"]}}')),
      /no variable sites; did you mean \$\{site\}\?/,
    );
  });
});
