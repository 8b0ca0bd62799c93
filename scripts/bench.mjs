// npm run bench                        what jailrun costs, in a guest that counts its instructions
// npm run bench -- --kernel 6.12 --lsm bpf
//
// Three boots: `bare`, a kernel without LSMs, gives what all others are divided by; in `alone` the programs
// are all there is; in `beside` Debian's own LSMs are there too, for comparison with AppArmor and Landlock.
//
// QEMU's -icount gives the same figures however loaded this machine is. Everything that is measured lies on
// a tmpfs of the guest, because waiting for this machine's disk would count as well.
import { spawn, spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, realpathSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { series } from './kernels.mjs';
import { Failure, main, root } from './progress.mjs';

const rounds = 25;
/** The root in which everything is measured, and the directory in it that operations work in. */
const tree = '/run/bench';
const area = '/srv/bench';

const jailrun = join(root, 'dist/jailrun');
const floor = join(root, 'build/floor.bpf.o');
const latency = join(root, 'build/latency');
const operations = join(root, 'build/operations');
const requests = join(root, 'build/requests');
const nginx = '/usr/sbin/nginx';
const bubblewrap = '/usr/bin/bwrap';

/** The jail and the AppArmor profile say the same, as far as both can. */
const policy = `version: 1
roles:
  bench:
    id: 700
    files:
      read: ["@runtime", /etc/nginx.conf]
      write: [${area}, /dev/null]
      deny: [${area}/secret]
    exec: [${area}/program]
    network: {bind: ["tcp:@loopback:7700-7704", "udp:@loopback:7700-7703"], connect: [tcp:7700, udp:7701-7702]}
    allow: [setuid]
  bench-many:
    id: 701
    extends: [bench]
    files:
      read: [${Array.from({ length: 5000 }, (_, i) => `/opt/${i % 70}/${i}`).join(', ')}]
    network:
      connect: [${Array.from({ length: 10_000 }, (_, i) => `"tcp:10.${i >> 8}.${i & 255}.0/${24 + (i % 9)}:${i + 1}"`).join(', ')}]
`;
/** What somebody writes for a program of his own. */
const startPolicy = `version: 1
roles:
  start:
    id: 700
    extends: [restricted]
    files: {read: [/etc, /usr/share], write: [${area}]}
    network: {connect: ["tcp:@private:5432"]}
`;
/** One process, so that nothing waits for another; the page is the tree's file of a page. */
const site = `daemon off; master_process off; pid ${area}/nginx.pid; error_log stderr;
events {}
http { access_log off;
  ${['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${area}/${name};`).join(' ')}
  server { listen 127.0.0.1:7704; root ${area}/1/2; } }
`;
const profile = `profile jailrun-bench flags=(attach_disconnected) {
  ${tree}/{lib,lib64,usr,etc}/** mr,
  ${tree}${area}/** rwlk,
  ${tree}${area}/ r,
  deny ${tree}${area}/secret/** rwlk,
  ${tree}${area}/program mrix,
  signal,
  network inet,
  capability setuid,
  unix,
}
`;

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

const inTree = (words) =>
  check(['chroot', tree, ...words], { env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' } });

/** Loads the profile; false on a guest whose kernel does not have AppArmor on. */
function loadAppArmor() {
  if (!readFileSync('/sys/kernel/security/lsm', 'utf8').includes('apparmor')) return false;
  check(['/usr/sbin/apparmor_parser', '--replace', '--skip-cache'], { input: profile });
  return true;
}

/** The median of each operation, run by `starter` and held by what `holder` names. */
function measureOperations(starter, holder = []) {
  const lines = inTree([...starter, operations, area, ...holder])
    .trim()
    .split('\n');
  return Object.fromEntries(
    lines.map((line) => line.split(':')).map(([name, ticks]) => [name, Number(ticks)]),
  );
}

/** The median of a request to nginx, both ends together; nginx is run by `starter`. */
async function measureRequests(starter) {
  const words = [tree, ...starter, nginx, '-e', 'stderr', '-c', '/etc/nginx.conf'];
  const server = spawn('chroot', words, {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' },
  });
  const ended = new Promise((resolve) => server.once('close', resolve));
  try {
    return { 'request to nginx': Number(inTree([requests, '7704', '/file'])) };
  } finally {
    server.kill('SIGKILL');
    await ended;
  }
}

function printOperations(base, columns) {
  const head = Object.keys(columns).map((name) => name.padStart(11));
  console.log(`\n${'operation'.padEnd(36)}${'instructions'.padStart(13)}${head.join('')}`);
  for (const [name, ticks] of Object.entries(base)) {
    const ratios = Object.values(columns).map((column) =>
      (name in column ? (column[name] / ticks).toFixed(3) : '').padStart(11),
    );
    console.log(`${name.padEnd(36)}${String(ticks).padStart(13)}${ratios.join('')}`);
  }
}

function measureStarts() {
  const run = (...words) => [jailrun, ...words, '--', '/bin/true'];
  const [permissive, webserver] = ['permissive', 'webserver'].map((role) => run('--role', role));
  const own = run('--policy', '/etc/start.yaml', '--role', 'start');
  const denied = [jailrun, '--role', 'restricted', '--', '/usr/bin/cat', '/etc/shadow'];
  const commands = {
    'node -e 0': { words: [process.execPath, '-e', '0'] },
    'role permissive, for the first time': { words: permissive, forget: true },
    'role permissive': { words: permissive },
    'role permissive, with --exec': { words: run('--role', 'permissive', '--exec') },
    'role webserver, for the first time': { words: webserver, forget: true },
    'role webserver': { words: webserver },
    'a policy file, for the first time': { words: own, forget: true },
    'a policy file': { words: own },
    'a denial to report': { words: ['/bin/sh', '-c', `! ${denied.join(' ')} 2>/dev/null`] },
    'bwrap --dev-bind / / true': { words: [bubblewrap, '--dev-bind', '/', '/', '/bin/true'] },
    true: { words: ['/bin/true'] },
  };
  return Object.entries(commands).map(([name, { words, forget }]) => {
    inTree([latency, '1', '/none', ...words]);
    // The newest is the one that this start has left.
    const newest = forget ? check(['ls', '-t', join(tree, 'run/jailrun/starts')]).split('\n', 1)[0] : 'none';
    const output = inTree([latency, String(rounds), join('/run/jailrun/starts', newest), ...words]);
    return [name, ...output.split(' ').map((ticks) => Number(ticks) / 1e6)];
  });
}

function printStarts(starts) {
  const [[, unit]] = starts;
  console.log(
    `\n${'start to end'.padEnd(44)}${'million'.padStart(9)}${'ratio'.padStart(8)}    least to most`,
  );
  for (const [name, median, least, most] of starts) {
    const figures = median.toFixed(1).padStart(9) + (median / unit).toFixed(2).padStart(8);
    console.log(`${name.padEnd(44)}${figures}    ${least.toFixed(1)} to ${most.toFixed(1)}`);
  }
}

/** In the guest: a small root of its own. */
function makeTree() {
  mkdirSync(tree);
  check(['mount', '-t', 'tmpfs', '-o', 'mode=755', 'tmpfs', tree]);
  for (const directory of ['dev', 'proc', 'sys', 'tmp', 'run', 'etc']) mkdirSync(join(tree, directory));
  for (const directory of ['dev', 'proc', 'sys'])
    check(['mount', '--rbind', `/${directory}`, join(tree, directory)]);
  const programs = [
    process.execPath,
    '/bin/true',
    '/bin/sh',
    '/usr/bin/cat',
    latency,
    operations,
    requests,
    nginx,
    bubblewrap,
  ];
  programs.push(join(root, 'dist/jailrun.node'));
  for (const program of programs) copyProgram(program);
  cpSync(join(root, 'dist'), join(tree, root, 'dist'), { recursive: true });
  mkdirSync(join(tree, area), { recursive: true });
  cpSync(join(root, 'build/exit'), join(tree, area, 'program'));
  writeFileSync(join(tree, 'etc/bench.yaml'), policy, { mode: 0o644 });
  writeFileSync(join(tree, 'etc/start.yaml'), startPolicy, { mode: 0o644 });
  writeFileSync(join(tree, 'etc/nginx.conf'), site, { mode: 0o644 });
  for (const file of ['etc/passwd', 'etc/group']) cpSync(join('/', file), join(tree, file));
  writeFileSync(join(tree, 'etc/shadow'), '', { mode: 0o600 });
  // The first run makes the files.
  measureOperations([]);
}

const jail = (role, launcher = jailrun) => [
  ...[launcher, '--policy', '/etc/bench.yaml', '--role', role, '--exec', '--'],
];
const measureAll = async (starter) => ({
  ...measureOperations(starter),
  ...(await measureRequests(starter)),
});

/** The product with the object of test/bench/floor.bpf.c, once the real one is gone. */
function measureFloor() {
  const directory = '/opt/floor';
  cpSync(join(root, 'dist'), join(tree, directory), { recursive: true });
  cpSync(floor, join(tree, directory, 'jailrun.bpf.o'));
  inTree([jailrun, 'detach']);
  return measureAll(jail('bench', join(directory, 'jailrun')));
}

/** What a guest does in each boot: columns of operations, and how long starts take. */
const boots = {
  bare: async () => ({ columns: { bare: await measureAll([]) } }),
  alone: async () => {
    inTree([jailrun, 'attach']);
    const columns = {
      unjailed: await measureAll([]),
      jailed: await measureAll(jail('bench')),
      'many rules': await measureAll(jail('bench-many')),
    };
    return { columns: { ...columns, floor: await measureFloor() } };
  },
  beside: async () => {
    const columns = { 'no jailrun': await measureAll([]) };
    if (loadAppArmor()) columns.AppArmor = measureOperations([], ['apparmor', 'jailrun-bench']);
    columns.Landlock = measureOperations([], ['landlock']);
    inTree([jailrun, 'attach']);
    columns.unjailed = await measureAll([]);
    columns.jailed = await measureAll(jail('bench'));
    return { columns, starts: measureStarts() };
  },
};

await main(async () => {
  const { values } = parseArgs({
    options: {
      kernel: { type: 'string', default: '6.12' },
      lsm: { type: 'string', default: 'bpf' },
      cpus: { type: 'string', default: '1' },
      guest: { type: 'string' },
    },
  });
  if (values.guest) {
    makeTree();
    return console.log(JSON.stringify(await boots[values.guest]()));
  }
  if (!series.includes(values.kernel)) throw new Failure(`--kernel is one of ${series.join(', ')}`);
  const { setup } = await import('./setup.mjs');
  const { boot, lsmModes } = await import('./vm.mjs');
  if (!(values.lsm in lsmModes)) throw new Failure(`--lsm is one of ${Object.keys(lsmModes).join(', ')}`);
  await setup({ vm: true, bench: true, kernels: [values.kernel] });
  const measure = async (name, lsms) => {
    const kernelWords = lsms === undefined ? [] : [`lsm=${lsms}`];
    const { status, reported, reason, output } = await boot({
      kernel: values.kernel,
      counting: true,
      cpus: Number(values.cpus),
      timeoutSeconds: 1200,
      lsm: values.lsm,
      kernelWords,
      command: [process.execPath, import.meta.filename, '--guest', name],
    });
    if (!reported || status !== 0) throw new Failure(reason || output);
    return JSON.parse(output);
  };
  console.log(
    `Linux ${values.kernel}, programs attached by ${values.lsm}; guest instructions, and ratios to a kernel\nwithout LSMs.`,
  );
  const { bare } = (await measure('bare', 'capability')).columns;
  const alone = await measure('alone', values.lsm === 'bpf' ? 'bpf' : 'capability');
  console.log('\nNo other LSM:');
  printOperations(bare, alone.columns);
  const beside = await measure('beside');
  console.log("\nWith Debian's LSMs:");
  printOperations(bare, beside.columns);
  printStarts(beside.starts);
});
