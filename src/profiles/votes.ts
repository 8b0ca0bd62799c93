/**
 * What the rules for paths say of an object. There are four lists of rules: for files, for exec, and for
 * connecting to unix sockets and binding them. Of the rules of one role and list that cover an object the one that
 * matches the longest path decides; on a tie `deny`, then `write`, then `read`. Each list is decided by itself,
 * but who may write a socket's path needs no rule for sockets: among those, too, the longest match decides.
 *
 * So every role of a stack comes to a vote of its own, and what all of them grant is granted. Of the roles that
 * grant least the first is named as the one that decides.
 */
import { Access, Scope } from '../abi.js';
import { isNetworkSection, type LocatedRole, type PathSection } from './policy.js';
import type { Member } from './stack.js';

/** What is known of an object: what may be done with it, and the numbers of the rules that say so. */
export interface Answer {
  access: number;
  rule: number;
  execRule: number;
  connectRule: number;
  bindRule: number;
}

/** USE is what a list other than that of files grants. */
const grants = { NOTHING: 0, READ: 1, WRITE: 2, USE: 3, DENY: 4 } as const;
type Grant = (typeof grants)[keyof typeof grants];

/** The rule that decides so far. `depth` is how much of the name it matches, relative to the object at hand. */
export interface Verdict {
  depth: number;
  grant: Grant;
  rule: number;
}

const noRule: Verdict = { depth: Number.NEGATIVE_INFINITY, grant: grants.NOTHING, rule: 0 };

/** The verdict that decides when both cover an object. Rule numbers only make the choice unique. */
function better(a: Verdict, b: Verdict): Verdict {
  if (a.depth !== b.depth) return a.depth > b.depth ? a : b;
  return (a.grant - b.grant || b.rule - a.rule) >= 0 ? a : b;
}

const lists = ['files', 'exec', 'connect', 'bind'] as const;
type List = (typeof lists)[number];

/** In which lists a rule has a say. */
const grantsOf: Record<PathSection, Partial<Record<List, Grant>>> = {
  'files.read': { files: grants.READ },
  'files.write': { files: grants.WRITE },
  'files.deny': { files: grants.DENY, exec: grants.DENY, connect: grants.DENY, bind: grants.DENY },
  exec: { exec: grants.USE },
  'network.connect': { connect: grants.USE },
  'network.bind': { bind: grants.USE },
  'network.deny': { connect: grants.DENY, bind: grants.DENY },
};

/** What decides so far: a verdict for each of a role's lists that has rules, of one role after the other. */
export type Verdicts = readonly Verdict[];

/** Which verdicts are a role's. */
interface Voter extends Member {
  slots: Partial<Record<List, number>>;
  /** It has unix: rules, so they decide with those for files. */
  hasSockets: boolean;
  libraries: ReadonlySet<number>;
}

/** What one role says of an object; the levels order how much it grants. */
interface Vote extends Answer {
  level: Record<List, number>;
}

export function hasSockets({ paths }: Pick<LocatedRole, 'paths'>): boolean {
  return paths.some(({ section }) => isNetworkSection(section));
}

/** Under `exec: any` files.deny takes exec away all the same. */
export function deniesExec({ exec, paths }: Pick<LocatedRole, 'exec' | 'paths'>): boolean {
  return exec === Scope.ANY && paths.some(({ section }) => section === 'files.deny');
}

/** The votes of a stack's roles. */
export class Votes {
  /** Where no rule covers an object. */
  readonly none: Verdicts;
  /** What holds for `/`, which every rule outweighs. */
  readonly start: Verdicts;
  /** Which verdicts are compared with each other. */
  readonly #groups: readonly (readonly number[])[];
  readonly #voters: readonly Voter[];

  /** `sockets`: the kernel side asks for connecting and binding. */
  constructor(
    members: readonly Member[],
    readonly sockets: boolean,
  ) {
    let slots = 0;
    const groups: number[][] = [];
    this.#voters = members.map((member) => {
      const { role } = member;
      const asked: Record<List, boolean> = {
        files: true,
        exec: role.exec === Scope.RULES || deniesExec(role),
        connect: sockets && role.network === Scope.RULES,
        bind: sockets && role.network === Scope.RULES,
      };
      const used = lists.filter(
        (list) => asked[list] && role.paths.some(({ section }) => grantsOf[section][list] !== undefined),
      );
      const own = Object.fromEntries(used.map((list) => [list, slots++])) as Voter['slots'];
      groups.push(used.filter((list) => list !== 'exec').map((list) => own[list] as number));
      if (own.exec !== undefined) groups.push([own.exec]);
      const libraries = role.paths.flatMap(({ library }, i) => (library ? member.paths + i : []));
      return { ...member, slots: own, hasSockets: hasSockets(role), libraries: new Set(libraries) };
    });
    this.#groups = groups.filter((group) => group.length > 0);
    this.none = Array(slots).fill(noRule);
    const free = this.#voters.flatMap(({ role, slots }) =>
      role.exec === Scope.ANY && slots.exec !== undefined ? slots.exec : [],
    );
    this.start = this.none.map((_, slot) =>
      free.includes(slot) ? { ...noRule, grant: grants.USE } : noRule,
    );
  }

  /** The rules of all roles for paths, with their numbers and what each says of the object that it names. */
  *rules(): Generator<{ rule: LocatedRole['paths'][number]; number: number; verdicts: Verdicts }> {
    for (const { role, paths, slots } of this.#voters)
      for (const [index, rule] of role.paths.entries()) {
        const number = paths + index;
        const verdicts = [...this.none];
        for (const list of lists) {
          const grant = grantsOf[rule.section][list];
          const slot = slots[list];
          if (grant !== undefined && slot !== undefined) verdicts[slot] = { depth: 0, grant, rule: number };
        }
        yield { rule, number, verdicts };
      }
  }

  /** What decides where both cover an object. */
  better(a: Verdicts, b: Verdicts): Verdicts {
    if (a === this.none || b === this.none) return a === this.none ? b : a;
    return a.map((verdict, slot) => {
      const other = b[slot] ?? noRule;
      return other === noRule ? verdict : better(verdict, other);
    });
  }

  /** A rule that matches the object itself, `depth` components deep, outweighs all that matched above it. */
  deeper(here: Verdicts, above: Verdicts, depth: number): Verdicts {
    if (here === this.none) return above;
    return here.map((verdict, slot) =>
      verdict === noRule ? (above[slot] ?? noRule) : { ...verdict, depth },
    );
  }

  /** The same verdicts, of an object one component below. */
  below(verdicts: Verdicts): Verdicts {
    return verdicts.map((verdict) =>
      verdict === noRule ? noRule : { ...verdict, depth: verdict.depth - 1 },
    );
  }

  /**
   * The same verdicts of one object by its several names, with depths that tell no more than what can still decide:
   * whatever matches next outweighs all that is no deeper than `floor`, so of those only the order counts, from
   * `ground` down.
   */
  settle(names: readonly Verdicts[], floor: number, ground: number): Verdicts[] {
    const settled = names.map((verdicts) => [...verdicts]);
    for (const group of this.#groups) {
      const depths = names.flatMap((verdicts) => group.map((slot) => (verdicts[slot] ?? noRule).depth));
      const low = [...new Set(depths)].filter((depth) => depth <= floor && Number.isFinite(depth));
      low.sort((a, b) => b - a);
      for (const verdicts of settled)
        for (const slot of group) {
          const verdict = verdicts[slot] ?? noRule;
          const rank = low.indexOf(verdict.depth);
          if (rank >= 0 && verdict.depth !== ground - rank)
            verdicts[slot] = { ...verdict, depth: ground - rank };
        }
    }
    return settled;
  }

  /** Equal for equal verdicts. */
  keyOf(verdicts: Verdicts): string {
    let key = '';
    for (const verdict of verdicts)
      key += verdict === noRule ? ';' : `;${verdict.depth}:${verdict.grant}:${verdict.rule}`;
    return key;
  }

  /** What the stack says of an object. Without a name nothing is granted by rules. */
  answer(verdicts: Verdicts, isNamed: boolean): Answer {
    const votes = this.#voters.map((voter) => this.#vote(voter, verdicts, isNamed));
    const weakest = (list: List): Vote | undefined =>
      votes.reduce<Vote | undefined>(
        (least, vote) => (least && least.level[list] <= vote.level[list] ? least : vote),
        undefined,
      );
    const all = votes.reduce((access, vote) => access & vote.access, ~Access.HIDDEN);
    const hidden = votes.some(({ access }) => access & Access.HIDDEN);
    return {
      access: all | (hidden ? Access.HIDDEN : 0),
      rule: weakest('files')?.rule ?? 0,
      execRule: weakest('exec')?.execRule ?? 0,
      connectRule: weakest('connect')?.connectRule ?? 0,
      bindRule: weakest('bind')?.bindRule ?? 0,
    };
  }

  #vote(voter: Voter, verdicts: Verdicts, isNamed: boolean): Vote {
    const { role, slots, none } = voter;
    const at = (slot: number | undefined): Verdict =>
      slot === undefined ? noRule : (verdicts[slot] ?? noRule);
    const files = at(slots.files);
    const exec = at(slots.exec);
    const anyFile = role.files === Scope.ANY;
    const anyProgram = role.exec === Scope.ANY && slots.exec === undefined;
    const vote: Vote = {
      access: anyFile ? Access.READ | Access.WRITE : accessOf(files),
      rule: files.rule || none,
      execRule: exec.rule || none,
      connectRule: 0,
      bindRule: 0,
      level: { files: anyFile ? levels.ANY : levelOf(files), exec: levels.NOTHING, connect: 0, bind: 0 },
    };
    // Who may execute a file may map it, too. files.deny also takes exec away, but from exec's point of view no
    // files.read lies deeper.
    if (anyProgram || exec.grant === grants.USE) vote.access |= Access.EXEC | Access.MAP;
    else if (voter.libraries.has(files.rule)) vote.access |= Access.MAP;
    if (anyProgram) vote.level.exec = levels.ANY;
    else if (vote.access & Access.EXEC) vote.level.exec = levels.WRITE;
    else if (vote.access & Access.MAP) vote.level.exec = levels.READ;
    if (!this.sockets) return vote;

    const anySocket = role.network === Scope.ANY;
    const writes: Verdict = anyFile && (isNamed || !voter.hasSockets) ? anyWrite : files;
    const connect = anySocket ? { ...noRule, grant: grants.USE } : forSockets(at(slots.connect), writes);
    const bind = forSockets(at(slots.bind), writes);
    if (connect.grant === grants.USE) vote.access |= Access.CONNECT;
    if (bind.grant === grants.USE) vote.access |= Access.BIND;
    vote.connectRule = connect.rule || none;
    vote.bindRule = bind.rule || none;
    vote.level.connect = anySocket
      ? levels.ANY
      : connect.grant === grants.USE
        ? levels.WRITE
        : levels.NOTHING;
    vote.level.bind = bind.grant === grants.USE ? levels.WRITE : levels.NOTHING;
    return vote;
  }
}

/** How much is granted: whoever grants less than another denies all that the other denies. */
const levels = { HIDDEN: 0, NOTHING: 1, READ: 2, WRITE: 3, ANY: 4 } as const;

function levelOf({ grant }: Verdict): number {
  switch (grant) {
    case grants.READ:
      return levels.READ;
    case grants.WRITE:
      return levels.WRITE;
    case grants.DENY:
      return levels.HIDDEN;
    default:
      return levels.NOTHING;
  }
}

function accessOf({ grant }: Verdict): number {
  switch (grant) {
    case grants.READ:
      return Access.READ;
    case grants.WRITE:
      return Access.READ | Access.WRITE;
    case grants.DENY:
      return Access.HIDDEN;
    default:
      return 0;
  }
}

/** What `files: any` says. */
const anyWrite: Verdict = { ...noRule, grant: grants.WRITE };

/** The right to write a socket's path is one to use the socket, unless a longer match, or one as long, denies it. */
function forSockets(own: Verdict, files: Verdict): Verdict {
  if (own.grant === grants.USE) return own;
  if (files.grant === grants.WRITE && (own.grant !== grants.DENY || files.depth > own.depth))
    return { ...files, grant: grants.USE };
  return own.grant === grants.DENY ? own : { ...files, grant: grants.NOTHING };
}
