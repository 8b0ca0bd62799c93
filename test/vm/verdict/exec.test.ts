// Executing programs.
import type { Row } from './table.js';
import { readable, testTreeRows } from './tree.js';

const rows: Row[] = [
  {
    name: 'execute a program that is not on its list',
    denied: ['exec', '/usr/bin/id'],
    allowed: ['exec', '/usr/bin/true'],
    hook: 'file_open',
    operation: 'exec',
    target: '/usr/bin/id',
  },
  {
    name: 'execute a program that it may read',
    denied: ['exec', `${readable}/readable-program`],
    allowed: ['exec', `${readable}/program/true`],
    hook: 'bprm_check_security',
    operation: 'exec',
    target: `${readable}/readable-program`,
  },
  {
    name: 'execute a program under a granted name that links to another one',
    denied: ['exec', `${readable}/link-to-id`],
    allowed: ['exec', `${readable}/program/true`],
    hook: 'file_open',
    operation: 'exec',
    target: '/usr/bin/id',
  },
  {
    name: 'execute a script whose interpreter is not on its list',
    denied: ['exec', `${readable}/program/python-script`],
    allowed: ['exec', `${readable}/program/sh-script`],
    hook: 'file_open',
    operation: 'exec',
    target: '/usr/bin/env',
  },
];

testTreeRows(rows);
