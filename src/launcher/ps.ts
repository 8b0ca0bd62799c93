// ps and kill: what runs in pods, and its end. A task's pod is asked of the kernel, since a process that somebody
// moved to another cgroup is held all the same.
import { closeSync, readFileSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { addon } from './addon.js';
import { isPopulated } from './cgroup.js';
import { JailrunError } from './error.js';
import { type Kernel, openPins } from './kernel.js';
import { listPods, type PodState, removeDeadPods } from './pods.js';
import { printable } from './verdict.js';

/** A process in a pod. */
export interface ProcessReport {
  pid: number;
  ppid: number;
  uid: number;
  /** Its arguments, with blanks in between; of a process that has none its name in brackets. */
  command: string;
}

/** A pod as `ps --json` prints it, one line each. Fields are only ever added. */
export interface PodReport {
  version: 1;
  type: 'pod';
  name: string;
  id: string;
  role: string;
  /** What jailrun was given to run. */
  command: string;
  cgroup: string;
  denials: number;
  /** Denials that should have been kept for the report and were not. */
  lost: number;
  processes: ProcessReport[];
}

/** The pods that live, with their processes. */
export function describePods(): PodReport[] {
  using kernel = openPins();
  if (!kernel) return [];
  removeDeadPods(kernel);
  const counters = new Map(kernel.listPods().map((entry) => [entry.id, entry]));
  const processes = findProcesses(kernel);
  return listPods().flatMap(({ id, name, role, command, cgroup }): PodReport[] => {
    const entry = id === undefined ? undefined : counters.get(id);
    if (!entry) return [];
    const own = (processes.get(entry.id) ?? []).flatMap((pid) => describeProcess(pid) ?? []);
    const [denials, lost] = [Number(entry.denials), Number(entry.lost)];
    const report = { name, id: String(entry.id), role, command, cgroup, denials, lost, processes: own };
    return [{ version: 1, type: 'pod', ...report }];
  });
}

/** The processes of each pod, in the order of their numbers. */
function findProcesses(kernel: Kernel): Map<bigint, number[]> {
  const found = new Map<bigint, Set<number>>();
  for (const { pod, pid } of kernel.listTasks()) {
    const pids = found.get(pod);
    if (pids) pids.add(pid);
    else found.set(pod, new Set([pid]));
  }
  return new Map([...found].map(([pod, pids]) => [pod, [...pids].sort((a, b) => a - b)]));
}

/** Undefined for a process that has ended, also where its parent has not noticed yet. */
function describeProcess(pid: number): ProcessReport | undefined {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    const field = (name: string): string => new RegExp(`^${name}:\\s*(\\S+)`, 'm').exec(status)?.[1] ?? '';
    if (field('State') === 'Z' || field('State') === 'X') return undefined;
    const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').slice(0, -1);
    const command = words.length > 0 ? words.join(' ') : `[${field('Name')}]`;
    return { pid, ppid: Number(field('PPid')), uid: Number(field('Uid')), command };
  } catch {
    return undefined;
  }
}

/** The pods with their processes, each below the one that started it. */
export function psLines(reports: PodReport[]): string[] {
  if (reports.length === 0) return ['No pod lives.'];
  return reports.flatMap(({ name, role, denials, lost, processes }) => {
    const counted = lost > 0 ? `${denials} denials, ${lost} not kept` : `${denials} denials`;
    return [`${name}  role ${role}  ${counted}`, ...treeLines(processes)];
  });
}

function treeLines(processes: ProcessReport[]): string[] {
  const known = new Set(processes.map(({ pid }) => pid));
  const below = (parent: ProcessReport | undefined, depth: number): string[] =>
    processes
      .filter(({ ppid }) => (parent ? ppid === parent.pid : !known.has(ppid)))
      .flatMap((one) => [
        `${String(one.pid).padStart(8)}  ${'  '.repeat(depth)}${printable(one.command)}`,
        ...below(one, depth + 1),
      ]);
  return below(undefined, 0);
}

/** How often a pod is killed whose processes fork; each time all of its cgroup dies at once. */
const attempts = 100;
/** What a cgroup that was killed may take to be empty. */
const endMilliseconds = 1000;

/**
 * Kills every process of the pod with this name or number, or of the only one whose name begins so, and returns
 * the pod's name. Throws a JailrunError NO_POD.
 */
export async function kill(wanted: string): Promise<string> {
  using kernel = openPins();
  if (kernel) removeDeadPods(kernel);
  const pod = kernel && findPod(wanted);
  if (!pod) throw new JailrunError('NO_POD', `No pod ${printable(wanted)} lives. See: jailrun ps`);
  let killed = 0;
  for (let i = 0; i < attempts; i++) {
    if (pod.cgroup) await killCgroup(pod.cgroup);
    const strays = (findProcesses(kernel).get(pod.id) ?? []).filter((pid) => describeProcess(pid));
    for (const pid of strays) killProcess(kernel, pid, pod.id);
    if (strays.length === 0) return pod.name;
    killed += strays.length;
    await sleep(20);
  }
  throw new JailrunError(
    'STILL_LIVES',
    `Pod ${pod.name} still has processes after ${killed} were killed one by one. Something outside moves them from cgroup to cgroup, or they wait for a device. See: jailrun ps`,
  );
}

/** The pod with this name or id, or the only one whose name begins so. Throws a JailrunError USAGE. */
export function findPod(wanted: string): (PodState & { id: bigint }) | undefined {
  const pods = listPods().filter((pod): pod is PodState & { id: bigint } => pod.id !== undefined);
  const exact = pods.find(({ name, id }) => name === wanted || String(id) === wanted);
  if (exact) return exact;
  const [first, second] = pods.filter(({ name }) => name.startsWith(wanted));
  if (first && second)
    throw new JailrunError(
      'USAGE',
      `${printable(wanted)} begins the names of several pods: ${first.name}, ${second.name}. Say more of it.`,
    );
  return first;
}

/** A cgroup that is gone has no process left. */
async function killCgroup(cgroup: string): Promise<void> {
  try {
    writeFileSync(join(cgroup, 'cgroup.kill'), '1');
  } catch (error) {
    if (!['ENOENT', 'ENODEV'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
  }
  // Who is killed lives on for a moment, and is no stray yet.
  for (const end = Date.now() + endMilliseconds; isPopulated(cgroup) && Date.now() < end; ) await sleep(5);
}

/** A number that another process has got meanwhile is not this pod's. */
function killProcess(kernel: Kernel, pid: number, pod: bigint): void {
  const pidfd = addon.pidfdOpen(pid);
  if (pidfd === undefined) return;
  try {
    if (kernel.podOf(pidfd) === pod) addon.pidfdSignal(pidfd, constants.signals.SIGKILL);
  } finally {
    closeSync(pidfd);
  }
}
