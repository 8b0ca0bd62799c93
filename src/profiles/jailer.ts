/**
 * Jailer's policy.json (gen0sec's BpfJailer), read into the same `Policy` as our own files. What it asks
 * for and this version does not enforce is a problem, as there.
 *
 * What its fields mean is taken from its documentation:
 *  - A flag says what holds where no rule matches. For ports its text says so and its table of roles says
 *    that only the listed ports are allowed; that is the meaning taken here, since it is the narrower one.
 *  - A file path grants or denies opening, for reading and for writing alike. It is anchored at the root, a
 *    slash at its end stands for all below, `*` for a component and `**` for any number of them.
 *  - Keys that begin with `_comment` are remarks.
 */
import { isMap, isScalar, isSeq, type Node } from 'yaml';
import type { Entry, Reader, Shape } from './document.js';
import type { PathList, Policy, Port, RoleDefinition, Written } from './policy.js';
import { checkPath } from './rulepath.js';

const maxPorts = 4096;

const listShape = (known: string[], required: string[]): Shape => ({ known, required, mayBeEmpty: true });
const fileShape = listShape(['pattern', 'allow'], ['pattern', 'allow']);
const programShape = listShape(['binary_path', 'args_pattern', 'allow'], ['binary_path', 'allow']);
const portShape = listShape(
  ['protocol', 'address', 'port', 'port_start', 'port_end', 'allow'],
  ['protocol', 'allow'],
);
const roleShape: Shape = {
  known: [
    ...['id', 'name', 'flags', 'file_paths', 'network_rules', 'execution_rules', 'require_signed_binary'],
    ...['ip_rules', 'domain_rules', 'proxy'],
  ],
  required: ['id'],
  mayBeEmpty: true,
};
const flagNames = [
  ...['allow_file_access', 'allow_network', 'allow_exec', 'require_signed_binary', 'require_proxy'],
  ...['allow_setuid', 'allow_ptrace', 'allow_module_load', 'allow_bpf_load'],
];
const flagsShape: Shape = { known: flagNames, mayBeEmpty: true };
const policyShape: Shape = {
  known: ['roles', 'pods', 'exec_enrollments', 'cgroup_enrollments'],
  required: ['roles'],
  mayBeEmpty: true,
};

/** Whether a document is Jailer's: a file of JSON that has roles and, unlike ours, no version. */
export function isJailer(contents: Node | null, file: string): contents is Node {
  return file.endsWith('.json') && isMap(contents) && contents.has('roles') && !contents.has('version');
}

export function readJailer(reader: Reader, contents: Node): Policy {
  const entries = withoutRemarks(reader, contents, '', policyShape);
  for (const name of ['pods', 'exec_enrollments', 'cgroup_enrollments'])
    refuseUnlessEmpty(reader, entries.get(name), `${name}; start the command with jailrun --role instead`);
  const roles = entries.get('roles');
  const all = roles ? [...reader.entries(roles.value, roles.where)] : [];
  return {
    file: reader.file,
    standsAlone: true,
    sets: [],
    roles: all.flatMap(([name, entry]) => readRole(reader, name, entry) ?? []),
  };
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

function notEnforced(reader: Reader, { place, where }: Entry, what: string): undefined {
  return reader.report('NOT_ENFORCED', place, where, `this version does not enforce ${what}`);
}

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
  const files = readFiles(reader, entries.get('file_paths'), flags.get('allow_file_access') ?? false);
  const exec = readPrograms(reader, entries.get('execution_rules'), flags.get('allow_exec') ?? false);
  const network = readPorts(reader, entries.get('network_rules'), flags.get('allow_network') ?? false);
  if (id === undefined || !idEntry) return undefined;
  return {
    name,
    ...place,
    id: { ...reader.placeOf(idEntry.value), value: id },
    description: `From Jailer's ${reader.file}.`,
    extends: [],
    vars: [],
    files,
    exec,
    network,
  };
}

/** What a flag asks for that a jail of ours does not do. `undefined`: whatever it says holds. */
function unmet(name: string, value: boolean): string | undefined {
  switch (name) {
    case 'require_signed_binary':
      return value ? 'signatures; write false' : undefined;
    case 'require_proxy':
      return value ? 'proxies; write false' : undefined;
    case 'allow_bpf_load':
      return value ? 'this: bpf(2) is denied in every jail; write false' : undefined;
    case 'allow_setuid':
    case 'allow_ptrace':
    case 'allow_module_load':
      return value ? undefined : 'powers of root yet; write true, and know that nothing stops it';
    default:
      return undefined;
  }
}

function readFlags(reader: Reader, entry: Entry | undefined): Map<string, boolean> {
  const flags = new Map<string, boolean>();
  if (!entry) return flags;
  for (const [name, flag] of withoutRemarks(reader, entry.value, entry.where, flagsShape)) {
    const value = reader.boolean(flag.value, flag.where);
    if (value === undefined) continue;
    flags.set(name, value);
    const what = unmet(name, value);
    if (what !== undefined) notEnforced(reader, flag, what);
  }
  return flags;
}

/** The rules of a list, each as its entries, whether it allows, and its place. */
function* rulesOf(
  reader: Reader,
  list: Entry | undefined,
  shape: Shape,
): Generator<{ rule: Map<string, Entry>; allow: boolean }> {
  if (!list) return;
  for (const { element, where } of reader.elements(list.value, list.where)) {
    const rule = withoutRemarks(reader, element, where, shape);
    const entry = rule.get('allow');
    const allow = entry && reader.boolean(entry.value, entry.where);
    if (allow !== undefined) yield { rule, allow };
  }
}

/** A pattern as a path of ours: with `/**` where a slash or nothing but wildcards ends it. */
function readPath(reader: Reader, entry: Entry | undefined): Written<string> | undefined {
  const text = entry && reader.text(entry.value, entry.where);
  if (!entry || text === undefined) return undefined;
  const path = text.length > 1 ? text.replace(/\/$/, '') : text;
  // Jailer has no other wildcards, so these are letters there.
  const fault = checkPath(path.replace(/[?[]|\$(?=\{)/g, '[$&]'));
  const place = reader.placeOf(entry.value);
  if (fault) return reader.report(fault.code, place, entry.where, fault.message);
  return { ...place, value: path.replace(/[?[]|\$(?=\{)/g, '[$&]') };
}

function readFiles(
  reader: Reader,
  list: Entry | undefined,
  otherwise: boolean,
): NonNullable<RoleDefinition['files']> {
  const write: PathList = [];
  const deny: PathList = [];
  for (const { rule, allow } of rulesOf(reader, list, fileShape)) {
    const path = readPath(reader, rule.get('pattern'));
    if (path) (allow ? write : deny).push(path);
  }
  if (!otherwise) return write.length === 0 ? 'none' : { read: [], write, deny };
  if (deny.length === 0) return 'any';
  const place = list ? reader.placeOf(list.value) : { file: reader.file, line: 0, column: 0 };
  return { read: [], write: [{ ...place, value: '/' }, ...write], deny };
}

function readPrograms(
  reader: Reader,
  list: Entry | undefined,
  otherwise: boolean,
): NonNullable<RoleDefinition['exec']> {
  const paths: PathList = [];
  for (const { rule, allow } of rulesOf(reader, list, programShape)) {
    const args = rule.get('args_pattern');
    if (args) notEnforced(reader, args, 'patterns for arguments; remove it');
    const entry = rule.get('binary_path');
    if (!allow && otherwise && entry)
      notEnforced(
        reader,
        entry,
        'that one program is denied where all others are allowed; list the allowed ones',
      );
    const path = readPath(reader, entry);
    if (allow && path) paths.push(path);
  }
  if (otherwise) return 'any';
  return paths.length === 0 ? 'none' : paths;
}

function readPorts(
  reader: Reader,
  list: Entry | undefined,
  otherwise: boolean,
): NonNullable<RoleDefinition['network']> {
  const allowed = new Map<string, Written<Port>>();
  const denied: { entry: Entry; ports: Port[] }[] = [];
  for (const { rule, allow } of rulesOf(reader, list, portShape)) {
    const entry = rule.get('allow') as Entry;
    const ports = readRule(reader, rule, entry);
    if (allow) for (const port of ports) allowed.set(keyOf(port), { ...entry.place, value: port });
    else denied.push({ entry, ports });
  }
  for (const { entry, ports } of denied) {
    // Where only listed ports are allowed, denying another one says nothing new.
    if (ports.some((port) => allowed.has(keyOf(port))))
      reader.report(
        'BAD_VALUE',
        entry.place,
        entry.where,
        'denies a port that another rule allows; keep one of them',
      );
    else if (allowed.size === 0 && otherwise)
      notEnforced(
        reader,
        entry,
        'that one port is denied where all others are allowed; list the allowed ones',
      );
  }
  if (allowed.size > 0) return { bind: [...allowed.values()], connect: [...allowed.values()] };
  return otherwise ? 'any' : 'none';
}

const keyOf = ({ protocol, port }: Port): string => `${protocol}:${port}`;

function readRule(reader: Reader, rule: Map<string, Entry>, entry: Entry): Port[] {
  const number = (name: string): number | undefined => {
    const field = rule.get(name);
    return field && reader.integer(field.value, field.where, 0, 65535);
  };
  const address = rule.get('address');
  if (address) notEnforced(reader, address, 'addresses; remove it');
  const name = rule.get('protocol');
  const protocol = name && reader.word(name.value, name.where, ['tcp', 'udp']);
  const first = number('port_start') ?? number('port');
  const last = number('port_end') ?? first;
  if (!protocol || (rule.has('port') && rule.has('port_start'))) {
    if (protocol)
      reader.report('BAD_PORT', entry.place, entry.where, 'names a port and a range; keep one of them');
    return [];
  }
  if (first === undefined || last === undefined || first === 0) {
    notEnforced(reader, entry, 'rules for all ports of a protocol; list the ports');
    return [];
  }
  if (last < first || last - first >= maxPorts) {
    reader.report(
      'BAD_PORT',
      entry.place,
      entry.where,
      `is a range from ${first} to ${last}; a range goes up, over at most ${maxPorts} ports`,
    );
    return [];
  }
  const numbers = { tcp: 6, udp: 17 };
  return Array.from({ length: last - first + 1 }, (_, i) => ({
    protocol: numbers[protocol],
    port: first + i,
  }));
}
