// Starts by an installation whose launcher tells when it runs, so that it is seen whether node was needed.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openPins, type PodEntry } from '../../src/launcher/kernel.js';
import { removeDeadPods } from '../../src/launcher/pods.js';
import { attach, leave, root, until } from './jail.js';

export const area = '/run/jailrun-test/start';
export const installed = `${area}/dist`;
export const front = `${installed}/jailrun`;
export const probe = join(root, 'build/probe');
export const env = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' };
/** Where there are remembered starts, and the state files of pods. */
export const starts = '/run/jailrun/starts';
export const states = '/run/jailrun/pods';

/** Not empty once node has run. */
const marker = `${area}/node-ran`;

export function install(): void {
  attach();
  mkdirSync(area, { recursive: true });
  forgetNode();
  // Whoever runs it tells.
  chmodSync(marker, 0o666);
  cpSync(join(root, 'dist'), installed, { recursive: true });
  const loader = readFileSync(`${installed}/launcher.cjs`, 'utf8');
  const line = `require('node:fs').appendFileSync(${JSON.stringify(marker)}, 'x');\n`;
  writeFileSync(`${installed}/launcher.cjs`, line + loader);
}

/**
 * Until it is undone, what stands for node says that it was started and ends, and so no command starts: an emulated
 * kernel takes a second for node itself.
 */
export function withoutNode(): { [Symbol.dispose](): void } {
  const loader = `${installed}/lib/ld-linux-x86-64.so.2`;
  mkdirSync(`${installed}/lib`);
  writeFileSync(loader, `#!/bin/sh\necho x >>${marker}\nexit 125\n`, { mode: 0o755 });
  return { [Symbol.dispose]: () => rmSync(`${installed}/lib`, { recursive: true }) };
}

export function uninstall(): void {
  for (const directory of [area, starts]) rmSync(directory, { recursive: true, force: true });
  leave();
}

export const forgetNode = (): void => writeFileSync(marker, '');
export const hasNodeRun = (): boolean => readFileSync(marker, 'utf8') !== '';

export interface Started {
  status: number | null;
  stdout: string;
  stderr: string;
  /** Whether a node process was started. */
  node: boolean;
}

export interface Surroundings {
  input?: string;
  env?: NodeJS.ProcessEnv;
  cwd?: string;
  /** What stands before jailrun. */
  prefix?: string[];
}

/** Runs the installation's jailrun. */
export function start(words: string[], { prefix = [], ...options }: Surroundings = {}): Started {
  forgetNode();
  const [program = '', ...rest] = [...prefix, front, ...words];
  const { status, stdout, stderr } = spawnSync(program, rest, { encoding: 'utf8', env, ...options });
  return { status, stdout, stderr, node: hasNodeRun() };
}

/** The words that start what answers questions about files, to become it. */
export const asking = (...roles: string[]): string[] => [
  ...roles.map((role) => `--role=${role}`),
  ...['--exec', '--', probe],
];

/** Whether one can read the files: the answer has a letter for each, o where one can and d where not. */
export const about = (files: readonly string[]): string => files.map((file) => `r ${file}\n`).join('');

/** The answer, and whether node was needed for it. */
export function reads(files: readonly string[], words: string[]): [string, boolean] {
  const { status, stdout, stderr, node } = start(words, { input: about(files) });
  assert.equal(status, 0, stderr);
  return [stdout, node];
}

/** Starts the command until no node is needed for it. What is younger than two seconds is not remembered. */
export async function settle(words: string[]): Promise<void> {
  await until(() => !start(words, { input: '' }).node);
}

export function podEntries(): PodEntry[] {
  const kernel = openPins();
  try {
    return kernel?.listPods() ?? [];
  } finally {
    kernel?.close();
  }
}

/** What each jailrun but a remembered start begins with. */
export function sweep(): void {
  const kernel = openPins();
  assert.ok(kernel);
  removeDeadPods(kernel);
  kernel.close();
}

export const podCgroups = (): string[] =>
  readdirSync('/sys/fs/cgroup').filter((name) => name.startsWith('jailrun-'));
