// doctor: what this host must have, one line a check, each failure with its fix, and last a live run.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { addon, distDirectory } from './addon.js';
import { attach } from './attach.js';
import { ownCgroup } from './cgroup.js';
import { JailrunError } from './error.js';
import { check, checkHost } from './host.js';

/** Prints the checks; the exit status is 0 when all hold and 1 otherwise. */
export function doctor(json: boolean): never {
  const checks = checkHost();
  checks.push(check('cgroup2', ownCgroup));
  if (checks.every(({ error }) => !error)) checks.push(check('attach', attachAll));
  if (checks.every(({ error }) => !error)) checks.push(check('self-test', testJail));
  for (const { name, found, error } of checks) print(json, name, found, error);
  return addon.exitNow(checks.some(({ error }) => error) ? 1 : 0);
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

function print(
  json: boolean,
  name: string,
  found: string | undefined,
  error: JailrunError | undefined,
): void {
  const row = {
    version: 1,
    type: 'check',
    name,
    ok: !error,
    ...(error ? { code: error.code, message: error.message } : { found }),
  };
  const line = json
    ? JSON.stringify(row)
    : `${error ? 'FAIL' : 'ok  '}  ${name}: ${error ? error.message : found}`;
  process.stdout.write(`${line}\n`);
}
