// Where a pod's cgroup goes: below the cgroup of whoever starts it, so that limits, accounting and
// `systemctl stop` reach the pod as they would have reached the command.
import { mkdirSync, readdirSync, readFileSync, rmdirSync, statSync } from 'node:fs';
import { join, relative } from 'node:path';
import { unescapeOctal } from '../profiles/mounts.js';
import { JailrunError } from './error.js';

/** A pod's cgroup. The id is the directory's inode number, which is what the kernel calls the cgroup id. */
export interface Cgroup {
  path: string;
  id: bigint;
}

interface Hierarchy {
  /** Where the cgroup2 file system is mounted. */
  mountPoint: string;
  /** Which of its directories that mount shows; `/` but for bind mounts and cgroup namespaces. */
  root: string;
}

/** Finds cgroup2 in the text of /proc/self/mountinfo (proc(5): fields after ` - ` are type, source, options). */
function findHierarchy(mountinfo: string): Hierarchy | undefined {
  for (const line of mountinfo.split('\n')) {
    const [mount, fileSystem] = line.split(' - ');
    if (!mount || !fileSystem?.startsWith('cgroup2 ')) continue;
    const fields = mount.split(' ');
    const [root, mountPoint] = [fields[3], fields[4]];
    if (root && mountPoint) return { root: unescapeOctal(root), mountPoint: unescapeOctal(mountPoint) };
  }
  return undefined;
}

/** The directory of the caller's own cgroup. Throws JailrunError where the host has no cgroup2. */
export function ownCgroup(
  mountinfo = readFileSync('/proc/self/mountinfo', 'utf8'),
  cgroups = readFileSync('/proc/self/cgroup', 'utf8'),
): string {
  const hierarchy = findHierarchy(mountinfo);
  const own = cgroups.split('\n').find((line) => line.startsWith('0::'));
  if (!hierarchy || own === undefined) {
    throw new JailrunError(
      'NO_CGROUP2',
      'No cgroup2 file system is mounted, so a pod could not be told from other tasks. Mount it: mount -t cgroup2 cgroup2 /sys/fs/cgroup',
    );
  }
  const below = relative(hierarchy.root, own.slice('0::'.length));
  if (below === '..' || below.startsWith('../')) {
    throw new JailrunError(
      'NO_CGROUP2',
      `This process's cgroup ${own.slice(3)} is not below ${hierarchy.root}, which is all that ${hierarchy.mountPoint} shows. Mount cgroup2 from the cgroup namespace that jailrun runs in.`,
    );
  }
  return join(hierarchy.mountPoint, below);
}

/** Makes the pod's cgroup. */
export function makeCgroup(path: string): Cgroup {
  try {
    mkdirSync(path, { mode: 0o755 });
    return { path, id: statSync(path, { bigint: true }).ino };
  } catch (cause) {
    throw new JailrunError(
      'CGROUP',
      `The pod's cgroup ${path} cannot be made (${(cause as NodeJS.ErrnoException).code}). jailrun needs to write below its own cgroup; run it where cgroup2 is mounted read-write.`,
      { cause },
    );
  }
}

/** Whether a task lives in the cgroup or below it; false where the cgroup is gone. */
export function isPopulated(path: string): boolean {
  try {
    return /^populated 1$/m.test(readFileSync(join(path, 'cgroup.events'), 'utf8'));
  } catch (error) {
    if (isGone(error)) return false;
    throw error;
  }
}

/** Removes an empty cgroup with the ones that were made below it. Returns false where a task still lives there. */
export function removeCgroup(path: string): boolean {
  try {
    // Most have none below them, and listing the kernel's files in it takes longer than all else here.
    return removeOne(path) || (removeBelow(path) && removeOne(path));
  } catch (error) {
    if (isGone(error)) return true;
    throw error;
  }
}

function removeOne(path: string): boolean {
  try {
    rmdirSync(path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EBUSY') return false;
    throw error;
  }
}

function removeBelow(path: string): boolean {
  const entries = readdirSync(path, { withFileTypes: true });
  return entries.every((entry) => !entry.isDirectory() || removeCgroup(join(path, entry.name)));
}

/** ENODEV is what an open file of a removed cgroup answers. */
const isGone = (error: unknown): boolean =>
  ['ENOENT', 'ENODEV'].includes((error as NodeJS.ErrnoException).code ?? '');
