// A container as its runtime tells of it and as the kernel has it: its first process, its cgroup, and the file
// systems that it will see. A runtime calls its createRuntime hooks when all of that is made, and its own process is
// in the cgroup, but has not changed its root directory yet (OCI runtime specification, "POSIX-platform Hooks").
import { closeSync, constants, openSync, readFileSync, realpathSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { type FileSystem, linkReader } from '../profiles/load.js';
import { type ReadLink, toByteString } from '../profiles/locate.js';
import { type Mount, mountsBelow, parseMountinfo } from '../profiles/mounts.js';
import { addon } from './addon.js';
import { ownCgroup } from './cgroup.js';
import { JailrunError } from './error.js';
import type { ContainerIdentity, Kernel } from './kernel.js';
import type { ContainerPlace, PodState } from './pods.js';
import { hostView, type View } from './role.js';
import { printable } from './verdict.js';

/** What the runtime writes to a hook's standard input (OCI runtime specification, "State"). */
export interface RuntimeState {
  id: string;
  status: string;
  /** Absent, or 0, where the container has ended. */
  pid?: number;
  bundle: string;
  annotations: Readonly<Record<string, string>>;
}

const unreadable = (why: string): JailrunError =>
  new JailrunError(
    'OCI_STATE',
    `What the runtime says of the container cannot be used: ${why}. This is a hook for OCI runtimes, which write the container’s state to its standard input.`,
  );

/** Throws a JailrunError OCI_STATE. */
export function parseState(text: string): RuntimeState {
  let state: unknown;
  try {
    state = JSON.parse(text);
  } catch {
    throw unreadable('it is not JSON');
  }
  if (typeof state !== 'object' || state === null) throw unreadable('it is no object');
  const { id, status, pid, bundle, annotations = {} } = state as Record<string, unknown>;
  if (typeof id !== 'string' || id === '') throw unreadable('it has no id');
  if (typeof status !== 'string') throw unreadable('it has no status');
  if (pid !== undefined && (!Number.isSafeInteger(pid) || (pid as number) < 0))
    throw unreadable('its pid is no number of a process');
  if (typeof bundle !== 'string' || !bundle.startsWith('/'))
    throw unreadable('its bundle is no absolute path');
  if (typeof annotations !== 'object' || annotations === null)
    throw unreadable('its annotations are no object');
  if (Object.values(annotations).some((value) => typeof value !== 'string'))
    throw unreadable('an annotation is no text');
  const known = annotations as Record<string, string>;
  return { id, status, bundle, annotations: known, ...(pid !== undefined && { pid: pid as number }) };
}

/** Who notes what the roles of a container are compiled for. */
export interface ContainerWitness {
  /** Links are read by it, of which the paths begin with this byte string. */
  linksBelow(directory: string): FileSystem;
  /** The mount table of its runtime, and the path of its root directory there, a byte string. */
  sawMounts(table: Uint8Array, root: string): void;
}

/** A container that is about to begin. Closing it changes nothing in the kernel. */
export class NewContainer {
  readonly place: ContainerPlace;
  readonly view: View;
  readonly #pid: number;
  readonly #pidfd: number;
  readonly #root: string;

  /**
   * Throws a JailrunError OCI_STATE or OCI_CGROUP where the container cannot be told from what else runs on this
   * host, and NO_PROCESS where it has ended.
   */
  constructor({ id, pid, bundle }: RuntimeState, kernel: Kernel, witness?: ContainerWitness) {
    if (!pid) throw unreadable('it has no pid');
    const pidfd = addon.pidfdOpen(pid);
    if (pidfd === undefined) throw ended(id, pid);
    this.#pid = pid;
    this.#pidfd = pidfd;
    try {
      this.#root = rootOf(bundle);
      const { cgroup, cgroupId } = cgroupOf(pid);
      const { dev, ino } = statSync(this.#seen, { bigint: true });
      const mounts = kernel.readMounts(() => this.#readMounts(witness));
      const root = { dev: String(dev), ino: String(ino) };
      this.place = { id, cgroup, cgroupId: String(cgroupId), root, mounts };
      this.view = { mounts: () => mounts, readLink: readLinkBelow(this.#seen, witness) };
      // All of that was of this process, if it is still there.
      if (!addon.pidfdSignal(pidfd, 0)) throw ended(id, pid);
    } catch (error) {
      closeSync(pidfd);
      throw error;
    }
  }

  close(): void {
    closeSync(this.#pidfd);
  }

  /** Whether it is jailed already. */
  isJailed(kernel: Kernel): boolean {
    return kernel.podOf(this.#pidfd) !== undefined;
  }

  /** By what the kernel tells its runtime from it. */
  identify(kernel: Kernel): ContainerIdentity {
    const self = addon.pidfdOpen(process.pid) as number;
    const fds: number[] = [];
    const describe = (path: string, flags = constants.O_DIRECTORY) => {
      const fd = openSync(path, constants.O_RDONLY | flags);
      fds.push(fd);
      return kernel.describeFile(fd, self);
    };
    try {
      return {
        runtime: describe(`/proc/${this.#pid}/root`).file,
        root: describe(this.#seen).file,
        runtimeMounts: describe('/proc/self/ns/mnt', 0).mounts,
        hostMounts: describe('/proc/1/ns/mnt', 0).mounts,
      };
    } finally {
      for (const fd of [...fds, self]) closeSync(fd);
    }
  }

  /** Its root directory, as the runtime's process sees it: with what is mounted there in its own mount namespace. */
  get #seen(): string {
    return join(`/proc/${this.#pid}/root`, this.#root);
  }

  #readMounts(witness?: ContainerWitness): Mount[] {
    const root = toByteString(this.#root);
    const table = readFileSync(`/proc/${this.#pid}/mountinfo`);
    const mounts = mountsBelow(root, parseMountinfo(table));
    witness?.sawMounts(table, root);
    if (mounts) return mounts;
    throw unreadable(`no mount of its runtime’s has its root directory ${printable(this.#root)}`);
  }
}

const ended = (id: string, pid: number): JailrunError =>
  new JailrunError(
    'NO_PROCESS',
    `Container ${printable(id)} has ended: there is no process ${pid} any more.`,
  );

/** The container's root directory, by the path that has no links. */
function rootOf(bundle: string): string {
  const config = join(bundle, 'config.json');
  let path: unknown;
  try {
    path = (JSON.parse(readFileSync(config, 'utf8')) as { root?: { path?: unknown } }).root?.path;
  } catch (error) {
    throw unreadable(`${printable(config)} cannot be read (${(error as Error).message})`);
  }
  if (typeof path !== 'string' || path === '') throw unreadable(`${printable(config)} has no root.path`);
  try {
    return realpathSync(resolve(bundle, path));
  } catch (error) {
    throw unreadable(
      `its root directory ${printable(path)} cannot be found (${(error as NodeJS.ErrnoException).code})`,
    );
  }
}

/** Where the process is, which is not always where config.json says. */
function cgroupOf(pid: number): { cgroup: string; cgroupId: bigint } {
  const mountinfo = readFileSync('/proc/self/mountinfo', 'utf8');
  const cgroup = ownCgroup(mountinfo, readFileSync(`/proc/${pid}/cgroup`, 'utf8'));
  const own = ownCgroup(mountinfo);
  if (own === cgroup || own.startsWith(`${cgroup === '/' ? '' : cgroup}/`))
    throw new JailrunError(
      'OCI_CGROUP',
      `The container has no cgroup of its own: ${cgroup} holds this hook, too, and would be jailed as a whole. Start the container with a cgroup: podman run --cgroups=enabled …`,
    );
  return { cgroup, cgroupId: statSync(cgroup, { bigint: true }).ino };
}

/** Links below a directory that is somebody's root directory. */
function readLinkBelow(directory: string, witness?: ContainerWitness): ReadLink {
  const prefix = toByteString(directory);
  const read = linkReader(witness?.linksBelow(prefix));
  return (path) => read(prefix + path);
}

/**
 * What the paths of a pod's roles are meant on: in a container the mounts that it began with, and the links as one of
 * its processes sees them. Throws a JailrunError NO_PROCESS where none has the container's root directory.
 */
export function viewOfPod({ id, container }: Pick<PodState, 'id' | 'container'>, kernel: Kernel): View {
  if (!container) return hostView();
  const { root, mounts } = container;
  const isInside = (pid: number): boolean => {
    const stats = statSync(`/proc/${pid}/root/`, { bigint: true, throwIfNoEntry: false });
    return String(stats?.dev) === root.dev && String(stats?.ino) === root.ino;
  };
  const inside = kernel.listTasks().find((task) => task.pod === id && isInside(task.pid));
  if (!inside)
    throw new JailrunError(
      'NO_PROCESS',
      `No process of container ${printable(container.id)} has its root directory, so where its paths lead cannot be told.`,
    );
  return { mounts: () => mounts, readLink: readLinkBelow(`/proc/${inside.pid}/root`) };
}
