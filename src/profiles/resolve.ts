/** Applies `extends` and sets: from what files say to what each role is. */
import { Limit, Scope } from '../abi.js';
import type { NetworkTarget } from './network.js';
import {
  type AbstractRule,
  type AddressRule,
  builtInPrefix,
  type ClaimPolicy,
  type ContainerPolicy,
  type Enrollment,
  type NetworkSection,
  type PathList,
  type PathRule,
  type PathSection,
  type Place,
  type Policy,
  PolicyError,
  type PolicyProblem,
  type ResolvedRole,
  type RoleDefinition,
  type Section,
  type SetDefinition,
  type Written,
} from './policy.js';
import { variablesOf } from './rulepath.js';
import { nearest } from './spelling.js';

/**
 * Every role of `policies` by name. Names of roles, names of sets and ids are unique over all of them,
 * so the order of the policies does not matter, but for this: of two that clash the later is told to
 * change. Put the built-in ones first.
 * @throws PolicyError with every duplicate, dangling name and cycle
 */
export function resolve(policies: readonly Policy[]): Map<string, ResolvedRole> {
  const problems: PolicyProblem[] = [];
  const sets = index(
    'set',
    policies.flatMap((policy) => policy.sets),
    problems,
  );
  const alone = policies.find(({ standsAlone }) => standsAlone);
  const isAway = ({ file }: Policy) => alone !== undefined && file.startsWith(builtInPrefix);
  const roles = index(
    'role',
    policies.flatMap((policy) => (isAway(policy) ? [] : policy.roles)),
    problems,
  );
  const away = policies.filter(isAway).flatMap((policy) => policy.roles.map(({ name }) => name));
  checkIds(roles, problems);
  checkBases(roles, alone && { file: alone.file, names: away }, problems);

  const paths = expandSets(sets, problems);
  const layers = stackRoles(roles, paths, problems);
  if (problems.length > 0) throw new PolicyError(problems);

  const resolved = new Map<string, ResolvedRole>();
  for (const role of roles.values()) {
    const layer = layers.get(role.name);
    if (layer) resolved.set(role.name, finish(role, layer, paths.get('libraries') ?? []));
  }
  for (const role of resolved.values()) reportUndeclared(role, problems);
  checkEnrollments(enrollmentsOf(policies), resolved, problems);
  checkContainers(policies, resolved, problems);
  checkClaims(policies, resolved, problems);
  if (problems.length > 0) throw new PolicyError(problems);
  return resolved;
}

/** What the policies enroll whoever starts it. */
export const enrollmentsOf = (policies: readonly Policy[]): Enrollment[] =>
  policies.flatMap(({ enrollments }) => enrollments ?? []);

function checkEnrollments(
  enrollments: readonly Enrollment[],
  roles: ReadonlyMap<string, ResolvedRole>,
  problems: PolicyProblem[],
): void {
  const seen = new Map<string, Enrollment>();
  for (const enrollment of enrollments) {
    const { kind, path } = enrollment;
    const where = `${kind}s.${JSON.stringify(path)}`;
    const earlier = seen.get(`${kind} ${path}`);
    if (earlier)
      problems.push({
        code: 'DUPLICATE',
        ...placeOf(enrollment),
        where,
        message: `is enrolled already, at ${at(earlier)}; keep one`,
      });
    seen.set(`${kind} ${path}`, enrollment);
    for (const role of enrollment.roles) {
      const vars = roles.get(role.value)?.vars;
      if (vars?.length === 0) continue;
      const message = vars
        ? `role ${role.value} has variables, which nothing binds here; write a role without`
        : `there is no role ${role.value}; ${suggest(role.value, roles.keys(), '')}`;
      problems.push({ code: 'DANGLING', ...placeOf(role), where, message });
    }
  }
}

/** Which roles containers have, where a policy says it. resolve() has refused policies of which several do. */
export const containersOf = (policies: readonly Policy[]): ContainerPolicy | undefined =>
  policies.find(({ containers }) => containers)?.containers;

function checkContainers(
  policies: readonly Policy[],
  roles: ReadonlyMap<string, ResolvedRole>,
  problems: PolicyProblem[],
): void {
  const [first, ...more] = policies.flatMap(({ containers }) => containers ?? []);
  if (!first) return;
  for (const other of more) {
    const message = `${at(first)} says already which roles containers have; keep one`;
    problems.push({ code: 'DUPLICATE', ...placeOf(other), where: 'containers', message });
  }
  const asked = first.roles === 'any' ? [] : (first.roles ?? []);
  for (const role of [...(first.default ?? []), ...asked]) {
    if (roles.has(role.value)) continue;
    const message = `there is no role ${role.value}; ${suggest(role.value, roles.keys(), '')}`;
    problems.push({ code: 'DANGLING', ...placeOf(role), where: 'containers', message });
  }
  for (const role of first.default ?? []) {
    if (!roles.get(role.value)?.vars.length) continue;
    const message = `role ${role.value} has variables, which a container that asks for nothing does not bind; write a role without`;
    problems.push({ code: 'DANGLING', ...placeOf(role), where: 'containers.default', message });
  }
}

/** What files may claim, where a policy says it. resolve() has refused policies of which several do. */
export const claimsOf = (policies: readonly Policy[]): ClaimPolicy | undefined =>
  policies.find(({ claims }) => claims)?.claims;

function checkClaims(
  policies: readonly Policy[],
  roles: ReadonlyMap<string, ResolvedRole>,
  problems: PolicyProblem[],
): void {
  const [first, ...more] = policies.flatMap(({ claims }) => claims ?? []);
  if (!first) return;
  for (const other of more) {
    const message = `${at(first)} says already which roles files may claim; keep one`;
    problems.push({ code: 'DUPLICATE', ...placeOf(other), where: 'xattrs', message });
  }
  for (const role of first.roles) {
    const vars = roles.get(role.value)?.vars;
    const isLong = Buffer.byteLength(role.value) >= Limit.MAX_CLAIM;
    if (vars && isLong) {
      const message = `${role.value} is longer than the ${Limit.MAX_CLAIM - 1} bytes that a file can claim; give the role a shorter name`;
      problems.push({ code: 'BAD_NAME', ...placeOf(role), where: 'xattrs.roles', message });
    }
    if (vars?.length === 0) continue;
    const message = vars
      ? `role ${role.value} has variables, which a file that claims it does not bind; write a role without`
      : `there is no role ${role.value}; ${suggest(role.value, roles.keys(), '')}`;
    problems.push({ code: 'DANGLING', ...placeOf(role), where: 'xattrs.roles', message });
  }
}

function at(place: Place): string {
  return `${place.file}:${place.line}`;
}

function index<T extends Place & { name: string }>(
  kind: 'role' | 'set',
  definitions: readonly T[],
  problems: PolicyProblem[],
): Map<string, T> {
  const byName = new Map<string, T>();
  for (const definition of definitions) {
    const earlier = byName.get(definition.name);
    if (!earlier) {
      byName.set(definition.name, definition);
      continue;
    }
    const mend =
      kind === 'role'
        ? `give yours another name, and extends: [${earlier.name}] to build on it`
        : 'rename one';
    const message = `the ${kind} ${definition.name} is defined already, at ${at(earlier)}; ${mend}`;
    problems.push({
      code: 'DUPLICATE',
      ...placeOf(definition),
      where: `${kind}s.${definition.name}`,
      message,
    });
  }
  return byName;
}

function placeOf({ file, line, column }: Place): Place {
  return { file, line, column };
}

function checkIds(roles: ReadonlyMap<string, RoleDefinition>, problems: PolicyProblem[]): void {
  const owners = new Map<number, RoleDefinition>();
  for (const role of roles.values()) {
    const owner = owners.get(role.id.value);
    if (!owner) {
      owners.set(role.id.value, role);
      continue;
    }
    const message = `${role.id.value} is the id of role ${owner.name} already, at ${at(owner.id)}; choose another`;
    problems.push({ code: 'DUPLICATE', ...placeOf(role.id), where: `roles.${role.name}.id`, message });
  }
}

/**
 * `away` is what a policy that stands alone keeps out. Who builds on a built-in role does not mean the one
 * that such a policy has under its name.
 */
function checkBases(
  roles: ReadonlyMap<string, RoleDefinition>,
  away: { file: string; names: readonly string[] } | undefined,
  problems: PolicyProblem[],
): void {
  for (const role of roles.values())
    for (const base of role.extends) {
      const isAway = away?.names.includes(base.value);
      if (!isAway && roles.has(base.value)) continue;
      const message = isAway
        ? `the built-in role ${base.value} is not there beside ${away?.file}, which brings all its roles; write out what this role needs, or remove one of the two policies`
        : `there is no role ${base.value}; ${suggest(base.value, roles.keys(), '')}`;
      problems.push({ code: 'DANGLING', ...placeOf(base), where: `roles.${role.name}.extends`, message });
    }
}

/**
 * Names in an order in which each follows all that it uses; those on a cycle, and those that use them,
 * are left out, and each cycle is reported once. Without recursion: a chain may be as long as a file.
 */
function arrange(
  uses: ReadonlyMap<string, readonly Written<string>[]>,
  where: (name: string) => string,
  problems: PolicyProblem[],
): string[] {
  const done: string[] = [];
  const state = new Map<string, 'open' | 'done' | 'cyclic'>();
  for (const start of uses.keys()) {
    if (state.has(start)) continue;
    const trail = [{ name: start, next: 0, cyclic: false }];
    state.set(start, 'open');
    for (let top = trail.at(-1); top; top = trail.at(-1)) {
      const use = uses.get(top.name)?.[top.next++];
      if (!use) {
        trail.pop();
        state.set(top.name, top.cyclic ? 'cyclic' : 'done');
        if (!top.cyclic) done.push(top.name);
        const user = trail.at(-1);
        if (user && top.cyclic) user.cyclic = true;
        continue;
      }
      const used = state.get(use.value);
      if (used === undefined && uses.has(use.value)) {
        state.set(use.value, 'open');
        trail.push({ name: use.value, next: 0, cyclic: false });
      }
      if (used === 'open' || used === 'cyclic') top.cyclic = true;
      if (used === 'open') {
        const names = trail.map(({ name }) => name);
        const cycle = [...names.slice(names.indexOf(use.value)), use.value].join(' -> ');
        const message = `${cycle} is a cycle; remove one of these uses`;
        problems.push({ code: 'CYCLE', ...placeOf(use), where: where(top.name), message });
      }
    }
  }
  return done;
}

/** A path, where it is written, and the set that it came from. */
type Path = Written<string> & { set?: string };

function isReference(entry: Written<string>): boolean {
  return entry.value.startsWith('@');
}

function expandSets(
  sets: ReadonlyMap<string, SetDefinition>,
  problems: PolicyProblem[],
): Map<string, Path[]> {
  const uses = new Map<string, Written<string>[]>();
  for (const set of sets.values())
    uses.set(
      set.name,
      set.entries.filter(isReference).map((entry) => ({ ...entry, value: entry.value.slice(1) })),
    );
  const expanded = new Map<string, Path[]>();
  for (const name of arrange(uses, (set) => `sets.${set}`, problems))
    expanded.set(name, expand(sets.get(name)?.entries ?? [], name, expanded));
  for (const set of sets.values()) reportDangling(set.entries, `sets.${set.name}`, sets, problems);
  return expanded;
}

function reportDangling(
  entries: PathList,
  where: string,
  sets: ReadonlyMap<string, unknown>,
  problems: PolicyProblem[],
): void {
  for (const entry of entries) {
    const name = entry.value.slice(1);
    if (!isReference(entry) || sets.has(name)) continue;
    const message = `there is no set ${entry.value}; ${suggest(name, sets.keys(), '@')}`;
    problems.push({ code: 'DANGLING', ...placeOf(entry), where, message });
  }
}

function reportUndeclared({ name, vars, paths }: ResolvedRole, problems: PolicyProblem[]): void {
  for (const rule of paths)
    for (const variable of variablesOf(rule.text)) {
      if (vars.includes(variable)) continue;
      const meant = nearest(variable, vars);
      const mend = meant ? `did you mean \${${meant}}?` : `declare it: vars: [${variable}]`;
      const message = `role ${name} has no variable ${variable}; ${mend}`;
      problems.push({ code: 'DANGLING', ...placeOf(rule), where: `roles.${name}.${rule.section}`, message });
    }
}

function suggest(name: string, known: Iterable<string>, sigil: string): string {
  const meant = nearest(name, known);
  return meant ? `did you mean ${sigil}${meant}?` : 'define it or correct the name';
}

/** The paths of a list, each once. `set` is the set whose list it is. */
function expand(entries: PathList, set: string | undefined, sets: ReadonlyMap<string, Path[]>): Path[] {
  const paths = new Map<string, Path>();
  const add = (path: Path) => {
    if (!paths.has(path.value)) paths.set(path.value, path);
  };
  for (const entry of entries) {
    if (isReference(entry)) for (const path of sets.get(entry.value.slice(1)) ?? []) add(path);
    else add(set === undefined ? entry : { ...entry, set });
  }
  return [...paths.values()];
}

type AnyRule = PathRule | AddressRule | AbstractRule;

/** What a role says, with all that it extends. An absent scope is one that nobody has written. */
interface Layer {
  audit?: boolean;
  vars: Set<string>;
  scopes: Map<Section, { scope: Scope; place: Place }>;
  allow: Set<string>;
  jit?: 'any' | 'none';
  onDenial?: 'deny' | 'kill';
  enroll: Record<'users' | 'groups', Set<string>>;
  /** By section and text: a rule that comes by two ways is one rule. */
  rules: Map<string, AnyRule>;
}

function emptyLayer(): Layer {
  const enroll = { users: new Set<string>(), groups: new Set<string>() };
  return { vars: new Set(), scopes: new Map(), allow: new Set(), enroll, rules: new Map() };
}

/** Puts `upper` on `lower`: lists append, `any` and `none` replace what is below them and are replaced. */
function overlay(lower: Layer, upper: Layer): void {
  if (upper.audit !== undefined) lower.audit = upper.audit;
  if (upper.jit !== undefined) lower.jit = upper.jit;
  if (upper.onDenial !== undefined) lower.onDenial = upper.onDenial;
  for (const name of upper.vars) lower.vars.add(name);
  for (const kind of ['users', 'groups'] as const)
    for (const name of upper.enroll[kind]) lower.enroll[kind].add(name);
  for (const [section, written] of upper.scopes) {
    lower.scopes.set(section, written);
    if (written.scope === Scope.RULES) continue;
    if (section === 'allow') lower.allow.clear();
    for (const [key, rule] of lower.rules) if (rule.section.startsWith(section)) lower.rules.delete(key);
  }
  for (const name of upper.allow) lower.allow.add(name);
  for (const [key, rule] of upper.rules) if (!lower.rules.has(key)) lower.rules.set(key, rule);
}

function stackRoles(
  roles: ReadonlyMap<string, RoleDefinition>,
  sets: ReadonlyMap<string, Path[]>,
  problems: PolicyProblem[],
): Map<string, Layer> {
  const uses = new Map<string, Written<string>[]>();
  for (const role of roles.values()) uses.set(role.name, role.extends);
  const layers = new Map<string, Layer>();
  const order = arrange(uses, (role) => `roles.${role}.extends`, problems);
  for (const name of order) {
    const role = roles.get(name);
    if (!role) continue;
    const layer = emptyLayer();
    for (const base of role.extends) overlay(layer, layers.get(base.value) ?? emptyLayer());
    overlay(layer, ownLayer(role, sets));
    layers.set(name, layer);
  }
  for (const role of roles.values())
    for (const [section, list] of pathLists(role))
      reportDangling(list, `roles.${role.name}.${section}`, sets, problems);
  return layers;
}

function pathLists({ files, exec }: RoleDefinition): [PathSection, PathList][] {
  const lists: [PathSection, PathList][] = [];
  if (typeof files === 'object')
    lists.push(['files.read', files.read], ['files.write', files.write], ['files.deny', files.deny]);
  if (typeof exec === 'object') lists.push(['exec', exec]);
  return lists;
}

function ownLayer(role: RoleDefinition, sets: ReadonlyMap<string, Path[]>): Layer {
  const layer = emptyLayer();
  for (const { value } of role.vars) layer.vars.add(value);
  if (role.mode) layer.audit = role.mode === 'audit';
  if (role.jit) layer.jit = role.jit;
  if (role.onDenial) layer.onDenial = role.onDenial;
  for (const kind of ['users', 'groups'] as const)
    for (const { value } of role.enroll?.[kind] ?? []) layer.enroll[kind].add(value);
  if (Array.isArray(role.allow)) for (const { value } of role.allow) layer.allow.add(value);
  for (const section of ['files', 'exec', 'network', 'allow'] as const) {
    const says = role[section];
    const place = placeOf(role.sections?.[section] ?? role);
    if (says) layer.scopes.set(section, { scope: scopeOf(says), place });
  }
  const add = (rule: AnyRule) => layer.rules.set(`${rule.section} ${rule.text}`, rule);
  for (const [section, list] of pathLists(role))
    for (const path of expand(list, undefined, sets)) add(pathRule(path, section));
  if (typeof role.network === 'object') {
    for (const list of ['bind', 'connect', 'deny'] as const)
      for (const target of role.network[list]) add(networkRule(target, `network.${list}`));
  }
  return layer;
}

function scopeOf(section: 'any' | 'none' | object): Scope {
  if (section === 'any') return Scope.ANY;
  return section === 'none' ? Scope.NONE : Scope.RULES;
}

function pathRule(path: Path, section: PathSection): PathRule {
  return { section, text: path.value, ...placeOf(path), ...(path.set !== undefined && { set: path.set }) };
}

/** A unix socket with a path is found by it, as files are. */
function networkRule({ value, ...place }: Written<NetworkTarget>, section: NetworkSection): AnyRule {
  const source = { section, text: value.text, ...placeOf(place) };
  return value.kind === 'path' ? source : { ...value, ...source };
}

const componentsOf = (text: string): string[] => text.split('/').filter((name) => name !== '');

/** Whether a rule with wildcards or variables could match the path or what is above it. */
function mightCover(text: string, path: string): boolean {
  if (!/[*?[$]/.test(text)) return false;
  const names = componentsOf(path);
  for (const [i, component] of componentsOf(text).entries()) {
    if (component === '**' || component.includes('${')) return true;
    if (i === names.length || (component !== names[i] && !/[*?[]/.test(component))) return false;
  }
  return true;
}

/**
 * Which section's rules grant all that is below `path` to a role that does not name it, because they grant what is
 * above. None where a rule with wildcards might deny it: that one would have to win.
 */
function grantedBy(path: string, rules: readonly PathRule[]): 'files.read' | 'files.write' | undefined {
  const depth = componentsOf(path).length;
  const isAbove = (text: string) => text === '/' || path.startsWith(`${text}/`);
  const files = rules.filter(({ section }) => section.startsWith('files.'));
  if (files.some(({ section, text }) => section === 'files.deny' && mightCover(text, path))) return undefined;
  const above = files
    .map((rule) => ({ ...rule, text: rule.text.replace(/(?<=.)\/\*\*$/, '') }))
    .filter(({ text }) => isAbove(text) && componentsOf(text).length < depth);
  const rank = (section: PathSection) => ['files.read', 'files.write', 'files.deny'].indexOf(section);
  const deepest = above.sort(
    (a, b) => componentsOf(b.text).length - componentsOf(a.text).length || rank(b.section) - rank(a.section),
  )[0];
  return deepest?.section === 'files.read' || deepest?.section === 'files.write'
    ? deepest.section
    : undefined;
}

/**
 * The rules for paths, with those that cover libraries marked. A role that reads libraries by a rule for what is
 * above them, or that may open any file, gets the rules of the set beside its own.
 */
function pathRules(layer: Layer, libraries: readonly Path[]): PathRule[] {
  const rules = [...layer.rules.values()].filter((rule): rule is PathRule => !('kind' in rule));
  const scope = (section: Section) => layer.scopes.get(section)?.scope ?? Scope.NONE;
  if (scope('exec') === Scope.ANY) return rules;
  const shown = libraries.filter((path) => !rules.some(({ text }) => text === path.value));
  for (const path of shown) {
    const section = scope('files') === Scope.ANY ? 'files.read' : grantedBy(path.value, rules);
    if (section) rules.push(pathRule({ ...path, set: 'libraries' }, section));
  }
  const isLibrary = (text: string) =>
    libraries.some(({ value }) => text === value || text.startsWith(`${value}/`));
  return rules.map((rule) =>
    (rule.section === 'files.read' || rule.section === 'files.write') && isLibrary(rule.text)
      ? { ...rule, library: true }
      : rule,
  );
}

function finish(role: RoleDefinition, layer: Layer, libraries: readonly Path[]): ResolvedRole {
  const rules = [...layer.rules.values()];
  const scopeOfSection = (section: Section) => layer.scopes.get(section)?.scope ?? Scope.NONE;
  const { users, groups } = layer.enroll;
  return {
    name: role.name,
    id: role.id.value,
    description: role.description,
    place: placeOf(role),
    sections: Object.fromEntries([...layer.scopes].map(([section, { place }]) => [section, place])),
    audit: layer.audit ?? false,
    files: scopeOfSection('files'),
    exec: scopeOfSection('exec'),
    network: scopeOfSection('network'),
    allow: scopeOfSection('allow') === Scope.ANY ? 'any' : [...layer.allow].sort(),
    jit: layer.jit !== 'none',
    kills: layer.onDenial === 'kill',
    paths: pathRules(layer, libraries),
    addresses: rules.filter((rule): rule is AddressRule => 'kind' in rule && rule.kind === 'address'),
    abstracts: rules.filter((rule): rule is AbstractRule => 'kind' in rule && rule.kind === 'abstract'),
    vars: [...layer.vars],
    ...(users.size + groups.size > 0 && { enroll: { users: [...users], groups: [...groups] } }),
  };
}
