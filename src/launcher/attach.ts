// Loading, attaching and pinning the programs: all of them or nothing, and removing them again.
import { createHash } from 'node:crypto';
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  statSync,
  unlinkSync,
} from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { Limit, Meta } from '../abi.js';
import { type AddonError, AttachType, addon, type BpfObject, bpfObjectPath, UpdateFlag } from './addon.js';
import { JailrunError } from './error.js';
import { checkHost, chooseWay, type HostFacts, readFacts, type Way } from './host.js';
import {
  claimProgram,
  hostPlaces,
  type Kernel,
  openPins,
  type Places,
  pinsOf,
  refuseInJail,
  withLock,
} from './kernel.js';

/** Where the function that calls the hook is not security_HOOK. */
const wrappers: Record<string, string> = {
  bprm_check_security: 'security_bprm_check',
  userns_create: 'security_create_user_ns',
  shm_alloc_security: 'security_shm_alloc',
  shm_free_security: 'security_shm_free',
  sem_alloc_security: 'security_sem_alloc',
  sem_free_security: 'security_sem_free',
  msg_queue_alloc_security: 'security_msg_queue_alloc',
  msg_queue_free_security: 'security_msg_queue_free',
};

/** Hooks that a kernel may lack, because there another hook is asked instead (bpf/metadata.bpf.c). */
const optionalHooks = [
  'inode_set_acl',
  'inode_remove_acl',
  'inode_get_acl',
  'inode_file_setattr',
  'inode_file_getattr',
];

/** Hooks that answer nothing: there is no return value to modify. */
const silentHooks = [
  'bprm_committing_creds',
  'sb_delete',
  'shm_free_security',
  'sem_free_security',
  'msg_queue_free_security',
];

/** What detach() removed. */
export interface Detached {
  links: number;
  maps: number;
  /** Pods that lived: what runs in them is now held by nothing. */
  pods: number;
}

/**
 * Attaches the programs and pins them, or finds them attached. Those of another build give way to this one's,
 * which take over their maps and so every pod: until all of them are attached the old ones hold, too. Throws a
 * JailrunError that says what this host lacks; then nothing has changed. HOST_REFUSES means that the kernel
 * forbids root to load BPF programs, LAYOUT that the maps of what is attached have another form.
 */
export function attach(places: Places = hostPlaces, given?: HostFacts): Kernel {
  refuseInJail();
  const requireHost = (): HostFacts => {
    const facts = given ?? readFacts();
    for (const { error } of checkHost(places, facts)) if (error) throw error;
    return facts;
  };
  // Where programs are attached the host is asked only if others are to be: that takes as long as all the rest.
  const found = existsSync(pinsOf(places)) ? undefined : requireHost();
  return withLock(places, () => {
    removeLeftovers(places);
    const attached = openPins(places);
    if (attached && isOwnBuild(attached)) return attached;
    // bpffs refuses names with a dot.
    const staging = join(places.bpffs, `jailrun-new-${process.pid}`);
    try {
      pinAll(staging, chooseWay(found ?? requireHost()), places, attached);
      // Until here no other process sees a pin; from here on it sees all of them.
      if (attached) addon.exchange(staging, pinsOf(places));
      else renameSync(staging, pinsOf(places));
    } catch (error) {
      removePins(staging);
      throw error instanceof JailrunError ? error : notPinned(places, 'attached', error);
    }
    // What was attached before, if anything was.
    removePins(staging);
    attached?.close();
    return openPins(places) as Kernel;
  });
}

/** Whether the programs that are attached are those that lie beside this launcher. */
const isOwnBuild = ({ meta }: Kernel): boolean => Buffer.from(meta.build).equals(buildDigest());

/**
 * Removes the programs, of whatever version. Refuses while pods live unless forced. Undefined where
 * nothing was attached.
 */
export function detach({ force = false } = {}, places: Places = hostPlaces): Detached | undefined {
  refuseInJail();
  return withLock(places, () => {
    removeLeftovers(places);
    const pins = pinsOf(places);
    if (!existsSync(pins)) return undefined;
    const pods = countPods(pins);
    if (pods > 0 && !force) {
      throw new JailrunError(
        'PODS_LIVE',
        `${pods} ${pods > 1 ? 'pods live' : 'pod lives'}, and without the programs nothing would hold what runs there. End them (jailrun status lists them), or let go of them: jailrun detach --force`,
      );
    }
    const links = readNames(join(pins, 'links')).length;
    const maps = readNames(join(pins, 'maps')).length;
    // In one step, so that no other process finds only a part of the programs.
    const old = join(places.bpffs, `jailrun-old-${process.pid}`);
    try {
      renameSync(pins, old);
    } catch (error) {
      throw notPinned(places, 'detached', error);
    }
    removePins(old);
    return { links, maps, pods };
  });
}

/** Pins are files in bpffs, and descriptors of this process before that: there may be no memory for either. */
const notPinned = ({ bpffs }: Places, what: 'attached' | 'detached', cause: unknown): JailrunError =>
  new JailrunError(
    'PINS',
    `The programs were not ${what}, and nothing has changed: the kernel refused a pin in ${bpffs} or what belongs to it (${(cause as Error).message}). Try again; if it says ENOMEM or ENOSPC, free memory first.`,
    { cause },
  );

/** What a map of its own says of the programs: no two sets of them share it. */
const ownMap = 'meta';

function pinAll(directory: string, way: Way, places: Places, before: Kernel | undefined): void {
  const object = openObject();
  const fds: number[] = [];
  const keep = (fd: number): number => {
    fds.push(fd);
    return fd;
  };
  try {
    const programs = choosePrograms(object, way);
    if (way === 'fmod_ret') retarget(object, programs);
    if (before)
      for (const name of object.maps())
        if (name !== ownMap) object.reuseMap(name, reused(places, name, keep));
    load(object);
    for (const kind of ['maps', 'programs', 'links', 'iterators'])
      mkdirSync(join(directory, kind), { recursive: true, mode: 0o700 });
    for (const name of object.maps()) addon.objPin(keep(object.mapFd(name)), join(directory, 'maps', name));
    for (const name of iterators(object))
      addon.objPin(keep(object.programFd(name)), join(directory, 'iterators', name));
    for (const { name } of programs) {
      addon.objPin(keep(object.programFd(name)), join(directory, 'programs', name));
      addon.objPin(keep(attachProgram(object, name)), join(directory, 'links', name));
    }
    testLive(object, way);
    writeMeta(keep(object.mapFd(ownMap)), way, programs.length, places);
  } finally {
    for (const fd of fds) closeSync(fd);
    object.close();
  }
}

function reused(places: Places, map: string, keep: (fd: number) => number): number {
  try {
    return keep(addon.objGet(join(pinsOf(places), 'maps', map)));
  } catch (cause) {
    throw new JailrunError(
      'LAYOUT',
      `The programs that are attached have no map ${map}, so their pods cannot be taken over. End the pods, then attach anew: jailrun detach && jailrun attach`,
      { cause },
    );
  }
}

function openObject(): BpfObject {
  try {
    return new addon.BpfObject(bpfObjectPath);
  } catch (cause) {
    throw new JailrunError(
      'NO_OBJECT',
      `The BPF programs ${bpfObjectPath} cannot be opened (${(cause as AddonError).code}). Build them: npm run build`,
      { cause },
    );
  }
}

/** Programs that run when they are asked. */
const iterators = (object: BpfObject): string[] =>
  object
    .programs()
    .filter(({ section }) => section.startsWith('iter/'))
    .map(({ name }) => name);

/** A program to attach, and the function of the kernel that calls it; `hook` for one that an LSM hook asks. */
interface Program {
  name: string;
  hook?: string;
  target?: string;
}

/** What a program cannot do without; it is for kernels that have it. */
const needed: Record<string, string> = {
  jr_cgroup_attach_task: 'bpf_iter_task_new',
  [claimProgram]: 'bpf_get_file_xattr',
};

/** Programs that call what the kernel lets LSM programs alone call (fs/bpf_fs_kfuncs.c). */
const lsmOnly: readonly string[] = [claimProgram];

/**
 * The programs that this kernel gets attached, all others but iterators are not loaded. Of those whose name ends in a number of
 * arguments it gets the one that fits.
 */
export function choosePrograms(object: BpfObject, way: Way): Program[] {
  const attached = object.programs().filter(({ section }) => !section.startsWith('iter/'));
  const all = attached.map(({ name, section }): Program => {
    const traced = /^f(?:entry|exit)\/(.+)$/.exec(section)?.[1];
    if (traced !== undefined) return { name, target: needed[name] ?? traced };
    const hook = /^lsm(?:\.s)?\/(.+)$/.exec(section)?.[1];
    if (hook === undefined) return { name };
    const wrapper = wrappers[hook] ?? `security_${hook}`;
    const target = way === 'fmod_ret' ? wrapper : `bpf_lsm_${hook}`;
    return { name, hook, target: needed[name] ?? target };
  });
  const counts = addon.argumentCounts(all.map(({ target }) => target ?? 'none'));
  const chosen = all.filter(({ name, hook, target }, i) => {
    if (lsmOnly.includes(name)) return way === 'lsm' && counts[i] !== undefined;
    if (hook === undefined) return target === undefined || counts[i] !== undefined;
    const wanted = /_(\d)$/.exec(name)?.[1];
    if (wanted !== undefined) return counts[i] === Number(wanted);
    return counts[i] !== undefined || !optionalHooks.includes(hook);
  });
  for (const { name, hook, target } of all) {
    if (!chosen.some((program) => program.name === name)) object.setAutoload(name, false);
    if (hook && !optionalHooks.includes(hook) && !chosen.some((program) => program.hook === hook))
      throw hookMissing(name, target as string);
  }
  return chosen;
}

function retarget(object: BpfObject, programs: Program[]): void {
  for (const { name, hook, target } of programs) {
    if (hook === undefined || target === undefined) continue;
    try {
      const type = silentHooks.includes(hook) ? AttachType.FENTRY : AttachType.MODIFY_RETURN;
      object.retarget(name, target, type);
    } catch (cause) {
      throw hookMissing(name, target, cause as AddonError);
    }
  }
}

function load(object: BpfObject): void {
  try {
    object.load();
  } catch (error) {
    const cause = error as AddonError;
    if (cause.code === 'EPERM') {
      throw new JailrunError(
        'HOST_REFUSES',
        'This host forbids even root to load BPF programs (EPERM), so nothing can be enforced on it: a container, a sandbox or kernel lockdown stands in between. Use a host that permits them, or a VM.',
        { cause },
      );
    }
    throw new JailrunError(
      'LOAD',
      `The kernel does not accept the programs (${cause.code}), so no rule would hold. Use a kernel that jailrun is tested on (6.1, 6.12, 7.2). It said:\n${lastLines(cause.log)}`,
      { cause },
    );
  }
}

/** Enough to see which program and which instruction; the whole log is in the cause. */
const lastLines = (log = ''): string => log.trimEnd().split('\n').slice(-16).join('\n');

function attachProgram(object: BpfObject, name: string): number {
  try {
    return object.attach(name);
  } catch (cause) {
    throw hookMissing(name, 'its hook', cause as AddonError);
  }
}

function hookMissing(program: string, target: string, cause?: AddonError): JailrunError {
  const why = cause ? ` (${cause.code})` : '';
  return new JailrunError(
    'HOOK_MISSING',
    `The program ${program} cannot be attached to ${target}${why}, so what it decides would be allowed. Use a kernel that jailrun is tested on (6.1, 6.12, 7.2).`,
    { cause },
  );
}

/**
 * Proves that the kernel calls the programs: it must count runs of those whose hooks an open and a
 * bpf(2) pass. Without this a hook that accepts programs and ignores them would go unnoticed.
 */
function testLive(object: BpfObject, way: Way): void {
  const stats = addon.enableStats();
  const probes = ['jr_file_open', 'jr_bpf'].map((name) => ({ name, fd: object.programFd(name) }));
  try {
    const before = probes.map(({ fd }) => addon.programInfo(fd).runCount);
    closeSync(openSync('/dev/null', 'r'));
    const answer = addon.probe(0n);
    const idle = probes.filter(({ fd }, i) => addon.programInfo(fd).runCount === before[i]);
    if (idle.length > 0 || answer !== constants.errno.EINVAL) {
      const what =
        idle.length > 0
          ? `${idle.map(({ name }) => name).join(', ')} did not run when it should have`
          : `the probe answered errno ${answer} and not EINVAL`;
      throw new JailrunError(
        'NOT_LIVE',
        `The programs are attached (${way}) but do not work: ${what}. Nothing would be enforced. Use a kernel that jailrun is tested on (6.1, 6.12, 7.2).`,
      );
    }
  } finally {
    for (const { fd } of probes) closeSync(fd);
    closeSync(stats);
  }
}

function writeMeta(fd: number, way: Way, hooks: number, { run }: Places): void {
  const { dev, ino } = statSync(run, { bigint: true });
  const meta = {
    layout: Limit.LAYOUT,
    hooks,
    build: buildDigest(),
    fmodRet: way === 'fmod_ret' ? 1 : 0,
    runDevice: kernelDevice(dev),
    runInode: ino,
  };
  addon.mapUpdate(fd, new Uint8Array(4), Meta.encode(meta), UpdateFlag.ANY);
  addon.mapFreeze(fd);
}

/** What tells this build's programs from another's. Throws as readFileSync() does. */
export function buildDigest(): Uint8Array {
  return createHash('sha256').update(readFileSync(bpfObjectPath)).digest().subarray(0, 16);
}

/** A device number as stat(2) tells it, in the kernel's own form: 12 bits of major, 20 of minor. */
function kernelDevice(device: bigint): number {
  const major = Number(((device >> 32n) & 0xfffff000n) | ((device >> 8n) & 0xfffn));
  const minor = Number(((device >> 12n) & 0xffffff00n) | (device & 0xffn));
  return ((major << 20) | minor) >>> 0;
}

/** Pins that an attach or a detach left which was killed half way. The lock tells that none is at work. */
function removeLeftovers({ bpffs }: Places): void {
  for (const name of readNames(bpffs)) {
    if (/^jailrun-(new|old)-\d+$/.test(name)) removePins(join(bpffs, name));
  }
}

/**
 * Links first: a program without its maps is no worse than no program, but nothing should outlast a link. Throws a
 * JailrunError PINS where something of it stays.
 */
function removePins(directory: string): void {
  try {
    for (const kind of ['links', 'programs', 'iterators', 'maps']) {
      const path = join(directory, kind);
      for (const name of readNames(path)) unlinkSync(join(path, name));
      if (existsSync(path)) rmdirSync(path);
    }
    if (existsSync(directory)) rmdirSync(directory);
  } catch (cause) {
    throw new JailrunError(
      'PINS',
      `What is pinned in ${directory} cannot be removed as a whole (${(cause as Error).message}); programs that are there still hold. Try again: the next attach or detach removes the rest.`,
      { cause },
    );
  }
}

/** Counts without knowing the layout: detach() must be able to remove another version's pins. */
function countPods(pins: string): number {
  const path = join(pins, 'maps/pods');
  if (!existsSync(path)) return 0;
  const fd = addon.objGet(path);
  try {
    let count = 0;
    for (let key = addon.mapNextKey(fd, undefined); key; key = addon.mapNextKey(fd, key)) count++;
    return count;
  } finally {
    closeSync(fd);
  }
}

function readNames(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}
