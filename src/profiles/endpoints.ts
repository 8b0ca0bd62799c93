/**
 * The rules for addresses and abstract names as entries of a role's rule map, and the kernel side's way through
 * them.
 *
 * Of the rules that match an end of a connection the one with the longest prefix decides, then the one with the
 * narrowest range of ports; on a tie `deny` wins. A rule without an address has a prefix of no bits in both
 * families. So a prefix has a list of its ports, cut at every edge of a range, with no overlap, and the kernel
 * side looks for the address under the longest prefix first, then under the next, until a list has the port:
 * what that takes depends on how many lengths of prefixes a role has, and hardly on how many rules.
 *
 * Of the rules for abstract names the one that spells out most of the name decides, a name without wildcards
 * before all; on a tie `deny` wins.
 *
 * So each role of a stack decides, and what all of them grant is granted. For that a prefix that any of them names
 * has all ports that one of them speaks of there, decided by each role's own rules for it or for the next shorter
 * prefix; and the rules for abstract names of all are matched together.
 */
import { KeyKind, Lengths, Limit, Rule, RuleKey, Scope, Space } from '../abi.js';
import { type End, type Prefix, TCP, UDP } from './network.js';
import { hasWildcards, type Matcher, matcherOf, spelledOut } from './pattern.js';
import { type AbstractRule, type AddressRule, PolicyError } from './policy.js';
import { type Member, stackName, stackTitle } from './stack.js';

export type Direction = 'bind' | 'connect';
export const directions: readonly Direction[] = ['bind', 'connect'];

/** A rule with its number in the role. */
type Numbered<T> = T & { number: number };

/** What decides: the number of a rule, 0 where there is none. */
export interface Deciding {
  granted: boolean;
  rule: number;
}

interface Segment extends Deciding {
  first: number;
  last: number;
}

const anywhere: readonly Prefix[] = [
  { address: '0'.repeat(8), length: 0 },
  { address: '0'.repeat(32), length: 0 },
];

function spaceOf(direction: Direction, protocol: number, address: string): number {
  return (
    (direction === 'connect' ? Space.CONNECT : 0) |
    (protocol === UDP ? Space.UDP : 0) |
    (address.length === 32 ? Space.INET6 : 0)
  );
}

function matchesDirection({ section }: AddressRule | AbstractRule, direction: Direction): boolean {
  return section === 'network.deny' || section === `network.${direction}`;
}

/** The roles of a stack whose rules decide; what they decide together, others do not change. */
function deciders(members: readonly Member[]): Member[] {
  return members.filter(({ role }) => role.network === Scope.RULES);
}

/** What all votes grant; the first that denies is named. */
function together(votes: readonly Deciding[]): Deciding {
  return votes.find(({ granted }) => !granted) ?? votes[0] ?? { granted: false, rule: 0 };
}

/** The entries for the addresses that the roles name. Throws a PolicyError for more ports than can be cut. */
export function encodeAddresses(members: readonly Member[]): [key: Uint8Array, value: Uint8Array][] {
  const entries: [Uint8Array, Uint8Array][] = [];
  const lengths = new Map<number, Set<number>>();
  let ports = 0;
  for (const { space, length, address, segments } of joinTables(deciders(members))) {
    lengths.set(space, (lengths.get(space) ?? new Set()).add(length));
    const name = Buffer.from(address, 'hex');
    entries.push([
      keyOf(KeyKind.PREFIX, space, length, name),
      ruleOf({ state: ports, access: segments.length }),
    ]);
    for (const { first, last, granted, rule } of segments)
      entries.push([
        keyOf(KeyKind.PORTS, ports++),
        ruleOf({ state: ((first << 16) | last) >>> 0, access: granted ? 1 : 0, rule }),
      ]);
  }
  for (const [space, used] of lengths) {
    const bits = new Uint32Array(4);
    for (const length of used)
      if (length < 128) bits[length >> 5] = (bits[length >> 5] ?? 0) | (1 << (length & 31));
    const value = Lengths.encode({ longest: Math.max(...used), bits: new Uint8Array(bits.buffer) });
    entries.push([keyOf(KeyKind.LENGTHS, space), value]);
  }
  return entries;
}

interface PrefixEntry {
  space: number;
  length: number;
  address: string;
  /** Upwards, without overlap. */
  segments: Segment[];
}

/** What one role's rules for addresses decide. */
interface AddressTable {
  none: number;
  entries: Map<string, PrefixEntry>;
  /** The lengths of the prefixes in each space, the longest first. */
  lengths: Map<number, number[]>;
}

function tableOf({ role, addresses, none }: Member): AddressTable {
  const entries = new Map<string, PrefixEntry>();
  const lengths = new Map<number, number[]>();
  for (const [key, rules] of byPrefix(role.addresses, addresses)) {
    const [space, length, address] = key;
    entries.set(key.join(), {
      space,
      length,
      address,
      segments: cut(rules, (space & Space.CONNECT) === 0),
    });
    const known = lengths.get(space) ?? [];
    if (!known.includes(length)) lengths.set(space, [...known, length]);
  }
  for (const known of lengths.values()) known.sort((a, b) => b - a);
  return { none, entries, lengths };
}

/** A stack's prefixes, with what all its roles say of the ports that one of them speaks of there. */
function* joinTables(members: readonly Member[]): Generator<PrefixEntry> {
  const tables = members.map(tableOf);
  let cuts = 0;
  const prefixes = new Map(tables.flatMap(({ entries }) => [...entries]));
  for (const [key, { space, length, address }] of prefixes) {
    const voters = tables.map((table) => voterAt(table, key, { space, length, address }));
    const segments: Segment[] = [];
    const own = voters.flatMap(({ own }) => own);
    const others = tables.length === 1 ? [] : voters.flatMap(({ above }) => above());
    cuts += own.length + others.length;
    if (cuts > maxCuts) throw tooManyPorts(members);
    for (const { first, last } of piecesOf(own, others)) {
      const { granted, rule } = together(voters.map(({ vote }) => vote(first)));
      append(segments, { first, last, granted, rule });
    }
    yield { space, length, address, segments };
  }
}

/**
 * What takes seconds. Under each prefix of one role there are all ranges of ports that the others have for shorter
 * ones, so this many come together where one names thousands of addresses and another thousands of ports.
 */
const maxCuts = 1 << 20;

function tooManyPorts(members: readonly Member[]): PolicyError {
  const stack = members.map(({ role }) => role);
  const [rule] = stack.flatMap(({ addresses }) => addresses);
  const { file, line, column } = rule ?? { file: '', line: 0, column: 0 };
  const message = `${stackTitle(stack)} compiles to more than ${maxCuts} ranges of ports under addresses; use fewer ranges of ports without an address, or fewer addresses`;
  const where = `roles.${stackName(stack)}.network`;
  return new PolicyError([{ code: 'BAD_PORT', file, line, column, where, message }]);
}

/** What a role says of the ports under a prefix, where it is the longest that matches: it may be no prefix of the role's. */
function voterAt(
  { entries, lengths, none }: AddressTable,
  key: string,
  { space, length, address }: Omit<PrefixEntry, 'segments'>,
): { own: readonly Segment[]; above: () => Segment[]; vote: (port: number) => Deciding } {
  const own = entries.get(key)?.segments ?? [];
  let shorter: PrefixEntry[] | undefined;
  const findShorter = (): PrefixEntry[] => {
    shorter ??= (lengths.get(space) ?? [])
      .filter((one) => one < length)
      .flatMap((one) => entries.get([space, one, masked(address, one)].join()) ?? []);
    return shorter;
  };
  const vote = (port: number): Deciding => {
    const here = segmentAt(own, port);
    if (here) return here;
    for (const { segments } of findShorter()) {
      const found = segmentAt(segments, port);
      if (found) return found;
    }
    return { granted: false, rule: none };
  };
  return { own, above: () => findShorter().flatMap(({ segments }) => segments), vote };
}

/** The ports that `segments` speak of, cut at each edge of one of them or of the others. */
function* piecesOf(
  segments: readonly Segment[],
  others: readonly Segment[],
): Generator<{ first: number; last: number }> {
  const changes = new Map<number, number>();
  const change = (at: number, by: number) => changes.set(at, (changes.get(at) ?? 0) + by);
  for (const [list, by] of [
    [segments, 1],
    [others, 0],
  ] as const)
    for (const { first, last } of list) {
      change(first, by);
      change(last + 1, -by);
    }
  const edges = [...changes].sort(([a], [b]) => a - b);
  let open = 0;
  for (const [i, [first, by]] of edges.entries()) {
    open += by;
    const next = edges[i + 1];
    if (open > 0 && next) yield { first, last: next[0] - 1 };
  }
}

function segmentAt(segments: readonly Segment[], port: number): Segment | undefined {
  let [low, high] = [0, segments.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    const found = segments[middle];
    if (!found || port < found.first) high = middle;
    else if (port > found.last) low = middle + 1;
    else return found;
  }
  return undefined;
}

/** Adds a segment behind the others, to the last one where that decides the same. */
function append(segments: Segment[], segment: Segment): void {
  const before = segments.at(-1);
  const isSame = before?.rule === segment.rule && before.granted === segment.granted;
  if (isSame && before.last + 1 === segment.first) before.last = segment.last;
  else segments.push(segment);
}

/** The address without what is behind its first `length` bits. */
function masked(address: string, length: number): string {
  const behind = BigInt(address.length * 4 - length);
  return ((BigInt(`0x${address}`) >> behind) << behind).toString(16).padStart(address.length, '0');
}

type PrefixKey = [space: number, length: number, address: string];

function* byPrefix(
  rules: readonly AddressRule[],
  firstNumber: number,
): Generator<[PrefixKey, Numbered<AddressRule>[]]> {
  const nodes = new Map<string, [PrefixKey, Numbered<AddressRule>[]]>();
  for (const [index, rule] of rules.entries())
    for (const direction of directions.filter((one) => matchesDirection(rule, one)))
      for (const protocol of rule.protocol === undefined ? [TCP, UDP] : [rule.protocol])
        for (const { address, length } of rule.prefixes ?? anywhere) {
          const key: PrefixKey = [spaceOf(direction, protocol, address), length, address];
          const node = nodes.get(key.join()) ?? [key, []];
          node[1].push({ ...rule, number: firstNumber + index });
          nodes.set(key.join(), node);
        }
  yield* nodes.values();
}

/** The ports that the rules speak of, and what decides each. */
function cut(rules: readonly Numbered<AddressRule>[], binding: boolean): Segment[] {
  const lowest = binding ? 1 : 0;
  const edges = new Set<number>();
  for (const { first, last } of rules) edges.add(Math.max(first, lowest)).add(last + 1);
  const cuts = [...edges].sort((a, b) => a - b);
  const at = new Map(cuts.map((edge, i) => [edge, i]));
  const deciders: (Numbered<AddressRule> | undefined)[] = new Array(cuts.length);
  const denies = ({ section }: AddressRule) => section === 'network.deny';
  const width = ({ first, last }: AddressRule) => last - first;
  // What is written later decides, so the weakest come first.
  const byWeight = rules.toSorted((a, b) => width(b) - width(a) || Number(denies(a)) - Number(denies(b)));
  for (const rule of byWeight)
    for (let i = at.get(Math.max(rule.first, lowest)) ?? 0; i < (at.get(rule.last + 1) ?? 0); i++)
      deciders[i] = rule;
  const segments: Segment[] = [];
  for (const [i, rule] of deciders.entries()) {
    if (!rule) continue;
    const last = (cuts[i + 1] ?? 0) - 1;
    append(segments, { first: cuts[i] ?? 0, last, granted: !denies(rule), rule: rule.number });
  }
  return binding ? [...portOfChoice(segments), ...segments] : segments;
}

/**
 * A port of the kernel's choice may be any. Where the prefix denies one, it is denied; where it leaves some to
 * shorter prefixes, so it does with this.
 */
function portOfChoice(segments: readonly Segment[]): Segment[] {
  const denial = segments.find(({ granted }) => !granted);
  if (denial) return [{ ...denial, first: 0, last: 0 }];
  const covered = segments.reduce((sum, { first, last }) => sum + last - first + 1, 0);
  const [grant] = segments;
  return covered === 65535 && grant ? [{ ...grant, first: 0, last: 0 }] : [];
}

/** Finds an entry by its key. */
export type Find = (key: Uint8Array) => Uint8Array | undefined;

/** What decides an end of a connection, as the kernel side does it. */
export function decideEnd(find: Find, direction: Direction, end: End): Deciding {
  const space = spaceOf(direction, end.protocol, end.address);
  const lengths = find(keyOf(KeyKind.LENGTHS, space));
  if (!lengths) return { granted: false, rule: 0 };
  const { longest, bits } = Lengths.decode(lengths);
  for (let length = longest; length >= 0; length--) {
    if (length < 128 && !(((bits[length >> 3] ?? 0) >> (length & 7)) & 1)) continue;
    const prefix = Buffer.from(masked(end.address, length), 'hex');
    const value = find(keyOf(KeyKind.PREFIX, space, length, prefix));
    if (!value) continue;
    const { state, access } = Rule.decode(value);
    let [low, high] = [state, state + access];
    while (low < high) {
      const middle = (low + high) >>> 1;
      const found = find(keyOf(KeyKind.PORTS, middle));
      if (!found) throw new Error(`the role has no entry ${middle} of ports`);
      const ports = Rule.decode(found);
      if (end.port < ports.state >>> 16) high = middle;
      else if (end.port > (ports.state & 0xffff)) low = middle + 1;
      else return { granted: ports.access === 1, rule: ports.rule };
    }
  }
  return { granted: false, rule: 0 };
}

/** The rules for abstract names in one direction: what matches them, and what decides each match. */
export interface AbstractTable {
  direction: Direction;
  matcher: Matcher;
  /** By the matcher's match. */
  deciders: Deciding[];
  /** Of a name that the kernel chooses. */
  choice: Deciding;
}

/** Throws TooManyRows. */
export function tableAbstracts(members: readonly Member[]): AbstractTable[] {
  const roles = deciders(members);
  return directions.flatMap((direction) => {
    const lists = roles.map(({ role, abstracts }) =>
      role.abstracts
        .map((rule, index) => ({ ...rule, number: abstracts + index }))
        .filter((rule) => matchesDirection(rule, direction)),
    );
    const all = lists.flat();
    if (all.length === 0) return [];
    const matcher = matcherOf(
      all.map(({ name }) => name),
      Limit.MAX_GLOB_ROWS,
      [],
    );
    const decidersOf = matcher.matches.map((match) => {
      const matching = new Set(match.map((i) => all[i]));
      return together(
        lists.map((own, i) => {
          const vote = strongest(own.filter((rule) => matching.has(rule)));
          return { ...vote, rule: vote.rule || (roles[i]?.none ?? 0) };
        }),
      );
    });
    return [{ direction, matcher, deciders: decidersOf, choice: together(lists.map(choose)) }];
  });
}

/** What decides a name that the kernel chooses. It may choose any such, so one that is denied counts for all. */
function choose(rules: readonly Numbered<AbstractRule>[]): Deciding {
  const denial = rules.find(({ section, name }) => section === 'network.deny' && mayBeChosen(name));
  const everything = rules.filter(({ name }) => /^\*+$/.test(name));
  return strongest(denial ? [denial] : everything);
}

/** Whether the glob matches one of the names that the kernel chooses: five hexadecimal digits (unix_autobind()). */
function mayBeChosen(glob: string): boolean {
  const { rows } = matcherOf([glob], Limit.MAX_GLOB_ROWS, []);
  let reached = new Set([0]);
  for (let digit = 0; digit < 5; digit++) {
    const next = [...reached].flatMap((row) => digits.map((byte) => rows[row]?.next[byte]));
    reached = new Set(next.filter((row) => row !== undefined));
  }
  return [...reached].some((row) => rows[row]?.match !== undefined);
}

const digits = [...Buffer.from('0123456789abcdef')];

function strongest(rules: readonly Numbered<AbstractRule>[]): Deciding {
  const weight = ({ name }: AbstractRule) =>
    hasWildcards(name) ? spelledOut(name) : Number.POSITIVE_INFINITY;
  const denies = ({ section }: AbstractRule) => Number(section === 'network.deny');
  const [best] = rules.toSorted((a, b) => compare(weight(b), weight(a)) || denies(b) - denies(a));
  return { granted: best !== undefined && denies(best) === 0, rule: best?.number ?? 0 };
}

function compare(a: number, b: number): number {
  return a === b ? 0 : a < b ? -1 : 1;
}

/** `start` is the first of the matcher's rows in the role's table of wildcards. */
export function encodeAbstracts(
  { direction, deciders, choice }: AbstractTable,
  start: number,
): [key: Uint8Array, value: Uint8Array][] {
  const space = direction === 'connect' ? Space.CONNECT : 0;
  return [choice, ...deciders].map(({ granted, rule }, match) => [
    keyOf(KeyKind.ABSTRACT, space, match),
    ruleOf({ access: granted ? 1 : 0, rule, ...(match === 0 && { glob: start }) }),
  ]);
}

/** What decides an abstract name, a byte string; `match` gives the match of a name from a row on, 0 for none. */
export function decideAbstract(
  find: Find,
  direction: Direction,
  name: string,
  match: (row: number, name: string) => number,
): Deciding {
  const space = direction === 'connect' ? Space.CONNECT : 0;
  const start = find(keyOf(KeyKind.ABSTRACT, space));
  const found = start && match(Rule.decode(start).glob, name);
  const value = found ? find(keyOf(KeyKind.ABSTRACT, space, found)) : undefined;
  if (!value) return { granted: false, rule: 0 };
  const { access, rule } = Rule.decode(value);
  return { granted: access === 1, rule };
}

function keyOf(kind: KeyKind, state: number, length = 0, name: Uint8Array = new Uint8Array()): Uint8Array {
  return RuleKey.encode({ state, kind, length, name });
}

function ruleOf(rule: Partial<Rule>): Uint8Array {
  return Rule.encode({ ...noRule, ...rule });
}

/** A value of the rule map that says nothing. */
export const noRule: Rule = {
  state: 0,
  access: 0,
  rule: 0,
  execRule: 0,
  connectRule: 0,
  bindRule: 0,
  flags: 0,
  glob: 0,
};
