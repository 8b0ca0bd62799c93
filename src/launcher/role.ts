// From a role's name to what the kernel gets: which policies are in use, and the role compiled for this
// host's file systems. The YAML parser is loaded only where somebody wrote a policy.
import { readFileSync } from 'node:fs';
import { join, resolve as resolvePath } from 'node:path';
import { Scope } from '../abi.js';
import { type BuiltIn, decodeBuiltIn } from '../profiles/builtin.js';
import { type CompiledRole, compile } from '../profiles/compile.js';
import { lenientLinkReader, linkReader, readPolicies } from '../profiles/load.js';
import { locate, type ReadLink } from '../profiles/locate.js';
import { type Mount, parseMountinfo } from '../profiles/mounts.js';
import { PolicyError, type ResolvedRole } from '../profiles/policy.js';
import { resolve } from '../profiles/resolve.js';
import { bindVariables } from '../profiles/rulepath.js';
import { nearest } from '../profiles/spelling.js';
import { distDirectory } from './addon.js';
import { JailrunError } from './error.js';
import type { Kernel } from './kernel.js';
import type { HeldRole } from './pods.js';

/** The role of a run. Throws a JailrunError USAGE unless exactly one is named. */
export function requireOneRole([role, ...more]: string[] = [], usage: string): string {
  if (role === undefined) {
    throw new JailrunError('USAGE', `No role is named, so nothing would be allowed. Name one: ${usage}`);
  }
  if (more.length > 0) {
    throw new JailrunError(
      'USAGE',
      `Several roles are named (${[role, ...more].join(', ')}), and this version enforces one. Name one --role, or write a role that extends them.`,
    );
  }
  return role;
}

/** The policies that somebody names beside those that have a place of their own; absolute paths. */
export interface PolicySources {
  /** By --policy. */
  policy?: string;
  /** By $JAILRUN_POLICY. */
  environment?: string;
}

/** What the caller of this process names. */
export function sourcesHere(policyFile: string | undefined): PolicySources {
  const environment = process.env.JAILRUN_POLICY;
  return {
    ...(policyFile !== undefined && { policy: resolvePath(policyFile) }),
    ...(environment && { environment: resolvePath(environment) }),
  };
}

/** The role of this name. Throws a JailrunError UNKNOWN_ROLE or POLICY. */
export async function findRole(name: string, sources: PolicySources): Promise<ResolvedRole> {
  const roles = await rolesInUse(sources);
  return roles.role(name) ?? unknownRole(name, roles.names);
}

/**
 * The role with the values of its variables, each as NAME=VALUE. Throws a JailrunError USAGE or POLICY.
 */
export function bindRole(role: ResolvedRole, texts: readonly string[] = []): ResolvedRole {
  const values = new Map<string, string>();
  for (const text of texts) {
    const [, name, value] = /^([^=]+)=(.*)$/s.exec(text) ?? [];
    if (name === undefined || value === undefined)
      throw new JailrunError('USAGE', `--var ${text} is not NAME=VALUE. Say: --var site=/srv/www`);
    if (values.has(name)) throw new JailrunError('USAGE', `--var gives ${name} two values. Give it one.`);
    values.set(name, value);
  }
  try {
    return bindVariables(role, values);
  } catch (error) {
    throw asJailrunError(error);
  }
}

/** All roles in use. Throws a JailrunError POLICY. */
export async function listRoles(policyFile: string | undefined): Promise<ResolvedRole[]> {
  const { names, role } = await rolesInUse(sourcesHere(policyFile));
  return names.map((name) => role(name) ?? unknownRole(name, names));
}

/** Where nobody wrote a policy, a role is read when it is asked for, and no other. */
async function rolesInUse({ policy, environment }: PolicySources): Promise<Pick<BuiltIn, 'names' | 'role'>> {
  const builtIn = readBuiltIn();
  try {
    const files = readPolicies({
      ...(policy !== undefined && { policy }),
      env: { ...process.env, JAILRUN_POLICY: environment },
      cwd: '/',
      uid: ownUid(),
    });
    if (files.length === 0) return builtIn;
    const { parse } = await import('../profiles/parse.js');
    const roles = resolve([...builtIn.policies(), ...files.map(({ source, file }) => parse(source, file))]);
    return { names: [...roles.keys()], role: (name) => roles.get(name) };
  } catch (error) {
    throw asJailrunError(error);
  }
}

/** The roles that come with jailrun. */
export function readBuiltIn(): BuiltIn {
  return decodeBuiltIn(readFileSync(join(distDirectory, 'roles.jsonl'), 'utf8'));
}

/** Compiles the role for the mount table of this process, to be enforced. Throws a JailrunError POLICY. */
export function compileRole(role: ResolvedRole, kernel: Kernel): CompiledRole {
  try {
    const mounts = role.paths.length > 0 ? kernel.readMounts(hostMounts) : [];
    return compileHere(role, mounts, linkReader());
  } catch (error) {
    throw asJailrunError(error);
  }
}

/** What reports, and the next reload, need to know of a role that holds a pod. */
export function heldRole(role: ResolvedRole, compiled: CompiledRole): HeldRole {
  const scopes = (['files', 'exec', 'network'] as const).flatMap((section) =>
    role[section] === Scope.RULES ? [] : [`${section}: ${role[section] === Scope.ANY ? 'any' : 'none'}`],
  );
  const allow = role.allow === 'any' ? ['any'] : role.allow;
  return {
    digest: String(compiled.digest),
    definition: role.place,
    network: role.network,
    rules: compiled.rules,
    other: [
      ...scopes,
      ...allow.map((power) => `allow: ${power}`),
      ...(role.jit ? [] : ['jit: none']),
      ...(role.audit ? ['mode: audit'] : []),
    ],
  };
}

/** As compileRole(), with a mount table and a reader of links of one's own. Throws a PolicyError. */
export function compileHere(role: ResolvedRole, mounts: readonly Mount[], readLink: ReadLink): CompiledRole {
  return compile(locate(role, readLink), mounts);
}

/** The mount table of this process, without epochs. */
export function hostMounts(): Mount[] {
  return parseMountinfo(readFileSync('/proc/self/mountinfo'));
}

/**
 * Reads this host's symbolic links for who only asks. Root may look everywhere, and what it may not look at
 * would stop a run too; for others it counts as no link and is noted in `unseen`.
 */
export function hostLinks(unseen: Set<string>): ReadLink {
  return ownUid() === 0 ? linkReader() : lenientLinkReader(unseen);
}

/** The user on whose behalf files are read. */
export function ownUid(): number {
  return process.geteuid?.() ?? 0;
}

/** A policy that cannot be used stops jailrun; other errors stay what they are. */
export function asJailrunError(error: unknown): unknown {
  if (!(error instanceof PolicyError)) return error;
  return new JailrunError('POLICY', error.message, { cause: error });
}

function unknownRole(name: string, known: string[]): never {
  const near = nearest(name, known);
  throw new JailrunError(
    'UNKNOWN_ROLE',
    `No policy defines a role ${name}${near ? `; did you mean ${near}?` : '.'} The roles are: ${known.sort().join(', ')}`,
  );
}
