// npm run containers                what jailing a container costs, in a guest that counts its instructions
// npm run containers -- --kernel 6.12 --lsm bpf --rounds 25
//
// runc starts a container that exits at once, with hooks that do nothing (/bin/true), with jailrun's, and with jailrun's
// where the launcher is asked each time; createRuntime and poststop both. Figures are averages, of
// instructions that were executed, and with those that the guest waited for, a nanosecond each: with a new role in a
// map of maps the kernel waits for an RCU grace period. All of it lies on a tmpfs of the guest, because waiting
// for this machine's disk would count as well.
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, realpathSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { series } from './kernels.mjs';
import { Failure, main, root } from './progress.mjs';

const runc = '/usr/sbin/runc';
/** The root in which everything is measured. */
const tree = '/run/containers-cost';
const jailrun = join(root, 'dist/jailrun');
const args = ['jailrun', 'oci-hook'];

/** The launcher is asked by who names a policy, and the hook itself heeds none. */
const hooks = {
  '/bin/true': { path: '/bin/true', args: ['true'] },
  'jailrun, remembered': { path: jailrun, args, timeout: 600 },
  'jailrun, by the launcher': { path: jailrun, args, timeout: 600, env: ['JAILRUN_POLICY=/none'] },
};

function check(words, options = {}) {
  const { status, stdout, stderr, error } = spawnSync(words[0], words.slice(1), {
    encoding: 'utf8',
    ...options,
  });
  if (status !== 0) throw new Failure(`${words.join(' ')}: ${error?.message ?? stderr}`);
  return stdout;
}

const inTree = (words) =>
  check(['chroot', tree, ...words], { env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' } });

/** The program and the libraries that it loads, at their own paths in the tree. */
function copyProgram(program) {
  const libraries = spawnSync('ldd', [program], { encoding: 'utf8' }).stdout.match(/\/\S+/g) ?? [];
  for (const file of new Set([program, ...libraries])) {
    mkdirSync(join(tree, dirname(file)), { recursive: true });
    cpSync(realpathSync(file), join(tree, file));
  }
}

/** In the guest: a small root of its own. */
function makeTree() {
  mkdirSync(tree);
  check(['mount', '-t', 'tmpfs', '-o', 'mode=755', 'tmpfs', tree]);
  for (const name of ['dev', 'proc', 'sys', 'tmp', 'run', 'etc', 'image']) mkdirSync(join(tree, name));
  for (const name of ['dev', 'proc', 'sys']) check(['mount', '--rbind', `/${name}`, join(tree, name)]);
  for (const program of [process.execPath, '/bin/true', runc, join(root, 'dist/jailrun.node')])
    copyProgram(program);
  cpSync(join(root, 'dist'), join(tree, root, 'dist'), { recursive: true });
  cpSync(join(root, 'build/exit'), join(tree, 'image/exit'));
}

/** Returns its path in the tree. */
function makeBundle(name, hook) {
  const bundle = `/${name.replaceAll(/\W/g, '-')}`;
  mkdirSync(join(tree, bundle));
  check(['runc', 'spec'], { cwd: join(tree, bundle) });
  const file = join(tree, bundle, 'config.json');
  const config = JSON.parse(readFileSync(file, 'utf8'));
  Object.assign(config.process, { args: ['/exit'], terminal: false });
  config.root = { path: '/image', readonly: false };
  config.annotations = { 'io.jailrun.role': 'restricted' };
  config.linux.cgroupsPath = '/cost';
  config.hooks = { createRuntime: [hook], poststop: [hook] };
  writeFileSync(file, JSON.stringify(config));
  return bundle;
}

/** Nanoseconds in which no processor did anything, to ten milliseconds. */
const idle = () => Number(readFileSync('/proc/stat', 'utf8').split(/\s+/)[4]) * 1e7;

/** Millions of instructions that a container takes on average: executed, and with those that were waited for. */
function measure(bundle, rounds) {
  const before = idle();
  const begin = process.hrtime.bigint();
  for (let i = 0; i < rounds; i++) inTree([runc, 'run', '--bundle', bundle, 'cost']);
  const all = Number(process.hrtime.bigint() - begin);
  return [all - (idle() - before), all].map((nanoseconds) => nanoseconds / rounds / 1e6);
}

function measureAll(rounds) {
  makeTree();
  inTree([jailrun, 'attach']);
  // What is younger than two seconds is not remembered.
  check(['sleep', '3']);
  return Object.entries(hooks).map(([name, hook]) => {
    const bundle = makeBundle(name, hook);
    measure(bundle, 2);
    return [name, ...measure(bundle, rounds)];
  });
}

await main(async () => {
  const { values } = parseArgs({
    options: {
      kernel: { type: 'string', default: '6.12' },
      lsm: { type: 'string', default: 'bpf' },
      rounds: { type: 'string', default: '25' },
      guest: { type: 'boolean', default: false },
    },
  });
  const rounds = Number(values.rounds);
  if (!(rounds >= 1 && rounds <= 1000)) throw new Failure('--rounds is a number from 1 to 1000');
  if (values.guest) return console.log(JSON.stringify(measureAll(rounds)));
  if (!series.includes(values.kernel)) throw new Failure(`--kernel is one of ${series.join(', ')}`);
  const { setup } = await import('./setup.mjs');
  const { boot, lsmModes } = await import('./vm.mjs');
  if (!(values.lsm in lsmModes)) throw new Failure(`--lsm is one of ${Object.keys(lsmModes).join(', ')}`);
  await setup({ vm: true, bench: true, kernels: [values.kernel] });
  const { status, reported, reason, output } = await boot({
    kernel: values.kernel,
    lsm: values.lsm,
    counting: true,
    cpus: 1,
    timeoutSeconds: 3600,
    command: [process.execPath, import.meta.filename, '--guest', '--rounds', String(rounds)],
  });
  if (!reported || status !== 0) throw new Failure(reason || output);
  const found = JSON.parse(output);
  const [, executed, all] = found.find(([name]) => name === '/bin/true');
  console.log(
    `Linux ${values.kernel}, programs attached by ${values.lsm}: runc run, millions of instructions.\n`,
  );
  console.log(
    `${'hook'.padEnd(28)}${'executed'.padStart(10)}${'ratio'.padStart(8)}${'with waits'.padStart(12)}${'ratio'.padStart(8)}`,
  );
  for (const [name, own, whole] of found)
    console.log(
      `${name.padEnd(28)}${own.toFixed(0).padStart(10)}${(own / executed).toFixed(2).padStart(8)}${whole.toFixed(0).padStart(12)}${(whole / all).toFixed(2).padStart(8)}`,
    );
});
