// check and roles: what policies say, without running anything.
import { resolve as resolvePath } from 'node:path';
import { Access, Scope } from '../abi.js';
import { type CompiledRole, decide } from '../profiles/compile.js';
import { readPolicy } from '../profiles/load.js';
import { follow, fromByteString, splitPath, toByteString } from '../profiles/locate.js';
import { type Mount, objectAt } from '../profiles/mounts.js';
import {
  describeProblem,
  type Policy,
  PolicyError,
  type PolicyProblem,
  type ResolvedRole,
} from '../profiles/policy.js';
import { powers } from '../profiles/powers.js';
import { resolve } from '../profiles/resolve.js';
import { bindStandIns } from '../profiles/rulepath.js';
import { compileHere, hostLinks, hostMounts, listRoles, ownUid, readBuiltIn } from './role.js';
import { printable } from './verdict.js';

/** A role as `roles --json` prints it, one line each. Fields are only ever added. */
export interface RoleReport {
  version: 1;
  type: 'role';
  name: string;
  /** The number that the policy gives it. */
  id: number;
  description: string;
  /** Where it is defined. */
  file: string;
  line: number;
}

/** A role that can be enforced on this host, as `check --json` prints it. */
export interface CheckedRole extends RoleReport {
  rules: number;
  /** Of the kernel's map. */
  entries: number;
  /** Paths that this user may not look at, and that were taken for no symbolic link. */
  unseen?: string[];
  /** In words: what in it leads out of the jail. */
  warnings?: string[];
}

/** What is wrong with a policy, as `check --json` prints it, one line each. */
export interface ProblemReport extends PolicyProblem {
  version: 1;
  type: 'problem';
}

/** Every problem, in the order of the files and their lines, and every role without one. */
export interface CheckReport {
  problems: ProblemReport[];
  roles: CheckedRole[];
}

/** Checks policy files with each other and with the built-in ones, and compiles their roles for this host. */
export async function check(files: readonly string[]): Promise<CheckReport> {
  const paths = [...new Set(files.map((file) => resolvePath(file)))];
  const problems: PolicyProblem[] = [];
  const policies = await parseFiles(paths, problems);
  const roles = compileRoles(resolveRoles(paths, policies, problems), problems);
  return { problems: arrange(problems, paths).map(describe), roles };
}

function describe({ code, file, line, column, where, message }: PolicyProblem): ProblemReport {
  return { version: 1, type: 'problem', code, file, line, column, where, message };
}

/** For people: a line for each problem and each role, and below a role one for each of its warnings. */
export function checkLines({ problems, roles }: CheckReport): string[] {
  return [
    ...problems.map(describeProblem),
    ...roles.flatMap((role) => [checkedLine(role), ...warningLines(role)]),
  ];
}

/** Any user but root. */
const nobody = 65534;

/** Runs `action`; what a PolicyError has against it goes to `problems`. */
function attempt<T>(action: () => T, problems: PolicyProblem[]): T | undefined {
  try {
    return action();
  } catch (error) {
    if (!(error instanceof PolicyError)) throw error;
    problems.push(...error.problems);
    return undefined;
  }
}

async function parseFiles(paths: readonly string[], problems: PolicyProblem[]): Promise<Policy[]> {
  const { parse } = await import('../profiles/parse.js');
  return paths
    .map((path) => {
      const source = readAnyway(path, problems);
      return source && attempt(() => parse(source, path), problems);
    })
    .filter((policy) => policy !== undefined);
}

/** For root, whom others could deceive by the file, that is a problem beside those of its text. */
function readAnyway(path: string, problems: PolicyProblem[]): Uint8Array | undefined {
  const found: PolicyProblem[] = [];
  const read = (uid: number) => attempt(() => readPolicy(path, { uid }).source, found);
  const source =
    read(ownUid()) ?? (found.every(({ code }) => code === 'UNTRUSTED') ? read(nobody) : undefined);
  problems.push(...found);
  return source;
}

/** The roles that the files define, with the built-in policies to build on. */
function resolveRoles(
  paths: readonly string[],
  policies: readonly Policy[],
  problems: PolicyProblem[],
): ResolvedRole[] {
  const found: PolicyProblem[] = [];
  const roles = attempt(() => resolve([...readBuiltIn().policies(), ...policies]), found) ?? new Map();
  // What a file that could not be read defines would seem to be missing.
  const whole = policies.length === paths.length;
  problems.push(...found.filter(({ code }) => whole || code !== 'DANGLING'));
  return [...roles.values()].filter(({ place }) => paths.includes(place.file));
}

function compileRoles(roles: readonly ResolvedRole[], problems: PolicyProblem[]): CheckedRole[] {
  const mounts = hostMounts();
  return roles.flatMap((role) => {
    const unseen = new Set<string>();
    const compiled = attempt(() => compileHere([bindStandIns(role)], mounts, hostLinks(unseen)), problems);
    if (!compiled) return [];
    const ways = [...powerWays(role), ...deputyWays(role, compiled, mounts)];
    return [
      {
        ...describeRole(role),
        rules: compiled.rules.length,
        entries: compiled.entries.length,
        ...(unseen.size > 0 && { unseen: [...unseen] }),
        ...(ways.length > 0 && { warnings: ways }),
      },
    ];
  });
}

/** Powers with which a task gets out, or has others act for it. */
function powerWays({ allow }: ResolvedRole): string[] {
  if (allow === 'any') return ['allow: any, so root in it is root on the host'];
  const names = allow.filter((name) => powers[name]?.escapes);
  return names.map((name) => `allow: [${name}], by which root in it can get out: ${powers[name]?.lets}`);
}

/**
 * The patterns of paths of a built-in set, with those of the sets that it names. `deputies` is what others outside of
 * a jail act upon: who writes it, or connects to the sockets in it, has work done outside.
 */
export function pathsOfSet(set: string): string[] {
  const sets = new Map(
    readBuiltIn()
      .policies()
      .flatMap(({ sets }) => sets)
      .map(({ name, entries }) => [name, entries.map(({ value }) => value)]),
  );
  const expand = (name: string): string[] =>
    (sets.get(name) ?? []).flatMap((value) => (value.startsWith('@') ? expand(value.slice(1)) : [value]));
  return expand(set);
}

/** The same for abstract names, byte strings as rules have them. No other list needs them. */
const abstractDeputies: Readonly<Record<string, string>> = {
  '/tmp/.X11-unix/X*': 'X types, and tells what others type',
  '/tmp/.ICE-unix/*': 'sessions of desktops',
  '/tmp/dbus-*': 'a session’s D-Bus starts services',
  '/containerd-shim/*': 'containerd’s shims start programs in containers',
  'containerd-shim*': 'the same of older ones',
  '/org/kernel/linux/storage/multipathd': 'multipathd manages disks',
  ISCSIADM_ABSTRACT_NAMESPACE: 'iscsid attaches disks',
  '/com/ubuntu/upstart': 'upstart starts services',
};

/** What the role may write, or connect to, that others outside act upon. */
function deputyWays(role: ResolvedRole, compiled: CompiledRole, mounts: readonly Mount[]): string[] {
  const network =
    role.network === Scope.ANY
      ? ['network: any, so root in it can have services outside act for it, by their sockets']
      : abstractWays(role, compiled);
  if (role.files === Scope.ANY)
    return ['files: any, so root in it can write what others outside act upon', ...network];
  const links = hostLinks(new Set());
  const objectOf = (path: string) => fromByteString(follow(toByteString(path), links).object);
  const grants = (path: string, access: number): number | undefined => {
    const { object, fault } = follow(toByteString(path), links);
    const mounted = fault === undefined && objectAt(fromByteString(object), mounts);
    if (!mounted) return undefined;
    const { granted, rule } = decide(compiled, { ...mounted, access });
    return granted ? rule : undefined;
  };
  const asked = [
    { access: Access.WRITE, sections: ['files.write'], may: 'write' },
    // Under any and none no rule decides, and who may write a socket may connect to it.
    { access: Access.CONNECT, sections: ['network.connect'], may: 'connect to' },
  ].filter(({ access }) => access === Access.WRITE || role.network === Scope.RULES);
  const files = asked.flatMap(({ access, sections, may }) => {
    const found = new Map<number, Set<string>>();
    const note = (rule: number | undefined, path: string) => {
      if (rule) found.set(rule, (found.get(rule) ?? new Set()).add(path));
    };
    const written = compiled.rules.filter(({ section }) => sections.includes(section));
    for (const deputy of pathsOfSet('deputies')) {
      note(grants(example(deputy), access), deputy);
      for (const { text } of written) {
        const path = text.replace(/^unix:/, '');
        if (path.startsWith('/') && liesBelow(objectOf(path), objectOf(deputy)))
          note(grants(example(path), access), path);
      }
    }
    // What a role may write it may connect to, too, and was said.
    return [...found]
      .filter(([rule]) => sections.includes(compiled.rules[rule - 1]?.section ?? ''))
      .map(([, paths]) => `it may ${may} ${few([...paths])}, which others outside act upon`);
  });
  return [...files, ...network];
}

function abstractWays({ abstracts }: ResolvedRole, compiled: CompiledRole): string[] {
  return Object.entries(abstractDeputies).flatMap(([deputy, why]) => {
    const names = abstracts
      .filter(({ section, name }) => section === 'network.connect' && mayMeet(name, deputy))
      .flatMap(({ name }) => [example(name), example(deputy)]);
    const open = names.some((name) => decide(compiled, { direction: 'connect', name }).granted);
    return open ? [`it may connect to unix:@${deputy}: ${why}`] : [];
  });
}

/** A path or a name that the pattern matches. */
function example(pattern: string): string {
  return pattern.replace(/\[([^\]!])[^\]]*\]/g, '$1').replace(/\*+|\?|\[[^\]]*\]/g, 'x');
}

/** Whether a path that `pattern` matches may be one that `deputy` matches, or lie below such a one. */
export function liesBelow(pattern: string, deputy: string): boolean {
  const [below, above] = [splitPath(pattern), splitPath(deputy)];
  const deep = below.indexOf('**');
  if (deep >= 0) return above.slice(0, deep).every((name, i) => mayMeet(below[i] ?? '', name));
  return below.length >= above.length && above.every((name, i) => mayMeet(below[i] ?? '', name));
}

/** Whether there may be a name that both match. A character of a set counts as any. */
function mayMeet(a: string, b: string): boolean {
  const [tokens, others] = [a, b].map((text) => text.match(/\*+|\[[^\]]+\]|./gs) ?? []);
  const meet = (i: number, j: number): boolean => {
    const [one, other] = [tokens?.[i], others?.[j]];
    if (one === undefined && other === undefined) return true;
    if (one?.startsWith('*')) return meet(i + 1, j) || (other !== undefined && meet(i, j + 1));
    if (other?.startsWith('*')) return meet(i, j + 1) || (one !== undefined && meet(i + 1, j));
    if (one === undefined || other === undefined) return false;
    return (
      (one === other || one.length > 1 || other.length > 1 || one === '?' || other === '?') &&
      meet(i + 1, j + 1)
    );
  };
  return meet(0, 0);
}

/** The first of them, and how many more. */
function few(names: readonly string[]): string {
  const shown = names.slice(0, 3).join(', ');
  return names.length > 3 ? `${shown} and ${names.length - 3} more` : shown;
}

/** In the order of the files and their lines, and each once: roles share rules. */
function arrange(problems: readonly PolicyProblem[], paths: readonly string[]): PolicyProblem[] {
  const once = new Map(problems.map((problem) => [describeProblem(problem), problem]));
  const rank = ({ file }: PolicyProblem) => (paths.includes(file) ? paths.indexOf(file) : paths.length);
  return [...once.values()].sort((a, b) => rank(a) - rank(b) || a.line - b.line || a.column - b.column);
}

function checkedLine({ name, id, rules, entries, unseen = [] }: CheckedRole): string {
  const counts = `${plural(rules, 'rule', 'rules')}, ${plural(entries, 'entry', 'entries')}`;
  const doubt =
    unseen.length > 0
      ? `; this user may not look at ${unseen.map(printable).join(', ')}, so check it as root, too`
      : '';
  return `${name} (id ${id}): ${counts}${doubt}`;
}

function warningLines({ name, file, line, warnings = [] }: CheckedRole): string[] {
  return warnings.map((way) => `${file}:${line}: warning: roles.${name}: ${way}`);
}

function plural(count: number, one: string, many: string): string {
  return `${count} ${count === 1 ? one : many}`;
}

/**
 * The roles in use, in the order of their ids; those of `policyFile`, too. Throws a JailrunError POLICY where a
 * policy has a problem.
 */
export async function roles(policyFile?: string): Promise<RoleReport[]> {
  return (await listRoles(policyFile)).sort((a, b) => a.id - b.id).map(describeRole);
}

/** For people: a table of the roles. */
export function roleLines(roles: readonly RoleReport[]): string[] {
  const rows = roles.map(({ name, id, file, line, description }) => ({
    name,
    id: String(id),
    place: `${file}:${line}`,
    // A description of several lines is one of several words here.
    description: printable(description.trim().replace(/\s+/g, ' ')),
  }));
  const width = (key: 'name' | 'id' | 'place') => Math.max(...rows.map((row) => row[key].length));
  const [name, id, place] = [width('name'), width('id'), width('place')];
  return rows.map((row) =>
    [row.name.padEnd(name), row.id.padStart(id), row.place.padEnd(place), row.description]
      .join('  ')
      .trimEnd(),
  );
}

function describeRole({ name, id, description, place }: ResolvedRole): RoleReport {
  return { version: 1, type: 'role', name, id, description, file: place.file, line: place.line };
}
