// The pinned programs' maps: what a pod and a role are in the kernel, and the order in which they are
// written there. Attaching and detaching is in attach.ts, which a plain run does not need.
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, readFileSync, statfsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import {
  CgroupName,
  Claim,
  Container,
  Counters,
  Denial,
  DenialKey,
  Described,
  Executable,
  GlobRow,
  Limit,
  Meta,
  Pod,
  ProbeAnswer,
  Role,
  Rule,
  RuleKey,
  Sweep,
  Swept,
  SweptWhat,
  Variables,
} from '../abi.js';
import type { CompiledRole } from '../profiles/compile.js';
import type { Mount } from '../profiles/mounts.js';
import { type AddonError, addon, MapFlag, MapType, UpdateFlag } from './addon.js';
import { JailrunError } from './error.js';

/** Where things lie on a host; tests have places of their own. */
export interface Places {
  /** The bpffs mount. The pins are in its directory `jailrun`. */
  bpffs: string;
  /** Holds the lock. */
  run: string;
}
export const hostPlaces: Places = { bpffs: '/sys/fs/bpf', run: '/run/jailrun' };

/** The program that reads what files claim; it is pinned where the kernel can run it. */
export const claimProgram = 'jr_bprm_check_claim';

export const pinsOf = (places: Places): string => join(places.bpffs, 'jailrun');

/** What the kernel gets of a role. The digest is the key: equal roles share an entry, whatever they are called. */
export type KernelRole = Pick<CompiledRole, 'digest' | 'role' | 'entries' | 'globs'>;

/** What createPod() makes of a pod. */
export interface NewPodEntry {
  id: bigint;
  role: KernelRole;
  /** enum jr_task_flag */
  flags: number;
  keep: number;
}

/** What a sweep enrolls into a pod. */
export type Sweepable =
  /** A process with all its threads, by its pidfd, and its children on request. */
  | { process: number; children: boolean }
  /** What is in a cgroup and below it, which may be still to come. */
  | WatchedCgroup;

export interface WatchedCgroup {
  /** Its id; undefined for one that is not there. */
  cgroup: bigint | undefined;
  /** Its place: the parent's id, and its name there. */
  parent: bigint;
  name: string;
}

/** What tells a container from the runtime that works in its cgroup. */
export interface ContainerIdentity {
  runtime: Executable;
  root: Executable;
  /** A mount namespace’s number, as describeFile() tells it. */
  runtimeMounts: bigint;
  hostMounts: bigint;
}

/** A pod's entries in the maps `pods` and `pod_counters`. */
export interface PodEntry extends Counters {
  id: bigint;
  /** The digest of the role that holds it. */
  role: bigint;
  /** enum jr_task_flag */
  flags: number;
}

/**
 * How many roles stay in the kernel although no pod uses them, so that the next start finds them
 * compiled. Each has some kilobytes.
 */
const idleRoles = 64;

const mapNames = [
  'device_epochs',
  'cgroup_enrollment',
  'roles',
  'role_rules',
  'role_globs',
  'tasks',
  'pods',
  'pod_counters',
  'pod_denials',
  'denials',
  'variables',
  'watched_cgroups',
  'watched_names',
  'executables',
  'containers',
  'claims',
  'claim_owners',
] as const;
type MapName = (typeof mapNames)[number];

/**
 * Opens what attach() pinned. Returns undefined where nothing is. Throws a JailrunError where the
 * pins are not whole or another version's, and where this process may not look.
 */
export function openPins(places: Places = hostPlaces): Kernel | undefined {
  refuseInJail();
  const pins = pinsOf(places);
  let metaFd: number;
  try {
    metaFd = addon.objGet(join(pins, 'maps/meta'));
  } catch (error) {
    return explainMissingPins(places, error as AddonError);
  }
  const meta = readMeta(metaFd, pins);
  const missing = missingLinks(pins, meta);
  if (missing) {
    throw new JailrunError(
      'PINS_INCOMPLETE',
      `${missing} no longer pinned in ${pins}/links, so what it decides would be allowed. End the pods, then attach anew: jailrun detach --force && jailrun attach`,
    );
  }
  return new Kernel(places, meta);
}

/** The programs go on using a map whose pin is gone, but nobody else can write it any more. */
function openMap(path: string): number {
  try {
    return addon.objGet(path);
  } catch (cause) {
    throw new JailrunError(
      'PINS_INCOMPLETE',
      `The map ${path} cannot be opened (${(cause as AddonError).code}), so no pod can be made or changed. End the pods, then attach anew: jailrun detach --force && jailrun attach`,
      { cause },
    );
  }
}

/** Names the programs whose link is gone, with a verb; undefined where none is. */
function missingLinks(pins: string, meta: Meta): string | undefined {
  const links = readdirSync(join(pins, 'links'));
  if (links.length === meta.hooks) return undefined;
  const names = readdirSync(join(pins, 'programs')).filter((name) => !links.includes(name));
  return names.length > 0 ? `${names.join(', ')} ${names.length > 1 ? 'are' : 'is'}` : 'A program is';
}

/** A jailed task may not touch the maps that jail it, so it cannot start a jail inside its own. */
export function refuseInJail(): void {
  if (addon.probe(0n) === ProbeAnswer.OTHER_POD) {
    throw new JailrunError(
      'JAILED',
      'This process is in a jail already and cannot start another one in it. Run jailrun outside; to narrow a jail, give it several roles: jailrun --role A --role B',
    );
  }
}

function explainMissingPins(places: Places, cause: AddonError): undefined {
  const pins = pinsOf(places);
  if (cause.code === 'EPERM' || cause.code === 'EACCES') throw notRoot(cause);
  requireBpffs(places);
  if (cause.code === 'ENOENT' && !existsSync(pins)) return undefined;
  throw new JailrunError(
    'PINS_INCOMPLETE',
    `${pins}/maps/meta cannot be opened (${cause.code}), so nothing tells which programs hold. End the pods, then attach anew: jailrun detach --force && jailrun attach`,
    { cause },
  );
}

export function notRoot(cause?: unknown): JailrunError {
  return new JailrunError(
    'NOT_ROOT',
    'jailrun writes to the kernel’s BPF maps, which needs root (CAP_SYS_ADMIN). Run it as root: sudo jailrun …',
    { cause },
  );
}

/** Throws where the mount that keeps the pins is missing. */
export function requireBpffs({ bpffs }: Places): void {
  const bpfFsMagic = 0xcafe4a11; // include/uapi/linux/magic.h
  let type: number | undefined;
  try {
    type = statfsSync(bpffs).type;
  } catch {}
  if (type !== bpfFsMagic) {
    throw new JailrunError(
      'NO_BPFFS',
      `No bpffs is mounted on ${bpffs}, so the programs could not outlive this process. Mount it: mount -t bpf bpf ${bpffs}`,
    );
  }
}

function readMeta(metaFd: number, pins: string): Meta {
  try {
    const bytes = addon.mapLookup(metaFd, new Uint8Array(4));
    const layout = bytes && new DataView(bytes.buffer).getUint32(0, true);
    if (layout !== Limit.LAYOUT || bytes?.length !== Meta.size) {
      throw new JailrunError(
        'LAYOUT',
        `The programs pinned in ${pins} have layout ${layout}, and this jailrun understands layout ${Limit.LAYOUT}: another version attached them. End the pods, then attach anew: jailrun detach && jailrun attach`,
      );
    }
    return Meta.decode(bytes);
  } finally {
    closeSync(metaFd);
  }
}

/** Holds jailrun's lock on this host while `action` runs. Throws a JailrunError LOCK where that cannot be. */
export function withLock<T>(places: Places, action: () => T): T {
  const fd = openLocked(places);
  try {
    return action();
  } finally {
    closeSync(fd);
  }
}

function openLocked({ run }: Places): number {
  const path = join(run, 'lock');
  let fd: number | undefined;
  try {
    // Others pass through it, to the enrollment socket.
    mkdirSync(run, { recursive: true, mode: 0o711 });
    fd = openSync(path, 'a', 0o600);
    addon.flock(fd, { exclusive: true, wait: true });
    return fd;
  } catch (cause) {
    if (fd !== undefined) closeSync(fd);
    throw new JailrunError(
      'LOCK',
      `The lock ${path} cannot be taken (${(cause as NodeJS.ErrnoException).code}). Make room in ${dirname(run)}, or make ${run} writable for root.`,
      { cause },
    );
  }
}

/** The pinned programs, by their maps. Closing it changes nothing in the kernel. */
export class Kernel {
  readonly #fds = new Map<MapName, number>();

  /** @internal openPins() and attach() make it. */
  constructor(
    private readonly places: Places,
    readonly meta: Meta,
  ) {}

  /** A descriptor of a map, which stays this object's. */
  mapFd(name: MapName): number {
    let fd = this.#fds.get(name);
    if (fd === undefined) {
      fd = openMap(join(pinsOf(this.places), 'maps', name));
      this.#fds.set(name, fd);
    }
    return fd;
  }

  close(): void {
    for (const fd of this.#fds.values()) closeSync(fd);
    this.#fds.clear();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /**
   * Makes a pod: from here on a task that executes a program in the cgroup `id` is enrolled in it. The
   * enrollment comes last, so an enrolled task always finds its role. `keep` is how many of its denials
   * are kept for readDenials(). Throws a JailrunError MAP_FULL or REFUSED; after any failure nothing of the
   * pod is left.
   */
  createPod(pod: NewPodEntry): void {
    this.#createPod(pod, () => this.#update('cgroup_enrollment', keyOf(pod.id), keyOf(pod.id)));
  }

  #createPod(pod: NewPodEntry, enroll: () => void): void {
    const key = keyOf(pod.id);
    const role = pod.role.digest;
    try {
      withLock(this.places, () => {
        // The entry keeps the role from being dropped as unused, so it comes first.
        this.#update('pods', key, newEntry(pod.id, role, pod.flags));
        this.#installRole(pod.role);
      });
      this.#update('pod_counters', key, Counters.encode({ denials: 0n, lost: 0n, kept: 0n, keep: pod.keep }));
      enroll();
    } catch (error) {
      this.removePod(pod.id);
      throw asRefusal(error);
    }
  }

  /** Makes a pod in which nothing is enrolled yet. */
  createEmptyPod(pod: NewPodEntry): void {
    this.#createPod(pod, () => {});
  }

  /** Says what enroll() would do with the tasks that live now. */
  look(pod: bigint, what: Sweepable): Swept[] {
    return withLock(this.places, () => this.#request(pod, what, () => this.#sweep(what, 0)));
  }

  /**
   * Enrolls what lives now in a pod, and what it starts meanwhile. A cgroup is watched from then on: what gets
   * there later is enrolled at once. Throws a JailrunError UNSETTLED for what forks faster than it can be
   * enrolled; and MAP_FULL.
   */
  enroll(pod: bigint, what: Sweepable): Swept[] {
    return withLock(this.places, () => {
      if ('cgroup' in what) this.#watch(what, pod);
      return this.#request(pod, what, () => this.#sweepUntilDone(what));
    });
  }

  /**
   * Takes a jailed process, with all that has its memory, from one pod to another one. Throws a JailrunError UNSETTLED
   * for what makes threads faster than they are taken.
   */
  stack(pod: bigint, from: bigint, process: number): Swept[] {
    return withLock(this.places, () => {
      const what = { process, children: false };
      this.#setVariables({ requestFrom: from });
      try {
        return this.#request(pod, what, () => {
          const found = this.#sweepUntilDone(what, Sweep.STACK);
          this.#awaitPrograms();
          this.#sweep(what, Sweep.RENEW);
          return found;
        });
      } finally {
        this.#setVariables({ requestFrom: 0n });
      }
    });
  }

  /** Returns once every program that runs now has ended: a new entry in a map of maps waits for an RCU grace period. */
  #awaitPrograms(): void {
    const key = keyOf(0n);
    const sizes = { keySize: RuleKey.size, valueSize: Rule.size, maxEntries: 1 };
    const nothing = new Uint8Array(RuleKey.size);
    this.#addInner(
      'role_rules',
      key,
      { type: MapType.HASH, name: 'rules', ...sizes },
      nothing,
      new Uint8Array(Rule.size),
    );
    addon.mapDelete(this.mapFd('role_rules'), key);
  }

  /** Enrolls the rest of every process and cgroup of which a killed enroll() has left a part. */
  finishEnrolling(): void {
    withLock(this.places, () => {
      this.#setVariables({ requestPod: 0n, requestCgroup: 0n });
      this.#countEnrollments();
      this.#sweepUntilDone(undefined);
    });
  }

  #sweepUntilDone(what: Sweepable | undefined, flags: number = Sweep.ENROLL): Swept[] {
    const passes = 1000;
    const found: Swept[] = [];
    for (let i = 0; i < passes; i++) {
      const pass = this.#sweep(what, flags);
      found.push(...pass);
      if (!pass.some((swept) => swept.what === SweptWhat.ENROLLED)) return found;
    }
    throw new JailrunError(
      'UNSETTLED',
      `After ${passes} rounds there are still new processes that are not jailed. Freeze what starts them first, or stop it.`,
    );
  }

  /** What the programs need to know of a request, for as long as `action` runs. */
  #request<T>(pod: bigint, what: Sweepable, action: () => T): T {
    const cgroup = ('cgroup' in what && what.cgroup) || 0n;
    this.#setVariables({ requestPod: pod, requestCgroup: cgroup, requestTime: timeSinceBoot(), memory: 0n });
    try {
      return action();
    } finally {
      this.#setVariables({ requestPod: 0n, requestCgroup: 0n });
    }
  }

  #sweep(what: Sweepable | undefined, flags: number): Swept[] {
    const process = what && 'process' in what ? what : undefined;
    const own: Swept[] = [];
    if (process) {
      this.#setVariables({ sweep: flags | Sweep.PROCESS });
      own.push(...decodeAll(Swept, this.#iterate('jr_sweep_tasks', process.process)));
    }
    this.#setVariables({ sweep: flags | (process?.children ? Sweep.CHILDREN : 0) });
    return [...own, ...decodeAll(Swept, this.#iterate('jr_sweep_tasks'))];
  }

  #iterate(name: string, process?: number): Uint8Array {
    const fd = addon.objGet(join(pinsOf(this.places), 'iterators', name));
    try {
      return addon.iterate(fd, process);
    } finally {
      closeSync(fd);
    }
  }

  /** How many tasks should have been enrolled and were not, for want of memory. */
  missed(): number {
    return this.#variables().missed;
  }

  /** Every thread that is jailed. */
  listTasks(): Swept[] {
    return decodeAll(Swept, this.#iterate('jr_list_tasks'));
  }

  #watch({ cgroup, parent, name }: WatchedCgroup, pod: bigint): void {
    this.#update('watched_names', placeOf(parent, name), keyOf(pod));
    if (cgroup !== undefined) this.#update('watched_cgroups', keyOf(cgroup), keyOf(pod));
    this.#countEnrollments();
  }

  /**
   * What the open file `fd` of this process is in the map `executables`: itself, and its place. And of a mount
   * namespace its number, which no other one ever has; 0 for another file.
   */
  describeFile(fd: number, self: number): { file: Executable; place: Executable; mounts: bigint } {
    const found = decodeAll(Described, this.#iterate('jr_describe_files', self)).find((one) => one.fd === fd);
    if (!found) throw new Error(`descriptor ${fd} is not among those of this process`);
    const { device, inode, generation, parent, parentGeneration, name, mounts } = found;
    return {
      file: { device, inode, generation, name: new Uint8Array() },
      place: { device, inode: parent, generation: parentGeneration, name: name.subarray(0, name.indexOf(0)) },
      mounts,
    };
  }

  /** From now on who executes one of these is enrolled in the pod. Throws a JailrunError MAP_FULL. */
  enrollExecutables(pod: bigint, files: readonly Executable[]): void {
    withLock(this.places, () => {
      for (const file of files) this.#update('executables', Executable.encode(file), keyOf(pod));
      this.#countEnrollments();
    });
  }

  /** The pod that the cgroup, or one made in its place, enrolls into; undefined for none. */
  watcherOf({ cgroup, parent, name }: WatchedCgroup): bigint | undefined {
    const place = addon.mapLookup(this.mapFd('watched_names'), placeOf(parent, name));
    const pod =
      cgroup === undefined ? place : (addon.mapLookup(this.mapFd('watched_cgroups'), keyOf(cgroup)) ?? place);
    return pod && idOf(pod);
  }

  /** The same of a file, or of a place. */
  executorOf(file: Executable): bigint | undefined {
    const pod = addon.mapLookup(this.mapFd('executables'), Executable.encode(file));
    return pod && idOf(pod);
  }

  /**
   * From now on who executes a program in this cgroup or below is enrolled in the pod; but not its runtime, whose
   * root directory another one is than the container's, and which is in no mount namespace of the container's
   * once that has begun. Throws a JailrunError MAP_FULL.
   */
  enrollContainer(
    pod: bigint,
    cgroup: bigint,
    { runtime, root, runtimeMounts, hostMounts }: ContainerIdentity,
  ): void {
    const entry = Container.encode({
      pod,
      begun: 0n,
      runtimeInode: runtime.inode,
      rootInode: root.inode,
      runtimeDevice: runtime.device,
      rootDevice: root.device,
      runtimeGeneration: runtime.generation,
      rootGeneration: root.generation,
      runtimeMounts,
      hostMounts,
    });
    withLock(this.places, () => {
      // First, so that whoever is killed here leaves no entry that nobody looks for. Counting anew takes a call each.
      this.#setVariables({ containers: this.#variables().containers + 1 });
      this.#update('containers', keyOf(cgroup), entry);
    });
  }

  /** Whether this kernel lets programs read extended attributes, so that files can claim roles. */
  readsClaims(): boolean {
    return existsSync(join(pinsOf(this.places), 'programs', claimProgram));
  }

  /**
   * From now on who executes a file that claims the role is enrolled in the pod, where its owner counts
   * (countOwners()). Takes the claim from a pod that had it, in one step. Throws a JailrunError MAP_FULL.
   */
  enrollClaims(pod: bigint, { name, id }: { name: string; id: number }): void {
    withLock(this.places, () => {
      this.#update('claims', Claim.encode({ id: 0, role: Buffer.from(name) }), keyOf(pod));
      this.#update('claims', Claim.encode({ id, role: new Uint8Array() }), keyOf(pod));
    });
  }

  /**
   * The files of these users may claim roles, and nobody else's; a claim that no pod has is refused then. Nobody
   * looks at claims where there are none. Throws a JailrunError MAP_FULL.
   */
  countOwners(users: readonly number[]): void {
    // A reload has changed the roles by now, and should have nothing more to fail at.
    if (users.length === 0 && this.#variables().xattrs === 0) return;
    withLock(this.places, () => {
      if (users.length === 0) this.#setVariables({ xattrs: 0 });
      for (const user of users) this.#update('claim_owners', wordOf(user), wordOf(1));
      for (const user of this.#owners())
        if (!users.includes(user)) addon.mapDelete(this.mapFd('claim_owners'), wordOf(user));
      if (users.length > 0) this.#setVariables({ xattrs: 1 });
    });
  }

  /** The pod of a file that claims the role, by its name or its number; undefined where files may not. */
  podOfClaim({ name = '', id = 0 }: { name?: string; id?: number }): bigint | undefined {
    const role = Buffer.from(name);
    if (role.length >= Limit.MAX_CLAIM) return undefined;
    const pod = addon.mapLookup(this.mapFd('claims'), Claim.encode({ id, role }));
    return pod && idOf(pod);
  }

  /** The users whose files may claim roles. */
  owners(): number[] {
    return this.#variables().xattrs === 0 ? [] : this.#owners();
  }

  #owners(): number[] {
    return [...this.#keys('claim_owners')].map((key) =>
      new DataView(key.buffer, key.byteOffset).getUint32(0, true),
    );
  }

  /** How many programs were not started for what they claim. */
  refused(): number {
    return this.#variables().refused;
  }

  /** The pod of the container that has this cgroup; undefined for none. */
  podOfContainer(cgroup: bigint): bigint | undefined {
    const entry = addon.mapLookup(this.mapFd('containers'), keyOf(cgroup));
    return entry && Container.decode(entry).pod;
  }

  /** From now on nothing is enrolled in the pod. What is in it stays there. */
  stopEnrolling(pod: bigint): void {
    withLock(this.places, () => {
      for (const map of ['watched_names', 'watched_cgroups', 'executables', 'containers', 'claims'] as const)
        for (const key of this.#keys(map)) {
          const value = addon.mapLookup(this.mapFd(map), key);
          // The pod comes first in each of them.
          if (value && idOf(value) === pod) addon.mapDelete(this.mapFd(map), key);
        }
      this.#countEnrollments();
    });
  }

  #countEnrollments(): void {
    const watched = this.#keys('watched_names').length + this.#keys('watched_cgroups').length;
    const [executables, containers] = [this.#keys('executables').length, this.#keys('containers').length];
    this.#setVariables({ watched, executables, containers });
  }

  /** Removes a pod whose last task is gone. A pod that is not there is no error. */
  removePod(id: bigint): void {
    const key = keyOf(id);
    addon.mapDelete(this.mapFd('cgroup_enrollment'), key);
    for (const denial of keptDenials(this.mapFd('pod_counters'), id))
      addon.mapDelete(this.mapFd('pod_denials'), denial);
    addon.mapDelete(this.mapFd('pods'), key);
    addon.mapDelete(this.mapFd('pod_counters'), key);
  }

  /**
   * Gives pods other roles, all at once: every task is held by what held it until the last step, and from then on
   * by the new one. Throws a JailrunError MAP_FULL or REFUSED; then nothing has changed.
   */
  changeRoles(changes: readonly { id: bigint; role: KernelRole; flags: number }[]): void {
    try {
      withLock(this.places, () => this.#changeRoles(changes));
    } catch (error) {
      throw asRefusal(error);
    }
  }

  #changeRoles(changes: readonly { id: bigint; role: KernelRole; flags: number }[]): void {
    const wanted = new Map(changes.map((change) => [change.id, change]));
    const next = this.#variables().policy + 1n;
    const coming = changes.map(({ role }) => role.digest);
    for (const { role } of changes) this.#installRole(role, coming);
    for (const [key, pod] of this.#pods()) {
      const change = wanted.get(pod.number);
      // What somebody left who was killed here must not come to count with this.
      if (change) {
        const changed = { ...pod, nextRole: change.role.digest, nextFlags: change.flags, since: next };
        this.#replacePod(key, Pod.encode(changed));
      } else if (pod.since === next) {
        this.#replacePod(key, newEntry(pod.number, pod.role, pod.flags));
      }
    }
    this.#setVariables({ policy: next });
  }

  /** Does nothing for a pod that has ended meanwhile. */
  #replacePod(key: Uint8Array, entry: Uint8Array): void {
    try {
      addon.mapUpdate(this.mapFd('pods'), key, entry, UpdateFlag.EXIST);
    } catch (error) {
      if ((error as AddonError).code !== 'ENOENT') throw error;
    }
  }

  #variables(): Variables {
    const variables = addon.mapLookup(this.mapFd('variables'), new Uint8Array(4));
    if (!variables) throw new Error('the map variables has no entry');
    return Variables.decode(variables);
  }

  /** Under the lock only: it writes back what it does not change. */
  #setVariables(changed: Partial<Variables>): void {
    const variables = Variables.encode({ ...this.#variables(), ...changed });
    addon.mapUpdate(this.mapFd('variables'), new Uint8Array(4), variables, UpdateFlag.ANY);
  }

  /** The entries of pods as they count now: with the next role only where that is still to come. */
  #pods(): [Uint8Array, Pod][] {
    const { policy } = this.#variables();
    return this.#keys('pods').flatMap((key): [Uint8Array, Pod][] => {
      const value = addon.mapLookup(this.mapFd('pods'), key);
      if (!value) return [];
      const pod = Pod.decode(value);
      const now = pod.since <= policy ? { role: pod.nextRole, flags: pod.nextFlags } : {};
      return [[key, { ...pod, ...now }]];
    });
  }

  listPods(): PodEntry[] {
    return this.#pods().map(([key, { number, role, flags }]) => {
      const counters = addon.mapLookup(this.mapFd('pod_counters'), key) ?? new Uint8Array(Counters.size);
      return { id: number, role, flags, ...Counters.decode(counters) };
    });
  }

  /** The pod that holds a process, wherever it has moved; undefined for one that is not jailed. */
  podOf(pidfd: number): bigint | undefined {
    const jail = addon.mapLookup(this.mapFd('tasks'), fdValue(pidfd));
    return jail && idOf(jail);
  }

  /** The same by its number. */
  podOfProcess(pid: number): bigint | undefined {
    const pidfd = addon.pidfdOpen(pid);
    if (pidfd === undefined) return undefined;
    try {
      return this.podOf(pidfd);
    } finally {
      closeSync(pidfd);
    }
  }

  /**
   * The mount table that `read` gives, with the epochs of its devices. If a file system ends meanwhile, one
   * that comes after it may be in the table with its number, or its epoch may be the next one's; so both are
   * read again.
   */
  readMounts(read: () => Mount[]): Mount[] {
    for (let ends = this.#epoch(0); ; ) {
      const mounts = read();
      const devices = new Set(mounts.map(({ device }) => device));
      const epochs = new Map([...devices].map((device) => [device, this.#epoch(device)]));
      const endsNow = this.#epoch(0);
      if (endsNow === ends)
        return mounts.map((mount) => ({ ...mount, epoch: epochs.get(mount.device) ?? 0 }));
      ends = endsNow;
    }
  }

  #epoch(device: number): number {
    const index = (device + (device >>> 20) * Limit.MAJOR_STEP) % Limit.DEVICES;
    const value = addon.mapLookup(
      this.mapFd('device_epochs'),
      new Uint8Array(new Uint32Array([index]).buffer),
    );
    if (!value) throw new Error(`device_epochs has no entry ${index}`);
    return new DataView(value.buffer, value.byteOffset).getUint32(0, true);
  }

  /** Makes the role known to the kernel, before a pod needs it. */
  installRole(role: KernelRole): void {
    withLock(this.places, () => this.#installRole(role));
  }

  /**
   * A role without an id is not whole: it is being made or removed, or whoever did that was killed. It grants nothing,
   * counts as idle, and is made anew where it is wanted. One comes and two go, until few are idle. The new entry in a
   * map of maps waits until all programs that run have ended (an RCU grace period), so no task is left in one that is
   * about to look up a role which was idle before. `coming` are not idle.
   */
  #installRole({ digest, role, entries, globs }: KernelRole, coming: readonly bigint[] = []): void {
    const key = keyOf(digest);
    const found = addon.mapLookup(this.mapFd('roles'), key);
    if (found && Role.decode(found).id !== 0) return;
    const idle = this.#idleRoles([...coming, digest]);
    this.#update('roles', key, new Uint8Array(Role.size));
    const keys = Buffer.concat(entries.map(([key]) => key));
    const values = Buffer.concat(entries.map(([, value]) => value));
    const sizes = { keySize: RuleKey.size, valueSize: Rule.size, maxEntries: Math.max(1, entries.length) };
    this.#addInner('role_rules', key, { type: MapType.HASH, name: 'rules', ...sizes }, keys, values);
    if (globs.length > 0) {
      const rows = globs.length / GlobRow.size;
      const numbers = new Uint8Array(Uint32Array.from({ length: rows }, (_, row) => row).buffer);
      const sizes = { keySize: 4, valueSize: GlobRow.size, maxEntries: rows, flags: MapFlag.INNER_MAP };
      this.#addInner('role_globs', key, { type: MapType.ARRAY, name: 'globs', ...sizes }, numbers, globs);
    }
    this.#update('roles', key, role);
    for (const old of idle.slice(0, 2)) this.#removeRole(old);
  }

  #removeRole(key: Uint8Array): void {
    this.#update('roles', key, new Uint8Array(Role.size));
    for (const map of ['role_rules', 'role_globs', 'roles'] as const) addon.mapDelete(this.mapFd(map), key);
  }

  /** Makes a map that nobody can change any more, and an entry for it in a map of maps. */
  #addInner(
    outer: MapName,
    key: Uint8Array,
    map: Parameters<typeof addon.mapCreate>[0],
    keys: Uint8Array,
    values: Uint8Array,
  ): void {
    const fd = addon.mapCreate(map);
    try {
      addon.mapUpdateBatch(fd, keys, values, keys.length / map.keySize);
      addon.mapFreeze(fd);
      this.#update(outer, key, fdValue(fd));
    } finally {
      closeSync(fd);
    }
  }

  /** Keys of roles that no pod has, once there are many roles. */
  #idleRoles(coming: readonly bigint[]): Uint8Array[] {
    const keys = this.#keys('roles');
    if (keys.length < idleRoles) return [];
    const used = new Set([...this.listPods().map((pod) => pod.role), ...coming]);
    return keys.filter((key) => !used.has(idOf(key)));
  }

  #keys(map: MapName): Uint8Array[] {
    const fd = this.mapFd(map);
    const keys = new Map<string, Uint8Array>();
    let key = addon.mapNextKey(fd, undefined);
    // Where a key is deleted meanwhile the kernel starts again at the first one, so some come twice.
    while (key) {
      keys.set(Buffer.from(key).toString('latin1'), key);
      key = addon.mapNextKey(fd, key);
    }
    return [...keys.values()];
  }

  #update(map: MapName, key: Uint8Array, value: Uint8Array): void {
    const fd = this.mapFd(map);
    try {
      addon.mapUpdate(fd, key, value, UpdateFlag.ANY);
    } catch (cause) {
      if ((cause as AddonError).code !== 'E2BIG') throw cause;
      const { maxEntries } = addon.mapInfo(fd);
      throw new JailrunError(
        'MAP_FULL',
        `The kernel's map ${map} is full: it has room for ${maxEntries} entries. End pods that are no longer needed; jailrun status lists them.`,
        { cause },
      );
    }
  }
}

/** A pod's denials, in their order, and how many more there were. `podCounters` and `podDenials` are the maps. */
export function readDenials(
  podCounters: number,
  podDenials: number,
  id: bigint,
): { denials: Denial[]; lost: number } {
  const denials = keptDenials(podCounters, id)
    .map((key) => addon.mapLookup(podDenials, key))
    .filter((value) => value !== undefined)
    .map((value) => Denial.decode(value));
  const counters = addon.mapLookup(podCounters, keyOf(id));
  return { denials, lost: counters ? Number(Counters.decode(counters).lost) : 0 };
}

/** The keys that a pod's denials may have in `pod_denials`. */
function keptDenials(podCounters: number, id: bigint): Uint8Array[] {
  const value = addon.mapLookup(podCounters, keyOf(id));
  if (!value) return [];
  const { kept, keep } = Counters.decode(value);
  const length = Math.min(Number(kept), keep);
  return Array.from({ length }, (_, i) => DenialKey.encode({ pod: id, slot: BigInt(i + 1) }));
}

/** The kernel's own no to a call, for somebody who did not ask for a call. */
export function asRefusal(error: unknown): unknown {
  const { code, syscall } = error as AddonError;
  if (error instanceof JailrunError || syscall === undefined) return error;
  return new JailrunError(
    'REFUSED',
    `The kernel refuses what a pod needs: ${syscall} (${code}). Make memory free, and look at the limits of this process and its cgroup; see also: jailrun doctor`,
    { cause: error },
  );
}

/** An entry of `pods` for a role that counts from now on. */
const newEntry = (number: bigint, role: bigint, flags: number): Uint8Array =>
  Pod.encode({ number, role, flags, nextRole: role, nextFlags: flags, since: 0n });

const placeOf = (parent: bigint, name: string): Uint8Array =>
  CgroupName.encode({ parent, name: Buffer.from(name) });

/** Nanoseconds since boot, rounded up to what /proc/uptime tells (proc(5)): hundredths of a second. */
function timeSinceBoot(): bigint {
  const seconds = Number(readFileSync('/proc/uptime', 'utf8').split(' ')[0]);
  return BigInt(Math.round(seconds * 100) + 1) * 10_000_000n;
}

function decodeAll<T>(record: { size: number; decode(bytes: Uint8Array): T }, bytes: Uint8Array): T[] {
  const count = bytes.length / record.size;
  return Array.from({ length: count }, (_, i) => record.decode(bytes.subarray(i * record.size)));
}

const keyOf = (id: bigint): Uint8Array => new Uint8Array(new BigUint64Array([id]).buffer);
const idOf = (key: Uint8Array): bigint => new DataView(key.buffer, key.byteOffset).getBigUint64(0, true);
const wordOf = (number: number): Uint8Array => new Uint8Array(new Uint32Array([number]).buffer);
const fdValue = wordOf;
