// A program under observation: what it says, what is said to it, and how it ends.
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import type { Readable, Writable } from 'node:stream';

/** How long anything may take. Generous, since some machines are emulated. */
const patience = 30_000;

export interface Ending {
  /** The exit status, or the name of the signal that ended it. */
  end: number | string;
  output: string;
  errors: string;
}

export class Session {
  readonly #child: ChildProcessByStdio<Writable, Readable, Readable>;
  readonly #ended: Promise<number | string>;
  #output = '';
  #errors = '';
  #seen = 0;
  #wake: () => void = () => {};

  constructor(argv: string[], options: { env?: NodeJS.ProcessEnv; cwd?: string } = {}) {
    const [program, ...args] = argv;
    if (program === undefined) throw new TypeError('no program');
    this.#child = spawn(program, args, { ...options, stdio: 'pipe' });
    this.#child.stdout.setEncoding('utf8').on('data', (text: string) => {
      this.#output += text;
      this.#wake();
    });
    this.#child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#errors += text;
    });
    // What a program no longer reads is its own business; a test looks at what comes of it.
    this.#child.stdin.on('error', () => {});
    this.#ended = new Promise((resolve, reject) => {
      this.#child.on('error', reject);
      this.#child.on('close', (status, signal) => resolve(signal ?? status ?? -1));
    });
  }

  get pid(): number {
    const { pid } = this.#child;
    if (pid === undefined) throw new Error('the program was not started');
    return pid;
  }

  get stdin(): Writable {
    return this.#child.stdin;
  }

  get stdout(): Readable {
    return this.#child.stdout;
  }

  /** Waits for `text` behind what earlier calls waited for, and returns what it matched. */
  async until(text: RegExp): Promise<RegExpMatchArray> {
    const deadline = Date.now() + patience;
    for (;;) {
      const match = this.#output.slice(this.#seen).match(text);
      if (match) {
        this.#seen += (match.index ?? 0) + match[0].length;
        return match;
      }
      const left = deadline - Date.now();
      if (left <= 0 || this.#child.stdout.destroyed) throw this.#disappointment(`no ${text}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, Math.min(left, 100));
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  write(text: string): void {
    this.#child.stdin.write(text);
  }

  /** Resolves once the program and whoever holds its output have ended. */
  async end(): Promise<Ending> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        this.#child.kill('SIGKILL');
        reject(this.#disappointment('no end'));
      }, patience);
    });
    try {
      const end = await Promise.race([this.#ended, late]);
      return { end, output: this.#output, errors: this.#errors };
    } finally {
      clearTimeout(timer);
    }
  }

  #disappointment(what: string): Error {
    return new Error(`${what} in ${JSON.stringify(this.#output)}, errors ${JSON.stringify(this.#errors)}`);
  }
}

/** Runs a program to its end with `input` on its standard input. */
export async function run(
  argv: string[],
  options: { env?: NodeJS.ProcessEnv; cwd?: string; input?: string } = {},
): Promise<Ending> {
  const session = new Session(argv, options);
  session.stdin.end(options.input ?? '');
  return session.end();
}

/** Polls until `condition` holds. */
export async function eventually(what: string, condition: () => boolean): Promise<void> {
  const deadline = Date.now() + patience;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`never: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Whether a process runs. A zombie does not, whoever is to reap it. */
export function isAlive(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}
