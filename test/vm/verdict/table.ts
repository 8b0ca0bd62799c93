// The table that the tests of verdicts share: every row is denied with the right errno and event, the same
// operation works unjailed, and its allowed twin works in the same jail.
import assert from 'node:assert/strict';
import { release } from 'node:os';
import { after, before, describe, test } from 'node:test';
import { type Act, runActs } from '../jail.js';

export interface Row {
  /** Reads on: "a jailed task cannot …". */
  name: string;
  denied: string[];
  allowed: string[];
  /** What the denial says; EACCES unless given. */
  error?: string;
  /** What the program sees, where that is not the error. */
  result?: string;
  /** True where kernels differ in what they try before; the last denial counts. */
  severalEvents?: true;
  hook: string;
  operation: string;
  /** A pattern where the kernel chose a name. */
  target: string | RegExp;
}

/** Flags of open(2), as `act` takes them. */
export const RDONLY = '0';
export const WRONLY = '1';
export const MODE3 = '3';
export const CREATE = '0101';
export const APPEND = '02001';
export const TRUNCATE = '01000';
export const DIRECTORY = '0200000';
export const TMPFILE = '020200002';
export const PATH = '010000000';

const [major = 0, minor = 0] = release().split('.').map(Number);
/** Whether this kernel is of that version or newer. */
export const since = (version: [number, number]): boolean =>
  major > version[0] || (major === version[0] && minor >= version[1]);
/** Before Linux 6.2 ACLs are attributes like any other. */
export const aclHook = (hook: string): string =>
  since([6, 2])
    ? hook
    : hook.replace('set_acl', 'setxattr').replace('remove_acl', 'removexattr').replace('get_acl', 'getxattr');

/** Where the rows act. It is made afresh for the run without a jail and for the one in it. */
export interface Ground {
  make: () => void;
  remove: () => void;
  /** Runs the acts while there is what they need beside files; simply runs them unless given. */
  around?: <T>(acts: () => T) => Promise<T>;
}

/**
 * Two tests for each row, in one jail that `options` of jailrun describe. The programs stay attached for the
 * next file.
 */
export function testRows(rows: Row[], ground: Ground, options: string[]): void {
  const around = ground.around ?? (async <T>(acts: () => T) => acts());
  describe('a jailed task cannot', () => {
    let unjailed: Act[];
    let jailed: ReturnType<typeof runActs>;
    const both = rows.flatMap(({ denied, allowed }) => [denied, allowed]);

    before(async () => {
      ground.make();
      unjailed = await around(() => runActs(rows.map(({ denied }) => denied)).acts);
      ground.make();
      jailed = await around(() => runActs(both, options));
    });
    after(ground.remove);

    rows.forEach((row, i) => {
      test(row.name, () => {
        const denied = jailed.acts[2 * i] as Act;
        const { result: without } = unjailed[i] as Act;
        assert.equal(denied.result, row.result ?? row.error ?? 'EACCES');
        // What this kernel does not offer to anybody is denied all the same, before it could be asked for.
        if (row.hook !== 'socket_create') assert.equal(without, 'ok', 'unjailed');
        const events = jailed.denials.filter(({ pid, ppid }) => pid === denied.pid || ppid === denied.pid);
        if (!row.severalEvents) assert.equal(events.length, 1, JSON.stringify(events));
        assert.notEqual(events.length, 0);
        const { hook, operation, target, error } = events.at(-1) as (typeof events)[0];
        assert.deepEqual(
          { hook, operation, error },
          { hook: row.hook, operation: row.operation, error: row.error ?? 'EACCES' },
        );
        if (typeof row.target === 'string') assert.equal(target, row.target);
        else assert.match(target, row.target);
      });
      test(`${row.name}; its allowed twin works`, () => {
        const { result, pid } = jailed.acts[2 * i + 1] as Act;
        assert.equal(result, 'ok');
        assert.deepEqual(
          jailed.denials.filter((denial) => denial.pid === pid),
          [],
        );
      });
    });
  });
}
