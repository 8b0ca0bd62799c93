/**
 * From rules and mounts to one automaton over path components for each file system.
 *
 * What decides an object is defined by its names: every visible path that leads to it. A rule covers an
 * object when it matches one of its names, or a directory above in that name. Of the rules that cover it
 * the one that matches the longest path decides; on a tie `deny`, then `write`, then `read`. An object
 * without a name is not granted anything.
 *
 * There are four lists of rules: for files, for exec, and for connecting to unix sockets and binding them. Each
 * is decided by itself, but who may write a socket's path needs no rule for sockets: among those, too, the
 * longest match decides.
 *
 * The rules become one tree of patterns. The subset construction then walks each file system from its
 * root: a state knows, for each mount that shows the object, where in the tree that name has come to, and
 * which rule was the deepest to match it so far. States that answer alike are joined, and edges that
 * change nothing are left out.
 */
import { Access, Limit, Scope } from '../abi.js';
import { splitPath } from './locate.js';
import { hasPaths, type Mount } from './mounts.js';
import {
  type Component,
  DEEP,
  type Matcher,
  matcherOf,
  matchName,
  parsePattern,
  TooManyRows,
} from './pattern.js';
import { type LocatedRole, type PathRule, PolicyError } from './policy.js';

/** What is known of an object: what may be done with it, and the numbers of the rules that say so. */
export interface Answer {
  access: number;
  rule: number;
  execRule: number;
  connectRule: number;
  bindRule: number;
}

/** Where an edge leads. Without a state nothing below changes the answer. */
export interface Target extends Answer {
  state: State | undefined;
}

/** What leaves a state: edges for names, for globs, and for what neither takes. */
export interface State {
  /** From 1. */
  number: number;
  names: [name: string, target: Target][];
  globs?: {
    matcher: Matcher;
    /** For each of the matcher's sets of globs; undefined where `any` or nothing applies instead. */
    targets: (Target | undefined)[];
  };
  any?: Target;
}

export interface Automaton {
  /** For each file system what its root is, sorted by its number. */
  devices: [device: number, target: Target][];
  states: State[];
}

/** USE is what a list other than that of files grants. */
const grants = { NOTHING: 0, READ: 1, WRITE: 2, USE: 3, DENY: 4 } as const;
type Grant = (typeof grants)[keyof typeof grants];

/** The rule that decides so far. `depth` is how much of the name it matches, relative to the object at hand. */
interface Verdict {
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

/** What decides so far, in each list. */
type Verdicts = Readonly<Record<List, Verdict>>;

const noVerdicts: Verdicts = { files: noRule, exec: noRule, connect: noRule, bind: noRule };

/** In which lists a rule has a say. */
const grantsOf: Record<PathRule['section'], Partial<Record<List, Grant>>> = {
  'files.read': { files: grants.READ },
  'files.write': { files: grants.WRITE },
  'files.deny': { files: grants.DENY, exec: grants.DENY, connect: grants.DENY, bind: grants.DENY },
  exec: { exec: grants.USE },
  'network.connect': { connect: grants.USE },
  'network.bind': { bind: grants.USE },
  'network.deny': { connect: grants.DENY, bind: grants.DENY },
};

function mergeVerdicts(a: Verdicts, merge: (list: List, verdict: Verdict) => Verdict): Verdicts {
  return {
    files: merge('files', a.files),
    exec: merge('exec', a.exec),
    connect: merge('connect', a.connect),
    bind: merge('bind', a.bind),
  };
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

/** A place in the rules' patterns. */
interface PatternNode {
  id: number;
  names: Map<string, PatternNode>;
  globs: Map<string, PatternNode>;
  /** Behind a `**`, which may stand for nothing: whoever is here is there, too. */
  deep?: PatternNode;
  /** This is such a node: every name leads back to it. */
  loops: boolean;
  /** Of the rules whose pattern ends here the one that decides. */
  verdicts: Verdicts;
}

class PatternTree {
  readonly root: PatternNode;
  #count = 0;

  constructor(role: LocatedRole, used: readonly List[]) {
    this.root = this.#node();
    for (const [index, rule] of role.paths.entries())
      for (const { path, pattern } of rule.places) {
        const literal: Component[] = splitPath(path).map((name) => ({ name }));
        const node = this.#reach([...literal, ...parsePattern(pattern)]);
        const granted = grantsOf[rule.section];
        node.verdicts = mergeVerdicts(node.verdicts, (list, verdict) => {
          const grant = granted[list];
          if (grant === undefined || !used.includes(list)) return verdict;
          return better(verdict, { depth: 0, grant, rule: index + 1 });
        });
      }
  }

  #node(loops = false): PatternNode {
    return { id: this.#count++, names: new Map(), globs: new Map(), loops, verdicts: noVerdicts };
  }

  #reach(components: readonly Component[]): PatternNode {
    let node = this.root;
    for (const component of components) {
      if (component === DEEP) {
        node.deep ??= this.#node(true);
        node = node.deep;
        continue;
      }
      const isName = 'name' in component;
      const children = isName ? node.names : node.globs;
      const key = isName ? component.name : component.glob;
      const child = children.get(key) ?? this.#node();
      children.set(key, child);
      node = child;
    }
    return node;
  }
}

/** A visible path on the way to a mount point. */
interface MountNode {
  id: number;
  children: Map<string, MountNode>;
  mount?: Mount;
}

function growMounts(mounts: readonly Mount[]): MountNode {
  let count = 0;
  const node = (): MountNode => ({ id: count++, children: new Map() });
  const root = node();
  for (const mount of mounts) {
    let at = root;
    for (const name of splitPath(mount.mountPoint)) {
      const child = at.children.get(name) ?? node();
      at.children.set(name, child);
      at = child;
    }
    at.mount = mount;
  }
  return root;
}

/** One name of the object at hand, once the components `ahead` were passed. */
interface Name {
  ahead: readonly string[];
  /** Where in the patterns it has come to, sorted, those only from which something can still match. */
  nodes: readonly PatternNode[];
  mounts: MountNode | undefined;
  /** The number of the name's components, less those from the file system's root to the object. */
  base: number;
  verdicts: Verdicts;
}

/** How a name goes on: with a certain component, or with any that matches exactly these globs. */
interface Step {
  name?: string;
  matches: (glob: string) => boolean;
}

/** A state while it is built. */
interface Draft extends State {
  answer: Answer;
  /** No name leads here: another mount hides it. */
  hidden: boolean;
  done: boolean;
  /** Which state takes its place; undefined when it needs none. */
  stands?: Draft | undefined;
}

/** Which lists the kernel side will ask beside that of files. */
export interface Asked {
  exec: boolean;
  sockets: boolean;
}

/** Builds the automaton of `role` for a mount table. Throws a PolicyError for what the kernel side cannot hold. */
export function buildAutomaton(role: LocatedRole, mounts: readonly Mount[], asked: Asked): Automaton {
  return new Builder(role, mounts, asked).build();
}

class Builder {
  readonly #tree: PatternTree;
  readonly #mounts: MountNode;
  /** What holds for `/`. */
  readonly #start: Verdicts;
  readonly #drafts = new Map<string, Draft>();
  readonly #bySignature = new Map<string, Draft>();
  readonly #matchers = new Map<string, Matcher>();
  readonly #ids = new Map<object, number>();

  constructor(
    readonly role: LocatedRole,
    mounts: readonly Mount[],
    readonly asked: Asked,
  ) {
    const used = lists.filter((list) => list === 'files' || (list === 'exec' ? asked.exec : asked.sockets));
    this.#tree = new PatternTree(role, used);
    this.#mounts = growMounts(mounts);
    this.#start = {
      ...noVerdicts,
      ...(asked.sockets && role.files === Scope.ANY && { files: { ...noRule, grant: grants.WRITE } }),
      ...(role.exec === Scope.ANY && { exec: { ...noRule, grant: grants.USE } }),
    };
  }

  build(): Automaton {
    const devices = [...this.#namesByDevice()]
      .sort(([a], [b]) => a - b)
      .map(([device, names]): [number, Draft] => [device, this.#explore(names)]);
    const states: State[] = [];
    const numbered = new Set<Draft>();
    const number = (draft: Draft | undefined): State | undefined => {
      if (draft && !numbered.has(draft)) {
        numbered.add(draft);
        draft.number = states.length + 1;
        states.push(draft);
        for (const target of targetsOf(draft)) target.state = number(standing(target.state as Draft));
      }
      return draft;
    };
    const targets = devices.map(([device, draft]): Automaton['devices'][number] => [
      device,
      { ...draft.answer, state: number(standing(draft)) },
    ]);
    const matchers = new Set(states.flatMap(({ globs }) => globs?.matcher ?? []));
    const rows = [...matchers].reduce((sum, matcher) => sum + matcher.rows.length, 1);
    if (rows > Limit.MAX_GLOB_ROWS) throw this.#tooManyRows();
    return { devices: targets, states };
  }

  /** For each file system the names that the object at its root may go by. */
  #namesByDevice(): Map<number, Name[]> {
    const devices = new Map<number, Name[]>();
    const visit = (node: MountNode, way: readonly string[], name: Name) => {
      if (node.mount) {
        const names = devices.get(node.mount.device) ?? [];
        devices.set(node.mount.device, names);
        const ahead = splitPath(node.mount.root);
        const base = way.length - ahead.length;
        if (hasPaths(node.mount)) names.push({ ...name, ahead, base, mounts: node });
      }
      for (const [component, child] of node.children) {
        const { nodes, verdicts } = this.#follow(name, component);
        const next = { ...name, nodes, verdicts: deeper(verdicts, name.verdicts, way.length + 1) };
        visit(child, [...way, component], next);
      }
    };
    const start = this.#arrive([this.#tree.root]);
    visit(this.#mounts, [], {
      ahead: [],
      nodes: start.nodes,
      mounts: this.#mounts,
      base: 0,
      verdicts: deeper(start.verdicts, this.#start, 0),
    });
    return devices;
  }

  #follow(name: Name, component: string): Pick<Name, 'nodes' | 'verdicts'> {
    return this.#advance(name, { name: component, matches: (glob) => this.#matches(glob, component) });
  }

  #advance({ nodes }: Name, { name, matches }: Step): Pick<Name, 'nodes' | 'verdicts'> {
    const next: PatternNode[] = [];
    for (const node of nodes) {
      if (node.loops) next.push(node);
      const child = name === undefined ? undefined : node.names.get(name);
      if (child) next.push(child);
      for (const [glob, behind] of node.globs) if (matches(glob)) next.push(behind);
    }
    return this.#arrive(next);
  }

  /** The nodes that are reached with these, and the verdict of the rules that end in them. */
  #arrive(reached: PatternNode[]): Pick<Name, 'nodes' | 'verdicts'> {
    const nodes = new Set<PatternNode>();
    let verdicts = noVerdicts;
    for (const node of reached) {
      verdicts = betterOf(verdicts, node.verdicts);
      nodes.add(node);
      if (node.deep) nodes.add(node.deep);
    }
    const live = [...nodes].filter(({ names, globs }) => names.size > 0 || globs.size > 0);
    return { nodes: live.sort((a, b) => a.id - b.id), verdicts };
  }

  #matches(glob: string, name: string): boolean {
    return matchName(this.#matcherOf([glob]), name) !== undefined;
  }

  /** Globs that are matched together share their automaton, whichever state they belong to. */
  #matcherOf(globs: readonly string[]): Matcher {
    const key = globs.join('/');
    let matcher = this.#matchers.get(key);
    if (!matcher) {
      try {
        matcher = matcherOf(globs, Limit.MAX_GLOB_ROWS);
      } catch (error) {
        throw error instanceof TooManyRows ? this.#tooManyRows() : error;
      }
      this.#matchers.set(key, matcher);
    }
    return matcher;
  }

  /** Builds the state of an object that goes by `names`, and all that lie below it. */
  #explore(names: readonly Name[]): Draft {
    const canonical = canonicalize(names);
    const key = canonical.map(keyOf).join(' ');
    let draft = this.#drafts.get(key);
    if (!draft) {
      if (this.#drafts.size === Limit.MAX_STATES)
        throw this.#tooLarge(`more than ${Limit.MAX_STATES} states`);
      draft = {
        number: 0,
        answer: answerOf(canonical, this.asked),
        hidden: canonical.length === 0,
        names: [],
        done: false,
      };
      this.#drafts.set(key, draft);
      this.#addEdges(draft, canonical);
      this.#finish(draft);
    }
    return draft;
  }

  #addEdges(draft: Draft, names: readonly Name[]): void {
    const active = names.filter(({ ahead }) => ahead.length === 0);
    const nodes = new Set(active.flatMap(({ nodes }) => nodes));
    const globs = [...new Set([...nodes].flatMap(({ globs }) => [...globs.keys()]))].sort();
    const components = new Set<string>();
    for (const { ahead } of names) if (ahead[0] !== undefined) components.add(ahead[0]);
    for (const node of nodes) for (const name of node.names.keys()) components.add(name);
    for (const { mounts } of active) for (const name of mounts?.children.keys() ?? []) components.add(name);
    const follow = (step: Step): Target => targetOf(this.#explore(this.#step(names, step)));

    if (globs.length > 0 || [...nodes].some(({ loops }) => loops))
      draft.any = follow({ matches: () => false });
    if (globs.length > 0) {
      const matcher = this.#matcherOf(globs);
      const targets = matcher.matches.map((match) => {
        const matching = new Set(match.map((i) => globs[i]));
        return follow({ matches: (glob) => matching.has(glob) });
      });
      draft.globs = { matcher, targets };
    }
    for (const name of [...components].sort())
      draft.names.push([name, follow({ name, matches: (glob) => this.#matches(glob, name) })]);
  }

  #step(names: readonly Name[], step: Step): Name[] {
    const next: Name[] = [];
    for (const name of names) {
      const verdicts = mergeVerdicts(name.verdicts, (_, verdict) =>
        verdict === noRule ? noRule : { ...verdict, depth: verdict.depth - 1 },
      );
      if (name.ahead.length > 0) {
        if (name.ahead[0] === step.name) next.push({ ...name, ahead: name.ahead.slice(1), verdicts });
        continue;
      }
      const mounts = step.name === undefined ? undefined : name.mounts?.children.get(step.name);
      // Something is mounted there, and what lies under it has lost this name.
      if (mounts?.mount) continue;
      const reached = this.#advance(name, step);
      next.push({
        ...name,
        nodes: reached.nodes,
        mounts,
        verdicts: deeper(reached.verdicts, verdicts, name.base),
      });
    }
    return next;
  }

  /** Leaves out the edges that change nothing, and finds a state that does the same. */
  #finish(draft: Draft): void {
    draft.done = true;
    const stay: Target = { ...draft.answer, state: undefined };
    if (draft.any && sameTarget(draft.any, stay)) delete draft.any;
    const rest = draft.any ?? stay;
    const { globs } = draft;
    if (globs) {
      globs.targets = globs.targets.map((target) =>
        target && sameTarget(target, rest) ? undefined : target,
      );
      if (globs.targets.every((target) => target === undefined)) delete draft.globs;
    }
    draft.names = draft.names.filter(([name, target]) => {
      const match = draft.globs && matchName(draft.globs.matcher, name);
      const otherwise = (match !== undefined && draft.globs?.targets[match]) || rest;
      if (sameTarget(target, otherwise)) return false;
      if (name.length <= Limit.MAX_NAME) return true;
      // Hidden objects keep the verdict of the directory around them; for others that could be too much.
      if ((target as Target & { hidden?: boolean }).hidden) return false;
      throw unrecognizable(name, target, this.role);
    });
    if (draft.names.length === 0 && !draft.globs && !draft.any) {
      draft.stands = undefined;
      return;
    }
    const signature = this.#signatureOf(draft);
    draft.stands = this.#bySignature.get(signature) ?? draft;
    this.#bySignature.set(signature, draft.stands);
  }

  /** What the state answers to every name. States of which one leads to another that is not done are told apart. */
  #signatureOf(draft: Draft): string {
    const text = ({ access, rule, execRule, connectRule, bindRule, state }: Target): string => {
      const behind = state as Draft | undefined;
      const to =
        behind === draft ? 'self' : behind && idOf(this.#ids, behind.done ? standing(behind) : behind);
      return `${access}/${rule}/${execRule}/${connectRule}/${bindRule}/${to ?? ''}`;
    };
    const names = draft.names.map(([name, target]) => `${name}/${text(target)}`);
    const globs = draft.globs?.targets.map((target) => (target ? text(target) : '-')) ?? [];
    const matcher = draft.globs ? idOf(this.#ids, draft.globs.matcher) : '';
    return [draft.any ? text(draft.any) : '', matcher, ...globs, '', ...names].join('//');
  }

  #tooManyRows(): PolicyError {
    return this.#tooLarge(`more than ${Limit.MAX_GLOB_ROWS} rows for its wildcards`);
  }

  #tooLarge(what: string): PolicyError {
    const [rule] = this.role.paths;
    const { file, line, column } = rule ?? { file: '', line: 0, column: 0 };
    const message = `role ${this.role.name} compiles to ${what}; use fewer ** and * in it`;
    return new PolicyError([
      { code: 'BAD_PATH', file, line, column, where: `roles.${this.role.name}`, message },
    ]);
  }
}

function idOf(ids: Map<object, number>, object: object | undefined): number | undefined {
  if (!object) return undefined;
  const id = ids.get(object) ?? ids.size;
  ids.set(object, id);
  return id;
}

/** A rule that matches the object itself, `depth` components deep, outweighs all that matched above it. */
function deeper(here: Verdicts, above: Verdicts, depth: number): Verdicts {
  if (here === noVerdicts) return above;
  return mergeVerdicts(above, (list, verdict) =>
    here[list] === noRule ? verdict : { ...here[list], depth },
  );
}

function betterOf(a: Verdicts, b: Verdicts): Verdicts {
  if (a === noVerdicts || b === noVerdicts) return a === noVerdicts ? b : a;
  return mergeVerdicts(a, (list, verdict) => (b[list] === noRule ? verdict : better(verdict, b[list])));
}

/** The state that takes the place of a finished one. */
function standing(draft: Draft | undefined): Draft | undefined {
  return draft?.done ? draft.stands : draft;
}

function targetOf(draft: Draft): Target {
  const target: Target & { hidden?: boolean } = {
    ...draft.answer,
    state: draft.done ? standing(draft) : draft,
  };
  if (draft.hidden) target.hidden = true;
  return target;
}

function targetsOf({ names, globs, any }: State): Target[] {
  const all = [...names.map(([, target]) => target), ...(globs?.targets ?? []), any];
  return all.filter((target) => target !== undefined);
}

function sameTarget(a: Target, b: Target): boolean {
  return sameAnswer(a, b) && a.state === b.state;
}

function sameAnswer(a: Answer, b: Answer): boolean {
  return (
    a.access === b.access &&
    a.rule === b.rule &&
    a.execRule === b.execRule &&
    a.connectRule === b.connectRule &&
    a.bindRule === b.bindRule
  );
}

/** Names that are shown in the same way whatever came before: their order does not count, nor do equal ones. */
function canonicalize(names: readonly Name[]): Name[] {
  if (names.length === 1 && names[0]) return [canonicalizeOnly(names[0])];
  const live = names.filter(({ ahead, nodes }) => ahead.length > 0 || nodes.length > 0);
  // What matches below this depth is outweighed by whatever matches next; only the order among such counts.
  const floor = Math.min(...live.map(({ base }) => base));
  const depths = names.flatMap(({ verdicts }) => lists.map((list) => verdicts[list].depth));
  const low = [...new Set(depths.filter((depth) => depth <= floor && depth !== Number.NEGATIVE_INFINITY))];
  low.sort((a, b) => b - a);
  const ground = Number.isFinite(floor) ? floor : 0;
  const settle = (verdict: Verdict): Verdict => {
    const rank = low.indexOf(verdict.depth);
    return rank < 0 ? verdict : { ...verdict, depth: ground - rank };
  };
  const result = new Map<string, Name>();
  let settled: Name | undefined;
  for (const name of names) {
    const one = { ...name, verdicts: mergeVerdicts(name.verdicts, (_, verdict) => settle(verdict)) };
    if (one.mounts?.children.size === 0) one.mounts = undefined;
    if (one.ahead.length === 0 && one.nodes.length === 0) one.base = 0;
    if (one.ahead.length === 0 && one.nodes.length === 0 && !one.mounts) {
      // Nothing can change such a name's verdicts or take the name away, so all of them are one.
      const both = settled ?? one;
      settled = { ...one, verdicts: betterOf(both.verdicts, one.verdicts) };
    } else {
      result.set(keyOf(one), one);
    }
  }
  return [
    ...[...result].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, name]) => name),
    ...(settled ? [settled] : []),
  ];
}

/**
 * An object's only name: its next match outweighs all before, however long that was. How the lists for sockets
 * and that for files compare is kept.
 */
function canonicalizeOnly(name: Name): Name {
  const mounts = name.mounts?.children.size === 0 ? undefined : name.mounts;
  const dead = name.ahead.length === 0 && name.nodes.length === 0;
  const base = dead ? 0 : name.base;
  const settle = (verdict: Verdict, rank: number): Verdict =>
    verdict.depth === base - rank || verdict.depth === Number.NEGATIVE_INFINITY
      ? verdict
      : { ...verdict, depth: base - rank };
  const { files, exec, connect, bind } = name.verdicts;
  const only = { files: settle(files, 0), exec: settle(exec, 0), connect, bind };
  if (connect === noRule && bind === noRule) return { ...name, mounts, base, verdicts: only };
  const depths = [files, connect, bind].map(({ depth }) => depth).filter(Number.isFinite);
  const ranks = [...new Set(depths)].sort((a, b) => b - a);
  const ranked = (verdict: Verdict) => settle(verdict, ranks.indexOf(verdict.depth));
  const verdicts = { ...only, files: ranked(files), connect: ranked(connect), bind: ranked(bind) };
  return { ...name, mounts, base, verdicts };
}

function keyOf({ ahead, nodes, mounts, base, verdicts }: Name): string {
  let key = `${ahead.length > 0 ? ahead.join('/') : ''};${mounts?.id ?? ''};${base};`;
  for (const node of nodes) key += `${node.id},`;
  for (const list of lists) {
    const { depth, grant, rule } = verdicts[list];
    key += verdicts[list] === noRule ? ';' : `;${depth}:${grant}:${rule}`;
  }
  return key;
}

function answerOf(names: readonly Name[], { sockets }: Asked): Answer {
  let verdicts = noVerdicts;
  for (const name of names) if (name.ahead.length === 0) verdicts = betterOf(verdicts, name.verdicts);
  const { files, exec } = verdicts;
  // files.deny also takes exec away, but from exec's point of view no files.read lies deeper.
  let access = accessOf(files) | (exec.grant === grants.USE ? Access.EXEC : 0);
  const answer = { rule: files.rule, execRule: exec.rule, connectRule: 0, bindRule: 0 };
  if (sockets) {
    const connect = forSockets(verdicts.connect, files);
    const bind = forSockets(verdicts.bind, files);
    if (connect.grant === grants.USE) access |= Access.CONNECT;
    if (bind.grant === grants.USE) access |= Access.BIND;
    answer.connectRule = connect.rule;
    answer.bindRule = bind.rule;
  }
  return { access, ...answer };
}

/** The right to write a socket's path is one to use the socket, unless a longer match, or one as long, denies it. */
function forSockets(own: Verdict, files: Verdict): Verdict {
  if (own.grant === grants.USE) return own;
  if (files.grant === grants.WRITE && (own.grant !== grants.DENY || files.depth > own.depth))
    return { ...files, grant: grants.USE };
  return own.grant === grants.DENY ? own : { ...files, grant: grants.NOTHING };
}

function unrecognizable(component: string, target: Target, role: LocatedRole): PolicyError {
  let rule: PathRule | undefined;
  for (let at: Target | undefined = target; at && !rule; at = at.state?.names[0]?.[1])
    rule = role.paths[(at.rule || at.execRule) - 1];
  const message = `a mounted path or a rule's object has a component of ${component.length} bytes, and the kernel side recognizes ${Limit.MAX_NAME}; unmount or rename ${JSON.stringify(component)}`;
  const { file, line, column } = rule ?? { file: '/proc/self/mountinfo', line: 0, column: 0 };
  return new PolicyError([{ code: 'BAD_PATH', file, line, column, where: rule?.section ?? '', message }]);
}
