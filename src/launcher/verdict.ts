// Verdicts in words: which line of a policy decided, why where none did, and what to write to allow the
// operation. The reports of a run and explain both speak from here, so that they say the same.
import { Operation, Reason } from '../abi.js';
import { fromByteString } from '../profiles/locate.js';
import { type End, showAddress, TCP, UDP } from '../profiles/network.js';
import { builtInPrefix, type Section } from '../profiles/policy.js';

/** A line of a policy: a rule, or a section that is `any` or `none` as a whole. */
export interface PolicyLine {
  section: string;
  text: string;
  file: string;
  line: number;
  /** The set whose entry the rule is; absent when the role itself lists it. */
  set?: string;
}

/** What to write into the role so that it allows an operation. */
export interface Grant {
  section: string;
  text: string;
  /** Where the role is defined; absent for a built-in one, which nobody can change. */
  file?: string;
  line?: number;
}

/** What an operation was decided upon: a path by which the object is seen, a rule for just this end, or a power. */
export type GrantTarget = { path: string } | { end: string } | { power: string };

const reasons: Partial<Record<number, string>> = {
  [Reason.UNKNOWN_DEVICE]: 'it lies on a file system that was not mounted when the jail began',
  [Reason.TOO_DEEP]: 'it lies too deep in its file system to be decided',
  [Reason.DISCONNECTED]: 'no path leads to it',
  [Reason.BROKEN]: 'the role could not be looked up',
  [Reason.MORE_RIGHTS]: 'there it, or what it holds, would have more rights than where it is; copy it',
  [Reason.MOVING]: 'it was renamed again and again while its path was read',
  [Reason.TOO_WIDE]: 'it would show a whole file system; files: any allows it',
  [Reason.FAMILY]: 'no rule can name this kind of socket',
  [Reason.UNCLEAR]: 'its control data may make this address another one; name the host',
  [Reason.CHOSEN_NAME]: 'the kernel would choose its name; network.bind: ["unix:@*"] allows it',
  [Reason.ROUTED]: 'it would name hosts for packets to go by; network: any allows it',
  [Reason.LINK]:
    'a rule names this path and would follow the link, when the role starts again; link something below it',
  [Reason.OWN]: 'it belongs to what holds the jails, which no role may touch',
  [Reason.JIT]: 'the role says jit: none',
  [Reason.NAMELESS]: 'no path leads to it any more, or ever did',
  [Reason.CLAIM]: 'its extended attributes claim a role that files may not claim, or two',
  [Reason.UNREADABLE]: 'it may claim a role, which who executes it cannot read; chmod a+r lets it',
};

/** Why something was denied; undefined where the role's rules alone decided. */
export function reasonText(reason: number): string | undefined {
  return reason === Reason.RULE ? undefined : (reasons[reason] ?? 'unknown');
}

/**
 * The rule that would grant the operation in the role defined at `definition`; undefined where none would.
 * `decided` is the rule that denied it: files.deny wins over a grant for the same path, and was meant.
 */
export function grantFor(
  operation: number,
  target: GrantTarget,
  decided: PolicyLine | undefined,
  definition: { file: string; line: number } | undefined,
): Grant | undefined {
  const section = sectionFor(operation);
  if (section === undefined || decided?.section.endsWith('.deny')) return undefined;
  const text = 'path' in target ? literal(target.path) : 'end' in target ? target.end : target.power;
  const socket = 'path' in target && section.startsWith('network.');
  return inRole({ section, text: socket ? `unix:${text}` : text }, definition);
}

/** The rule for an address and a port, as a denial or a question has them; a port alone where the address is any. */
export function ruleForEnd({ protocol, address, port }: End): string {
  const name = protocolNames[protocol];
  const host = address.length === 8 ? showAddress(address) : `[${showAddress(address)}]`;
  return [name, ...(/[^0]/.test(address) ? [host] : []), ...(port === 0 ? [] : [port])].join(':');
}

/** The rule for one abstract name, a byte string. Bytes that are no text, and NULs, can only be matched by `*`. */
export function ruleForAbstract(name: string): string {
  const text = fromByteString(name).replace(/[\0\ufffd]+/g, '\0');
  return `unix:@${literal(text).replaceAll('\0', '*')}`;
}

export const protocolNames: Readonly<Record<number, string>> = { [TCP]: 'tcp', [UDP]: 'udp' };

/**
 * The rule that means this path and no other: what would be a wildcard or a variable goes into brackets. Only
 * the numbers of processes become wildcards, since the next run has others.
 */
function literal(path: string): string {
  return path
    .replace(/[*?[]|\$(?=\{)/g, '[$&]')
    .replace(/^\/proc\/\d+(?=\/|$)/, '/proc/[0-9]*')
    .replace(/^(\/proc\/\[0-9\]\*\/task\/)\d+(?=\/|$)/, '$1[0-9]*');
}

/** Adds where the role can be changed, if it can. */
export function inRole(
  grant: { section: string; text: string },
  definition: { file: string; line: number } | undefined,
): Grant {
  if (!definition || definition.file.startsWith(builtInPrefix)) return grant;
  return { ...grant, file: definition.file, line: definition.line };
}

/** The section of a role that decides an operation; undefined where none does. */
export function sectionOf(operation: number): Section | undefined {
  if (operation === Operation.SOCKET) return 'network';
  return sectionFor(operation)?.split('.')[0] as Section | undefined;
}

function sectionFor(operation: number): string | undefined {
  switch (operation) {
    case Operation.READ:
    case Operation.STAT:
      return 'files.read';
    case Operation.WRITE:
    case Operation.CREATE:
      return 'files.write';
    case Operation.EXEC:
    case Operation.MAP:
      return 'exec';
    case Operation.USE:
      return 'allow';
    case Operation.BIND:
    case Operation.LISTEN:
      return 'network.bind';
    case Operation.CONNECT:
    case Operation.SEND:
      return 'network.connect';
    default:
      return undefined;
  }
}

/**
 * The line that decided, as a clause: `by files.deny /srv/x (policy.yaml:12)`. `role` is which one of a stack it
 * decided for.
 */
export function byLine({ section, text, file, line, set }: PolicyLine, role?: string): string {
  const rule = isScope(text) ? `${section}: ${text}` : `${section} ${printable(text)}`;
  const origin = `${set === undefined ? '' : ` of @${set}`}${role === undefined ? '' : ` in role ${role}`}`;
  return `by ${rule}${origin} (${file}:${line})`;
}

/** The same for a denial; a rule that grants less than was asked says so. */
export function deniedBy(line: PolicyLine, role?: string): string {
  return `${byLine(line, role)}${line.section === 'files.read' ? ', which grants reading only' : ''}`;
}

/** What ends the line about a denial; empty where nothing can be named. */
export function mend(grant: Grant | undefined): string {
  if (!grant) return '';
  const text = isScope(grant.text) ? grant.text : `[${quoted(grant.text)}]`;
  const place = grant.file === undefined ? '' : ` in ${grant.file}:${grant.line}`;
  return `; to allow it: ${grant.section}: ${text}${place}`;
}

/** Rules are paths and ports, so these words are never a rule. */
function isScope(text: string): boolean {
  return text === 'any' || text === 'none';
}

/** A path as it can be written in a YAML list. */
export function quoted(path: string): string {
  if (!/[,[\]{}"'\\]|: |:$| #|\s$/.test(path) && path === printable(path)) return path;
  const escaped = (character: string) => {
    const code = character.codePointAt(0) ?? 0;
    const [sign, digits] = code > 0xffff ? ['U', 8] : ['u', 4];
    return `\\${sign}${code.toString(16).padStart(digits, '0')}`;
  };
  return JSON.stringify(path).replace(unprintable, escaped);
}

/** Controls and what reorders or hides text. */
const unprintable = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu;

/**
 * Names of files and commands are chosen by who is jailed, and must not steer the terminal or look like
 * another line.
 */
export function printable(text: string): string {
  return text.replace(unprintable, (character) => `\\u{${character.codePointAt(0)?.toString(16)}}`);
}
