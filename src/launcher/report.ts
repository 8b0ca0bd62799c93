// What a supervised run says at its end: each denial once, with the rule that would allow it.
import { readFileSync } from 'node:fs';
import { getSystemErrorName } from 'node:util';
import { type Denial, Hook, Operation, Reason } from '../abi.js';
import { type Mount, parseMountinfo, visiblePath } from '../profiles/mounts.js';
import { readDenials } from './kernel.js';
import { type PodHeader, readState } from './pods.js';

/** Descriptors on which the front hands the reporter two maps. */
const PODS_FD = 3;
const POD_DENIALS_FD = 4;

const familyNames: Record<number, string> = {
  1: 'unix',
  2: 'inet',
  10: 'inet6',
  16: 'netlink',
  17: 'packet',
};
const protocolNames: Record<number, string> = { 6: 'tcp', 17: 'udp' };
const nameOf = (table: Record<string, number>, value: number): string =>
  Object.keys(table)
    .find((name) => table[name] === value)
    ?.toLowerCase() ?? String(value);

/** A denial as `--json` prints it, one line each. The schema is versioned; fields are only ever added. */
export interface DenialReport {
  version: 1;
  type: 'denial';
  /** Nanoseconds since boot, decimal. */
  time: string;
  sequence: number;
  pod: string;
  podId: string;
  role: string;
  pid: number;
  tid: number;
  ppid: number;
  uid: number;
  /** The process's start, nanoseconds since boot, decimal: tells a reused pid. */
  startTime: string;
  command: string;
  hook: string;
  operation: string;
  /** A path, or protocol, address and port. */
  target: string;
  /** Errno's name. */
  error: string;
  /** True where audit mode let the operation through. */
  audit: boolean;
  /** Why, where it is not simply that no rule grants it. */
  reason?: string;
  /** The rule that decided, as the policy has it. */
  rule?: { section: string; text: string; file: string; line: number };
  /** The rule to add to the role, where one can be named. */
  allow?: { section: string; text: string };
}

const reasons: Partial<Record<Reason, string>> = {
  [Reason.UNKNOWN_DEVICE]: 'it lies on a file system that was not mounted when the jail began',
  [Reason.TOO_DEEP]: 'it lies too deep in its file system to be decided',
  [Reason.DISCONNECTED]: 'no path leads to it',
  [Reason.BROKEN]: 'the role could not be looked up',
  [Reason.MORE_RIGHTS]: 'there it, or what it holds, would have more rights than where it is; copy it',
  [Reason.TOO_WIDE]: 'it would show a whole file system; files: any allows it',
  [Reason.FAMILY]: 'no rule can name this kind of socket; network: any allows it',
};

/** Turns the kernel's record into what people and programs read. Pure. */
export function describeDenial(denial: Denial, pod: PodHeader, mounts: Mount[]): DenialReport {
  const operation = nameOf(Operation, denial.operation);
  const target = targetOf(denial, mounts);
  const rule = pod.rules[denial.rule - 1];
  const allow = allowingRule(denial, operation, target);
  return {
    version: 1,
    type: 'denial',
    time: String(denial.time),
    sequence: Number(denial.sequence),
    pod: pod.name,
    podId: String(denial.pod),
    role: pod.role,
    pid: denial.pid,
    tid: denial.tid,
    ppid: denial.ppid,
    uid: denial.uid,
    startTime: String(denial.startTime),
    command: text(denial.comm),
    hook: nameOf(Hook, denial.hook),
    operation,
    target,
    error: getSystemErrorName(-denial.error),
    audit: denial.audit === 1,
    ...(denial.reason !== Reason.RULE && { reason: reasons[denial.reason as Reason] ?? 'unknown' }),
    ...(rule && { rule }),
    ...(allow && { allow }),
  };
}

const text = (bytes: Uint8Array): string => {
  const end = bytes.indexOf(0);
  return Buffer.from(end < 0 ? bytes : bytes.subarray(0, end)).toString();
};

function targetOf(denial: Denial, mounts: Mount[]): string {
  if (denial.device !== 0) {
    const path = text(denial.path.subarray(denial.pathStart));
    return visiblePath(denial.device, path, mounts) ?? path;
  }
  if (denial.operation === Operation.BPF) return 'bpf(2)';
  if (denial.operation === Operation.FORK) return 'a new task';
  if (denial.operation === Operation.RING) return 'another process’s io_uring';
  const protocol = protocolNames[denial.protocol] ?? (denial.protocol ? `protocol ${denial.protocol}` : '');
  const family = familyNames[denial.family] ?? `family ${denial.family}`;
  if (denial.operation === Operation.SOCKET || !protocol) return [family, protocol].filter(Boolean).join(' ');
  return `${protocol} ${address(denial)}:${denial.port}`;
}

function address({ family, address: bytes }: Denial): string {
  if (family === 2) return bytes.subarray(0, 4).join('.');
  const groups = Array.from({ length: 8 }, (_, i) =>
    (((bytes[2 * i] ?? 0) << 8) | (bytes[2 * i + 1] ?? 0)).toString(16),
  );
  // The URL parser writes IPv6 addresses in their canonical, shortened form.
  return new URL(`http://[${groups.join(':')}]`).hostname;
}

/** The section and text of the rule that would allow it, where adding one rule does. */
function allowingRule(denial: Denial, operation: string, target: string): DenialReport['allow'] {
  if (denial.reason === Reason.FAMILY) return { section: 'network', text: 'any' };
  if (denial.reason !== Reason.RULE) return undefined;
  const protocol = protocolNames[denial.protocol];
  switch (denial.operation) {
    case Operation.READ:
    case Operation.STAT:
      return { section: 'files.read', text: target };
    case Operation.WRITE:
    case Operation.CREATE:
      return { section: 'files.write', text: target };
    case Operation.EXEC:
      return { section: 'exec', text: target };
    case Operation.BIND:
    case Operation.LISTEN:
      return protocol && denial.port
        ? { section: 'network.bind', text: `${protocol}:${denial.port}` }
        : undefined;
    case Operation.CONNECT:
    case Operation.SEND:
      if (denial.device !== 0) return { section: 'files.write', text: target };
      return protocol ? { section: 'network.connect', text: `${protocol}:${denial.port}` } : undefined;
    default:
      return operation === 'socket' ? { section: 'network', text: 'any' } : undefined;
  }
}

/** One line for people. */
export function formatDenial(report: DenialReport, count: number): string {
  const times = count > 1 ? `, ${count} times` : '';
  const verb = report.audit ? 'would be denied' : 'was denied';
  const why = report.rule
    ? `${report.rule.file}:${report.rule.line} says ${report.rule.section}: ${report.rule.text}`
    : (report.reason ?? `role ${report.role} does not grant it`);
  const mend = report.allow ? `; to allow it: ${report.allow.section}: [${report.allow.text}]` : '';
  return `${report.command}[${report.pid}] ${verb} ${report.operation} ${report.target}${times} (${report.error}): ${why}${mend}`;
}

/**
 * Reports the pod's denials on standard error: the internal subcommand that the front runs
 * when a supervised command has ended and was denied something.
 */
export function reportDenials(statePath: string): void {
  const pod = readState(statePath);
  if (!pod?.id) return;
  const mounts = parseMountinfo(readFileSync('/proc/self/mountinfo'));
  const { denials, lost } = readDenials(PODS_FD, POD_DENIALS_FD, pod.id);
  const reports = denials.map((denial) => describeDenial(denial, pod, mounts));
  const lines = pod.json ? jsonLines(reports, lost) : textLines(pod, reports, lost);
  process.stderr.write(lines.map((line) => `${line}\n`).join(''));
}

function jsonLines(reports: DenialReport[], lost: number): string[] {
  const rows: object[] = [...reports];
  if (lost > 0) rows.push({ version: 1, type: 'lost', denials: lost });
  return rows.map((row) => JSON.stringify(row));
}

function textLines(pod: PodHeader, reports: DenialReport[], lost: number): string[] {
  const seen = new Map<string, { report: DenialReport; count: number }>();
  for (const report of reports) {
    const key = [report.operation, report.target, report.command, report.error].join('\0');
    const same = seen.get(key);
    if (same) same.count++;
    else seen.set(key, { report, count: 1 });
  }
  const lines = [...seen.values()].map(({ report, count }) => `jailrun: ${formatDenial(report, count)}`);
  if (lost > 0)
    lines.push(`jailrun: ${lost} more denials of pod ${pod.name} were not kept and are not shown`);
  return lines;
}
