// doctor: what this host must have, one line a check, each failure with its fix, and last a live run.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { distDirectory } from './addon.js';
import { attach } from './attach.js';
import { ownCgroup } from './cgroup.js';
import { JailrunError } from './error.js';
import { check, checkHost } from './host.js';

/** A check as `doctor --json` prints it, one line each. Fields are only ever added. */
export interface HostReport {
  version: 1;
  type: 'check';
  name: string;
  ok: boolean;
  /** What was found, where it is ok. */
  found?: string;
  /** Otherwise what is wrong: a JailrunError's code and message. */
  code?: string;
  message?: string;
}

/** Checks this host, in the order in which a run needs what is checked. */
export function doctor(): HostReport[] {
  const checks = checkHost();
  checks.push(check('cgroup2', ownCgroup));
  if (checks.every(({ error }) => !error)) checks.push(check('attach', attachAll));
  if (checks.every(({ error }) => !error)) checks.push(check('self-test', testJail));
  return checks.map(({ name, found, error }) => ({
    version: 1,
    type: 'check',
    name,
    ok: !error,
    ...(error ? { code: error.code, message: error.message } : found !== undefined && { found }),
  }));
}

/** For people: a line for each check. */
export function doctorLines(checks: readonly HostReport[]): string[] {
  return checks.map(
    ({ name, ok, found, message }) => `${ok ? 'ok  ' : 'FAIL'}  ${name}: ${found ?? message}`,
  );
}

function attachAll(): string {
  const { meta } = attach();
  return `${meta.hooks} programs through ${meta.fmodRet ? 'fmod_ret/security_*' : 'the BPF LSM'}`;
}

/** A jailed read of /etc/shadow must fail and a jailed read of /etc/passwd must not. */
function testJail(): string {
  const read = (path: string) =>
    spawnSync(join(distDirectory, 'jailrun'), ['--role', 'restricted', '--', 'cat', path], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  const allowed = read('/etc/passwd');
  const denied = read('/etc/shadow');
  if (allowed.status === 0 && denied.status === 1 && denied.stderr.includes('denied read /etc/shadow')) {
    return 'a jailed read of /etc/shadow was denied, one of /etc/passwd was not';
  }
  const lines = [allowed, denied].map(({ status, stderr }) => `status ${status}: ${stderr.trim()}`);
  throw new JailrunError(
    'SELF_TEST',
    `The role restricted did not hold: reading /etc/passwd ended with ${lines[0]}; reading /etc/shadow ended with ${lines[1]}. Do not rely on jails here.`,
  );
}
