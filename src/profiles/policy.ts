/**
 * The stages of a policy as types: parsed (`Policy`, what one file says), resolved (`ResolvedRole`,
 * extends and sets applied), located (`LocatedRole`, symbolic links followed on this host); the last,
 * `CompiledRole`, is in compile.ts. All but the compiled form are plain JSON values.
 */
import type { Scope } from '../abi.js';
import type { AbstractTarget, AddressTarget, NetworkTarget } from './network.js';

/** Where something is written. Lines and columns count from 1; line 0 means the file as a whole. */
export interface Place {
  file: string;
  line: number;
  column: number;
}

/** What the places of built-in policies begin with. Those of files are absolute paths. */
export const builtInPrefix = 'built-in/';

/** A value and where it is written. */
export interface Written<T> extends Place {
  value: T;
}

/** The parts of a role that decide, each of which may also be `any` or `none` as a whole. */
export type Section = 'files' | 'exec' | 'network' | 'allow';
export type NetworkSection = 'network.bind' | 'network.connect' | 'network.deny';
/** Unix sockets with a path are files, too. */
export type PathSection = 'files.read' | 'files.write' | 'files.deny' | 'exec' | NetworkSection;

/** A list of absolute paths and `@set` references. */
export type PathList = Written<string>[];
export type NetworkList = Written<NetworkTarget>[];

export interface SetDefinition extends Place {
  name: string;
  entries: PathList;
}

/** A role as one file defines it. A section that is absent says nothing: a base role may. */
export interface RoleDefinition extends Place {
  name: string;
  id: Written<number>;
  description: string;
  extends: Written<string>[];
  /** What --var may bind. */
  vars: Written<string>[];
  mode?: 'enforce' | 'audit';
  files?: 'any' | 'none' | { read: PathList; write: PathList; deny: PathList };
  exec?: 'any' | 'none' | PathList;
  network?: 'any' | 'none' | { bind: NetworkList; connect: NetworkList; deny: NetworkList };
  /** Names of powers, see powers.ts. */
  allow?: 'any' | 'none' | Written<string>[];
  /** Whether anonymous memory may become executable; it may unless somebody says none. */
  jit?: 'any' | 'none';
  /** What happens to a process that is denied something, beside that. */
  onDenial?: 'deny' | 'kill';
  /** Who may have itself enrolled in it by the socket, beside root: by name, or a number in decimal. */
  enroll?: Record<'users' | 'groups', Written<string>[]>;
  /** Where the sections are written; the role's own place stands in for one that is missing. */
  sections?: Partial<Record<Section, Place>>;
}

/** What is enrolled whoever starts it; the place is that of the path. */
export interface Enrollment extends Place {
  kind: 'cgroup' | 'executable';
  /** Absolute. */
  path: string;
  /** One, or a stack. */
  roles: Written<string>[];
}

/** Which roles containers have. A host has one policy that says so; see containersOf() in resolve.ts. */
export interface ContainerPolicy extends Place {
  /** What holds a container that asks for nothing; nothing does where it is absent. One, or a stack. */
  default?: Written<string>[];
  /** What a container may ask for instead; only the default ones where it is absent and those are not. */
  roles?: 'any' | Written<string>[];
}

/** Whose files may claim roles by extended attributes, and which. A host has one policy that says so, as above. */
export interface ClaimPolicy extends Place {
  /** Users, by name, or a number in decimal. */
  owners: Written<string>[];
  roles: Written<string>[];
}

/** What one policy file says, checked in itself but not against the other files. */
export interface Policy {
  file: string;
  /** It brings all its roles, as Jailer's files do: built-in ones are not there beside it, their sets are. */
  standsAlone?: true;
  sets: SetDefinition[];
  roles: RoleDefinition[];
  enrollments?: Enrollment[];
  containers?: ContainerPolicy;
  claims?: ClaimPolicy;
}

/** A rule as a report shows it: its text, the section it stands in, and its place. */
export interface RuleSource extends Place {
  section: PathSection;
  /** The rule as it is written: a path, or in a network section `tcp:80`. */
  text: string;
  /** The set whose entry this is; absent when the role itself lists it. */
  set?: string;
}

/** In a network section the text is `unix:` and a path. */
export interface PathRule extends RuleSource {
  section: PathSection;
  /** Of files.read and files.write: what the rule covers are libraries, which may be mapped executable. */
  library?: true;
}

/** What stands in front of the path of a rule in a network section. */
const unixPrefix = 'unix:';

/** The path that a rule names. */
export function pathOf({ section, text }: PathRule): string {
  return isNetworkSection(section) ? text.slice(unixPrefix.length) : text;
}

export function isNetworkSection(section: PathSection): section is NetworkSection {
  return section.startsWith('network.');
}

export interface AddressRule extends RuleSource, AddressTarget {
  section: NetworkSection;
}

export interface AbstractRule extends RuleSource, AbstractTarget {
  section: NetworkSection;
}

/** A role with its bases and sets applied. A section that nobody wrote is NONE. */
export interface ResolvedRole {
  name: string;
  id: number;
  description: string;
  /** Where the role is defined. */
  place: Place;
  /** Where each section that somebody wrote has its last word: in the role itself or in a base. */
  sections: Partial<Record<Section, Place>>;
  audit: boolean;
  files: Scope;
  exec: Scope;
  network: Scope;
  /** ANY, or by name. */
  allow: 'any' | string[];
  /** False where anonymous memory may not become executable. */
  jit: boolean;
  /** Whether a denial ends the process. */
  kills: boolean;
  paths: PathRule[];
  addresses: AddressRule[];
  abstracts: AbstractRule[];
  /** The variables that its paths may have, which bindVariables() replaces. */
  vars: string[];
  /** Absent where only root enrolls in it. */
  enroll?: Record<'users' | 'groups', string[]>;
}

/** Which objects a rule names; both parts are byte strings, see locate.ts. */
export interface RulePlace {
  /** A path without symbolic links. */
  path: string;
  /** The components below it, from the first one with wildcards on (see pattern.ts). */
  pattern: string[];
}

/**
 * A role whose paths name objects of this host: where each rule's path leads, and the symbolic link itself
 * when the path ends in one.
 */
export interface LocatedRole extends Omit<ResolvedRole, 'paths'> {
  paths: (PathRule & { places: RulePlace[] })[];
}

export type ProblemCode =
  | 'SYNTAX'
  | 'ENCODING'
  | 'EMPTY'
  | 'UNKNOWN_KEY'
  | 'MISSING_KEY'
  | 'NOT_ENFORCED'
  | 'DUPLICATE'
  | 'WRONG_TYPE'
  | 'BAD_VALUE'
  | 'BAD_NAME'
  | 'BAD_PATH'
  | 'BAD_PORT'
  | 'DANGLING'
  | 'CYCLE'
  | 'UNREADABLE'
  | 'UNTRUSTED';

export interface PolicyProblem extends Place {
  code: ProblemCode;
  /** The key that is at fault, from the document's top: `roles.web.network.bind`; may be empty. */
  where: string;
  /** What is wrong; the mend. */
  message: string;
}

/** One line: `file:line:column: where: what is wrong; the mend`. */
export function describeProblem(problem: PolicyProblem): string {
  const place = problem.line > 0 ? `${problem.file}:${problem.line}:${problem.column}` : problem.file;
  return [place, problem.where, problem.message].filter((part) => part !== '').join(': ');
}

/** More than this nobody reads; the rest is counted. */
const maxShown = 20;

/** A policy that cannot be used. Its message has a line for each problem. */
export class PolicyError extends Error {
  readonly problems: readonly PolicyProblem[];

  constructor(problems: readonly PolicyProblem[], options?: ErrorOptions) {
    const lines = problems.slice(0, maxShown).map(describeProblem);
    if (problems.length > maxShown) lines.push(`and ${problems.length - maxShown} more problems`);
    super(lines.join('\n'), options);
    this.name = 'PolicyError';
    this.problems = problems;
  }
}
