// enroll: what runs already is jailed, or what will run is, by its cgroup or by its file. A pod of this kind has
// no supervisor: it lives as long as something is in it or may be enrolled in it.
import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  statfsSync,
  statSync,
} from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { type Executable, Limit, type Swept, SweptWhat, TaskFlag } from '../abi.js';
import type { CompiledRole } from '../profiles/compile.js';
import type { ClaimPolicy, ResolvedRole, Written } from '../profiles/policy.js';
import { userNumber } from './accounts.js';
import { addon } from './addon.js';
import { viewOfPod } from './container.js';
import { JailrunError } from './error.js';
import { type Kernel, type NewPodEntry, openPins, type Sweepable, type WatchedCgroup } from './kernel.js';
import {
  type ContainerPlace,
  type Enrolls,
  listPods,
  makeEnrolledPod,
  type NewPod,
  noteEnrolled,
  type PodHeader,
  type PodState,
  podName,
  removeDeadPods,
  unmakePod,
} from './pods.js';
import { findPod } from './ps.js';
import {
  compileStack,
  enrollmentsInUse,
  findStack,
  heldRole,
  isAudited,
  type PolicySources,
  type StackRequest,
  sourcesHere,
  type View,
} from './role.js';
import { printable } from './verdict.js';

export interface EnrollRequest extends StackRequest {
  /** A process, by its number as this process sees it. */
  pid?: string;
  /** With `pid`: its children, and theirs, as well. */
  descendants?: true;
  /** A directory of cgroup2. */
  cgroup?: string;
  /** An executable file. */
  exe?: string;
  audit?: true;
  name?: string;
}

/** What was enrolled, as `--json` prints it. Fields are only ever added. */
export interface EnrollReport {
  version: 1;
  type: 'enrolled';
  pod: string;
  podId: string;
  role: string;
  /** How many threads, and of which processes. */
  threads: number;
  pids: number[];
}

/** Something to enroll, checked and held so that its name cannot come to mean another thing. */
export interface Target {
  enrolls: Enrolls;
  /** What the role's paths are meant on; this host's file systems unless said. */
  view?: View;
  container?: ContainerPlace;
  /** What the pod is named after, and what `ps` calls its command. */
  label: string;
  /** Throws a JailrunError where it must not be enrolled. */
  check(kernel: Kernel, pod: bigint): void;
  enroll(kernel: Kernel, pod: bigint): Swept[];
  close(): void;
}

/**
 * Enrolls in a pod of its own. Throws a JailrunError USAGE, UNKNOWN_ROLE, POLICY, NO_PROCESS, NO_CGROUP, NO_FILE,
 * ENROLLED (it is in a pod already) or HELD_OPEN (it holds what a jail cannot take from it), and then nothing is
 * enrolled; or UNSETTLED, and then what is enrolled is in the pod.
 */
export async function enroll(request: EnrollRequest): Promise<EnrollReport> {
  const sources = sourcesHere(request.policy);
  const stack = await findStack(request, sources, 'jailrun enroll --role NAME --pid N');
  const target = findTarget(request);
  using kernel = await openOrAttach(target);
  return enrollTarget(kernel, { request, sources, stack, target });
}

async function openOrAttach(target: Target): Promise<Kernel> {
  try {
    const kernel = openPins() ?? (await import('./attach.js')).attach();
    removeDeadPods(kernel);
    return kernel;
  } catch (error) {
    target.close();
    throw error;
  }
}

/** What is to be enrolled, and how. `enrollTarget` closes the target. */
export interface Enrolling {
  request: StackRequest & Pick<EnrollRequest, 'audit' | 'name'>;
  sources: PolicySources;
  stack: readonly ResolvedRole[];
  target: Target;
  marks?: Pick<PodHeader, 'byPolicy' | 'jailerPod'>;
  /** Is told what was made, once all is. */
  remember?: (made: MadePod) => void;
}

/** A pod that was enrolled in. */
export interface MadePod extends NewPodEntry {
  role: CompiledRole;
  statePath: string;
}

export function enrollTarget(
  kernel: Kernel,
  { request, sources, stack, target, marks, remember }: Enrolling,
): EnrollReport {
  try {
    const audit = request.audit === true;
    const role = compileStack(stack, kernel, target.view);
    const name = podName(request.name ?? target.label);
    const pod = makeEnrolledPod({
      ...heldRole(stack, role),
      name,
      role: role.name,
      request: { ...sources, role: request.role ?? [], var: request.var ?? [], audit, gains: true },
      command: target.label,
      json: false,
      enrolls: target.enrolls,
      ...(target.container && { container: target.container }),
      ...marks,
    });
    const flags = audit || isAudited(stack) ? TaskFlag.AUDIT : 0;
    const entry = { id: pod.id, role, flags, keep: Limit.KEPT_DENIALS };
    const found = enrollInto(kernel, pod, entry, target);
    remember?.({ ...entry, statePath: pod.statePath });
    const pids = [...new Set(found.map(({ pid }) => pid))];
    return {
      version: 1,
      type: 'enrolled',
      pod: name,
      podId: String(pod.id),
      role: role.name,
      threads: found.length,
      pids,
    };
  } finally {
    target.close();
  }
}

/** Enrolls a process that somebody else has found, and whose pidfd stays theirs. Throws as enroll() does. */
export function enrollProcess(
  kernel: Kernel,
  process: { pid: number; pidfd: number },
  how: Omit<Enrolling, 'target'>,
): EnrollReport {
  const target = { ...processTarget(process.pid, process.pidfd, false), close: () => {} };
  return enrollTarget(kernel, { ...how, target });
}

/**
 * Adds roles to those that hold a process, in a pod of its own: it and what it starts from then on are held by all of
 * them. Its other processes stay as they are. Throws a JailrunError STACK where that could also give it something,
 * because what holds it is no longer what its policies say; and as enroll() does.
 */
export function stackProcess(
  kernel: Kernel,
  process: { pid: number; pidfd: number },
  pod: PodState & { id: bigint },
  {
    request,
    sources,
    stack,
    marks,
  }: Omit<Enrolling, 'target' | 'stack'> & {
    /** The roles that hold it, and the new ones. */
    stack: Record<'held' | 'added', readonly ResolvedRole[]>;
  },
): EnrollReport {
  const view = viewOfPod(pod, kernel);
  const { policy, environment, role, var: vars, audit } = pod.request;
  const entry = kernel.listPods().find(({ id }) => id === pod.id);
  if (compileStack(stack.held, kernel, view).digest !== entry?.role)
    throw new JailrunError(
      'STACK',
      `Pod ${pod.name} is held by roles as they were, and its policies, or the mounts, are others now. Reload first: jailrun reload`,
    );
  if (policy !== sources.policy || environment !== sources.environment)
    throw new JailrunError(
      'STACK',
      `Pod ${pod.name} has roles of other policies than those of this server, and a pod’s roles are of the same ones. Put both into /etc/jailrun.`,
    );
  const target = processTarget(process.pid, process.pidfd, false);
  return enrollTarget(kernel, {
    request: {
      ...request,
      role: [...role, ...(request.role ?? [])],
      var: [...new Set([...vars, ...(request.var ?? [])])],
      ...(audit && { audit: true as const }),
    },
    sources,
    stack: [...stack.held, ...stack.added],
    ...(marks && { marks }),
    target: {
      ...target,
      view,
      ...(pod.container && { container: pod.container }),
      check: () => {},
      enroll(_, into) {
        const found = kernel.stack(into, pod.id, process.pidfd);
        if (kernel.podOf(process.pidfd) !== into) throw noProcess(process.pid);
        return found;
      },
      close: () => {},
    },
  });
}

/** What has to be done so that what policies enroll is enrolled and nothing else is. */
export interface EnrollmentPlan {
  add: (Omit<Enrolling, 'target'> & { enrolls: Enrolls; find: () => Target })[];
  remove: PodState[];
  /** The users whose files may claim roles; none where no policy says so. */
  owners: number[];
}

/** What a policy enrolls: in which roles, and how it is found. */
interface Wanted {
  enrolls: Enrolls;
  roles: string[];
  find: () => Target;
}

/**
 * Compares what the policies enroll with what is enrolled by them. Throws as enroll() does, or a JailrunError
 * UNSUPPORTED, and then nothing has changed.
 */
export async function planEnrollments(kernel: Kernel, sources: PolicySources): Promise<EnrollmentPlan> {
  const { enrollments, claims } = await enrollmentsInUse(sources);
  if (claims && !kernel.readsClaims()) throw claimsUnread(claims);
  const wanted = enrollments.map(
    ({ kind, path, roles }): Wanted => ({
      enrolls: kind === 'cgroup' ? { cgroup: path } : { executable: path },
      roles: roles.map(({ value }) => value),
      find: () => (kind === 'cgroup' ? findCgroup(path, true) : findExecutable(path, true)),
    }),
  );
  for (const { value: name } of claims?.roles ?? []) {
    const [role] = await findStack({ role: [name] }, sources, '');
    wanted.push(claimsOfRole(role as ResolvedRole));
  }
  const present = listPods().filter(({ byPolicy, enrolled }) => byPolicy && enrolled);
  const isSame = ({ enrolls, roles }: Wanted, pod: PodState): boolean =>
    isDeepStrictEqual(pod.enrolls, enrolls) && isDeepStrictEqual(pod.request.role, roles);
  const remove = present.filter((pod) => !wanted.some((one) => isSame(one, pod)));
  const owners = [...new Set((claims?.owners ?? []).map(numberOfOwner))];
  const plan: EnrollmentPlan = { add: [], remove, owners };
  for (const one of wanted) {
    if (present.some((pod) => isSame(one, pod))) continue;
    const request = { role: one.roles };
    const stack = await findStack(request, sources, '');
    compileStack(stack, kernel);
    one.find().close();
    const { enrolls, find } = one;
    plan.add.push({ request, sources, stack, enrolls, find, marks: { byPolicy: true } });
  }
  return plan;
}

function claimsUnread({ file, line, column }: ClaimPolicy): JailrunError {
  return new JailrunError(
    'UNSUPPORTED',
    `${file}:${line}:${column}: xattrs: on this host no program may read extended attributes, so files would run as if they claimed nothing. Use Linux 6.8 or newer with bpf in its list of LSMs, or name the files under executables.`,
  );
}

function numberOfOwner({ value, file, line, column }: Written<string>): number {
  const user = userNumber(value);
  if (user !== undefined) return user;
  throw new JailrunError(
    'POLICY',
    `${file}:${line}:${column}: xattrs.owners: this host has no user ${value}; write the number of one, in quotes, or correct the name`,
  );
}

/** Files that claim the role. The pod takes the claim from one that had it, so that there is no time without. */
function claimsOfRole({ name, id }: ResolvedRole): Wanted {
  const target: Target = {
    enrolls: { claims: name, id },
    label: name,
    check: () => {},
    enroll(kernel, pod) {
      kernel.enrollClaims(pod, { name, id });
      return [];
    },
    close: () => {},
  };
  return { enrolls: target.enrolls, roles: [name], find: () => target };
}

/**
 * Does what planEnrollments() found; what a role no longer enrolls stays in its jail. Claims come first and go last:
 * what claims a role runs in it, or not at all.
 */
export function applyEnrollments(kernel: Kernel, { add, remove, owners }: EnrollmentPlan): EnrollReport[] {
  if (owners.length === 0) kernel.countOwners(owners);
  const begin = ({ request, sources, stack, marks, find }: EnrollmentPlan['add'][number]): EnrollReport =>
    enrollTarget(kernel, { request, sources, stack, ...(marks && { marks }), target: find() });
  const isClaim = ({ enrolls }: { enrolls: Enrolls }): boolean => 'claims' in enrolls;
  const claims = add.filter(isClaim).map(begin);
  for (const pod of remove) endEnrolling(kernel, pod);
  const others = add.filter((one) => !isClaim(one)).map(begin);
  if (owners.length > 0) kernel.countOwners(owners);
  return [...claims, ...others];
}

function endEnrolling(kernel: Kernel, { id, statePath }: PodState): void {
  noteEnrolled(statePath, false);
  if (id !== undefined) kernel.stopEnrolling(id);
}

function enrollInto(
  kernel: Kernel,
  pod: NewPod,
  entry: Parameters<Kernel['createEmptyPod']>[0],
  target: Target,
): Swept[] {
  try {
    kernel.createEmptyPod(entry);
    target.check(kernel, pod.id);
  } catch (error) {
    unmakePod(kernel, pod);
    throw error;
  }
  try {
    const found = target.enroll(kernel, pod.id);
    const failed = found.find(({ what }) => what === SweptWhat.FAILED);
    if (failed)
      throw new JailrunError(
        'ENROLL',
        `Process ${failed.pid} has no jail: the kernel had no memory for it. Kill it, or make room and enroll again.`,
      );
    noteEnrolled(pod.statePath, true);
    return found.filter(({ what, pod: into }) => what === SweptWhat.ENROLLED && into === pod.id);
  } finally {
    // Unlocked and without its last line, the next clean-up takes it for what a killed jailrun left.
    closeSync(pod.stateFd);
  }
}

function findTarget({ pid, cgroup, exe, descendants }: EnrollRequest): Target {
  const named = [pid, cgroup, exe].filter((one) => one !== undefined);
  if (named.length !== 1)
    throw new JailrunError(
      'USAGE',
      'What is to be enrolled must be named by one of --pid N, --cgroup PATH and --exe FILE. See: jailrun enroll --help',
    );
  if (descendants && pid === undefined)
    throw new JailrunError('USAGE', '--descendants says something of --pid only. Leave it out.');
  if (pid !== undefined) return findProcess(pid, descendants === true);
  return cgroup !== undefined ? findCgroup(cgroup) : findExecutable(exe as string);
}

/** The number of the first PID namespace, include/linux/proc_ns.h: those of tasks in it are the kernel's own. */
const firstPidNamespace = 'pid:[4026531836]';

function findProcess(text: string, children: boolean): Target {
  const pid = Number(text);
  if (!/^[1-9][0-9]{0,9}$/.test(text))
    throw new JailrunError('USAGE', `--pid ${printable(text)} is no process's number. Say: --pid 1234`);
  if (readlinkSync('/proc/self/ns/pid') !== firstPidNamespace)
    throw new JailrunError(
      'NO_PROCESS',
      'In a PID namespace processes have other numbers than the kernel’s. Run jailrun enroll outside of the container.',
    );
  if (pid === 1 || pid === process.pid)
    throw new JailrunError(
      'USAGE',
      `Process ${pid} is ${pid === 1 ? 'init' : 'this jailrun'}. Enroll another.`,
    );
  const pidfd = addon.pidfdOpen(pid);
  if (pidfd === undefined) throw noProcess(pid);
  return processTarget(pid, pidfd, children);
}

function processTarget(pid: number, pidfd: number, children: boolean): Target {
  const what: Sweepable = { process: pidfd, children };
  return {
    enrolls: { process: pid },
    label: nameOf(pid),
    check(kernel, pod) {
      const isFound = (): boolean => found.some((one) => one.pid === pid);
      let found = kernel.look(pod, what);
      // While a thread takes the number of the process, which it does to execute a program, none may have it.
      for (let i = 0; i < 100 && !isFound() && addon.pidfdSignal(pidfd, 0); i++)
        found = kernel.look(pod, what);
      if (!isFound()) throw noProcess(pid);
      const jailed = found.find(({ what }) => what === SweptWhat.JAILED);
      if (jailed) throw jailedAlready(`Process ${pid}`, jailed.pod);
      checkHeld(found, pod);
    },
    enroll(kernel, pod) {
      const found = kernel.enroll(pod, what);
      // A thread that executes a program meanwhile takes the number of the process, and its jail may be to come.
      for (let i = 0; i < 100 && kernel.podOf(pidfd) !== pod; i++) found.push(...kernel.enroll(pod, what));
      if (!addon.pidfdSignal(pidfd, 0) || kernel.podOf(pidfd) !== pod) throw noProcess(pid);
      checkHeld(found, pod);
      return found;
    },
    close: () => closeSync(pidfd),
  };
}

const noProcess = (pid: number): JailrunError =>
  new JailrunError('NO_PROCESS', `There is no process ${pid} any more, so nothing was enrolled.`);

function nameOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8').trimEnd();
  } catch {
    throw noProcess(pid);
  }
}

export function jailedAlready(what: string, id: bigint): JailrunError {
  const pod = listPods().find((one) => one.id === id);
  return new JailrunError(
    'ENROLLED',
    `${what} is in pod ${pod?.name ?? id} already, and what is jailed stays in its jail. To change its role: jailrun reload`,
  );
}

/** What a process has that is stronger than a jail around it. */
function checkHeld(found: readonly Swept[], pod: bigint): void {
  const own = found.filter((one) => one.pod === pod);
  const traced = own.find(({ what }) => what === SweptWhat.TRACED);
  if (traced)
    throw new JailrunError(
      'HELD_OPEN',
      `Process ${traced.tracer} traces process ${traced.pid}, which would stay outside and do what it is made to. End the tracing, or enroll both.`,
    );
  const pids = new Set(own.filter(({ what }) => what === SweptWhat.ENROLLED).map(({ pid }) => pid));
  for (const pid of pids) {
    const ring = foreignRing(pid);
    if (ring !== undefined)
      throw new JailrunError(
        'HELD_OPEN',
        `Process ${pid} has an io_uring ring (descriptor ${ring}) that another process works for, so what it asks for there is not decided. Make it close the ring.`,
      );
  }
}

/**
 * A ring with a thread that polls it (io_uring_setup(2), IORING_SETUP_SQPOLL) is worked by a thread of its maker.
 * Without one, whoever asks does the work, or a worker of theirs (fdinfo: io_uring_show_fdinfo()).
 */
function foreignRing(pid: number): string | undefined {
  return listed(`/proc/${pid}/fd`).find((fd) => {
    try {
      if (readlinkSync(`/proc/${pid}/fd/${fd}`) !== 'anon_inode:[io_uring]') return false;
      const thread = /^SqThread:\s*(-?\d+)/m.exec(readFileSync(`/proc/${pid}/fdinfo/${fd}`, 'utf8'))?.[1];
      return thread === undefined || (thread !== '-1' && !listed(`/proc/${pid}/task`).includes(thread));
    } catch {
      return false;
    }
  });
}

function listed(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

const cgroup2Magic = 0x63677270; // include/uapi/linux/magic.h

/** `mayCome`: one that is not there is enrolled once it is made; its parent must be there. */
function findCgroup(text: string, mayCome = false): Target {
  const path = resolve(text);
  let fd: number | undefined;
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
  } catch (cause) {
    if (mayCome && (cause as NodeJS.ErrnoException).code === 'ENOENT' && existsSync(dirname(path)))
      return cgroupTarget(path, undefined);
    throw new JailrunError(
      'NO_CGROUP',
      `The cgroup ${printable(path)} cannot be opened (${(cause as NodeJS.ErrnoException).code}). Name a directory below /sys/fs/cgroup.`,
      { cause },
    );
  }
  try {
    return cgroupTarget(path, fd);
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

function cgroupTarget(path: string, fd: number | undefined): Target {
  const name = basename(path);
  const isCgroup = (of: string): boolean => statfsSync(of).type === cgroup2Magic;
  if (!isCgroup(fd === undefined ? dirname(path) : path))
    throw new JailrunError(
      'NO_CGROUP',
      `${printable(path)} is no cgroup of cgroup2. Name a directory below /sys/fs/cgroup.`,
    );
  if (!isCgroup(dirname(path)))
    throw new JailrunError(
      'USAGE',
      `${printable(path)} has everything in it that runs on this host. Name a cgroup below it.`,
    );
  if (Buffer.byteLength(name) >= Limit.MAX_NAME)
    throw new JailrunError(
      'USAGE',
      `The name ${printable(name)} is longer than ${Limit.MAX_NAME - 1} bytes. Enroll the cgroup above it.`,
    );
  const what: WatchedCgroup = {
    cgroup: fd === undefined ? undefined : fstatSync(fd, { bigint: true }).ino,
    parent: statSync(dirname(path), { bigint: true }).ino,
    name,
  };
  return {
    enrolls: { cgroup: path },
    label: name,
    check(kernel, pod) {
      const other = kernel.watcherOf(what);
      if (other !== undefined) throw jailedAlready(`Cgroup ${path}`, other);
      const found = kernel.look(pod, what);
      const own = found.find(({ pid, what }) => what === SweptWhat.ENROLLED && isOwn(pid));
      if (own)
        throw new JailrunError(
          'USAGE',
          `${path} holds ${own.pid === 1 ? 'init' : 'this jailrun'}, which would be jailed with it. Run jailrun enroll from another cgroup: systemd-run --scope jailrun enroll …`,
        );
      checkHeld(found, pod);
    },
    enroll(kernel, pod) {
      const found = kernel.enroll(pod, what);
      checkHeld(found, pod);
      return found;
    },
    close: () => fd !== undefined && closeSync(fd),
  };
}

const isOwn = (pid: number): boolean => pid === 1 || pid === process.pid || pid === process.ppid;

/** `mayCome`: what is not there is enrolled once it is; its directory must be there. */
function findExecutable(text: string, mayCome = false): Target {
  const { path, fd, isThere } = openExecutable(text, mayCome);
  const self = addon.pidfdOpen(process.pid) as number;
  const keys = (kernel: Kernel): Executable[] => {
    const { file, place } = kernel.describeFile(fd, self);
    return isThere ? [file, place] : [{ ...file, name: Buffer.from(basename(path)) }];
  };
  return {
    enrolls: { executable: path },
    label: basename(path),
    check(kernel) {
      const other = keys(kernel)
        .map((key) => kernel.executorOf(key))
        .find((pod) => pod !== undefined);
      if (other !== undefined) throw jailedAlready(`Who executes ${path}`, other);
    },
    enroll(kernel, pod) {
      kernel.enrollExecutables(pod, keys(kernel));
      return [];
    },
    close: () => {
      closeSync(fd);
      closeSync(self);
    },
  };
}

/** The file, or the directory that it is to come into. */
function openExecutable(text: string, mayCome: boolean): { path: string; fd: number; isThere: boolean } {
  const isThere = !mayCome || existsSync(text);
  try {
    const path = isThere ? realpathSync(text) : join(realpathSync(dirname(text)), basename(text));
    if (Buffer.byteLength(basename(path)) >= Limit.MAX_NAME)
      throw new JailrunError(
        'NO_FILE',
        `The name ${printable(path)} is too long to be followed through updates.`,
      );
    if (isThere && !statSync(path).isFile())
      throw new JailrunError('NO_FILE', `${printable(path)} is not a file. Name an executable file.`);
    const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
    return { path, fd: openSync(isThere ? path : dirname(path), flags), isThere };
  } catch (cause) {
    if (cause instanceof JailrunError) throw cause;
    throw new JailrunError(
      'NO_FILE',
      `${printable(text)} cannot be opened (${(cause as NodeJS.ErrnoException).code}). Name an executable file.`,
      { cause },
    );
  }
}

/** Nothing more is enrolled in the pod; what is in it stays there. Throws a JailrunError NO_POD or USAGE. */
export function unenroll(wanted: string): string {
  using kernel = openPins();
  if (kernel) removeDeadPods(kernel);
  const pod = kernel && findPod(wanted);
  if (!pod) throw new JailrunError('NO_POD', `No pod ${printable(wanted)} lives. See: jailrun ps`);
  if (pod.enrolls && 'container' in pod.enrolls)
    throw new JailrunError('USAGE', `Pod ${pod.name} is a container’s, and ends with that.`);
  if (!pod.enrolls || 'process' in pod.enrolls)
    throw new JailrunError(
      'USAGE',
      `Pod ${pod.name} enrolls nothing more, and what is in it stays there. To end it: jailrun kill ${pod.name}`,
    );
  endEnrolling(kernel, pod);
  removeDeadPods(kernel);
  return pod.name;
}

/** The same by what it enrolls. False where nothing does. */
export function unenrollWhat(kernel: Kernel, enrolls: Enrolls): boolean {
  const pod = listPods().find((one) => one.enrolled && isDeepStrictEqual(one.enrolls, enrolls));
  if (pod) endEnrolling(kernel, pod);
  return pod !== undefined;
}

/** For people: what enroll() did. */
export function enrollLines({ pod, role, threads, pids }: EnrollReport): string[] {
  const some = (count: number, what: string, more: string): string =>
    `${count} ${what}${count === 1 ? '' : more}`;
  const count = `${some(threads, 'thread', 's')} of ${some(pids.length, 'process', 'es')}`;
  return [`Enrolled: ${pod}, role ${role}, ${threads === 0 ? 'nothing runs there yet' : count}`];
}
