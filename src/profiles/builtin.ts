/**
 * The form in which the build hands the built-in roles to the launcher: JSON lines, checked already. A
 * start needs one role, so only its line is parsed.
 */
import type { Policy, ResolvedRole } from './policy.js';
import { resolve } from './resolve.js';

/** The built-in roles twice: ready for use, and as parsed for resolve() together with other policies. */
export interface BuiltIn {
  names: string[];
  /** Undefined where there is no such role. */
  role(name: string): ResolvedRole | undefined;
  policies(): Policy[];
}

const format = 'jailrun built-in roles 7';

/** @throws PolicyError when the policies contradict each other */
export function encodeBuiltIn(policies: Policy[]): string {
  const roles = resolve(policies);
  const lines = [{ format, names: [...roles.keys()] }, policies, ...roles.values()];
  return lines.map((line) => `${JSON.stringify(line)}\n`).join('');
}

/** @throws Error for what another version of jailrun wrote */
export function decodeBuiltIn(text: string): BuiltIn {
  const [header = '', policies = '', ...roles] = text.split('\n');
  const { format: written, names } = JSON.parse(header || '{}') as { format?: unknown; names: string[] };
  if (written !== format)
    throw new Error(
      `The built-in roles are not "${format}" but ${JSON.stringify(written)}; run: npm run build`,
    );
  return {
    names,
    role: (name) => (names.includes(name) ? JSON.parse(roles[names.indexOf(name)] ?? '') : undefined),
    policies: () => JSON.parse(policies),
  };
}
