/**
 * Reads one policy file (YAML 1.2, so JSON too) into a `Policy`, strictly: what is not understood, or
 * not enforced by this version, is a problem with its place, and all problems are reported at once.
 * The shape accepted here is the one of profiles/policy.v1.schema.json.
 */
import { isMap, isScalar, isSeq, type Node } from 'yaml';
import { type Entry, type Reader, readDocument, type Shape } from './document.js';
import { isJailer, readJailer } from './jailer.js';
import { canonicalTarget, readTarget } from './network.js';
import type {
  ClaimPolicy,
  ContainerPolicy,
  Enrollment,
  NetworkList,
  PathList,
  Place,
  Policy,
  RoleDefinition,
  SetDefinition,
  Written,
} from './policy.js';
import { noSuchPower, powers } from './powers.js';
import { checkPath, type Fault } from './rulepath.js';

const policyShape: Shape = {
  known: ['version', 'sets', 'roles', 'cgroups', 'executables', 'containers', 'xattrs'],
  required: ['version'],
};
const roleShape: Shape = {
  known: [
    'id',
    'description',
    'extends',
    'vars',
    'mode',
    'files',
    'exec',
    'network',
    'allow',
    'jit',
    'on-denial',
    'enroll',
  ],
  required: ['id'],
};
const containersShape: Shape = { known: ['default', 'roles'] };
const claimsShape: Shape = { known: ['owners', 'roles'], required: ['owners', 'roles'] };
const filesShape: Shape = { known: ['read', 'write', 'deny'] };
const enrollShape: Shape = { known: ['users', 'groups'] };
const networkShape: Shape = { known: ['bind', 'connect', 'deny'] };

const namePattern = /^[a-z][a-z0-9_-]*$/;
const notAName = 'is not a name; names begin with a lower-case letter and go on with a-z, 0-9, - and _';

/**
 * Parses and checks `source`; `file` is what problems call it.
 * @throws PolicyError with every problem found
 */
export function parse(source: Uint8Array, file: string): Policy {
  const { reader, contents } = readDocument(source, file);
  const policy = isJailer(contents, file) ? readJailer(reader, contents) : readPolicy(reader, contents);
  reader.stopOnProblems();
  return policy;
}

function readPolicy(reader: Reader, contents: Node | null): Policy {
  const policy: Policy = { file: reader.file, sets: [], roles: [] };
  if (!contents || (isScalar(contents) && contents.value === null)) {
    reader.report(
      'EMPTY',
      { file: reader.file, line: 0, column: 0 },
      '',
      'is empty; write `version: 1` and roles, or remove it',
    );
    return policy;
  }
  const entries = reader.entries(contents, '', policyShape);
  const version = entries.get('version');
  if (version) reader.integer(version.value, version.where, 1, 1);
  const sets = entries.get('sets');
  const roles = entries.get('roles');
  if (version && isMap(contents) && contents.items.length === 1)
    reader.report(
      'EMPTY',
      version.place,
      '',
      'the policy defines nothing; add sets, roles, cgroups, executables, containers or xattrs',
    );
  if (sets) policy.sets = readNamed(reader, sets, readSet);
  if (roles) policy.roles = readNamed(reader, roles, readRole);
  const enrollments = (['cgroups', 'executables'] as const).flatMap((key) => {
    const entry = entries.get(key);
    return entry ? readEnrollments(reader, entry, key === 'cgroups' ? 'cgroup' : 'executable') : [];
  });
  if (enrollments.length > 0) policy.enrollments = enrollments;
  const containers = entries.get('containers');
  if (containers) policy.containers = readContainers(reader, containers);
  const claims = entries.get('xattrs');
  if (claims) policy.claims = readClaims(reader, claims);
  return policy;
}

function readContainers(reader: Reader, { place, value, where }: Entry): ContainerPolicy {
  const entries = reader.entries(value, where, containersShape);
  const [standard, roles] = [entries.get('default'), entries.get('roles')];
  const isWord = (entry: Entry, word: string): boolean => isScalar(entry.value) && entry.value.value === word;
  return {
    ...place,
    ...(standard && !isWord(standard, 'none') && { default: readRoleNames(reader, standard) }),
    ...(roles && {
      roles: isWord(roles, 'any') ? 'any' : reader.list(roles.value, roles.where, (text) => text),
    }),
  };
}

function readClaims(reader: Reader, { place, value, where }: Entry): ClaimPolicy {
  const entries = reader.entries(value, where, claimsShape);
  const [owners, roles] = [entries.get('owners'), entries.get('roles')];
  return {
    ...place,
    owners: owners ? reader.list(owners.value, owners.where, accountIn(reader)) : [],
    roles: roles ? reader.list(roles.value, roles.where, (text) => text) : [],
  };
}

/** One role, or a stack. */
function readRoleNames(reader: Reader, { value, where }: Entry): Written<string>[] {
  if (isSeq(value)) return reader.list(value, where, (text) => text);
  const text = reader.text(value, where);
  return text === undefined ? [] : [{ ...reader.placeOf(value), value: text }];
}

function readEnrollments(reader: Reader, { value, where }: Entry, kind: Enrollment['kind']): Enrollment[] {
  return [...reader.entries(value, where)].flatMap(([path, entry]) => {
    const roles = readRoleNames(reader, entry);
    if (!isPlainPath(path)) {
      reader.report('BAD_PATH', entry.place, entry.where, notPlain);
      return [];
    }
    return [{ kind, path, roles, ...entry.place }];
  });
}

const notPlain = 'is not an absolute path without wildcards, . and ..; write it out, as /usr/sbin/nginx';

function isPlainPath(path: string): boolean {
  return /^(\/[^/*?[\]$\0]+)+$/.test(path) && !/\/\.{1,2}(\/|$)/.test(path);
}

function readNamed<T>(
  reader: Reader,
  { value, where }: Entry,
  read: (reader: Reader, name: string, entry: Entry) => T | undefined,
): T[] {
  const all: T[] = [];
  for (const [name, entry] of reader.entries(value, where)) {
    if (!namePattern.test(name)) reader.report('BAD_NAME', entry.place, entry.where, notAName);
    const one = read(reader, name, entry);
    if (one !== undefined) all.push(one);
  }
  return all;
}

function readSet(reader: Reader, name: string, { place, value, where }: Entry): SetDefinition {
  return { name, ...place, entries: readPaths(reader, value, where) };
}

function readRole(reader: Reader, name: string, { place, value, where }: Entry): RoleDefinition | undefined {
  const entries = reader.entries(value, where, roleShape);
  const read = <T>(key: string, as: (node: Node, where: string) => T | undefined): T | undefined => {
    const entry = entries.get(key);
    return entry && as(entry.value, entry.where);
  };
  const id = read('id', (node, at) => reader.integer(node, at, 1, 65535));
  const description = read('description', (node, at) => reader.text(node, at));
  const bases = read('extends', (node, at) => reader.list(node, at, (text) => text));
  const vars = read('vars', (node, at) =>
    reader.list(node, at, (text, place, entry) =>
      namePattern.test(text) ? text : reader.report('BAD_NAME', place, entry, notAName),
    ),
  );
  const mode = read('mode', (node, at) => reader.word(node, at, ['enforce', 'audit']));
  const files = read('files', (node, at) => readFiles(reader, node, at));
  const exec = read('exec', (node, at) =>
    isSeq(node) ? readPaths(reader, node, at) : reader.word(node, at, ['any', 'none'], 'a list'),
  );
  const network = read('network', (node, at) => readNetwork(reader, node, at));
  const allow = read('allow', (node, at) =>
    isSeq(node) ? readPowers(reader, node, at) : reader.word(node, at, ['any', 'none'], 'a list'),
  );
  const jit = read('jit', (node, at) => reader.word(node, at, ['any', 'none']));
  const onDenial = read('on-denial', (node, at) => reader.word(node, at, ['deny', 'kill']));
  const enroll = read('enroll', (node, at) => readEnrollers(reader, node, at));
  const sections: RoleDefinition['sections'] = {};
  for (const section of ['files', 'exec', 'network', 'allow'] as const) {
    const entry = entries.get(section);
    if (entry) sections[section] = entry.place;
  }
  const idNode = entries.get('id');
  if (id === undefined || !idNode) return undefined;
  return {
    name,
    ...place,
    id: { ...reader.placeOf(idNode.value), value: id },
    description: description ?? '',
    extends: bases ?? [],
    vars: vars ?? [],
    ...(mode && { mode }),
    ...(files && { files }),
    ...(exec && { exec }),
    ...(network && { network }),
    ...(allow && { allow }),
    ...(jit && { jit }),
    ...(onDenial && { onDenial }),
    ...(enroll && { enroll }),
    sections,
  };
}

function readEnrollers(reader: Reader, node: Node, where: string): NonNullable<RoleDefinition['enroll']> {
  const entries = reader.entries(node, where, enrollShape);
  const names = (key: string): Written<string>[] => {
    const entry = entries.get(key);
    return entry ? reader.list(entry.value, entry.where, accountIn(reader)) : [];
  };
  return { users: names('users'), groups: names('groups') };
}

/** For lists of users or groups: by name, or a number in decimal. */
function accountIn(reader: Reader) {
  return (text: string, place: Place, where: string): string | undefined =>
    /^([a-z_][a-z0-9_.-]*|0|[1-9][0-9]{0,9})$/i.test(text)
      ? text
      : reader.report(
          'BAD_NAME',
          place,
          where,
          `${JSON.stringify(text)} is no name of a user or group, and no number`,
        );
}

function readFiles(reader: Reader, node: Node, where: string): RoleDefinition['files'] {
  if (!isMap(node)) return reader.word(node, where, ['any', 'none'], 'read, write and deny with a list each');
  const entries = reader.entries(node, where, filesShape);
  const paths = (key: string): PathList => {
    const entry = entries.get(key);
    return entry ? readPaths(reader, entry.value, entry.where) : [];
  };
  return { read: paths('read'), write: paths('write'), deny: paths('deny') };
}

function readNetwork(reader: Reader, node: Node, where: string): RoleDefinition['network'] {
  if (!isMap(node))
    return reader.word(node, where, ['any', 'none'], 'bind, connect and deny with a list each');
  const entries = reader.entries(node, where, networkShape);
  const targets = (key: string): NetworkList => {
    const entry = entries.get(key);
    return entry ? readTargets(reader, entry, key === 'deny') : [];
  };
  return { bind: targets('bind'), connect: targets('connect'), deny: targets('deny') };
}

/** A rule may be written in several ways, and in each of them it is there once. */
function readTargets(reader: Reader, { value, where }: Entry, denying: boolean): NetworkList {
  const seen = new Map<string, Place & { text: string }>();
  return reader.list(value, where, (text, place, at) => {
    const target = readTarget(text, denying);
    if ('code' in target) return reader.report(target.code, place, at, target.message);
    const earlier = seen.get(canonicalTarget(target));
    if (earlier)
      return reader.report(
        'DUPLICATE',
        place,
        at,
        `${text} says what ${earlier.text} on line ${earlier.line} does; keep one`,
      );
    seen.set(canonicalTarget(target), { ...place, text });
    return target;
  });
}

function readPowers(reader: Reader, node: Node, where: string): Written<string>[] {
  return reader.list(node, where, (text, place, at) =>
    Object.hasOwn(powers, text) ? text : reader.report('BAD_VALUE', place, at, noSuchPower(text)),
  );
}

function readPaths(reader: Reader, node: Node, where: string): PathList {
  return reader.list(node, where, (text, place, at) => {
    const problem = text.startsWith('@') ? checkReference(text) : checkPath(text);
    return problem ? reader.report(problem.code, place, at, problem.message) : text;
  });
}

function checkReference(text: string): Fault | undefined {
  if (namePattern.test(text.slice(1))) return undefined;
  return {
    code: 'BAD_NAME',
    message: `${JSON.stringify(text)} is not a name of a set; write it like "@runtime"`,
  };
}
