/**
 * The mount table: which file system, from which of its directories on, is seen at which path. All
 * paths are byte strings (see locate.ts).
 */
import { fromByteString, toByteString } from './locate.js';

/** A line of /proc/PID/mountinfo; see proc(5) and show_mountinfo() in fs/proc_namespace.c. */
export interface Mount {
  id: number;
  parent: number;
  /** The file system's s_dev as the kernel holds it: major << 20 | minor. stat(2) may give another. */
  device: number;
  /** How many file systems had this number before, as the kernel side counts them; 0 where nobody does. */
  epoch: number;
  /** The directory (or file) of the file system that is mounted, as a path from its own root. */
  root: string;
  /** Where it is mounted, as seen from the reader's root. */
  mountPoint: string;
  fsType: string;
}

/** @throws Error on a line that is not mountinfo's */
export function parseMountinfo(table: Uint8Array): Mount[] {
  return Buffer.from(table)
    .toString('latin1')
    .split('\n')
    .filter((line) => line !== '')
    .map(parseLine);
}

function parseLine(line: string): Mount {
  const fields = line.split(' ');
  const [id, parent, device, root, mountPoint] = fields;
  const numbers = /^([0-9]+):([0-9]+)$/.exec(device ?? '');
  // Optional fields, then a lone hyphen, then the type.
  const hyphen = fields.indexOf('-', 6);
  const fsType = hyphen > 0 && fields[hyphen + 1];
  if (
    !numbers ||
    !root ||
    !mountPoint?.startsWith('/') ||
    !fsType ||
    !Number(id) ||
    Number.isNaN(Number(parent))
  )
    throw new Error(`This is no line of a mount table: ${line}`);
  return {
    id: Number(id),
    parent: Number(parent),
    device: ((Number(numbers[1]) << 20) | Number(numbers[2])) >>> 0,
    epoch: 0,
    root: unescapeOctal(root),
    mountPoint: unescapeOctal(mountPoint),
    fsType,
  };
}

/** A field of mountinfo: the kernel writes blanks, tabs, line feeds and backslashes in names as \ooo. */
export function unescapeOctal(field: string): string {
  return field.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}

/**
 * The mounts that a path look-up can reach, with their paths all different: of mounts stacked on one
 * point the topmost, and none of those below a directory that something else was mounted over.
 */
export function visibleMounts(mounts: readonly Mount[]): Mount[] {
  const ids = new Set(mounts.map((mount) => mount.id));
  const children = new Map<number, Mount[]>();
  const orphans: Mount[] = [];
  let root: Mount | undefined;
  for (const mount of mounts) {
    const hasParent = mount.parent !== mount.id && ids.has(mount.parent);
    if (hasParent) addTo(children, mount.parent, mount);
    else if (mount.mountPoint === '/') root = mount;
    else orphans.push(mount);
  }
  const visible = new Map<string, Mount>();
  const pending: Mount[][] = [orphans];
  if (root) {
    // A look-up starts at the process's root and does not enter what is mounted on top of that: after
    // `mount -t tmpfs x /`, `ls /` still lists the old root.
    visible.set('/', root);
    pending.push((children.get(root.id) ?? []).filter((mount) => mount.mountPoint !== '/'));
  }
  for (let siblings = pending.pop(); siblings; siblings = pending.pop()) {
    const byPoint = new Map(siblings.map((mount) => [mount.mountPoint, mount]));
    for (const [point, mount] of byPoint) {
      if (ancestors(point).some((above) => byPoint.has(above))) continue;
      // A mount on the root of another one is its child and comes after it, so it replaces it here.
      visible.set(point, mount);
      pending.push(children.get(mount.id) ?? []);
    }
  }
  return [...visible.values()];
}

function addTo(children: Map<number, Mount[]>, parent: number, mount: Mount): void {
  const siblings = children.get(parent);
  if (siblings) siblings.push(mount);
  else children.set(parent, [mount]);
}

/** The directories above a path, without `/` itself: `/a/b/c` gives `/a/b` and `/a`. */
function ancestors(path: string): string[] {
  const all: string[] = [];
  for (let end = path.lastIndexOf('/'); end > 0; end = path.lastIndexOf('/', end - 1))
    all.push(path.slice(0, end));
  return all;
}

/**
 * The mount table as whoever has `root` as its root directory sees it: a byte string, a path without symbolic
 * links. Undefined where the table does not tell what is there.
 */
export function mountsBelow(root: string, mounts: readonly Mount[]): Mount[] | undefined {
  const visible = visibleMounts(mounts);
  const points = new Map(visible.map((mount) => [mount.mountPoint, mount]));
  const covering = points.get(nearestPoint(root, points) ?? '');
  if (!covering || !hasPaths(covering)) return undefined;
  const inside = join(covering.root, below(root, covering.mountPoint) ?? '');
  const deeper = visible.flatMap((mount) => {
    const point = below(mount.mountPoint, root);
    return point ? [{ ...mount, mountPoint: point }] : [];
  });
  return [{ ...covering, root: inside, mountPoint: '/' }, ...deeper];
}

/**
 * Whether the objects below a mount's root have known paths on their file system. Not so for an object
 * of its own (nsfs: `net:[4026531840]`), for a directory that was removed while mounted (the kernel
 * appends `//deleted`; what has its old name now is another object), and for a cgroup outside of the
 * reader's cgroup namespace (`/../..`).
 */
export function hasPaths(mount: Mount): boolean {
  return mount.root.startsWith('/') && !/\/\/deleted$|\/\.\.(\/|$)/.test(mount.root);
}

/** An object as the kernel side knows it: its file system, and its path from that one's root, as text. */
export interface MountedObject {
  device: number;
  path: string;
}

/**
 * The object that `path`, absolute text without symbolic links, leads to. Undefined where the mount table
 * does not tell: nothing is mounted at `/` of a chroot, or the mount's root has no path (see hasPaths).
 */
export function objectAt(path: string, mounts: readonly Mount[]): MountedObject | undefined {
  const points = new Map(visibleMounts(mounts).map((mount) => [mount.mountPoint, mount]));
  const name = toByteString(path);
  const mount = points.get(nearestPoint(name, points) ?? '');
  if (!mount || !hasPaths(mount)) return undefined;
  const inside = join(mount.root, below(name, mount.mountPoint) ?? '');
  return { device: mount.device, path: fromByteString(inside) };
}

/** The mount point at `path` or nearest above it. */
function nearestPoint(path: string, points: ReadonlyMap<string, Mount>): string | undefined {
  return [path, ...ancestors(path), '/'].find((point) => points.has(point));
}

/**
 * A path by which `path` of file system `device` is seen, both as text; undefined when none leads there.
 * Of several the shortest, on a tie the first in the alphabet.
 */
export function visiblePath(device: number, path: string, mounts: readonly Mount[]): string | undefined {
  const visible = visibleMounts(mounts);
  const points = new Map(visible.map((mount) => [mount.mountPoint, mount]));
  const seen: string[] = [];
  for (const mount of visible) {
    if (mount.device !== device || !hasPaths(mount)) continue;
    const rest = below(toByteString(path), mount.root);
    if (rest === undefined) continue;
    const name = join(mount.mountPoint, rest);
    // Another mount nearer to the object hides it under this name.
    if (nearestPoint(name, points) === mount.mountPoint) seen.push(name);
  }
  const [best] = seen.sort((a, b) => a.length - b.length || (a < b ? -1 : 1));
  return best === undefined ? undefined : fromByteString(best);
}

/** What follows `directory` in `path`: '' or `/...`; undefined when it is not below. */
function below(path: string, directory: string): string | undefined {
  if (directory === '/') return path === '/' ? '' : path;
  return path === directory || path.startsWith(`${directory}/`) ? path.slice(directory.length) : undefined;
}

function join(directory: string, rest: string): string {
  return directory === '/' ? rest || '/' : directory + rest;
}
