// From a role's name to what the kernel gets: which policies are in use, and the role compiled for this
// host's file systems. The YAML parser is loaded only where somebody wrote a policy.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { decodeBuiltIn } from '../profiles/builtin.js';
import { type CompiledRole, compile } from '../profiles/compile.js';
import { linkReader, readPolicies } from '../profiles/load.js';
import { locate } from '../profiles/locate.js';
import { parseMountinfo } from '../profiles/mounts.js';
import { PolicyError, type ResolvedRole } from '../profiles/policy.js';
import { resolve } from '../profiles/resolve.js';
import { bindVariables } from '../profiles/rulepath.js';
import { nearest } from '../profiles/spelling.js';
import { distDirectory } from './addon.js';
import { JailrunError } from './error.js';

/**
 * Compiles the role, with these values of its variables, for the mount table of this process. Throws a
 * JailrunError UNKNOWN_ROLE or POLICY.
 */
export async function compileRole(
  name: string,
  { policyFile, vars }: { policyFile: string | undefined; vars: ReadonlyMap<string, string> },
): Promise<CompiledRole> {
  try {
    const role = bindVariables(await findRole(name, policyFile), vars);
    const mounts = role.paths.length > 0 ? parseMountinfo(readFileSync('/proc/self/mountinfo')) : [];
    return compile(locate(role, linkReader()), mounts);
  } catch (error) {
    if (error instanceof PolicyError) throw new JailrunError('POLICY', error.message, { cause: error });
    throw error;
  }
}

async function findRole(name: string, policyFile: string | undefined): Promise<ResolvedRole> {
  const files = readPolicies({
    ...(policyFile !== undefined && { policy: policyFile }),
    env: process.env,
    cwd: process.cwd(),
    uid: process.geteuid?.() ?? 0,
  });
  const builtIn = decodeBuiltIn(readFileSync(join(distDirectory, 'roles.jsonl'), 'utf8'));
  if (files.length === 0) return builtIn.role(name) ?? unknownRole(name, builtIn.names);
  const { parse } = await import('../profiles/parse.js');
  const roles = resolve([...builtIn.policies(), ...files.map(({ source, file }) => parse(source, file))]);
  return roles.get(name) ?? unknownRole(name, [...roles.keys()]);
}

function unknownRole(name: string, known: string[]): never {
  const near = nearest(name, known);
  throw new JailrunError(
    'UNKNOWN_ROLE',
    `No policy defines a role ${name}${near ? `; did you mean ${near}?` : '.'} The roles are: ${known.sort().join(', ')}`,
  );
}
