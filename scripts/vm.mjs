// Boots a test kernel on this machine's own file system (read-only, with a throw-away layer over it) and
// runs one command there as root, at the same paths.
//
//   node scripts/vm.mjs --kernel 6.12 --lsm fmod_ret -- COMMAND…
//
// The guest sees the host's files as they are at boot, except /run, /tmp, /dev/shm (empty tmpfs); what it
// writes is lost. It has no network but lo, and a scratch ext4 file system at /mnt/ext4.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { kernel as findKernel, series } from './kernels.mjs';
import { Failure, main, root } from './progress.mjs';

/**
 * The two ways to attach: through the BPF LSM, which Debian's kernels list by default, and through
 * fmod_ret/security_*, on a kernel that does not list it.
 */
export const lsmModes = { bpf: '', fmod_ret: 'lsm=landlock,lockdown,yama,integrity,apparmor' };

const quote = (word) => `'${word.replaceAll("'", `'\\''`)}'`;

/**
 * Boots, runs `command`, powers off.
 * @param {{
 *   kernel: '6.1' | '6.12' | '7.2',
 *   lsm: 'bpf' | 'fmod_ret',
 *   command: string[],
 *   cwd?: string,                          the project's directory unless given
 *   env?: Record<string, string>,          added to a minimal environment
 *   onOutput?: (bytes: Buffer) => void,    standard output and error, in order, as they come
 *   timeoutSeconds?: number,               600 unless given, boot included
 *   interactive?: boolean,                 the command gets this terminal; nothing is captured
 *   kernelWords?: string[],                added to the kernel's command line
 *   counting?: boolean,                    a tick of the time-stamp counter is one guest instruction
 *   cpus?: number,                         2 unless given
 * }} options
 * @returns {Promise<{ status: number, output: string, reported: boolean, bootSeconds: number, reason: string }>}
 *   `reported` is false when the guest died, hung or could not start the command; then `status` is 125 and
 *   `reason` tells what happened, with the end of the kernel's log.
 */
export async function boot({
  kernel,
  lsm,
  command,
  cwd = root,
  env = {},
  onOutput,
  timeoutSeconds = 600,
  interactive = false,
  kernelWords = [],
  counting = false,
  cpus = 2,
}) {
  const { image, initramfs } = findKernel(kernel);
  const job = mkdtempSync(join(tmpdir(), 'jailrun-vm-'));
  const servers = [];
  const cleanUp = () => rmSync(job, { recursive: true, force: true });
  const leave = () => process.exit(1);
  process.once('exit', cleanUp).once('SIGINT', leave).once('SIGTERM', leave);
  try {
    writeCommand(job, { command, cwd, env });
    writeInitramfs(job, initramfs);
    makeScratchDisk(job);

    const begin = Date.now();
    let bootSeconds = Number.NaN;
    let report = '';
    const output = [];
    servers.push(
      await receive(join(job, 'status'), (bytes) => {
        report += bytes;
        if (Number.isNaN(bootSeconds)) bootSeconds = (Date.now() - begin) / 1000;
      }),
      await receive(join(job, 'output'), (bytes) => {
        output.push(bytes);
        onOutput?.(bytes);
      }),
    );
    const ending = await runQemu(
      qemuArguments(job, { image, lsm, interactive, kernelWords, counting, cpus }),
      timeoutSeconds,
      interactive,
    );
    await Promise.all(servers.map(({ drain }) => drain()));

    const exited = /^exited (\d+)$/m.exec(report);
    const reason = exited ? '' : explain(job, ending);
    return {
      status: exited ? Number(exited[1]) : 125,
      output: Buffer.concat(output).toString(),
      reported: exited !== null,
      bootSeconds,
      reason,
    };
  } finally {
    for (const { server } of servers) server.close();
    process.off('exit', cleanUp).off('SIGINT', leave).off('SIGTERM', leave);
    cleanUp();
  }
}

function writeCommand(job, { command, cwd, env }) {
  const variables = {
    PATH: process.env.PATH,
    HOME: '/root',
    TERM: process.env.TERM ?? 'dumb',
    LANG: 'C.UTF-8',
    ...env,
  };
  const words = Object.entries(variables).map(([name, value]) => quote(`${name}=${value}`));
  writeFileSync(
    join(job, 'command'),
    `cd ${quote(cwd)} || exit 125\nexec /usr/bin/env -i ${words.join(' ')} ${command.map(quote).join(' ')}\n`,
  );
}

/** The kernel takes archives one after another: the cached one, then this checkout's init. */
function writeInitramfs(job, base) {
  const init = join(job, 'init');
  writeFileSync(init, readFileSync(join(root, 'scripts/guest-init.sh')), { mode: 0o755 });
  const archive = spawnSync('cpio', ['--quiet', '-o', '-H', 'newc'], { cwd: job, input: 'init\n' });
  if (archive.status !== 0) throw new Failure(`cpio failed: ${archive.error?.message ?? archive.stderr}`);
  writeFileSync(join(job, 'initramfs'), Buffer.concat([readFileSync(base), archive.stdout]));
}

/** For what overlayfs does not have: security xattrs of its own, fs-verity. */
function makeScratchDisk(job) {
  const disk = join(job, 'disk');
  writeFileSync(disk, '');
  truncateSync(disk, 256 << 20);
  const made = spawnSync('/usr/sbin/mkfs.ext4', ['-q', '-b', '4096', '-O', 'verity', disk], {
    encoding: 'utf8',
  });
  if (made.status !== 0) throw new Failure(`mkfs.ext4 failed: ${made.error?.message ?? made.stderr}`);
}

/** Listens on a unix socket for QEMU, which connects once; drain() waits until all that it sent has come. */
async function receive(path, onBytes) {
  let closed;
  const server = createServer((socket) => {
    closed = once(socket.on('data', onBytes), 'close');
  });
  server.listen(path);
  await once(server, 'listening');
  return { server, drain: () => closed };
}

function qemuArguments(job, { image, lsm, interactive, kernelWords, counting, cpus }) {
  const port = (name, number) => [
    '-chardev',
    `socket,id=${name},path=${join(job, name)}`,
    '-device',
    `virtserialport,chardev=${name},nr=${number}`,
  ];
  // QEMU can use its translation of ld.so, libc and node again only where it lies at the same address: a
  // fifth of the time for each exec.
  const words = [
    'norandmaps',
    'console=ttyS0',
    'loglevel=5',
    'oops=panic',
    'panic=-1',
    `jailrun.job=${job}`,
    lsmModes[lsm],
    ...kernelWords,
  ];
  // Without an early seed the first random numbers are dear.
  if (counting) words.push('random.trust_cpu=on', 'randomize_kstack_offset=off');
  if (interactive) words.push('jailrun.terminal');
  return [
    // One host thread for both CPUs: with one each, QEMU 7.2 sometimes runs a stale int3 that the kernel put
    // into its own code for a moment (static calls, trampolines), and the kernel dies of it.
    ...['-machine', 'q35', '-accel', 'tcg,thread=single', '-smp', `${cpus}`, '-m', '3G'],
    ...(counting ? ['-icount', 'shift=0,sleep=off', '-seed', '11', '-rtc', 'base=2025-01-01,clock=vm'] : []),
    // Task storage on Linux 7.2 needs cmpxchg16b (kmalloc_nolock); five-level page tables only cost time.
    // Where instructions count, each byte that `rep movsb` copies would count as one.
    ...['-cpu', counting ? 'max,-la57,-erms,-fsrm' : 'max,-la57'],
    ...[
      '-nodefaults',
      '-no-user-config',
      '-display',
      'none',
      '-no-reboot',
      '-serial',
      `file:${join(job, 'console')}`,
    ],
    ...['-kernel', image, '-initrd', join(job, 'initramfs'), '-append', words.join(' ')],
    '-virtfs',
    'local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap',
    ...['-drive', `file=${join(job, 'disk')},format=raw,if=virtio,cache=unsafe`],
    ...['-device', 'virtio-serial-pci'],
    ...port('status', 1),
    ...port('output', 2),
    ...(interactive
      ? ['-chardev', 'stdio,id=tty,signal=off', '-device', 'virtconsole,chardev=tty,nr=3']
      : []),
  ];
}

/** Resolves, when QEMU is gone, to what went wrong or undefined. */
function runQemu(args, timeoutSeconds, interactive) {
  return new Promise((resolve, reject) => {
    // QEMU must not outlive us, however we end.
    const qemu = spawn('setpriv', ['--pdeathsig', 'KILL', 'qemu-system-x86_64', ...args], {
      stdio: interactive ? 'inherit' : ['ignore', 'pipe', 'pipe'],
    });
    let said = '';
    qemu.stderr?.on('data', (text) => {
      said += text;
    });
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      qemu.kill('SIGKILL');
    }, timeoutSeconds * 1000);
    qemu.once('error', (error) =>
      reject(new Failure(`cannot start QEMU: ${error.message}; run: npm run setup`)),
    );
    qemu.once('close', (status, signal) => {
      clearTimeout(timer);
      if (late) resolve(`the guest was not done after ${timeoutSeconds} s`);
      else if (status !== 0) resolve(`QEMU ended with ${signal ?? `status ${status}`}: ${said.trim()}`);
      else resolve(undefined);
    });
  });
}

/** Why there is no status: what QEMU or the kernel's last words say, and the end of the kernel's log. */
function explain(job, ending) {
  const path = join(job, 'console');
  const lines = existsSync(path) ? readFileSync(path, 'utf8').replaceAll('\r', '').trimEnd().split('\n') : [];
  const death = lines.findIndex((line) => /Kernel panic|BUG:|Oops|general protection|guest-init:/.test(line));
  const words = death < 0 ? undefined : lines[death].replace(/^\[[ .\d]+\] /, '');
  const tail = death < 0 ? lines.slice(-20) : lines.slice(death, death + 60);
  const reason = ending ?? words ?? 'the guest powered off without a status';
  return `${reason}\nThe end of the guest's console:\n${tail.join('\n')}`;
}

if (process.argv[1] === import.meta.filename) {
  await main(async () => {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: {
        kernel: { type: 'string', default: '6.12' },
        lsm: { type: 'string', default: 'bpf' },
        timeout: { type: 'string', default: '600' },
        interactive: { type: 'boolean', short: 'i', default: false },
      },
    });
    if (!series.includes(values.kernel) || !(values.lsm in lsmModes) || positionals.length === 0)
      throw new Failure(
        `usage: node scripts/vm.mjs [--kernel ${series.join('|')}] [--lsm ${Object.keys(lsmModes).join('|')}] ` +
          '[--timeout SECONDS] [--interactive] -- COMMAND…',
      );
    const result = await boot({
      kernel: values.kernel,
      lsm: values.lsm,
      command: positionals,
      cwd: process.cwd(),
      timeoutSeconds: Number(values.timeout),
      interactive: values.interactive,
      onOutput: (bytes) => process.stdout.write(bytes),
    });
    if (!result.reported) throw new Failure(result.reason);
    return result.status;
  });
}
