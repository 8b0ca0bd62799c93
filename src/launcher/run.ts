// A run's first half: everything up to the plan, with which the front starts the command.
import { closeSync, constants, openSync, writeSync } from 'node:fs';
import { Limit, Plan, PlanFd, PlanNumber, TaskFlag } from '../abi.js';
import type { ResolvedRole } from '../profiles/policy.js';
import { addon } from './addon.js';
import { stepSummary, withWorkspace } from './ci.js';
import { JailrunError } from './error.js';
import { asRefusal, type Kernel, openPins } from './kernel.js';
import { makePod, type NewPod, podName, removeSomeDeadPods, unmakePod } from './pods.js';
import { isRemembered, Notes, type PlannedStart, remember } from './remembered.js';
import {
  bindStack,
  compileStack,
  findRoles,
  heldRole,
  hostView,
  isAudited,
  type PolicySources,
  type StackRequest,
  sourcesHere,
} from './role.js';
import type { SummaryPlace } from './summary.js';

export interface RunRequest extends StackRequest {
  audit?: true;
  name?: string;
  exec?: true;
  json?: true;
  /** The front's descriptor for what jailrun says for itself; standard error unless named. */
  reportFd?: number;
  /** The file to which the report is added as Markdown, too. */
  summary?: string;
  command: string;
  /** Where the command stands in the front's own argument list. */
  position: number;
}

/** Makes the pod, sends the plan to the front and ends this process. Throws a JailrunError when anything fails. */
export async function run(request: RunRequest): Promise<never> {
  const sources = sourcesHere(request.policy);
  const notes = isRemembered(request) ? new Notes() : undefined;
  const roles = await findRoles(request, sources, 'jailrun --role NAME -- COMMAND', notes);
  const values = await withWorkspace(roles, request.var);
  const stack = boundFor(request, roles, values);
  const summary = await summaryOf(request);
  const kernel = openPins() ?? (await import('./attach.js')).attach();
  const start = planStart(request, { sources, stack, values, summary }, kernel, notes);
  removeSomeDeadPods(kernel);
  const pod = makePod(start.header);
  try {
    const { role, flags } = start;
    kernel.createPod({ id: pod.id, role, flags, keep: request.exec ? 0 : Limit.KEPT_DENIALS });
    if (request.reportFd !== undefined && request.json)
      announce({ name: start.header.name, id: String(pod.id), role: role.name, cgroup: pod.cgroup });
    sendPlan(kernel, pod, request, start.plan | (request.exec ? PlanNumber.EXEC : 0));
  } catch (error) {
    unmakePod(kernel, pod);
    throw asRefusal(error);
  }
  // What CI systems tell by the environment is asked anew each time.
  const own = values.length === (request.var?.length ?? 0) && summary === undefined;
  if (notes && own) remember(request, notes, kernel, start);
  return addon.exitNow(0);
}

/** The stack, of which all that can be told without the kernel is right. Throws a JailrunError USAGE or POLICY. */
function boundFor(
  { audit }: RunRequest,
  roles: readonly ResolvedRole[],
  values: readonly string[],
): ResolvedRole[] {
  const stack = bindStack(roles, values);
  // With --audit a stack may be of roles of both kinds.
  if (!audit) isAudited(stack);
  return stack;
}

/** Where a start's roles come from, and what they are. */
interface Resolved {
  sources: PolicySources;
  stack: readonly ResolvedRole[];
  /** NAME=VALUE */
  values: string[];
  summary?: SummaryPlace | undefined;
}

/** All of a start but its pod. */
export function planStart(
  request: RunRequest,
  { sources, stack, values, summary }: Resolved,
  kernel: Kernel,
  notes: Notes | undefined,
): PlannedStart {
  const audit = request.audit === true;
  const audited = audit || isAudited(stack);
  const gains = audited || stack.every(mayGain);
  const role = compileStack(stack, kernel, hostView(notes));
  return {
    role,
    flags: TaskFlag.ENTRY | (audited ? TaskFlag.AUDIT : 0),
    plan: (request.json ? PlanNumber.JSON : 0) | (gains ? 0 : PlanNumber.NO_GAIN),
    header: {
      ...heldRole(stack, role),
      name: podName(request.name ?? request.command),
      role: role.name,
      request: { ...sources, role: request.role ?? [], var: values, audit, gains },
      command: request.command,
      json: request.json === true,
      ...(summary && { summary }),
    },
  };
}

/** A run's pod, as the first line says that goes to --report-fd with --json. Fields are only ever added. */
export interface RunReport {
  version: 1;
  type: 'run';
  name: string;
  id: string;
  role: string;
  cgroup: string;
}

/** The line comes before the plan: where there is none nothing was started. */
function announce(pod: Omit<RunReport, 'version' | 'type'>): void {
  const row: RunReport = { version: 1, type: 'run', ...pod };
  writeSync(PlanNumber.REPORT, `${JSON.stringify(row)}\n`);
}

/** In GitHub Actions a step has a summary of its own. Who asks for JSON makes a report of that. */
async function summaryOf({ summary, exec, json }: RunRequest): Promise<SummaryPlace | undefined> {
  if (summary !== undefined && exec)
    throw new JailrunError(
      'USAGE',
      'With --exec nothing stays behind that could write the --summary. Leave one of them out.',
    );
  const file = summary ?? (exec || json ? undefined : await stepSummary());
  if (file === undefined) return undefined;
  return (await import('./summary.js')).placeSummary(file, summary !== undefined);
}

/** Whether set-id programs may change who runs them. */
export function mayGain({ allow, audit }: ResolvedRole): boolean {
  return audit || allow === 'any' || allow.includes('setuid');
}

function sendPlan(kernel: Kernel, pod: NewPod, request: RunRequest, flags: number): void {
  const descriptors = [];
  descriptors[PlanFd.CGROUP] = openSync(pod.cgroup, constants.O_RDONLY | constants.O_DIRECTORY);
  descriptors[PlanFd.STATE] = pod.stateFd;
  descriptors[PlanFd.ENROLLMENT] = kernel.mapFd('cgroup_enrollment');
  descriptors[PlanFd.PODS] = kernel.mapFd('pods');
  descriptors[PlanFd.COUNTERS] = kernel.mapFd('pod_counters');
  descriptors[PlanFd.DENIALS] = kernel.mapFd('pod_denials');
  const plan = Plan.encode({
    layout: Limit.LAYOUT,
    flags,
    command: request.position,
    report: request.reportFd ?? 0,
    pod: pod.id,
    cgroup: terminated(pod.cgroup),
    state: terminated(pod.statePath),
  });
  addon.sendPlan(PlanNumber.FD, plan, descriptors);
  closeSync(descriptors[PlanFd.CGROUP] as number);
}

function terminated(path: string): Uint8Array {
  const bytes = Buffer.from(path);
  if (bytes.length >= PlanNumber.PATH) {
    throw new JailrunError(
      'CGROUP',
      `The path ${path} is too long for a plan. Start jailrun in a cgroup that is less deep.`,
    );
  }
  return bytes;
}
