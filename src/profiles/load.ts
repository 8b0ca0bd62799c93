/**
 * Finds and reads policy files and symbolic links: the one module of src/profiles that touches the file
 * system. What root uses must be root's and writable by nobody else, every directory on the way too.
 */
import * as nodeFs from 'node:fs';
import { constants } from 'node:fs';
import { join, resolve as resolvePath } from 'node:path';
import { follow, fromByteString, type ReadLink, toByteString } from './locate.js';
import { PolicyError, type ProblemCode } from './policy.js';

/** A policy file as it was read, for parse(). */
export interface PolicyFile {
  file: string;
  source: Uint8Array;
}

/** The calls of node:fs that are made; tests put others in their place. */
export type FileSystem = Pick<
  typeof nodeFs,
  'closeSync' | 'fstatSync' | 'lstatSync' | 'openSync' | 'readFileSync' | 'readdirSync' | 'readlinkSync'
>;

/** On whose behalf files are read, and from where. */
export interface Reading {
  /** Effective user id. For 0 the owners and modes are checked, and nothing in a home is read. */
  uid: number;
  fs?: FileSystem;
}

/** What decides which files are policies. */
export interface Surroundings extends Reading {
  /** What --policy names; relative to `cwd`. */
  policy?: string;
  env: Readonly<Record<string, string | undefined>>;
  cwd: string;
  /** Where the system's policies are; /etc/jailrun unless a test says otherwise. */
  system?: string;
}

/** Policies are written by people; a larger file is some other file. */
const maxBytes = 1 << 20;

/**
 * All policy files in use beside the built-in ones: what --policy and $JAILRUN_POLICY name, which must
 * exist, then the user's, the system's, and those in its policy.d in the order of their names. Their
 * order carries no meaning: no definition replaces another.
 * @throws PolicyError for a file that cannot be read or trusted
 */
export function readPolicies(surroundings: Surroundings): PolicyFile[] {
  const { policy, env, cwd, uid, system = '/etc/jailrun', fs = nodeFs } = surroundings;
  const named = [policy, env.JAILRUN_POLICY].filter((path) => path !== undefined && path !== '');
  const found = [...new Set(named.map((path) => resolvePath(cwd, path ?? '')))];
  const optional = [...userPolicies(uid, env), join(system, 'policy.yaml')];
  const files = found.map((path) => readPolicy(path, { uid, fs }));
  for (const path of [...optional, ...listDirectory(join(system, 'policy.d'), { uid, fs })]) {
    if (found.includes(path) || !stateOf(path, fs)) continue;
    files.push(readPolicy(path, { uid, fs }));
  }
  return files;
}

function userPolicies(uid: number, env: Surroundings['env']): string[] {
  if (uid === 0) return [];
  // The XDG base directory specification: a relative path is to be ignored.
  if (env.XDG_CONFIG_HOME?.startsWith('/')) return [join(env.XDG_CONFIG_HOME, 'jailrun/policy.yaml')];
  return env.HOME?.startsWith('/') ? [join(env.HOME, '.config/jailrun/policy.yaml')] : [];
}

function listDirectory(directory: string, { uid, fs = nodeFs }: Reading): string[] {
  if (!stateOf(directory, fs)) return [];
  // Who can write the directory can take policies away from it.
  if (uid === 0) trustWay(directory, fs);
  let names: string[];
  try {
    names = fs.readdirSync(directory);
  } catch (error) {
    throw unreadable(directory, error);
  }
  const shown = names.filter((name) => !name.startsWith('.')).sort();
  const misnamed = shown.find((name) => name.endsWith('.yml'));
  if (misnamed !== undefined) {
    const message = 'would not be read; policies in this directory end in .yaml or .json, so rename it';
    throw problem('UNREADABLE', join(directory, misnamed), message);
  }
  return shown.filter((name) => /\.(yaml|json)$/.test(name)).map((name) => join(directory, name));
}

/** The state of what is at `path` itself, link or not; undefined where nothing can be. */
function stateOf(path: string | Buffer, fs: FileSystem): nodeFs.Stats | undefined {
  try {
    return fs.lstatSync(path, { throwIfNoEntry: false });
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw unreadable(path.toString(), error);
  }
}

/**
 * Reads one policy file. For root, a file that somebody else could have written is refused.
 * @throws PolicyError
 */
export function readPolicy(path: string, { uid, fs = nodeFs }: Reading): PolicyFile {
  if (uid === 0) trustWay(path, fs);
  let fd: number;
  try {
    // O_NONBLOCK: a FIFO would otherwise wait for a writer before it could be refused.
    fd = fs.openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    throw unreadable(path, error);
  }
  try {
    const stats = fs.fstatSync(fd);
    if (!stats.isFile()) throw problem('UNREADABLE', path, 'is not a regular file; name a YAML file');
    if (stats.size > maxBytes)
      throw problem('UNREADABLE', path, `is larger than ${maxBytes} bytes; name a policy file`);
    if (uid === 0) trust(path, path, stats);
    return { file: path, source: fs.readFileSync(fd) };
  } catch (error) {
    throw error instanceof PolicyError ? error : unreadable(path, error);
  } finally {
    fs.closeSync(fd);
  }
}

/**
 * Checks all that leads to `path`, links included. Once every directory on the way is only root's, no
 * one else can change between this check and the open what the path leads to.
 */
function trustWay(path: string, fs: FileSystem): void {
  const { way, fault } = follow(toByteString(path), linkReader(fs));
  if (fault !== undefined) throw problem('UNREADABLE', path, fault);
  for (const place of way) {
    const stats = stateOf(Buffer.from(place, 'latin1'), fs);
    // What does not exist, open() reports.
    if (!stats) return;
    trust(path, fromByteString(place), stats);
  }
}

function trust(path: string, place: string, { uid, mode }: nodeFs.Stats): void {
  const subject = place === path ? '' : `${place}, on the way to it, `;
  const mend = place === path ? '' : ', or move the policy to /etc/jailrun';
  if (uid !== 0)
    throw problem(
      'UNTRUSTED',
      path,
      `${subject}belongs to user ${uid}, not to root; chown root ${place}${mend}`,
    );
  // The mode bits of a link mean nothing. Those of the group also hold the mask of an access list.
  if ((mode & constants.S_IFMT) === constants.S_IFLNK || (mode & 0o022) === 0) return;
  // A directory such as /tmp is meant to be everybody's.
  const shared = (mode & 0o1000) !== 0;
  const fix = shared ? 'move the policy to /etc/jailrun' : `chmod go-w ${place}${mend}`;
  throw problem('UNTRUSTED', path, `${subject}can be written by others than root; ${fix}`);
}

/**
 * Reads symbolic links of this host for locate().
 * @throws PolicyError, from the reader, for what cannot be looked at: it may be a link
 */
export function linkReader(fs: FileSystem = nodeFs): ReadLink {
  return (path) => {
    const bytes = Buffer.from(path, 'latin1');
    // lstat first: for what is no link, a failing readlink costs ten times as much.
    if (!stateOf(bytes, fs)?.isSymbolicLink()) return undefined;
    return fs.readlinkSync(bytes, { encoding: 'buffer' }).toString('latin1');
  };
}

/**
 * Reads symbolic links as linkReader() does, but takes what this user may not look at for no link, and adds
 * the place to `unseen`; what is below it, too, is only named once.
 */
export function lenientLinkReader(unseen: Set<string>, fs: FileSystem = nodeFs): ReadLink {
  const read = linkReader(fs);
  return (path) => {
    try {
      return read(path);
    } catch (error) {
      if (!(error instanceof PolicyError) || codeOf(error.cause) !== 'EACCES') throw error;
      const place = fromByteString(path);
      if (![...unseen].some((above) => place.startsWith(`${above}/`))) unseen.add(place);
      return undefined;
    }
  };
}

function codeOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException | undefined)?.code;
}

function isAbsent(error: unknown): boolean {
  return ['ENOENT', 'ENOTDIR', 'ENAMETOOLONG'].includes(codeOf(error) ?? '');
}

function unreadable(path: string, error: unknown): PolicyError {
  const { code, message } = error as NodeJS.ErrnoException;
  const why = isAbsent(error) ? 'does not exist; correct the path' : `cannot be read (${code ?? message})`;
  return problem('UNREADABLE', path, why, error);
}

function problem(code: ProblemCode, file: string, message: string, cause?: unknown): PolicyError {
  return new PolicyError([{ code, file, line: 0, column: 0, where: '', message }], { cause });
}
