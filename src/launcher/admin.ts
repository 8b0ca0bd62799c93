// attach, detach and status: the programs in the kernel, apart from any run.
import { closeSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { Limit } from '../abi.js';
import { type AddonError, addon, jailrunVersion, MapType } from './addon.js';
import { attach as attachPrograms, buildDigest, type Detached, detach as detachPrograms } from './attach.js';
import { applyEnrollments, type EnrollReport, planEnrollments } from './enroll.js';
import type { Way } from './host.js';
import { hostPlaces, type Kernel, openPins, pinsOf } from './kernel.js';
import { type Enrolls, listPods, removeDeadPods } from './pods.js';
import { sourcesHere } from './role.js';

/** The programs that are attached. */
export interface AttachedReport {
  layout: number;
  programs: number;
  through: Way;
  /** The first half of the SHA-256 of the object that they came from, in hexadecimal. */
  build: string;
  /** Whether that object is this jailrun's. */
  current: boolean;
}

/** What attach() found or did. */
export interface AttachReport extends AttachedReport {
  /** True where they were attached before. */
  already: boolean;
  /** True where another build was, whose pods these programs hold now. */
  renewed: boolean;
  /** What the policies enroll from now on. */
  enrolled: EnrollReport[];
}

/** A pod in a StatusReport. */
export interface PodStatus {
  name: string;
  role: string;
  /** What jailrun was given to run. */
  command: string;
  /** Its own; empty for a pod of enroll. */
  cgroup: string;
  /** What a pod of enroll enrolls. */
  enrolls?: Enrolls;
  id: string;
  denials: number;
  /** Denials that should have been kept for the report and were not. */
  lost: number;
}

/** A map of the kernel's that can be full. */
export interface MapStatus {
  name: string;
  entries: number;
  capacity: number;
}

/** What is attached, as `status --json` prints it. Fields are only ever added. */
export interface StatusReport {
  version: 1;
  type: 'status';
  /** This jailrun; its build is null where the object that it would attach is missing. */
  jailrun: { version: string; layout: number; build: string | null };
  /** Null where nothing is. */
  attached: AttachedReport | null;
  pods: PodStatus[];
  maps: MapStatus[];
  /** Denials of the pods that should have been kept for their reports and were not. */
  lost: number;
  /** Tasks that came into an enrolled cgroup when there was no memory for their jails. */
  missed: number;
  /** Programs that were not started for the roles that their extended attributes claim. */
  refused: number;
}

/**
 * Attaches the programs and pins them, or finds them attached, and enrolls what the policies enroll. Blocks for as
 * long as the kernel checks them, about a second. Throws a JailrunError that says what this host lacks, or what of a
 * policy cannot be enrolled.
 */
export async function attach(): Promise<AttachReport> {
  const before = openPins();
  const found = before && describeAttached(before);
  before?.close();
  using kernel = attachPrograms();
  removeDeadPods(kernel);
  const enrolled = applyEnrollments(kernel, await planEnrollments(kernel, sourcesHere(undefined)));
  const already = found !== undefined;
  return { ...describeAttached(kernel), already, renewed: already && !found.current, enrolled };
}

/**
 * Removes the programs. Undefined where nothing was attached. Throws a JailrunError PODS_LIVE while pods live,
 * unless `force` says that what runs in them may go on, held by nothing.
 */
export function detach({ force = false } = {}): Detached | undefined {
  const kernel = openPinsToRemove();
  if (kernel) removeDeadPods(kernel);
  kernel?.close();
  return detachPrograms({ force });
}

/** Pins that are broken or another version's can be removed all the same. */
function openPinsToRemove(): Kernel | undefined {
  try {
    return openPins();
  } catch {
    return undefined;
  }
}

/** What is attached, which pods live, and how full the kernel's maps are. */
export function status(): StatusReport {
  using kernel = openPins();
  if (kernel) removeDeadPods(kernel);
  const counters = new Map(kernel?.listPods().map((pod) => [pod.id, pod]));
  const pods = listPods().map(({ name, role, command, cgroup, enrolls, id }): PodStatus => {
    const { denials = 0n, lost = 0n } = (id !== undefined && counters.get(id)) || {};
    const counts = { denials: Number(denials), lost: Number(lost) };
    return { name, role, command, cgroup, ...(enrolls && { enrolls }), id: String(id ?? ''), ...counts };
  });
  return {
    version: 1,
    type: 'status',
    jailrun: { version: jailrunVersion(), layout: Limit.LAYOUT, build: ownBuild() ?? null },
    attached: kernel ? describeAttached(kernel) : null,
    pods,
    maps: kernel ? readMaps() : [],
    lost: pods.reduce((sum, { lost }) => sum + lost, 0),
    missed: kernel?.missed() ?? 0,
    refused: kernel?.refused() ?? 0,
  };
}

function describeAttached({ meta }: Kernel): AttachedReport {
  const build = Buffer.from(meta.build).toString('hex');
  return {
    layout: meta.layout,
    programs: meta.hooks,
    through: meta.fmodRet ? 'fmod_ret' : 'lsm',
    build,
    current: build === ownBuild(),
  };
}

function ownBuild(): string | undefined {
  try {
    return Buffer.from(buildDigest()).toString('hex');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Arrays are always full, task storage has no end of its own, and a ring counts bytes. */
const canBeFull: readonly number[] = [MapType.HASH, MapType.HASH_OF_MAPS];

function readMaps(): MapStatus[] {
  const directory = join(pinsOf(hostPlaces), 'maps');
  return readdirSync(directory)
    .sort()
    .flatMap((name) => readMap(name, join(directory, name)));
}

/** None for a map that somebody unpinned meanwhile. */
function readMap(name: string, path: string): MapStatus[] {
  let fd: number;
  try {
    fd = addon.objGet(path);
  } catch (error) {
    if ((error as AddonError).code === 'ENOENT') return [];
    throw error;
  }
  try {
    const { type, maxEntries } = addon.mapInfo(fd);
    return canBeFull.includes(type) ? [{ name, entries: countKeys(fd), capacity: maxEntries }] : [];
  } finally {
    closeSync(fd);
  }
}

/** Where a key is deleted meanwhile the kernel starts again at the first one, so some come twice. */
function countKeys(fd: number): number {
  const keys = new Set<string>();
  for (let key = addon.mapNextKey(fd, undefined); key; key = addon.mapNextKey(fd, key))
    keys.add(Buffer.from(key).toString('latin1'));
  return keys.size;
}

const wayOf = (way: Way): string => (way === 'lsm' ? 'the BPF LSM' : 'fmod_ret/security_*');

/** For people: what attach() found or did. */
export function attachLines({ already, renewed, programs, through, enrolled }: AttachReport): string[] {
  const verb = renewed ? 'Attached anew, with all pods' : already ? 'Already attached' : 'Attached';
  return [
    `${verb}: ${programs} programs, through ${wayOf(through)}.`,
    ...enrolled.map(({ pod, role }) => `Enrolls: ${pod}, role ${role}.`),
  ];
}

/** For people: what detach() removed. */
export function detachLines(removed: Detached | undefined): string[] {
  if (!removed) return ['Nothing is attached.'];
  const freed = removed.pods > 0 ? ` What runs in ${removed.pods} pods is now held by nothing.` : '';
  return [`Detached: ${removed.links} programs.${freed}`];
}

const placeOf = ({ cgroup, enrolls }: PodStatus): string =>
  cgroup ||
  Object.entries(enrolls ?? {})
    .flat()
    .join(' ');

/** For people: the status, the longest list last. */
export function statusLines(report: StatusReport): string[] {
  const { jailrun, attached, pods, maps, lost, missed, refused } = report;
  const width = Math.max(...maps.map(({ name }) => name.length));
  return [
    `jailrun ${jailrun.version}, layout ${jailrun.layout}, build ${jailrun.build ?? 'missing'}`,
    ...attachedLines(attached),
    ...(maps.length > 0 ? ['Maps:'] : []),
    ...maps.map(({ name, entries, capacity }) => `  ${name.padEnd(width)}  ${entries} of ${capacity}`),
    ...(missed > 0 ? [`${missed} tasks could not be jailed when they came into an enrolled cgroup.`] : []),
    ...(refused > 0 ? [`${refused} programs were not started for the roles that they claim.`] : []),
    lost === 0 ? 'No denial was lost.' : `${lost} denials were not kept for their reports.`,
    pods.length === 0 ? 'No pod lives.' : `${pods.length} pods live:`,
    ...pods.map(
      (pod) =>
        `  ${pod.name}  role ${pod.role}  ${pod.denials} denials${pod.lost > 0 ? `, ${pod.lost} not kept` : ''}  ${placeOf(pod)}`,
    ),
  ];
}

function attachedLines(attached: AttachedReport | null): string[] {
  if (!attached) return ['Nothing is attached. The next run attaches, and so does: jailrun attach'];
  const { programs, through, layout, build, current } = attached;
  const line = `Attached: ${programs} programs, through ${wayOf(through)}, layout ${layout}, build ${build}`;
  if (current) return [`${line}, which is this jailrun's.`];
  return [
    `${line}, which is another jailrun's.`,
    'They hold what they hold. To change to this one, with all pods: jailrun attach',
  ];
}
