// What a supervised run says at its end: each denial once, with the rule that would allow it.
import { readFileSync } from 'node:fs';
import { getSystemErrorName } from 'node:util';
import { type Denial, Hook, Operation, Reason, Scope } from '../abi.js';
import { fromByteString } from '../profiles/locate.js';
import { type Mount, parseMountinfo, visiblePath } from '../profiles/mounts.js';
import { type End, showAddress } from '../profiles/network.js';
import { nameOfBit, powerNamed } from '../profiles/powers.js';
import { type CompiledMember, deciderOf } from '../profiles/stack.js';
import { readDenials } from './kernel.js';
import { heldRoleOf, type PodHeader, type PodState, readState } from './pods.js';
import {
  deniedBy,
  type Grant,
  grantFor,
  inRole,
  mend,
  type PolicyLine,
  printable,
  protocolNames,
  reasonText,
  ruleForAbstract,
  ruleForEnd,
  sectionOf,
} from './verdict.js';

/** Descriptors on which the front hands the reporter two maps. */
const POD_COUNTERS_FD = 3;
const POD_DENIALS_FD = 4;

const [AF_UNIX, AF_INET, AF_INET6] = [1, 2, 10];

const familyNames: Record<number, string> = {
  1: 'unix',
  2: 'inet',
  10: 'inet6',
  16: 'netlink',
  17: 'packet',
};
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
  /** How often in a row its task was denied this. */
  count: number;
  pod: string;
  podId: string;
  /** Of a stack the names of its roles, with plus signs in between. */
  role: string;
  /** Which role of a stack denied it; absent for a single role, and where none could have granted it. */
  decider?: string;
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
  rule?: PolicyLine;
  /** What to add to the role, where it can be named. */
  allow?: Grant;
  /** For a power: the process that it was to be used on, or the system call that asked for it. */
  subject?: number;
}

/** What ends a report that is not whole, with `--json`. Fields are only ever added. */
export interface LostReport {
  version: 1;
  type: 'lost';
  /** How many denials were not kept. */
  denials: number;
}

/** Turns the kernel's record into what people and programs read. Pure. */
export function describeDenial(denial: Denial, pod: PodHeader, mounts: Mount[]): DenialReport {
  const path = visibleTarget(denial, mounts);
  const rule = pod.rules[denial.rule - 1];
  const decider = deciderIn(pod.roles, denial);
  const reason = reasonOf(denial, decider);
  const allow =
    reason === undefined || denial.reason === Reason.FAMILY
      ? allowing(denial, rule, decider?.definition, path)
      : undefined;
  const several = pod.roles.length > 1;
  return {
    version: 1,
    type: 'denial',
    time: String(denial.time),
    sequence: Number(denial.sequence),
    count: Number(denial.repeats) + 1,
    pod: pod.name,
    podId: String(denial.pod),
    role: pod.role,
    ...(several && decider && { decider: decider.name }),
    pid: denial.pid,
    tid: denial.tid,
    ppid: denial.ppid,
    uid: denial.uid,
    startTime: String(denial.startTime),
    command: text(denial.comm),
    hook: nameOf(Hook, denial.hook),
    operation: nameOf(Operation, denial.operation),
    target: path ?? targetOf(denial),
    error: getSystemErrorName(-denial.error),
    audit: denial.audit === 1,
    ...(reason && { reason }),
    ...(rule && { rule }),
    ...(allow && { allow }),
    ...(denial.subject !== 0 && { subject: denial.subject }),
  };
}

/** The same for a pod's own record, with the mount table of this process, or of its container, and the roles that held it then. */
export function describeDenials(denials: readonly Denial[], pod: PodState): DenialReport[] {
  const mounts = pod.container?.mounts ?? parseMountinfo(readFileSync('/proc/self/mountinfo'));
  return denials.map((denial) => describeDenial(denial, { ...pod, ...heldRoleOf(pod, denial.role) }, mounts));
}

const text = (bytes: Uint8Array): string => {
  const end = bytes.indexOf(0);
  return Buffer.from(end < 0 ? bytes : bytes.subarray(0, end)).toString();
};

const rawPath = (denial: Denial): string => text(denial.path.subarray(denial.pathStart));

/** A path that leads to the object; undefined where none does, or where it is no file. */
function visibleTarget(denial: Denial, mounts: Mount[]): string | undefined {
  return denial.device === 0 ? undefined : visiblePath(denial.device, rawPath(denial), mounts);
}

function targetOf(denial: Denial): string {
  if (denial.device !== 0) return rawPath(denial);
  if (denial.operation === Operation.USE) return powerNamed(denial.power) ?? impliedName(denial.power);
  if (denial.operation === Operation.MAP) return 'anonymous memory';
  if (denial.operation === Operation.FORK) return 'a new task';
  if (denial.operation === Operation.RING) return 'another process’s io_uring';
  const protocol = protocolNames[denial.protocol] ?? (denial.protocol ? `protocol ${denial.protocol}` : '');
  const family = familyNames[denial.family] ?? `family ${denial.family}`;
  const name = abstractName(denial);
  if (name !== undefined) return `unix @${fromByteString(name)}`;
  if (!hasEnd(denial)) return [family, protocol].filter(Boolean).join(' ');
  const { address, port } = endOf(denial);
  const host = showAddress(address);
  return `${protocol} ${host.includes(':') ? `[${host}]` : host}:${port}`;
}

/** Whether the denial is about an address. */
function hasEnd({ operation, protocol, reason, family }: Denial): boolean {
  const named = protocol in protocolNames && (family === AF_INET || family === AF_INET6);
  return named && operation !== Operation.SOCKET && reason !== Reason.FAMILY;
}

/** What a section implies has no name under `allow`. */
const impliedName = (power: number): string => `CAP_${nameOfBit(power)}`;

function endOf({ protocol, family, address, port }: Denial): End {
  const bytes = address.subarray(0, family === AF_INET6 ? 16 : 4);
  return { protocol, address: Buffer.from(bytes).toString('hex'), port };
}

/** An abstract name, a byte string. */
function abstractName({ family, device, path, pathStart }: Denial): string | undefined {
  if (family !== AF_UNIX || device !== 0 || pathStart === path.length - 1) return undefined;
  return Buffer.from(path.subarray(pathStart, path.length - 1)).toString('latin1');
}

/** The role of a stack that denied. */
function deciderIn(roles: readonly CompiledMember[], denial: Denial): CompiledMember | undefined {
  const section = sectionOf(denial.operation);
  if (section === undefined || denial.reason === Reason.OWN || denial.reason === Reason.BROKEN)
    return undefined;
  if (denial.reason === Reason.JIT) return roles.find(({ jit }) => !jit);
  if (section !== 'allow') return roles[deciderOf(roles, section, denial.rule)];
  return roles.find(({ powers }) => !((BigInt(`0x${powers}`) >> BigInt(denial.power)) & 1n));
}

function reasonOf(denial: Denial, decider: CompiledMember | undefined): string | undefined {
  // The kernel side does not ask the files' rules then, so none of them would help.
  if (denial.reason === Reason.RULE && isUnixSocket(denial) && decider?.scopes.network === Scope.NONE)
    return 'its role has no network, which unix sockets belong to';
  return reasonText(denial.reason);
}

const socketOperations: readonly number[] = [Operation.BIND, Operation.CONNECT, Operation.SEND];

const isUnixSocket = ({ operation, device }: Denial): boolean =>
  device !== 0 && socketOperations.includes(operation);

/** What to add to the role, where adding one thing allows the operation. */
function allowing(
  denial: Denial,
  decided: PolicyLine | undefined,
  definition: CompiledMember['definition'] | undefined,
  path: string | undefined,
): Grant | undefined {
  const network = inRole({ section: 'network', text: 'any' }, definition);
  if (denial.reason === Reason.FAMILY || denial.operation === Operation.SOCKET) return network;
  const power = denial.operation === Operation.USE ? powerNamed(denial.power) : undefined;
  if (power !== undefined) return grantFor(denial.operation, { power }, undefined, definition);
  if (path !== undefined) return grantFor(denial.operation, { path }, decided, definition);
  const name = abstractName(denial);
  if (name !== undefined)
    return grantFor(denial.operation, { end: ruleForAbstract(name) }, decided, definition);
  // Port 0 is nobody's to connect to; to listen on it is to let the kernel choose.
  const choosing = denial.operation === Operation.LISTEN;
  if (denial.device !== 0 || !hasEnd(denial) || (denial.port === 0 && !choosing)) return undefined;
  return grantFor(denial.operation, { end: ruleForEnd(endOf(denial)) }, decided, definition);
}

/** Why, as the end of a sentence about the denial. */
export function whyDenied({ role, decider, reason, rule }: DenialReport): string {
  if (rule) return ` ${deniedBy(rule, decider)}`;
  if (reason !== undefined) return `: ${reason}${decider === undefined ? '' : ` (role ${decider})`}`;
  return `: role ${decider ?? role} does not grant it`;
}

/** One line for people. */
export function formatDenial(report: DenialReport, count: number): string {
  const times = count > 1 ? `, ${count} times` : '';
  const verb = report.audit ? 'would be denied' : 'was denied';
  const why = whyDenied(report);
  const what = `${report.operation} ${printable(report.target)}${times}`;
  return `${printable(report.command)}[${report.pid}] ${verb} ${what} (${report.error})${why}${mend(report.allow)}`;
}

/** What was reported. */
export interface RunDenials {
  pod: PodHeader;
  reports: DenialReport[];
  lost: number;
}

/**
 * Reports the pod's denials on standard error: the internal subcommand that the front runs
 * when a supervised command has ended and was denied something. Undefined where the pod is gone.
 */
export function reportDenials(statePath: string): RunDenials | undefined {
  const pod = readState(statePath);
  if (!pod?.id) return undefined;
  const { denials, lost } = readDenials(POD_COUNTERS_FD, POD_DENIALS_FD, pod.id);
  const reports = describeDenials(denials, pod);
  const lines = pod.json
    ? jsonLines(reports, lost)
    : denialLines(pod, reports, lost).map((line) => `jailrun: ${line}`);
  process.stderr.write(lines.map((line) => `${line}\n`).join(''));
  return { pod, reports, lost };
}

/** For programs: a line of JSON each. */
export function jsonLines(reports: readonly DenialReport[], lost: number): string[] {
  const rows: (DenialReport | LostReport)[] = [...reports];
  if (lost > 0) rows.push({ version: 1, type: 'lost', denials: lost });
  return rows.map((row) => JSON.stringify(row));
}

/** The same of several tasks, or at several times, once with its count. */
export function mergeDenials(reports: readonly DenialReport[]): { report: DenialReport; count: number }[] {
  const seen = new Map<string, { report: DenialReport; count: number }>();
  for (const report of reports) {
    const key = [report.operation, report.target, report.command, report.error, report.audit].join('\0');
    const same = seen.get(key);
    if (same) same.count += report.count;
    else seen.set(key, { report, count: report.count });
  }
  return [...seen.values()];
}

/** For people: each denial once, with how often it was. */
export function denialLines(pod: PodHeader, reports: DenialReport[], lost: number): string[] {
  const lines = mergeDenials(reports).map(({ report, count }) => formatDenial(report, count));
  if (lost > 0) lines.push(`${lost} more denials of pod ${pod.name} were not kept and are not shown`);
  return lines;
}
