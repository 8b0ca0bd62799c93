// What this host must have so that the programs can be attached and hold, and which way they go.
import { existsSync, readFileSync } from 'node:fs';
import { version as osVersion, release } from 'node:os';
import { addon } from './addon.js';
import { JailrunError } from './error.js';
import { hostPlaces, notRoot, requireBpffs } from './kernel.js';

/**
 * How programs are called: by the BPF LSM, or as fmod_ret programs on the functions security_*, by
 * which the kernel calls its LSMs.
 */
export type Way = 'lsm' | 'fmod_ret';

/** One requirement: what was found, or why it does not hold. */
export interface HostCheck {
  name: string;
  found?: string;
  error?: JailrunError;
}

/** What the decision about the way depends on. */
export interface HostFacts {
  /** The active LSMs; undefined where the kernel does not tell. */
  lsms: string[] | undefined;
  /** Whether a task can lose its CPU inside the kernel; undefined where that cannot be found out. */
  preemptible: boolean | undefined;
  /** Whether the kernel has a function of this name. */
  hasSymbol(name: string): boolean;
}

/** Checks everything that attach() needs, in the order in which it needs it. */
export function checkHost(places = hostPlaces, facts = readFacts()): HostCheck[] {
  return [
    check('root', () => requireAdmin(readFileSync('/proc/self/status', 'utf8'))),
    check('BTF', requireBtf),
    check('bpffs', () => {
      requireBpffs(places);
      return places.bpffs;
    }),
    check('kernel', () => requireRecursion(facts)),
    check('way', () => (chooseWay(facts) === 'lsm' ? 'through the BPF LSM' : 'through fmod_ret/security_*')),
  ];
}

/** Runs one check; `action` answers what it found, or throws the JailrunError that says what is missing. */
export function check(name: string, action: () => string): HostCheck {
  try {
    return { name, found: action() };
  } catch (error) {
    if (error instanceof JailrunError) return { name, error };
    throw error;
  }
}

export function readFacts(): HostFacts {
  let symbols: string | undefined;
  return {
    lsms: tryRead(() => addon.readUnmounted('securityfs', 'lsm'))?.split(','),
    preemptible: isPreemptible(
      osVersion(),
      tryRead(() => addon.readUnmounted('debugfs', 'sched/preempt')),
      tryRead(() => readFileSync('/proc/cmdline', 'utf8')),
      tryRead(() => readFileSync(`/boot/config-${release()}`, 'utf8')),
    ),
    hasSymbol(name) {
      symbols ??= readFileSync('/proc/kallsyms', 'utf8');
      return symbols.includes(` ${name}\n`);
    },
  };
}

function tryRead(read: () => string): string | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}

/**
 * Whether the kernel can be preempted: by what `uname -v` says and, where that is decided at boot or
 * later (PREEMPT_DYNAMIC), by debugfs, which names the current mode in parentheses, or else by the
 * kernel's command line and configuration. Pure.
 */
export function isPreemptible(
  version: string,
  debugfs: string | undefined,
  commandLine: string | undefined,
  config: string | undefined,
): boolean | undefined {
  if (!version.includes('PREEMPT')) return false;
  if (!version.includes('PREEMPT_DYNAMIC')) return true;
  const mode = /\((\w+)\)/.exec(debugfs ?? '') ?? /.*\bpreempt=(\w+)/.exec(commandLine ?? '');
  if (mode) return !['none', 'voluntary'].includes(mode[1] as string);
  return config === undefined ? undefined : !/^CONFIG_PREEMPT_(NONE|VOLUNTARY)=y$/m.test(config);
}

/** CAP_SYS_ADMIN stands for CAP_BPF and CAP_PERFMON too (capabilities(7)). */
function requireAdmin(status: string): string {
  const capSysAdmin = 1n << 21n;
  const effective = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? '0'}`);
  if ((effective & capSysAdmin) === 0n) throw notRoot();
  return 'CAP_SYS_ADMIN';
}

function requireBtf(): string {
  const path = '/sys/kernel/btf/vmlinux';
  if (existsSync(path)) return path;
  throw new JailrunError(
    'NO_BTF',
    `The kernel does not describe its types (${path} is missing), so the programs cannot be fitted to it and no rule would hold. Use a kernel built with CONFIG_DEBUG_INFO_BTF=y.`,
  );
}

/**
 * A kernel without this function skips an LSM program that is entered again while it runs on the same
 * CPU (Linux before 6.2, commit 271de525e1d7), and a skipped program allows.
 */
function requireRecursion({ hasSymbol }: HostFacts): string {
  const symbol = '__bpf_prog_enter_sleepable_recur';
  if (hasSymbol(symbol)) return symbol;
  throw new JailrunError(
    'KERNEL_SKIPS',
    `The kernel has no ${symbol}: it skips a program that is entered again while it runs on the same CPU, and what is skipped is allowed. Use Linux 6.2 or later, or a distribution's 6.1 with that fix (Debian 12's has it).`,
  );
}

/**
 * Decides how to attach. A program on an LSM hook loads and attaches also where the BPF LSM is not
 * active, and is then never called, so only the kernel's own list is believed.
 *
 * The kernel skips a fmod_ret program while another task is preempted inside the same program on the
 * same CPU, and what is skipped is allowed: of a jailed program's forbidden opens in eight threads
 * one in a hundred went through. The BPF LSM's programs are not skipped, and where tasks are not
 * preempted inside the kernel none is.
 */
export function chooseWay({ lsms, preemptible, hasSymbol }: HostFacts): Way {
  if (lsms?.includes('bpf')) return 'lsm';
  const listed = lsms ? `its LSMs are ${lsms.join(',')}, without bpf` : 'it does not tell its LSMs';
  const boot = hasSymbol('bpf_lsm_file_open')
    ? `Boot with bpf in the list of LSMs: lsm=${lsms ? `${lsms.join(',')},bpf` : '…,bpf'}`
    : 'Use a kernel built with CONFIG_BPF_LSM=y and boot it with bpf in the list of LSMs';
  const needs: [symbol: string, option: string][] = [
    ['security_file_open', 'CONFIG_SECURITY=y'],
    ['arch_prepare_bpf_trampoline', 'CONFIG_BPF_JIT=y'],
    ['register_ftrace_direct', 'CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS=y'],
  ];
  const lacking = needs.filter(([symbol]) => !hasSymbol(symbol)).map(([, option]) => option);
  if (lacking.length > 0) {
    throw new JailrunError(
      'NO_WAY',
      `This kernel lets no program decide: ${listed}, and attaching to security_* needs ${lacking.join(', ')}. ${boot}, or use a kernel with these options.`,
    );
  }
  if (preemptible !== false) {
    const preempts = preemptible
      ? 'it preempts tasks inside the kernel'
      : 'whether it preempts tasks inside the kernel cannot be found out';
    throw new JailrunError(
      'NO_WAY',
      `This kernel would let some operations through undecided: ${listed}, and ${preempts}, so it skips programs on security_*. ${boot}, or with preempt=none where it knows that.`,
    );
  }
  return 'fmod_ret';
}
