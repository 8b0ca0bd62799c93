// `npm run lint` checks form and types of everything; `npm run format` mends what a program can mend.
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { Failure, main, root, run, step } from './progress.mjs';

const node = process.execPath;
const biome = [node, 'node_modules/@biomejs/biome/bin/biome', 'check'];

function cSources() {
  const files = ['bpf', 'native', 'test'].flatMap((directory) =>
    readdirSync(join(root, directory), { recursive: true }).map((file) => join(directory, file)),
  );
  return files.filter((file) => /\.(c|h|cc)$/.test(file) && !file.startsWith('native/build/'));
}

/** @throws {Failure} with everything that was found */
export async function lint() {
  const checks = {
    'TypeScript and JavaScript: form': [...biome, '--error-on-warnings'],
    'TypeScript: types': [node, 'node_modules/typescript/bin/tsc', '-p', '.', '--noEmit'],
    'C: form': ['clang-format-14', '--dry-run', '-Werror', ...cSources()],
    'generated sources are current': [node, 'scripts/generate.mjs', '--check'],
  };
  const results = await Promise.allSettled(
    Object.entries(checks).map(([title, argv], i) =>
      step(`Checking ${title}`, () => run(`lint-${i + 1}`, argv, { tail: 200 })),
    ),
  );
  const found = results.filter(({ status }) => status === 'rejected').map(({ reason }) => reason.message);
  if (found.length > 0) throw new Failure(`${found.join('\n\n')}\n\nnpm run format mends what is form only.`);
}

async function format() {
  await run('format', [...biome, '--write']);
  await run('format-c', ['clang-format-14', '-i', ...cSources()]);
}

if (process.argv[1] === import.meta.filename)
  await main(() => (process.argv.includes('--fix') ? format() : lint()));
