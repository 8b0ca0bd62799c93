// The kernels of the test matrix: Debian's own packages, from the mirror that this machine already uses.
import { createHash } from 'node:crypto';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { Failure, run, step } from './progress.mjs';

/** For each series the suite that has it, its releases, and a release's packages. */
const sources = {
  6.1: {
    suite: 'bookworm',
    release: '6\\.1\\.0-[0-9]+',
    packages: ['linux-image-RELEASE-amd64'],
  },
  6.12: {
    suite: 'bookworm-backports',
    release: '6\\.12\\.[0-9.]+\\+deb12(\\.[0-9]+)?',
    packages: ['linux-image-RELEASE-amd64'],
  },
  7.2: {
    suite: 'trixie-backports',
    release: '7\\.2\\.[0-9.]+\\+deb13(\\.[0-9]+)?',
    packages: ['linux-binary-RELEASE-amd64', 'linux-modules-RELEASE-amd64', 'linux-base-RELEASE-amd64'],
  },
};

/** The test matrix. */
export const series = Object.keys(sources);

/** Loaded by the guest's init. */
const loaded = ['virtio_pci', 'virtio_blk', 'virtio_console', '9pnet_virtio', '9p', 'overlay', 'ext4'];
/** For modprobe, and for the kernel's own module loading, in the guest. */
const available = [
  'loop',
  'fuse',
  'veth',
  'dummy',
  'sctp',
  'vsock_loopback',
  'unix_diag',
  'tcp_diag',
  'udp_diag',
];

/** Shared by all checkouts of a user. A changed recipe gets a directory of its own. */
const cache = join(
  process.env.JAILRUN_CACHE || join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'jailrun'),
  'kernels',
);
const recipe = createHash('sha256')
  .update(JSON.stringify([sources, loaded, available]))
  .digest('hex')
  .slice(0, 8);
const directory = (name) => join(cache, `${name}-${recipe}`);

/**
 * The files to boot a series with: `image`, and `initramfs` with busybox and the modules but without an
 * init. `release` is what uname -r says and `version` the Debian package's.
 * @throws {Failure} when the kernel has not been fetched
 */
export function kernel(name) {
  const path = directory(name);
  if (!existsSync(path)) throw new Failure(`kernel ${name} is not in ${cache}; run: npm run setup`);
  const { release, version } = JSON.parse(readFileSync(join(path, 'kernel.json'), 'utf8'));
  return { release, version, image: join(path, 'vmlinux'), initramfs: join(path, 'initramfs.cpio') };
}

/** Fetches those of the kernels that are not in the cache yet. */
export async function fetchKernels(names = series) {
  const missing = names.filter((name) => !existsSync(directory(name)));
  if (missing.length === 0) return;
  mkdirSync(cache, { recursive: true });
  const work = mkdtempSync(join(cache, 'fetch-'));
  try {
    const apt = await step('Reading the package lists of the test kernels', () => openArchive(work));
    for (const name of missing) {
      const release = await newestRelease(apt, name);
      const packages = sources[name].packages.map((pattern) => pattern.replace('RELEASE', release));
      const { size, version } = await describePackages(apt, packages);
      const debs = join(work, name);
      mkdirSync(debs);
      await step(`Fetching kernel ${name} (${version})`, (show) => download(apt, packages, debs, size, show));
      await step(`Unpacking kernel ${name}`, () => unpack(debs, name, `${release}-amd64`, version));
      rmSync(debs, { recursive: true });
    }
  } finally {
    rmSync(work, { recursive: true });
  }
}

/**
 * Package lists of our own beside the system's, which stay untouched. The mirror's address is the one that
 * apt on this machine uses for its own release; apt itself is asked for it, so every form of its sources works.
 * @returns a function that runs an apt tool on these lists
 */
async function openArchive(work) {
  const { ID, VERSION_CODENAME } = Object.fromEntries(
    readFileSync('/etc/os-release', 'utf8')
      .split('\n')
      .map((line) => line.replaceAll('"', '').split('=')),
  );
  const own = await run('apt-sources', [
    'apt-get',
    'update',
    '--print-uris',
    `-oDir::State::lists=${work}/none`,
  ]);
  const mirror = new RegExp(`^'(.*)/dists/${VERSION_CODENAME}/InRelease'`, 'm').exec(own)?.[1];
  const security = new RegExp(`^'(.*)/dists/${VERSION_CODENAME}-security/InRelease'`, 'm').exec(own)?.[1];
  if (ID !== 'debian' || !mirror)
    throw new Failure(
      "the test kernels come from a Debian mirror, and this machine's apt sources name none; " +
        `add its release (${VERSION_CODENAME}) to /etc/apt/sources.list`,
    );

  const keyring = '/usr/share/keyrings/debian-archive-keyring.gpg';
  const trust = existsSync(keyring) ? `[signed-by=${keyring}] ` : '';
  const lines = Object.values(sources).map(({ suite }) => `deb ${trust}${mirror} ${suite} main`);
  if (security) lines.push(`deb ${trust}${security} bookworm-security main`);
  const list = join(work, 'sources.list');
  writeFileSync(list, `${lines.join('\n')}\n`);
  mkdirSync(join(work, 'lists/partial'), { recursive: true });
  mkdirSync(join(work, 'cache/archives/partial'), { recursive: true });
  const options = [
    `Dir::Etc::SourceList=${list}`,
    'Dir::Etc::SourceParts=/dev/null',
    `Dir::State::Lists=${work}/lists`,
    `Dir::Cache=${work}/cache`,
    'Dir::State::Status=/dev/null',
    'APT::Sandbox::User=root',
    'APT::Architecture=amd64',
    'Acquire::Languages=none',
    'Acquire::Retries=5',
    'Acquire::http::Timeout=30',
  ].map((option) => `-o${option}`);
  const apt = (tool, args, rest) => run('kernel-packages', [tool, ...options, ...args], rest);
  await apt('apt-get', ['--error-on=any', 'update']);
  return apt;
}

async function newestRelease(apt, name) {
  const { suite, release, packages } = sources[name];
  const pattern = packages[0].replace('RELEASE', `(${release})`);
  const found = await apt('apt-cache', ['search', '--names-only', `^${pattern}$`]);
  const releases = [...found.matchAll(new RegExp(`^${pattern} `, 'gm'))].map((match) => match[1]);
  if (releases.length === 0)
    throw new Failure(`the Debian mirror has no kernel ${name} in ${suite} any more`);
  return releases.sort((a, b) => a.localeCompare(b, 'en', { numeric: true })).at(-1);
}

async function describePackages(apt, packages) {
  const records = await apt('apt-cache', ['show', '--no-all-versions', ...packages]);
  const field = (name) => [...records.matchAll(new RegExp(`^${name}: (.*)$`, 'gm'))].map((match) => match[1]);
  return { version: field('Version')[0], size: field('Size').reduce((sum, bytes) => sum + Number(bytes), 0) };
}

async function download(apt, packages, target, size, show) {
  const megabytes = (bytes) => Math.round(bytes / 1e6);
  const timer = setInterval(() => {
    const done = readdirSync(target).reduce((sum, file) => sum + statSync(join(target, file)).size, 0);
    show(`${megabytes(done)} of ${megabytes(size)} MB`);
  }, 500);
  try {
    await apt('apt-get', ['download', ...packages], { cwd: target });
  } finally {
    clearInterval(timer);
  }
}

/** Turns the packages in `debs` into what kernel() describes, all or nothing. */
async function unpack(debs, name, release, version) {
  const full = join(debs, 'full');
  mkdirSync(full);
  // Nine tenths of the modules drive hardware that the VM does not have; depmod would read each of them.
  const without = ['sound', 'drivers/[!bcnv]*', 'drivers/net/*/*'].map(
    (path) => `--exclude=*/kernel/${path}`,
  );
  for (const deb of readdirSync(debs).filter((file) => file.endsWith('.deb'))) {
    const script = 'set -o pipefail; deb=$1; shift; dpkg --fsys-tarfile "$deb" | tar -x "$@"';
    await run('kernel-unpack', ['bash', '-c', script, 'bash', join(debs, deb), '-C', full, ...without]);
  }
  // Newer packages follow the merged /usr; depmod and modprobe of Debian 12 look in /lib.
  if (!existsSync(join(full, 'lib'))) renameSync(join(full, 'usr/lib'), join(full, 'lib'));
  await run('kernel-unpack', ['depmod', '-b', full, release]);

  const result = join(debs, 'result');
  const staging = join(debs, 'initramfs');
  const modules = join('lib/modules', release);
  mkdirSync(join(staging, 'bin'), { recursive: true });
  mkdirSync(join(staging, modules), { recursive: true });
  mkdirSync(result);

  const load = await withDependencies(full, release, loaded);
  for (const path of [...load, ...(await withDependencies(full, release, available))]) {
    mkdirSync(dirname(join(staging, path)), { recursive: true });
    cpSync(join(full, path), join(staging, path));
    if (path.endsWith('.xz')) await run('kernel-unpack', ['xz', '-df', join(staging, path)]);
  }
  for (const file of ['modules.order', 'modules.builtin', 'modules.builtin.modinfo'])
    cpSync(join(full, modules, file), join(staging, modules, file));
  await run('kernel-unpack', ['depmod', '-b', staging, release]);
  writeFileSync(
    join(staging, 'modules.load'),
    load.map((path) => `/${path.replace(/\.xz$/, '')}\n`).join(''),
  );
  cpSync('/bin/busybox', join(staging, 'bin/busybox'));
  const archive = join(result, 'initramfs.cpio');
  await run('kernel-unpack', ['sh', '-c', `find . | cpio --quiet -o -H newc >"$1"`, 'sh', archive], {
    cwd: staging,
  });

  const images = [join(full, 'boot', `vmlinuz-${release}`), join(full, modules, 'vmlinuz')];
  await unpackImage(images.find(existsSync), join(result, 'vmlinux'));
  writeFileSync(join(result, 'kernel.json'), `${JSON.stringify({ release, version })}\n`);
  rmSync(directory(name), { recursive: true, force: true });
  renameSync(result, directory(name));
}

/**
 * A kernel that unpacks itself under emulation takes half of the boot. QEMU also starts the bare vmlinux; the
 * fields are those of the kernel's Documentation/arch/x86/boot.rst, and the payload ends with its own size.
 */
async function unpackImage(image, target) {
  const bytes = readFileSync(image);
  const start = (bytes.readUInt8(0x1f1) + 1) * 512 + bytes.readUInt32LE(0x248);
  const payload = bytes.subarray(start, start + bytes.readUInt32LE(0x24c) - 4);
  const packed = `${target}.packed`;
  writeFileSync(packed, payload);
  const tool = payload.readUInt32LE(0) === 0xfd2fb528 ? 'zstd' : 'xz';
  await run('kernel-unpack', ['sh', '-c', '"$1" -dc <"$2" >"$3"', 'sh', tool, packed, target]);
  rmSync(packed);
}

/** Paths of the modules and of all that they need, in the order of loading, without those built in. */
async function withDependencies(full, release, names) {
  const insmods = await run('kernel-unpack', [
    'modprobe',
    '-d',
    full,
    '-S',
    release,
    '--show-depends',
    '-a',
    ...names,
  ]);
  return [
    ...new Set([...insmods.matchAll(/^insmod (\S+)/gm)].map((match) => match[1].slice(full.length + 1))),
  ];
}
