// npm test                                everything: checks of form and types, unit tests, VM tests
// npm test -- test/vm/life.test.ts …      only these files, wherever they belong
// npm test -- --kernel 6.12 --lsm bpf     only this guest (both also with files)
// npm test -- test/vm/differential.test.ts --operations 100000 --seed 1
//                                         the random tests with more operations than 2000, from another seed
// npm test -- test/vm/reload.test.ts --reloads 1000
//                                         so many reloads while fifty pods fork, and not only three
// npm test -- test/vm/fast-containers.test.ts --starts 1000
//                                         so many containers one after the other, and not only forty
// npm test -- test/vm/crash.test.ts test/vm/crash-pods.test.ts --steps all
//                                         kills jailrun at every step, and not only at the first and last of a kind
//
// Tests under test/vm/ run in a VM, once for each kernel and way to attach, in a fresh guest each; all others
// run here. A skipped test, a todo and a guest without a result are failures.
import { spawn } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join, relative, resolve } from 'node:path';
import { parseArgs, stripVTControlCharacters } from 'node:util';
import { bundledTest } from './build.mjs';
import { series } from './kernels.mjs';
import { lint } from './lint.mjs';
import { Failure, main, root } from './progress.mjs';
import { setup } from './setup.mjs';
import { prepareImage } from './testimage.mjs';
import { boot, lsmModes } from './vm.mjs';

/** A test file that takes longer hangs. */
const fileSeconds = 900;
const guestSeconds = 3600;

const isVmTest = (file) => file.startsWith('test/vm/');

/**
 * What a command notices of its start, what real programs, servers and engines need, how a host boots, what the library
 * does and what becomes of a jailrun that is killed does not depend on the kernel, and takes long: that runs on one,
 * attached as most hosts attach, in two guests of its own.
 */
const onOneKernel =
  /^test\/vm\/(attaching|bundle|ci|containers-hooks|crash(-pods)?|fast(-\w+)?|image|library|network-(programs|servers)|nginx|oci-install|programs(-\w+)?|systemd|transparent|upgrade)\.test\.ts$/;

/**
 * How the programs are attached makes no difference to what they answer, to pods, to what is enrolled and to what
 * becomes of a jailrun that fails.
 */
const inOneWay =
  /^test\/vm\/(containers|(network-)?differential|enroll|fault|filesystems|life|ps|recall|reload|serve|stacks|xattr)\.test\.ts$/;

/**
 * The files that each guest runs on this kernel, all of them where they were asked for. Linux 7.2 preempts tasks inside the kernel in every mode it has, so it
 * skips fmod_ret programs, and jailrun refuses to attach there: only the test of that refusal makes sense.
 */
function filesFor(kernel, lsm, files, asked) {
  if (kernel === '7.2' && lsm === 'fmod_ret')
    return [files.filter((file) => file === 'test/vm/attach.test.ts')];
  if (asked) return [files];
  const everywhere = files.filter((file) => !onOneKernel.test(file));
  if (lsm === 'fmod_ret') return [everywhere.filter((file) => !inOneWay.test(file))];
  if (kernel !== '6.12') return [everywhere];
  // Together they would take longer than any other guest.
  const once = files.filter((file) => onOneKernel.test(file));
  return [everywhere, ...[0, 1].map((half) => once.filter((_, i) => i % 2 === half))];
}

/** The files that run on one kernel take three times as long. */
const expense = ({ files }) => files.reduce((sum, file) => sum + (onOneKernel.test(file) ? 3 : 1), 0);

/** The test files that were asked for, relative to the project. */
function selectFiles(names) {
  const all = readdirSync(join(root, 'test'), { recursive: true })
    .map((file) => join('test', file))
    .filter((file) => file.endsWith('.test.ts'))
    .sort();
  if (names.length === 0) return all;
  const files = names.map((name) => relative(root, resolve(name)));
  for (const file of files)
    if (!all.includes(file))
      throw new Failure(`${file} is not a test file; they are:\n  ${all.join('\n  ')}`);
  return files;
}

/** Tests run one after another: kernel state is shared, and detaching side by side has crashed kernels. */
const testCommand = (files, seconds = fileSeconds) => [
  process.execPath,
  '--test',
  '--test-concurrency=1',
  '--test-reporter=spec',
  `--test-timeout=${seconds * 1000}`,
  ...files.map((file) => (isVmTest(file) ? bundledTest(file) : join('build', file.replace(/ts$/, 'js')))),
];

/**
 * What node's closing totals say; undefined when there are none. Whatever did not plainly pass has failed, and
 * so has a file without a test, which node reports as one test that passed.
 */
function countResults(output) {
  const last = (name) => [...output.matchAll(new RegExp(`^ℹ ${name} (\\d+)$`, 'gm'))].at(-1)?.[1];
  const tests = last('tests');
  const passed = last('pass');
  if (tests === undefined || passed === undefined) return undefined;
  const empty = [...output.matchAll(/^✔ \/.*\.test\.js \(/gm)].length;
  return { passed: Number(passed) - empty, failed: Number(tests) - Number(passed) + empty };
}

/** A row of the closing table, from what a run of testCommand() printed and its exit status. */
function judge(place, { output, status, seconds, note = '' }) {
  const counts = countResults(stripVTControlCharacters(output)) ?? { passed: 0, failed: 0 };
  const silent = counts.passed + counts.failed === 0;
  // Something must count as a failure wherever node or the guest says that not all is well.
  if (counts.failed === 0 && (status !== 0 || silent)) {
    counts.failed = 1;
    note ||= silent ? 'no result' : `status ${status}`;
  }
  return { place, ...counts, seconds, note };
}

async function checkForm(print) {
  const begin = Date.now();
  const findings = await lint().then(
    () => undefined,
    (error) => error,
  );
  if (findings) print(`\n${findings.message}\n`);
  const failed = findings ? 1 : 0;
  const seconds = (Date.now() - begin) / 1000;
  return { place: 'form and types', passed: 1 - failed, failed, seconds, note: '' };
}

async function runHere(files, print) {
  print(`\n── unit tests, on this machine ──\n`);
  const begin = Date.now();
  const [program, ...args] = testCommand(files);
  const child = spawn(program, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  child.stderr.on('data', print);
  child.stdout.setEncoding('utf8').on('data', (text) => {
    print(text);
    output += text;
  });
  const status = await new Promise((done) => child.once('close', (code) => done(code ?? 1)));
  return judge('this machine', { output, status, seconds: (Date.now() - begin) / 1000 });
}

async function runInGuest({ kernel, lsm, files }, { seconds, env }, print) {
  print(`\n── Linux ${kernel}, programs attached by ${lsm} ──\n`);
  const begin = Date.now();
  const { output, status, reported, reason, bootSeconds } = await boot({
    kernel,
    lsm,
    command: testCommand(files, seconds),
    env,
    timeoutSeconds: Math.max(guestSeconds, seconds),
    onOutput: print,
  });
  if (!reported) print(`\n${reason}\n`);
  const note = reported ? `boot ${bootSeconds.toFixed(1)} s` : `no result: ${reason.split('\n', 1)[0]}`;
  return judge(`Linux ${kernel} ${lsm}`, { output, status, seconds: (Date.now() - begin) / 1000, note });
}

/**
 * Does what there is to do, each a function of where to print, two at a time where there are two processors, since
 * each keeps one busy. What one prints comes as it is printed, but not before all of those before it.
 */
async function inTwoLanes(jobs) {
  const outputs = jobs.map(() => ({ held: [], ended: false }));
  let shown = 0;
  const show = () => {
    for (; shown < outputs.length; shown++) {
      for (const bytes of outputs[shown].held.splice(0)) process.stdout.write(bytes);
      if (!outputs[shown].ended) return;
    }
  };
  const rows = [];
  let next = 0;
  const lane = async () => {
    for (let i = next++; i < jobs.length; i = next++) {
      rows[i] = await jobs[i]((bytes) => {
        outputs[i].held.push(bytes);
        show();
      });
      outputs[i].ended = true;
      show();
    }
  };
  await Promise.all(Array.from({ length: Math.min(2, availableParallelism()) }, lane));
  return rows;
}

function printTable(rows) {
  console.log(`\n${'where'.padEnd(22)}${'passed'.padStart(7)}${'failed'.padStart(7)}${'time'.padStart(8)}`);
  for (const { place, passed, failed, seconds, note } of rows) {
    const time = `${seconds.toFixed(0)} s`;
    const numbers = `${String(passed).padStart(7)}${String(failed).padStart(7)}${time.padStart(8)}`;
    console.log(`${place.padEnd(22)}${numbers}  ${note}`.trimEnd());
  }
}

await main(async () => {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      kernel: { type: 'string' },
      lsm: { type: 'string' },
      operations: { type: 'string' },
      seed: { type: 'string' },
      reloads: { type: 'string' },
      starts: { type: 'string' },
      steps: { type: 'string' },
    },
  });
  // An emulated kernel does ten random operations a second and more, and a reload of fifty busy pods in some; an
  // attach of four hundred steps takes as many times some seconds.
  const random = {
    seconds: Math.max(
      fileSeconds,
      Number(values.operations ?? 0) / 10,
      4 * Number(values.reloads ?? 0),
      4 * Number(values.starts ?? 0),
      values.steps === 'all' ? 7200 : 0,
    ),
    env: {
      ...(values.operations && { JAILRUN_OPERATIONS: values.operations }),
      ...(values.seed && { JAILRUN_SEED: values.seed }),
      ...(values.steps && { JAILRUN_STEPS: values.steps }),
      ...(values.reloads && { JAILRUN_RELOADS: values.reloads }),
      ...(values.starts && { JAILRUN_STARTS: values.starts }),
    },
  };
  const kernels = values.kernel ? [values.kernel] : series;
  const modes = values.lsm ? [values.lsm] : Object.keys(lsmModes);
  for (const name of kernels)
    if (!series.includes(name)) throw new Failure(`--kernel is one of ${series.join(', ')}`);
  for (const mode of modes)
    if (!(mode in lsmModes)) throw new Failure(`--lsm is one of ${Object.keys(lsmModes).join(', ')}`);
  const everything = positionals.length === 0 && !values.kernel && !values.lsm;

  const files = selectFiles(positionals);
  const inGuests = files.filter(isVmTest);
  const here = everything || positionals.length > 0 ? files.filter((file) => !isVmTest(file)) : [];
  await setup({ vm: inGuests.length > 0, kernels });
  if (inGuests.includes('test/vm/image.test.ts')) await prepareImage();

  const guests = kernels
    .flatMap((kernel) =>
      modes.flatMap((lsm) =>
        filesFor(kernel, lsm, inGuests, positionals.length > 0).map((files) => ({ kernel, lsm, files })),
      ),
    )
    .filter(({ files }) => files.length > 0)
    // The longest first, so that no processor waits for it at the end.
    .sort((a, b) => expense(b) - expense(a));
  const rows = await inTwoLanes([
    ...(everything ? [checkForm] : []),
    ...(here.length > 0 ? [(print) => runHere(here, print)] : []),
    ...guests.map((guest) => (print) => runInGuest(guest, random, print)),
  ]);

  const sum = (name) => rows.reduce((total, row) => total + row[name], 0);
  printTable(rows);
  console.log(`\n${sum('passed')} passed, ${sum('failed')} failed`);
  return sum('failed') > 0 || sum('passed') === 0 ? 1 : 0;
});
