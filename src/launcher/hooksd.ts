// oci install and uninstall: the file by which podman and CRI-O run the hook for their containers (oci-hooks(5)).
import { existsSync, mkdirSync, readFileSync, realpathSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { type Engine, findEngines } from './engines.js';
import { JailrunError } from './error.js';
import { distrust, hookArguments, jailHook, jailStages } from './hook.js';
import { replaceFile } from './replacefile.js';

/** The file's name in each directory. */
export const hookFile = 'jailrun.json';

/** Which containers the hook is for: all, or those that have the annotation io.jailrun.role. */
export type Scope = 'always' | 'annotated';

/**
 * Engines take a pattern to match anywhere in a name, and `.` for no line's end: a value that has one would go by
 * an unjailed container.
 */
export const conditions = {
  always: { always: true },
  annotated: { annotations: { '^io\\.jailrun\\.role$': '^(?s:.*)$' } },
} as const;

export interface InstallRequest {
  /** The directory to use; those of the engines that are here unless given. */
  hooksDir?: string;
  annotated?: boolean;
  dryRun?: boolean;
}

/** What became of a file, as `--json` prints it. Fields are only ever added. */
export interface FileReport {
  version: 1;
  type: 'hook';
  file: string;
  did: 'install' | 'replace' | 'keep' | 'remove' | 'leave';
  /** True where nothing was done, since --dry-run says so. */
  dry: boolean;
  /** The file's text, where it is written. */
  text?: string;
}

const render = (scope: Scope): string =>
  `${JSON.stringify({ version: '1.0.0', hook: jailHook(), when: conditions[scope], stages: jailStages }, null, 2)}\n`;

/** A hook file as far as it is read here. */
export interface HookText {
  hook?: { path?: unknown; args?: unknown; timeout?: unknown };
  when?: Record<string, unknown>;
  stages?: unknown;
}

/** Whether a file's text registers a jailrun, this one or another. */
export function isJailrun(text: string): boolean {
  try {
    return isDeepStrictEqual((JSON.parse(text) as HookText | null)?.hook?.args, hookArguments);
  } catch {
    return false;
  }
}

/**
 * Writes the file where each engine finds it, in a directory of its that no other takes precedence over. Throws a
 * JailrunError NO_ENGINE, HOOKS_DIR, UNTRUSTED, or FOREIGN where somebody else's file has the name; then nothing is
 * written.
 */
export async function install({
  hooksDir,
  annotated,
  dryRun = false,
}: InstallRequest): Promise<FileReport[]> {
  const text = render(annotated ? 'annotated' : 'always');
  const targets = (await installDirectories(hooksDir)).map((directory) => {
    const file = join(directory, hookFile);
    const there = readIfAny(file);
    if (there !== undefined && !isJailrun(there))
      throw new JailrunError(
        'FOREIGN',
        `${file} is there and registers no jailrun, so it is left alone, and nothing was written. Move it away: mv ${file} ${file}.other`,
      );
    if (existsSync(directory)) {
      const fault = distrust(realpathSync(directory));
      if (fault !== undefined) throw new JailrunError('UNTRUSTED', `${fault} Take the others' right away.`);
    }
    return { directory, file, there };
  });
  return targets.map(({ directory, file, there }) => {
    const did = there === undefined ? 'install' : there === text ? 'keep' : 'replace';
    if (did !== 'keep' && !dryRun) {
      mkdirSync(directory, { recursive: true, mode: 0o755 });
      replaceFile(file, text);
    }
    return { version: 1, type: 'hook', file, did, dry: dryRun, ...(did !== 'keep' && { text }) };
  });
}

/** Removes what install() wrote, wherever an engine looks, and leaves another's file of the name. */
export async function uninstall({
  hooksDir,
  dryRun = false,
}: Omit<InstallRequest, 'annotated'>): Promise<FileReport[]> {
  const directories =
    hooksDir === undefined
      ? (await findEngines()).flatMap((engine) => engine.directories)
      : [resolve(hooksDir)];
  return [...new Set(directories)].flatMap((directory): FileReport[] => {
    const file = join(directory, hookFile);
    const there = readIfAny(file);
    if (there === undefined) return [];
    const did = isJailrun(there) ? 'remove' : 'leave';
    if (did === 'remove' && !dryRun) rmSync(file);
    return [{ version: 1, type: 'hook', file, did, dry: dryRun }];
  });
}

async function installDirectories(hooksDir: string | undefined): Promise<string[]> {
  if (hooksDir !== undefined) return [resolve(hooksDir)];
  const engines = await findEngines();
  if (engines.length === 0)
    throw new JailrunError(
      'NO_ENGINE',
      'Neither podman nor CRI-O is in PATH. Name the directory that the engine reads: --hooks-dir DIR. Docker reads none; see: jailrun oci wrap --help',
    );
  return [...new Set(engines.map(lastDirectory))];
}

function lastDirectory({ name, directories }: Engine): string {
  const last = directories.at(-1);
  if (last !== undefined) return last;
  throw new JailrunError(
    'HOOKS_DIR',
    `${name} is configured to read hooks from nowhere. Give its hooks_dir a directory, such as /usr/share/containers/oci/hooks.d.`,
  );
}

/** Undefined where there is no such file. */
export function readIfAny(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) return undefined;
    throw error;
  }
}

const verbs: Record<FileReport['did'], [done: string, would: string]> = {
  install: ['Installed', 'Would install'],
  replace: ['Replaced', 'Would replace'],
  keep: ['Already there', 'Already there'],
  remove: ['Removed', 'Would remove'],
  leave: ['Left, since it is another’s', 'Would leave, since it is another’s'],
};

/** For people: what became of each file, and what would be in it. */
export function fileLines(reports: readonly FileReport[]): string[] {
  if (reports.length === 0) return ['Nothing is installed.'];
  return reports.flatMap(({ file, did, dry, text }) => [
    `${verbs[did][dry ? 1 : 0]}: ${file}`,
    ...(dry && text !== undefined ? text.trimEnd().split('\n') : []),
  ]);
}
