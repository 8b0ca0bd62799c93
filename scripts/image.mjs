// npm run image -- [--base IMAGE] [--tag NAME]     makes the image of Containerfile with buildah
//
// Stages what the image brings to a host in build/image: dist/ without what only programs need, node, and the
// libraries of both with their loader, so that neither the image's base nor the host has to have any.
import { execFileSync } from 'node:child_process';
import { chmodSync, cpSync, mkdirSync, readdirSync, realpathSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { parseArgs } from 'node:util';
import { build } from './build.mjs';
import { main, root, run, step } from './progress.mjs';

const staged = join(root, 'build/image');

/** What programs need that use jailrun as a library stays behind. */
const forPrograms = ['library.js', 'types'];

/** The libraries that a program needs, and the loader, as this machine's loader finds them. */
function librariesOf(program) {
  const text = execFileSync('ldd', [program], { encoding: 'utf8' });
  return [...text.matchAll(/(?:=> )?(\/\S+) \(0x/g)].map((match) => match[1]);
}

/** Fills build/image. */
export function stage() {
  rmSync(staged, { recursive: true, force: true });
  mkdirSync(join(staged, 'lib'), { recursive: true });
  for (const part of readdirSync(join(root, 'dist')))
    if (!forPrograms.includes(part)) cpSync(join(root, 'dist', part), join(staged, part));
  cpSync(realpathSync(process.execPath), join(staged, 'node'));
  const addon = join(root, 'dist/jailrun.node');
  for (const library of new Set([process.execPath, addon].flatMap(librariesOf)))
    cpSync(realpathSync(library), join(staged, 'lib', basename(library)));
  chmodSync(join(staged, 'lib/ld-linux-x86-64.so.2'), 0o755);
  // As on the host: by the loader, the libraries and the node that lie beside it.
  execFileSync(join(staged, 'jailrun'), ['--version']);
}

/**
 * Makes the image from what is built. `global` are buildah's own options, such as where its images are.
 * @param {{ base?: string, tag: string, global?: string[], options?: string[] }} what
 */
export async function makeImage({ base, tag, global = [], options = [] }) {
  stage();
  await step(`Making the image ${tag}`, () =>
    run('image', [
      ...['buildah', ...global, 'build', '--file', 'Containerfile', '--tag', tag],
      ...(base === undefined ? [] : ['--build-arg', `BASE=${base}`]),
      ...options,
      root,
    ]),
  );
}

if (process.argv[1] === import.meta.filename)
  await main(async () => {
    const { values } = parseArgs({
      options: { base: { type: 'string' }, tag: { type: 'string', default: 'jailrun' } },
    });
    await build();
    await makeImage(values);
  });
