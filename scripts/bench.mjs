// npm run bench                        what jailrun costs, in a guest that counts its instructions
// npm run bench -- --kernel 6.12 --lsm bpf
//
// QEMU's -icount gives the same figures however loaded this machine is. Everything that is measured lies on
// a tmpfs of the guest, because waiting for this machine's disk would count as well.
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, realpathSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { series } from './kernels.mjs';
import { Failure, main, root } from './progress.mjs';

const rounds = 25;
const tree = '/run/bench';

function check(words, options = {}) {
  const { status, stdout, stderr, error } = spawnSync(words[0], words.slice(1), {
    encoding: 'utf8',
    ...options,
  });
  if (status !== 0) throw new Failure(`${words.join(' ')}: ${error?.message ?? stderr}`);
  return stdout;
}

/** The program and the libraries that it loads, at their own paths in the tree. */
function copyProgram(program) {
  const libraries = spawnSync('ldd', [program], { encoding: 'utf8' }).stdout.match(/\/\S+/g) ?? [];
  for (const file of new Set([program, ...libraries])) {
    mkdirSync(join(tree, dirname(file)), { recursive: true });
    cpSync(realpathSync(file), join(tree, file));
  }
}

/** In the guest: a small root of its own, and each command's median in it. */
function measure() {
  mkdirSync(tree);
  check(['mount', '-t', 'tmpfs', 'tmpfs', tree]);
  for (const directory of ['dev', 'proc', 'sys', 'tmp', 'run', 'etc']) mkdirSync(join(tree, directory));
  for (const directory of ['dev', 'proc', 'sys'])
    check(['mount', '--rbind', `/${directory}`, join(tree, directory)]);
  const node = process.execPath;
  for (const program of [node, '/bin/true', join(root, 'build/latency')]) copyProgram(program);
  copyProgram(join(root, 'dist/jailrun.node'));
  cpSync(join(root, 'dist'), join(tree, root, 'dist'), { recursive: true });

  const jailrun = join(root, 'dist/jailrun');
  check(['chroot', tree, jailrun, 'attach']);
  const permissive = [jailrun, '--role', 'permissive'];
  const commands = {
    'node -e 0': [node, '-e', '0'],
    'jailrun --role permissive -- true': [...permissive, '--', '/bin/true'],
    'jailrun --role permissive --exec -- true': [...permissive, '--exec', '--', '/bin/true'],
  };
  let unit;
  console.log(`${'start to end'.padEnd(44)}${'million'.padStart(9)}${'ratio'.padStart(8)}    least to most`);
  for (const [name, words] of Object.entries(commands)) {
    const clean = { env: { PATH: '/usr/bin:/bin' } };
    const output = check(
      ['/usr/sbin/chroot', tree, join(root, 'build/latency'), String(rounds), ...words],
      clean,
    );
    const [median, least, most] = output.split(' ').map((ticks) => Number(ticks) / 1e6);
    unit ??= median;
    console.log(
      name.padEnd(44) +
        median.toFixed(1).padStart(9) +
        (median / unit).toFixed(2).padStart(8) +
        `    ${least.toFixed(1)} to ${most.toFixed(1)}`,
    );
  }
}

await main(async () => {
  const { values } = parseArgs({
    options: {
      kernel: { type: 'string', default: '6.12' },
      lsm: { type: 'string', default: 'bpf' },
      cpus: { type: 'string', default: '1' },
      guest: { type: 'boolean', default: false },
    },
  });
  if (values.guest) return measure();
  if (!series.includes(values.kernel)) throw new Failure(`--kernel is one of ${series.join(', ')}`);
  const { setup } = await import('./setup.mjs');
  const { boot, lsmModes } = await import('./vm.mjs');
  if (!(values.lsm in lsmModes)) throw new Failure(`--lsm is one of ${Object.keys(lsmModes).join(', ')}`);
  await setup({ vm: true, kernels: [values.kernel] });
  console.log(`Linux ${values.kernel}, programs attached by ${values.lsm}; guest instructions:`);
  const { status, reported, reason } = await boot({
    kernel: values.kernel,
    lsm: values.lsm,
    counting: true,
    cpus: Number(values.cpus),
    command: [process.execPath, import.meta.filename, '--guest'],
    onOutput: (bytes) => process.stdout.write(bytes),
  });
  if (!reported) throw new Failure(reason);
  return status;
});
