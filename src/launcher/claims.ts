// What a file claims by its extended attributes (bpf/claim.bpf.c), set, told and removed. Whoever executes it is
// jailed by what the file says then; nothing is kept here.
import { closeSync, constants, fstatSync, openSync } from 'node:fs';
import { type AddonError, addon } from './addon.js';
import { JailrunError } from './error.js';
import type { Kernel } from './kernel.js';
import { findStack, type PolicySources } from './role.js';
import { printable } from './verdict.js';

/** By the role's name, and Jailer's two: the role's number as 4 bytes, the pod's as 8, the lowest first. */
const byName = 'user.jailrun.role';
const byNumber = 'user.bpfjailer.role_id';
const jailersPod = 'user.bpfjailer.pod_id';

/** A claim as Jailer has it. */
export interface Claimed {
  role: number;
  pod: bigint;
}

/**
 * Lets the file claim a role, by Jailer's attributes. Throws a JailrunError REFUSED where it would not run then, and
 * NO_FILE; then it claims what it did.
 */
export function setClaim(kernel: Kernel, path: string, { role, pod }: Claimed): void {
  withFile(path, (fd, owner) => {
    const held = kernel.podOfClaim({ id: role });
    if (held === undefined || !kernel.owners().includes(owner))
      throw new JailrunError(
        'REFUSED',
        `Files of user ${owner} may not claim the role with the id ${role}, so ${printable(path)} would not run in it. A policy says which may: xattrs: {owners: [root], roles: [NAME]}`,
      );
    const name = addon.getXattr(fd, byName);
    if (name && kernel.podOfClaim({ name: nameIn(name) }) !== held)
      throw new JailrunError(
        'REFUSED',
        `${printable(path)} claims another role by ${byName}, and would not run with two. Remove that one first.`,
      );
    addon.setXattr(fd, jailersPod, new Uint8Array(new BigUint64Array([pod]).buffer));
    addon.setXattr(fd, byNumber, new Uint8Array(new Uint32Array([role]).buffer));
  });
}

/**
 * What the file claims, by whichever attribute. The pod is the one that Jailer's attribute names, and of a file
 * without it that of ours which it runs in. Throws a JailrunError NO_CLAIM, UNKNOWN_ROLE or NO_FILE.
 */
export async function readClaim(kernel: Kernel, path: string, sources: PolicySources): Promise<Claimed> {
  const [name, number, pod] = withFile(path, (fd) =>
    [byName, byNumber, jailersPod].map((attribute) => addon.getXattr(fd, attribute)),
  );
  const noClaim = (what: string): JailrunError =>
    new JailrunError('NO_CLAIM', `${printable(path)} claims no role${what}.`);
  if (!name && !number) throw noClaim('');
  if (number && number.length !== 4) throw noClaim(` by ${byNumber}, which has not the 4 bytes of a number`);
  if (pod && pod.length !== 8) throw noClaim(` by ${jailersPod}, which has not the 8 bytes of a number`);
  const role = number
    ? viewOf(number).getUint32(0, true)
    : await numberOf(nameIn(name as Uint8Array), sources);
  const held = pod ? viewOf(pod).getBigUint64(0, true) : kernel.podOfClaim({ id: role });
  if (held === undefined)
    throw noClaim(` that files may claim here: the policies have no such role under xattrs`);
  return { role, pod: held };
}

/** The file claims nothing any more. Throws a JailrunError NO_FILE. */
export function removeClaim(path: string): void {
  withFile(path, (fd) => {
    for (const name of [byNumber, byName, jailersPod]) addon.removeXattr(fd, name);
  });
}

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
const nameIn = (value: Uint8Array): string => Buffer.from(value).toString('latin1').replace(/\0+$/, '');

async function numberOf(name: string, sources: PolicySources): Promise<number> {
  const [role] = await findStack({ role: [name] }, sources, '');
  return role?.id as number;
}

function withFile<T>(path: string, action: (fd: number, owner: number) => T): T {
  let fd: number | undefined;
  try {
    // O_NONBLOCK: a FIFO would otherwise wait for a writer before it could be refused.
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const stats = fstatSync(fd);
    if (!stats.isFile()) throw new JailrunError('NO_FILE', `${printable(path)} is not a file.`);
    return action(fd, stats.uid);
  } catch (cause) {
    if (cause instanceof JailrunError) throw cause;
    const { code } = cause as AddonError;
    if (code === undefined) throw cause;
    throw new JailrunError(
      'NO_FILE',
      `The extended attributes of ${printable(path)} are out of reach (${code}). Name an executable file on a file system that has them.`,
      { cause },
    );
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}
