/**
 * From a role to the map entries that the kernel side walks.
 *
 * A rule names a visible path; the kernel walks an object's components from its file system's root.
 * What decides an object is defined by its names: every visible path that leads to it. A rule covers an
 * object when the rule's path is one of its names or above one. Of the rules that cover it the deepest
 * decides; on a tie `deny`, then `write`, then `read`. An object without a name is not granted anything.
 *
 * Compilation has three steps. The rules and mount points become one tree of visible paths, each node
 * with the verdict of the deepest rule at or above it. Then, for each file system, a subset
 * construction: a state is the set of tree nodes that the object may be, one for each mount that shows
 * it, and its verdict is the best of theirs. Last, states that answer alike are joined and edges that
 * change nothing are left out. Wildcards would turn the tree of the first step into an automaton; the
 * other steps would stay.
 */
import { Access, KeyKind, Limit, Reason, Role, RoleFlag, Rule, RuleFlag, RuleKey, Scope } from '../abi.js';
import { splitPath, toByteString } from './locate.js';
import { hasPaths, type Mount, visibleMounts } from './mounts.js';
import { type LocatedRole, type PathRule, PolicyError, type RuleSource } from './policy.js';

export interface CompiledRole {
  /** The key of `roles` and `role_rules`: equal compiled roles have equal digests. Never 0. */
  digest: bigint;
  id: number;
  name: string;
  audit: boolean;
  /** struct jr_role */
  role: Uint8Array;
  /** struct jr_rule_key and struct jr_rule, sorted by key. Empty when the scopes alone decide. */
  entries: [key: Uint8Array, value: Uint8Array][];
  /** Rule number n, as in struct jr_rule and struct jr_denial, is rules[n - 1]. */
  rules: RuleSource[];
}

/**
 * Compiles `role` for the mount table of the namespace that its paths are written for. The same input
 * gives the same bytes.
 * @throws PolicyError for a rule whose object the kernel side cannot be told to recognize
 */
export function compile(role: LocatedRole, mounts: readonly Mount[]): CompiledRole {
  // Under `exec: any` no walk would find what files.deny takes away, so it becomes a rule for `/` that
  // every other rule outweighs.
  const execRules = role.exec === Scope.RULES || denies(role);
  const exec = execRules ? Scope.RULES : role.exec;
  const flags = role.paths.some((rule) => rule.section === 'files.deny') ? RoleFlag.HIDES : 0;
  const encoded = Role.encode({ id: role.id, files: role.files, exec, network: role.network, flags });
  const walked = role.files === Scope.RULES || execRules;
  const entries = walked ? encodeStates(growTree(role, visibleMounts(mounts), execRules), role) : [];
  for (const [index, rule] of role.ports.entries()) {
    const kind = rule.section === 'network.bind' ? KeyKind.BIND : KeyKind.CONNECT;
    const state = ((rule.protocol << 16) | rule.port) >>> 0;
    const number = role.paths.length + index + 1;
    entries.push([encodeKey(kind, state), encodeRule({ rule: number })]);
  }
  entries.sort(([a], [b]) => Buffer.compare(a, b));
  return {
    digest: digestOf(encoded, entries),
    id: role.id,
    name: role.name,
    audit: role.audit,
    role: encoded,
    entries,
    rules: [...role.paths.map(sourceOf), ...role.ports.map(sourceOf)],
  };
}

function denies(role: LocatedRole): boolean {
  return role.exec === Scope.ANY && role.paths.some((rule) => rule.section === 'files.deny');
}

function sourceOf({ section, text, file, line, column, set }: RuleSource): RuleSource {
  return { section, text, file, line, column, ...(set !== undefined && { set }) };
}

/**
 * A role without entries is its own digest, with a high byte of 0, which the others never have. Node needs
 * as long to load node:crypto as for everything else that the launcher does for such a role, so it is
 * loaded here and not with this module.
 */
function digestOf(role: Uint8Array, entries: CompiledRole['entries']): bigint {
  if (entries.length === 0) return Buffer.from(role).readBigUInt64LE();
  const { createHash } = process.getBuiltinModule('node:crypto');
  const hash = createHash('sha256')
    .update(new Uint32Array([Limit.LAYOUT]))
    .update(role);
  for (const [key, value] of entries) hash.update(key).update(value);
  return hash.digest().readBigUInt64LE() | (1n << 56n);
}

const grants = { NOTHING: 0, READ: 1, WRITE: 2, EXEC: 3, DENY: 4 } as const;
type Grant = (typeof grants)[keyof typeof grants];

/** What a rule says, and how deep its path is; depth -1 and rule 0 stand for no rule. */
interface Verdict {
  depth: number;
  grant: Grant;
  rule: number;
}

const noRule: Verdict = { depth: -1, grant: grants.NOTHING, rule: 0 };

/** The verdict that decides when both cover an object. Rule numbers only make the choice unique. */
function better(a: Verdict, b: Verdict): Verdict {
  const difference = a.depth - b.depth || a.grant - b.grant || b.rule - a.rule;
  return difference >= 0 ? a : b;
}

const fileGrants: Record<PathRule['section'], Grant> = {
  'files.read': grants.READ,
  'files.write': grants.WRITE,
  'files.deny': grants.DENY,
  exec: grants.NOTHING,
};
const execGrants: Record<PathRule['section'], Grant> = {
  'files.read': grants.NOTHING,
  'files.write': grants.NOTHING,
  'files.deny': grants.DENY,
  exec: grants.EXEC,
};

/** A visible path that a rule or a mount speaks of. */
interface Node {
  children: Map<string, Node>;
  files: Verdict;
  exec: Verdict;
  /** The visible mount whose root is seen here. */
  mount?: Mount;
}

function growTree(role: LocatedRole, mounts: readonly Mount[], execRules: boolean): Node {
  const execAny = role.exec === Scope.ANY ? { ...noRule, grant: grants.EXEC } : noRule;
  const root: Node = { children: new Map(), files: noRule, exec: execAny };
  for (const [index, rule] of role.paths.entries())
    for (const place of rule.places) {
      const names = splitPath(place);
      const node = reach(root, names);
      const verdict = (grant: Grant): Verdict => ({ depth: names.length, grant, rule: index + 1 });
      const files = fileGrants[rule.section];
      const exec = execGrants[rule.section];
      if (files !== grants.NOTHING) node.files = better(node.files, verdict(files));
      if (execRules && exec !== grants.NOTHING) node.exec = better(node.exec, verdict(exec));
    }
  for (const mount of mounts) reach(root, splitPath(mount.mountPoint)).mount = mount;
  inherit(root);
  return root;
}

function reach(root: Node, names: readonly string[]): Node {
  let node = root;
  for (const name of names) {
    let child = node.children.get(name);
    if (!child) {
      child = { children: new Map(), files: noRule, exec: noRule };
      node.children.set(name, child);
    }
    node = child;
  }
  return node;
}

function inherit(node: Node): void {
  for (const child of node.children.values()) {
    child.files = better(child.files, node.files);
    child.exec = better(child.exec, node.exec);
    inherit(child);
  }
}

/** One name that the object at hand may go by: it is `node`, once the components `ahead` were passed. */
interface Name {
  node: Node;
  ahead: readonly string[];
}

/** The verdicts of the names that have left the tree: nothing below can change them. */
type Settled = Pick<Node, 'files' | 'exec'>;

interface State {
  number: number;
  edges: [name: string, Target][];
}

/** Where an edge leads: what the state there answers, and the state unless nothing leaves it. */
interface Target {
  access: number;
  rule: number;
  execRule: number;
  state: State | undefined;
  /** No name leads here: another mount hides it. */
  hidden: boolean;
}

function encodeStates(tree: Node, role: LocatedRole): CompiledRole['entries'] {
  const entries: CompiledRole['entries'] = [];
  const automaton = new Automaton(role);
  for (const [device, names] of [...namesByDevice(tree)].sort(([a], [b]) => a - b))
    entries.push([
      encodeKey(KeyKind.DEVICE, device),
      encodeTarget(automaton.explore(names, { files: noRule, exec: noRule })),
    ]);
  for (const { number, edges } of automaton.states)
    for (const [name, target] of edges)
      entries.push([encodeKey(KeyKind.NAME, number, name), encodeTarget(target)]);
  return entries;
}

/** For each file system the names that the object at its root may go by. */
function namesByDevice(tree: Node): Map<number, Name[]> {
  const devices = new Map<number, Name[]>();
  const visit = (node: Node) => {
    if (node.mount) {
      const names = devices.get(node.mount.device) ?? [];
      devices.set(node.mount.device, names);
      if (hasPaths(node.mount)) names.push({ node, ahead: splitPath(node.mount.root) });
    }
    for (const child of node.children.values()) visit(child);
  };
  visit(tree);
  return devices;
}

class Automaton {
  readonly states: State[] = [];
  readonly #known = new Map<string, State>();

  constructor(readonly role: LocatedRole) {}

  /** Builds the state of an object that goes by `names`, and all that lie below it. */
  explore(names: readonly Name[], settled: Settled): Target {
    let { files, exec } = settled;
    const components = new Set<string>();
    for (const { node, ahead } of names) {
      if (ahead[0] !== undefined) {
        components.add(ahead[0]);
        continue;
      }
      files = better(files, node.files);
      exec = better(exec, node.exec);
      for (const component of node.children.keys()) components.add(component);
    }
    const answer = {
      // files.deny also takes exec away, but from exec's point of view no files.read lies deeper.
      access: accessOf(files) | (accessOf(exec) & Access.EXEC),
      rule: files.rule,
      execRule: exec.rule,
      hidden: names.length === 0 && settled.files === noRule && settled.exec === noRule,
    };
    const edges: State['edges'] = [];
    for (const component of [...components].sort()) {
      const target = this.#follow(names, settled, component);
      if (!target.state && sameAnswer(target, answer)) continue;
      if (component.length <= Limit.MAX_NAME) edges.push([component, target]);
      // Hidden objects keep the verdict of the directory around them; for others that could be too much.
      else if (!target.hidden) throw unrecognizable(component, target, this.role);
    }
    return { ...answer, state: edges.length > 0 ? this.#stateWith(edges) : undefined };
  }

  #follow(names: readonly Name[], settled: Settled, component: string): Target {
    const next: Name[] = [];
    let { files, exec } = settled;
    for (const { node, ahead } of names) {
      if (ahead.length > 0) {
        if (ahead[0] === component) next.push({ node, ahead: ahead.slice(1) });
        continue;
      }
      const child = node.children.get(component);
      if (!child) {
        files = better(files, node.files);
        exec = better(exec, node.exec);
      } else if (!child.mount) {
        next.push({ node: child, ahead: [] });
      }
      // Otherwise something is mounted there, and what lies under it has lost this name.
    }
    return this.explore(next, { files, exec });
  }

  /** The state with these edges: two that answer alike are one. */
  #stateWith(edges: State['edges']): State {
    let key = '';
    for (const [name, { access, rule, execRule, state }] of edges)
      key += `${name}/${access}/${rule}/${execRule}/${state?.number ?? 0}/`;
    let state = this.#known.get(key);
    if (!state) {
      state = { number: this.states.length + 1, edges };
      this.#known.set(key, state);
      this.states.push(state);
    }
    return state;
  }
}

function accessOf({ grant }: Verdict): number {
  switch (grant) {
    case grants.READ:
      return Access.READ;
    case grants.WRITE:
      return Access.READ | Access.WRITE;
    case grants.EXEC:
      return Access.EXEC;
    case grants.DENY:
      return Access.HIDDEN;
    default:
      return 0;
  }
}

type Answer = Pick<Target, 'access' | 'rule' | 'execRule'>;

function sameAnswer(a: Answer, b: Answer): boolean {
  return a.access === b.access && a.rule === b.rule && a.execRule === b.execRule;
}

function unrecognizable(component: string, target: Target, role: LocatedRole): PolicyError {
  let rule: PathRule | undefined;
  for (let at: Target | undefined = target; at && !rule; at = at.state?.edges[0]?.[1])
    rule = role.paths[(at.rule || at.execRule) - 1];
  const message = `a mounted path or a rule's object has a component of ${component.length} bytes, and the kernel side recognizes ${Limit.MAX_NAME}; unmount or rename ${JSON.stringify(component)}`;
  const { file, line, column } = rule ?? { file: '/proc/self/mountinfo', line: 0, column: 0 };
  return new PolicyError([{ code: 'BAD_PATH', file, line, column, where: rule?.section ?? '', message }]);
}

function encodeTarget({ access, rule, execRule, state }: Target): Uint8Array {
  return encodeRule({ access, rule, execRule, state: state?.number ?? 0, flags: state ? 0 : RuleFlag.LEAF });
}

function encodeRule(rule: Partial<Rule>): Uint8Array {
  return Rule.encode({ state: 0, access: 0, rule: 0, execRule: 0, flags: 0, ...rule });
}

function encodeKey(kind: KeyKind, state: number, name = ''): Uint8Array {
  return RuleKey.encode({ state, kind, length: name.length, name: Buffer.from(name, 'latin1') });
}

/** What an operation asks: `access` is a union of Access flags, `path` text from the device's root. */
export interface Question {
  device: number;
  path: string;
  access: number;
}

export interface Decision {
  granted: boolean;
  /** Number of the rule that decided; 0 when none did. */
  rule: number;
  reason: Reason;
}

/** Answers as the kernel side does, from the same entries. It must be changed together with that. */
export function decide(compiled: CompiledRole, { device, path, access }: Question): Decision {
  const scopes = Role.decode(compiled.role);
  const scope = access & Access.EXEC ? scopes.exec : scopes.files;
  if (scope !== Scope.RULES) return { granted: scope === Scope.ANY, rule: 0, reason: Reason.RULE };
  const map = new Map(compiled.entries.map(([key, value]) => [Buffer.from(key).toString('latin1'), value]));
  const lookUp = (kind: KeyKind, state: number, name = ''): Rule | undefined => {
    const value = map.get(Buffer.from(encodeKey(kind, state, name)).toString('latin1'));
    return value && Rule.decode(value);
  };

  const components = splitPath(toByteString(path));
  if (components.length > Limit.MAX_DEPTH) return { granted: false, rule: 0, reason: Reason.TOO_DEEP };
  const start = lookUp(KeyKind.DEVICE, device);
  if (!start) return { granted: false, rule: 0, reason: Reason.UNKNOWN_DEVICE };
  let at = start;
  for (const name of components) {
    if (at.flags & RuleFlag.LEAF) break;
    let next: Rule | undefined =
      name.length <= Limit.MAX_NAME ? lookUp(KeyKind.NAME, at.state, name) : undefined;
    if (!next && at.flags & RuleFlag.HAS_ANY) next = lookUp(KeyKind.ANY_NAME, at.state);
    if (!next) break;
    at = next;
  }
  const granted = (at.access & access) === access;
  return { granted, rule: access & Access.EXEC ? at.execRule : at.rule, reason: Reason.RULE };
}
