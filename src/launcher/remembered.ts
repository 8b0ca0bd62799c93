// Remembered starts. When a command was started, what was looked at for that is written down, and what became of it:
// as long as all of it looks the same the front makes the same start again by itself (native/remembered.c), and no
// node process is started. What is noted is what the calls of the file system answered, and not what the policies
// mean, so nothing can be forgotten of what decides.
import * as nodeFs from 'node:fs';
import { mkdirSync, readdirSync, renameSync, rmSync, type Stats, statSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { Epoch, Identity, Limit, Meta, Sight, SightKind, Start, StartNumber } from '../abi.js';
import type { CompiledRole } from '../profiles/compile.js';
import type { FileSystem } from '../profiles/load.js';
import type { Mount } from '../profiles/mounts.js';
import { addon, distDirectory } from './addon.js';
import { ownCgroup } from './cgroup.js';
import { hostPlaces, type Kernel, pinsOf, withLock } from './kernel.js';
import { headerIn, type NewHeader, type PodHeader } from './pods.js';
import { mountTable, ownUid, type Witness } from './role.js';
import type { RunRequest } from './run.js';

const directory = join(hostPlaces.run, 'starts');

/** Of so many different starts all are forgotten. */
const most = 128;

/** The longest name of a file, less than the front has room for. */
export const longestName = 180;

/**
 * How old, in milliseconds, must be what is told from others by its times: the kernel's clock for them ticks up to
 * every ten milliseconds, and what is changed twice between two ticks looks the same.
 */
const settled = 2000;

/** Whether the front may make this start by itself the next time: all that decides about it is noted here. */
export function isRemembered(request: RunRequest): boolean {
  return request.summary === undefined && ownUid() === 0 && fileName(request).length <= longestName;
}

/** What else a start is made from than what was looked at: as native/remembered.c calls the file. */
export function fileName({ role = [], audit, json, policy, var: values = [] }: RunRequest): string {
  const environment = process.env.JAILRUN_POLICY;
  const others = [
    ...(policy === undefined ? [] : [`policy=${fromRoot(policy)}\0`]),
    ...(environment ? [`environment=${fromRoot(environment)}\0`] : []),
    ...values.map((text) => `var=${text}\0`),
  ].join('');
  const digest = others && Buffer.from(addon.sha256(Buffer.from(others))).toString('hex');
  return `${role.join('+')}${audit ? ',audit' : ''}${json ? ',json' : ''}${digest && `,${digest}`}`;
}

const fromRoot = (path: string): string => (path.startsWith('/') ? path : `${process.cwd()}/${path}`);

/** A file system that notes what it was asked and what it answered. */
export class Watched implements FileSystem {
  readonly sights = new Map<string, Uint8Array>();
  /** False where the same was asked twice, with different answers. */
  steady = true;
  /** What every path begins with, and what is noted of none; a byte string. */
  below = '';
  readonly #paths = new Map<number, string>();
  readonly #states = new Map<number, Stats>();

  /** With `owners` it counts, too, who could have put there what is there. */
  constructor(private readonly owners: boolean) {}

  readonly lstatSync = ((path: nodeFs.PathLike, options: nodeFs.StatSyncOptions) => {
    const stats = this.#lstat(path, options);
    if (!this.owners) {
      if (!stats?.isSymbolicLink()) this.#note(SightKind.NO_LINK, path);
    } else if (!stats) this.#note(SightKind.ABSENT, path);
    else this.#note(SightKind.PLACE, path, new Uint8Array(), stats);
    return stats;
  }) as FileSystem['lstatSync'];

  #lstat(path: nodeFs.PathLike, options: nodeFs.StatSyncOptions): Stats | undefined {
    try {
      return nodeFs.lstatSync(path, options) as Stats | undefined;
    } catch (error) {
      // For whoever asks it is not there.
      if ((error as NodeJS.ErrnoException).code === 'ENAMETOOLONG') return undefined;
      throw error;
    }
  }

  readonly readlinkSync = ((path: nodeFs.PathLike, options: nodeFs.BufferEncodingOption) => {
    const target = nodeFs.readlinkSync(path, options);
    this.#note(SightKind.LINK, path, target);
    return target;
  }) as FileSystem['readlinkSync'];

  readonly readdirSync = ((path: string) => {
    const names = nodeFs.readdirSync(path);
    const shown = names.filter((name) => !name.startsWith('.'));
    this.#note(SightKind.DIRECTORY, path, Buffer.from(shown.map((name) => `${name}\0`).join('')));
    return names;
  }) as FileSystem['readdirSync'];

  readonly openSync = ((path: string, flags: number) => {
    const fd = nodeFs.openSync(path, flags);
    this.#paths.set(fd, path);
    return fd;
  }) as FileSystem['openSync'];

  readonly fstatSync = ((fd: number) => {
    const stats = nodeFs.fstatSync(fd);
    this.#states.set(fd, stats);
    return stats;
  }) as FileSystem['fstatSync'];

  readonly readFileSync = ((fd: number) => {
    const bytes = nodeFs.readFileSync(fd);
    this.#note(SightKind.FILE, this.#paths.get(fd) ?? '', bytes, this.#states.get(fd));
    return bytes;
  }) as FileSystem['readFileSync'];

  readonly closeSync = nodeFs.closeSync;

  #note(kind: SightKind, path: nodeFs.PathLike, data?: Uint8Array, stats?: Stats): void {
    const place = Buffer.from(path as Buffer).subarray(this.below.length);
    const sight = encodeSight(kind, place, data, stats);
    const key = `${kind} ${place.toString('latin1')}`;
    const earlier = this.sights.get(key);
    if (earlier && Buffer.compare(earlier, sight) !== 0) this.steady = false;
    this.sights.set(key, sight);
  }
}

/** Notes all that a start is made from. */
export class Notes implements Witness {
  readonly policies = new Watched(true);
  readonly links = new Watched(false);
  #table: Uint8Array = new Uint8Array();
  #mounts: readonly Mount[] = [];

  sawMounts(bytes: Uint8Array, mounts: readonly Mount[]): void {
    this.#table = bytes;
    this.#mounts = mounts;
  }

  /** False where something changed while it was looked at. */
  get steady(): boolean {
    return this.policies.steady && this.links.steady;
  }

  /** In the order in which the front is to look: links last, since they are used next. */
  sights(): Uint8Array[] {
    const cgroups = ownCgroup(Buffer.from(this.#table).toString(), '0::/\n');
    return [
      encodeSight(SightKind.CGROUPS, Buffer.from(cgroups)),
      ...this.policies.sights.values(),
      ...settledSights(),
      encodeSight(SightKind.MOUNTS, Buffer.from(mountTable), this.#table),
      encodeSight(SightKind.EPOCHS, Buffer.from(mountTable), encodeEpochs(this.#mounts)),
      ...this.links.sights.values(),
    ];
  }
}

/**
 * Sights of what is told from others by its times: the launcher and the roles that come with it, and which programs
 * hold. Throws where one is too new for that.
 */
export function settledSights(): Uint8Array[] {
  const files = ['launcher-main.js', 'roles.jsonl', join(pinsOf(hostPlaces), 'links')];
  return files.map((path) => {
    const { dev, ino, size, mtimeNs, ctimeNs } = statSync(resolve(distDirectory, path), { bigint: true });
    if ([mtimeNs, ctimeNs].some((time) => Date.now() - Number(time / 1_000_000n) < settled))
      throw new Error(`${path} is too new`);
    const identity = { device: dev, inode: ino, size, modified: mtimeNs, changed: ctimeNs };
    return encodeSight(SightKind.SAME, Buffer.from(path), Identity.encode(identity));
  });
}

function encodeEpochs(mounts: readonly Mount[]): Uint8Array {
  const devices = new Map(mounts.map(({ device, epoch }) => [device, epoch]));
  const epochs = [...devices].map(([device, epoch]) =>
    Epoch.encode({ index: (device + (device >>> 20) * Limit.MAJOR_STEP) % Limit.DEVICES, epoch }),
  );
  return Buffer.concat(epochs);
}

function encodeSight(
  kind: SightKind,
  path: Uint8Array,
  data: Uint8Array = new Uint8Array(),
  { uid, mode }: Pick<Stats, 'uid' | 'mode'> = { uid: 0, mode: 0 },
): Uint8Array {
  const place = filled(Buffer.concat([path, Buffer.of(0)]));
  const rest = filled(data);
  const size = Sight.size + place.length + rest.length;
  const head = Sight.encode({ size, kind, path: place.length, data: data.length, owner: uid, mode });
  return Buffer.concat([head, place, rest]);
}

/** Up to four bytes, with zeros. */
export const filled = (bytes: Uint8Array): Uint8Array =>
  Buffer.concat([bytes, new Uint8Array(-bytes.length & 3)]);

/** All of a start but its pod. */
export interface PlannedStart {
  role: CompiledRole;
  /** enum jr_task_flag */
  flags: number;
  /** Flags of the plan, without JR_PLAN_EXEC. */
  plan: number;
  /** What the first line of the pod's state file says. */
  header: NewHeader;
}

/**
 * Writes a start down. Where that cannot be done the next one takes longer, and nothing else: the pod of this one is
 * ready, so that no failure may be its.
 */
export function remember(request: RunRequest, notes: Notes, kernel: Kernel, start: PlannedStart): void {
  try {
    const bytes = notes.steady ? encodeStart(fileName(request), notes, kernel, start) : undefined;
    if (bytes) keepFile(fileName(request), bytes);
  } catch {}
}

function encodeStart(
  name: string,
  notes: Notes,
  kernel: Kernel,
  { role, flags, plan, header }: PlannedStart,
): Uint8Array {
  const texts = splitHeader(headerIn('', header));
  const [toCgroup, toName, toCommand, toEnd] = texts.map((text) => text.length) as [
    number,
    number,
    number,
    number,
  ];
  const tail = Buffer.concat([filled(Buffer.concat(texts)), ...notes.sights()]);
  const size = Start.size + tail.length;
  const start = { format: StartNumber.FORMAT, layout: Limit.LAYOUT, size, role: role.digest, flags, plan };
  const gaps = { toCgroup, toName, toCommand, toEnd, meta: Meta.encode(kernel.meta) };
  const encode = (checksum: number): Buffer =>
    Buffer.concat([Start.encode({ ...start, ...gaps, checksum }), tail]);
  // The checksum and what is in front of it do not count.
  return encode(checksumOf(name, encode(0).subarray(16)));
}

/** The texts around what is each pod's own. */
function splitHeader(header: PodHeader): Buffer[] {
  const mark = '\u0001';
  const marked = JSON.stringify({ ...header, cgroup: mark, name: mark, command: mark });
  const texts = `${marked}\n`.split(JSON.stringify(mark).slice(1, -1)).map((text) => Buffer.from(text));
  const order = Object.keys(header).filter((key) => ['cgroup', 'name', 'command'].includes(key));
  if (texts.length !== 4 || order.join() !== 'cgroup,name,command')
    throw new Error('the first line of a state file has another form');
  return texts;
}

/** What the front recognizes a damaged file by, or one in another's place: see struct jr_start. */
export function checksumOf(name: string, bytes: Buffer): number {
  const words = new Uint32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
  let sum = 2166136261;
  for (const byte of Buffer.from(name)) sum = Math.imul(sum ^ byte, 16777619);
  for (const word of words) sum = Math.imul(sum ^ word, 16777619);
  return sum >>> 0;
}

/** Writes a file for the front, in the place of an older one of this name. One that is too large is not written. */
export function keepFile(name: string, bytes: Uint8Array): void {
  if (bytes.length > StartNumber.MAX) return;
  withLock(hostPlaces, () => {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    const names = readdirSync(directory);
    if (names.length >= most && !names.includes(name)) for (const old of names) rmSync(join(directory, old));
    const draft = join(directory, '.new');
    writeFileSync(draft, bytes, { mode: 0o600 });
    renameSync(draft, join(directory, name));
  });
}
