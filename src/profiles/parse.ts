/**
 * Reads one policy file (YAML 1.2, so JSON too) into a `Policy`, strictly: what is not understood, or
 * not enforced by this version, is a problem with its place, and all problems are reported at once.
 * The shape accepted here is the one of profiles/policy.v1.schema.json.
 */
import {
  type Document,
  isAlias,
  isMap,
  isNode,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  type ParsedNode,
  parseDocument,
  visit,
} from 'yaml';
import {
  type PathList,
  type Place,
  type Policy,
  PolicyError,
  type PolicyProblem,
  type Port,
  type ProblemCode,
  type RoleDefinition,
  type SetDefinition,
  type Written,
} from './policy.js';
import { checkPath, type Fault } from './rulepath.js';
import { nearest } from './spelling.js';

/** What a mapping may hold, and what it may hold in the language but not yet in this version. */
interface Shape {
  known: readonly string[];
  required?: readonly string[];
  /** Key to what it is about, in the plural. */
  unenforced?: Readonly<Record<string, string>>;
}

const policyShape: Shape = {
  known: ['version', 'sets', 'roles'],
  required: ['version'],
  unenforced: {
    pods: "Jailer's policy.json files",
    exec_enrollments: "Jailer's policy.json files",
    cgroup_enrollments: "Jailer's policy.json files",
  },
};
const roleShape: Shape = {
  known: ['id', 'description', 'extends', 'vars', 'mode', 'files', 'exec', 'network'],
  required: ['id'],
  unenforced: { allow: 'powers', 'on-denial': 'reactions to a denial' },
};
const filesShape: Shape = { known: ['read', 'write', 'deny'] };
const networkShape: Shape = { known: ['bind', 'connect'], unenforced: { deny: 'denied addresses' } };

const namePattern = /^[a-z][a-z0-9_-]*$/;
const notAName = 'is not a name; names begin with a lower-case letter and go on with a-z, 0-9, - and _';
const protocols: Readonly<Record<string, number>> = { tcp: 6, udp: 17 };

/**
 * Parses and checks `source`; `file` is what problems call it.
 * @throws PolicyError with every problem found
 */
export function parse(source: Uint8Array, file: string): Policy {
  const text = decode(source, file);
  const reader = new Reader(file);
  // Own checks replace the library's for duplicate keys, which name one place only and cost n².
  const document = parseDocument(text, {
    lineCounter: reader.lines,
    prettyErrors: false,
    uniqueKeys: false,
    resolveKnownTags: false,
    version: '1.2',
    logLevel: 'error',
  });
  checkSyntax(reader, text, document);
  reader.stopOnProblems();
  const policy = readPolicy(reader, document.contents);
  reader.stopOnProblems();
  return policy;
}

function checkSyntax(reader: Reader, text: string, document: Document.Parsed): void {
  const report = (at: Node | number, message: string) =>
    reader.report('SYNTAX', reader.placeOf(at), '', message);
  const lines = new Set<number>();
  for (const error of [...document.errors, ...document.warnings]) {
    const { line } = reader.placeOf(error.pos[0]);
    // One fault makes the library stumble again and again, mostly on the same line.
    if (!lines.has(line)) report(error.pos[0], syntaxMessage(text, error));
    lines.add(line);
  }
  const yaml = document.directives?.yaml;
  if (yaml?.explicit && yaml.version !== '1.2')
    report(0, `policies are YAML 1.2, not ${yaml.version}; remove the %YAML line`);
  if (lines.size > 0) return;
  visit(document, {
    Node(_, node) {
      if (isAlias(node) || node.anchor !== undefined)
        report(
          node,
          'anchors and aliases are not used here; share paths through sets, and roles through extends',
        );
      else if (node.tag !== undefined) report(node, 'tags are not used here; remove the tag');
    },
  });
}

function decode(source: Uint8Array, file: string): string {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(source);
  } catch (cause) {
    // latin1 keeps line feeds where they are, so lines can be tried one by one.
    const lines = Buffer.from(source).toString('latin1').split('\n');
    const line = lines.findIndex((bytes) => Buffer.from(bytes, 'latin1').toString('utf8').includes('\ufffd'));
    const message = 'the file is not UTF-8 text; save it as UTF-8';
    throw new PolicyError([{ code: 'ENCODING', file, line: line + 1, column: 1, where: '', message }], {
      cause,
    });
  }
  return text;
}

function syntaxMessage(
  text: string,
  error: { code: string; message: string; pos: [number, number] },
): string {
  if (text[error.pos[0]] === '@') return `quote names of sets: "@runtime"`;
  if (error.code === 'RESOURCE_EXHAUSTION')
    return 'is nested too deep to be read; policies are nested four deep';
  if (error.code === 'MULTIPLE_DOCS')
    return 'a policy file holds one document; remove the `---` and what follows';
  return error.message.replace(/\.$/, '');
}

/** Collects problems and turns nodes into values; a value that is at fault reads as undefined. */
class Reader {
  readonly lines = new LineCounter();
  readonly #problems: PolicyProblem[] = [];

  constructor(readonly file: string) {}

  report(code: ProblemCode, place: Place, where: string, message: string): undefined {
    this.#problems.push({ code, ...place, where, message });
  }

  stopOnProblems(): void {
    if (this.#problems.length === 0) return;
    throw new PolicyError(this.#problems.toSorted((a, b) => a.line - b.line || a.column - b.column));
  }

  placeOf(at: Node | number): Place {
    const offset = typeof at === 'number' ? at : (at.range?.[0] ?? 0);
    const { line, col } = this.lines.linePos(offset);
    return { file: this.file, line, column: col };
  }

  /** The values of a mapping by key, with the places of their keys. */
  entries(node: Node, where: string, shape?: Shape): Map<string, Entry> {
    const entries = new Map<string, Entry>();
    if (!isMap<ParsedNode, ParsedNode | null>(node)) {
      this.#wrongType(node, where, 'a mapping (key: value)');
      return entries;
    }
    for (const { key, value } of node.items) {
      const place = this.placeOf(key);
      if (!isScalar(key) || typeof key.value !== 'string') {
        this.report(
          'WRONG_TYPE',
          place,
          where,
          `the key ${show(key)} is not a word; quote it if it is a name`,
        );
        continue;
      }
      const name = key.value;
      const path = join(where, name);
      const earlier = entries.get(name);
      if (earlier) {
        this.report('DUPLICATE', place, path, `is there already, on line ${earlier.place.line}; keep one`);
        continue;
      }
      if (shape && !shape.known.includes(name)) {
        this.#unknownKey(name, place, path, shape);
        continue;
      }
      if (!isNode(value) || (isScalar(value) && value.value === null)) {
        this.report('EMPTY', place, path, 'has no value; give it one or remove it');
        continue;
      }
      entries.set(name, { place, value, where: path });
    }
    if (node.items.length === 0) this.report('EMPTY', this.placeOf(node), where, 'is empty; remove it');
    for (const name of shape?.required ?? [])
      if (!node.items.some(({ key }) => isScalar(key) && key.value === name))
        this.report('MISSING_KEY', this.placeOf(node), where, `${name} is missing; add it`);
    return entries;
  }

  #unknownKey(name: string, place: Place, where: string, shape: Shape): void {
    const subject =
      shape.unenforced && Object.hasOwn(shape.unenforced, name) ? shape.unenforced[name] : undefined;
    if (subject !== undefined) {
      this.report('NOT_ENFORCED', place, where, `this version does not enforce ${subject} yet; remove it`);
      return;
    }
    const meant = nearest(name, shape.known);
    const mend = meant ? `did you mean ${meant}?` : `one of ${shape.known.join(', ')} can stand here`;
    this.report('UNKNOWN_KEY', place, where, `unknown key; ${mend}`);
  }

  #wrongType(node: Node, where: string, wanted: string): undefined {
    return this.report('WRONG_TYPE', this.placeOf(node), where, `${show(node)} is not ${wanted}`);
  }

  text(node: Node, where: string): string | undefined {
    if (isScalar(node) && typeof node.value === 'string') return node.value;
    const mend = isScalar(node) ? '; quote it if it is meant as text' : '';
    return this.#wrongType(node, where, `text${mend}`);
  }

  /** A plain decimal number: 0x10, 1e3, 007 and 3.0 are integers to YAML but seldom what was meant. */
  integer(node: Node, where: string, lowest: number, highest: number): number | undefined {
    if (!isScalar(node) || typeof node.value !== 'number' || !/^(0|-?[1-9][0-9]*)$/.test(node.source ?? ''))
      return this.#wrongType(node, where, `a number; write it in plain decimal digits, without quotes`);
    if (node.value < lowest || node.value > highest) {
      const range = lowest === highest ? `must be ${lowest}` : `must be from ${lowest} to ${highest}`;
      return this.report('BAD_VALUE', this.placeOf(node), where, `${node.value} is impossible; it ${range}`);
    }
    return node.value;
  }

  /** One of `words`; `orElse` names what else the caller would have taken. */
  word<const T extends string>(
    node: Node,
    where: string,
    words: readonly T[],
    ...orElse: string[]
  ): T | undefined {
    const value = isScalar(node) ? node.value : undefined;
    const word = words.find((candidate) => candidate === value);
    if (word !== undefined) return word;
    const meant = typeof value === 'string' ? nearest(value, words) : undefined;
    const mend = meant ? `did you mean ${meant}?` : `write ${[...words, ...orElse].join(' or ')}`;
    return this.report('BAD_VALUE', this.placeOf(node), where, `${show(node)} is not possible here; ${mend}`);
  }

  /** A list without duplicates; `item` reads one text of it and may report it. */
  list<T>(node: Node, where: string, item: (text: string, place: Place, where: string) => T | undefined) {
    const list: Written<T>[] = [];
    if (!isSeq<ParsedNode>(node)) {
      this.#wrongType(node, where, 'a list; put it in brackets: [a, b]');
      return list;
    }
    if (node.items.length === 0) this.report('EMPTY', this.placeOf(node), where, 'is empty; remove it');
    const seen = new Map<string, Place>();
    for (const [index, element] of node.items.entries()) {
      const at = `${where}[${index}]`;
      const text = this.text(element, at);
      if (text === undefined) continue;
      const place = this.placeOf(element);
      const earlier = seen.get(text);
      if (earlier) {
        this.report(
          'DUPLICATE',
          place,
          at,
          `${text} is in this list already, on line ${earlier.line}; keep one`,
        );
        continue;
      }
      seen.set(text, place);
      const value = item(text, place, at);
      if (value !== undefined) list.push({ ...place, value });
    }
    return list;
  }
}

interface Entry {
  place: Place;
  value: Node;
  where: string;
}

function join(where: string, key: string): string {
  const plain = /^[\w-]+$/.test(key) ? key : JSON.stringify(key);
  return where === '' ? plain : `${where}.${plain}`;
}

function show(node: Node): string {
  if (isMap(node)) return 'a mapping';
  if (isSeq(node)) return 'a list';
  if (!isScalar(node)) return 'this';
  return typeof node.value === 'string' ? JSON.stringify(node.value) : (node.source ?? String(node.value));
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
    reader.report('EMPTY', version.place, '', 'the policy defines neither sets nor roles; add some');
  if (sets) policy.sets = readNamed(reader, sets, readSet);
  if (roles) policy.roles = readNamed(reader, roles, readRole);
  return policy;
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
  const sections: RoleDefinition['sections'] = {};
  for (const section of ['files', 'exec', 'network'] as const) {
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
    sections,
  };
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
  if (!isMap(node)) return reader.word(node, where, ['any', 'none'], 'bind and connect with a list each');
  const entries = reader.entries(node, where, networkShape);
  const ports = (key: string): Written<Port>[] => {
    const entry = entries.get(key);
    if (!entry) return [];
    return reader.list(entry.value, entry.where, (text, place, at) => {
      const port = readPort(text);
      return 'protocol' in port ? port : reader.report(port.code, place, at, port.message);
    });
  };
  return { bind: ports('bind'), connect: ports('connect') };
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

/** A port as a rule names it, or why no rule can. */
export function readPort(text: string): Port | Fault {
  const bad = (message: string): Fault => ({
    code: 'BAD_PORT',
    message: `${JSON.stringify(text)} ${message}`,
  });
  const later = (subject: string): Fault => ({
    code: 'NOT_ENFORCED',
    message: `${JSON.stringify(text)}: this version does not enforce ${subject} yet; write tcp:PORT or udp:PORT`,
  });
  const swapped = /^([0-9]+)\/(tcp|udp)$/i.exec(text);
  if (swapped) return bad(`is not how ports are written; write ${swapped[2]?.toLowerCase()}:${swapped[1]}`);
  const [scheme = '', ...rest] = text.split(':');
  if (scheme === 'unix') return later('rules for unix sockets');
  const protocol = Object.hasOwn(protocols, scheme) ? protocols[scheme] : undefined;
  if (protocol === undefined) {
    const meant = nearest(scheme, Object.keys(protocols));
    return bad(`does not begin with tcp: or udp:; ${meant ? `did you mean ${meant}:?` : 'write tcp:PORT'}`);
  }
  if (rest.length > 1) return later('addresses');
  const port = rest[0] ?? '';
  if (/^[0-9]+-[0-9]+$/.test(port)) return later('port ranges');
  if (/[*?]/.test(port)) return later('wildcards for ports');
  if (/[./]/.test(port)) return later('addresses');
  if (!/^[1-9][0-9]*$/.test(port))
    return bad('has no port number; write tcp:PORT with a PORT from 1 to 65535');
  if (Number(port) > 65535) return bad('is an impossible port; ports go from 1 to 65535');
  return { protocol, port: Number(port) };
}
