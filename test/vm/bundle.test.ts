// A bundle that is installed on a host jails there, with what it brought alone.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { jailrun, leave, writePolicy } from './jail.js';

const area = '/run/jailrun-test';
const installed = '/usr/local/bin/jailrun';
const places = ['/usr/local/lib/jailrun', installed, '/etc/jailrun/policy.d/bundled.yaml'];
const policy = writePolicy(
  'bundled',
  `version: 1
roles:
  bundled:
    id: 640
    files: {read: ["@runtime", /srv/bundled/shown]}
    exec: none
    network: none
`,
);

const run = (program: string, ...words: string[]) => spawnSync(program, words, { encoding: 'utf8' });
const must = (program: string, ...words: string[]): string => {
  const { status, stdout, stderr } = run(program, ...words);
  assert.equal(status, 0, stderr);
  return stdout;
};

before(() => {
  for (const place of places) assert.equal(existsSync(place), false, `${place} is there already`);
  mkdirSync('/srv/bundled', { recursive: true });
  for (const name of ['shown', 'hidden']) writeFileSync(`/srv/bundled/${name}`, `${name}\n`);
});
after(() => {
  for (const path of [...places, '/srv/bundled', `${area}/bundle.tar`, `${area}/front`])
    rmSync(path, { recursive: true, force: true });
  leave();
});

test('a bundle is installed by the program in it, attaches, and holds its own role', () => {
  must(jailrun, 'bundle', '--output', `${area}/bundle.tar`, policy);
  // As on a host that has nothing but the file.
  const { stdout: front } = spawnSync('tar', ['-xOf', `${area}/bundle.tar`, 'jailrun/jailrun'], {
    maxBuffer: 64 << 20,
  });
  writeFileSync(`${area}/front`, front, { mode: 0o755 });
  const said = must(`${area}/front`, 'bundle', 'install', `${area}/bundle.tar`);
  assert.deepEqual(said.split('\n').slice(0, 3), [
    'added: /etc/jailrun/policy.d/bundled.yaml',
    'added: /usr/local/bin/jailrun',
    `added: /usr/local/lib/jailrun (jailrun ${must(jailrun, '--version').trim()})`,
  ]);
  must(installed, 'attach');
  const read = (name: string) => run(installed, '--role', 'bundled', '--', 'cat', `/srv/bundled/${name}`);
  const [shown, hidden] = [read('shown'), read('hidden')];
  assert.deepEqual([shown.status, shown.stdout, shown.stderr], [0, 'shown\n', '']);
  assert.deepEqual([hidden.status, hidden.stdout], [1, '']);
  assert.match(
    hidden.stderr,
    /was denied read \/srv\/bundled\/hidden \(EACCES\): role bundled .* in \/etc\/jailrun\/policy\.d\/bundled\.yaml:3$/m,
  );
  // Over what is there, too.
  assert.match(
    must(`${area}/front`, 'bundle', 'install', `${area}/bundle.tar`),
    /^replaced: \/usr\/local\/lib/m,
  );
  assert.equal(read('shown').status, 0);
});
