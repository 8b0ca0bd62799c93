// What users read agrees with what the command line accepts.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { distDirectory } from '../src/launcher/addon.js';
import { parse } from '../src/profiles/parse.js';
import { resolve } from '../src/profiles/resolve.js';
import { makeArea } from './launcher/command.js';

const root = join(distDirectory, '..');
const readme = readFileSync(join(root, 'README.md'), 'utf8');
const help = (...command: string[]): string =>
  execFileSync(join(distDirectory, 'jailrun'), [...command, '--help'], { encoding: 'utf8' });
/** In the manual's source an option is `Fl -name`, and its dashes are escaped elsewhere. */
const manual = readFileSync(join(root, 'man/jailrun.1'), 'utf8').replaceAll('Fl -', '--');

const subcommands = [
  ...help().matchAll(/^ {2}([a-z][a-z-]+)(?: \[options\])?(?: [<[][a-z.]+[>\]])* {2,}\S/gm),
].map((match) => match[1] ?? '');
const optionsOf = (text: string): string[] =>
  [...text.matchAll(/^ {2}(?:-\w, )?(--[a-z-]+)/gm)].map((match) => match[1] ?? '');

/** The subcommands of `oci`, with the word in front. */
const containerCommands = [...help('oci').matchAll(/^ {2}([a-z]+) \[options\] {2,}\S/gm)].map((match) => [
  'oci',
  match[1] ?? '',
]);

describe('the README and the manual page name', () => {
  test('every subcommand', () => {
    assert.deepEqual(subcommands, [
      'attach',
      'detach',
      'reload',
      'status',
      'ps',
      'kill',
      'enroll',
      'unenroll',
      'oci-hook',
      'serve',
      'oci',
      'doctor',
      'check',
      'explain',
      'bundle',
      'roles',
    ]);
    for (const name of subcommands) {
      assert.match(readme, new RegExp(`^\\| \`${name}\\b`, 'm'));
      assert.match(manual, new RegExp(`^\\.It Cm ${name}\\b`, 'm'));
    }
  });
  test('every subcommand of oci', () => {
    assert.deepEqual(
      containerCommands.map(([, name]) => name),
      ['install', 'uninstall', 'verify', 'wrap'],
    );
    for (const words of containerCommands) {
      assert.match(readme, new RegExp(`^\\| .*\`${words.join(' ')}\``, 'm'));
      assert.match(manual, new RegExp(`^\\.It Cm ${words.join(' ')}\\b`, 'm'));
    }
  });
  test('every option', () => {
    const commands = [[], ...subcommands.map((name) => [name]), ...containerCommands, ['bundle', 'install']];
    const options = commands.map((words) => help(...words)).flatMap(optionsOf);
    assert.ok(options.length >= 8, `${options}`);
    for (const option of options)
      for (const text of [readme, manual]) assert.match(text, new RegExp(`${option}\\b`), option);
  });
  test('every exit status', () => {
    for (const status of [125, 126, 127]) {
      assert.match(help(), new RegExp(`\\b${status}\\b`));
      assert.match(readme, new RegExp(`\\b${status} when`));
      assert.match(manual, new RegExp(`^\\.It ${status}$`, 'm'));
    }
  });
});

/** The policy that the README shows. */
const example = /```yaml\n(.*?)```/s.exec(readme)?.[1] ?? '';

test('the README’s policy is one that loads', () => {
  const files = readdirSync(join(root, 'profiles')).filter((name) => name.endsWith('.yaml'));
  const builtIn = files.map((name) => parse(readFileSync(join(root, 'profiles', name)), name));
  assert.ok(resolve([...builtIn, parse(Buffer.from(example), 'README.md')]).has('shop'));
});

test('explain answers what the README shows', (t) => {
  const area = makeArea();
  t.after(() => area.remove());
  const policy = area.policy('shop.yaml', example);
  const shown = [...readme.matchAll(/```console\n(\$ jailrun explain .*?)```/gs)]
    .map((match) => match[1])
    .join('');
  const dialogues = shown
    .replaceAll('/etc/shop.yaml', policy)
    .split(/^\$ jailrun /m)
    .slice(1);
  assert.ok(dialogues.length >= 4);
  for (const dialogue of dialogues) {
    const [command = '', ...answer] = dialogue.trimEnd().split('\n');
    assert.deepEqual(area.run(command.split(' '), 'nobody').lines, answer, command);
  }
});
