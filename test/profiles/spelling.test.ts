import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nearest } from '../../src/profiles/spelling.js';

test('the nearest word differs by few edits, swaps and capitals', () => {
  const words = ['webserver', 'worker', 'database'];
  assert.equal(nearest('websrever', words), 'webserver');
  assert.equal(nearest('wroker', words), 'worker');
  assert.equal(nearest('Database', words), 'database');
  assert.equal(nearest('databases', words), 'database');
});

test('nothing is near to a word that is another', () => {
  assert.equal(nearest('mailer', ['webserver', 'worker', 'database']), undefined);
  assert.equal(nearest('x', ['a', 'bc']), undefined);
});
