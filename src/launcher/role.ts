// From the names of roles to what the kernel gets: which policies are in use, and the roles compiled as one for
// this host's file systems. The YAML parser is loaded only where somebody wrote a policy.
import { readFileSync } from 'node:fs';
import { join, resolve as resolvePath } from 'node:path';
import { Scope } from '../abi.js';
import { type BuiltIn, decodeBuiltIn } from '../profiles/builtin.js';
import { type CompiledRole, compile } from '../profiles/compile.js';
import {
  type FileSystem,
  lenientLinkReader,
  linkReader,
  type PolicyFile,
  readPolicies,
} from '../profiles/load.js';
import { locate, type ReadLink } from '../profiles/locate.js';
import { type Mount, parseMountinfo } from '../profiles/mounts.js';
import {
  type ClaimPolicy,
  type ContainerPolicy,
  type Enrollment,
  PolicyError,
  type ResolvedRole,
} from '../profiles/policy.js';
import { claimsOf, containersOf, enrollmentsOf, resolve } from '../profiles/resolve.js';
import { bindVariables } from '../profiles/rulepath.js';
import { nearest } from '../profiles/spelling.js';
import { maxStack } from '../profiles/stack.js';
import { distDirectory } from './addon.js';
import { JailrunError } from './error.js';
import type { Kernel } from './kernel.js';
import type { HeldRole } from './pods.js';

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

/** What names a stack, as the command line has it. */
export interface StackRequest {
  /** Every one of these roles must permit what is done. */
  role?: string[];
  policy?: string;
  /** NAME=VALUE, each name once. */
  var?: string[];
}

/** Who notes what of this host a stack is made from. */
export interface Witness {
  /** Policies are read by it. */
  policies: FileSystem;
  /** And links by this one. */
  links: FileSystem;
  /** The mount table was these bytes, with the epochs that `mounts` have. */
  sawMounts(bytes: Uint8Array, mounts: readonly Mount[]): void;
}

/**
 * The roles named, with the values of their variables. `usage` is the command in which to name one. Throws a
 * JailrunError USAGE, UNKNOWN_ROLE or POLICY.
 */
export async function findStack(
  request: Pick<StackRequest, 'role' | 'var'>,
  sources: PolicySources,
  usage: string,
  witness?: Pick<Witness, 'policies'>,
): Promise<ResolvedRole[]> {
  return bindStack(await findRoles(request, sources, usage, witness), request.var);
}

/** The same before their variables have values. */
export async function findRoles(
  request: Pick<StackRequest, 'role'>,
  sources: PolicySources,
  usage: string,
  witness?: Pick<Witness, 'policies'>,
): Promise<ResolvedRole[]> {
  const names = namesOf(request, usage);
  return pickRoles(names, await rolesInUse(sources, witness?.policies));
}

/** The same where the parser is loaded already. */
export function findRolesBy(
  parse: Parse,
  request: Pick<StackRequest, 'role'>,
  sources: PolicySources,
  usage: string,
  witness?: Pick<Witness, 'policies'>,
): ResolvedRole[] {
  const names = namesOf(request, usage);
  return pickRoles(names, rolesOf(policyFiles(sources, witness?.policies), parse));
}

function namesOf({ role: names = [] }: Pick<StackRequest, 'role'>, usage: string): string[] {
  if (names.length === 0)
    throw new JailrunError('USAGE', `No role is named, so nothing would be allowed. Name one: ${usage}`);
  if (names.length > maxStack)
    throw new JailrunError(
      'USAGE',
      `${names.length} roles are named, and ${maxStack} can hold together. Write a role that extends several, where that is meant.`,
    );
  const twice = names.find((name, i) => names.indexOf(name) < i);
  if (twice !== undefined)
    throw new JailrunError('USAGE', `Role ${twice} is named twice, which says nothing more. Name it once.`);
  return names;
}

const pickRoles = (names: readonly string[], roles: InUse): ResolvedRole[] =>
  names.map((name) => roles.role(name) ?? unknownRole(name, roles.names));

/** Gives their variables values, NAME=VALUE. Throws a JailrunError USAGE or POLICY. */
export function bindStack(stack: readonly ResolvedRole[], texts: readonly string[] = []): ResolvedRole[] {
  const values = new Map<string, string>();
  for (const text of texts) {
    const [, name, value] = /^([^=]+)=(.*)$/s.exec(text) ?? [];
    if (name === undefined || value === undefined)
      throw new JailrunError('USAGE', `--var ${text} is not NAME=VALUE. Say: --var site=/srv/www`);
    if (values.has(name)) throw new JailrunError('USAGE', `--var gives ${name} two values. Give it one.`);
    values.set(name, value);
  }
  try {
    return bindVariables(stack, values);
  } catch (error) {
    throw asJailrunError(error);
  }
}

/**
 * Whether the whole stack is audited. A pod is enforced or audited, so with only some of its roles in audit mode
 * either those would deny, or the others would not. Throws a JailrunError POLICY then.
 */
export function isAudited(stack: readonly ResolvedRole[]): boolean {
  const audited = stack.filter(({ audit }) => audit);
  const enforced = stack.find(({ audit }) => !audit);
  const [first] = audited;
  if (first && enforced)
    throw new JailrunError(
      'POLICY',
      `${first.place.file}:${first.place.line}:${first.place.column}: roles.${first.name}: it is in audit mode, and role ${enforced.name}, which is not, would not hold beside it; give both the same mode, or audit the whole stack: --audit`,
    );
  return audited.length > 0;
}

/** All roles in use. Throws a JailrunError POLICY. */
export async function listRoles(policyFile: string | undefined): Promise<ResolvedRole[]> {
  const { names, role } = await rolesInUse(sourcesHere(policyFile));
  return names.map((name) => role(name) ?? unknownRole(name, names));
}

/** The role that a policy gives this number. Throws a JailrunError UNKNOWN_ROLE or POLICY. */
export async function roleOfId(id: number, sources: PolicySources): Promise<ResolvedRole> {
  const { names, role } = await rolesInUse(sources);
  const found = names.map((name) => role(name)).find((one) => one?.id === id);
  if (!found)
    throw new JailrunError('UNKNOWN_ROLE', `No policy defines a role with the id ${id}. See: jailrun roles`);
  return found;
}

/** What the policies enroll whoever starts it, and what files may claim. Throws a JailrunError POLICY. */
export const enrollmentsInUse = async (
  sources: PolicySources,
): Promise<Pick<InUse, 'enrollments' | 'claims'>> => rolesInUse(sources);

/** Which roles the policies give containers; undefined where none says anything. Throws a JailrunError POLICY. */
export const containersInUse = async (
  sources: PolicySources,
  witness?: Pick<Witness, 'policies'>,
): Promise<ContainerPolicy | undefined> => (await rolesInUse(sources, witness?.policies)).containers;

interface InUse extends Pick<BuiltIn, 'names' | 'role'> {
  enrollments: Enrollment[];
  containers?: ContainerPolicy;
  claims?: ClaimPolicy;
}

type Parse = typeof import('../profiles/parse.js').parse;

async function rolesInUse(sources: PolicySources, fs?: FileSystem): Promise<InUse> {
  const files = policyFiles(sources, fs);
  return rolesOf(files, files.length > 0 ? (await import('../profiles/parse.js')).parse : undefined);
}

/** The policies that somebody wrote. */
function policyFiles({ policy, environment }: PolicySources, fs?: FileSystem): PolicyFile[] {
  try {
    return readPolicies({
      ...(policy !== undefined && { policy }),
      env: { ...process.env, JAILRUN_POLICY: environment },
      cwd: '/',
      uid: ownUid(),
      ...(fs && { fs }),
    });
  } catch (error) {
    throw asJailrunError(error);
  }
}

/** Where nobody wrote a policy, a role is read when it is asked for, and no other. */
function rolesOf(files: readonly PolicyFile[], parse: Parse | undefined): InUse {
  const builtIn = readBuiltIn();
  if (!parse || files.length === 0) return { names: builtIn.names, role: builtIn.role, enrollments: [] };
  try {
    const policies = files.map(({ source, file }) => parse(source, file));
    const roles = resolve([...builtIn.policies(), ...policies]);
    const [containers, claims] = [containersOf(policies), claimsOf(policies)];
    return {
      names: [...roles.keys()],
      role: (name) => roles.get(name),
      enrollments: enrollmentsOf(policies),
      ...(containers && { containers }),
      ...(claims && { claims }),
    };
  } catch (error) {
    throw asJailrunError(error);
  }
}

/** The roles that come with jailrun. */
export function readBuiltIn(): BuiltIn {
  return decodeBuiltIn(readFileSync(join(distDirectory, 'roles.jsonl'), 'utf8'));
}

/** The file systems that paths are meant on: this host's, or a container's. */
export interface View {
  /** With epochs. Without paths none is needed. */
  mounts(kernel: Kernel, hasPaths: boolean): Mount[];
  readLink: ReadLink;
}

/** The mount table and the links of this process. */
export const hostView = (witness?: Witness): View => ({
  mounts(kernel, hasPaths) {
    let table: Uint8Array = new Uint8Array();
    const read = () => {
      table = readMountTable();
      return parseMountinfo(table);
    };
    const mounts = hasPaths ? kernel.readMounts(read) : [];
    witness?.sawMounts(hasPaths ? table : readMountTable(), mounts);
    return mounts;
  },
  readLink: linkReader(witness?.links),
});

/** Compiles the stack to be enforced. Throws a JailrunError POLICY. */
export function compileStack(
  stack: readonly ResolvedRole[],
  kernel: Kernel,
  view = hostView(),
): CompiledRole {
  try {
    const hasPaths = stack.some(({ paths }) => paths.length > 0);
    return compileHere(stack, view.mounts(kernel, hasPaths), view.readLink);
  } catch (error) {
    throw asJailrunError(error);
  }
}

/** What reports, and the next reload, need to know of the roles that hold a pod. */
export function heldRole(stack: readonly ResolvedRole[], compiled: CompiledRole): HeldRole {
  return {
    digest: String(compiled.digest),
    roles: compiled.members,
    rules: compiled.rules,
    other: stack.flatMap((role) => {
      const lines = linesBesideRules(role);
      return stack.length > 1 ? lines.map((line) => `${role.name}: ${line}`) : lines;
    }),
  };
}

function linesBesideRules(role: ResolvedRole): string[] {
  const scopes = (['files', 'exec', 'network'] as const).flatMap((section) =>
    role[section] === Scope.RULES ? [] : [`${section}: ${role[section] === Scope.ANY ? 'any' : 'none'}`],
  );
  const allow = role.allow === 'any' ? ['any'] : role.allow;
  return [
    ...scopes,
    ...allow.map((power) => `allow: ${power}`),
    ...(role.jit ? [] : ['jit: none']),
    ...(role.kills ? ['on-denial: kill'] : []),
    ...(role.audit ? ['mode: audit'] : []),
  ];
}

/** As compileStack(), with a mount table and a reader of links of one's own. Throws a PolicyError. */
export function compileHere(
  stack: readonly ResolvedRole[],
  mounts: readonly Mount[],
  readLink: ReadLink,
): CompiledRole {
  return compile(
    stack.map((role) => locate(role, readLink)),
    mounts,
  );
}

/** The mount table of this process, without epochs. */
export function hostMounts(): Mount[] {
  return parseMountinfo(readMountTable());
}

export const mountTable = '/proc/self/mountinfo';

const readMountTable = (): Uint8Array => readFileSync(mountTable);

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
