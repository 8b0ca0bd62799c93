// A jail that denies nothing.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runActs } from '../jail.js';
import { hidden, jail, makeTree, readable, removeTree, writable } from './tree.js';

test('what is only audited goes on and is reported once', () => {
  makeTree();
  const rows = [
    ['stat', `${readable}/secret/file`],
    ['setxattr', `${readable}/file`, 'user.new'],
    ['rename', `${writable}/tool`, `${writable}/bin/moved`],
    ['rename', `${hidden}/moved`, `${writable}/moved`],
  ];
  const { acts, denials } = runActs(rows, [...jail, '--audit']);
  assert.deepEqual(
    acts.map(({ result, pid }) => [
      result,
      ...denials.filter((denial) => denial.pid === pid).map(({ hook }) => hook),
    ]),
    [
      ['ok', 'inode_getattr'],
      ['ok', 'inode_setxattr'],
      ['ok', 'path_rename'],
      ['ok', 'path_rename'],
    ],
  );
  removeTree();
});
