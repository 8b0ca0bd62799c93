// The OCI hook: a runtime calls it when a container is about to begin (createRuntime) and when it has ended
// (poststop). What the container executes is jailed from its first program on, and so is what `podman exec` and its
// like bring into its cgroup later.
//
// A container like one before the front jails by itself (template.ts, native/container.c), and it ends a container that
// was denied nothing.
//
// crun throws away what a hook says, so it is said to the kernel's log as well, which every system's log has.
import { readFileSync, writeFileSync } from 'node:fs';
import type { CompiledRole } from '../profiles/compile.js';
import type { Mount } from '../profiles/mounts.js';
import type { ContainerPolicy } from '../profiles/policy.js';
import { NewContainer, parseState, type RuntimeState } from './container.js';
import { enrollTarget, jailedAlready, type MadePod, type Target } from './enroll.js';
import { JailrunError } from './error.js';
import { type Kernel, openPins, readDenials } from './kernel.js';
import { listPods, noteEnrolled, removeDeadPods } from './pods.js';
import { denialLines, describeDenials } from './report.js';
import { compileHere, containersInUse, findStack, type PolicySources } from './role.js';
import { ContainerNotes, rememberContainer, rememberFree } from './template.js';
import { printable } from './verdict.js';

/** What a container's annotations ask for. */
const roleAnnotation = 'io.jailrun.role';
const variablePrefix = 'io.jailrun.var.';
const ownPrefix = 'io.jailrun.';

/**
 * By these crun is told to run the container's code itself, as WebAssembly or in a virtual machine: then nothing is
 * executed, and nothing would be jailed (crun(1), "run.oci.handler").
 */
const handlers = ['run.oci.handler', 'module.wasm.image/variant'];

/** A hook has the environment that the runtime gives it, which is not its container's and often none at all. */
const sources: PolicySources = {};

/**
 * Reads the container's state from standard input. Throws a JailrunError, which stops the container, where it cannot
 * be jailed as the policies say.
 */
export async function ociHook(): Promise<void> {
  let name = 'of a runtime';
  try {
    const state = parseState(readFileSync(0, 'utf8'));
    name = state.id;
    if (state.status === 'stopped') end(state);
    else await begin(state);
  } catch (error) {
    if (error instanceof JailrunError) log(`container ${name}: ${error.message}`);
    throw error;
  }
}

async function begin(state: RuntimeState): Promise<void> {
  const notes = new ContainerNotes(state.annotations[roleAnnotation]);
  const request = requestOf(state, await containersInUse(sources, notes));
  if (!request) return rememberFree(notes);
  const stack = await findStack(request, sources, `${roleAnnotation}: NAME`, notes);
  using kernel = openPins() ?? (await import('./attach.js')).attach();
  const container = new NewContainer(state, kernel, notes);
  const target = targetOf(container);
  const compileFor = (mounts: readonly Mount[]): CompiledRole =>
    compileHere(stack, mounts, container.view.readLink);
  const remember = (made: MadePod): void => {
    // Values of variables are each container's own.
    if (request.var.length === 0) rememberContainer(notes, kernel, container.place, made, compileFor);
  };
  if (isEnrolled(container, kernel)) target.close();
  else enrollTarget(kernel, { request, sources, stack, target, remember });
}

/** What holds the container; undefined where the policies let it run without a jail. */
export function requestOf(
  { id, annotations }: Pick<RuntimeState, 'id' | 'annotations'>,
  policy: ContainerPolicy | undefined,
): { role: string[]; var: string[]; name: string } | undefined {
  const known = (key: string): boolean => key === roleAnnotation || key.startsWith(variablePrefix);
  const own = Object.keys(annotations).filter((key) => key.startsWith(ownPrefix));
  const unknown = own.find((key) => !known(key));
  if (unknown !== undefined)
    throw refuse(
      `${printable(unknown)} is no annotation of jailrun’s; there are ${roleAnnotation} and ${variablePrefix}NAME`,
    );
  const asked = annotations[roleAnnotation];
  const standard = policy?.default?.map(({ value }) => value);
  const role = asked === undefined ? standard : asked.split('+');
  const handler = role && handlers.find((key) => key in annotations);
  if (handler !== undefined)
    throw refuse(
      `with the annotation ${handler} the runtime runs its code itself and executes no program that could be jailed`,
    );
  const values = own.filter((key) => key.startsWith(variablePrefix));
  if (!role) {
    if (values.length > 0)
      throw refuse(`${printable(values[0] as string)} is there without ${roleAnnotation}`);
    return undefined;
  }
  if (asked !== undefined && asked !== standard?.join('+')) checkAsked(role, policy);
  const variables = values.map((key) => `${key.slice(variablePrefix.length)}=${annotations[key]}`);
  return { role, var: variables, name: id.slice(0, 12) };
}

/** Without a word of the policies any role is as good: none gives a container more than it has without. */
function checkAsked(role: readonly string[], policy: ContainerPolicy | undefined): void {
  if (!policy || policy.roles === 'any' || (!policy.default && !policy.roles)) return;
  const allowed = (policy.roles ?? []).map(({ value }) => value);
  const denied = role.find((name) => !allowed.includes(name));
  if (denied === undefined) return;
  const { file, line } = policy;
  throw refuse(
    `it asks for role ${printable(denied)}, and ${file}:${line} lets containers ask for ${allowed.join(', ') || 'none'} only; add it to containers.roles there`,
  );
}

const refuse = (why: string): JailrunError =>
  new JailrunError('OCI_ANNOTATION', `The container was not started: ${why}.`);

function targetOf(container: NewContainer): Target {
  const { place, view } = container;
  return {
    enrolls: { container: place.cgroup },
    container: place,
    label: place.id,
    view,
    check(kernel) {
      const other = kernel.podOfContainer(BigInt(place.cgroupId));
      if (other !== undefined) throw jailedAlready(`Cgroup ${place.cgroup}`, other);
      if (container.isJailed(kernel))
        throw new JailrunError(
          'JAILED',
          `The runtime of container ${printable(place.id)} is in a jail already, and so will be what it starts.`,
        );
    },
    enroll(kernel, pod) {
      kernel.enrollContainer(pod, BigInt(place.cgroupId), container.identify(kernel));
      return [];
    },
    close: () => container.close(),
  };
}

/** The hook may be configured twice, as one of the runtime's and one of its caller's. */
function isEnrolled({ place }: NewContainer, kernel: Kernel): boolean {
  const id = kernel.podOfContainer(BigInt(place.cgroupId));
  return listPods().some((pod) => pod.id === id && pod.enrolled && pod.container?.id === place.id);
}

/** Says what was denied, and removes the pod. A process that somebody has moved elsewhere keeps it. */
function end({ id }: RuntimeState): void {
  using kernel = openPins();
  if (!kernel) return;
  for (const pod of listPods()) {
    if (pod.container?.id !== id || pod.id === undefined) continue;
    const found = readDenials(kernel.mapFd('pod_counters'), kernel.mapFd('pod_denials'), pod.id);
    for (const line of denialLines(pod, describeDenials(found.denials, pod), found.lost)) {
      process.stderr.write(`jailrun: container ${printable(id)}: ${line}\n`);
      log(`container ${id}: ${line}`);
    }
    noteEnrolled(pod.statePath, false);
  }
  removeDeadPods(kernel);
}

/** A message's level, and who it is from (syslog(3)): an error of a daemon's. */
const errorOfDaemon = 3 | (3 << 3);

/** The kernel takes 1,000 bytes a line and some; printk() in kernel/printk/printk.c, LOG_LINE_MAX. */
const lineBytes = 900;

function log(text: string): void {
  const line = Buffer.from(`<${errorOfDaemon}>jailrun[${process.pid}]: ${printable(text)}`);
  // Without the end of its line the kernel would wait for more of it, and show it to nobody.
  const ended = Buffer.concat([line.subarray(0, lineBytes), Buffer.from('\n')]);
  try {
    writeFileSync('/dev/kmsg', ended);
  } catch {
    // It is said on standard error, too.
  }
}
