// The image of Containerfile for the tests, made on this machine, since a guest has no network: on a base that
// debootstrap unpacks, with buildah, and laid out as a directory that a guest's podman takes as a container's root.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { build } from './build.mjs';
import { makeImage } from './image.mjs';
import { main, root, run, step } from './progress.mjs';

/** What the tests find there: `root`, the image's file system, and `config.json`, its entry point and command. */
export const imageDirectory = join(root, '.cache/image');

const base = join(imageDirectory, 'base');
const storage = join(imageDirectory, 'storage');
const buildah = ['--root', storage, '--runroot', join(imageDirectory, 'run'), '--storage-driver', 'vfs'];
const baseName = 'localhost/jailrun-base';

/** Where apt has Debian from, since debootstrap's own choice may be out of reach. */
function mirror() {
  const fields = ['Created-By: Packages', 'Codename: bookworm', 'Component: main'];
  const words = ['indextargets', '--format', '$(REPO_URI)', ...fields];
  return execFileSync('apt-get', words, { encoding: 'utf8' }).split('\n').filter(Boolean).slice(0, 1);
}

/** Debian's programs unpacked and not configured, which takes a quarter of the time and is enough to run them. */
async function makeBase() {
  if (existsSync(base)) return;
  const draft = `${base}.draft`;
  rmSync(draft, { recursive: true, force: true });
  mkdirSync(imageDirectory, { recursive: true });
  await step('Unpacking a base of Debian', () =>
    run('debootstrap', ['debootstrap', '--foreign', '--variant=minbase', 'bookworm', draft, ...mirror()]),
  );
  for (const part of ['debootstrap', 'var/cache/apt/archives', 'usr/share/doc', 'usr/share/locale'])
    rmSync(join(draft, part), { recursive: true, force: true });
  // Where it may not mount, debootstrap makes these links to the places of the system that it runs on.
  for (const place of ['proc', 'sys', 'dev']) {
    rmSync(join(draft, place), { recursive: true, force: true });
    mkdirSync(join(draft, place));
  }
  renameSync(draft, base);
}

/** Makes what is missing of it, or is not of this build. */
export async function prepareImage() {
  const stamp = join(imageDirectory, 'made-from');
  const current = digest();
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === current) return;
  await makeBase();
  const laidOut = join(imageDirectory, 'root');
  for (const path of [stamp, storage, laidOut]) rmSync(path, { recursive: true, force: true });
  await step('Making an image of the base', async () => {
    await on('from', '--name', 'base', 'scratch');
    await on('copy', '--quiet', 'base', base, '/');
    await on('commit', '--quiet', '--rm', 'base', baseName);
  });
  await makeImage({
    base: baseName,
    tag: 'localhost/jailrun',
    global: buildah,
    options: ['--pull-never'],
  });
  await step('Laying the image out', async () => {
    await on('from', '--name', 'image', '--pull-never', 'localhost/jailrun');
    const { Entrypoint, Cmd } = JSON.parse(await on('inspect', 'image')).OCIv1.config;
    const place = (await on('mount', 'image')).trim();
    await run('image-layout', ['cp', '-a', place, laidOut]);
    const config = { entrypoint: Entrypoint, command: Cmd };
    writeFileSync(join(imageDirectory, 'config.json'), JSON.stringify(config));
  });
  rmSync(storage, { recursive: true, force: true });
  writeFileSync(stamp, current);
}

/** Runs buildah on the tests' own images. */
const on = (...words) => run('buildah', ['buildah', ...buildah, ...words]);

/** Of all that goes into the image but the base. */
function digest() {
  const directories = ['dist', 'deploy/image'].map((name) => join(root, name));
  const files = directories
    .flatMap((directory) => readdirSync(directory, { recursive: true }).map((name) => join(directory, name)))
    .filter((file) => statSync(file).isFile())
    .sort();
  const hash = createHash('sha256');
  for (const file of [
    ...files,
    join(root, 'Containerfile'),
    join(root, 'scripts/image.mjs'),
    import.meta.filename,
  ])
    hash.update(`\0${file}\0`).update(readFileSync(file));
  return hash.digest('hex');
}

if (process.argv[1] === import.meta.filename)
  await main(async () => {
    await build();
    await prepareImage();
  });
