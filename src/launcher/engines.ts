// The container engines of this host: which are here, and where each of them looks for hooks.
import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { JailrunError } from './error.js';

/** An engine that reads files of hooks (oci-hooks(5)). */
export interface Engine {
  name: 'podman' | 'cri-o';
  /** Where it reads them, those that count most last: a file there takes the place of one of its name before. */
  directories: string[];
  /** The program, where it is known. */
  program?: string;
}

const defaultDirectories = ['/usr/share/containers/oci/hooks.d'];

/** The engines that are installed. Throws a JailrunError HOOKS_DIR where one's directories cannot be found out. */
export async function findEngines(): Promise<Engine[]> {
  const podman = findProgram('podman');
  const crio = findProgram('crio');
  return [
    ...(podman === undefined
      ? []
      : [{ name: 'podman' as const, program: podman, directories: askPodman(podman) }]),
    ...(crio === undefined ? [] : [{ name: 'cri-o' as const, directories: await readCrio('/etc/crio') }]),
  ];
}

/** Where a program is that others find in PATH; undefined where it is not installed. */
export function findProgram(name: string): string | undefined {
  const places = (process.env.PATH ?? '/usr/sbin:/usr/bin')
    .split(':')
    .filter((place) => place.startsWith('/'));
  return places
    .map((place) => join(place, name))
    .find((path) => {
      try {
        accessSync(path, constants.X_OK);
        return statSync(path).isFile();
      } catch {
        return false;
      }
    });
}

/**
 * Podman's directories come out of containers.conf(5), of which there are several with an order of their own in
 * each version. So podman is asked: its help names what it read as the default of --hooks-dir.
 */
function askPodman(program: string): string[] {
  const { stdout, error } = spawnSync(program, ['--help'], { encoding: 'utf8' });
  const [, list] = /^ +--hooks-dir .*\(default \[([^\]"]*)\]\)$/m.exec(stdout ?? '') ?? [];
  if (list !== undefined) return list === '' ? [] : list.split(',');
  throw new JailrunError(
    'HOOKS_DIR',
    `${program} does not say in its help where it looks for hooks. Name the directory: --hooks-dir DIR`,
    { cause: error },
  );
}

/** CRI-O's, from crio.conf(5) and what is dropped in beside it, of which the last one that says it counts. */
export async function readCrio(configuration: string): Promise<string[]> {
  const dropIns = join(configuration, 'crio.conf.d');
  const files = [
    join(configuration, 'crio.conf'),
    ...(existsSync(dropIns) ? readdirSync(dropIns).sort() : []).map((name) => join(dropIns, name)),
  ];
  let found = defaultDirectories;
  for (const file of files) if (existsSync(file)) found = (await hooksDirOf(file)) ?? found;
  return found;
}

async function hooksDirOf(file: string): Promise<string[] | undefined> {
  const { parse } = await import('smol-toml');
  try {
    const { crio } = parse(readFileSync(file, 'utf8')) as {
      crio?: { runtime?: { hooks_dir?: unknown } };
    };
    const said = crio?.runtime?.hooks_dir;
    if (said === undefined) return undefined;
    if (Array.isArray(said) && said.every((one) => typeof one === 'string')) return said;
    throw new Error('crio.runtime.hooks_dir is no list of strings');
  } catch (error) {
    throw new JailrunError(
      'HOOKS_DIR',
      `${file} cannot be read as CRI-O's configuration: ${(error as Error).message}. Mend it, or name the directory: --hooks-dir DIR`,
      { cause: error },
    );
  }
}
