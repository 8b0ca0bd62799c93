// `jailrun bundle`: jailrun itself, policies and hooks in one file, for hosts that have neither node nor compilers at
// hand. `jailrun bundle install` is the front's (native/install.c), and so is the reading (native/bundle.c), which takes
// nothing but what is written here: regular files of root's and of 1970, in the order of their names, behind a manifest
// of their digests. So the same input gives the same bytes.
import { createHash } from 'node:crypto';
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join, resolve as resolvePath } from 'node:path';
import { describeProblem } from '../profiles/policy.js';
import { distDirectory, jailrunVersion } from './addon.js';
import { check } from './check.js';
import { JailrunError } from './error.js';
import { printable } from './verdict.js';

/** What jailrun's own directory holds on a host, in order; those that are executable. */
export const programs: Readonly<Record<string, { executable?: true }>> = {
  jailrun: { executable: true },
  'jailrun.bpf.o': {},
  'jailrun.node': {},
  'launcher-main.cache': {},
  'launcher-main.js': {},
  'launcher.cjs': {},
  'library.js': {},
  'roles.jsonl': {},
  'tar.cjs': {},
  'toml.cjs': {},
  'yaml.cache': {},
  'yaml.cjs': {},
};

/** What to pack, and where to. */
export interface BundleRequest {
  output: string;
  /** Files for the host's policy.d. */
  policies: readonly string[];
  /** Configurations of OCI hooks, for the host's hooks.d. */
  hooks: readonly string[];
}

/** A bundle that was made, as `--json` prints it. Fields are only ever added. */
export interface BundleReport {
  version: 1;
  type: 'bundle';
  file: string;
  size: number;
  /** The digest of the whole file, by which its receiver knows it. */
  sha256: string;
  /** The version of jailrun in it. */
  jailrun: string;
  files: string[];
}

interface Entry {
  path: string;
  bytes: Uint8Array;
  executable?: boolean;
}

const manifestName = 'manifest.jsonl';

/**
 * Packs a bundle. Throws a JailrunError POLICY where check() finds a problem, BUNDLE for names that cannot be in a
 * bundle, hooks that container engines would pass over, and files that cannot be read or written.
 */
export async function makeBundle({ output, policies, hooks }: BundleRequest): Promise<BundleReport> {
  const { problems } = policies.length > 0 ? await check(policies) : { problems: [] };
  if (problems.length > 0) throw new JailrunError('POLICY', problems.map(describeProblem).join('\n'));
  const entries = [
    ...hooks.map((file) => entryOf('hooks.d', file, /\.json$/, faultOfHook)),
    ...Object.entries(programs).map(([name, { executable }]) => ({
      path: `jailrun/${name}`,
      bytes: read(join(distDirectory, name)),
      ...(executable && { executable }),
    })),
    ...policies.map((file) => entryOf('policy.d', file, /\.(yaml|json)$/)),
  ].sort((a, b) => (a.path < b.path ? -1 : 1));
  const twice = entries.find(({ path }, i) => entries[i - 1]?.path === path);
  if (twice) throw fault(`Two files would be ${twice.path}. Rename one.`);
  const archive = await pack([{ path: manifestName, bytes: manifestOf(entries) }, ...entries]);
  write(output, archive);
  return {
    version: 1,
    type: 'bundle',
    file: resolvePath(output),
    size: archive.length,
    sha256: digestOf(archive),
    jailrun: jailrunVersion(),
    files: entries.map(({ path }) => path),
  };
}

/** For people. */
export function bundleLines({ file, size, sha256, jailrun, files }: BundleReport): string[] {
  const others = files.filter((path) => !path.startsWith('jailrun/'));
  return [
    `Made: ${printable(file)}, jailrun ${jailrun}${others.map((path) => `, ${path}`).join('')}`,
    `${size} bytes, SHA-256 ${sha256}`,
  ];
}

const fault = (message: string, cause?: unknown): JailrunError =>
  new JailrunError('BUNDLE', message, { cause });

const digestOf = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

function read(file: string): Uint8Array {
  try {
    return readFileSync(file);
  } catch (error) {
    throw fault(`${printable(file)} cannot be read (${(error as NodeJS.ErrnoException).code}).`, error);
  }
}

/** A file of the caller's, under its own name. The front takes no others, nor larger ones. */
function entryOf(
  directory: string,
  file: string,
  ending: RegExp,
  faultOf: (bytes: Uint8Array) => string | undefined = () => undefined,
): Entry {
  const name = basename(file);
  if (!/^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$/.test(name) || !ending.test(name))
    throw fault(
      `${printable(file)} cannot be in ${directory}: a name there has up to 64 of the characters A-Z, a-z, 0-9, dot, dash and underscore, begins with no dot and ends in ${directory === 'hooks.d' ? '.json' : '.yaml or .json'}. Rename it.`,
    );
  const bytes = read(file);
  if (bytes.length > 1 << 20) throw fault(`${printable(file)} is larger than a mebibyte.`);
  const found = faultOf(bytes);
  if (found !== undefined) throw fault(`${printable(file)}: ${found}`);
  return { path: `${directory}/${name}`, bytes };
}

const stages = ['prestart', 'createRuntime', 'createContainer', 'startContainer', 'poststart', 'poststop'];
const conditions = ['always', 'annotations', 'commands', 'hasBindMounts'];

/**
 * What keeps a hook from being used: a container engine passes over it in silence, and would leave containers
 * unjailed. Of oci-hooks(5), version 1.0.0.
 */
function faultOfHook(bytes: Uint8Array): string | undefined {
  let config: unknown;
  try {
    config = JSON.parse(Buffer.from(bytes).toString());
  } catch (error) {
    return `it is no JSON (${(error as Error).message}).`;
  }
  if (!isObject(config)) return 'it is no object.';
  const { version, hook, when, stages: at, ...more } = config;
  const unknown = Object.keys(more)[0];
  if (unknown !== undefined) return `${printable(unknown)} is no key of a hook's configuration.`;
  if (version !== '1.0.0') return 'version must be "1.0.0".';
  return (
    faultOfProgram(hook) ??
    faultOfCondition(when) ??
    (Array.isArray(at) && at.length > 0 && at.every((stage) => stages.includes(stage))
      ? undefined
      : `stages must be some of ${stages.join(', ')}: engines pass over a hook without one.`)
  );
}

function faultOfProgram(hook: unknown): string | undefined {
  if (!isObject(hook)) return 'hook must be an object.';
  const strange = Object.keys(hook).find((key) => !['path', 'args', 'env', 'timeout'].includes(key));
  if (strange !== undefined) return `hook.${printable(strange)} is no key of a hook.`;
  const own = Object.keys(programs).filter((name) => programs[name]?.executable);
  const known = ['/usr/local/bin/jailrun', ...own.map((name) => `/usr/local/lib/jailrun/${name}`)];
  if (typeof hook.path !== 'string' || !known.includes(hook.path))
    return `hook.path must be ${known.join(' or ')}: engines pass over one that is not there.`;
  const { timeout = 1 } = hook;
  if (typeof timeout === 'number' && Number.isInteger(timeout) && timeout > 0) return undefined;
  return 'hook.timeout must be a number of seconds above 0: runc fails at once for 0.';
}

function faultOfCondition(when: unknown): string | undefined {
  if (!isObject(when) || Object.keys(when).length === 0)
    return 'when must have a condition: engines pass over a hook without one. Say: "when": {"always": true}';
  const odd = Object.keys(when).find((key) => !conditions.includes(key));
  if (odd !== undefined) return `when.${printable(odd)} is no condition; they are ${conditions.join(', ')}.`;
  const empty = Object.keys(when).find((key) => {
    const value = when[key];
    return isObject(value) || Array.isArray(value) ? Object.keys(value).length === 0 : value !== true;
  });
  return empty === undefined
    ? undefined
    : `when.${empty} matches nothing, so engines would pass over the hook.`;
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function manifestOf(entries: readonly Entry[]): Uint8Array {
  const rows = [
    { version: 1, type: 'bundle', jailrun: jailrunVersion() },
    ...entries.map(({ path, bytes }) => ({ file: path, size: bytes.length, sha256: digestOf(bytes) })),
  ];
  return Buffer.from(rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
}

/** POSIX's ustar form; POSIX.1-2017, pax. The archive ends with two empty blocks. */
async function pack(entries: readonly Entry[]): Promise<Uint8Array> {
  const { Header } = await import('tar');
  const blocks = entries.flatMap(({ path, bytes, executable }) => {
    const header = new Header({
      type: 'File',
      path,
      mode: executable ? 0o755 : 0o644,
      uid: 0,
      gid: 0,
      size: bytes.length,
      mtime: new Date(0),
    });
    header.encode();
    return [header.block ?? Buffer.alloc(0), bytes, Buffer.alloc(-bytes.length & 511)];
  });
  return Buffer.concat([...blocks, Buffer.alloc(1024)]);
}

/** Whole, or not at all. */
function write(file: string, bytes: Uint8Array): void {
  const draft = `${file}.draft`;
  try {
    writeFileSync(draft, bytes, { mode: 0o644, flag: 'wx' });
    renameSync(draft, file);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'EEXIST') rmSync(draft, { force: true });
    throw fault(
      code === 'EEXIST'
        ? `${printable(draft)} is there already. Remove it, unless another bundle is being made.`
        : `${printable(file)} cannot be written (${code}). Name another file: --output FILE`,
      error,
    );
  }
}
