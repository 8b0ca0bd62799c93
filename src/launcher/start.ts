// run() for programs: starts the front, which starts the command, and tells what becomes of it. The command gets
// the streams that the caller chose and nothing of this; what jailrun has to say comes on a descriptor of its own.
//
// Nothing of the caller's process is touched: no handler of a signal is set, and no file, directory or umask
// changed. When the caller dies the command goes on, as any child does, in its role and supervised.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { Readable, Stream, Writable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { Counters } from '../abi.js';
import { addon, distDirectory } from './addon.js';
import { JailrunError } from './error.js';
import { openPins, readDenials } from './kernel.js';
import { readState, removeDeadPods, statePathOf } from './pods.js';
import { kill } from './ps.js';
import { type DenialReport, describeDenials, type LostReport } from './report.js';
import type { RunReport } from './run.js';

/** A role, or a stack of them, each of which must permit what is done. */
export interface RoleChoice {
  role: string | readonly string[];
  /** A policy file that is read before the system's and the built-in ones. */
  policy?: string;
  /** The values of variables that the role declares. */
  vars?: Readonly<Record<string, string>>;
}

/** Where a stream of the command's comes from or goes to, as child_process.spawn() has it. */
export type StreamOption = 'inherit' | 'pipe' | 'ignore' | number | Stream;

/** What to run, and how. */
export interface RunRequest<
  In extends StreamOption = StreamOption,
  Out extends StreamOption = StreamOption,
  Err extends StreamOption = StreamOption,
> extends RoleChoice {
  /** The program and its arguments, which are never joined into one string. */
  command: readonly [program: string, ...args: string[]];
  /** Deny nothing, and report what would have been denied. */
  audit?: boolean;
  /** The pod's name in reports, to which a random end is added; the program's name unless given. */
  name?: string;
  /** The command's directory; the caller's unless given. */
  cwd?: string;
  /** The command's environment; the caller's unless given. `$JAILRUN_POLICY` in it counts, too. */
  env?: NodeJS.ProcessEnv;
  /** The command's standard streams; the caller's unless given. A pipe that nobody reads stops who fills it. */
  stdin?: In;
  stdout?: Out;
  stderr?: Err;
  /** What the command finds as its descriptors 3, 4 and so on; it gets no others. */
  descriptors?: readonly (number | Stream)[];
  /** Aborting it kills every process of the pod. */
  signal?: AbortSignal;
}

/** How a run ended. */
export interface Outcome {
  /** The command's exit status; null where a signal ended it. */
  status: number | null;
  /** The signal that ended the command. */
  signal: NodeJS.Signals | null;
  /** What was denied, each with how often; the first 256. */
  denials: DenialReport[];
  /** How many more there were. */
  lost: number;
  /** What failed when the command had ended: the report of the denials (REPORT), the pod's removal (POD_LEFT). */
  faults: JailrunError[];
}

/** A command that runs in its role. */
export interface Run<
  In extends StreamOption = StreamOption,
  Out extends StreamOption = StreamOption,
  Err extends StreamOption = StreamOption,
> {
  /** The pod's name, number (as `ps` shows it), role and cgroup. */
  readonly pod: Pick<RunReport, 'name' | 'id' | 'role' | 'cgroup'>;
  /** The supervisor's process, which passes signals on and ends as the command does. */
  readonly pid: number;
  readonly stdin: In extends 'pipe' ? Writable : null;
  readonly stdout: Out extends 'pipe' ? Readable : null;
  readonly stderr: Err extends 'pipe' ? Readable : null;
  /**
   * What is denied, a tenth of a second later at most, until the command has ended: of each task the same denial
   * once in a row, the first 256. It takes nothing from other readers, may be iterated several times, and keeps
   * nothing, since the kernel does. `count` is how often it was until then; Outcome has the last word.
   */
  readonly denials: AsyncIterable<DenialReport>;
  /**
   * Settles when the command has ended, whatever it started and left in the pod. Rejects with a JailrunError where
   * the command could not be executed (COMMAND_NOT_FOUND, COMMAND_NOT_INVOKED), and with the signal's reason
   * where that was aborted, once nothing of the pod runs. It is no unhandled rejection where nobody looks.
   */
  readonly ended: Promise<Outcome>;
  /**
   * Sends a signal to the command, SIGTERM unless named. SIGKILL ends every process of the pod, also those that
   * the command left. SIGSTOP would stop the supervisor alone and is refused; SIGTSTP stops both.
   */
  kill(signal?: NodeJS.Signals): Promise<void>;
}

/** Faults after the command's end, which take nothing from it. */
const lateCodes = ['REPORT', 'POD_LEFT'];

/** How long a denial may wait for its reader. */
const pollMilliseconds = 100;

type Row = RunReport | DenialReport | LostReport | { type: 'error'; code: string; message: string };

/**
 * Runs a command in a role. Resolves when its pod is made and the command about to start; rejects with a
 * JailrunError where jailrun fails before that, with the code that the command line shows (USAGE, UNKNOWN_ROLE,
 * POLICY, NOT_ROOT and so on), and with the signal's reason where that was aborted. Needs root, as the command
 * line does.
 */
export async function run<
  In extends StreamOption = 'inherit',
  Out extends StreamOption = 'inherit',
  Err extends StreamOption = 'inherit',
>(request: RunRequest<In, Out, Err>): Promise<Run<In, Out, Err>> {
  request.signal?.throwIfAborted();
  const running = new Running(startFront(request), request.signal);
  await running.begun;
  // Which of the streams there are the types say from the request.
  return running as unknown as Run<In, Out, Err>;
}

/** What names a stack, as the command line's options have it. */
export function stackOptions({ role, policy, vars = {} }: RoleChoice): {
  role: string[];
  policy?: string;
  var: string[];
} {
  const names = Object.keys(vars);
  const wrong = names.find((name) => name === '' || name.includes('='));
  if (wrong !== undefined)
    throw new JailrunError('USAGE', `vars: ${JSON.stringify(wrong)} is no name of a variable.`);
  return {
    role: typeof role === 'string' ? [role] : [...role],
    ...(policy !== undefined && { policy }),
    var: names.map((name) => `${name}=${vars[name]}`),
  };
}

function startFront(request: RunRequest): ChildProcess {
  const { command, audit, name, cwd, env, descriptors = [] } = request;
  if (command.length === 0)
    throw new JailrunError('USAGE', 'No command is named. Say: command: [PROGRAM, ARG, …]');
  const { role, policy, var: vars } = stackOptions(request);
  const streams = [request.stdin, request.stdout, request.stderr].map((stream) => stream ?? 'inherit');
  // With an equals sign no value is taken for an option.
  const options = [
    '--json',
    `--report-fd=${streams.length + descriptors.length}`,
    ...role.map((one) => `--role=${one}`),
    ...(policy === undefined ? [] : [`--policy=${policy}`]),
    ...vars.map((one) => `--var=${one}`),
    ...(audit ? ['--audit'] : []),
    ...(name === undefined ? [] : [`--name=${name}`]),
  ];
  try {
    return spawn(join(distDirectory, 'jailrun'), [...options, '--', ...command], {
      stdio: [...streams, ...descriptors, 'pipe'],
      ...(cwd !== undefined && { cwd }),
      ...(env && { env }),
    });
  } catch (cause) {
    throw new JailrunError('USAGE', `The command cannot be started: ${(cause as Error).message}`, { cause });
  }
}

class Running implements Run {
  readonly pid: number;
  readonly stdin: Run['stdin'];
  readonly stdout: Run['stdout'];
  readonly stderr: Run['stderr'];
  readonly begun: Promise<void>;
  readonly ended: Promise<Outcome>;
  readonly denials: AsyncIterable<DenialReport> = { [Symbol.asyncIterator]: () => this.#follow() };
  readonly #child: ChildProcess;
  readonly #exited: ReturnType<typeof exitOf>;
  readonly #signal: AbortSignal | undefined;
  readonly #outcome: Outcome = { status: null, signal: null, denials: [], lost: 0, faults: [] };
  #pod: RunReport | undefined;
  #over = false;
  #killed: Promise<void> | undefined;

  constructor(child: ChildProcess, signal: AbortSignal | undefined) {
    this.#child = child;
    this.#exited = exitOf(child);
    this.#signal = signal;
    // A front that cannot be started has no pid, and then `begun` rejects.
    this.pid = child.pid ?? -1;
    this.stdin = child.stdin as Run['stdin'];
    this.stdout = child.stdout as Run['stdout'];
    this.stderr = child.stderr as Run['stderr'];
    let begin = (): void => {};
    const begun = new Promise<void>((resolve) => {
      begin = resolve;
    });
    this.ended = this.#watch(begin);
    this.begun = Promise.race([begun, this.ended.then(() => {})]);
    // It is no unhandled rejection where nobody looks.
    this.ended.catch(() => {});
  }

  get pod(): Run['pod'] {
    // Nobody has this object before.
    const { name, id, role, cgroup } = this.#pod as RunReport;
    return { name, id, role, cgroup };
  }

  async kill(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    if (signal === 'SIGSTOP')
      throw new JailrunError('USAGE', 'SIGSTOP would stop the supervisor alone. Say SIGTSTP.');
    if (signal === 'SIGKILL') await this.#killAll();
    else this.#child.kill(signal);
  }

  async #watch(begin: () => void): Promise<Outcome> {
    const abort = () => {
      this.#killed = this.#end();
      // It is awaited below.
      this.#killed.catch(() => {});
    };
    this.#signal?.addEventListener('abort', abort, { once: true });
    try {
      const [[status, signal]] = await Promise.all([this.#exited, this.#listen(begin)]);
      Object.assign(this.#outcome, { status, signal });
      await this.#killed;
    } finally {
      this.#over = true;
      this.#signal?.removeEventListener('abort', abort);
    }
    if (this.#killed) await this.#clear();
    if (this.#killed) throw this.#signal?.reason;
    return this.#judge();
  }

  /** Without a pod the front has started nothing; where it is just about to, #clear() finds what that was. */
  async #end(): Promise<void> {
    if (this.#pod) await this.#killAll();
    else this.#child.kill('SIGKILL');
  }

  /** The pod is there before its command, so once may be too early; the supervisor ends when that is dead. */
  async #killAll(): Promise<void> {
    const exited = this.#exited.then(() => true);
    do await killPod(this.pod.id);
    while (!(await Promise.race([exited, sleep(pollMilliseconds, false, { ref: false })])));
  }

  /** What a supervisor leaves that was killed. */
  async #clear(): Promise<void> {
    if (this.#pod) await killPod(this.#pod.id);
    using kernel = openPins();
    if (kernel) removeDeadPods(kernel);
  }

  /** Reads what the front says, a line of JSON each. That is bounded: it reports 256 denials at most. */
  async #listen(begin: () => void): Promise<void> {
    // Where no process can be made for want of descriptors there are no streams.
    const report = (this.#child.stdio as ChildProcess['stdio'] | undefined)?.at(-1) as Readable | undefined;
    let rest = '';
    for await (const text of report?.setEncoding('utf8') ?? []) {
      const lines = `${rest}${text}`.split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) this.#note(JSON.parse(line) as Row);
      if (this.#pod) begin();
    }
  }

  #note(row: Row): void {
    if (row.type === 'run') this.#pod = row;
    else if (row.type === 'denial') this.#outcome.denials.push(row);
    else if (row.type === 'lost') this.#outcome.lost = row.denials;
    else this.#outcome.faults.push(new JailrunError(row.code, row.message));
  }

  #judge(): Outcome {
    const { faults, status, signal } = this.#outcome;
    const early = faults.find(({ code }) => !lateCodes.includes(code));
    if (early) throw early;
    if (this.#pod) return this.#outcome;
    throw new JailrunError(
      'LAUNCHER',
      `The command was not started: jailrun ended (${signal ?? `status ${status}`}) and did not say why. See: jailrun doctor`,
    );
  }

  /** The kernel's record while there is one, and what is new in the report that comes after it. */
  async *#follow(): AsyncGenerator<DenialReport> {
    const told = new Set<number>();
    const record = this.#over ? undefined : openRecord(this.pod);
    try {
      for (let over = false; !over; ) {
        over = this.#over;
        for (const denial of over ? (await this.ended).denials : (record?.read() ?? [])) {
          if (told.has(denial.sequence)) continue;
          told.add(denial.sequence);
          yield denial;
        }
        // The command's process keeps the event loop alive.
        if (!over) await Promise.race([this.ended, sleep(pollMilliseconds, undefined, { ref: false })]);
      }
    } finally {
      record?.close();
    }
  }
}

/** A pod's own record in the kernel. Undefined where the pod is gone. */
function openRecord({ name, id }: Run['pod']): { read(): DenialReport[]; close(): void } | undefined {
  const kernel = openPins();
  if (!kernel) return undefined;
  const [counters, denials] = [kernel.mapFd('pod_counters'), kernel.mapFd('pod_denials')];
  const key = new Uint8Array(new BigUint64Array([BigInt(id)]).buffer);
  let seen = 0n;
  return {
    read() {
      const value = addon.mapLookup(counters, key);
      const count = value ? Counters.decode(value).denials : seen;
      if (count === seen) return [];
      seen = count;
      // Read again each time: a reload may have given it another role.
      const pod = readState(statePathOf(name));
      return pod ? describeDenials(readDenials(counters, denials, BigInt(id)).denials, pod) : [];
    },
    close: () => kernel.close(),
  };
}

/** How the process ended. Throws a JailrunError SYSTEM where it could not be started. */
async function exitOf(child: ChildProcess): Promise<[number | null, NodeJS.Signals | null]> {
  try {
    return (await once(child, 'exit')) as [number | null, NodeJS.Signals | null];
  } catch (cause) {
    const { code, path } = cause as NodeJS.ErrnoException;
    throw new JailrunError(
      'SYSTEM',
      `The command was not started: ${path} cannot be (${code}). It must be executable, and the command's directory must exist.`,
      { cause },
    );
  }
}

/** A pod that is gone has no process left. */
async function killPod(id: string): Promise<void> {
  try {
    await kill(id);
  } catch (error) {
    if (!(error instanceof JailrunError && error.code === 'NO_POD')) throw error;
  }
}
