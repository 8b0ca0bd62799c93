// check and roles: what policies say, without running anything.
import { resolve as resolvePath } from 'node:path';
import { Access, Scope } from '../abi.js';
import { type CompiledRole, decide } from '../profiles/compile.js';
import { readPolicy } from '../profiles/load.js';
import { follow, fromByteString, toByteString } from '../profiles/locate.js';
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

/** A role that can be enforced on this host. */
interface CheckedRole {
  role: ResolvedRole;
  compiled: CompiledRole;
  /** In words: what in it leads out of the jail. */
  ways: string[];
  /** What this user may not look at, and took for no symbolic link. */
  unseen: string[];
}

/**
 * Checks policy files with each other and with the built-in ones, and compiles their roles for this host.
 * Prints every problem and every role without one; the exit status is 0 without problems and 1 otherwise.
 */
export async function check(files: readonly string[], json: boolean): Promise<void> {
  const paths = [...new Set(files.map((file) => resolvePath(file)))];
  const problems: PolicyProblem[] = [];
  const policies = await parseFiles(paths, problems);
  const checked = compileRoles(resolveRoles(paths, policies, problems), problems);
  const shown = arrange(problems, paths);
  const lines = [
    ...shown.map(json ? problemRow : describeProblem),
    ...checked.flatMap((role) => (json ? [checkedRow(role)] : [checkedLine(role), ...warningLines(role)])),
  ];
  print(lines);
  process.exitCode = shown.length > 0 ? 1 : 0;
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
    return [{ role, compiled, ways, unseen: [...unseen] }];
  });
}

/** Powers with which a task gets out, or has others act for it. */
function powerWays({ allow }: ResolvedRole): string[] {
  if (allow === 'any') return ['allow: any, so root in it is root on the host'];
  const names = allow.filter((name) => powers[name]?.escapes);
  return names.map((name) => `allow: [${name}], by which root in it can get out: ${powers[name]?.lets}`);
}

/** What the role may write, or connect to, that others outside act upon. */
function deputyWays(role: ResolvedRole, compiled: CompiledRole, mounts: readonly Mount[]): string[] {
  if (role.files === Scope.ANY) return ['files: any, so root in it can write what others outside act upon'];
  const deputies = readBuiltIn()
    .policies()
    .flatMap(({ sets }) => sets)
    .find(({ name }) => name === 'deputies');
  const links = hostLinks(new Set());
  const open = (deputies?.entries ?? []).filter(({ value }) => {
    const { object, fault } = follow(toByteString(value), links);
    const mounted = fault === undefined && objectAt(fromByteString(object), mounts);
    return mounted && decide(compiled, { ...mounted, access: Access.WRITE }).granted;
  });
  return open.map(({ value }) => `it may write ${value}, which others outside act upon`);
}

/** In the order of the files and their lines, and each once: roles share rules. */
function arrange(problems: readonly PolicyProblem[], paths: readonly string[]): PolicyProblem[] {
  const once = new Map(problems.map((problem) => [describeProblem(problem), problem]));
  const rank = ({ file }: PolicyProblem) => (paths.includes(file) ? paths.indexOf(file) : paths.length);
  return [...once.values()].sort((a, b) => rank(a) - rank(b) || a.line - b.line || a.column - b.column);
}

function problemRow({ code, file, line, column, where, message }: PolicyProblem): string {
  return JSON.stringify({ version: 1, type: 'problem', code, file, line, column, where, message });
}

function checkedRow({ role, compiled, ways, unseen }: CheckedRole): string {
  const counts = { rules: compiled.rules.length, entries: compiled.entries.length };
  const warnings = ways.length > 0 && { warnings: ways };
  return JSON.stringify({ ...roleRow(role), ...counts, ...(unseen.length > 0 && { unseen }), ...warnings });
}

function checkedLine({ role, compiled, unseen }: CheckedRole): string {
  const counts = `${plural(compiled.rules.length, 'rule', 'rules')}, ${plural(compiled.entries.length, 'entry', 'entries')}`;
  const doubt =
    unseen.length > 0
      ? `; this user may not look at ${unseen.map(printable).join(', ')}, so check it as root, too`
      : '';
  return `${role.name} (id ${role.id}): ${counts}${doubt}`;
}

function warningLines({ role, ways }: CheckedRole): string[] {
  const { file, line } = role.place;
  return ways.map((way) => `${file}:${line}: warning: roles.${role.name}: ${way}`);
}

function plural(count: number, one: string, many: string): string {
  return `${count} ${count === 1 ? one : many}`;
}

/** Prints the roles in use, in the order of their ids. */
export async function roles(policyFile: string | undefined, json: boolean): Promise<void> {
  const all = (await listRoles(policyFile)).sort((a, b) => a.id - b.id);
  print(json ? all.map((role) => JSON.stringify(roleRow(role))) : table(all));
}

function table(roles: readonly ResolvedRole[]): string[] {
  const rows = roles.map(({ name, id, place, description }) => ({
    name,
    id: String(id),
    place: `${place.file}:${place.line}`,
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

function roleRow({ name, id, description, place }: ResolvedRole): object {
  return { version: 1, type: 'role', name, id, description, file: place.file, line: place.line };
}

function print(lines: readonly string[]): void {
  process.stdout.write(lines.map((line) => `${line}\n`).join(''));
}
