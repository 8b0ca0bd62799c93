// Builds dist/ (what is shipped) and build/ (what the tests run). A step is done again only when something
// that goes into it has changed.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { Failure, main, root, run, step } from './progress.mjs';

const stamps = '.cache/build';
const node = process.execPath;

/** As deep as the modules of which they are made, which find the project from there. */
const vmTests = 'build/bundled/vm';
/** The bundle of a file of tests below test/vm/. */
export const bundledTest = (file) =>
  join(vmTests, file.slice('test/vm/'.length).replaceAll('/', '-').replace(/ts$/, 'js'));

/**
 * The steps. `inputs` are the files, or directories with the endings that count, that decide about the
 * outcome beside this file and the tools; `outputs` must exist afterwards; `after` names steps to wait for.
 */
const steps = {
  'generated sources': {
    inputs: [['bpf/abi.h'], ['src/abi.ts'], ['scripts/generate.mjs']],
    outputs: [],
    run: () => run('generate', [node, 'scripts/generate.mjs', '--check']),
  },
  'BPF object': {
    inputs: [['bpf', '.c', '.h']],
    outputs: ['dist/jailrun.bpf.o'],
    run: buildBpf,
  },
  front: {
    inputs: [['native', '.c', '.h'], ['bpf/abi.h']],
    outputs: ['dist/jailrun'],
    run: buildFront,
  },
  addon: {
    inputs: [
      ['native', '.cc', '.gyp'],
      ['native/sha256.c'],
      ['native/sha256.h'],
      ['bpf/abi.h'],
      ['package-lock.json'],
    ],
    outputs: ['dist/jailrun.node'],
    run: buildAddon,
  },
  launcher: {
    inputs: [['src', '.ts', '.cjs'], ['package.json'], ['package-lock.json']],
    outputs: ['launcher.cjs', 'launcher-main.js', 'tar.cjs', 'toml.cjs', 'yaml.cjs'].map(
      (name) => `dist/${name}`,
    ),
    run: bundleLauncher,
  },
  library: {
    inputs: [['src', '.ts', '.json'], ['tsconfig.json'], ['package.json'], ['package-lock.json']],
    outputs: ['dist/library.js', 'dist/types/launcher/library.d.ts'],
    run: buildLibrary,
  },
  'code cache': {
    after: ['launcher', 'addon', 'built-in roles'],
    inputs: [
      ['src', '.ts', '.cjs'],
      ['scripts/cache.cjs'],
      ['profiles', '.yaml'],
      ['package.json'],
      ['package-lock.json'],
    ],
    outputs: ['dist/launcher-main.cache', 'dist/yaml.cache'],
    run: cacheLauncher,
  },
  TypeScript: {
    inputs: [['src', '.ts'], ['test', '.ts'], ['tsconfig.json'], ['package-lock.json']],
    outputs: ['build/src', 'build/test'],
    run: compileTypeScript,
  },
  'tests of the VM': {
    inputs: [['src', '.ts'], ['test', '.ts'], ['package.json'], ['package-lock.json']],
    outputs: [vmTests],
    run: bundleTests,
  },
  'built-in roles': {
    after: ['TypeScript'],
    inputs: [
      ['profiles', '.yaml', '.json'],
      ['src/profiles', '.ts'],
    ],
    outputs: ['dist/roles.jsonl'],
    run: compileRoles,
  },
  'test programs': {
    inputs: [
      ['test/bench', '.c'],
      ['test/vm', '.c', '.h'],
      ['bpf', '.c', '.h'],
    ],
    outputs: [],
    run: compileTestPrograms,
  },
};

async function buildBpf() {
  await compileBpf('bpf/jailrun.bpf.c', 'dist/jailrun.bpf.o');
}

async function compileBpf(source, target) {
  const scratch = mkdtempSync(join(tmpdir(), 'jailrun-bpf-'));
  try {
    const object = join(scratch, 'jailrun.bpf.o');
    const flags = [
      '-target',
      'bpf',
      '-D__BPF__',
      '-D__TARGET_ARCH_x86',
      '-mcpu=v3',
      '-O2',
      '-g',
      '-Wall',
      '-Werror',
    ];
    await run('bpf', ['clang-14', ...flags, '-c', source, '-o', object]);
    // Drops the debugger's data and keeps BTF.
    await run('bpf-link', ['/usr/sbin/bpftool', 'gen', 'object', target, object]);
  } finally {
    rmSync(scratch, { recursive: true });
  }
}

async function buildFront() {
  const sources = readdirSync(join(root, 'native')).filter((file) => file.endsWith('.c'));
  const flags = ['-static', '-O2', '-Wall', '-Wextra', '-Werror', '-Ibpf', `-DJAILRUN_NODE="${node}"`];
  await run('front', ['gcc', ...flags, ...sources.map((file) => `native/${file}`), '-o', 'dist/jailrun']);
}

async function buildAddon() {
  const gyp = [node, 'node_modules/node-gyp/bin/node-gyp.js', 'rebuild', '-C', 'native', '--silent'];
  // Node's packages bring its headers; without them node-gyp would fetch them.
  const prefix = dirname(dirname(node));
  if (existsSync(join(prefix, 'include/node/node.h'))) gyp.push(`--nodedir=${prefix}`);
  await run('addon', gyp);
  cpSync(join(root, 'native/build/Release/jailrun.node'), join(root, 'dist/jailrun.node'));
}

/**
 * commander loads node:child_process for subcommands that are programs of their own. There are none, and
 * loading it takes an eighth of node's whole start.
 */
const withoutChildProcess = {
  name: 'without child_process',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^node:child_process$/ }, ({ importer }) =>
      importer.includes('/commander/') ? { path: 'none', namespace: 'nothing' } : undefined,
    );
    onLoad({ filter: /.*/, namespace: 'nothing' }, () => ({ contents: 'module.exports = {};' }));
  },
};

/**
 * Libraries in files of their own, which only those load who wrote a policy, pack a bundle, or ask how CRI-O is
 * configured.
 */
const apart = { 'smol-toml': 'toml.cjs', tar: 'tar.cjs', yaml: 'yaml.cjs' };
const keptApart = {
  name: 'libraries apart',
  setup({ onResolve }) {
    onResolve({ filter: new RegExp(`^(${Object.keys(apart).join('|')})$`) }, ({ path }) => ({
      path: `./${apart[path]}`,
      external: true,
    }));
  },
};

/**
 * CommonJS, because node starts it faster. launcher.cjs is a few lines that load launcher-main.js with
 * what V8 made of it at build time (src/launcher/cached.cjs); compiling it at each run takes longer than
 * running it.
 */
async function bundleLauncher() {
  const options = {
    format: 'cjs',
    // A script that V8 loads from its cache cannot import().
    supported: { 'dynamic-import': false },
    define: { 'import.meta.dirname': '__dirname', ...version() },
    // The less text, the less there is to read at each start; names stay for stack traces.
    minifySyntax: true,
    minifyWhitespace: true,
  };
  for (const file of readdirSync(join(root, 'dist')).filter((name) => name.startsWith('launcher')))
    rmSync(join(root, 'dist', file));
  await Promise.all([
    bundle({
      ...options,
      entryPoints: ['src/launcher/main.ts'],
      outfile: 'dist/launcher-main.js',
      plugins: [withoutChildProcess, keptApart],
    }),
    ...Object.entries(apart).map(([name, file]) =>
      bundle({ ...options, entryPoints: [name], outfile: `dist/${file}` }),
    ),
  ]);
  cpSync(join(root, 'src/launcher/cached.cjs'), join(root, 'dist/launcher.cjs'));
}

/** One module with all that it needs, and what TypeScript says of it. */
async function buildLibrary() {
  rmSync(join(root, 'dist/types'), { recursive: true, force: true });
  await Promise.all([
    bundle({
      entryPoints: ['src/launcher/library.ts'],
      outfile: 'dist/library.js',
      ...esm,
      minifySyntax: true,
      define: version(),
    }),
    run('types', [node, 'node_modules/typescript/bin/tsc', '-p', 'src/launcher/library.tsconfig.json']),
  ]);
}

/** What tells a bundle that it is one. */
const version = () => ({
  JAILRUN_VERSION: JSON.stringify(JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).version),
});

const esm = {
  format: 'esm',
  // The YAML library is CommonJS and asks for node's own modules.
  banner: {
    js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);",
  },
};

/** One module for each file of tests: an emulated kernel takes seconds to load a hundred. */
async function bundleTests() {
  rmSync(join(root, vmTests), { recursive: true, force: true });
  const files = filesOf(['test/vm', '.test.ts']);
  await bundle({
    ...esm,
    entryPoints: files.map((file) => ({ in: file, out: bundledTest(file).replace(/\.js$/, '') })),
    outdir: '.',
  });
}

async function bundle(options) {
  const { build: esbuild } = await import('esbuild');
  try {
    await esbuild({
      absWorkingDir: root,
      bundle: true,
      platform: 'node',
      target: 'node20',
      logLevel: 'silent',
      ...options,
    });
  } catch (error) {
    throw new Failure(`${options.outfile ?? options.outdir} cannot be bundled: ${error.message}`);
  }
}

async function cacheLauncher() {
  await run('cache', [node, 'scripts/cache.cjs']);
}

async function compileTypeScript() {
  for (const directory of ['build/src', 'build/test'])
    rmSync(join(root, directory), { recursive: true, force: true });
  await run('tsc', [node, 'node_modules/typescript/bin/tsc', '-p', '.', '--outDir', 'build']);
}

async function compileRoles() {
  await run('roles', [node, 'build/src/profiles/precompile.js', 'dist/roles.jsonl']);
}

/** A file is a program of its name; a directory with a file of its own name is one program, of all its files. */
async function compileTestPrograms() {
  const flags = ['-static', '-O2', '-Wall', '-Wextra', '-Werror', '-Ibpf'];
  const files = ['test/bench', 'test/vm'].flatMap((directory) => filesOf([directory, '.c']));
  const isPart = (file) => files.includes(mainOf(file)) && file !== mainOf(file);
  for (const file of files.filter((name) => !isPart(name)))
    if (file.endsWith('.bpf.c')) await compileBpf(file, join('build', `${basename(file, '.c')}.o`));
    else {
      const parts = files.filter((name) => name === file || (isPart(name) && mainOf(name) === file));
      await run('test-programs', ['gcc', ...flags, ...parts, '-o', join('build', basename(file, '.c'))]);
    }
}

/** The file whose name its directory has. */
const mainOf = (file) => join(dirname(file), `${basename(dirname(file))}.c`);

/** The tools' versions and everything else that all outcomes depend on. */
function toolchain() {
  const packages = ['clang-14', 'bpftool', 'libbpf-dev', 'gcc', 'g++', 'libc6-dev'];
  const { status, stdout } = spawnSync('dpkg-query', ['-W', ...packages], { encoding: 'utf8' });
  if (status !== 0)
    throw new Failure(`the build needs ${packages.join(', ')}; to install them: npm run setup`);
  return [stdout, process.version, node, readFileSync(import.meta.filename)];
}

function filesOf([path, ...endings]) {
  if (endings.length === 0) return [path];
  const files = readdirSync(join(root, path), { recursive: true }).map((file) => join(path, file));
  return files.filter((file) => endings.some((ending) => file.endsWith(ending))).sort();
}

/** @throws {Failure} when a source is missing */
function digest(inputs, tools) {
  const hash = createHash('sha256');
  for (const part of tools) hash.update(part);
  for (const file of inputs.flatMap(filesOf)) {
    if (!existsSync(join(root, file))) throw new Failure(`${file} is missing`);
    hash.update(`\0${file}\0`).update(readFileSync(join(root, file)));
  }
  return hash.digest('hex');
}

/** Does the steps that are due, those that do not need each other side by side. */
export async function build() {
  for (const directory of ['dist', 'build', stamps]) mkdirSync(join(root, directory), { recursive: true });
  const tools = toolchain();
  const running = new Map();
  const start = (name) => {
    if (!running.has(name)) running.set(name, doIfDue(name));
    return running.get(name);
  };
  const doIfDue = async (name) => {
    const { after, inputs, outputs, run: work } = steps[name];
    await Promise.all((after ?? []).map(start));
    const stamp = join(root, stamps, name.replaceAll(' ', '-'));
    const current = digest(inputs, tools);
    const done = existsSync(stamp) && readFileSync(stamp, 'utf8') === current;
    if (done && outputs.every((output) => existsSync(join(root, output)))) return;
    rmSync(stamp, { force: true });
    await step(`Building: ${name}`, work);
    writeFileSync(stamp, current);
  };
  const results = await Promise.allSettled(Object.keys(steps).map(start));
  const failures = new Set(results.filter(({ status }) => status === 'rejected').map(({ reason }) => reason));
  if (failures.size > 0) throw new Failure([...failures].map(({ message }) => message).join('\n'));
}

if (process.argv[1] === import.meta.filename) await main(build);
