// npm run pods                      what very many pods cost, in a guest that counts its instructions
// npm run pods -- --pods 10000 --kernel 6.12 --lsm bpf
//
// Makes so many pods, each with one process that sleeps; lists, reloads and removes them. Each pod is made as a
// run makes it, by the launcher's own functions and with the same files, cgroup and map entries, but in one node
// process, since an emulated processor would take hours to start node so often; what a start costs among them all is
// measured by real ones. The processes are of test/bench/sleepers.c, and jailed: ps finds each of them in its pod.
//
// With `-icount` a nanosecond of the guest's clock is an instruction, so figures are in millions of instructions;
// what the guest waits for, such as the kernel's grace periods, counts as it passes. Memory is what the kernel
// says it has less of, before and after.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { series } from './kernels.mjs';
import { Failure, main, root } from './progress.mjs';

const jailrun = join(root, 'dist/jailrun');
const policyFile = '/run/pods.yaml';
/** The unjailed processes that the pods' are compared with. */
const plainCount = 1000;
const cgroups = '/sys/fs/cgroup';

/** One role for all pods; a reload changes it. */
const policyOf = (directory) => `version: 1
roles:
  many:
    id: 900
    files: {read: ["@runtime", ${join(root, 'build')}, ${directory}]}
    exec: any
`;

function say(...words) {
  const { status, stdout, stderr } = spawnSync(jailrun, words, { encoding: 'utf8', maxBuffer: 1 << 28 });
  if (status !== 0) throw new Failure(`jailrun ${words.join(' ')}: ${stderr}`);
  return stdout;
}

/** Millions of ticks that `action` takes, and what it gives. */
async function measure(action) {
  const begin = process.hrtime.bigint();
  const result = await action();
  return [Number(process.hrtime.bigint() - begin) / 1e6, result];
}

const measureRun = async (...words) => (await measure(() => say(...words)))[0];

/** Bytes in use, by /proc/meminfo's names. */
function memory() {
  globalThis.gc?.();
  writeFileSync('/proc/sys/vm/drop_caches', '3');
  const lines = readFileSync('/proc/meminfo', 'utf8').matchAll(/^(\w+): +(\d+) kB$/gm);
  const all = Object.fromEntries([...lines].map(([, name, kilobytes]) => [name, Number(kilobytes) * 1024]));
  const { MemTotal, MemFree, Slab, KernelStack, PageTables, Percpu, Shmem, AnonPages } = all;
  return { all: MemTotal - MemFree, Slab, KernelStack, PageTables, Percpu, Shmem, AnonPages };
}

const perPod = (before, after, count) =>
  Object.fromEntries(
    Object.keys(after).map((name) => [name, Math.round((after[name] - before[name]) / count)]),
  );

/** Starts a process in each cgroup. */
async function startSleepers(directories) {
  const child = spawn(join(root, 'build/sleepers'), { stdio: ['pipe', 'pipe', 'inherit'] });
  const closed = once(child, 'close');
  let started = 0;
  child.stdout.setEncoding('utf8').on('data', (text) => {
    started += text.split('\n').length - 1;
  });
  child.stdin.end(directories.map((directory) => `${directory}\n`).join(''));
  await closed;
  if (started !== directories.length) throw new Failure(`${started} of ${directories.length} processes`);
}

/** Ends what runs in the cgroups and waits until it has. */
async function empty(directories) {
  for (const directory of directories) writeFileSync(join(directory, 'cgroup.kill'), '1');
  const isEmpty = (directory) =>
    /^populated 0$/m.test(readFileSync(join(directory, 'cgroup.events'), 'utf8'));
  while (!directories.every(isEmpty)) await new Promise((resolve) => setTimeout(resolve, 100));
}

async function measurePlain() {
  const directories = Array.from({ length: plainCount }, (_, i) => join(cgroups, `plain-${i}`));
  const before = memory();
  for (const directory of directories) mkdirSync(directory);
  const between = memory();
  await startSleepers(directories);
  const after = memory();
  await empty(directories);
  for (const directory of directories) rmdirSync(directory);
  return {
    'a cgroup': perPod(before, between, plainCount),
    'a process': perPod(between, after, plainCount),
  };
}

/** Bytes of the maps that have entries for each pod, as the kernel counts them. */
function mapBytes() {
  const { stdout } = spawnSync('/usr/sbin/bpftool', ['-j', 'map', 'show'], {
    encoding: 'utf8',
    maxBuffer: 1 << 28,
  });
  const maps = JSON.parse(stdout).filter(({ name }) =>
    ['pods', 'pod_counters', 'cgroup_enrollm'].includes(name),
  );
  return maps.reduce((sum, { bytes_memlock }) => sum + bytes_memlock, 0);
}

async function measurePods(count) {
  const { openPins } = await import('../build/src/launcher/kernel.js');
  const { makePod } = await import('../build/src/launcher/pods.js');
  const { compileStack, findStack, heldRole } = await import('../build/src/launcher/role.js');
  const kernel = openPins();
  const sources = { policy: policyFile };
  const stack = await findStack({ role: ['many'] }, sources, '');
  const role = compileStack(stack, kernel);
  const request = { ...sources, role: ['many'], var: [], audit: false, gains: true };
  const make = (i) => {
    const pod = makePod({
      ...heldRole(stack, role),
      name: `many-${i}`,
      role: role.name,
      request,
      command: 'sleepers',
      json: false,
    });
    kernel.createPod({ id: pod.id, role, flags: 0, keep: 0 });
    return pod;
  };
  const before = memory();
  const mapsBefore = mapBytes();
  const [made, pods] = await measure(() => Array.from({ length: count }, (_, i) => make(i)));
  const between = memory();
  const maps = mapBytes() - mapsBefore;
  await startSleepers(pods.map(({ cgroup }) => cgroup));
  for (const { stateFd } of pods) closeSync(stateFd);
  const after = memory();
  return {
    pods,
    made: made / count,
    memory: {
      'a pod: cgroup, map entries, state file': perPod(before, between, count),
      'its process, jailed': perPod(between, after, count),
      maps: maps / count,
      file: stateBytes() / count,
    },
  };
}

function stateBytes() {
  const { stdout } = spawnSync('du', ['-sB1', '/run/jailrun/pods'], { encoding: 'utf8' });
  return Number(stdout.split('\t')[0]);
}

/** What real commands take with as many pods as there are now. */
async function measureCommands() {
  return {
    'jailrun --role permissive -- true': await measureRun('--role', 'permissive', '--', '/bin/true'),
    'jailrun status': await measureRun('status'),
    'jailrun ps': await measureRun('ps'),
    'jailrun reload --dry-run': await measureRun('reload', '--dry-run'),
  };
}

/** In the guest. */
async function measureAll(count) {
  writeFileSync(policyFile, policyOf('/opt/a'), { mode: 0o644 });
  say('attach');
  await measureCommands();
  const none = await measureCommands();
  const plain = await measurePlain();
  const { pods, made, memory: podMemory } = await measurePods(count);
  const commands = await measureCommands();

  const listed = say('ps', '--json')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  const jailed = listed.filter(({ processes }) => processes.length === 1).length;
  if (listed.length !== count || jailed !== count)
    throw new Failure(`ps lists ${listed.length} pods, ${jailed} with a process`);
  writeFileSync(policyFile, policyOf('/opt/b'), { mode: 0o644 });
  const [reloaded, said] = await measure(() => say('reload'));
  if (!said.endsWith(`${count} pods changed; 0 stay as they are.\n`)) throw new Failure(said.slice(-200));
  commands['jailrun reload'] = reloaded;
  commands['jailrun kill POD'] = await measureRun('kill', 'many-0');
  const afterReload = stateBytes() / count;
  await empty(pods.slice(1).map(({ cgroup }) => cgroup));
  commands['jailrun ps, which removes them all'] = await measureRun('ps');
  const left = [
    ...readdirSync('/run/jailrun/pods'),
    ...readdirSync(cgroups).filter((name) => name.startsWith('jailrun-')),
  ];
  if (left.length > 0) throw new Failure(`${left.length} are left: ${left.slice(0, 3)}`);
  return { none, plain, made, commands, memory: podMemory, afterReload, mapsLeft: mapBytes() };
}

const millions = (ticks) => ticks.toFixed(ticks < 10 ? 2 : 0).padStart(10);

function print(count, { none, plain, made, commands, memory: podMemory, afterReload }) {
  console.log(
    `\n${'millions of instructions'.padEnd(40)}${'no pod'.padStart(10)}${String(count).padStart(10)}${'per pod'.padStart(10)}`,
  );
  console.log(`${'make a pod, without starting node'.padEnd(60)}${millions(made)}`);
  for (const [name, ticks] of Object.entries(commands)) {
    const base = none[name];
    const share = (ticks - (base ?? none['jailrun status'])) / count;
    console.log(
      `${name.padEnd(40)}${base === undefined ? ''.padEnd(10) : millions(base)}${millions(ticks)}${share.toFixed(3).padStart(10)}`,
    );
  }
  const { maps, file, ...rows } = podMemory;
  const all = { ...plain, ...rows };
  const names = Object.keys(plain['a cgroup']);
  console.log(`\n${'bytes each'.padEnd(40)}${names.map((name) => name.padStart(12)).join('')}`);
  for (const [name, row] of Object.entries(all))
    console.log(`${name.padEnd(40)}${names.map((column) => String(row[column]).padStart(12)).join('')}`);
  console.log(
    `\nOf a pod ${maps.toFixed(0)} bytes are map entries and ${file.toFixed(0)} its state file; ${afterReload.toFixed(0)} after a reload.`,
  );
}

await main(async () => {
  const { values } = parseArgs({
    options: {
      pods: { type: 'string', default: '10000' },
      kernel: { type: 'string', default: '6.12' },
      lsm: { type: 'string', default: 'bpf' },
      guest: { type: 'boolean', default: false },
    },
  });
  const count = Number(values.pods);
  if (!(count >= 2 && count <= 30_000)) throw new Failure('--pods is a number from 2 to 30000');
  if (values.guest) return console.log(JSON.stringify(await measureAll(count)));
  if (!series.includes(values.kernel)) throw new Failure(`--kernel is one of ${series.join(', ')}`);
  const { setup } = await import('./setup.mjs');
  const { boot, lsmModes } = await import('./vm.mjs');
  if (!(values.lsm in lsmModes)) throw new Failure(`--lsm is one of ${Object.keys(lsmModes).join(', ')}`);
  await setup({ vm: true, kernels: [values.kernel] });
  const { status, reported, reason, output } = await boot({
    kernel: values.kernel,
    lsm: values.lsm,
    counting: true,
    cpus: 1,
    timeoutSeconds: 7200,
    command: [
      // A state file is open until its pod's process runs.
      ...['/bin/sh', '-c', 'ulimit -n 65536 && exec "$0" "$@"'],
      ...[process.execPath, '--expose-gc', import.meta.filename, '--guest', '--pods', String(count)],
    ],
  });
  if (!reported || status !== 0) throw new Failure(reason || output);
  console.log(`Linux ${values.kernel}, programs attached by ${values.lsm}.`);
  print(count, JSON.parse(output));
});
