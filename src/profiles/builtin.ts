/** The form in which the build hands the built-in roles to the launcher: JSON, checked already. */
import type { Policy, ResolvedRole } from './policy.js';
import { resolve } from './resolve.js';

/** The built-in roles twice: ready for use, and as parsed for resolve() together with other policies. */
export interface BuiltIn {
  roles: ResolvedRole[];
  policies: Policy[];
}

const format = 'jailrun built-in roles 1';

/** @throws PolicyError when the policies contradict each other */
export function encodeBuiltIn(policies: Policy[]): string {
  const builtIn: BuiltIn = { roles: [...resolve(policies).values()], policies };
  return JSON.stringify({ format, ...builtIn });
}

/** @throws Error for what another version of jailrun wrote */
export function decodeBuiltIn(json: string): BuiltIn {
  const content = JSON.parse(json) as BuiltIn & { format?: unknown };
  if (content.format !== format)
    throw new Error(
      `The built-in roles are not "${format}" but ${JSON.stringify(content.format)}; run: npm run build`,
    );
  return content;
}
