// What a person sees while scripts work: steps with their time, and the log of one that failed.
import { spawn } from 'node:child_process';
import { createWriteStream, mkdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { finished } from 'node:stream/promises';

if (import.meta.dirname === undefined) {
  console.error(`error: this needs Node.js 20.11 or newer, and was started by ${process.version}`);
  process.exit(1);
}

/** The project's directory, without a slash at its end. */
export const root = dirname(import.meta.dirname);
const logs = join(root, '.cache/log');
const terminal = process.stderr.isTTY;

/** A failure that explains itself: shown without a stack trace. */
export class Failure extends Error {}

/** Steps under way, title to latest detail; several may run at once. */
const active = new Map();

function redraw() {
  const line = [...active].map(([title, detail]) => (detail ? `${title} (${detail})` : title)).join(' · ');
  process.stderr.write(`\r\x1b[K${line.slice(0, (process.stderr.columns ?? 80) - 1)}`);
}

function say(line) {
  process.stderr.write(terminal ? `\r\x1b[K${line}\n` : `${line}\n`);
}

/**
 * Runs `work` and shows `title` until it ends, then how long it took. `work` gets a function that shows a
 * detail such as "12 of 70 MB": at once on a terminal, as a line every ten seconds elsewhere.
 */
export async function step(title, work) {
  const begin = Date.now();
  let shown = begin;
  active.set(title, '');
  if (terminal) redraw();
  else say(`${title} …`);
  try {
    const result = await work((detail) => {
      active.set(title, detail);
      if (terminal) redraw();
      else if (Date.now() - shown >= 10_000) {
        shown = Date.now();
        say(`${title}: ${detail}`);
      }
    });
    active.delete(title);
    say(`${title}: ${((Date.now() - begin) / 1000).toFixed(1)} s`);
    return result;
  } finally {
    active.delete(title);
    if (terminal) redraw();
  }
}

/**
 * Runs a program to its end and resolves to its output, which also goes to .cache/log/NAME.log.
 * @param {string} name the log's
 * @param {string[]} argv
 * @param {{ cwd?: string, env?: Record<string, string>, onLine?: (line: string) => void, tail?: number }} [options]
 *   `env` is added to this process's; `tail` is how many of the last lines a failure shows
 * @throws {Failure} when it cannot start or ends with another status than 0
 */
export async function run(name, argv, { cwd = root, env = {}, onLine, tail = 30 } = {}) {
  mkdirSync(logs, { recursive: true });
  const path = join(logs, `${name}.log`);
  const log = createWriteStream(path);
  log.write(`+ ${argv.join(' ')}\n`);
  const child = spawn(argv[0], argv.slice(1), {
    cwd,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text) => {
      log.write(text);
      if (stream === child.stdout) output += text;
      for (const line of text.split('\n')) if (line.trim()) onLine?.(line.trim());
    });
  }
  const problem = await new Promise((resolve) => {
    child.once('error', (error) => resolve(`cannot run: ${error.message}`));
    child.once('close', (status, signal) =>
      resolve(status === 0 ? null : `ended with ${signal ?? `status ${status}`}`),
    );
  });
  log.end();
  await finished(log);
  if (problem === null) return output;
  const end = readFileSync(path, 'utf8').trimEnd().split('\n').slice(-tail).join('\n');
  throw new Failure(`${argv[0]} ${problem}. The end of its log, ${path}:\n${end}`);
}

/** Runs a script's main function: a Failure is told in words, any other error with its stack. */
export async function main(work) {
  try {
    process.exitCode = (await work()) ?? 0;
  } catch (error) {
    say(error instanceof Failure ? `error: ${error.message}` : error.stack);
    process.exitCode = 1;
  }
}
