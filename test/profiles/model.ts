/**
 * A plain model of what a role means, to hold the compiler against: a mount namespace that resolves
 * paths as the kernel does, one component at a time, and rules compared as text with every name of an
 * object. It shares no code with src/profiles.
 */

export interface ModelRule {
  section: 'read' | 'write' | 'deny' | 'exec';
  path: string[];
}

export interface ModelRole {
  rules: ModelRule[];
  exec: 'any' | 'none' | 'rules';
}

export interface ModelObject {
  device: number;
  path: string[];
}

interface ModelMount {
  id: number;
  parent: number;
  /** Where in the parent's file system it is mounted. */
  on: string;
  device: number;
  root: string[];
  point: string[];
}

const firstId = 20;

export function pathText(names: readonly string[]): string {
  return `/${names.join('/')}`;
}

export class Namespace {
  readonly #mounts: ModelMount[];

  constructor(device: number, root: string[] = []) {
    this.#mounts = [{ id: firstId, parent: 1, on: '', device, root, point: [] }];
  }

  mount(point: string[], device: number, root: string[]): void {
    const under = this.#climb(this.#walk(point));
    const mount = { id: firstId + this.#mounts.length, parent: under.mount.id, on: pathText(under.path) };
    this.#mounts.push({ ...mount, device, root, point });
  }

  bind(from: string[], point: string[]): void {
    const source = this.#walk(from);
    this.mount(point, source.mount.device, source.path);
  }

  /** The object that a visible path leads to. */
  resolve(path: string[]): ModelObject {
    const { mount, path: inside } = this.#walk(path);
    return { device: mount.device, path: inside };
  }

  #walk(path: string[]): { mount: ModelMount; path: string[] } {
    const [root] = this.#mounts;
    if (!root) throw new Error('a namespace has a root');
    let at = { mount: root, path: root.root };
    for (const name of path) at = this.#climb({ mount: at.mount, path: [...at.path, name] });
    return at;
  }

  #climb(at: { mount: ModelMount; path: string[] }): { mount: ModelMount; path: string[] } {
    const above = this.#mounts.find(
      (mount) => mount.parent === at.mount.id && mount.on === pathText(at.path),
    );
    return above ? this.#climb({ mount: above, path: above.root }) : at;
  }

  /** The lines of /proc/self/mountinfo. */
  lines(): string[] {
    const mangle = (names: string[]) =>
      pathText(names).replace(/[ \t\n\\]/g, (c) => `\\0${c.charCodeAt(0).toString(8)}`);
    return this.#mounts.map(
      ({ id, parent, device, root, point }) =>
        `${id} ${parent} 0:${device} ${mangle(root)} ${mangle(point)} rw,relatime shared:1 - ext4 /dev/x rw`,
    );
  }
}

/** Every path over `alphabet` of at most `depth` components. */
export function allPaths(alphabet: readonly string[], depth: number): string[][] {
  let last: string[][] = [[]];
  const all = [...last];
  for (let i = 0; i < depth; i++) {
    last = last.flatMap((path) => alphabet.map((name) => [...path, name]));
    all.push(...last);
  }
  return all;
}

/** The names of each object, by `device:path`, among the visible paths given. */
export function namesOfObjects(namespace: Namespace, visible: string[][]): Map<string, string[][]> {
  const names = new Map<string, string[][]>();
  for (const path of visible) {
    const key = objectKey(namespace.resolve(path));
    names.set(key, [...(names.get(key) ?? []), path]);
  }
  return names;
}

export function objectKey({ device, path }: ModelObject): string {
  return `${device}:${pathText(path)}`;
}

/** The rules that decide, all alike: of those that cover a name the longest match, on a tie the first in `order`. */
export function deciding(rules: ModelRule[], names: string[][], order: ModelRule['section'][]): ModelRule[] {
  const covering = rules
    .filter((rule) => order.includes(rule.section))
    .map((rule) => ({ rule, length: Math.max(...names.map((name) => longestMatch(rule.path, name))) }));
  const longest = Math.max(0, ...covering.map(({ length }) => length));
  const candidates = covering.filter(({ length }) => length === longest).map(({ rule }) => rule);
  const section = order.find((candidate) => candidates.some((rule) => rule.section === candidate));
  return candidates.filter((rule) => rule.section === section);
}

/** How many of the name's components the pattern matches at most, from the first on; -1 for no match. */
function longestMatch(path: string[], name: string[]): number {
  const pattern = [...path];
  while (pattern.at(-1) === '**') pattern.pop();
  const lengths = Array.from(name, (_, i) => i + 1).concat(0);
  return Math.max(-1, ...lengths.filter((length) => matches(pattern, name.slice(0, length))));
}

function matches([first, ...rest]: string[], name: string[]): boolean {
  if (first === undefined) return name.length === 0;
  if (first === '**') return name.some((_, i) => matches(rest, name.slice(i))) || matches(rest, []);
  return name[0] !== undefined && matchesName(first, name[0]) && matches(rest, name.slice(1));
}

/** For names of one ASCII character or more; a class has no range. */
function matchesName(glob: string, name: string): boolean {
  const expression = glob
    .replaceAll('.', '\\.')
    .replaceAll('*', '.*')
    .replaceAll('?', '.')
    .replaceAll('[!', '[^');
  return new RegExp(`^${expression}$`).test(name);
}

export const fileOrder: ModelRule['section'][] = ['deny', 'write', 'read'];
export const execOrder: ModelRule['section'][] = ['deny', 'exec'];

export function mayRead(role: ModelRole, names: string[][]): boolean {
  return ['write', 'read'].includes(deciding(role.rules, names, fileOrder)[0]?.section ?? 'none');
}

export function mayWrite(role: ModelRole, names: string[][]): boolean {
  return deciding(role.rules, names, fileOrder)[0]?.section === 'write';
}

export function isHidden(role: ModelRole, names: string[][]): boolean {
  return deciding(role.rules, names, fileOrder)[0]?.section === 'deny';
}

export function mayExec(role: ModelRole, names: string[][]): boolean {
  const section = deciding(role.rules, names, execOrder)[0]?.section;
  if (role.exec === 'none') return false;
  if (role.exec === 'rules') return section === 'exec';
  const denies = role.rules.some((rule) => rule.section === 'deny');
  return !denies || (names.length > 0 && section === undefined);
}

/**
 * As who may write a path may use the socket there, unless a rule for sockets that is as long denies it. Of `own`
 * those that grant are in the section exec.
 */
export function mayUseSocket(own: ModelRule[], files: ModelRule[], names: string[][]): boolean {
  const section = deciding(own, names, execOrder)[0]?.section;
  const writes = deciding(files, names, fileOrder)[0]?.section === 'write';
  if (section === 'exec' || !writes || section === undefined) return section === 'exec' || writes;
  const both = [
    ...own.filter((one) => one.section === 'deny'),
    ...files.filter((one) => one.section === 'write'),
  ];
  return deciding(both, names, ['deny', 'write'])[0]?.section === 'write';
}
