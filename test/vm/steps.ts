// Walks jailrun's steps (test/vm/fault.c): runs it again and again, and at each of its steps something happens to it.
// And what there is of jailrun on a host, to be compared before and after.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { constants } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { jailrun, mapKeys, root } from './jail.js';

export const fault = join(root, 'build/fault');

/** A system call that changes something which others can see. */
export interface Step {
  /** 1 is the front, the others follow as they are started. */
  process: number;
  /** Which step of that process, from 1. */
  number: number;
  /** The call and what it is about, such as `mkdir /sys/fs/cgroup/jailrun-x`. */
  text: string;
}

/** `kill` its process, `front`: kill the front and so its children, or have the call fail with an errno. */
export type Action = 'kill' | 'front' | number;

export interface Command {
  /** jailrun unless given: another build of it. */
  program?: string;
  /** Behind `jailrun`. */
  words: string[];
  input?: string;
}

export interface Faulted {
  steps: Step[];
  status: number | null;
  stdout: string;
  stderr: string;
}

/** The steps that fault.c reports on descriptor 3. */
export const parseSteps = (report: string): Step[] =>
  [...report.matchAll(/^(\d+) (\d+) (.*)$/gm)].map(([, process, number, text = '']) => ({
    process: Number(process),
    number: Number(number),
    text: text.trim(),
  }));

const faultWords = (
  step: Step | undefined,
  action: Action | 'wait' | 'list',
  { program = jailrun, words }: Command,
): string[] => [
  ...[String(step?.process ?? 0), String(step?.number ?? 0), String(action), program, ...words],
];

function runFault(step: Step | undefined, action: Action | 'list', command: Command): Faulted {
  const { status, error, output } = spawnSync(fault, faultWords(step, action, command), {
    encoding: 'utf8',
    input: command.input ?? '',
    stdio: ['pipe', 'pipe', 'pipe', 'pipe'],
    timeout: 120_000,
  });
  if (error) throw error;
  const [, stdout = '', stderr = '', report = ''] = output.map((text) => text ?? '');
  return { steps: parseSteps(report), status, stdout, stderr };
}

/** The steps of a run to which nothing happens; it must succeed. */
export function listSteps(command: Command): Step[] {
  const { steps, status, stderr } = runFault(undefined, 'list', command);
  assert.equal(status, 0, stderr);
  return steps;
}

/** The steps of a start that is remembered, as are all those of the same command after it. */
export function listRemembered(command: Command): Step[] {
  for (let i = 0; i < 10; i++) {
    const steps = listSteps(command);
    // The launcher sends its plan.
    if (!steps.some(({ text }) => text === 'send')) return steps;
  }
  assert.fail('the start is not remembered');
}

const kindOf = (step: Step | undefined): string =>
  step ? `${step.process} ${step.text.split(' ')[0]} ${dirname(step.text)}` : '';

/** Of steps of one kind in a row the first and the last: between them there is but more or less of the same. */
const endsOf = (steps: readonly Step[]): Step[] =>
  steps.filter((step, i) => kindOf(step) !== kindOf(steps[i - 1]) || kindOf(step) !== kindOf(steps[i + 1]));

const walksAll = process.env.JAILRUN_STEPS === 'all';

/** The steps that a test walks: all of them with `--steps all`, which takes minutes in an emulated guest. */
export const walked = (steps: readonly Step[]): readonly Step[] => (walksAll ? steps : endsOf(steps));

/** The same where a walk to each takes long: of those whose text is of a kind the last, of each kind. */
export const walkedLast = (steps: readonly Step[], kinds: RegExp): readonly Step[] => {
  const known = steps.filter(({ text }) => kinds.test(text));
  const isLast = (step: Step, i: number): boolean =>
    !known.slice(i + 1).some((later) => kindOf(later) === kindOf(step));
  return walksAll ? steps : known.filter(isLast);
};

/** exit(2) cannot, nor a signal to one's own child. */
export const canFail = ({ text }: Step): boolean => text !== 'exit' && text !== 'signal';

/** What the call says when memory, the disk, a map or another table is full, or when something is broken. */
export function errorFor({ text }: Step): number {
  const { E2BIG, EAGAIN, EIO, ENOBUFS, ENOLCK, ENOMEM, ENOSPC } = constants.errno;
  const [call = '', operand] = text.split(' ');
  if (call === 'bpf') return operand === 'MAP_UPDATE_ELEM' ? E2BIG : ENOMEM;
  const errors: Record<string, number> = {
    ...{ clone: EAGAIN, exec: ENOMEM, lock: ENOLCK, send: ENOBUFS },
    ...{ create: ENOSPC, write: ENOSPC, mkdir: ENOSPC, rename: ENOSPC, rmdir: EIO, unlink: EIO },
  };
  const error = errors[call];
  assert.ok(error, `no error for ${text}`);
  return error;
}

/** jailrun's errors with --json: at least one, and none that nobody thought of. */
export function assertSaysWhy(stderr: string, where: string): void {
  const lines = stderr.split('\n').filter((line) => line.startsWith('{'));
  const errors = lines.map((line) => JSON.parse(line)).filter(({ type }) => type === 'error');
  assert.ok(errors.length > 0 && errors.every(({ code }) => code !== 'INTERNAL'), `${where}: ${stderr}`);
}

/** Runs the command, and fails where it does not come to this step. */
export function runTo(step: Step, action: Action, command: Command): Faulted {
  return requireHit(step, runFault(step, action, command));
}

function requireHit(step: Step, outcome: Faulted): Faulted {
  const [hit] = outcome.steps;
  const callOf = ({ text }: Step): string => text.split(' ', 1)[0] ?? '';
  assert.equal(hit && callOf(hit), callOf(step), `${describeStep(step)}: ${outcome.stderr}`);
  return outcome;
}

export const describeStep = ({ process, number, text }: Step): string =>
  `step ${number} of process ${process}, ${text}`;

/** Runs the command as far as this step, does `meanwhile` and lets it go on. `afterwards` is its input from then on. */
export async function runAround(
  step: Step,
  action: Action | 'wait',
  command: Command,
  { meanwhile, afterwards = '' }: { meanwhile?: () => void; afterwards?: string },
): Promise<Faulted> {
  const child = spawn(fault, faultWords(step, action, command), {
    stdio: ['pipe', 'pipe', 'pipe', 'pipe', 'pipe'],
  });
  const texts = ['', '', '', ''];
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
  const hit = new Promise<void>((resolve) => {
    for (const number of [1, 2, 3])
      child.stdio[number]?.on('data', (data) => {
        texts[number] += data;
        if (number === 3) resolve();
      });
  });
  await Promise.race([hit, ended, sleep(60_000, undefined, { ref: false })]);
  meanwhile?.();
  child.stdio[4]?.destroy();
  child.stdin?.on('error', () => {}).end(afterwards);
  const status = await ended;
  const [, stdout = '', stderr = '', report = ''] = texts;
  return requireHit(step, { steps: parseSteps(report), status, stdout, stderr });
}

/** What jailrun has on this host. Roles that are whole may stay in the kernel without a pod, up to a number. */
export interface Inventory {
  pins: string[];
  /** In /run/jailrun, without what is remembered of starts. */
  files: string[];
  cgroups: string[];
  /** Map -> keys. */
  maps: Record<string, string[]>;
  /** Rules of roles that nothing counts. */
  strayRules: string[];
  /** flock(2) locks in /run. */
  locks: string[];
  processes: string[];
}

export function takeInventory(): Inventory {
  const enrollments = ['cgroup_enrollment', 'watched_cgroups', 'watched_names', 'executables', 'containers'];
  const maps = [...enrollments, 'pods', 'pod_counters', 'pod_denials'];
  const attached = readNames('/sys/fs/bpf/jailrun').length > 0;
  const keys = (map: string): string[] => (attached ? mapKeys(map) : []);
  const roles = new Set(keys('roles'));
  return {
    pins: readNames('/sys/fs/bpf', true).filter((name) => name.startsWith('jailrun')),
    files: readNames('/run/jailrun', true).filter((name) => !/^starts(\/|$)/.test(name)),
    cgroups: readNames('/sys/fs/cgroup').filter((name) => name.startsWith('jailrun-')),
    maps: Object.fromEntries(maps.map((map) => [map, keys(map)])),
    strayRules: [...keys('role_rules'), ...keys('role_globs')].filter((key) => !roles.has(key)),
    locks: locksInRun(),
    processes: processes(),
  };
}

function readNames(directory: string, recursive = false): string[] {
  try {
    return readdirSync(directory, { recursive }).map(String).sort();
  } catch {
    return [];
  }
}

function locksInRun(): string[] {
  const device = statSync('/run').dev;
  const [major, minor] = [(device >> 8) & 0xfff, device & 0xff].map((half) =>
    half.toString(16).padStart(2, '0'),
  );
  return readFileSync('/proc/locks', 'utf8')
    .split('\n')
    .filter((line) => / FLOCK /.test(line) && line.includes(` ${major}:${minor}:`));
}

/** All that execute a program, which the kernel's own threads do not. */
function processes(): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        return [`${pid} ${readlinkSync(`/proc/${pid}/exe`)}`];
      } catch {
        return [];
      }
    })
    .sort();
}
