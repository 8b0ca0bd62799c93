/**
 * From a stack of roles to the map entries that the kernel side walks, and the same walk for who only asks.
 *
 * A rule names a visible path; the kernel walks an object's components from its file system's root.
 * automaton.ts makes the one into the other; here it becomes bytes.
 */
import {
  Access,
  GlobRow,
  KeyKind,
  Limit,
  Reason,
  Role,
  RoleFlag,
  Rule,
  RuleFlag,
  RuleKey,
  Scope,
} from '../abi.js';
import { addon } from '../launcher/addon.js';
import { type Automaton, buildAutomaton, type Target } from './automaton.js';
import {
  type Direction,
  decideAbstract,
  decideEnd,
  encodeAbstracts,
  encodeAddresses,
  noRule,
  tableAbstracts,
} from './endpoints.js';
import { splitPath, toByteString } from './locate.js';
import { type Mount, visibleMounts } from './mounts.js';
import type { End } from './network.js';
import { type Matcher, TooManyRows } from './pattern.js';
import { type LocatedRole, PolicyError, type RuleSource } from './policy.js';
import { allPowers } from './powers.js';
import {
  type CompiledMember,
  describeMember,
  type Member,
  meet,
  numberStack,
  powersOf,
  stackName,
  stackTitle,
} from './stack.js';
import { deniesExec, hasSockets } from './votes.js';

export interface CompiledRole {
  /** The key of `roles` and `role_rules`: equal compiled roles have equal digests. Never 0. */
  digest: bigint;
  /** A stack has the id of its first role. */
  id: number;
  name: string;
  audit: boolean;
  /** struct jr_role */
  role: Uint8Array;
  /** struct jr_rule_key and struct jr_rule, sorted by key. Empty when the scopes alone decide. */
  entries: [key: Uint8Array, value: Uint8Array][];
  /** struct jr_glob_row one behind the other, row 0 first; empty where no rule has wildcards. */
  globs: Uint8Array;
  /** Rule number n, as in struct jr_rule and struct jr_denial, is rules[n - 1]. */
  rules: RuleSource[];
  /** The roles of the stack; whose a rule is, and what numbers behind the last rule mean, deciderOf() tells. */
  members: CompiledMember[];
}

/**
 * Compiles the roles, of which every one must permit, for the mount table of the namespace that their paths are
 * written for. The same input gives the same bytes.
 * @throws PolicyError for a rule whose object the kernel side cannot be told to recognize
 */
export function compile(stack: readonly LocatedRole[], mounts: readonly Mount[]): CompiledRole {
  const [first] = stack;
  if (!first) throw new Error('a stack has a role');
  const members = numberStack(stack);
  const files = meet(stack.map(({ files }) => files));
  // Under `exec: any` no walk would find what files.deny takes away, so it becomes a rule for `/` that
  // every other rule outweighs.
  const exec = meet(stack.map((role) => (deniesExec(role) ? Scope.RULES : role.exec)));
  const network = meet(stack.map(({ network }) => network));
  const sockets = network === Scope.RULES && decidesSockets(stack);
  const hides = stack.some(({ paths }) => paths.some((rule) => rule.section === 'files.deny'));
  const flags =
    (hides ? RoleFlag.HIDES : 0) |
    (sockets ? RoleFlag.SOCKETS : 0) |
    (stack.every(({ jit }) => jit) ? 0 : RoleFlag.NO_JIT) |
    (stack.some(({ kills }) => kills) ? RoleFlag.KILLS : 0);
  const powers = stack.reduce((common, role) => common & powersOf(role), allPowers);
  const encoded = Role.encode({ id: first.id, files, exec, network, flags, powers });
  // Under `exec: none` it is asked which files are libraries, where any may be opened.
  const maps =
    exec !== Scope.ANY && stack.every((role) => role.files !== Scope.NONE || role.exec !== Scope.NONE);
  const walked = files === Scope.RULES || exec === Scope.RULES || hides || maps || sockets;
  const automaton: Automaton = walked
    ? buildAutomaton(members, visibleMounts(mounts), sockets)
    : { devices: [], states: [] };
  // Otherwise nobody asks them.
  const reached = network === Scope.RULES ? members : [];
  const abstracts = tableNames(reached);
  const { globs, starts } = encodeMatchers([
    ...automaton.states.flatMap(({ globs }) => globs?.matcher ?? []),
    ...abstracts.map(({ matcher }) => matcher),
  ]);
  if (globs.length > Limit.MAX_GLOB_ROWS * GlobRow.size) throw tooManyRows(stack);
  const entries = [
    ...encodeAutomaton(automaton, epochsOf(mounts), starts),
    ...encodeAddresses(reached),
    ...abstracts.flatMap((table) => encodeAbstracts(table, starts.get(table.matcher) ?? 0)),
  ];
  entries.sort(([a], [b]) => Buffer.compare(a, b));
  return {
    digest: digestOf(powers, encoded, entries, globs),
    id: first.id,
    name: stackName(stack),
    audit: stack.every(({ audit }) => audit),
    role: encoded,
    entries,
    globs,
    rules: stack.flatMap(({ paths, addresses, abstracts }) =>
      [...paths, ...addresses, ...abstracts].map(sourceOf),
    ),
    members: stack.map(describeMember),
  };
}

function sourceOf({ section, text, file, line, column, set }: RuleSource): RuleSource {
  return { section, text, file, line, column, ...(set !== undefined && { set }) };
}

/**
 * Whether unix sockets have bits of their own. Without, who may read and write a path may use the socket there;
 * that is not so where a role has rules for them, nor where one has any network but not any file.
 */
function decidesSockets(stack: readonly LocatedRole[]): boolean {
  return stack.some((role) => hasSockets(role) || (role.network === Scope.ANY && role.files !== Scope.ANY));
}

function tableNames(members: readonly Member[]): ReturnType<typeof tableAbstracts> {
  try {
    return tableAbstracts(members);
  } catch (error) {
    throw error instanceof TooManyRows ? tooManyRows(members.map(({ role }) => role)) : error;
  }
}

function tooManyRows(stack: readonly LocatedRole[]): PolicyError {
  const [rule] = stack.flatMap(({ abstracts }) => abstracts);
  const { file, line, column } = rule ?? { file: '', line: 0, column: 0 };
  const message = `the wildcards of ${stackTitle(stack)} compile to more than ${Limit.MAX_GLOB_ROWS} rows; use fewer`;
  const where = `roles.${stackName(stack)}.network`;
  return new PolicyError([{ code: 'BAD_PATH', file, line, column, where, message }]);
}

/**
 * The digest of a role's compiled form. One without entries that has all powers is its own digest but for those,
 * with a high byte of 0, which the others never have. Not by node:crypto, which takes a tenth of a start to load.
 */
export function digestOf(
  powers: bigint,
  role: Uint8Array,
  entries: CompiledRole['entries'],
  globs: Uint8Array,
): bigint {
  if (entries.length === 0 && powers === allPowers) return Buffer.from(role).readBigUInt64LE();
  const layout = new Uint8Array(new Uint32Array([Limit.LAYOUT]).buffer);
  const digest = addon.sha256(Buffer.concat([layout, role, ...entries.flat(), globs]));
  return new DataView(digest.buffer).getBigUint64(0, true) | (1n << 56n);
}

function epochsOf(mounts: readonly Mount[]): Map<number, number> {
  return new Map(mounts.map(({ device, epoch }) => [device, epoch]));
}

function encodeAutomaton(
  { devices, states }: Automaton,
  epochs: ReadonlyMap<number, number>,
  starts: ReadonlyMap<Matcher, number>,
): CompiledRole['entries'] {
  const entries: CompiledRole['entries'] = [];
  const encode = ({ access, rule, execRule, connectRule, bindRule, state }: Target): Uint8Array => {
    const answer = { ...noRule, access, rule, execRule, connectRule, bindRule };
    if (!state) return Rule.encode({ ...answer, flags: RuleFlag.LEAF });
    const flags = (state.any ? RuleFlag.HAS_ANY : 0) | (state.names.length > 0 ? RuleFlag.HAS_NAMES : 0);
    const glob = state.globs ? starts.get(state.globs.matcher) : 0;
    return Rule.encode({ ...answer, state: state.number, flags, glob: glob ?? 0 });
  };
  for (const [device, target] of devices)
    entries.push([encodeDeviceKey(device, epochs.get(device) ?? 0), encode(target)]);
  for (const { number, names, globs, any } of states) {
    for (const [name, target] of names) entries.push([encodeKey(KeyKind.NAME, number, name), encode(target)]);
    for (const [match, target] of globs?.targets.entries() ?? [])
      if (target) entries.push([encodeGlobKey(number, match + 1), encode(target)]);
    if (any) entries.push([encodeKey(KeyKind.ANY_NAME, number), encode(any)]);
  }
  return entries;
}

/** All matchers in one table. Row 0 leads nowhere. A row's `match` is the matcher's, counted from 1. */
function encodeMatchers(matchers: readonly Matcher[]): { globs: Uint8Array; starts: Map<Matcher, number> } {
  const starts = new Map<Matcher, number>();
  const rows = [GlobRow.encode({ next: new Uint8Array(), match: 0 })];
  for (const matcher of new Set(matchers)) {
    const start = rows.length;
    starts.set(matcher, start);
    for (const { next, match } of matcher.rows) {
      const numbers = Uint16Array.from(next, (row) => (row === undefined ? 0 : start + row));
      rows.push(
        GlobRow.encode({ next: new Uint8Array(numbers.buffer), match: match === undefined ? 0 : match + 1 }),
      );
    }
  }
  return { globs: rows.length > 1 ? Buffer.concat(rows) : new Uint8Array(), starts };
}

function encodeKey(kind: KeyKind, state: number, name = ''): Uint8Array {
  return RuleKey.encode({ state, kind, length: name.length, name: Buffer.from(name, 'latin1') });
}

/** For a match of globs there is no name, and its number stands where a name's length does. */
function encodeGlobKey(state: number, match: number): Uint8Array {
  return RuleKey.encode({ state, kind: KeyKind.GLOB, length: match, name: new Uint8Array() });
}

/** Equal numbers are told apart by how many file systems had them before. */
function encodeDeviceKey(device: number, epoch: number): Uint8Array {
  const name = new Uint8Array(new Uint32Array([epoch]).buffer);
  return RuleKey.encode({ state: device, kind: KeyKind.DEVICE, length: 0, name });
}

/** What an operation asks of a path: `access` is a union of Access flags, `path` text from the device's root. */
export interface PathQuestion {
  device: number;
  /** Mount.epoch of the file system; 0 unless given. */
  epoch?: number;
  path: string;
  access: number;
}

/** What an operation asks of one end of a connection: its own to bind it, the other to connect or send to it. */
export interface EndQuestion extends End {
  direction: Direction;
}

/** What an operation asks of an abstract name, a byte string. */
export interface AbstractQuestion {
  direction: Direction;
  name: string;
}

export type Question = PathQuestion | EndQuestion | AbstractQuestion;

export interface Decision {
  granted: boolean;
  /** Number of the rule that decided; 0 when none did. */
  rule: number;
  reason: Reason;
}

/** Answers as the kernel side does, from the same entries. It must be changed together with that. */
export function decide(compiled: CompiledRole, question: Question): Decision {
  const role = Role.decode(compiled.role);
  const scope = scopeFor(question, role);
  const map = new Map(compiled.entries.map(([key, value]) => [Buffer.from(key).toString('latin1'), value]));
  const bytesAt = (key: Uint8Array) => map.get(Buffer.from(key).toString('latin1'));
  const find = (key: Uint8Array): Rule | undefined => {
    const value = bytesAt(key);
    return value && Rule.decode(value);
  };
  if (scope !== Scope.RULES) return { granted: scope === Scope.ANY, rule: 0, reason: Reason.RULE };
  if ('protocol' in question)
    return { ...decideEnd(bytesAt, question.direction, question), reason: Reason.RULE };
  if ('name' in question) {
    const match = (row: number, name: string) => matchRow(compiled.globs, row, name);
    return { ...decideAbstract(bytesAt, question.direction, question.name, match), reason: Reason.RULE };
  }

  const { device, epoch = 0, path, access } = question;
  const components = splitPath(toByteString(path));
  if (components.length > Limit.MAX_DEPTH) return { granted: false, rule: 0, reason: Reason.TOO_DEEP };
  const start = find(encodeDeviceKey(device, epoch));
  if (!start) return { granted: false, rule: 0, reason: Reason.UNKNOWN_DEVICE };
  let at = start;
  for (const name of components) {
    if (at.flags & RuleFlag.LEAF) break;
    const { state, flags, glob } = at;
    let next: Rule | undefined;
    if (flags & RuleFlag.HAS_NAMES && name.length <= Limit.MAX_NAME)
      next = find(encodeKey(KeyKind.NAME, state, name));
    const match = !next && glob ? matchRow(compiled.globs, glob, name) : 0;
    if (match) next = find(encodeGlobKey(state, match));
    if (!next && flags & RuleFlag.HAS_ANY) next = find(encodeKey(KeyKind.ANY_NAME, state));
    if (!next) break;
    at = next;
  }
  const sockets = access & (Access.CONNECT | Access.BIND) && !(role.flags & RoleFlag.SOCKETS);
  const wanted = sockets ? Access.READ | Access.WRITE : access;
  return { granted: (at.access & wanted) === wanted, rule: ruleFor(wanted, at), reason: Reason.RULE };
}

function ruleFor(access: number, { rule, execRule, connectRule, bindRule }: Rule): number {
  if (access & (Access.EXEC | Access.MAP)) return execRule;
  if (access & Access.CONNECT) return connectRule;
  return access & Access.BIND ? bindRule : rule;
}

/** Which word decides. A unix socket with a path needs a network, and without unix: rules the right to write. */
function scopeFor(question: Question, { files, exec, network, flags }: Role): number {
  if (!('path' in question)) return network;
  if (question.access & Access.HIDDEN) return flags & RoleFlag.HIDES ? Scope.RULES : Scope.NONE;
  if (question.access & Access.EXEC) return exec;
  if (question.access & Access.MAP) return exec === Scope.ANY ? exec : Scope.RULES;
  if (!(question.access & (Access.CONNECT | Access.BIND))) return files;
  if (network !== Scope.RULES) return network;
  return flags & RoleFlag.SOCKETS ? Scope.RULES : files;
}

/** The match of the row that `name` leads to from `row`; 0 for none. */
function matchRow(globs: Uint8Array, row: number, name: string): number {
  const table = Buffer.from(globs.buffer, globs.byteOffset, globs.length);
  let at = row;
  for (const byte of Buffer.from(name, 'latin1')) at = table.readUInt16LE(at * GlobRow.size + 2 * byte);
  return table.readUInt32LE(at * GlobRow.size + 512);
}
