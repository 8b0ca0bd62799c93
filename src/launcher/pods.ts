// The life of a pod in user space: its state file, its cgroup and its map entries, made in an order in
// which a launcher that is killed at any point leaves nothing that the next one cannot clean up.
//
// A pod of what ran already (enroll.ts) has no cgroup of its own and no supervisor. Its file has a line
// `{"enrolled":true}` once all that was there is in it, and `{"enrolled":false}` once nothing more is to be.
//
// /run/jailrun/pods/NAME.json has lines of JSON. The first is written before anything else of the
// pod exists and names its cgroup; the second gives the pod's id before any map entry exists. A reload adds
// one for the role that it gives the pod, before that holds. Whoever
// makes the pod holds a flock on the file, and then its supervisor does, until the command has ended and
// the report is made; with --exec until the command starts. A pod is dead when its file is not locked
// and its cgroup has no task.
//
// The front does the same, for a start that is remembered: native/newpod.c makes pods, native/dead.c removes dead ones.
import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { EnrolledPod } from '../abi.js';
import type { Mount } from '../profiles/mounts.js';
import type { CompiledMember } from '../profiles/stack.js';
import { addon } from './addon.js';
import { isPopulated, makeCgroup, ownCgroup, removeCgroup } from './cgroup.js';
import { JailrunError } from './error.js';
import { hostPlaces, type Kernel, withLock } from './kernel.js';
import type { PolicySources } from './role.js';
import type { SummaryPlace } from './summary.js';
import type { PolicyLine } from './verdict.js';

const stateDirectory = '/run/jailrun/pods';

/** Where a pod's state file is. */
export const statePathOf = (name: string): string => join(stateDirectory, `${name}.json`);

/** What reports say of the roles that held a task when something was denied. */
export interface HeldRole {
  /** The compiled role's digest, decimal. */
  digest: string;
  /** The roles of the stack. */
  roles: CompiledMember[];
  /** Rule number n of the stack is rules[n - 1]. */
  rules: PolicyLine[];
  /** What else they grant, a line each, as a policy has it. */
  other: string[];
}

/** How the role is found again, for a reload. */
export interface RoleRequest extends PolicySources {
  role: string[];
  /** NAME=VALUE */
  var: string[];
  audit: boolean;
  /** False where the command was started so that set-id programs do not change who runs them. */
  gains: boolean;
}

/** What a pod enrolls that is not started in it. */
export type Enrolls =
  | { process: number }
  | { cgroup: string }
  | { executable: string }
  /** Files that claim a role by an extended attribute, by its name or its number. */
  | { claims: string; id: number }
  /** By its cgroup; see PodHeader.container. */
  | { container: string };

/** A container, and what its role's paths are meant on. */
export interface ContainerPlace {
  /** As its runtime calls it. */
  id: string;
  /** The directory of its cgroup, and that one's id in decimal. */
  cgroup: string;
  cgroupId: string;
  /** Its root directory as stat(2) has it, in decimal, by which a process of its own is known. */
  root: { dev: string; ino: string };
  /** Its mount table as it began. */
  mounts: Mount[];
}

/** What the first line of a state file says. */
export interface PodHeader extends HeldRole {
  version: 1;
  name: string;
  /** Its own; empty for a pod that has none. */
  cgroup: string;
  enrolls?: Enrolls;
  /** What its roles' paths are meant on, where that is not the host. */
  container?: ContainerPlace;
  /** A policy enrolls it, not somebody's command. */
  byPolicy?: true;
  /** The number that one of Jailer's clients gave the pod, in decimal. */
  jailerPod?: string;
  /** The role's name; of a stack those of its roles, with plus signs in between. */
  role: string;
  request: RoleRequest;
  command: string;
  json: boolean;
  /** Where the report goes as Markdown, too. */
  summary?: SummaryPlace;
}

/** A pod as its state file tells. The id is missing when its maker died before it had one. */
export interface PodState extends PodHeader {
  statePath: string;
  id?: bigint;
  /** The roles that reloads gave it, in their order. */
  later: HeldRole[];
  /** Whether its enrolling is complete and goes on; undefined while it is begun. */
  enrolled?: boolean;
}

/** What is known of the role of this digest that holds, or held, the pod. */
export function heldRoleOf(pod: PodState, digest: bigint): HeldRole {
  const { digest: own, roles, rules, other } = pod;
  const first = { digest: own, roles, rules, other };
  return pod.later.findLast((held) => held.digest === String(digest)) ?? first;
}

/** A pod that was just made, with the descriptors that its supervisor needs. */
export interface NewPod {
  id: bigint;
  cgroup: string;
  statePath: string;
  /** The state file, locked. */
  stateFd: number;
}

/**
 * Names the pod: the command's name, or what --name says, and a random end that makes it unique; a name
 * that is taken all the same fails as the state file is made.
 * Kept short and plain, since it is a file name and a cgroup's, and without a dot in front, which drafts have.
 */
export function podName(wanted: string): string {
  const plain = basename(wanted)
    .replace(/^\.|[^A-Za-z0-9._-]/g, '_')
    .slice(0, 32);
  const end = Math.floor(Math.random() * 2 ** 32)
    .toString(16)
    .padStart(8, '0');
  return `${plain || 'pod'}-${end}`;
}

/** What a pod's maker says of it. */
export type NewHeader = Omit<PodHeader, 'version' | 'cgroup'>;

/** The first line of its state file; the cgroup comes first, by which the front knows a pod (native/dead.c). */
export const headerIn = (cgroup: string, header: NewHeader): PodHeader => ({ version: 1, cgroup, ...header });

/** Makes the state file and the cgroup. The caller adds the map entries and hands the descriptors on. */
export function makePod(header: NewHeader): NewPod {
  const cgroup = join(ownCgroup(), `jailrun-${header.name}`);
  return makeStateFile(headerIn(cgroup, header), () => makeCgroup(cgroup).id);
}

/** The same of a pod without a cgroup of its own. */
export function makeEnrolledPod(header: NewHeader & { enrolls: Enrolls }): NewPod {
  const random = new BigUint64Array(1);
  // Not node:crypto: to load that takes a tenth of node's whole start, and most pods have no use for it.
  globalThis.crypto.getRandomValues(random);
  const bit = BigInt(EnrolledPod.BIT);
  const id = (1n << bit) | BigInt.asUintN(EnrolledPod.BIT, random[0] as bigint);
  return makeStateFile(headerIn('', header), () => id);
}

function makeStateFile(first: PodHeader, makeId: () => bigint): NewPod {
  const { name, cgroup } = first;
  const statePath = statePathOf(name);
  const draft = join(stateDirectory, `.${name}`);
  const stateFd = openDraft(draft, statePath);
  try {
    writeWhole(stateFd, `${JSON.stringify(first)}\n`);
    renameSync(draft, statePath);
    const id = makeId();
    writeWhole(stateFd, `${JSON.stringify({ id: String(id) })}\n`);
    return { id, cgroup, statePath, stateFd };
  } catch (error) {
    if (cgroup) removeCgroup(cgroup);
    rmSync(draft, { force: true });
    rmSync(statePath, { force: true });
    closeSync(stateFd);
    throw error instanceof JailrunError ? error : notWritten(statePath, error);
  }
}

/** Makes the draft and locks it, in one step for whoever looks for drafts whose maker was killed. */
function openDraft(draft: string, statePath: string): number {
  return withLock(hostPlaces, () => {
    let fd: number | undefined;
    try {
      mkdirSync(stateDirectory, { recursive: true, mode: 0o700 });
      fd = openSync(draft, 'ax', 0o600);
      addon.flock(fd, { exclusive: true, wait: true });
      return fd;
    } catch (error) {
      // Where it could not be made, one that is there is another pod's.
      if (fd !== undefined) rmSync(draft, { force: true });
      throw notWritten(statePath, error);
    }
  });
}

function notWritten(statePath: string, cause: unknown): JailrunError {
  return new JailrunError(
    'STATE',
    `The pod's state file ${statePath} cannot be written (${(cause as NodeJS.ErrnoException).code}). Make room in /run, or make /run/jailrun writable for root.`,
    { cause },
  );
}

/** Removes what makePod and the caller made, after a failure on the way to the command. */
export function unmakePod(kernel: Kernel, pod: NewPod): void {
  if (pod.cgroup && !removeCgroup(pod.cgroup)) return;
  kernel.removePod(pod.id);
  rmSync(pod.statePath, { force: true });
  closeSync(pod.stateFd);
}

/** All pods that have a state file. A file that is gone meanwhile or not whole is passed over. */
export function listPods(): PodState[] {
  return stateFiles()
    .filter(isStateFile)
    .map((name) => readState(join(stateDirectory, name)))
    .filter((state) => state !== undefined);
}

/** And no draft of one. */
const isStateFile = (name: string): boolean => name.endsWith('.json') && !name.startsWith('.');

function stateFiles(): string[] {
  try {
    return readdirSync(stateDirectory);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

/** Reads a state file. Undefined where it is gone or its first line was never finished. */
export function readState(statePath: string): PodState | undefined {
  try {
    const [first, second, ...more] = readFileSync(statePath, 'utf8').split('\n');
    const header = JSON.parse(first ?? '') as PodHeader;
    const [id] = readLine<{ id: string }>(second);
    const lines = more.flatMap((line) => readLine<HeldRole | EnrollingLine>(line));
    const later = lines.filter((line): line is HeldRole => 'digest' in line);
    const { enrolled } = lines.findLast((line): line is EnrollingLine => 'enrolled' in line) ?? {};
    const known = { ...(id && { id: BigInt(id.id) }), ...(enrolled !== undefined && { enrolled }) };
    return { ...header, statePath, ...known, later };
  } catch {
    return undefined;
  }
}

type EnrollingLine = Required<Pick<PodState, 'enrolled'>>;

/** A line that was never finished tells of something that never was: whoever wrote it was killed before that. */
function readLine<T>(line = ''): T[] {
  try {
    return [JSON.parse(line) as T];
  } catch {
    return [];
  }
}

/** Notes the role that a reload is about to give the pod, where that is not noted yet. */
export function addHeldRole(pod: PodState, held: HeldRole): void {
  if (isDeepStrictEqual(held, heldRoleOf(pod, BigInt(held.digest)))) return;
  addLine(pod.statePath, held);
}

/** Notes that all that was there is enrolled, or that nothing more is to be. */
export const noteEnrolled = (statePath: string, enrolled: boolean): void => addLine(statePath, { enrolled });

function addLine(statePath: string, line: HeldRole | EnrollingLine): void {
  const fd = openSync(statePath, constants.O_WRONLY | constants.O_APPEND);
  const { size } = fstatSync(fd);
  try {
    writeWhole(fd, `\n${JSON.stringify(line)}\n`);
  } catch (cause) {
    ftruncateSync(fd, size);
    throw notWritten(statePath, cause);
  } finally {
    closeSync(fd);
  }
}

function writeWhole(fd: number, text: string): void {
  const bytes = Buffer.from(text);
  for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done);
}

/**
 * How many pods a run looks at, so that a start does not take longer the more pods there are. Which ones is chance:
 * of more pods than these one that is dead may wait for some runs, or for a subcommand, which looks at all.
 */
const podsOfRun = 256;

/** Removes the pods whose last task is gone, such as those of a killed supervisor. */
export function removeDeadPods(kernel: Kernel, names = stateFiles()): void {
  const live = new LivePods(kernel);
  for (const path of names.filter(isStateFile).map((name) => join(stateDirectory, name))) {
    // In this order: whoever lets go of the file has a process in the cgroup, if the command started.
    const pod = isUnlocked(path) ? readState(path) : undefined;
    if (!pod) continue;
    const { enrolls } = pod;
    if (enrolls ? !endsEnrolled(kernel, { ...pod, enrolls }, live) : !removeEmptyCgroup(pod.cgroup)) continue;
    if (pod.id !== undefined) kernel.removePod(pod.id);
    rmSync(pod.statePath, { force: true });
  }
  removeDeadDrafts(names.filter((name) => !isStateFile(name)));
}

/** Returns false where a task lives in it. */
const removeEmptyCgroup = (cgroup: string): boolean => !isPopulated(cgroup) && removeCgroup(cgroup);

/** The pods that have tasks, asked of the kernel once and only where that must be known. */
class LivePods {
  #pods: Set<bigint> | undefined;

  constructor(private readonly kernel: Kernel) {}

  has(pod: bigint): boolean {
    this.#pods ??= new Set(this.kernel.listTasks().map((task) => task.pod));
    return this.#pods.has(pod);
  }
}

/**
 * Whether a pod that enrolls what runs already is at its end: nothing more is to be enrolled in it, and it has no
 * task. What a killed jailrun had begun ends here: processes become jailed whole, and no more are.
 */
function endsEnrolled(
  kernel: Kernel,
  { id, enrolls, enrolled, container }: PodState & { enrolls: Enrolls },
  live: LivePods,
): boolean {
  if (id === undefined) return true;
  if (enrolled && goesOn(kernel, id, enrolls, container)) return false;
  if (!('process' in enrolls)) kernel.stopEnrolling(id);
  if (enrolled === undefined) kernel.finishEnrolling();
  return !live.has(id);
}

/** Whether more may be enrolled, or the process that was enrolled lives. */
function goesOn(
  kernel: Kernel,
  id: bigint,
  enrolls: Enrolls,
  container: ContainerPlace | undefined,
): boolean {
  if ('process' in enrolls) return kernel.podOfProcess(enrolls.process) === id;
  if ('container' in enrolls)
    return container !== undefined && isThere(container) && isPopulated(container.cgroup);
  return !('cgroup' in enrolls) || existsSync(dirname(enrolls.cgroup));
}

/** Another container's cgroup may have the same place. */
function isThere({ cgroup, cgroupId }: ContainerPlace): boolean {
  return String(statSync(cgroup, { bigint: true, throwIfNoEntry: false })?.ino) === cgroupId;
}

/** The same on the way to a command: a part of them where there are very many. */
export function removeSomeDeadPods(kernel: Kernel): void {
  const names = stateFiles();
  const from = names.length > podsOfRun ? Math.floor(Math.random() * names.length) : 0;
  removeDeadPods(kernel, [...names.slice(from), ...names.slice(0, from)].slice(0, podsOfRun));
}

/** In doubt somebody needs it. */
function isUnlocked(path: string): boolean {
  let fd: number | undefined;
  try {
    fd = openSync(path, 'r');
    return addon.flock(fd, { exclusive: true, wait: false });
  } catch {
    return false;
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

function removeDeadDrafts(names: readonly string[]): void {
  if (names.length === 0) return;
  withLock(hostPlaces, () => {
    for (const path of names.map((name) => join(stateDirectory, name)))
      if (isUnlocked(path)) rmSync(path, { force: true });
  });
}
