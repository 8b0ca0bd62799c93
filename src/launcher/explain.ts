// explain: what a role says of one operation and which line of a policy decides, from the compiled form that
// the kernel would get, without running anything.
import { Access, Operation, Reason, Scope } from '../abi.js';
import { type CompiledRole, type Decision, decide, type Question } from '../profiles/compile.js';
import { follow, fromByteString, isOwnProcess, splitPath, toByteString } from '../profiles/locate.js';
import { type Mount, objectAt } from '../profiles/mounts.js';
import type { ResolvedRole, Section } from '../profiles/policy.js';
import { noSuchPower, powers } from '../profiles/powers.js';
import { nearest } from '../profiles/spelling.js';
import { deciderOf, stackName } from '../profiles/stack.js';
import { JailrunError } from './error.js';
import {
  asJailrunError,
  compileHere,
  findStack,
  hostLinks,
  hostMounts,
  isAudited,
  type StackRequest,
  sourcesHere,
} from './role.js';
import {
  byLine,
  deniedBy,
  type Grant,
  type GrantTarget,
  grantFor,
  mend,
  type PolicyLine,
  printable,
  reasonText,
  ruleForAbstract,
  ruleForEnd,
} from './verdict.js';

export type OperationName = 'read' | 'write' | 'exec' | 'bind' | 'connect' | 'use';

export interface ExplainRequest extends StackRequest {
  operation: string;
  /** A path, what a network rule names (`tcp 10.0.0.5:5432`, `udp :53`, `unix:/run/x.sock`), or a power. */
  target: string;
}

/** A verdict as `--json` prints it. The schema is versioned; fields are only ever added. */
export interface VerdictReport {
  version: 1;
  type: 'verdict';
  /** Of a stack the names of its roles, with plus signs in between. */
  role: string;
  /** Which role of a stack decided: one that denies, or of those that grant it one; absent for a single role. */
  decider?: string;
  operation: OperationName;
  /** The path asked about, made absolute, or the address and port. */
  target: string;
  /** The path without symbolic links, where that is another one. */
  object?: string;
  granted: boolean;
  /** Why it is denied, where it is not simply that no rule grants it. */
  reason?: string;
  /** The rule that decided, or the section that is `any` or `none`. */
  rule?: PolicyLine;
  /** What to add to the role, where it can be named. */
  allow?: Grant;
  /** What the verdict does not tell, in words. */
  notes?: string[];
}

/** What is asked, and of what: the object's path, or a rule for just this end. */
interface Asked {
  question: Question;
  target: string;
  object: GrantTarget;
  /** The object cannot be named in the mount table. */
  lost?: true;
  /** What the question leaves open. */
  note?: string;
}

const operations = {
  read: { operation: Operation.READ, section: 'files' },
  write: { operation: Operation.WRITE, section: 'files' },
  exec: { operation: Operation.EXEC, section: 'exec' },
  bind: { operation: Operation.BIND, section: 'network' },
  connect: { operation: Operation.CONNECT, section: 'network' },
  use: { operation: Operation.USE, section: 'allow' },
} as const satisfies Record<OperationName, { operation: Operation; section: Section }>;

function operationNamed(word: string): OperationName {
  const names = Object.keys(operations) as OperationName[];
  const name = names.find((known) => known === word);
  if (name !== undefined) return name;
  const meant = nearest(word, names);
  throw new JailrunError(
    'USAGE',
    `There is no operation ${word}${meant ? `; did you mean ${meant}?` : `. OPERATION is one of ${names.join(', ')}`}`,
  );
}

/**
 * Asks the role, or every role of a stack, without running anything. Throws a JailrunError USAGE, TARGET,
 * UNKNOWN_ROLE or POLICY.
 */
export async function explain(request: ExplainRequest): Promise<VerdictReport> {
  const { target } = request;
  const operation = operationNamed(request.operation);
  const sources = sourcesHere(request.policy);
  const stack = await findStack(request, sources, 'jailrun explain --role NAME OPERATION TARGET');
  isAudited(stack);
  const unseen = new Set<string>();
  try {
    if (operation === 'use') return describePower(target, stack);
    const mounts = hostMounts();
    const compiled = compileHere(stack, mounts, hostLinks(unseen));
    const asked =
      operation === 'bind' || operation === 'connect'
        ? await askSocket(operation, target, mounts, unseen)
        : askPath(operation, target, mounts, unseen);
    return describeVerdict(operation, asked, stack, compiled, unseen);
  } catch (error) {
    throw asJailrunError(error);
  }
}

/** What a verdict says of the roles. */
function whose(
  stack: readonly ResolvedRole[],
  decider: ResolvedRole,
): Pick<VerdictReport, 'role' | 'decider'> {
  return { role: stackName(stack), ...(stack.length > 1 && { decider: decider.name }) };
}

function describePower(name: string, stack: readonly ResolvedRole[]): VerdictReport {
  const power = Object.hasOwn(powers, name) ? powers[name] : undefined;
  if (!power) throw new JailrunError('USAGE', `TARGET: ${noSuchPower(name)}`);
  const has = ({ allow }: ResolvedRole) => allow === 'any' || allow.includes(name);
  const granted = stack.every(has);
  const role = stack.find((one) => !has(one)) ?? (stack[0] as ResolvedRole);
  const place = role.sections.allow;
  const none = role.allow.length === 0 && 'none';
  const text = role.allow === 'any' ? 'any' : granted ? name : none;
  const allow = granted ? undefined : grantFor(Operation.USE, { power: name }, undefined, role.place);
  return {
    version: 1,
    type: 'verdict',
    ...whose(stack, role),
    operation: 'use',
    target: name,
    granted,
    ...(place && text && { rule: { section: 'allow', text, file: place.file, line: place.line } }),
    ...(allow && { allow }),
    notes: [`${name} lets ${power.lets}`, ...notesOn('use', role, granted)],
  };
}

/** A target is written as a rule is, or as a denial shows it: `tcp 10.0.0.5:5432`, `unix @name`. */
async function askSocket(
  operation: 'bind' | 'connect',
  text: string,
  mounts: readonly Mount[],
  unseen: Set<string>,
): Promise<Asked> {
  const { readTarget } = await import('../profiles/network.js');
  const [, scheme = '', rest = ''] = /^(tcp|udp|unix)[ :]:?(.*)$/s.exec(text) ?? [];
  const target = readTarget(scheme === '' ? text : `${scheme}:${rest}`);
  if ('code' in target) {
    const hint = text.startsWith('/') ? `. For a unix socket write unix:${text}` : '';
    throw new JailrunError('USAGE', `TARGET ${target.message}${hint}`);
  }
  if (target.kind === 'path') return askPath(operation, target.path, mounts, unseen);
  if (target.kind === 'abstract') {
    const { name } = target;
    return { question: { direction: operation, name }, target: text, object: { end: ruleForAbstract(name) } };
  }
  const { protocol = 0, prefixes, first, last } = target;
  const [prefix, ...more] = prefixes ?? [];
  const several = more.length > 0 || (prefix && prefix.length < prefix.address.length * 4);
  if (several || (first !== last && !(first === 0 && operation === 'bind')))
    throw new JailrunError(
      'USAGE',
      `TARGET ${JSON.stringify(text)} is more than one address or port; ask for one: tcp 10.0.0.5:5432`,
    );
  const address = meant(operation, prefix?.address ?? '00000000', prefix !== undefined);
  const end = { protocol, address, port: first === last ? first : 0 };
  return {
    question: { direction: operation, ...end },
    target: text,
    object: { end: ruleForEnd(end) },
    ...(operation === 'connect' &&
      !prefixes && { note: 'rules that name an address may say otherwise of that one' }),
  };
}

/** To connect to the unspecified address is to connect to loopback. */
function meant(operation: 'bind' | 'connect', address: string, written: boolean): string {
  if (operation === 'bind' || !written || /[^0]/.test(address)) return address;
  return address.length === 8 ? '7f000001' : address.replace(/.$/, '1');
}

const accesses = {
  read: Access.READ,
  write: Access.WRITE,
  exec: Access.EXEC,
  bind: Access.BIND,
  connect: Access.CONNECT,
};

function askPath(
  operation: keyof typeof accesses,
  path: string,
  mounts: readonly Mount[],
  unseen: Set<string>,
): Asked {
  if (path === '') throw new JailrunError('USAGE', 'TARGET is empty; name a path');
  // Not path.resolve(): behind a link, .. leads to where the link leads.
  const absolute = path.startsWith('/') ? path : `${process.cwd()}/${path}`;
  const target = `/${splitPath(absolute).join('/')}`;
  const { object, fault, way } = follow(toByteString(absolute), hostLinks(unseen));
  if (fault !== undefined) {
    const own = isOwnProcess(way.at(-1) ?? '');
    const why = own
      ? 'leads into /proc/self, another object for each process; name /proc/PID instead'
      : fault;
    throw new JailrunError('TARGET', `${printable(target)} ${why}`);
  }
  const seenAt = fromByteString(object);
  const mounted = objectAt(seenAt, mounts);
  // No role knows device 0.
  const question = { ...(mounted ?? { device: 0, path: seenAt }), access: accesses[operation] };
  return { question, target, object: { path: seenAt }, ...(!mounted && { lost: true }) };
}

function describeVerdict(
  operation: Exclude<OperationName, 'use'>,
  asked: Asked,
  stack: readonly ResolvedRole[],
  compiled: CompiledRole,
  unseen: ReadonlySet<string>,
): VerdictReport {
  const { granted, rule: number, reason } = decide(compiled, asked.question);
  const role = stack[deciderOf(compiled.members, operations[operation].section, number)] as ResolvedRole;
  const isPath = 'path' in asked.object;
  // Who may do anything with files may connect to all sockets that have a path.
  const section =
    isPath && granted && role.network !== Scope.ANY && operation !== 'exec'
      ? 'files'
      : operations[operation].section;
  const rule = compiled.rules[number - 1] ?? scopeLine(role, section, { granted, reason });
  const why = granted ? undefined : reasonText(asked.lost ? Reason.DISCONNECTED : reason);
  const allow =
    granted || why !== undefined
      ? undefined
      : grantFor(operations[operation].operation, asked.object, rule, role.place);
  const object = 'path' in asked.object && asked.object.path !== asked.target ? asked.object.path : undefined;
  const notes = [
    ...(asked.note === undefined ? [] : [asked.note]),
    ...notesOn(operation, role, granted),
    ...[...unseen].map(noteOnUnseen),
  ];
  return {
    version: 1,
    type: 'verdict',
    ...whose(stack, role),
    operation,
    target: asked.target,
    ...(object !== undefined && { object }),
    granted,
    ...(why !== undefined && { reason: why }),
    ...(rule && { rule }),
    ...(allow && { allow }),
    ...(notes.length > 0 && { notes }),
  };
}

/** The section as a whole, where no rule decided but that it is `any`, or that somebody wrote `none`. */
function scopeLine(
  role: ResolvedRole,
  section: Section,
  { granted, reason }: Pick<Decision, 'granted' | 'reason'>,
): PolicyLine | undefined {
  const place = role.sections[section] ?? role.place;
  const none = role[section] === Scope.NONE && section in role.sections && reason === Reason.RULE;
  if (!granted && !none) return undefined;
  return { section, text: granted ? 'any' : 'none', ...place };
}

function* notesOn(operation: OperationName, role: ResolvedRole, granted: boolean): Generator<string> {
  if (granted) return;
  if (operation === 'exec') yield 'the command that jailrun itself is given may start all the same';
  if (role.audit) yield `role ${role.name} is in audit mode, which reports this and lets it through`;
}

function noteOnUnseen(place: string): string {
  return `this user may not look at ${place}, which is taken for no symbolic link; root may get another answer`;
}

/** The verdict in a line, and each note in one of its own. */
export function formatVerdict(report: VerdictReport): string[] {
  const { role, decider, operation, target, object, granted, reason, rule, allow, notes = [] } = report;
  const what = [
    operation,
    printable(target),
    ...(object === undefined ? [] : ['->', printable(object)]),
  ].join(' ');
  let verdict = `denied: role ${decider ?? role} does not grant ${what}`;
  if (granted) verdict = `allowed: ${what}${rule ? ` ${byLine(rule, decider)}` : ''}`;
  else if (rule) verdict = `denied: ${what} ${deniedBy(rule, decider)}`;
  else if (reason !== undefined) verdict = `denied: ${what}: ${reason}`;
  return [`${verdict}${mend(allow)}`, ...notes.map((note) => `note: ${printable(note)}`)];
}
