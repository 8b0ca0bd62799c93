import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import fc from 'fast-check';
import { type Hook, jailStages } from '../../src/launcher/hook.js';
import { BundleFault, withHooks } from '../../src/launcher/ocibundle.js';
import { replaceFile } from '../../src/launcher/replacefile.js';

const hook: Hook = { path: '/usr/local/lib/jailrun/jailrun', args: ['jailrun', 'oci-hook'], timeout: 60 };
const both = { createRuntime: [hook], poststop: [hook] };
const other = { path: '/bin/other' };

/** What the text says when the hook is in it. */
const parsed = (text: string) => JSON.parse(withHooks(text, hook));

describe('a config.json gets the hook in both stages', () => {
  for (const [name, text, hooks] of [
    ['without hooks', '{"ociVersion":"1.0.2","process":{"args":["sh"]}}', both],
    ['that says nothing', '{}', both],
    ['with hooks null', '{"hooks":null}', both],
    ['with hooks that are empty', '{"hooks":{ }}', both],
    [
      'with hooks for other stages',
      '{"hooks":{"prestart":[{"path":"/bin/other"}]}}',
      { ...both, prestart: [other] },
    ],
    ['with stages null and empty', '{"hooks":{"createRuntime":null,"poststop":[]}}', both],
    [
      'with other hooks in its stages, behind those',
      '{"hooks":{"createRuntime":[{"path":"/bin/other"}],"poststop":[ {"path":"/bin/other"} ]}}',
      { createRuntime: [other, hook], poststop: [other, hook] },
    ],
    [
      'with the hook in one of them',
      `{"hooks":{"poststop":[${JSON.stringify({ ...hook, env: ['A=1'] })}]}}`,
      { createRuntime: [hook], poststop: [{ ...hook, env: ['A=1'] }] },
    ],
    [
      'with one that has no time to run',
      `{"hooks":{"poststop":[${JSON.stringify({ ...hook, timeout: 0 })}]}}`,
      { createRuntime: [hook], poststop: [{ ...hook, timeout: 0 }, hook] },
    ],
    [
      'with another jailrun in them',
      `{"hooks":{"poststop":[${JSON.stringify({ ...hook, path: '/opt/jailrun' })}]}}`,
      { createRuntime: [hook], poststop: [{ ...hook, path: '/opt/jailrun' }, hook] },
    ],
  ] as const)
    test(name, () => assert.deepEqual(parsed(text).hooks, hooks));

  test('and keeps every other byte', () => {
    const text =
      '\n{ "a" : 18446744073709551615,\t"b":[1.0, "}\\"{" ,{}],\r\n"hooks":{"x":"é"}, "c":{"hooks":1}}\n';
    const inserted = jailStages.map((stage) => `"${stage}":[${JSON.stringify(hook)}],`).join('');
    assert.equal(withHooks(text, hook), text.replace('{"x"', `{${inserted}"x"`));
  });
  test('and not twice', () => {
    for (const text of ['{}', '{"hooks":{"poststop":[{"path":"/bin/other"}]},"z":1}']) {
      const once = withHooks(text, hook);
      assert.equal(withHooks(once, hook), once);
    }
  });
  test('and says what it said before, whatever that is', () => {
    const stages = fc.dictionary(
      fc.constantFrom('createRuntime', 'poststop', 'prestart'),
      fc.array(fc.json().map((text) => JSON.parse(text))),
    );
    const document = fc.tuple(
      fc.dictionary(fc.string({ unit: 'binary' }), fc.jsonValue()),
      fc.option(stages, { nil: undefined }),
      fc.constantFrom(0, 1, '\t'),
    );
    fc.assert(
      fc.property(document, ([rest, hooks, space]) => {
        delete rest.hooks;
        fc.pre(!Object.keys(rest).some((key) => /^hoo[k\u212a][s\u017f]$/i.test(key)));
        const text = JSON.stringify({ ...rest, ...(hooks && { hooks }), last: 1 }, null, space);
        const { hooks: after, ...same } = parsed(text);
        assert.deepEqual(same, JSON.parse(JSON.stringify({ ...rest, last: 1 })));
        for (const stage of jailStages) assert.deepEqual(after[stage].at(-1), hook);
        for (const [stage, before] of Object.entries(hooks ?? {}))
          assert.deepEqual(after[stage].slice(0, before.length), JSON.parse(JSON.stringify(before)));
      }),
    );
  });
});

describe('a config.json is refused', () => {
  for (const [name, text, message] of [
    ['that is no object', '[]', /no JSON object/],
    ['whose hooks are no object', '{"hooks":[]}', /hooks is no object/],
    ['whose stage is no list', '{"hooks":{"poststop":{}}}', /hooks\.poststop is no list/],
    ['with hooks twice', '{"hooks":{},"hooks":{}}', /hooks is there twice/],
    ['with hooks twice, once in escapes', '{"hooks":{},"h\\u006foks":{}}', /hooks is there twice/],
    ['with hooks in another case', '{"Hooks":{}}', /"Hooks" is hooks to some runtimes/],
    ['with hooks in letters that fold to them', '{"hoo\u212as":{}}', /is hooks to some runtimes/],
    ['with a stage twice', '{"hooks":{"poststop":[],"poststop":[]}}', /poststop is there twice/],
    ['with a stage in another case', '{"hooks":{"postStop":[]}}', /"postStop" is poststop to some runtimes/],
  ] as const)
    test(name, () =>
      assert.throws(
        () => withHooks(text, hook),
        (error) => error instanceof BundleFault && message.test(error.message),
      ),
    );
  test('that is no JSON', () => assert.throws(() => withHooks('{"a":}', hook), SyntaxError));
});

describe('replacing a file', () => {
  let directory: string;
  before(() => {
    directory = mkdtempSync('/tmp/jailrun-replace-');
  });
  after(() => rmSync(directory, { recursive: true }));

  test('keeps its mode, leaves nothing else, and makes another file of it', () => {
    const path = join(directory, 'config.json');
    writeFileSync(path, 'before');
    chmodSync(path, 0o640);
    const { ino } = statSync(path);
    replaceFile(path, 'after');
    assert.deepEqual([readFileSync(path, 'utf8'), statSync(path).mode & 0o7777], ['after', 0o640]);
    assert.notEqual(statSync(path).ino, ino);
    assert.deepEqual(readdirSync(directory), ['config.json']);
  });
  test('leaves the old one where it fails', () => {
    assert.throws(() => replaceFile(join(directory, 'no/file'), 'text'), { code: 'ENOENT' });
    assert.deepEqual(readdirSync(directory).sort(), ['config.json']);
  });
});
