// Remembered containers. What a container's pod was made from is written down with symbols for what differs from one
// container to the next, so that the front can jail those that are like it by itself (native/container.c): as long as
// all that was looked at looks the same, and the mount table differs in symbols only.
//
// What a role is compiled to depends on the numbers of file systems and, of a mount's root, on its components, by
// which the kernel side finds the way from the file system's root to what is mounted. Which components are variable is
// a guess that cannot do harm: a template is only made where no pattern of a rule is asked about one, and no other name
// stands beside it, so that the compiled form depends on which of them are equal and on their order alone, which are in
// the normal form. And only if its symbols, replaced by what this container has, give what was compiled for it.
import { readFileSync } from 'node:fs';
import {
  Gap,
  GlobRow,
  KeyKind,
  Limit,
  Meta,
  Piece,
  Role,
  RuleKey,
  Template,
  TemplateEntry,
  TemplateNumber,
} from '../abi.js';
import { type CompiledRole, digestOf } from '../profiles/compile.js';
import type { FileSystem } from '../profiles/load.js';
import { hasPaths, type Mount, parseMountinfo, visibleMounts } from '../profiles/mounts.js';
import type { ContainerWitness } from './container.js';
import type { MadePod } from './enroll.js';
import type { Kernel } from './kernel.js';
import type { ContainerPlace, PodHeader } from './pods.js';
import { checksumOf, filled, keepFile, longestName, settledSights, Watched } from './remembered.js';

/** Notes all that a container's pod is made from. `asked` is the role that it asks for by its annotation. */
export class ContainerNotes implements ContainerWitness {
  readonly policies = new Watched(true);
  readonly links = new Watched(false);
  table: Uint8Array = new Uint8Array();
  root = '';

  constructor(readonly asked: string | undefined) {}

  linksBelow(directory: string): FileSystem {
    // The front looks from an open directory on.
    this.links.below = `${directory}/`;
    return this.links;
  }

  sawMounts(table: Uint8Array, root: string): void {
    this.table = table;
    this.root = root;
  }
}

/**
 * Writes down how the container was jailed. Where that cannot be done the next one takes longer, and nothing else: this
 * one is ready, so that no failure may be its.
 */
export function rememberContainer(
  notes: ContainerNotes,
  kernel: Kernel,
  place: ContainerPlace,
  made: MadePod,
  compileFor: (mounts: readonly Mount[]) => CompiledRole,
): void {
  try {
    const { asked = '' } = notes;
    const table = normalize(notes.table, notes.root, place.id);
    if (!table || !isStack(asked)) return;
    const parts = encodeParts(table, place, made, compileFor);
    const links = Buffer.concat([...notes.links.sights.values()]);
    if (!parts || !notes.policies.steady || !notes.links.steady) return;
    const name = `container:${asked}:${layoutOf(table)}:${checksumOf('', links) % TemplateNumber.TEMPLATE_SLOTS}`;
    const sights = [...notes.policies.sights.values(), ...settledSights(), links];
    const { role, flags, keep } = made;
    const head = { digest: role.digest, role: role.role, meta: Meta.encode(kernel.meta), flags, keep };
    if (name.length <= longestName) keepFile(name, encodeTemplate(name, head, parts, sights));
  } catch {}
}

/** Writes down that a container which asks for nothing is not jailed; also that need not succeed. */
export function rememberFree({ policies }: ContainerNotes): void {
  const nothing = new Uint8Array();
  const head = { digest: 0n, role: new Uint8Array(Role.size), meta: nothing, flags: 0, keep: 0 };
  const parts = { table: nothing, pieces: nothing, entries: [], globs: nothing };
  try {
    const sights = [...policies.sights.values(), ...settledSights()];
    if (policies.steady) keepFile(freeName, encodeTemplate(freeName, head, parts, sights));
  } catch {}
}

/** No other template is called so, and no start. */
const freeName = 'container:';

/** The names of roles as the annotation has them; nothing where it asks for the standard. */
const isStack = (asked: string): boolean => /^([a-z][a-z0-9_-]*(\+[a-z][a-z0-9_-]*)*)?$/.test(asked);

/** By this, eight digits, the front finds a template for the mount table. */
function layoutOf({ text }: NormalTable): string {
  return checksumOf('', Buffer.from(filled(Buffer.from(text))))
    .toString(16)
    .padStart(8, '0');
}

/** A mount table as far as it decides about a container, with symbols for what is its own. */
export interface NormalTable {
  /**
   * A line for each mount above, at and below its root directory, in the order of their mount points; native/table.h
   * has its form.
   */
  text: string;
  mounts: (Mount & { normalRoot: string })[];
  /** The numbers of the file systems at and below the root directory, as the lines come by them. */
  devices: number[];
  /** Components of mounts' roots that are the container's own, sorted. */
  variables: string[];
  /** Where the root directory is a mount point. */
  covered: boolean;
}

/** Texts that JSON and a mount table have as they are. */
const isPlain = (text: string): boolean => /^[!#-[\]-~]+$/.test(text);

/** What stands for variable number `index` in a path: a byte that no plain text has, and a letter. */
const symbolOf = (index: number): string => `\u0001${String.fromCharCode(firstLetter + index)}`;
const firstLetter = 65;
const isSymbol = (name: string | undefined): boolean => name?.startsWith('\u0001') === true;

/**
 * The normal form of a mount table for whoever has `root` as its root directory. Undefined for one that is unusual.
 * The front has the same (native/table.c) and must be changed together with this.
 */
export function normalize(table: Uint8Array, root: string, id: string): NormalTable | undefined {
  if (root === '/' || !isPlain(root) || !/^[A-Za-z0-9][A-Za-z0-9_.-]*$/.test(id)) return undefined;
  const isInside = ({ mountPoint }: Mount): boolean =>
    mountPoint === root || mountPoint.startsWith(`${root}/`);
  const isAbove = ({ mountPoint }: Mount): boolean => mountPoint === '/' || root.startsWith(`${mountPoint}/`);
  // Engines mount in any order. Of mounts at the same point the last one counts, and the sort keeps theirs.
  const relevant = parseMountinfo(table)
    .filter((mount) => isInside(mount) || isAbove(mount))
    .sort((a, b) => Number(a.mountPoint > b.mountPoint) - Number(a.mountPoint < b.mountPoint));
  const inside = relevant.filter(isInside);
  const isUsual = ({ root, mountPoint, fsType }: Mount): boolean =>
    [root, mountPoint, fsType].every(isPlain) && !root.includes('//');
  if (relevant.length > TemplateNumber.MAX_DIFFERENT || !inside.every(isUsual)) return undefined;
  const { VARIABLE_LENGTH, VARIABLE_WORD } = TemplateNumber;
  const own = new RegExp(`[0-9a-f-]{${VARIABLE_LENGTH}}|^[0-9a-f]{${VARIABLE_WORD},}$`);
  // As engines name directories, and systemd's cgroups.
  const isOwn = (component: string): boolean =>
    component === id || component.endsWith(`-${id}.scope`) || own.test(component);
  const variables = [...new Set(inside.flatMap(({ root }) => root.split('/').filter(isOwn)))].sort();
  if (variables.length > TemplateNumber.MAX_VARIABLES) return undefined;
  const devices = [...new Set(inside.map(({ device }) => device))];
  const places = new Map(relevant.map((mount, i) => [mount.id, i]));
  const mounts = relevant.map((mount) => ({
    ...mount,
    normalRoot: mount.root
      .split('/')
      .map((component) => (isOwn(component) ? symbolOf(variables.indexOf(component)) : component))
      .join('/'),
  }));
  const lines = mounts.map((mount) => {
    const parent = mount.parent === mount.id ? undefined : places.get(mount.parent);
    const { mountPoint, normalRoot, device, fsType } = mount;
    if (!isInside(mount)) return `${parent ?? '-'} ^${mountPoint.split('/').filter((name) => name).length}\n`;
    const point = mountPoint.slice(root.length) || '/';
    return `${parent ?? '-'} ${devices.indexOf(device)} ${normalRoot} ${point} ${fsType}\n`;
  });
  const covered = inside.some(({ mountPoint }) => mountPoint === root);
  return { text: lines.join(''), mounts, devices, variables, covered };
}

/** What a template has beside its head and its sights. */
interface Parts {
  table: Uint8Array;
  pieces: Uint8Array;
  entries: Uint8Array[];
  globs: Uint8Array;
}

/** Undefined where the template would not give what this container has. */
function encodeParts(
  table: NormalTable,
  { mounts }: ContainerPlace,
  { role, statePath }: MadePod,
  compileFor: (mounts: readonly Mount[]) => CompiledRole,
): Parts | undefined {
  const symbolic = compileSymbolic(table, mounts, compileFor);
  const epochs = new Map(mounts.map(({ device, epoch }) => [device, epoch]));
  if (!symbolic || digestFor(symbolic, table, epochs) !== role.digest) return undefined;
  const [line = ''] = readFileSync(statePath, 'utf8').split('\n', 1);
  const pieces = splitHeader(JSON.parse(line), table, mounts);
  if (textOf(pieces, JSON.parse(line), table, epochs) !== `${line}\n`) return undefined;
  return {
    table: Buffer.from(table.text),
    pieces: Buffer.concat(pieces.map(encodePiece)),
    entries: symbolic.entries.map((entry) => TemplateEntry.encode(entry)),
    globs: symbolic.globs,
  };
}

/** A role compiled for symbols. */
export interface SymbolicRole extends Pick<CompiledRole, 'role' | 'globs'> {
  entries: TemplateEntry[];
}

/**
 * Compiles for the symbols of a mount table; `mounts` is what mountsBelow() gives of it. Undefined where another
 * container with the same normal form could need another role.
 */
export function compileSymbolic(
  { mounts: lines, devices, variables, covered }: NormalTable,
  mounts: readonly Mount[],
  compileFor: (mounts: readonly Mount[]) => CompiledRole,
): SymbolicRole | undefined {
  const roots = new Map(lines.map((mount) => [mount.id, mount.normalRoot]));
  const symbolic = mounts.map(
    (mount): Mount => ({
      ...mount,
      device: devices.indexOf(mount.device),
      epoch: 0,
      root: roots.get(mount.id) ?? '',
    }),
  );
  if (!covered || !isIndifferent(visibleMounts(symbolic))) return undefined;
  const { entries, globs, role } = compileFor(symbolic);
  return { role, globs, entries: entries.map((entry) => symbolize(entry, variables.length)) };
}

/** The digest of the role that a container with this table has, as the front makes it. */
export function digestFor(
  { role, entries, globs }: SymbolicRole,
  table: NormalTable,
  epochs: ReadonlyMap<number, number>,
): bigint {
  const filled = entries.map((entry) => substitute(entry, table, epochs));
  filled.sort(([a], [b]) => Buffer.compare(a, b));
  return digestOf(Role.decode(role).powers, role, filled, globs);
}

/**
 * Whether the mounts give the same entries whatever the variables are, as long as they differ and are in the same
 * order: at none of them a pattern decides, and no other name but another variable stands beside it.
 */
function isIndifferent(mounts: readonly Mount[]): boolean {
  const roots = mounts
    .filter(hasPaths)
    .map(({ device, root }) => ({ device, names: root.split('/').slice(1) }));
  return roots.every(({ device, names }) =>
    names.every((name, at) => {
      if (!isSymbol(name)) return true;
      return roots.every((other) => {
        const way = other.names.filter((part) => part !== '');
        const shared = way.slice(0, at);
        if (other.device !== device || shared.some((part, i) => part !== names[i])) return true;
        return way.length > at && isSymbol(way[at]);
      });
    }),
  );
}

/** The entry as a template has it. */
function symbolize([key, value]: CompiledRole['entries'][number], variables: number): TemplateEntry {
  const { state, kind, name } = RuleKey.decode(key);
  const text = Buffer.from(name).toString('latin1').replace(/\0+$/, '');
  const symbols = Array.from({ length: variables }, (_, i) => symbolOf(i));
  const variable = kind === KeyKind.NAME ? symbols.indexOf(text) + 1 : 0;
  if (variable === 0) return { key, value, variable };
  return { key: RuleKey.encode({ state, kind, length: 0, name: new Uint8Array() }), value, variable };
}

/** The entry of a container with this table, as the front makes it. */
function substitute(
  { key, value, variable }: TemplateEntry,
  { devices, variables }: NormalTable,
  epochs: ReadonlyMap<number, number>,
): [Uint8Array, Uint8Array] {
  const old = RuleKey.decode(key);
  if (variable > 0) {
    const name = Buffer.from(variables[variable - 1] ?? '');
    return [RuleKey.encode({ ...old, length: name.length, name }), value];
  }
  if (old.kind !== KeyKind.DEVICE) return [key, value];
  const state = devices[old.state] ?? 0;
  const name = new Uint8Array(new Uint32Array([epochs.get(state) ?? 0]).buffer);
  return [RuleKey.encode({ ...old, state, name }), value];
}

/** A piece of the state file's first line, and what follows it. */
interface HeaderPiece {
  text: string;
  gap: number;
  index: number;
}

/** Divides the first line of a state file at what is each container's own. */
function splitHeader(
  header: PodHeader,
  { mounts, devices }: NormalTable,
  visible: readonly Mount[],
): HeaderPiece[] {
  const mark = (gap: Gap, index = 0): string => `\u0001${gap},${index}\u0001`;
  // Numbers have no quotes.
  const number = (gap: Gap, index: number): string => `\u0002${gap},${index}\u0002`;
  const place = (id: number): number => mounts.findIndex((mount) => mount.id === id);
  const rootOf = (id: number): string =>
    (mounts[place(id)]?.normalRoot ?? '')
      .split('/')
      .map((name) => (isSymbol(name) ? mark(Gap.VARIABLE, name.charCodeAt(1) - firstLetter) : name))
      .join('/');
  const marked = JSON.stringify({
    ...header,
    digest: mark(Gap.DIGEST),
    name: mark(Gap.NAME),
    command: mark(Gap.ID),
    enrolls: { container: mark(Gap.CGROUP) },
    container: {
      ...header.container,
      id: mark(Gap.ID),
      cgroup: mark(Gap.CGROUP),
      cgroupId: mark(Gap.CGROUP_ID),
      root: { dev: mark(Gap.ROOT_DEVICE), ino: mark(Gap.ROOT_INODE) },
      mounts: visible.map((mount) => ({
        ...mount,
        id: number(Gap.MOUNT, place(mount.id)),
        parent: number(Gap.PARENT, place(mount.id)),
        device: number(Gap.DEVICE, devices.indexOf(mount.device)),
        epoch: number(Gap.EPOCH, devices.indexOf(mount.device)),
        root: rootOf(mount.id),
      })),
    },
  });
  const parts = `${marked}\n`.split(/(?:"\\u0002|\\u0001)(\d+),(\d+)(?:\\u0002"|\\u0001)/);
  const pieces: HeaderPiece[] = [];
  for (let i = 0; i < parts.length; i += 3)
    pieces.push({
      text: parts[i] ?? '',
      gap: Number(parts[i + 1] ?? Gap.NONE),
      index: Number(parts[i + 2] ?? 0),
    });
  return pieces;
}

/** The line that the pieces give with what this header has, as the front makes it. */
function textOf(
  pieces: readonly HeaderPiece[],
  { digest, name, container }: PodHeader,
  { mounts, devices, variables }: NormalTable,
  epochs: ReadonlyMap<number, number>,
): string {
  const fill = ({ gap, index }: HeaderPiece): unknown => {
    if (gap === Gap.DIGEST) return digest;
    if (gap === Gap.NAME) return name;
    if (gap === Gap.ID) return container?.id;
    if (gap === Gap.CGROUP) return container?.cgroup;
    if (gap === Gap.CGROUP_ID) return container?.cgroupId;
    if (gap === Gap.ROOT_DEVICE) return container?.root.dev;
    if (gap === Gap.ROOT_INODE) return container?.root.ino;
    if (gap === Gap.MOUNT) return mounts[index]?.id;
    if (gap === Gap.PARENT) return mounts[index]?.parent;
    if (gap === Gap.DEVICE) return devices[index];
    if (gap === Gap.EPOCH) return epochs.get(devices[index] ?? 0);
    return gap === Gap.VARIABLE ? variables[index] : '';
  };
  return pieces.map((piece) => `${piece.text}${fill(piece)}`).join('');
}

function encodePiece({ text, gap, index }: HeaderPiece): Uint8Array {
  const bytes = Buffer.from(text);
  return Buffer.concat([Piece.encode({ text: bytes.length, gap, index }), filled(bytes)]);
}

function encodeTemplate(
  name: string,
  head: Pick<Template, 'digest' | 'role' | 'meta' | 'flags' | 'keep'>,
  { table, pieces, entries, globs }: Parts,
  sights: readonly Uint8Array[],
): Uint8Array {
  const tail = Buffer.concat([filled(table), pieces, ...entries, globs, ...sights]);
  const encode = (checksum: number): Buffer => {
    const whole = Template.encode({
      ...head,
      format: TemplateNumber.TEMPLATE_FORMAT,
      layout: Limit.LAYOUT,
      size: Template.size + tail.length,
      checksum,
      table: table.length,
      pieces: pieces.length,
      entries: entries.length,
      rows: globs.length / GlobRow.size,
    });
    return Buffer.concat([whole, tail]);
  };
  // The checksum and what is in front of it do not count.
  return encode(checksumOf(name, encode(0).subarray(16)));
}
