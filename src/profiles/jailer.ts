/**
 * Jailer's policy.json (gen0sec's BpfJailer), read into the same `Policy` as our own files. What it asks
 * for and this version does not enforce is a problem, as there.
 *
 * Where Jailer's documentation and its code differ, the documented meaning is taken:
 *  - A flag says what holds where no rule matches. For ports its text says so, too, but its table of roles
 *    says that only the listed ports are allowed; that is the narrower meaning, and that of our own roles.
 *  - The more specific of two patterns decides. Its code follows a name and then forgets the `*` beside it.
 *  - A `*` at the end is for what a directory holds. Its code takes the directory as well.
 *  - `**` stands for any number of components, and what it is more specific than is left to us. Its code
 *    passes over it.
 *
 * The rest is as its code has it. A rule for a path allows or denies to open, for reading and for writing
 * alike, and covers what is below, with a slash at its end or without; nothing but `*` and `**` as whole
 * components is a wildcard. A rule for a port holds for bind and connect. What may not be opened does not
 * run. Keys that begin with `_comment` are remarks.
 */
import { isMap, isScalar, isSeq, type Node } from 'yaml';
import type { Entry, Reader, Shape } from './document.js';
import type { Enrollment, NetworkList, PathList, Place, Policy, RoleDefinition, Written } from './policy.js';
import { powerNames } from './powers.js';
import { checkPath, type Fault } from './rulepath.js';

const maxPorts = 4096;

const ruleShape = (required: readonly string[], ...optional: string[]): Shape => ({
  known: [...required, 'allow', ...optional],
  required: [...required, 'allow'],
  mayBeEmpty: true,
});
const fileShape = ruleShape(['pattern']);
const programShape = ruleShape(['binary_path'], 'args_pattern');
// The files of Jailer's own tests have directions, which its code passes over.
const portShape = ruleShape(['protocol'], 'direction', 'address', 'port', 'port_start', 'port_end');
const roleShape: Shape = {
  known: [
    ...['id', 'name', 'flags', 'file_paths', 'network_rules', 'execution_rules', 'require_signed_binary'],
    ...['ip_rules', 'domain_rules', 'proxy'],
  ],
  required: ['id', 'flags'],
  mayBeEmpty: true,
};
const decidingFlags = ['allow_file_access', 'allow_network', 'allow_exec'] as const;
const flagsShape: Shape = {
  known: [
    ...decidingFlags,
    ...['require_signed_binary', 'require_proxy'],
    ...['allow_setuid', 'allow_ptrace', 'allow_module_load', 'allow_bpf_load'],
  ],
  required: decidingFlags,
};
const policyShape: Shape = {
  known: ['roles', 'pods', 'exec_enrollments', 'cgroup_enrollments'],
  required: ['roles'],
  mayBeEmpty: true,
};

/** Whether a document is Jailer's: a file of JSON that has nothing of what ours begin with. */
export function isJailer(contents: Node | null, file: string): contents is Node {
  return file.endsWith('.json') && isMap(contents) && !contents.has('version') && !contents.has('sets');
}

/** Reads what isJailer() says is Jailer's; `reader` has the problems. */
export function readJailer(reader: Reader, contents: Node): Policy {
  const entries = withoutRemarks(reader, contents, '', policyShape);
  refuseUnlessEmpty(reader, entries.get('pods'), 'pods; start the command with jailrun --role instead');
  const enrollments = [
    ...readEnrollments(reader, entries.get('exec_enrollments'), 'executable'),
    ...readEnrollments(reader, entries.get('cgroup_enrollments'), 'cgroup'),
  ];
  const roles = entries.get('roles');
  const all = roles ? [...reader.entries(roles.value, roles.where)] : [];
  return {
    file: reader.file,
    standsAlone: true,
    sets: [],
    roles: all.flatMap(([name, entry]) => readRole(reader, name, entry) ?? []),
    ...(enrollments.length > 0 && { enrollments }),
  };
}

/** A pod's number is Jailer's own affair; a pod of ours has what is enrolled by one path. */
function readEnrollments(reader: Reader, entry: Entry | undefined, kind: Enrollment['kind']): Enrollment[] {
  if (!entry) return [];
  const key = `${kind}_path`;
  const shape: Shape = { known: [key, 'pod_id', 'role'], required: [key, 'role'] };
  return reader.elements(entry.value, entry.where).flatMap(({ element, where }): Enrollment[] => {
    const fields = withoutRemarks(reader, element, where, shape);
    const [path, role] = [fields.get(key), fields.get('role')];
    const text = path && reader.text(path.value, path.where);
    const name = role && reader.text(role.value, role.where);
    if (text === undefined || name === undefined || !path || !role) return [];
    const fault = checkPath(text);
    if (fault || /[*?[$]/.test(text)) {
      reader.report('BAD_PATH', path.place, path.where, fault?.message ?? 'has a wildcard; write it out');
      return [];
    }
    return [{ kind, path: text, roles: [{ ...reader.placeOf(role.value), value: name }], ...path.place }];
  });
}

/** A mapping's entries without Jailer's remarks, which its reader passes over as it does all it does not know. */
function withoutRemarks(reader: Reader, node: Node, where: string, shape: Shape): Map<string, Entry> {
  const remarks = isMap(node)
    ? node.items.flatMap(({ key }) =>
        isScalar(key) && String(key.value).startsWith('_comment') ? String(key.value) : [],
      )
    : [];
  const entries = reader.entries(node, where, { ...shape, known: [...shape.known, ...remarks] });
  for (const remark of remarks) entries.delete(remark);
  return entries;
}

function refuseUnlessEmpty(reader: Reader, entry: Entry | undefined, what: string): void {
  if (!entry) return;
  const { value } = entry;
  const empty = (isSeq(value) || isMap(value)) && value.items.length === 0;
  if (!empty) notEnforced(reader, entry, what);
}

function notEnforced(reader: Reader, { place, where }: Spot, what: string): undefined {
  return reader.report('NOT_ENFORCED', place, where, `this version does not enforce ${what}`);
}

/** What a problem is about. */
type Spot = Pick<Entry, 'place' | 'where'>;

function readRole(reader: Reader, name: string, { place, value, where }: Entry): RoleDefinition | undefined {
  const entries = withoutRemarks(reader, value, where, roleShape);
  const idEntry = entries.get('id');
  const id = idEntry && reader.integer(idEntry.value, idEntry.where, 1, 65535);
  const written = entries.get('name');
  const ownName = written && reader.text(written.value, written.where);
  if (written && ownName !== undefined && ownName !== name)
    reader.report(
      'BAD_VALUE',
      written.place,
      written.where,
      `is ${JSON.stringify(ownName)}, and the role's key is ${JSON.stringify(name)}; make them equal`,
    );
  if (!/^[a-z][a-z0-9_-]*$/.test(name))
    reader.report(
      'BAD_NAME',
      place,
      where,
      'is not a name; names begin with a lower-case letter and go on with a-z, 0-9, - and _',
    );
  refuseUnlessEmpty(reader, entries.get('ip_rules'), 'rules for addresses; remove them');
  refuseUnlessEmpty(reader, entries.get('domain_rules'), 'rules for domains; remove them');
  refuseUnlessEmpty(reader, entries.get('proxy'), 'proxies; remove it');
  const signed = entries.get('require_signed_binary');
  if (signed && reader.boolean(signed.value, signed.where))
    notEnforced(reader, signed, 'signatures; write false');
  const flags = readFlags(reader, entries.get('flags'));
  const flag = (key: (typeof decidingFlags)[number]): Flag => flags.get(key) ?? { value: false, place };
  const files = readFiles(reader, entries.get('file_paths'), flag('allow_file_access'));
  const exec = readPrograms(reader, entries.get('execution_rules'), flag('allow_exec'), files);
  const network = readNetwork(reader, entries.get('network_rules'), flag('allow_network'));
  if (id === undefined || !idEntry) return undefined;
  return {
    name,
    ...place,
    id: { ...reader.placeOf(idEntry.value), value: id },
    description: `From Jailer's ${reader.file}.`,
    extends: [],
    vars: [],
    files: isWhole(files) ? files : { read: [], write: pathsOf(files.allowed), deny: pathsOf(files.denied) },
    exec,
    network,
    allow: readPowers(flags, place),
    sections: {
      files: flag('allow_file_access').place,
      // What runs under allow_exec: true is what may be opened.
      exec: flag(flag('allow_exec').value && files !== 'any' ? 'allow_file_access' : 'allow_exec').place,
      network: flag('allow_network').place,
    },
  };
}

interface Flag {
  value: boolean;
  place: Place;
}

/** What a flag asks for that a jail of ours does not do. `undefined`: whatever it says holds. */
function unmet(name: string, value: boolean): string | undefined {
  switch (name) {
    case 'require_signed_binary':
      return value ? 'signatures; write false' : undefined;
    case 'require_proxy':
      return value ? 'proxies; write false' : undefined;
    default:
      return undefined;
  }
}

/**
 * Which power each of Jailer's flags stands for. It says nothing of all the others, and takes none of them away.
 * A process of the same pod may be traced without the power: that gives nothing which the tracer does not have.
 */
const flagPowers = {
  allow_setuid: 'setuid',
  allow_ptrace: 'ptrace',
  allow_module_load: 'module',
  allow_bpf_load: 'bpf',
} as const;

function readPowers(flags: ReadonlyMap<string, Flag>, place: Place): Written<string>[] {
  const denied = Object.entries(flagPowers).filter(([flag]) => !flags.get(flag)?.value);
  const names = powerNames.filter((name) => !denied.some(([, power]) => power === name));
  return names.map((value) => ({ ...place, value }));
}

function readFlags(reader: Reader, entry: Entry | undefined): Map<string, Flag> {
  const flags = new Map<string, Flag>();
  if (!entry) return flags;
  for (const [name, { value: node, place, where }] of withoutRemarks(
    reader,
    entry.value,
    entry.where,
    flagsShape,
  )) {
    const value = reader.boolean(node, where);
    if (value === undefined) continue;
    flags.set(name, { value, place });
    const what = unmet(name, value);
    if (what !== undefined) notEnforced(reader, { place, where }, what);
  }
  return flags;
}

/** The rules of a list, each as its entries, whether it allows, and its place. */
function* rulesOf(
  reader: Reader,
  list: Entry | undefined,
  shape: Shape,
): Generator<{ rule: Map<string, Entry>; allow: boolean; spot: Spot }> {
  if (!list) return;
  for (const { element, where } of reader.elements(list.value, list.where)) {
    const rule = withoutRemarks(reader, element, where, shape);
    const entry = rule.get('allow');
    const allow = entry && reader.boolean(entry.value, entry.where);
    if (allow !== undefined) yield { rule, allow, spot: { place: reader.placeOf(element), where } };
  }
}

/** A rule for paths. */
interface PathRule extends Spot {
  /** The pattern in our words. */
  path: string;
  /** Its components, without a `**` at the end, which says nothing. */
  names: readonly string[];
  allow: boolean;
}

const pathsOf = (rules: readonly PathRule[]): PathList =>
  rules.map(({ place, path }) => ({ ...place, value: path }));

/** The rules of a list whose patterns are under `key`. */
function readPathRules(reader: Reader, list: Entry | undefined, shape: Shape, key: string): PathRule[] {
  const rules = new Map<string, PathRule>();
  for (const { rule, allow } of rulesOf(reader, list, shape)) {
    const args = rule.get('args_pattern');
    if (args) notEnforced(reader, args, 'patterns for arguments; remove it');
    const entry = rule.get(key);
    const text = entry && reader.text(entry.value, entry.where);
    if (!entry || text === undefined) continue;
    const spot = { place: reader.placeOf(entry.value), where: entry.where };
    // These are letters in Jailer.
    const path = text.replace(/(?<=[^/])\/$/, '').replace(/[?[]|\$(?=\{)/g, '[$&]');
    const names = path.split('/').filter((name) => name !== '');
    while (names.at(-1) === '**') names.pop();
    const fault = checkPattern(text, names) ?? checkPath(path);
    const earlier = rules.get(names.join('/'));
    if (fault) reader.report(fault.code, spot.place, spot.where, fault.message);
    else if (!earlier) rules.set(names.join('/'), { ...spot, path, names, allow });
    else
      reader.report(
        'DUPLICATE',
        spot.place,
        spot.where,
        `the same path is in this list already, on line ${earlier.place.line}; keep one`,
      );
  }
  return [...rules.values()];
}

function checkPattern(text: string, names: readonly string[]): Fault | undefined {
  const bad = (message: string): Fault => ({
    code: 'BAD_PATH',
    message: `${JSON.stringify(text)} ${message}`,
  });
  if (text.startsWith('/') && names.length === 0)
    return bad('names no file, and Jailer passes over it; say with the flag what holds for all files');
  if (names.some((name) => name.includes('*') && name !== '*' && name !== '**'))
    return bad(
      'has a * within a name, where Jailer takes it for a letter; write * for a whole component, or write the role in YAML',
    );
  return undefined;
}

type Precedence = 'first' | 'second' | 'apart' | 'unclear';

/** Which of two patterns Jailer follows where both match; `apart` when they never do, `unclear` with a `**`. */
function precedence(first: readonly string[], second: readonly string[]): Precedence {
  const shared = Math.min(first.length, second.length);
  const longer = first.length > second.length ? 'first' : 'second';
  let i = 0;
  while (i < shared && first[i] === second[i]) i++;
  if (i === shared) return longer;
  // What lies behind a `**` need not stand at the same place in both.
  if (first.slice(0, i).includes('**')) return 'unclear';
  let specific: Precedence | undefined;
  for (; i < shared; i++) {
    const [a, b] = [first[i], second[i]];
    if (a === '**' || b === '**') return 'unclear';
    if (a === b) continue;
    if (a === '*') specific ??= 'second';
    else if (b === '*') specific ??= 'first';
    else return 'apart';
  }
  return specific ?? longer;
}

/** Whether all that the second pattern matches lies at or below what the first one does. */
function covers(first: readonly string[], second: readonly string[]): boolean {
  return (
    first.length <= second.length &&
    first.every((name, i) => name === second[i] || (name === '*' && second[i] !== '**'))
  );
}

/** The pattern of what two that are not apart both match. */
function meet(first: readonly string[], second: readonly string[]): string[] {
  const [short, long] = first.length < second.length ? [first, second] : [second, first];
  return long.map((name, i) => (name === '*' ? (short[i] ?? name) : name));
}

/**
 * Of the rules of a list those that make a difference: what is not as the flag says, and what goes back to
 * it inside of that. A rule that denies goes only when neither Jailer nor we would follow it anywhere.
 */
function withEffect(rules: readonly PathRule[], flag: boolean): PathRule[] {
  const exceptions = rules.filter(({ allow }) => allow !== flag);
  const isIdle = ({ allow, names }: PathRule) =>
    exceptions.every((other) => {
      const jailers = precedence(names, other.names);
      return jailers === 'apart' || (jailers === 'second' && (allow || other.names.length > names.length));
    });
  return rules.filter((rule) => rule.allow !== flag || !isIdle(rule));
}

/**
 * Refuses two rules of which Jailer follows one and we would follow the other, unless a third one denies
 * what both match and decides for Jailer and us.
 */
function checkPrecedence(reader: Reader, rules: readonly PathRule[]): void {
  const denied = rules.filter(({ allow }) => !allow);
  for (const allowing of rules.filter(({ allow }) => allow))
    for (const denying of denied) {
      const jailers = precedence(allowing.names, denying.names);
      const ours = allowing.names.length > denying.names.length ? 'first' : 'second';
      if (jailers === 'apart' || jailers === 'unclear' || jailers === ours) continue;
      const common = meet(allowing.names, denying.names);
      const settles = ({ names }: PathRule) =>
        covers(names, common) &&
        names.length >= allowing.names.length &&
        (jailers === 'second' || precedence(names, allowing.names) === 'first');
      if (denied.some(settles)) continue;
      const [later, earlier] =
        allowing.place.line > denying.place.line ? [allowing, denying] : [denying, allowing];
      const settling =
        allowing.names.length === denying.names.length ? '' : `deny "/${common.join('/')}", too, or `;
      reader.report(
        'NOT_ENFORCED',
        later.place,
        later.where,
        `where "${earlier.path}" on line ${earlier.place.line} matches, too, Jailer follows the more specific of the two, and this version the longer, or of two as long the one that denies; ${settling}rewrite one of them`,
      );
    }
}

/** `any` and `none` say all there is to say. */
type Whole = 'any' | 'none';
type FileRules = Whole | { allowed: PathRule[]; denied: PathRule[] };

function isWhole<T>(section: Whole | T): section is Whole {
  return typeof section === 'string';
}

function readFiles(reader: Reader, list: Entry | undefined, flag: Flag): FileRules {
  const rules = withEffect(readPathRules(reader, list, fileShape, 'pattern'), flag.value);
  checkPrecedence(reader, rules);
  if (rules.length === 0) return flag.value ? 'any' : 'none';
  const all: PathRule = { place: flag.place, where: '', path: '/', names: [], allow: true };
  const allowed = rules.filter(({ allow }) => allow);
  return { allowed: flag.value ? [all, ...allowed] : allowed, denied: rules.filter(({ allow }) => !allow) };
}

/** Whether the rules for files let all be opened that `rule` is for, but for what they deny below it. */
function mayOpen(files: FileRules, { names }: PathRule): boolean {
  if (isWhole(files)) return files === 'any';
  let decides: PathRule | undefined;
  for (const other of [...files.allowed, ...files.denied]) {
    const depth = other.names.filter((name) => name !== '**').length;
    if (covers(other.names, names)) {
      if (!decides || precedence(other.names, decides.names) === 'first') decides = other;
    } else if (!other.allow && depth < names.length && precedence(other.names, names) !== 'apart') {
      return false;
    }
  }
  return decides?.allow ?? false;
}

function readPrograms(
  reader: Reader,
  list: Entry | undefined,
  flag: Flag,
  files: FileRules,
): NonNullable<RoleDefinition['exec']> {
  const rules = readPathRules(reader, list, programShape, 'binary_path');
  for (const rule of withEffect(rules, flag.value).filter(({ allow }) => !allow))
    notEnforced(
      reader,
      rule,
      `that programs are denied where others are allowed; ${flag.value ? 'set allow_exec to false and list' : 'list'} the allowed ones`,
    );
  // Jailer opens a program before it runs it.
  if (flag.value) return isWhole(files) ? files : pathsOf(files.allowed);
  const allowed = rules.filter(({ allow }) => allow);
  if (allowed.length === 0) return 'none';
  for (const rule of allowed.filter((program) => !mayOpen(files, program)))
    reader.report(
      'BAD_VALUE',
      rule.place,
      rule.where,
      "the role's file_paths do not let it open all of this, and Jailer does not run what it may not open; allow the file, too, or remove this",
    );
  return pathsOf([...allowed, ...(isWhole(files) ? [] : openAgain(files.allowed, allowed))]);
}

/**
 * The programs inside of what the file rules deny that these let be opened all the same. What denies a file
 * denies to run it, so a longer rule has to say that it may be.
 */
function openAgain(files: readonly PathRule[], programs: readonly PathRule[]): PathRule[] {
  return files.flatMap((file) =>
    programs.flatMap(({ names }) => {
      const relation = precedence(names, file.names);
      if (relation === 'apart' || names.length >= file.names.length) return [];
      if (relation === 'unclear' && !covers(names, file.names)) return [];
      const common = meet(names, file.names);
      return { ...file, names: common, path: `/${common.join('/')}` };
    }),
  );
}

type Direction = 'bind' | 'connect';
const directions: Readonly<Record<string, readonly Direction[]>> = {
  bind: ['bind'],
  inbound: ['bind'],
  connect: ['connect'],
  outbound: ['connect'],
};
const protocols: Readonly<Record<string, number>> = { tcp: 6, udp: 17 };

function readNetwork(
  reader: Reader,
  list: Entry | undefined,
  flag: Flag,
): NonNullable<RoleDefinition['network']> {
  const ports: Record<Direction | 'deny', NetworkList> = { bind: [], connect: [], deny: [] };
  const denying: Spot[] = [];
  const seen = new Map<string, { allow: boolean; line: number }>();
  for (const { rule, allow, spot } of rulesOf(reader, list, portShape)) {
    if (!allow) denying.push(spot);
    const read = readPortRule(reader, rule, spot);
    if (!read) continue;
    // Where only listed ports are allowed, denying all the others says nothing new.
    if (read.ports.length === 0 && allow)
      notEnforced(reader, spot, 'rules for all ports of a protocol; list the ports');
    const fault = read.ports.flatMap((port) =>
      read.directions.flatMap((direction) => {
        const text = `${read.protocol}:${port}`;
        const earlier = seen.get(`${direction} ${text}`);
        if (earlier) return { text, ...earlier };
        seen.set(`${direction} ${text}`, { allow, line: spot.place.line });
        if (allow)
          ports[direction].push({
            ...spot.place,
            value: {
              text,
              kind: 'address',
              protocol: protocols[read.protocol] as number,
              first: port,
              last: port,
            },
          });
        return [];
      }),
    )[0];
    if (fault)
      reader.report(
        'DUPLICATE',
        spot.place,
        spot.where,
        `${fault.text} is ${fault.allow ? 'allowed' : 'denied'} on line ${fault.line} already; keep one of the two`,
      );
  }
  if (ports.bind.length + ports.connect.length > 0) return ports;
  if (flag.value)
    for (const spot of denying)
      notEnforced(reader, spot, 'that ports are denied where all others are allowed; list the allowed ones');
  return flag.value ? 'any' : 'none';
}

interface PortNumbers {
  protocol: string;
  directions: readonly Direction[];
  /** None: all of them. */
  ports: number[];
}

function readPortRule(reader: Reader, rule: Map<string, Entry>, spot: Spot): PortNumbers | undefined {
  const word = (name: string, words: readonly string[]): string | undefined => {
    const entry = rule.get(name);
    return entry && reader.word(entry.value, entry.where, words);
  };
  const number = (name: string): number | undefined => {
    const entry = rule.get(name);
    return entry && reader.integer(entry.value, entry.where, 0, 65535);
  };
  const address = rule.get('address');
  if (address) notEnforced(reader, address, 'addresses; remove it');
  const protocol = word('protocol', Object.keys(protocols));
  const direction = word('direction', Object.keys(directions));
  const numbers = ['port', 'port_start', 'port_end'].filter((name) => rule.has(name));
  const form = numbers.join(' and ');
  if (form !== '' && form !== 'port' && form !== 'port_start and port_end')
    return reader.report(
      'BAD_PORT',
      spot.place,
      spot.where,
      `has ${form}; write either port, or port_start and port_end`,
    );
  const values = numbers.map(number);
  const [first = 0, last = first] = values;
  if (!protocol || values.includes(undefined) || (rule.has('direction') && !direction)) return undefined;
  const range = {
    protocol,
    directions: direction ? (directions[direction] ?? []) : (['bind', 'connect'] as const),
  };
  // To Jailer 0 means every port, also as the first of a range.
  if (first === 0) return { ...range, ports: [] };
  if (last < first || last - first >= maxPorts)
    return reader.report(
      'BAD_PORT',
      spot.place,
      spot.where,
      `is a range from ${first} to ${last}; a range goes up, over at most ${maxPorts} ports`,
    );
  return { ...range, ports: Array.from({ length: last - first + 1 }, (_, i) => first + i) };
}
