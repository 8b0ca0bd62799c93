// The C programs that the tests of the front run, compiled where and when they are needed.
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';

/** The project's top; this file's compiled form is build/test/front/tools.js. */
export const root = join(import.meta.dirname, '../../..');

export interface Tools {
  /** Starts a program in circumstances that node cannot make. */
  start: string;
  /** A command that tells what it was given and what reaches it. */
  command: string;
  /** Runs a program on a terminal. */
  terminal: string;
}

/** Compiles the tools into `directory`. */
export function buildTools(directory: string): Tools {
  return {
    start: compile('start', directory),
    command: compile('command', directory),
    terminal: compile('terminal', directory),
  };
}

/** Compiles test/front/NAME.c into `directory` and returns the program's path. */
export function compile(name: string, directory: string): string {
  const program = join(directory, name);
  // Static, so that they need no descriptor to start.
  gcc(program, ['-static', join(root, `test/front/${name}.c`)]);
  return program;
}

/** Runs the compiler as the project's build does. */
export function gcc(output: string, args: string[]): void {
  execFileSync('gcc', [
    '-O2',
    '-Wall',
    '-Wextra',
    '-Werror',
    `-I${join(root, 'bpf')}`,
    ...args,
    '-o',
    output,
  ]);
}
