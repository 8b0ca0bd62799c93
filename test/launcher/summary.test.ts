// A run's denials as Markdown, which the names in them cannot forge, and the file that it goes to.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { linkSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { distDirectory } from '../../src/launcher/addon.js';
import type { JailrunError } from '../../src/launcher/error.js';
import type { DenialReport, RunDenials } from '../../src/launcher/report.js';
import { readBuiltIn } from '../../src/launcher/role.js';
import { addSummary, placeSummary, summarize } from '../../src/launcher/summary.js';
import { parse } from '../../src/profiles/parse.js';
import { resolve } from '../../src/profiles/resolve.js';

const denialOf = (changes: Partial<DenialReport> = {}): DenialReport => ({
  version: 1,
  type: 'denial',
  time: '1',
  sequence: 1,
  count: 1,
  pod: 'make-1',
  podId: '7',
  role: 'ci',
  pid: 233,
  tid: 233,
  ppid: 1,
  uid: 0,
  startTime: '1',
  command: 'cat',
  hook: 'file_open',
  operation: 'read',
  target: '/srv/data',
  error: 'EACCES',
  audit: false,
  allow: { section: 'files.read', text: '/srv/data' },
  ...changes,
});
const textOf = (reports: DenialReport[], lost = 0): string =>
  summarize({ pod: { role: 'ci' }, reports, lost });
const named = (target: string): string =>
  textOf([denialOf({ target, allow: { section: 'files.read', text: target } })]);
const bulletOf = (text: string): string => text.split('\n').find((line) => line.startsWith('- ')) ?? '';
/** The block of YAML, as a policy. */
const policyIn = (text: string): string => /^```yaml\n(.*?)^```$/ms.exec(text)?.[1] ?? assert.fail(text);

describe('a summary', () => {
  test('lists what was denied, and the rules to add', () => {
    const connect = { operation: 'connect', target: 'tcp 10.0.0.5:5432', command: 'psql' };
    const text = textOf([
      denialOf(),
      denialOf({ count: 2 }),
      denialOf({ ...connect, allow: { section: 'network.connect', text: 'tcp:10.0.0.5:5432' } }),
      denialOf({
        operation: 'use',
        target: 'mount',
        error: 'EPERM',
        allow: { section: 'allow', text: 'mount' },
      }),
    ]);
    assert.equal(
      text,
      `### jailrun: what role \`ci\` denied

- \`read /srv/data\` by \`cat[233]\`, 3 times (EACCES): role ci does not grant it
- \`connect tcp 10.0.0.5:5432\` by \`psql[233]\` (EACCES): role ci does not grant it
- \`use mount\` by \`cat[233]\` (EPERM): role ci does not grant it

To allow what of it is meant, write into a role that extends \`ci\`:

\`\`\`yaml
version: 1
roles:
  ci-here: # a name of your own
    id: 1000 # a number that no other role has
    description: What ci may do, and more.
    extends: [ci]
    files:
      read:
        - /srv/data
    network:
      connect:
        - tcp:10.0.0.5:5432
    allow:
      - mount
\`\`\`

`,
    );
  });
  test('has a policy that loads', () => {
    const roles = resolve([
      ...readBuiltIn().policies(),
      parse(Buffer.from(policyIn(named('/srv/a: b #[*] "c"'))), 'summary'),
    ]);
    const role = roles.get('ci-here');
    assert.ok(role?.vars.includes('workspace'));
    assert.ok(
      role?.paths.some(({ section, text }) => section === 'files.read' && text === '/srv/a: b #[*] "c"'),
    );
  });
  test('names the role that is to be changed where a policy defines it', () => {
    const place = { file: '/etc/jailrun/policy.yaml', line: 6 };
    const text = textOf([
      denialOf({ decider: 'shop', allow: { section: 'exec', text: '/bin/sh', ...place } }),
      denialOf({
        operation: 'socket',
        target: 'unix',
        allow: { section: 'network', text: 'any', ...place },
        decider: 'shop',
      }),
    ]);
    assert.match(text, /into role `shop`, `\/etc\/jailrun\/policy\.yaml:6`:/);
    assert.equal(policyIn(text), 'network: any\nexec:\n  - /bin/sh\n');
  });
  test('says why where a rule or the kernel decided, and offers no rule then', () => {
    const rule = { section: 'files.deny', text: '/srv/*', file: '/etc/p.yaml', line: 9 };
    const { allow: _, ...denied } = denialOf({ rule });
    const text = textOf([denied]);
    assert.equal(
      bulletOf(text),
      '- `read /srv/data` by `cat[233]` (EACCES) by files.deny /srv/\\* (/etc/p.yaml:9)',
    );
    assert.doesNotMatch(text, /```/);
  });
  test('says that nothing was denied in audit mode', () => {
    assert.match(textOf([denialOf({ audit: true })]), /^### jailrun: what role `ci` would deny$/m);
  });
  test('tells how many denials it does not show', () => {
    const many = Array.from({ length: 120 }, (_, i) => denialOf({ target: `/srv/${i}`, count: 2 }));
    const text = textOf(many, 5);
    assert.match(text, /^- and 45 more$/m);
    assert.equal(text.split('\n').filter((line) => line.startsWith('- `')).length, 100);
  });
});

describe('a name cannot', () => {
  test('end its line, so begin no heading, list or block', () => {
    for (const end of ['\n', '\r', '\r\n', '\u0085', '\u2028', '\u2029', '\v', '\f']) {
      const lines = named(`/srv/x${end}### all is well${end}- \`a\`${end}\`\`\`${end}`).split(
        /\r\n|[\n\r\v\f\u0085\u2028\u2029]/,
      );
      assert.equal(lines.length, named('/srv/x').split('\n').length);
    }
  });
  test('end its code span', () => {
    for (const name of ['`', '``', 'a`b', '`a``b```', ' ', '` <img src=x>', '![](x)` **bold** `'])
      assert.ok(isSpan(bulletOf(named(name)), `read ${name}`), name);
    assert.ok(isSpan(bulletOf(textOf([denialOf({ target: '', operation: '`' })])), '` '));
  });
  test('be markup in the sentence behind it', () => {
    const rule = { section: 'files.deny', text: '/srv/<b>*[x](y)_|`z`', file: '/etc/p.yaml', line: 9 };
    const [, why] = bulletOf(textOf([denialOf({ rule })])).split('(EACCES)');
    assert.match(why ?? '', /\/srv\/\\<b\\>\\\*\\\[x\\\]\(y\)\\_\\\|\\`z\\` \(/);
  });
  test('end the block of YAML, or its own string in it', () => {
    for (const name of [
      '/```',
      '/~~~',
      '/x\n```\n# h',
      '/x"\n    exec: any',
      '/x # y',
      '/x: {',
      '/\u202egnp.exe',
    ]) {
      const policy = parse(Buffer.from(policyIn(named(name))), 'summary');
      const role = resolve([...readBuiltIn().policies(), policy]).get('ci-here');
      assert.ok(
        role?.paths.some(({ text }) => text === name),
        name,
      );
    }
  });
  test('make the summary larger than what GitHub shows, or hide what comes after it', () => {
    const long = (i: number) => `/srv/${i}${'\u{10ffff}"\n'.repeat(1500)}`;
    const reports = Array.from({ length: 256 }, (_, i) =>
      denialOf({
        target: long(i),
        command: '\u0001'.repeat(15),
        allow: { section: 'files.read', text: long(i) },
      }),
    );
    const text = textOf([...reports.slice(0, 99), denialOf(), ...reports.slice(99)]);
    assert.ok(Buffer.byteLength(text) < 1 << 18, `${Buffer.byteLength(text)}`);
    assert.match(text, /`read \/srv\/data`/);
    assert.match(policyIn(text), /- \/srv\/data$/m);
  });
});

/** Whether the bullet begins with a code span of this content, by the rules of CommonMark 0.31, 6.1. */
function isSpan(bullet: string, content: string): boolean {
  const [, fence = '', rest = ''] = /^- (`+)(.*)$/s.exec(bullet) ?? [];
  const end = [...rest.matchAll(/`+/g)].find(([run]) => run.length === fence.length);
  const inner = rest.slice(0, end?.index);
  return (
    end !== undefined && (/^ .* $/.test(inner) && /[^ ]/.test(inner) ? inner.slice(1, -1) : inner) === content
  );
}

describe('the file of a summary', () => {
  let area: string;
  const denials = { pod: { role: 'ci' }, reports: [denialOf()], lost: 0 } as unknown as RunDenials;
  before(() => {
    area = mkdtempSync('/run/jailrun-test-');
  });
  after(() => rmSync(area, { recursive: true }));
  const refused = (action: () => unknown, why: RegExp) =>
    assert.throws(action, (error: JailrunError) => error.code === 'SUMMARY' && why.test(error.message));

  test('is made, and added to', () => {
    const file = join(area, 'new.md');
    const place = placeSummary(file, true);
    writeFileSync(file, 'before\n');
    addSummary(place, denials);
    assert.equal(readFileSync(file, 'utf8'), `before\n${summarize(denials)}`);
  });
  test('is not made where the environment names it', () => {
    refused(() => placeSummary(join(area, 'none.md'), false), /none\.md cannot be written \(ENOENT\)/);
  });
  test('is no link, no file of two names, and nothing but a file', () => {
    const target = join(area, 'target');
    writeFileSync(target, '');
    symlinkSync(target, join(area, 'symlink'));
    refused(() => placeSummary(join(area, 'symlink'), true), /ELOOP/);
    writeFileSync(join(area, 'one'), '');
    linkSync(join(area, 'one'), join(area, 'two'));
    refused(() => placeSummary(join(area, 'two'), true), /it has another name, too/);
    spawnSync('mkfifo', [join(area, 'fifo')]);
    refused(() => placeSummary(join(area, 'fifo'), true), /ENXIO|no regular file/);
    refused(() => placeSummary('/dev/null', true), /no regular file/);
    refused(() => placeSummary(area, true), /EISDIR/);
  });
  test('is not written once something else has its place, or its directory’s', () => {
    for (const swap of ['link', 'file', 'directory']) {
      const directory = join(area, swap);
      mkdirSync(directory);
      const file = join(directory, 'sum.md');
      const place = placeSummary(file, true);
      const victim = join(area, `victim-${swap}`);
      mkdirSync(victim);
      writeFileSync(join(victim, 'sum.md'), '');
      if (swap === 'directory') {
        // The file itself stays, so that no other gets its number.
        spawnSync('mv', [directory, `${directory}.old`]);
        symlinkSync(victim, directory);
      } else {
        spawnSync('mv', [file, `${file}.old`]);
        if (swap === 'link') symlinkSync(join(victim, 'sum.md'), file);
        else writeFileSync(file, '');
      }
      refused(() => addSummary(place, denials), /ELOOP|it is another file than when the run began/);
      assert.equal(readFileSync(join(victim, 'sum.md'), 'utf8'), '', swap);
    }
  });
  test('needs a supervisor', () => {
    const words = ['--json', '--exec', '--summary', join(area, 'x'), '--role', 'restricted', '--', 'true'];
    const { status, stderr } = spawnSync(join(distDirectory, 'jailrun'), words, { encoding: 'utf8' });
    assert.equal(status, 125);
    assert.match(stderr, /"code":"USAGE".*With --exec nothing stays behind/);
  });
});
