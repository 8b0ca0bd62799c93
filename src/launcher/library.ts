/**
 * jailrun as a library: what the command line does, with values in and values out. Nothing here prints, ends the
 * process or changes anything of it. What jailrun refuses, and what fails, is a JailrunError: `code` is for
 * programs and never changes, `message` says what is wrong and the mend.
 *
 * @packageDocumentation
 */
import * as admin from './admin.js';
import type { Detached } from './attach.js';
import * as checking from './check.js';
import * as enrolling from './enroll.js';
import * as asking from './explain.js';
import * as living from './ps.js';
import * as reloading from './reload.js';
import { type RoleChoice, stackOptions } from './start.js';

export type { AttachedReport, AttachReport, MapStatus, PodStatus, StatusReport } from './admin.js';
export type { Detached } from './attach.js';
export type { CheckedRole, CheckReport, ProblemReport, RoleReport } from './check.js';
export type { EnrollReport } from './enroll.js';
export { JailrunError } from './error.js';
export type { OperationName, VerdictReport } from './explain.js';
export type { PodReport, ProcessReport } from './ps.js';
export type { EnrollmentReport, OwnerReport, ReloadEntry, ReloadReport, ReloadRequest } from './reload.js';
export type { DenialReport } from './report.js';
export { type Outcome, type RoleChoice, type Run, type RunRequest, run, type StreamOption } from './start.js';
export type { Grant, PolicyLine } from './verdict.js';

/** What to ask of a role. */
export interface ExplainRequest extends RoleChoice {
  operation: asking.OperationName;
  /** A path, what a network rule names (`tcp 10.0.0.5:5432`, `udp :53`, `unix:/run/x.sock`), or a power. */
  target: string;
}

/**
 * Says whether a role, or every role of a stack, allows an operation, and which line of a policy decides. Runs
 * nothing, and needs neither root nor attached programs. Rejects with a JailrunError USAGE, TARGET, UNKNOWN_ROLE
 * or POLICY.
 */
export async function explain(request: ExplainRequest): Promise<asking.VerdictReport> {
  const { operation, target } = request;
  return asking.explain({ ...stackOptions(request), operation, target });
}

/**
 * Finds every problem of policy files, taken together with each other and with the built-in policies, and compiles
 * their roles for this host. What is wrong with a policy is no error but a value. Needs no root.
 */
export async function check(files: string | readonly string[]): Promise<checking.CheckReport> {
  return checking.check(typeof files === 'string' ? [files] : files);
}

/** The roles in use, in the order of their ids. Rejects with a JailrunError POLICY where a policy has a problem. */
export async function roles({ policy }: { policy?: string } = {}): Promise<checking.RoleReport[]> {
  return checking.roles(policy);
}

/** What to enroll: one of the three. */
export type EnrollRequest = RoleChoice & {
  audit?: boolean;
  /** The pod's name. */
  name?: string;
} & (
    | { /** A process. */ pid: number /** Its children, and theirs, as well. */; descendants?: boolean }
    | { /** A directory of cgroup2. */ cgroup: string }
    | { /** An executable file. */ exe: string }
  );

/**
 * Jails what runs already, or what others will start, in a pod of its own. When it resolves, all threads of a process
 * are jailed. Rejects with a JailrunError USAGE, UNKNOWN_ROLE, POLICY, NO_PROCESS, NO_CGROUP, NO_FILE, ENROLLED or
 * HELD_OPEN, and then nothing is enrolled; or UNSETTLED.
 */
export async function enroll(request: EnrollRequest): Promise<enrolling.EnrollReport> {
  const { audit, name } = request;
  return enrolling.enroll({
    ...stackOptions(request),
    ...(audit && { audit }),
    ...(name !== undefined && { name }),
    ...('pid' in request && { pid: String(request.pid), ...(request.descendants && { descendants: true }) }),
    ...('cgroup' in request && { cgroup: request.cgroup }),
    ...('exe' in request && { exe: request.exe }),
  });
}

/** Enrolls nothing more in a pod of enroll(), by its name; what is in it stays there. Rejects with NO_POD or USAGE. */
export async function unenroll(pod: string): Promise<void> {
  enrolling.unenroll(pod);
}

/** The pods that live, with their processes, as `jailrun ps --json` tells them. */
export async function pods(): Promise<living.PodReport[]> {
  return living.describePods();
}

/**
 * Kills every process of the pod with this name or number, or of the only one whose name begins so, and resolves to
 * the pod's name. Rejects with a JailrunError NO_POD, USAGE or STILL_LIVES.
 */
export async function kill(pod: string): Promise<string> {
  return living.kill(pod);
}

/**
 * Attaches the programs and pins them, or finds them attached; run() does so, too, where it is needed. Blocks the
 * event loop while the kernel checks them, about a second. Rejects with a JailrunError that says what this host
 * lacks.
 */
export async function attach(): Promise<admin.AttachReport> {
  return admin.attach();
}

/**
 * Removes the programs. Undefined where nothing was attached. Rejects with a JailrunError PODS_LIVE while pods
 * live, unless `force` says that what runs in them may go on, held by nothing.
 */
export async function detach(options: { force?: boolean } = {}): Promise<Detached | undefined> {
  return admin.detach(options);
}

/** What is attached, which pods live, and how full the kernel's maps are. */
export async function status(): Promise<admin.StatusReport> {
  return admin.status();
}

/**
 * Reads the policies anew and gives every pod its role as it is now, all of them in one step. Rejects with a
 * JailrunError RELOAD where not every pod can have its role; then nothing has changed.
 */
export async function reload(request: reloading.ReloadRequest = {}): Promise<reloading.ReloadEntry[]> {
  return reloading.reload(request);
}
