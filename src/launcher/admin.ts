// attach, detach and status: the programs in the kernel, apart from any run.
import { attach as attachPrograms, detach as detachPrograms, isOwnBuild } from './attach.js';
import { applyEnrollments, planEnrollments } from './enroll.js';
import { openPins } from './kernel.js';
import { listPods, removeDeadPods } from './pods.js';
import { sourcesHere } from './role.js';

const say = (line: string): void => void process.stdout.write(`${line}\n`);

const wayOf = (fmodRet: number): string => (fmodRet ? 'fmod_ret/security_*' : 'the BPF LSM');

export async function attach(): Promise<void> {
  const before = openPins();
  const verb = !before
    ? 'Attached'
    : isOwnBuild(before)
      ? 'Already attached'
      : 'Attached anew, with all pods';
  const kernel = attachPrograms();
  const { meta } = kernel;
  say(`${verb}: ${meta.hooks} programs, through ${wayOf(meta.fmodRet)}.`);
  removeDeadPods(kernel);
  for (const { pod, role } of applyEnrollments(kernel, await planEnrollments(kernel, sourcesHere(undefined))))
    say(`Enrolls: ${pod}, role ${role}.`);
}

export function detach(force: boolean): void {
  const kernel = openPinsToRemove();
  if (kernel) removeDeadPods(kernel);
  const removed = detachPrograms({ force });
  if (!removed) say('Nothing is attached.');
  else if (removed.pods === 0) say(`Detached: ${removed.links} programs.`);
  else say(`Detached: ${removed.links} programs. What runs in ${removed.pods} pods is now held by nothing.`);
}

/** Pins that are broken or another version's can be removed all the same. */
function openPinsToRemove(): ReturnType<typeof openPins> {
  try {
    return openPins();
  } catch {
    return undefined;
  }
}

/** Prints what is attached and the pods that live. */
export function status(json: boolean): void {
  const kernel = openPins();
  if (kernel) removeDeadPods(kernel);
  const counters = new Map(kernel?.listPods().map((pod) => [pod.id, pod]));
  const pods = listPods().map(({ name, role, command, cgroup, id }) => ({
    name,
    role,
    command,
    cgroup,
    id: String(id ?? ''),
    denials: Number((id && counters.get(id)?.denials) ?? 0),
  }));
  if (json) {
    const attached = kernel && {
      layout: kernel.meta.layout,
      programs: kernel.meta.hooks,
      through: kernel.meta.fmodRet ? 'fmod_ret' : 'lsm',
      build: Buffer.from(kernel.meta.build).toString('hex'),
    };
    say(JSON.stringify({ version: 1, type: 'status', attached: attached ?? null, pods }));
    return;
  }
  if (!kernel) say('Nothing is attached. The next run attaches, and so does: jailrun attach');
  else say(`Attached: ${kernel.meta.hooks} programs, through ${wayOf(kernel.meta.fmodRet)}.`);
  say(pods.length === 0 ? 'No pod lives.' : `${pods.length} pods live:`);
  for (const pod of pods) say(`  ${pod.name}  role ${pod.role}  ${pod.denials} denials  ${pod.cgroup}`);
}
