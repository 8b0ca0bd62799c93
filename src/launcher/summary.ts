// --summary: what was denied in a supervised run, as Markdown, for the page on which a CI system shows a job.
//
// Names of files and commands are the job's to choose, and the reader decides by this text what to allow. So names
// stand where Markdown has no markup: in code spans of one line, and in a block of YAML in YAML's own quotes.
import { closeSync, constants, fstatSync, openSync, realpathSync, writeSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { JailrunError } from './error.js';
import { type DenialReport, mergeDenials, type RunDenials, whyDenied } from './report.js';
import { type Grant, printable, quoted } from './verdict.js';

/** Where a summary goes, as the pod's state file has it. */
export interface SummaryPlace {
  /** Without a link on the way when the run began. */
  file: string;
  /** Device and inode: what the job may have put into the file's place is not written to. */
  object: string;
}

/** GitHub shows a summary of a mebibyte at most and otherwise none; this leaves room for those of other runs. */
const limits = { denials: 100, shown: 300, rules: 100, rule: 500 };

/**
 * Opens the file, which is made where `make` says so, and tells it again at the end. Throws a JailrunError SUMMARY
 * for one that cannot be written, or that is a link or no regular file.
 */
export function placeSummary(file: string, make: boolean): SummaryPlace {
  try {
    const place = join(realpathSync.native(dirname(file)), basename(file));
    const fd = openSummary(place, make);
    try {
      return { file: place, object: objectOf(fd) };
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    throw notWritten(file, error);
  }
}

/** Adds a run's summary to its file. Throws a JailrunError SUMMARY. */
export function addSummary({ file, object }: SummaryPlace, denials: RunDenials): void {
  try {
    const fd = openSummary(file, false);
    try {
      if (objectOf(fd) !== object) throw new Error('it is another file than when the run began');
      const bytes = Buffer.from(summarize(denials));
      for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done);
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    throw notWritten(file, error);
  }
}

function openSummary(file: string, make: boolean): number {
  const { O_WRONLY, O_APPEND, O_CREAT, O_NOFOLLOW, O_NONBLOCK } = constants;
  return openSync(file, O_WRONLY | O_APPEND | O_NOFOLLOW | O_NONBLOCK | (make ? O_CREAT : 0), 0o644);
}

/** A file with another name might be any file of the host's. */
function objectOf(fd: number): string {
  const { dev, ino, nlink } = fstatSync(fd, { bigint: true });
  if (!fstatSync(fd).isFile()) throw new Error('it is no regular file');
  if (nlink !== 1n) throw new Error('it has another name, too, or none');
  return `${dev}:${ino}`;
}

function notWritten(file: string, error: unknown): JailrunError {
  const { code, message } = error as NodeJS.ErrnoException;
  return new JailrunError(
    'SUMMARY',
    `The summary ${printable(file)} cannot be written (${code ?? message}). Name a file that root can write, and the job cannot: --summary FILE`,
    { cause: error },
  );
}

type Summarized = Pick<RunDenials, 'reports' | 'lost'> & { pod: Pick<RunDenials['pod'], 'role'> };

/** The Markdown, from what `--json` prints: the denials, and how many more were lost. Pure. */
export function summarize({ pod: { role }, reports, lost }: Summarized): string {
  const merged = mergeDenials(reports);
  const audit = reports.every((report) => report.audit);
  const left = lost + merged.slice(limits.denials).reduce((sum, { count }) => sum + count, 0);
  const lines = [
    `### jailrun: what role ${code(role)} ${audit ? 'would deny' : 'denied'}`,
    '',
    ...merged.slice(0, limits.denials).map(({ report, count }) => bullet(report, count)),
    ...(left > 0 ? [`- and ${left} more`] : []),
    ...rulesToAdd(reports),
  ];
  return `${lines.join('\n')}\n\n`;
}

function bullet(report: DenialReport, count: number): string {
  const what = code(`${report.operation} ${report.target}`);
  const times = count > 1 ? `, ${count} times` : '';
  return `- ${what} by ${code(`${report.command}[${report.pid}]`)}${times} (${report.error})${plain(whyDenied(report))}`;
}

/** What adding would allow all of it, for each role by itself: a policy where the role is built in. */
function rulesToAdd(reports: readonly DenialReport[]): string[] {
  const roles = new Map<string, Grant[]>();
  for (const { decider, role, allow } of reports) {
    if (!allow || quoted(allow.text).length > limits.rule) continue;
    const name = decider ?? role;
    roles.set(name, [...(roles.get(name) ?? []), allow]);
  }
  return [...roles].flatMap(([name, grants]) => {
    const [first] = grants;
    const own = first?.file !== undefined;
    const where = own
      ? `into role ${code(name)}, ${code(`${first.file}:${first.line}`)}`
      : `into a role that extends ${code(name)}`;
    const head = own
      ? []
      : [
          'version: 1',
          'roles:',
          `  ${name}-here: # a name of your own`,
          '    id: 1000 # a number that no other role has',
          `    description: What ${name} may do, and more.`,
          `    extends: [${name}]`,
        ];
    const rules = sectionLines(grants).map((line) => (own ? line : `    ${line}`));
    return ['', `To allow what of it is meant, write ${where}:`, '', '```yaml', ...head, ...rules, '```'];
  });
}

/** The grants as lines of YAML. A section that is to be `any` has no rules beside that. */
function sectionLines(grants: readonly Grant[]): string[] {
  const whole = new Set(grants.filter(({ text }) => text === 'any').map(({ section }) => section));
  const sections = new Map<string, Map<string, Set<string>>>();
  for (const { section, text } of grants.slice(0, limits.rules)) {
    const [top = '', part = ''] = section.split('.');
    if (whole.has(top)) continue;
    const parts = sections.get(top) ?? new Map<string, Set<string>>();
    sections.set(top, parts.set(part, (parts.get(part) ?? new Set()).add(text)));
  }
  return [
    ...[...whole].map((section) => `${section}: any`),
    ...[...sections].flatMap(([top, parts]) => [
      `${top}:`,
      ...[...parts].flatMap(([part, texts]) => [
        ...(part ? [`  ${part}:`] : []),
        ...[...texts].map((text) => `${part ? '    ' : '  '}- ${quoted(text)}`),
      ]),
    ]),
  ];
}

/** A code span, in which nothing but its own end means anything: CommonMark 0.31, 6.1. */
function code(text: string): string {
  const line = shorten(printable(text));
  const fence = '`'.repeat(Math.max(0, ...(line.match(/`+/g) ?? []).map((run) => run.length)) + 1);
  const room = /^`|`$|^ .* $/.test(line) ? ' ' : '';
  return `${fence}${room}${line}${room}${fence}`;
}

/** Text in which nothing is markup: any ASCII punctuation may be escaped, CommonMark 0.31, 2.4. */
const plain = (text: string): string => shorten(printable(text)).replace(/[\\`*_{}[\]<>#|~&@!$]/g, '\\$&');

function shorten(text: string): string {
  const characters = [...text];
  if (characters.length <= limits.shown) return text;
  const half = limits.shown / 2;
  return `${characters.slice(0, half).join('')} … ${characters.slice(-half).join('')}`;
}
