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
 */
import { KeyKind, Lengths, Limit, Rule, RuleKey, Space } from '../abi.js';
import { type End, type Prefix, TCP, UDP } from './network.js';
import { hasWildcards, type Matcher, matcherOf, spelledOut } from './pattern.js';
import type { AbstractRule, AddressRule } from './policy.js';

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

/** The entries for the role's addresses; rule number n of them is `firstNumber` + n. */
export function encodeAddresses(
  rules: readonly AddressRule[],
  firstNumber: number,
): [key: Uint8Array, value: Uint8Array][] {
  const entries: [Uint8Array, Uint8Array][] = [];
  const lengths = new Map<number, Set<number>>();
  let ports = 0;
  for (const [key, own] of byPrefix(rules, firstNumber)) {
    const [space, length, address] = key;
    lengths.set(space, (lengths.get(space) ?? new Set()).add(length));
    const segments = cut(own, (space & Space.CONNECT) === 0);
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
    const segment = {
      first: cuts[i] ?? 0,
      last: (cuts[i + 1] ?? 0) - 1,
      granted: !denies(rule),
      rule: rule.number,
    };
    const before = segments.at(-1);
    if (before && before.rule === segment.rule && before.last + 1 === segment.first)
      before.last = segment.last;
    else segments.push(segment);
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
  const digits = end.address.length;
  for (let length = longest; length >= 0; length--) {
    if (length < 128 && !(((bits[length >> 3] ?? 0) >> (length & 7)) & 1)) continue;
    const behind = BigInt(digits * 4 - length);
    const masked = ((BigInt(`0x${end.address}`) >> behind) << behind).toString(16).padStart(digits, '0');
    const value = find(keyOf(KeyKind.PREFIX, space, length, Buffer.from(masked, 'hex')));
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
export function tableAbstracts(rules: readonly AbstractRule[], firstNumber: number): AbstractTable[] {
  const numbered = rules.map((rule, index) => ({ ...rule, number: firstNumber + index }));
  return directions.flatMap((direction) => {
    const own = numbered.filter((rule) => matchesDirection(rule, direction));
    if (own.length === 0) return [];
    const matcher = matcherOf(
      own.map(({ name }) => name),
      Limit.MAX_GLOB_ROWS,
      [],
    );
    const deciders = matcher.matches.map((match) => strongest(match.flatMap((i) => own[i] ?? [])));
    // The kernel may choose any such name, so one that is denied counts for all.
    const denial = own.find(({ section, name }) => section === 'network.deny' && mayBeChosen(name));
    const everything = own.filter(({ name }) => /^\*+$/.test(name));
    const choice = strongest(denial ? [denial] : everything);
    return [{ direction, matcher, deciders, choice }];
  });
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
