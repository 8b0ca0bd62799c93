// Running things jailed in the VM, and what they leave behind.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  closeSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { Counters, Denial } from '../../src/abi.js';
import { addon } from '../../src/launcher/addon.js';
import { obey } from '../../src/launcher/commandline.js';
import { openPins } from '../../src/launcher/kernel.js';
import { listPods, readState } from '../../src/launcher/pods.js';
import { describePods, kill, type PodReport } from '../../src/launcher/ps.js';
import { fileName, isRemembered, Notes, remember } from '../../src/launcher/remembered.js';
import { type DenialReport, describeDenials, jsonLines } from '../../src/launcher/report.js';
import { bindStack, findRolesBy, sourcesHere } from '../../src/launcher/role.js';
import { planStart, type RunRequest } from '../../src/launcher/run.js';
import { parse } from '../../src/profiles/parse.js';

export const root = join(import.meta.dirname, '../../..');
export const jailrun = join(root, 'dist/jailrun');
export const act = join(root, 'build/act');

export interface Outcome {
  status: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
  /** Each as often as it was denied. */
  denials: DenialReport[];
  /** Errors of jailrun's own, with --json. */
  errors: { code: string; message: string }[];
}

/** The start that the words ask for, where they ask for nothing but what is known here. */
function readRequest(words: readonly string[]): RunRequest | undefined {
  const [text, list, flag] = [
    { type: 'string' },
    { type: 'string', multiple: true },
    { type: 'boolean' },
  ] as const;
  const end = words.indexOf('--');
  if (end < 0) return undefined;
  try {
    const { values } = parseArgs({
      args: words.slice(0, end),
      options: { role: list, var: list, policy: text, name: text, audit: flag, exec: flag, json: flag },
    });
    const { audit, exec, json, ...others } = values;
    const flags = { ...(audit && { audit }), ...(exec && { exec }), ...(json && { json }) };
    return { ...others, ...flags, command: words[end + 1] ?? '', position: end + 2 };
  } catch {
    return undefined;
  }
}

/** The starts that this file of tests has had remembered, each with its policy. */
const prepared = new Set<string>();

/**
 * Has the start remembered, so that the front makes it by itself, as it does all but the first one of a kind: the
 * launcher's own functions do here what an emulated kernel takes seconds for in a process of its own. Whatever
 * speaks against it the launcher is to say.
 */
function remembered(words: readonly string[]): void {
  const request = readRequest(words);
  if (!request || !isRemembered(request)) return;
  try {
    const key = `${fileName(request)} ${request.policy && readFileSync(request.policy, 'utf8')}`;
    using kernel = openPins();
    if (!kernel || prepared.has(key)) return;
    prepared.add(key);
    const notes = new Notes();
    const sources = sourcesHere(request.policy);
    const roles = findRolesBy(parse, request, sources, '', notes);
    const values = request.var ?? [];
    const start = planStart(request, { sources, stack: bindStack(roles, values), values }, kernel, notes);
    kernel.installRole(start.role);
    remember(request, notes, kernel, start);
  } catch {}
}

/** Beside jailrun there, test/vm/reporter.c stands for node. */
const installed = '/run/jailrun-test/installed';

function install(): void {
  if (existsSync(installed)) return;
  mkdirSync(`${installed}/lib`, { recursive: true });
  for (const name of readdirSync(join(root, 'dist')))
    if (name !== 'jailrun') symlinkSync(join(root, 'dist', name), join(installed, name));
  copyFileSync(jailrun, join(installed, 'jailrun'));
  copyFileSync(join(root, 'build/reporter'), join(installed, 'lib/ld-linux-x86-64.so.2'));
  symlinkSync(process.execPath, join(installed, 'node'));
}

/** What the kernel kept of a pod's denials. */
interface RawReport {
  state: string;
  counters: string;
  denials: string[];
}

/** The report that jailrun makes of it, in its lines. */
function reportOf({ state, counters, denials }: RawReport): string[] {
  const [read, bytes] = [join(installed, 'state'), (hex: string) => Buffer.from(hex, 'hex')];
  writeFileSync(read, bytes(state));
  const pod = readState(read);
  assert.ok(pod);
  const reports = describeDenials(
    denials.map((one) => Denial.decode(bytes(one))),
    pod,
  );
  return jsonLines(reports, Number(Counters.decode(bytes(counters)).lost));
}

/** Runs jailrun with --json and sorts what it writes to standard error. */
export function run(
  args: string[],
  options: { input?: string; env?: NodeJS.ProcessEnv; cwd?: string } = {},
): Outcome {
  if (!options.env?.JAILRUN_POLICY && !options.cwd) remembered(['--json', ...args]);
  install();
  const outcome = spawnSync(join(installed, 'jailrun'), ['--json', ...args], {
    encoding: 'utf8',
    maxBuffer: 64 << 20,
    ...options,
  });
  const { status, signal, stdout } = outcome;
  const stderr = outcome.stderr
    .split('\n')
    .flatMap((line) => (line.startsWith('{"version":1,"type":"raw"') ? reportOf(JSON.parse(line)) : [line]))
    .join('\n');
  const rows = stderr
    .split('\n')
    .filter((line) => line.startsWith('{"version":1,'))
    .map((line) => JSON.parse(line));
  return {
    status,
    signal,
    stdout,
    stderr,
    denials: rows.filter(({ type }) => type === 'denial').flatMap((row) => Array(row.count).fill(row)),
    errors: rows.filter(({ type }) => type === 'error'),
  };
}

/** Runs a command that prints `ran` in a mount namespace of its own, after some changes there. */
export function runAfter(changes: string): Outcome {
  const { status, signal, stdout, stderr } = spawnSync(
    'unshare',
    [
      '-m',
      'sh',
      '-c',
      `mount --make-rprivate / && ${changes} && exec "$@"`,
      'sh',
      jailrun,
      '--json',
      '--role',
      'permissive',
      '--',
      'echo',
      'ran',
    ],
    { encoding: 'utf8' },
  );
  const errors = stderr
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line));
  return { status, signal, stdout, stderr, errors, denials: [] };
}

/** What a subcommand said, and its status. */
export interface Said {
  status: number;
  stdout: string;
  stderr: string;
}

/** Has the command line do in this process what the words say: an emulated kernel takes a second to start another. */
export async function say(...words: string[]): Promise<Said> {
  const said: Said = { status: 0, stdout: '', stderr: '' };
  const failed = await obey(words, {
    write: (text) => {
      said.stdout += text;
    },
    end: (status) => {
      said.status = status;
    },
    fail: (text) => {
      said.stderr += text;
    },
  });
  return failed ? { ...said, status: 125 } : said;
}

/** The same where the environment names a policy. */
export async function sayBy(policy: string, ...words: string[]): Promise<Said> {
  process.env.JAILRUN_POLICY = policy;
  try {
    return await say(...words);
  } finally {
    delete process.env.JAILRUN_POLICY;
  }
}

/** What was denied, each once: COMMAND OPERATION TARGET, with N for the number of a process. */
export function told(denials: DenialReport[]): string[] {
  const lines = denials.map(({ command, operation, target }) => `${command} ${operation} ${target}`);
  return [...new Set(lines.map((line) => line.replace(/(\/proc\/|\/task\/)\d+/g, '$1N')))];
}

/** Writes a policy where root may use it, and returns its path. */
export function writePolicy(name: string, text: string): string {
  mkdirSync('/run/jailrun-test', { recursive: true, mode: 0o755 });
  const path = `/run/jailrun-test/${name}.yaml`;
  writeFileSync(path, text);
  return path;
}

/** What one line of a script of acts did. */
export interface Act {
  result: string;
  pid: number;
}

/** Runs `act`, or the program named, once for each row in one shell, jailed by `options` or, without them, not at all. */
export function runActs(
  rows: string[][],
  options?: string[],
  program = act,
): { acts: Act[]; denials: DenialReport[]; stderr: string } {
  const script = rows.map((row) => `${[program, ...row].map(quote).join(' ')}\n`).join('');
  const outcome = options
    ? run([...options, '--', '/bin/sh'], { input: script })
    : { ...spawnSync('/bin/sh', { input: script, encoding: 'utf8' }), denials: [] };
  const acts = outcome.stdout
    .trimEnd()
    .split('\n')
    .map((line) => {
      const [result = '', pid] = line.split(' ');
      return { result, pid: Number(pid) };
    });
  if (acts.length !== rows.length) {
    throw new Error(`${rows.length} acts, but ${acts.length} results:\n${outcome.stdout}\n${outcome.stderr}`);
  }
  return { acts, denials: outcome.denials, stderr: outcome.stderr };
}

/** Attaches the programs; fails the test file where that fails. What another file of tests has attached stays. */
export function attach(): void {
  using kernel = openPins();
  const own = createHash('sha256')
    .update(readFileSync(join(root, 'dist/jailrun.bpf.o')))
    .digest();
  if (kernel && own.subarray(0, kernel.meta.build.length).equals(kernel.meta.build)) return;
  const { status, stderr } = spawnSync(jailrun, ['attach'], { encoding: 'utf8' });
  if (status !== 0) throw new Error(stderr);
}

/** Removes the programs, whatever they hold. */
export function detach(): void {
  const { status, stderr } = spawnSync(jailrun, ['detach', '--force'], { encoding: 'utf8' });
  if (status !== 0) throw new Error(stderr);
}

/**
 * Ends a file of tests. The programs stay for the next one, since an emulated kernel takes longer to load them than
 * most files take; where pods live on, they and the programs go, so that nothing of this file meets the next.
 */
export function leave(): void {
  let isClean = false;
  try {
    isClean = pods().length === 0 && listPods().length === 0;
  } finally {
    if (!isClean) detach();
  }
}

/** What lives. It is asked here, and not of a jailrun that an emulated kernel would take a second to start. */
export const pods: () => PodReport[] = describePods;

/** Ends all pods but those of containers, which end with these. */
export async function endPods(): Promise<void> {
  for (const { name, enrolled } of listPods()) {
    // It may have ended by itself.
    if (enrolled) await say('unenroll', name);
    await kill(name).catch((error) => assert.equal(error.code, 'NO_POD'));
  }
  await until(() => pods().length === 0);
}

const pin = (map: string): string => `/sys/fs/bpf/jailrun/maps/${map}`;

function withMap<T>(map: string, action: (fd: number) => T): T {
  const fd = addon.objGet(pin(map));
  try {
    return action(fd);
  } finally {
    closeSync(fd);
  }
}

function keysOf(fd: number): Uint8Array[] {
  const keys: Uint8Array[] = [];
  for (let key = addon.mapNextKey(fd, undefined); key; key = addon.mapNextKey(fd, key)) keys.push(key);
  return keys;
}

/** How many entries a pinned map has. */
export const mapSize = (map: string): number => withMap(map, (fd) => keysOf(fd).length);

/** The keys of a pinned map, in hexadecimal. */
export const mapKeys = (map: string): string[] =>
  withMap(map, (fd) =>
    keysOf(fd)
      .map((key) => Buffer.from(key).toString('hex'))
      .sort(),
  );

/** Removes all entries of a pinned map. */
export const clearMap = (map: string): void =>
  withMap(map, (fd) => {
    for (const key of keysOf(fd)) addon.mapDelete(fd, key);
  });

/** Adds entries, for cgroups that do not exist, until the pinned map is full. */
export const fillMap = (map: string): void =>
  withMap(map, (fd) => {
    const { valueSize, maxEntries } = addon.mapInfo(fd);
    const count = maxEntries - keysOf(fd).length;
    const keys = new BigUint64Array(count).map((_, i) => (1n << 40n) + BigInt(i));
    addon.mapUpdateBatch(fd, new Uint8Array(keys.buffer), new Uint8Array(count * valueSize), count);
  });

/**
 * Waits until `condition` holds; fails after a minute, or as many seconds as are said: two emulated kernels may share what
 * runs them.
 */
export async function until(condition: () => boolean | Promise<boolean>, seconds = 60): Promise<void> {
  const end = Date.now() + seconds * 1000;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`waited in vain for ${condition}`);
    await sleep(50);
  }
}

const quote = (word: string): string => `'${word.replaceAll("'", "'\\''")}'`;
