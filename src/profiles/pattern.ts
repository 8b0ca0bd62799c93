/**
 * Wildcards in a rule's path. `*` stands for any bytes of one component, `?` for one UTF-8 character,
 * `[a-z]` and `[!a-z]` for one character that is or is not among those, and a component `**` for any
 * number of components, none included. A leading dot is like any other character. To name a wildcard
 * character itself, put it into brackets: `[*]`.
 *
 * All text here is byte strings (see locate.ts), as file names are.
 */
/** A component that is a name, or one with wildcards; DEEP is `**`. */
export type Component = { name: string } | { glob: string } | typeof DEEP;
export const DEEP = '**';

export function hasWildcards(component: string): boolean {
  return /[*?[]/.test(component);
}

/**
 * The components of a rule's path. A `**` at the end goes, since a rule covers all below it anyway; of
 * several in a row one stays.
 */
export function parsePattern(texts: readonly string[]): Component[] {
  const components: Component[] = [];
  for (const text of texts) {
    if (text !== DEEP) components.push(hasWildcards(text) ? plainGlob(text) : { name: text });
    else if (components.at(-1) !== DEEP) components.push(DEEP);
  }
  if (components.at(-1) === DEEP) components.pop();
  return components;
}

/** `[*]` and the like name one character, so a component of nothing else is a name. */
function plainGlob(glob: string): Component {
  const tokens = tokensOf(glob);
  const name = tokens.map((token) => (token.kind === 'byte' ? String.fromCharCode(token.byte) : undefined));
  return name.includes(undefined) ? { glob } : { name: name.join('') };
}

/** What is wrong with the wildcards of a path, and the mend; undefined when all is well. */
export function checkPattern(texts: readonly string[]): string | undefined {
  for (const text of texts) {
    if (text !== DEEP && /\*\*/.test(text))
      return 'has a ** that is not a component of its own; write * for any part of one component, or /**/';
    try {
      tokensOf(text);
    } catch (fault) {
      return (fault as Error).message;
    }
  }
  return undefined;
}

type Token =
  | { kind: 'byte'; byte: number }
  | { kind: 'star' }
  /** One character: an ASCII one for which `ascii` is true, or any other when `others`. */
  | { kind: 'character'; ascii: readonly boolean[]; others: boolean };

const anyAscii: readonly boolean[] = Array(128).fill(true);

/** @throws Error that says what is wrong with a class */
function tokensOf(glob: string): Token[] {
  const tokens: Token[] = [];
  for (let i = 0; i < glob.length; i++) {
    const character = glob.charAt(i);
    if (character === '*') tokens.push({ kind: 'star' });
    else if (character === '?') tokens.push({ kind: 'character', ascii: anyAscii, others: true });
    else if (character !== '[') tokens.push({ kind: 'byte', byte: glob.charCodeAt(i) });
    else {
      const [token, length] = readClass(glob.slice(i));
      tokens.push(token);
      i += length - 1;
    }
  }
  return tokens;
}

/** Reads the class that `text` begins with; a `]` directly behind `[` or `[!` is a member (glob(7)). */
function readClass(text: string): [token: Token, length: number] {
  const match = /^\[([!^]?)(\]?[^\]]*)\]/.exec(text);
  if (!match?.[2]) throw new Error('has a [ without its ]; to name the character itself write [[]');
  const [whole, negation, members] = match;
  if (/[\x80-\xff]/.test(members))
    throw new Error('has a class with other than ASCII characters; write ? for any character');
  const ascii: boolean[] = Array(128).fill(false);
  for (let i = 0; i < members.length; i++) {
    const first = members.charCodeAt(i);
    const isRange = members.charAt(i + 1) === '-' && i + 2 < members.length;
    const last = isRange ? members.charCodeAt(i + 2) : first;
    if (last < first)
      throw new Error(`has a class whose range ${members.slice(i, i + 3)} is the wrong way round`);
    ascii.fill(true, first, last + 1);
    if (isRange) i += 2;
  }
  const only = ascii.indexOf(true);
  if (!negation && only === ascii.lastIndexOf(true)) return [{ kind: 'byte', byte: only }, whole.length];
  if (!negation) return [{ kind: 'character', ascii, others: false }, whole.length];
  return [{ kind: 'character', ascii: ascii.map((member) => !member), others: true }, whole.length];
}

interface Position {
  edges: { from: number; to: number; target: Position }[];
  /** Which of the globs ends here. */
  ends?: number;
}

/** Well-formed UTF-8 beyond ASCII: the ranges of each byte (The Unicode Standard, table 3-7). */
const encodings: [number, number][][] = [
  [[0xc2, 0xdf], [0x80, 0xbf]],
  [[0xe0, 0xe0], [0xa0, 0xbf], [0x80, 0xbf]],
  [[0xe1, 0xec], [0x80, 0xbf], [0x80, 0xbf]],
  [[0xed, 0xed], [0x80, 0x9f], [0x80, 0xbf]],
  [[0xee, 0xef], [0x80, 0xbf], [0x80, 0xbf]],
  [[0xf0, 0xf0], [0x90, 0xbf], [0x80, 0xbf], [0x80, 0xbf]],
  [[0xf1, 0xf3], [0x80, 0xbf], [0x80, 0xbf], [0x80, 0xbf]],
  [[0xf4, 0xf4], [0x80, 0x8f], [0x80, 0xbf], [0x80, 0xbf]],
]; // biome-ignore format: a table

function positionsOf(glob: string, number: number): Position {
  const start: Position = { edges: [] };
  let at = start;
  for (const token of tokensOf(glob)) {
    if (token.kind === 'star') {
      at.edges.push({ from: 0, to: 255, target: at });
      continue;
    }
    const next: Position = { edges: [] };
    if (token.kind === 'byte') at.edges.push({ from: token.byte, to: token.byte, target: next });
    else {
      for (const [byte, member] of token.ascii.entries())
        if (member) at.edges.push({ from: byte, to: byte, target: next });
      if (token.others) for (const ranges of encodings) addSequence(at, ranges, next);
    }
    at = next;
  }
  at.ends = number;
  return start;
}

function addSequence(start: Position, ranges: readonly [number, number][], end: Position): void {
  let at = start;
  for (const [i, [from, to]] of ranges.entries()) {
    const target = i === ranges.length - 1 ? end : { edges: [] };
    at.edges.push({ from, to, target });
    at = target;
  }
}

/** A byte of a name after another leads from row to row; row 0 is the start. */
export interface Matcher {
  rows: {
    /** The next row for each byte; undefined where no glob can match any more. */
    next: (number | undefined)[];
    /** Which globs match a name that ends here, as an index into `matches`; undefined for none. */
    match: number | undefined;
  }[];
  /** The sets of globs, by their place in the list, that some name matches and no other name matches more of. */
  matches: number[][];
}

/** NUL and the slash are in no name of a file. */
const notInNames: readonly number[] = [0, 0x2f];

/** More rows than this in one role's matchers are refused. */
export class TooManyRows extends Error {}

/**
 * One automaton for all `globs` at once; no wildcard stands for the bytes `stops`.
 * @throws TooManyRows when it has more than `limit` rows
 */
export function matcherOf(globs: readonly string[], limit: number, stops = notInNames): Matcher {
  const rows: Matcher['rows'] = [];
  const matches: number[][] = [];
  const matchNumbers = new Map<string, number>();
  const known = new Map<string, number>();
  const ids = new Map<Position, number>();
  const pending: Position[][] = [];
  const rowOf = (positions: Set<Position>): number => {
    const sorted = [...positions].sort((a, b) => idOf(a) - idOf(b));
    const key = sorted.map(idOf).join();
    const found = known.get(key);
    if (found !== undefined) return found;
    if (rows.length === limit) throw new TooManyRows();
    const number = rows.length;
    known.set(key, number);
    const ends = sorted.flatMap(({ ends }) => ends ?? []).sort((a, b) => a - b);
    let match: number | undefined;
    if (ends.length > 0) {
      match = matchNumbers.get(ends.join()) ?? matches.length;
      if (match === matches.length) matches.push(ends);
      matchNumbers.set(ends.join(), match);
    }
    rows.push({ next: [], match });
    pending.push(sorted);
    return number;
  };
  const idOf = (position: Position): number => {
    const id = ids.get(position) ?? ids.size;
    ids.set(position, id);
    return id;
  };
  rowOf(new Set(globs.map(positionsOf)));
  for (let number = 0; number < pending.length; number++) {
    const reached: Set<Position>[] = Array.from({ length: 256 }, () => new Set());
    for (const { edges } of pending[number] ?? [])
      for (const { from, to, target } of edges)
        for (let byte = from; byte <= to; byte++) reached[byte]?.add(target);
    const row = rows[number];
    if (row)
      row.next = reached.map((positions, byte) =>
        positions.size === 0 || stops.includes(byte) ? undefined : rowOf(positions),
      );
  }
  return { rows, matches };
}

/** Which of the matcher's sets of globs the name matches; undefined for none. */
export function matchName({ rows }: Matcher, name: string): number | undefined {
  let at: number | undefined = 0;
  for (let i = 0; i < name.length && at !== undefined; i++) at = rows[at]?.next[name.charCodeAt(i)];
  return at === undefined ? undefined : rows[at]?.match;
}

/** How many bytes of a name the glob spells out. */
export function spelledOut(glob: string): number {
  return tokensOf(glob).filter(({ kind }) => kind === 'byte').length;
}
