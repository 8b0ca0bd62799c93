// What the OCI hook makes of a container's state and annotations.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseState } from '../../src/launcher/container.js';
import { JailrunError } from '../../src/launcher/error.js';
import { requestOf } from '../../src/launcher/oci.js';
import { parse } from '../../src/profiles/parse.js';
import { containersOf } from '../../src/profiles/resolve.js';

const codeOf = (action: () => unknown): string => {
  try {
    action();
  } catch (error) {
    if (error instanceof JailrunError) return `${error.code} ${error.message}`;
    throw error;
  }
  return 'nothing is wrong';
};

describe('a container’s state', () => {
  const state = { ociVersion: '1.0.2', id: 'c1', status: 'creating', pid: 7, bundle: '/b' };

  test('is read with and without annotations', () => {
    assert.deepEqual(parseState(JSON.stringify(state)), {
      id: 'c1',
      status: 'creating',
      pid: 7,
      bundle: '/b',
      annotations: {},
    });
    const annotations = { 'io.jailrun.role': 'web' };
    assert.deepEqual(parseState(JSON.stringify({ ...state, annotations })).annotations, annotations);
  });
  test('needs no process once the container has ended', () => {
    const { pid, ...ended } = { ...state, status: 'stopped' };
    assert.equal(parseState(JSON.stringify(ended)).pid, undefined);
  });
  test('of another form is refused', () => {
    const wrong = {
      'it is not JSON': '',
      'it is no object': 'null',
      'it has no id': JSON.stringify({ ...state, id: '' }),
      'it has no status': JSON.stringify({ ...state, status: 1 }),
      'its pid is no number': JSON.stringify({ ...state, pid: '7' }),
      'its bundle is no absolute path': JSON.stringify({ ...state, bundle: 'b' }),
      'its annotations are no object': JSON.stringify({ ...state, annotations: 'x' }),
      'an annotation is no text': JSON.stringify({ ...state, annotations: { a: 1 } }),
    };
    for (const [why, text] of Object.entries(wrong))
      assert.match(
        codeOf(() => parseState(text)),
        new RegExp(`^OCI_STATE .*${why}`),
        why,
      );
  });
});

describe('what holds a container', () => {
  const policyOf = (containers: string) =>
    containersOf([parse(Buffer.from(`version: 1\ncontainers: ${containers}\n`), '/etc/jailrun/policy.yaml')]);
  const asked = (annotations: Record<string, string>, containers?: string) =>
    requestOf({ id: '0123456789abcdef', annotations }, containers ? policyOf(containers) : undefined);
  const role = (name: string) => ({ 'io.jailrun.role': name });

  test('is nothing where it asks for none and no policy says anything', () => {
    assert.equal(asked({}), undefined);
    assert.equal(asked({}, '{roles: any}'), undefined);
    assert.equal(asked({}, '{default: none, roles: [web]}'), undefined);
  });
  test('is any role that it asks for, where no policy bounds that', () => {
    assert.deepEqual(asked(role('web+ci')), { role: ['web', 'ci'], var: [], name: '0123456789ab' });
  });
  test('is the default role, or the stack, where it asks for none', () => {
    assert.deepEqual(asked({}, '{default: web}')?.role, ['web']);
    assert.deepEqual(asked({}, '{default: [web, ci]}')?.role, ['web', 'ci']);
  });
  test('is what the policy lets it ask for', () => {
    assert.deepEqual(asked(role('ci'), '{default: web, roles: [ci]}')?.role, ['ci']);
    assert.deepEqual(asked(role('web'), '{default: web, roles: [ci]}')?.role, ['web']);
    assert.deepEqual(asked(role('x'), '{default: web, roles: any}')?.role, ['x']);
    const refused = codeOf(() => asked(role('x'), '{roles: [ci, web]}'));
    assert.match(refused, /^OCI_ANNOTATION .*asks for role x.*policy\.yaml:2 lets .* ask for ci, web only/);
    assert.match(
      codeOf(() => asked(role('x'), '{default: web}')),
      /ask for none only/,
    );
    assert.match(
      codeOf(() => asked(role('ci+x'), '{roles: [ci]}')),
      /asks for role x/,
    );
  });
  test('has the variables that it binds', () => {
    const annotations = { ...role('ci'), 'io.jailrun.var.workspace': '/a=b', 'org.example.x': 'y' };
    assert.deepEqual(asked(annotations)?.var, ['workspace=/a=b']);
    assert.match(
      codeOf(() => asked({ 'io.jailrun.var.x': 'y' })),
      /is there without io\.jailrun\.role/,
    );
  });
  test('is refused where the runtime would run its code itself', () => {
    assert.match(
      codeOf(() => asked({ ...role('ci'), 'run.oci.handler': 'wasm' })),
      /executes no program/,
    );
    assert.equal(asked({ 'run.oci.handler': 'wasm' }), undefined);
  });
  test('is nothing that a misspelt annotation leaves out', () => {
    assert.match(
      codeOf(() => asked({ 'io.jailrun.roles': 'ci' })),
      /^OCI_ANNOTATION .*io\.jailrun\.roles is no/,
    );
  });
});
