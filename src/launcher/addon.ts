// The native addon (native/addon.cc), typed, and where the build's results lie. Nothing else loads it.
//
// Descriptors are plain numbers, close-on-exec, and closed with fs.closeSync(). A call that fails throws
// an AddonError, a wrong argument a TypeError.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** What a failed call throws. */
export interface AddonError extends Error {
  /** The errno's name, such as `EPERM`; `ELIBBPF` where libbpf has an error of its own. */
  code: string;
  /** The errno, negative as in node's own system errors. */
  errno: number;
  /** The operation that failed. */
  syscall: string;
  /** The end of what libbpf and the verifier said; only from BpfObject and Ring. */
  log?: string;
}

/** The types that user space has a use for, of enum bpf_map_type, include/uapi/linux/bpf.h. */
export const MapType = { HASH: 1, ARRAY: 2, HASH_OF_MAPS: 13, RINGBUF: 27 } as const;

/** How a program of type TRACING is attached, include/uapi/linux/bpf.h. */
export const AttachType = { FENTRY: 24, MODIFY_RETURN: 26 } as const;

/** Flags of a new map, include/uapi/linux/bpf.h. */
export const MapFlag = { INNER_MAP: 1 << 12 } as const;

/** Flags of a map update, include/uapi/linux/bpf.h. */
export const UpdateFlag = { ANY: 0, NOEXIST: 1, EXIST: 2 } as const;

export interface MapInfo {
  type: number;
  id: number;
  name: string;
  keySize: number;
  valueSize: number;
  maxEntries: number;
  flags: number;
}

export interface ProgramInfo {
  type: number;
  id: number;
  name: string;
  /** How often it ran while enableStats() was in force. */
  runCount: bigint;
}

export interface LinkInfo {
  type: number;
  id: number;
  programId: number;
}

/** An object file of BPF programs and maps, opened by libbpf. Everything of it that is not pinned ends with it. */
export interface BpfObject {
  programs(): { name: string; section: string }[];
  /** Names of the maps; `variables` is what libbpf makes of global variables that begin as 0. */
  maps(): string[];
  /** Whether load() loads the program; it does unless told otherwise. */
  setAutoload(program: string, autoload: boolean): void;
  /** Turns a program for an LSM hook into a fmod_ret program for a function of the kernel. */
  retarget(program: string, kernelFunction: string, type: number): void;
  /** Has load() use the map behind this descriptor, with all that is in it, and make none. */
  reuseMap(map: string, fd: number): void;
  load(): void;
  /** A descriptor of the loaded map; it outlives the object. */
  mapFd(map: string): number;
  /** A descriptor of the loaded program; it outlives the object. */
  programFd(program: string): number;
  /** Attaches the program and returns a descriptor of the link: closing the last one of it detaches. */
  attach(program: string): number;
  close(): void;
}

/** A reader of a BPF ring buffer. A ring has one reader: what this one takes no other sees. */
export interface Ring {
  /** Takes the records that are there, at most 1024 of them, without waiting. */
  consume(): Uint8Array[];
  /** Calls back, from node's event loop, whenever there are records; keeps the loop alive until close(). */
  watch(callback: () => void): void;
  close(): void;
}

export interface Addon {
  BpfObject: new (path: string) => BpfObject;
  Ring: new (mapFd: number) => Ring;

  objGet(path: string): number;
  objPin(fd: number, path: string): void;

  mapCreate(map: {
    type: number;
    name: string;
    keySize: number;
    valueSize: number;
    maxEntries: number;
    flags?: number;
  }): number;
  mapInfo(fd: number): MapInfo;
  /** Undefined where the map has no such key. A map of maps answers with the inner map's id. */
  mapLookup(fd: number, key: Uint8Array): Uint8Array | undefined;
  mapUpdate(fd: number, key: Uint8Array, value: Uint8Array, flags: number): void;
  /** Adds `count` entries whose keys and values lie one behind the other. */
  mapUpdateBatch(fd: number, keys: Uint8Array, values: Uint8Array, count: number): void;
  /** Returns false where there was no such key. */
  mapDelete(fd: number, key: Uint8Array): boolean;
  /** The key behind `key`, the first one for undefined or a key that is gone; undefined at the end. */
  mapNextKey(fd: number, key: Uint8Array | undefined): Uint8Array | undefined;
  /** From now on no process can change the map. */
  mapFreeze(fd: number): void;

  programInfo(fd: number): ProgramInfo;
  linkInfo(fd: number): LinkInfo;
  /** Runs an iterator over all tasks, or over those of a process (by its pidfd). Returns what it writes. */
  iterate(program: number, process?: number): Uint8Array;
  /** The kernel counts the runs of all programs for as long as the returned descriptor is open. */
  enableStats(): number;

  /**
   * Asks what holds this task (enum jr_probe_answer). Returns the errno, EINVAL where nothing does.
   * On Linux 7.2 the bits of a bpf(2) command above the lower 16 are flags, of which bit 16 makes
   * the kernel read more arguments and answer E2BIG, so the probe's number must have none of them.
   */
  probe(pod: bigint): number;
  /** How many arguments each of the kernel's functions takes by its BTF; undefined for one that it lacks. */
  argumentCounts(functions: string[]): (number | undefined)[];
  /** Reads a file of a kernel file system such as `securityfs`, whether or not that is mounted. */
  readUnmounted(type: string, path: string): string;
  /** flock(2). Returns false where the lock is another's and `wait` is false. */
  flock(fd: number, how: { exclusive: boolean; wait: boolean }): boolean;
  /** Lets two paths change places in one step (renameat2(2), RENAME_EXCHANGE). */
  exchange(one: string, other: string): void;
  /** pidfd_open(2). Undefined where there is no such process. */
  pidfdOpen(pid: number): number | undefined;
  /** pidfd_send_signal(2). Returns false where the process has ended. */
  pidfdSignal(fd: number, signal: number): boolean;
  /** An extended attribute (xattr(7)); undefined where the file has none of that name. */
  getXattr(fd: number, name: string): Uint8Array | undefined;
  setXattr(fd: number, name: string, value: Uint8Array): void;
  /** Returns false where there was none. */
  removeXattr(fd: number, name: string): boolean;
  /** Who connected, by a descriptor of a unix socket; `pidfd` is there from Linux 6.5 on. */
  peerOf(fd: number): { pid: number; uid: number; groups: number[]; pidfd?: number };
  /** Whether the descriptor is a socket that waits for connections. */
  isListening(fd: number): boolean;
  /** Sends one message with descriptors attached. */
  sendPlan(socket: number, bytes: Uint8Array, fds: number[]): void;
  /** The SHA-256 digest (FIPS 180-4) of the bytes. */
  sha256(bytes: Uint8Array): Uint8Array;
  /** _exit(2): node's own exit would reset the terminal, which may be the command's by now. */
  exitNow(status: number): never;
}

/** Only the bundler gives it a value, see scripts/build.mjs. */
declare const JAILRUN_VERSION: string | undefined;

/** What the build makes: the bundle lies beside the addon; what tsc makes of this file lies in build/src/launcher. */
export const distDirectory =
  typeof JAILRUN_VERSION === 'undefined' ? join(import.meta.dirname, '../../../dist') : import.meta.dirname;

/** The version of the package. */
export function jailrunVersion(): string {
  if (typeof JAILRUN_VERSION !== 'undefined') return JAILRUN_VERSION;
  return JSON.parse(readFileSync(join(distDirectory, '../package.json'), 'utf8')).version;
}

/** The object with the BPF programs. */
export const bpfObjectPath = join(distDirectory, 'jailrun.bpf.o');

export const addon: Addon = load(join(distDirectory, 'jailrun.node'));

function load(path: string): Addon {
  const module = { exports: {} };
  process.dlopen(module, path);
  return module.exports as Addon;
}
