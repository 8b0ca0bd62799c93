// Makes a fresh Debian 12 checkout ready: Debian packages, npm packages, the build, the test kernels. What is
// done already is not done again, and needs no network.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { build } from './build.mjs';
import { fetchKernels, series } from './kernels.mjs';
import { Failure, main, root, run, step } from './progress.mjs';

const packages = {
  build: ['bpftool', 'clang-14', 'g++', 'gcc', 'libbpf-dev', 'libc6-dev', 'make', 'python3'],
  check: ['clang-format-14', 'curl', 'git', 'iproute2', 'nginx-light', 'procps', 'strace'],
  servers: ['postgresql', 'redis-server'],
  containers: ['buildah', 'crun', 'debootstrap', 'fuse-overlayfs', 'podman', 'runc'],
  tools: [
    ...['at', 'cron', 'dbus', 'gdb', 'iputils-ping', 'luajit', 'openjdk-17-jre-headless', 'sudo', 'systemd'],
  ],
  bench: ['apparmor', 'bubblewrap'],
  vm: ['busybox-static', 'cpio', 'e2fsprogs', 'kmod', 'qemu-system-x86', 'xz-utils', 'zstd'],
};

/** What the installation of `packages` would start, now and at every boot: package -> service. */
const services = {
  apparmor: 'apparmor',
  at: 'atd',
  cron: 'cron',
  'nginx-light': 'nginx',
  postgresql: 'postgresql',
  'redis-server': 'redis-server',
};

/**
 * @param {{ vm: boolean, bench?: boolean, kernels?: string[] }} options whether VMs will be booted, whether
 *   others will be measured beside jailrun, and with which kernels
 * @throws {Failure} that says what is missing and how to get it
 */
export async function setup({ vm, bench = false, kernels = series }) {
  if (process.getuid() !== 0)
    throw new Failure('installing packages and loading BPF programs need root; run this as root: sudo npm …');
  await installPackages([
    ...packages.build,
    ...packages.check,
    ...(vm ? [...packages.vm, ...packages.servers, ...packages.containers, ...packages.tools] : []),
    ...(bench ? packages.bench : []),
  ]);
  await installNodeModules();
  await build();
  if (vm) await fetchKernels(kernels);
}

async function installPackages(wanted) {
  // biome-ignore lint/suspicious/noTemplateCurlyInString: dpkg-query's placeholders
  const query = spawnSync('dpkg-query', ['-W', '-f', '${Package} ${db:Status-Status}\n', ...wanted], {
    encoding: 'utf8',
  });
  const installed = new Set((query.stdout ?? '').split('\n').filter((line) => line.endsWith(' installed')));
  const missing = wanted.filter((name) => !installed.has(`${name} installed`));
  if (missing.length === 0) return;
  if (query.error || spawnSync('apt-get', ['--version']).error)
    throw new Failure(
      `this needs the Debian packages ${missing.join(' ')}, and there is no apt-get here to install them; ` +
        'use Debian 12, or install what they contain',
    );

  const apt = ['apt-get', '-q', '-o', 'Acquire::Retries=5', '-o', 'DPkg::Lock::Timeout=120'];
  await step('Reading the Debian package lists', () => run('apt-update', [...apt, 'update']));
  console.error(`Debian packages to install: ${missing.join(' ')}`);
  await step(`Installing ${missing.length} Debian packages`, (show) =>
    withoutCluster(() =>
      withoutServices(() =>
        run('apt-install', [...apt, 'install', '-y', '--no-install-recommends', ...missing], {
          env: { DEBIAN_FRONTEND: 'noninteractive' },
          onLine: (line) => /^(Get:\d+|Unpacking|Setting up)/.test(line) && show(line),
        }),
      ),
    ),
  );
  for (const [name, service] of Object.entries(services))
    if (missing.includes(name)) spawnSync('systemctl', ['--quiet', 'disable', service]);
}

/** Runs `work` while nothing that is installed starts as a service: invoke-rc.d asks policy-rc.d first. */
async function withoutServices(work) {
  const policy = '/usr/sbin/policy-rc.d';
  if (existsSync(policy)) return work();
  // Should we be killed, it must not keep services from starting for ever.
  return withFile(policy, `#!/bin/sh\n[ ! -d /proc/${process.pid} ] || exit 101\n`, work);
}

/**
 * Runs `work` while PostgreSQL's package makes no cluster: what it installs asks createcluster.conf, which
 * reads this directory. Should we be killed, `pg_createcluster` still makes one where it is asked to.
 */
async function withoutCluster(work) {
  const directory = '/etc/postgresql-common/createcluster.d';
  const made = mkdirSync(directory, { recursive: true });
  try {
    return await withFile(join(directory, 'jailrun-setup.conf'), 'create_main_cluster = false\n', work);
  } finally {
    for (let path = directory; made && path.startsWith(made); path = dirname(path)) rmdirIfEmpty(path);
  }
}

function rmdirIfEmpty(path) {
  try {
    rmdirSync(path);
  } catch (error) {
    if (error.code !== 'ENOTEMPTY') throw error;
  }
}

/** Runs `work` while an executable file is there, which goes with us however we end but by SIGKILL. */
async function withFile(path, text, work) {
  const remove = () => rmSync(path, { force: true });
  const leave = () => process.exit(1);
  process.once('exit', remove).once('SIGINT', leave).once('SIGTERM', leave);
  writeFileSync(path, text, { mode: 0o755 });
  try {
    return await work();
  } finally {
    process.off('exit', remove).off('SIGINT', leave).off('SIGTERM', leave);
    remove();
  }
}

/** npm ci, when the lock file is another than the one that node_modules was made from. */
async function installNodeModules() {
  const lock = createHash('sha256')
    .update(readFileSync(join(root, 'package-lock.json')))
    .digest('hex');
  const stamp = join(root, 'node_modules/.made-from');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === lock) return;
  await step('Installing the npm packages', () => run('npm', ['npm', 'ci', '--no-audit', '--no-fund']));
  writeFileSync(stamp, lock);
}

if (process.argv[1] === import.meta.filename) {
  await main(async () => {
    await setup({ vm: true });
    console.error('Everything is set up.');
  });
}
