// jailrun changes nothing that a command can notice of how it was started: the cases of test/front/cases.ts
// with the real launcher and a real jail.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { cases, hardLimitCases, type Way } from '../front/cases.js';
import { buildTools, type Tools } from '../front/tools.js';
import { attach, jailrun, leave } from './jail.js';

describe('a command is started as it would be without jailrun:', () => {
  const directory = mkdtempSync('/tmp/jailrun-transparent-');
  let tools: Tools;

  before(() => {
    tools = buildTools(directory);
    attach();
  });
  after(() => {
    leave();
    rmSync(directory, { recursive: true });
  });

  // A terminal of which the shell does not know how to mark what is pasted.
  const env = { ...process.env, TERM: 'dumb' };
  const wayOf = (...prefix: string[]): Way => ({ tools, prefix, settings: [], env });
  for (const { name, observe } of [...cases, ...hardLimitCases]) {
    describe(name, () => {
      let direct: unknown;
      before(async () => {
        direct = await observe(wayOf());
      });
      for (const options of [
        ['--role', 'permissive'],
        ['--role', 'permissive', '--exec'],
      ]) {
        test(options.includes('--exec') ? 'with --exec' : 'supervised', async () => {
          // What is remembered needs no launcher: see fast.test.ts.
          rmSync('/run/jailrun/starts', { recursive: true, force: true });
          assert.deepEqual(await observe(wayOf(jailrun, ...options, '--')), direct);
        });
      }
    });
  }
});
