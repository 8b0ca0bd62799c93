// A container's bundle: adds the hook that jails the container to its config.json. `oci wrap` (native/wrap.c) has
// this done before it becomes the real runtime.
//
// The text is changed where the hook goes and nowhere else: numbers of 64 bits, such as limits, would not
// survive being parsed and written again.
import { readFileSync, realpathSync } from 'node:fs';
import { JailrunError } from './error.js';
import { type Hook, jailHook, jailStages } from './hook.js';
import { replaceFile } from './replacefile.js';

/**
 * Adds the hook to this config.json, once. Throws a JailrunError BUNDLE where the file is not what a runtime takes,
 * or where runtimes might not agree on what it says.
 */
export function addHooks(config: string): void {
  try {
    // Where it is a link, what takes its place must not be the link's.
    const path = realpathSync(config);
    const bytes = readFileSync(path);
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    const changed = withHooks(text, jailHook());
    if (changed !== text) replaceFile(path, changed);
  } catch (error) {
    const why = error instanceof BundleFault ? error.message : String((error as Error).message ?? error);
    throw new JailrunError('BUNDLE', `The container was not started: ${config}: ${why}.`, { cause: error });
  }
}

/** What is wrong with a config.json. */
export class BundleFault extends Error {}

/**
 * The text of a config.json with the hook in all of its stages, behind those that are there: what another one does
 * to the container's process, it has done by then. Throws a SyntaxError or a BundleFault. Pure.
 */
export function withHooks(text: string, hook: Hook): string {
  const root = JSON.parse(text);
  if (!isObject(root)) throw new BundleFault('it is no JSON object');
  const entry = JSON.stringify(hook);
  const hooks = memberOf(text, text.search(/\S/), 'hooks');
  const missing = (stages: readonly string[]) =>
    stages.map((stage) => `${JSON.stringify(stage)}:[${entry}]`).join();
  if (hooks.value === undefined) return apply(text, [insertion(hooks, `"hooks":{${missing(jailStages)}}`)]);
  if (root.hooks === null) return apply(text, [{ ...hooks.value, text: `{${missing(jailStages)}}` }]);
  if (!isObject(root.hooks)) throw new BundleFault('hooks is no object');
  const edits: Edit[] = [];
  const absent: string[] = [];
  for (const stage of jailStages) {
    const { value } = memberOf(text, hooks.value.begin, stage);
    const there = root.hooks[stage];
    if (value === undefined) absent.push(stage);
    else if (there === null) edits.push({ ...value, text: `[${entry}]` });
    else if (!Array.isArray(there)) throw new BundleFault(`hooks.${stage} is no list`);
    else if (!there.some((one) => isSame(one, hook))) {
      const end = value.end - 1;
      edits.push({ begin: end, end, text: there.length > 0 ? `,${entry}` : entry });
    }
  }
  if (absent.length > 0) {
    // Whichever is looked for, what it would be put in front of is the same.
    edits.push(insertion(memberOf(text, hooks.value.begin, absent[0] as string), missing(absent)));
  }
  return apply(text, edits);
}

/** From the end on, so that places before stay what they are. */
const apply = (text: string, edits: readonly Edit[]): string =>
  [...edits]
    .sort((a, b) => b.begin - a.begin)
    .reduce((all, { begin, end, text: by }) => all.slice(0, begin) + by + all.slice(end), text);

/** Whether the runtime will execute this hook for that entry; what else the entry says does not matter. */
function isSame(entry: unknown, hook: Hook): boolean {
  if (!isObject(entry) || entry.path !== hook.path || entry.timeout === 0) return false;
  return JSON.stringify(entry.args) === JSON.stringify(hook.args);
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

interface Span {
  begin: number;
  end: number;
}

interface Edit extends Span {
  text: string;
}

interface Member {
  /** Where the object's first member is, or would be. */
  first: number;
  /** Whether the object has members. */
  any: boolean;
  /** The value of the member that was asked for. */
  value?: Span;
}

/** Puts members in front of all others of the object. */
const insertion = ({ first, any }: Member, members: string): Edit => ({
  begin: first,
  end: first,
  text: `${members}${any ? ',' : ''}`,
});

/**
 * Finds a member of the object that begins at `begin` of valid JSON. Throws a BundleFault where a second one has
 * the same name, or another case of it: Go's decoder, which runc has, takes any case and merges what is
 * there twice, and crun takes the first one.
 */
function memberOf(text: string, begin: number, key: string): Member {
  const member: Member = { first: begin + 1, any: false };
  const folded = fold(key);
  let at = skipSpace(text, begin + 1);
  while (text[at] !== '}') {
    member.any = true;
    const end = endOfString(text, at);
    const name = JSON.parse(text.slice(at, end)) as string;
    const value = skipSpace(text, skipSpace(text, end) + 1);
    const after = endOfValue(text, value);
    if (fold(name) === folded) {
      if (name !== key)
        throw new BundleFault(`${JSON.stringify(name)} is ${key} to some runtimes and nothing to others`);
      if (member.value) throw new BundleFault(`${key} is there twice`);
      member.value = { begin: value, end: after };
    }
    at = skipSpace(text, after);
    if (text[at] === ',') at = skipSpace(text, at + 1);
  }
  return member;
}

/** As Go's encoding/json compares names: without case, and with the two letters that fold to ASCII ones. */
const fold = (name: string): string => name.replaceAll('\u017f', 's').replaceAll('\u212a', 'k').toLowerCase();

function skipSpace(text: string, at: number): number {
  let next = at;
  while (' \t\r\n'.includes(text[next] as string)) next++;
  return next;
}

function endOfString(text: string, begin: number): number {
  let at = begin + 1;
  while (text[at] !== '"') at += text[at] === '\\' ? 2 : 1;
  return at + 1;
}

function endOfValue(text: string, begin: number): number {
  if (text[begin] === '"') return endOfString(text, begin);
  let at = begin;
  let depth = 0;
  do {
    const character = text[at] as string;
    if (character === '"') {
      at = endOfString(text, at);
      continue;
    }
    if ('{['.includes(character)) depth++;
    else if ('}]'.includes(character)) depth--;
    at++;
  } while (depth > 0 || !/[\s,}\]]/.test(text[at] as string));
  return at;
}
