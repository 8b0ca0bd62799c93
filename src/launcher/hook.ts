// The container hook as runtimes and engines are told of it: what they execute, when, and with how much patience.
import { lstatSync, realpathSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { distDirectory } from './addon.js';
import { JailrunError } from './error.js';

/** A hook as the OCI runtime specification has it. */
export interface Hook {
  path: string;
  args: string[];
  /** In seconds. 0 would end it at once in runc. */
  timeout: number;
}

/**
 * At createRuntime the container's process is in its cgroup and has not executed anything yet; the hook jails it
 * then, and what fails there stops the container. At poststop its pod is taken away.
 */
export const jailStages = ['createRuntime', 'poststop'] as const;

/** Long enough for a host under load to attach the programs first. */
const timeoutSeconds = 60;

/** The arguments by which jailrun is the hook. */
export const hookArguments = ['jailrun', 'oci-hook'];

/**
 * This jailrun as a hook. Throws a JailrunError UNTRUSTED where somebody else than root could replace it: the hook
 * runs as root, for every container.
 */
export function jailHook(): Hook {
  const path = realpathSync(join(distDirectory, 'jailrun'));
  const fault = distrust(path);
  if (fault !== undefined)
    throw new JailrunError('UNTRUSTED', `${fault} Install jailrun where only root writes, and say it again.`);
  return { path, args: hookArguments, timeout: timeoutSeconds };
}

/** Why root should not execute this file, by its real path; undefined where nothing is wrong. */
export function distrust(path: string): string | undefined {
  for (let place = path; ; place = dirname(place)) {
    const { uid, mode } = lstatSync(place);
    const where = place === path ? path : `${path}: ${place}, on the way to it,`;
    if (uid !== 0) return `${where} belongs to user ${uid}, and the hook runs as root.`;
    if ((mode & 0o022) !== 0)
      return `${where} can be written by others than root, and the hook runs as root.`;
    if (place === '/') return undefined;
  }
}
