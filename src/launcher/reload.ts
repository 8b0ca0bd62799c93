// reload: the policies are read anew, and every pod gets the role that it was started in as it is now. All pods
// change in one step; whatever is wrong with a policy, or with a role in one pod, changes none.
import { TaskFlag } from '../abi.js';
import type { CompiledRole } from '../profiles/compile.js';
import type { ResolvedRole } from '../profiles/policy.js';
import { viewOfPod } from './container.js';
import { applyEnrollments, type EnrollmentPlan, planEnrollments } from './enroll.js';
import { JailrunError } from './error.js';
import { type Kernel, openPins } from './kernel.js';
import {
  addHeldRole,
  type Enrolls,
  type HeldRole,
  heldRoleOf,
  listPods,
  type PodState,
  type RoleRequest,
  removeDeadPods,
} from './pods.js';
import { compileStack, findStack, heldRole, isAudited, sourcesHere, type View } from './role.js';
import { mayGain } from './run.js';

export interface ReloadRequest {
  /** Says what would change, and changes nothing. */
  dryRun?: boolean;
}

/** What a reload means for a pod, as `--json` prints it, one line each. Fields are only ever added. */
export interface ReloadReport {
  version: 1;
  type: 'reload';
  pod: string;
  podId: string;
  role: string;
  /** True where other rules hold it now, or would. */
  changed: boolean;
  /** What the role grants or denies that it did not before, each as `SECTION TEXT` or `SECTION: any`. */
  added: string[];
  removed: string[];
  /** What a reload cannot give a command that runs already. */
  notes: string[];
}

interface Change {
  pod: PodState & { id: bigint };
  compiled: CompiledRole;
  held: HeldRole;
  before: HeldRole;
  flags: number;
  report: ReloadReport;
}

/**
 * Reads the policies anew and gives every pod its role as it is now. Throws a JailrunError RELOAD that says what
 * is wrong and in which pods; then nothing has changed.
 */
export async function reload({ dryRun }: ReloadRequest = {}): Promise<ReloadEntry[]> {
  using kernel = openPins();
  if (kernel) removeDeadPods(kernel);
  const changes = kernel ? await planChanges(kernel) : [];
  const enrollments = kernel && (await planEnrollments(kernel, sourcesHere(undefined)));
  const owners = kernel && enrollments ? describeOwners(kernel.owners(), enrollments.owners) : [];
  if (kernel && enrollments && !dryRun) {
    for (const { pod, held } of changes) addHeldRole(pod, held);
    const changed = changes.filter(({ report }) => report.changed);
    kernel.changeRoles(changed.map(({ pod, compiled, flags }) => ({ id: pod.id, role: compiled, flags })));
    applyEnrollments(kernel, enrollments);
  }
  const described = enrollments ? describeEnrollments(enrollments) : [];
  return [...changes.map(({ report }) => report), ...described, ...owners];
}

async function planChanges(kernel: Kernel): Promise<Change[]> {
  const entries = new Map(kernel.listPods().map((entry) => [entry.id, entry]));
  const changes: Change[] = [];
  const faults = new Map<string, string[]>();
  const findRole = roleFinder(kernel);
  for (const pod of listPods()) {
    const entry = pod.id === undefined ? undefined : entries.get(pod.id);
    if (!entry) continue;
    try {
      changes.push(planChange(await findRole(pod), { ...pod, id: entry.id }, entry));
    } catch (error) {
      if (!(error instanceof JailrunError)) throw error;
      faults.set(error.message, [...(faults.get(error.message) ?? []), pod.name]);
    }
  }
  if (faults.size === 0) return changes;
  const texts = [...faults].map(([message, pods]) => `${message} (${pods.join(', ')})`);
  throw new JailrunError(
    'RELOAD',
    `Nothing has changed, since not every pod can have its role:\n${texts.join('\n')}`,
  );
}

/** A stack of roles as the policies have it now. */
interface Found {
  stack: ResolvedRole[];
  compiled: CompiledRole;
  held: HeldRole;
}

/** Pods that asked for the same get the same, even if a policy is written meanwhile, and it is compiled once. */
function roleFinder(kernel: Kernel): (pod: PodState) => Promise<Found> {
  const found = new Map<string, Promise<Found>>();
  const find = async (request: Omit<RoleRequest, 'audit' | 'gains'>, view: View): Promise<Found> => {
    const stack = await findStack(request, request, 'jailrun --role NAME -- COMMAND');
    const compiled = compileStack(stack, kernel, view);
    return { stack, compiled, held: heldRole(stack, compiled) };
  };
  return (pod) => {
    const { audit, gains, ...request } = pod.request;
    if (pod.container) return find(request, viewOfPod(pod, kernel));
    const key = JSON.stringify(request);
    const role = found.get(key) ?? find(request, viewOfPod(pod, kernel));
    found.set(key, role);
    return role;
  };
}

function planChange(
  { stack, compiled, held }: Found,
  pod: Change['pod'],
  entry: { role: bigint; flags: number },
): Change {
  const { audit, gains } = pod.request;
  const before = heldRoleOf(pod, entry.role);
  const flags = (entry.flags & ~TaskFlag.AUDIT) | (audit || isAudited(stack) ? TaskFlag.AUDIT : 0);
  const changed = compiled.digest !== entry.role || flags !== entry.flags;
  const notes =
    stack.every(mayGain) && !gains
      ? ['set-id programs go on without changing who runs them; start the command anew for that']
      : [];
  const report: ReloadReport = {
    version: 1,
    type: 'reload',
    pod: pod.name,
    podId: String(pod.id),
    role: pod.role,
    changed,
    added: missing(linesOf(held), linesOf(before)),
    removed: missing(linesOf(before), linesOf(held)),
    notes,
  };
  return { pod, compiled, held, before, flags, report };
}

const linesOf = ({ rules, other }: HeldRole): string[] => [
  ...rules.map(({ section, text }) => `${section} ${text}`),
  ...other,
];

function missing(from: string[], others: string[]): string[] {
  const known = new Set(others);
  return from.filter((line) => !known.has(line));
}

/** What begins or ends to be enrolled, as `--json` prints it, one line each. */
export interface EnrollmentReport {
  version: 1;
  type: 'enrollment';
  /** False where it ends. */
  begins: boolean;
  what: Enrolls;
  role: string;
}

function describeEnrollments({ add, remove }: EnrollmentPlan): EnrollmentReport[] {
  const report = (begins: boolean, what: Enrolls, role: readonly string[]): EnrollmentReport => ({
    version: 1,
    type: 'enrollment',
    begins,
    what,
    role: role.join('+'),
  });
  return [
    ...remove.flatMap(({ enrolls, request }) => (enrolls ? [report(false, enrolls, request.role)] : [])),
    ...add.map(({ enrolls, request }) => report(true, enrolls, request.role ?? [])),
  ];
}

/** A user whose files may claim roles from now on, or no longer, as `--json` prints it. */
export interface OwnerReport {
  version: 1;
  type: 'owner';
  begins: boolean;
  uid: number;
}

/** What a reload tells. */
export type ReloadEntry = ReloadReport | EnrollmentReport | OwnerReport;

function describeOwners(before: readonly number[], after: readonly number[]): OwnerReport[] {
  const report = (begins: boolean, uid: number): OwnerReport => ({ version: 1, type: 'owner', begins, uid });
  return [
    ...before.filter((uid) => !after.includes(uid)).map((uid) => report(false, uid)),
    ...after.filter((uid) => !before.includes(uid)).map((uid) => report(true, uid)),
  ];
}

const ownerLine = ({ begins, uid }: OwnerReport): string =>
  `${begins ? '+' : '-'} files of user ${uid} may claim roles`;

const enrollmentLine = ({ begins, what, role }: EnrollmentReport): string =>
  `${begins ? '+' : '-'} enrolls ${'claims' in what ? 'files that claim it' : Object.values(what)[0]} in role ${role}`;

/** For people: what came and went, pod by pod. */
export function reloadLines(all: readonly ReloadEntry[], dryRun: boolean): string[] {
  const reports = all.filter((one) => one.type === 'reload');
  const enrollments = all.filter((one) => one.type === 'enrollment');
  const owners = all.filter((one) => one.type === 'owner');
  const changed = reports.filter((report) => report.changed);
  const lines = changed.flatMap(({ pod, role, added, removed, notes }) => [
    `${pod}  role ${role}`,
    ...removed.map((line) => `  - ${line}`),
    ...added.map((line) => `  + ${line}`),
    ...(added.length + removed.length === 0 ? ['  the same rules, for the mounts of now'] : []),
    ...notes.map((note) => `  note: ${note}`),
  ]);
  const rest = reports.length - changed.length;
  const verb = dryRun ? 'would change' : 'changed';
  return [
    ...lines,
    `${changed.length} pods ${verb}; ${rest} stay as they are.`,
    ...enrollments.map(enrollmentLine),
    ...owners.map(ownerLine),
  ];
}
