/**
 * From rules and mounts to one automaton over path components for each file system.
 *
 * What decides an object is defined by its names: every visible path that leads to it. A rule covers an
 * object when it matches one of its names, or a directory above in that name. Which of the rules that cover it
 * decide, and what they grant, is in votes.ts. An object without a name is not granted anything.
 *
 * The rules of all roles of a stack become one tree of patterns. The subset construction then walks each file
 * system from its root: a state knows, for each mount that shows the object, where in the tree that name has come
 * to, and which rules were the deepest to match it so far. States that answer alike are joined, and edges that
 * change nothing are left out.
 */
import { Limit } from '../abi.js';
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
import { type PathRule, PolicyError } from './policy.js';
import { type Member, stackName, stackTitle } from './stack.js';
import { type Answer, type Verdicts, Votes } from './votes.js';

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
  /**
   * For each file system what its root is, in the order of the mount points that show them: states are numbered in
   * that order, so that neither the numbers of file systems nor the order in which they were mounted decide about any
   * other entry of a role.
   */
  devices: [device: number, target: Target][];
  states: State[];
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
  /** Of the rules whose pattern ends here those that decide. */
  verdicts: Verdicts;
}

class PatternTree {
  readonly root: PatternNode;
  #count = 0;

  constructor(readonly votes: Votes) {
    this.root = this.#node();
    for (const { rule, verdicts } of votes.rules())
      for (const { path, pattern } of rule.places) {
        const literal: Component[] = splitPath(path).map((name) => ({ name }));
        const node = this.#reach([...literal, ...parsePattern(pattern)]);
        node.verdicts = votes.better(node.verdicts, verdicts);
      }
  }

  #node(loops = false): PatternNode {
    return {
      id: this.#count++,
      names: new Map(),
      globs: new Map(),
      loops,
      verdicts: this.votes.none,
    };
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

function growMounts(unsorted: readonly Mount[]): MountNode {
  const mounts = unsorted.toSorted((a, b) => (a.mountPoint < b.mountPoint ? -1 : 1));
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

/** A step, and what becomes of where it leads. */
interface Edge extends Step {
  lead: (target: Target) => void;
}

/** A state whose edges are being followed, one after the other. */
interface Exploration {
  draft: Draft;
  names: readonly Name[];
  edges: readonly Edge[];
  next: number;
}

/** What takes seconds to follow. Most edges are found to change nothing and left out, so no map gets as large. */
const maxEdges = 1 << 19;

/** A state while it is built. */
interface Draft extends State {
  answer: Answer;
  /** No name leads here: another mount hides it. */
  hidden: boolean;
  done: boolean;
  /** Which state takes its place; undefined when it needs none. */
  stands?: Draft | undefined;
}

/**
 * Builds the automaton of a stack for a mount table. `sockets`: the kernel side asks it for connecting to unix
 * sockets and binding them. Throws a PolicyError for what the kernel side cannot hold.
 */
export function buildAutomaton(
  members: readonly Member[],
  mounts: readonly Mount[],
  sockets: boolean,
): Automaton {
  return new Builder(members, mounts, sockets).build();
}

class Builder {
  readonly #votes: Votes;
  readonly #tree: PatternTree;
  readonly #mounts: MountNode;
  readonly #drafts = new Map<string, Draft>();
  readonly #bySignature = new Map<string, Draft>();
  readonly #matchers = new Map<string, Matcher>();
  readonly #ids = new Map<object, number>();
  #edges = 0;

  constructor(
    readonly members: readonly Member[],
    mounts: readonly Mount[],
    sockets: boolean,
  ) {
    this.#votes = new Votes(members, sockets);
    this.#tree = new PatternTree(this.#votes);
    this.#mounts = growMounts(mounts);
  }

  build(): Automaton {
    const devices = [...this.#namesByDevice()].map(([device, names]): [number, Draft] => [
      device,
      this.#explore(names),
    ]);
    const states = numberStates(devices.map(([, draft]) => standing(draft)));
    const targets = devices.map(([device, draft]): Automaton['devices'][number] => [
      device,
      { ...draft.answer, state: standing(draft) },
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
        const next = {
          ...name,
          nodes,
          verdicts: this.#votes.deeper(verdicts, name.verdicts, way.length + 1),
        };
        visit(child, [...way, component], next);
      }
    };
    const start = this.#arrive([this.#tree.root]);
    visit(this.#mounts, [], {
      ahead: [],
      nodes: start.nodes,
      mounts: this.#mounts,
      base: 0,
      verdicts: this.#votes.deeper(start.verdicts, this.#votes.start, 0),
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
    let verdicts = this.#votes.none;
    for (const node of reached) {
      verdicts = this.#votes.better(verdicts, node.verdicts);
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

  /**
   * Builds the state of an object that goes by `names`, and all that lie below it. Without recursion: states may
   * lead to one another in a row as long as there are any.
   */
  #explore(names: readonly Name[]): Draft {
    const open: Exploration[] = [];
    const enter = (names: readonly Name[]): Draft => {
      const canonical = this.#canonicalize(names);
      const key = canonical.map((name) => this.#keyOf(name)).join(' ');
      const known = this.#drafts.get(key);
      if (known) return known;
      if (this.#drafts.size === Limit.MAX_STATES)
        throw this.#tooLarge(`more than ${Limit.MAX_STATES} states`);
      const draft: Draft = {
        number: 0,
        answer: this.#answerOf(canonical),
        hidden: canonical.length === 0,
        names: [],
        done: false,
      };
      this.#drafts.set(key, draft);
      const edges = this.#edgesOf(draft, canonical);
      this.#edges += edges.length;
      if (this.#edges > maxEdges) throw this.#tooLarge(`more than ${maxEdges} edges between states`);
      open.push({ draft, names: canonical, edges, next: 0 });
      return draft;
    };
    const start = enter(names);
    for (let top = open.at(-1); top; top = open.at(-1)) {
      const edge = top.edges[top.next];
      if (!edge) {
        this.#finish(top.draft);
        open.pop();
        continue;
      }
      const below = enter(this.#step(top.names, edge));
      // What is new there is explored first.
      if (open.at(-1) !== top) continue;
      edge.lead(targetOf(below));
      top.next++;
    }
    return start;
  }

  #edgesOf(draft: Draft, names: readonly Name[]): Edge[] {
    const active = names.filter(({ ahead }) => ahead.length === 0);
    const nodes = new Set(active.flatMap(({ nodes }) => nodes));
    const globs = [...new Set([...nodes].flatMap(({ globs }) => [...globs.keys()]))].sort();
    const components = new Set<string>();
    for (const { ahead } of names) if (ahead[0] !== undefined) components.add(ahead[0]);
    for (const node of nodes) for (const name of node.names.keys()) components.add(name);
    for (const { mounts } of active) for (const name of mounts?.children.keys() ?? []) components.add(name);

    const edges: Edge[] = [];
    if (globs.length > 0 || [...nodes].some(({ loops }) => loops))
      edges.push({
        matches: () => false,
        lead: (target) => {
          draft.any = target;
        },
      });
    if (globs.length > 0) {
      const matcher = this.#matcherOf(globs);
      const targets: (Target | undefined)[] = [];
      draft.globs = { matcher, targets };
      for (const match of matcher.matches) {
        const matching = new Set(match.map((i) => globs[i]));
        edges.push({ matches: (glob) => matching.has(glob), lead: (target) => targets.push(target) });
      }
    }
    for (const name of [...components].sort())
      edges.push({
        name,
        matches: (glob) => this.#matches(glob, name),
        lead: (target) => draft.names.push([name, target]),
      });
    return edges;
  }

  #step(names: readonly Name[], step: Step): Name[] {
    const next: Name[] = [];
    for (const name of names) {
      const verdicts = this.#votes.below(name.verdicts);
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
        verdicts: this.#votes.deeper(reached.verdicts, verdicts, name.base),
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
      throw unrecognizable(name, target, this.members);
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
    const stack = this.members.map(({ role }) => role);
    const [rule] = stack.flatMap(({ paths }) => paths);
    const { file, line, column } = rule ?? { file: '', line: 0, column: 0 };
    const fewer = stack.length === 1 ? '' : ', or fewer roles';
    const message = `${stackTitle(stack)} compiles to ${what}; use fewer ** and * in it${fewer}`;
    const where = `roles.${stackName(stack)}`;
    return new PolicyError([{ code: 'BAD_PATH', file, line, column, where, message }]);
  }

  /** Names that are shown in the same way whatever came before: their order does not count, nor do equal ones. */
  #canonicalize(names: readonly Name[]): Name[] {
    if (names.length === 1 && names[0]) return [this.#canonicalizeOnly(names[0])];
    const live = names.filter(({ ahead, nodes }) => ahead.length > 0 || nodes.length > 0);
    // What matches below this depth is outweighed by whatever matches next.
    const floor = Math.min(...live.map(({ base }) => base));
    const ground = Number.isFinite(floor) ? floor : 0;
    const settled = this.#votes.settle(
      names.map(({ verdicts }) => verdicts),
      floor,
      ground,
    );
    const result = new Map<string, Name>();
    let dead: Name | undefined;
    for (const [i, name] of names.entries()) {
      const one = { ...name, verdicts: settled[i] ?? name.verdicts };
      if (one.mounts?.children.size === 0) one.mounts = undefined;
      if (one.ahead.length === 0 && one.nodes.length === 0) one.base = 0;
      if (one.ahead.length === 0 && one.nodes.length === 0 && !one.mounts) {
        // Nothing can change such a name's verdicts or take the name away, so all of them are one.
        dead = { ...one, verdicts: this.#votes.better(dead?.verdicts ?? this.#votes.none, one.verdicts) };
      } else {
        result.set(this.#keyOf(one), one);
      }
    }
    return [
      ...[...result].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, name]) => name),
      ...(dead ? [dead] : []),
    ];
  }

  /** An object's only name: its next match outweighs all before, however long that was. */
  #canonicalizeOnly(name: Name): Name {
    const mounts = name.mounts?.children.size === 0 ? undefined : name.mounts;
    const isDead = name.ahead.length === 0 && name.nodes.length === 0;
    const base = isDead ? 0 : name.base;
    const [verdicts = name.verdicts] = this.#votes.settle([name.verdicts], Number.POSITIVE_INFINITY, base);
    return { ...name, mounts, base, verdicts };
  }

  #keyOf({ ahead, nodes, mounts, base, verdicts }: Name): string {
    let key = `${ahead.length > 0 ? ahead.join('/') : ''};${mounts?.id ?? ''};${base};`;
    for (const node of nodes) key += `${node.id},`;
    return key + this.#votes.keyOf(verdicts);
  }

  #answerOf(names: readonly Name[]): Answer {
    const known = names.filter(({ ahead }) => ahead.length === 0);
    const verdicts = known.reduce((all, name) => this.#votes.better(all, name.verdicts), this.#votes.none);
    return this.#votes.answer(verdicts, known.length > 0);
  }
}

/** The states that these lead to, each with its number; edges to states that others stand for lead to those. */
function numberStates(starts: readonly (Draft | undefined)[]): State[] {
  const states: State[] = [];
  const numbered = new Set<Draft>();
  const ahead = starts.toReversed();
  while (ahead.length > 0) {
    const draft = ahead.pop();
    if (!draft || numbered.has(draft)) continue;
    numbered.add(draft);
    draft.number = states.length + 1;
    states.push(draft);
    const targets = targetsOf(draft);
    for (const target of targets) target.state = standing(target.state as Draft);
    ahead.push(...targets.map(({ state }) => state as Draft | undefined).reverse());
  }
  return states;
}

function idOf(ids: Map<object, number>, object: object | undefined): number | undefined {
  if (!object) return undefined;
  const id = ids.get(object) ?? ids.size;
  ids.set(object, id);
  return id;
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

function unrecognizable(component: string, target: Target, members: readonly Member[]): PolicyError {
  let rule: PathRule | undefined;
  const find = (number: number) =>
    members.map(({ role, paths }) => role.paths[number - paths]).find((found) => found !== undefined);
  for (let at: Target | undefined = target; at && !rule; at = at.state?.names[0]?.[1])
    rule = find(at.rule) ?? find(at.execRule);
  const message = `a mounted path or a rule's object has a component of ${component.length} bytes, and the kernel side recognizes ${Limit.MAX_NAME}; unmount or rename ${JSON.stringify(component)}`;
  const { file, line, column } = rule ?? { file: '/proc/self/mountinfo', line: 0, column: 0 };
  return new PolicyError([{ code: 'BAD_PATH', file, line, column, where: rule?.section ?? '', message }]);
}
