/**
 * A YAML or JSON document with the place of every value, read strictly: problems are collected, and thrown
 * together.
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
import { type Place, PolicyError, type PolicyProblem, type ProblemCode, type Written } from './policy.js';
import { nearest } from './spelling.js';

/** The document's contents, and a reader for them; `file` is what problems call it. Throws a PolicyError. */
export function readDocument(source: Uint8Array, file: string): { reader: Reader; contents: Node | null } {
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
  return { reader, contents: document.contents };
}

/** What a mapping may hold. */
export interface Shape {
  known: readonly string[];
  required?: readonly string[];
  /** Whether keys that are not required may stand without a value, and mappings without keys. */
  mayBeEmpty?: boolean;
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
export class Reader {
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
        if (!shape?.mayBeEmpty || shape.required?.includes(name))
          this.report('EMPTY', place, path, 'has no value; give it one or remove it');
        continue;
      }
      entries.set(name, { place, value, where: path });
    }
    if (node.items.length === 0 && !shape?.mayBeEmpty)
      this.report('EMPTY', this.placeOf(node), where, 'is empty; remove it');
    for (const name of shape?.required ?? [])
      if (!node.items.some(({ key }) => isScalar(key) && key.value === name))
        this.report('MISSING_KEY', this.placeOf(node), where, `${name} is missing; add it`);
    return entries;
  }

  #unknownKey(name: string, place: Place, where: string, shape: Shape): void {
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

  boolean(node: Node, where: string): boolean | undefined {
    if (isScalar(node) && typeof node.value === 'boolean') return node.value;
    return this.#wrongType(node, where, 'true or false');
  }

  /** The elements of a list, which may be empty. */
  elements(node: Node, where: string): { element: Node; where: string }[] {
    if (isSeq<ParsedNode>(node))
      return node.items.map((element, index) => ({ element, where: `${where}[${index}]` }));
    this.#wrongType(node, where, 'a list');
    return [];
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

/** A mapping's value, and where its key stands. */
export interface Entry {
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
