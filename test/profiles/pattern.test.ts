import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { fromByteString, toByteString } from '../../src/profiles/locate.js';
import {
  checkPattern,
  DEEP,
  matcherOf,
  matchName,
  parsePattern,
  TooManyRows,
} from '../../src/profiles/pattern.js';

const matches = (glob: string, name: string): boolean =>
  matchName(matcherOf([toByteString(glob)], 1000), toByteString(name)) !== undefined;

describe('a component with wildcards', () => {
  test('* stands for any bytes, none included', () => {
    for (const name of ['a', 'ab', 'a\xff', 'ü']) assert.ok(matches('*', name), name);
    assert.ok(matches('a*b', 'ab') && matches('a*b', 'a.b.b') && matches('*.*', 'x.'));
    assert.ok(!matches('a*b', 'ba') && !matches('a*', 'b'));
  });
  test('* stands for a dot in front, too', () => {
    assert.ok(matches('*', '.git') && matches('?x', '.x'));
  });
  test('? stands for one character, however many bytes it has', () => {
    for (const name of ['a', 'ü', '€', '𐍈']) assert.ok(matches('?', name), name);
    for (const name of ['', 'ab', 'üü']) assert.ok(!matches('?', name), name);
  });
  test('? stands for no byte that begins no character', () => {
    for (const name of ['\xff', '\xc3', '\x80', '\xc0\xaf', '\xed\xa0\x80', '\xf4\x90\x80\x80'])
      assert.equal(matchName(matcherOf(['?'], 1000), name), undefined, JSON.stringify(name));
  });
  test('a class stands for one of its members, and a negated one for any other character', () => {
    assert.ok(matches('[a-c_]', 'b') && matches('[a-c_]', '_') && !matches('[a-c_]', 'd'));
    assert.ok(matches('[!a-c]', 'd') && matches('[^a-c]', 'ü') && !matches('[!a-c]', 'b'));
    assert.ok(matches('[]x]', ']') && matches('[!]]', 'x') && !matches('[!]]', ']'));
    assert.ok(matches('[a-]', '-') && matches('[-a]', '-'));
  });
  test('never stands for a slash', () => {
    assert.equal(matchName(matcherOf(['*'], 1000), 'a/b'), undefined);
  });
});

describe('several at once', () => {
  const globs = ['a*', '*b', '?'];
  const matcher = matcherOf(globs, 1000);
  const all = (name: string): string[] => {
    const match = matchName(matcher, name);
    return match === undefined ? [] : (matcher.matches[match] ?? []).map((i) => globs[i] ?? '');
  };
  test('tell which of them match', () => {
    assert.deepEqual(all('a'), ['a*', '?']);
    assert.deepEqual(all('ab'), ['a*', '*b']);
    assert.deepEqual(all('xb'), ['*b']);
    assert.deepEqual(all('xx'), []);
  });
  test('are refused where their table grows beyond its limit', () => {
    assert.throws(() => matcherOf([`*a${'?'.repeat(20)}`], 500), TooManyRows);
  });
});

test('random globs match what the same regular expressions match', () => {
  const piece = fc.constantFrom('a', 'b', '*', '?', '[ab]', '[!a]', 'ü', '.');
  const glob = fc.array(piece, { minLength: 1, maxLength: 5 }).map((pieces) => pieces.join(''));
  const name = fc.array(fc.constantFrom('a', 'b', 'c', 'ü', '.'), { minLength: 1, maxLength: 6 });
  fc.assert(
    fc.property(fc.array(glob, { minLength: 1, maxLength: 3 }), name, (globs, letters) => {
      const text = letters.join('');
      const matcher = matcherOf(globs.map(toByteString), 5000);
      const match = matchName(matcher, toByteString(text));
      const found = match === undefined ? [] : matcher.matches[match];
      const expected = globs.flatMap((one, i) => {
        const expression = one
          .replaceAll('.', '\\.')
          .replaceAll('*', '.*')
          .replaceAll('?', '.')
          .replaceAll('[!', '[^');
        return new RegExp(`^${expression}$`, 'u').test(text) ? [i] : [];
      });
      assert.deepEqual(found, expected, `${globs} ${fromByteString(toByteString(text))}`);
    }),
    { numRuns: 2000 },
  );
});

describe('a path', () => {
  test('is split into names, globs and **, of which none stands at its end or twice in a row', () => {
    assert.deepEqual(parsePattern(['srv', '**', '**', '*.x', 'a[*]', '**']), [
      { name: 'srv' },
      DEEP,
      { glob: '*.x' },
      { name: 'a*' },
    ]);
  });
  test('whose wildcards mean nothing is told from others', () => {
    for (const text of ['a**', '[', '[]', '[b-a]', '[\xc3\xbc]']) assert.ok(checkPattern([text]), text);
    for (const text of ['**', 'a*?', '[a-b]', '[*]', ']', '[!!]'])
      assert.equal(checkPattern([text]), undefined, text);
  });
});
