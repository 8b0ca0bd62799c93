// Bundles: made the same from the same, and installed whole or not at all.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';
import { Header, type HeaderData } from 'tar';
import { distDirectory, jailrunVersion } from '../../src/launcher/addon.js';
import { programs } from '../../src/launcher/bundle.js';
import { type Answer, type Area, makeArea } from './command.js';

let area: Area;
let host: string;
const at = (path: string): string => join(host, path);
const policyDirectory = 'etc/jailrun/policy.d';
const hookDirectory = 'usr/share/containers/oci/hooks.d';
const ownDirectory = 'usr/local/lib/jailrun';

before(() => {
  area = makeArea();
});
after(() => area.remove());
/** A host without anything. */
beforeEach(() => {
  host = join(area.directory, 'host');
  rmSync(host, { recursive: true, force: true });
  mkdirSync(host);
});

const policy = (name: string, id: number, body = 'files: none') =>
  `version: 1\nroles:\n  ${name}: {id: ${id}, ${body}}\n`;
const hook = (changes: object = {}) =>
  JSON.stringify({
    version: '1.0.0',
    hook: { path: '/usr/local/bin/jailrun', args: ['jailrun', 'oci-hook'] },
    when: { annotations: { '^io\\.jailrun\\.role$': '.' } },
    stages: ['createRuntime'],
    ...changes,
  });

const make = (...words: string[]): Answer => area.run(['bundle', '--output', 'bundle.tar', ...words]);
const archive = (): Buffer => readFileSync(join(area.directory, 'bundle.tar'));
/** A bundle of these policies and hooks, which there are files of. */
function made(...words: string[]): Buffer {
  const { status, stderr } = make(...words);
  assert.equal(status, 0, stderr);
  return archive();
}

/** Installs the bytes as a bundle. */
function install(bytes: Uint8Array, ...options: string[]): Answer {
  writeFileSync(join(area.directory, 'given.tar'), bytes);
  return area.run(['bundle', 'install', '--root', host, ...options, 'given.tar']);
}

/** What there is below the host's root: modes and contents, by name. */
function tree(directory = host): Record<string, string> {
  const names = readdirSync(directory, { recursive: true, encoding: 'utf8' }).sort();
  return Object.fromEntries(
    names.map((name) => {
      const path = join(directory, name);
      const { mode } = lstatSync(path);
      const text = lstatSync(path).isSymbolicLink()
        ? `-> ${readlinkSync(path)}`
        : lstatSync(path).isFile()
          ? createHash('sha256').update(readFileSync(path)).digest('hex')
          : '/';
      return [name, `${(mode & 0o7777).toString(8)} ${text}`];
    }),
  );
}

/** The front of a host that has no Node.js. */
function withoutNode(): string {
  const front = join(area.directory, 'without-node/jailrun');
  if (existsSync(front)) return front;
  mkdirSync(dirname(front));
  const [native, abi] = ['native', 'bpf'].map((name) => join(distDirectory, '..', name)) as [string, string];
  const sources = readdirSync(native).filter((name) => name.endsWith('.c'));
  const words = ['-static', '-O1', `-I${abi}`, '-DJAILRUN_NODE="/nonexistent/node"', '-o', front];
  const { status } = spawnSync('gcc', [...words, ...sources.map((name) => join(native, name))], {
    stdio: 'inherit',
  });
  assert.equal(status, 0);
  return front;
}

/** The entries of an archive, to put another one together. */
interface Entry {
  header: Buffer;
  bytes: Buffer;
}
function entriesOf(bytes: Buffer): Entry[] {
  const entries: Entry[] = [];
  for (let at = 0; bytes[at] !== 0; ) {
    const size = new Header(bytes, at).size ?? 0;
    entries.push({ header: bytes.subarray(at, at + 512), bytes: bytes.subarray(at + 512, at + 512 + size) });
    at += 512 + Math.ceil(size / 512) * 512;
  }
  return entries;
}
const join512 = (entries: readonly Entry[], end = Buffer.alloc(1024)): Buffer =>
  Buffer.concat([
    ...entries.flatMap(({ header, bytes }) => [header, bytes, Buffer.alloc(-bytes.length & 511)]),
    end,
  ]);
function entry(data: HeaderData, bytes: Buffer = Buffer.alloc(0)): Entry {
  const header = new Header({
    type: 'File',
    mode: 0o644,
    uid: 0,
    gid: 0,
    size: bytes.length,
    mtime: new Date(0),
    ...data,
  });
  header.encode();
  return { header: header.block as Buffer, bytes };
}
const nameOf = ({ header }: Entry): string => header.subarray(0, 100).toString().replace(/\0.*/s, '');
const digest = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');
/** The archive of these files, with the manifest that a bundle of them would have. */
function withManifest(files: readonly Entry[]): Buffer {
  const rows = files.map((file) => ({
    file: nameOf(file),
    size: file.bytes.length,
    sha256: digest(file.bytes),
  }));
  const text = [{ version: 1, type: 'bundle', jailrun: jailrunVersion() }, ...rows]
    .map((row) => `${JSON.stringify(row)}\n`)
    .join('');
  return join512([entry({ path: 'manifest.jsonl' }, Buffer.from(text)), ...files]);
}

describe('bundle', () => {
  test('makes the same bytes from the same files, whatever their times and order', () => {
    for (const name of ['a', 'b']) area.policy(`${name}.yaml`, policy(name, name === 'a' ? 900 : 901));
    const first = made('a.yaml', 'b.yaml');
    area.policy('a.yaml', policy('a', 900));
    chmodSync(join(area.directory, 'a.yaml'), 0o600);
    assert.deepEqual(made('b.yaml', 'a.yaml'), first);
  });
  test('says what it made, and its digest', () => {
    area.policy('a.yaml', policy('a', 900));
    const { lines } = make('--json', 'a.yaml');
    const { files, ...report } = JSON.parse(lines[0] ?? '');
    const bytes = archive();
    assert.deepEqual(report, {
      version: 1,
      type: 'bundle',
      file: join(area.directory, 'bundle.tar'),
      size: bytes.length,
      sha256: digest(bytes),
      jailrun: jailrunVersion(),
    });
    assert.deepEqual(files, [...Object.keys(programs).map((name) => `jailrun/${name}`), 'policy.d/a.yaml']);
  });
  test('is what tar(1) lists: regular files of root’s, of 1970, behind a manifest of their digests', () => {
    area.policy('a.yaml', policy('a', 900));
    const bytes = made('a.yaml');
    const { stdout } = spawnSync('tar', ['-tv', '--numeric-owner'], {
      input: bytes,
      encoding: 'utf8',
      env: { ...process.env, TZ: 'UTC' },
    });
    const lines = stdout.trimEnd().split('\n');
    assert.equal(lines.length, Object.keys(programs).length + 2);
    for (const line of lines) assert.match(line, /^-rw[-x]r-[-x]r-[-x] 0\/0 +\d+ 1970-01-01 00:00 [a-z]/);
    const [manifest, ...files] = entriesOf(bytes);
    const rows = (manifest?.bytes.toString() ?? '').trimEnd().split('\n').slice(1);
    assert.deepEqual(
      rows.map((row) => JSON.parse(row)),
      files.map((file) => ({ file: nameOf(file), size: file.bytes.length, sha256: digest(file.bytes) })),
    );
  });
  test('holds all of jailrun that is shipped', () => {
    const shipped = readdirSync(distDirectory).filter((name) => name !== 'types');
    assert.deepEqual(shipped.sort(), Object.keys(programs));
  });
  test('refuses a policy with a problem, and makes nothing', () => {
    rmSync(join(area.directory, 'bundle.tar'), { force: true });
    area.policy('bad.yaml', policy('bad', 902, 'filez: any'));
    const { status, stderr } = make('bad.yaml');
    assert.equal(status, 125);
    assert.match(stderr, /bad\.yaml:3:\d+: roles\.bad\.filez: unknown key; did you mean files\?/);
    assert.deepEqual(
      readdirSync(area.directory).filter((name) => name.startsWith('bundle.tar')),
      [],
    );
  });
  test('refuses names that a host would not read, or that would be one file there', () => {
    area.policy('shop.yml', policy('shop', 903));
    area.policy('.shop.yaml', policy('shop', 903));
    mkdirSync(join(area.directory, 'other'), { recursive: true });
    for (const name of ['a.yaml', 'other/a.yaml'])
      area.policy(name, policy(name.length > 6 ? 'c' : 'a', 900 + name.length));
    assert.match(make('shop.yml').stderr, /shop\.yml cannot be in policy\.d: .* Rename it\./);
    assert.match(make('.shop.yaml').stderr, /cannot be in policy\.d/);
    assert.match(make('a.yaml', 'other/a.yaml').stderr, /Two files would be policy\.d\/a\.yaml/);
  });
  test('refuses a hook that an engine would pass over', () => {
    const refused: [object, RegExp][] = [
      [{ when: {} }, /when must have a condition/],
      [{ when: { always: false } }, /when\.always matches nothing/],
      [{ when: { annotations: {} } }, /when\.annotations matches nothing/],
      [{ when: { alwayz: true } }, /when\.alwayz is no condition/],
      [{ stages: [] }, /stages must be some of/],
      [{ stages: ['createruntime'] }, /stages must be some of/],
      [{ hook: { path: '/usr/bin/jailrun' } }, /hook\.path must be \/usr\/local\/bin\/jailrun or/],
      [{ hook: { path: '/usr/local/bin/jailrun', timeout: 0 } }, /hook\.timeout must be/],
      [{ hook: { path: '/usr/local/bin/jailrun', Path: '/bin/true' } }, /hook\.Path is no key/],
      [{ When: {} }, /When is no key/],
      [{ version: '0.1.0' }, /version must be "1\.0\.0"/],
      [{ hooks: [] }, /hooks is no key/],
    ];
    for (const [changes, why] of refused) {
      area.policy('hook.json', hook(changes));
      const { status, stderr } = make('--hook', 'hook.json');
      assert.deepEqual([status, why.test(stderr)], [125, true], stderr);
    }
  });
});

describe('bundle install', () => {
  let bytes: Buffer;
  before(() => {
    area.policy('shop.yaml', policy('shop', 910));
    area.policy('hook.json', hook());
    bytes = made('shop.yaml', '--hook', 'hook.json');
  });

  test('puts everything in its place, for root alone to change', () => {
    const { status, lines, stderr } = install(bytes);
    assert.equal(status, 0, stderr);
    assert.deepEqual(lines, [
      `added: ${at(hookDirectory)}/hook.json`,
      `added: ${at(policyDirectory)}/shop.yaml`,
      `added: ${at('usr/local/bin/jailrun')}`,
      `added: ${at(ownDirectory)} (jailrun ${jailrunVersion()})`,
      'To have it in force where programs are attached: jailrun attach, then jailrun reload',
    ]);
    for (const [name, { executable }] of Object.entries(programs)) {
      assert.deepEqual(
        readFileSync(at(`${ownDirectory}/${name}`)),
        readFileSync(join(distDirectory, name)),
        name,
      );
      assert.equal(lstatSync(at(`${ownDirectory}/${name}`)).mode & 0o7777, executable ? 0o755 : 0o644, name);
    }
    assert.equal(readFileSync(at(`${policyDirectory}/shop.yaml`), 'utf8'), policy('shop', 910));
    assert.equal(readFileSync(at(`${hookDirectory}/hook.json`), 'utf8'), hook());
    assert.equal(readlinkSync(at('usr/local/bin/jailrun')), '../lib/jailrun/jailrun');
    assert.deepEqual(
      Object.keys(tree()).filter((name) => name.includes('.jailrun-install')),
      [],
    );
    const { stdout } = spawnSync(at('usr/local/bin/jailrun'), ['--version'], { encoding: 'utf8' });
    assert.equal(stdout, `${jailrunVersion()}\n`);
  });
  test('changes nothing where all of it is there', () => {
    install(bytes);
    const before = tree();
    const { status, lines } = install(bytes);
    assert.equal(status, 0);
    assert.match(lines[0] ?? '', /^replaced: /);
    assert.deepEqual(tree(), before);
  });
  test('changes nothing with --dry-run, and says what would change', () => {
    const { status, lines } = install(bytes, '--dry-run');
    assert.equal(status, 0);
    assert.equal(lines[0], `would be added: ${at(hookDirectory)}/hook.json`);
    assert.deepEqual(tree(), {});
  });
  test('replaces what a bundle brought, removes what the new one does not, and leaves the rest', () => {
    install(bytes);
    writeFileSync(at(`${policyDirectory}/own.yaml`), policy('own', 911));
    area.policy('cafe.yaml', policy('cafe', 912));
    const { status, lines, stderr } = install(made('cafe.yaml', '--hook', 'hook.json'));
    assert.equal(status, 0, stderr);
    assert.ok(lines.includes(`removed: ${at(policyDirectory)}/shop.yaml`), lines.join('\n'));
    assert.deepEqual(readdirSync(at(policyDirectory)).sort(), ['cafe.yaml', 'own.yaml']);
  });
  test('refuses to replace or remove what somebody else wrote, or has changed', () => {
    mkdirSync(at(policyDirectory), { recursive: true });
    writeFileSync(at(`${policyDirectory}/shop.yaml`), policy('mine', 913));
    const before = tree();
    const refused = (given: Buffer) => {
      const { status, stderr } = install(given);
      assert.equal(status, 125);
      assert.match(stderr, /policy\.d\/shop\.yaml is not as a bundle left it/);
    };
    refused(bytes);
    assert.deepEqual(tree(), before);
    rmSync(at(`${policyDirectory}/shop.yaml`));
    assert.equal(install(bytes).status, 0);
    writeFileSync(at(`${policyDirectory}/shop.yaml`), policy('shop', 914));
    refused(bytes);
    refused(made());
    assert.equal(readFileSync(at(`${policyDirectory}/shop.yaml`), 'utf8'), policy('shop', 914));
  });
  test('refuses a policy that has a problem with those of the host', () => {
    mkdirSync(at(policyDirectory), { recursive: true });
    writeFileSync(at(`${policyDirectory}/other.yaml`), policy('other', 910));
    const before = tree();
    const { status, stderr } = install(bytes);
    assert.equal(status, 125);
    assert.match(stderr, /id: 910 is the id of role (shop|other) already/);
    assert.match(stderr, /^jailrun: Nothing was installed: the bundle's policies with those of this host /m);
    assert.deepEqual(tree(), before);
  });
  test('refuses a policy that has a problem with policy.yaml', () => {
    mkdirSync(at('etc/jailrun'), { recursive: true });
    writeFileSync(at('etc/jailrun/policy.yaml'), policy('other', 910));
    assert.match(install(bytes).stderr, /id: 910 is the id of role (shop|other) already/);
  });
  test('refuses a policy with a problem, whoever made the bundle', () => {
    const files = entriesOf(bytes).slice(1, -1);
    const bad = entry({ path: 'policy.d/bad.yaml' }, Buffer.from(policy('bad', 915, 'filez: any')));
    const { status, stderr } = install(withManifest([...files, bad]));
    assert.equal(status, 125);
    assert.match(stderr, /bad\.yaml:3:\d+: roles\.bad\.filez: unknown key/);
    assert.deepEqual(tree(), {});
  });
  test('refuses places that others can write, or that are something else', () => {
    mkdirSync(at('usr/local/lib'), { recursive: true });
    chmodSync(at('usr/local/lib'), 0o777);
    assert.match(install(bytes).stderr, /usr\/local\/lib is, or lies in, what others can write/);
    chmodSync(at('usr/local/lib'), 0o755);
    writeFileSync(at(ownDirectory), '');
    assert.match(install(bytes).stderr, /usr\/local\/lib\/jailrun is no directory/);
    rmSync(at(ownDirectory));
    mkdirSync(at(`${ownDirectory}/precious`), { recursive: true });
    assert.match(install(bytes).stderr, /holds something other than jailrun/);
    rmSync(at(ownDirectory), { recursive: true });
    mkdirSync(at('usr/local/bin/jailrun'), { recursive: true });
    assert.match(install(bytes).stderr, /usr\/local\/bin\/jailrun is not the link/);
    assert.equal(existsSync(at(ownDirectory)), false);
  });
  test('follows no link out of the root', () => {
    const outside = join(area.directory, 'outside');
    mkdirSync(outside, { recursive: true });
    mkdirSync(at('etc'));
    symlinkSync(outside, at('etc/jailrun'));
    install(bytes);
    assert.deepEqual(readdirSync(outside), []);
  });
  test('takes away what one that was killed has left', () => {
    mkdirSync(at('usr/local/lib/.jailrun-install/jailrun/deep'), { recursive: true });
    writeFileSync(at('usr/local/lib/.jailrun-install/jailrun/jailrun'), 'half');
    assert.equal(install(bytes).status, 0);
    assert.equal(existsSync(at('usr/local/lib/.jailrun-install')), false);
  });
  test('works without Node.js, and says what is missing then', () => {
    const { status, stdout } = spawnSync(withoutNode(), ['bundle', 'install', '--root', host, 'bundle.tar'], {
      cwd: area.directory,
      encoding: 'utf8',
      env: {},
    });
    assert.equal(status, 0);
    assert.match(
      stdout,
      /^note: there is no Node\.js at \/nonexistent\/node, which attaching .* need; the policies were checked when the bundle was made, not here$/m,
    );
    assert.equal(existsSync(at(`${ownDirectory}/jailrun`)), true);
  });
  test('goes on alone', () => {
    const held = [
      '--nonblock',
      '--exclusive',
      host,
      join(area.directory, 'dist/jailrun'),
      'bundle',
      'install',
    ];
    const words = ['--root', host, join(area.directory, 'bundle.tar')];
    const { status, stderr } = spawnSync('flock', [...held, ...words], { encoding: 'utf8' });
    assert.equal(status, 125);
    assert.match(stderr, /another one is installed in .*: Resource temporarily unavailable/);
    assert.deepEqual(tree(), {});
  });
  test('takes no other words', () => {
    const run = (...words: string[]) => area.run(['bundle', 'install', ...words]);
    for (const [words, why] of [
      [[], /No file is named/],
      [['a', 'b'], /More than one file/],
      [['--force', 'a'], /There is no such option/],
      [['none.tar'], /none\.tar: No such file/],
    ] as const) {
      const { status, stderr } = run(...words);
      assert.deepEqual([status, why.test(stderr)], [125, true], stderr);
    }
    assert.match(area.run(['--json', 'bundle', 'install', 'a']).stderr, /Nothing goes before/);
    assert.match(run('--help').lines.join('\n'), /^Usage: jailrun bundle install.*--dry-run.*--root/s);
  });
});

describe('an archive is refused whole that', () => {
  let bytes: Buffer;
  let all: Entry[];
  before(() => {
    area.policy('shop.yaml', policy('shop', 920));
    bytes = made('shop.yaml');
    all = entriesOf(bytes);
  });
  const refused = (given: Uint8Array, why: RegExp) => {
    const { status, stderr, lines } = install(given);
    assert.equal(status, 125, lines.join('\n'));
    assert.match(stderr, why);
    assert.deepEqual(tree(), {});
  };
  /** Its files, with one more of this header, which the manifest names. */
  const more = (data: HeaderData, content = Buffer.from(policy('more', 921))) =>
    withManifest([...all.slice(1), entry(data, content)]);

  test('is not changed at all, so that the others differ by what they say', () => {
    assert.deepEqual(withManifest(all.slice(1)), bytes);
    assert.equal(install(more({ path: 'policy.d/tea.yaml' })).status, 0);
  });
  test('has absolute paths, or leads up', () => {
    for (const path of [
      '/etc/cron.d/x',
      '../x.yaml',
      'policy.d/../../x.yaml',
      'policy.d/../x.yaml',
      'policy.d//x.yaml',
      'policy.d/./x.yaml',
      'policy.d/a/x.yaml',
      './policy.d/x.yaml',
    ])
      refused(more({ path }), /which no bundle has/);
  });
  test('has a name that is none of a bundle’s', () => {
    for (const path of [
      'policy.d/.hidden.yaml',
      'policy.d/x.yml',
      'policy.d/x',
      'policy.d/.yaml',
      'policy.d/x\u001b[2J.yaml',
      'policy.d/x y.yaml',
      `policy.d/${'x'.repeat(65)}.yaml`,
      'policz.d/x.yaml',
      'x',
      '',
    ])
      refused(more({ path }), /which no bundle has/);
    refused(withManifest([entry({ path: 'hooks.d/x.yaml' }), ...all.slice(1)]), /which no bundle has/);
    refused(withManifest([entry({ path: 'jailrun/extra' }), ...all.slice(1)]), /which no bundle has/);
  });
  test('has anything but regular files', () => {
    const types = [
      'Link',
      'SymbolicLink',
      'CharacterDevice',
      'BlockDevice',
      'Directory',
      'FIFO',
      'ContiguousFile',
    ] as const;
    for (const type of types)
      refused(
        more({ path: 'policy.d/x.yaml', type, linkpath: '/etc/shadow' }, Buffer.alloc(0)),
        /the header of policy\.d\/x\.yaml is not/,
      );
    for (const flag of ['S', 'L', 'K', 'x', 'g', 'V', 'M', '\0', '9']) {
      const odd = entry({ path: 'policy.d/x.yaml' });
      odd.header[156] = flag.charCodeAt(0);
      refused(withManifest([...all.slice(1), resum(odd)]), /the header of policy\.d\/x\.yaml is not/);
    }
  });
  test('has a pax header or a long name in front of a file', () => {
    const pax = entry({ path: 'PaxHeader/x', type: 'ExtendedHeader' }, Buffer.from('20 path=/etc/passwd\n'));
    refused(withManifest([...all.slice(1), pax]), /PaxHeader\/x, which no bundle has/);
    const long = entry({ path: '././@LongLink' });
    long.header[156] = 'L'.charCodeAt(0);
    refused(withManifest([...all.slice(1), resum(long)]), /@LongLink, which no bundle has/);
    refused(
      withManifest([...all.slice(1), entry({ path: `policy.d/${'x'.repeat(110)}.yaml` })]),
      /no bundle has|too long/,
    );
  });
  test('has an owner, a time, another mode or set-id bits, a link’s target, a device’s number or anything in the padding', () => {
    for (const data of [
      { uid: 1 },
      { gid: 1 },
      { uname: 'root' },
      { gname: 'root' },
      { mtime: new Date(1000) },
      { mode: 0o4755 },
      { mode: 0o600 },
      { linkpath: 'x' },
      { devmaj: 1 },
      { atime: new Date(1000) },
    ])
      refused(more({ path: 'policy.d/x.yaml', ...data }), /the header of policy\.d\/x\.yaml is not/);
    const padded = entry({ path: 'policy.d/x.yaml' }, Buffer.from('x'));
    for (const place of [90, 345, 505, 511]) {
      const header = Buffer.from(padded.header);
      header[place] = 65;
      refused(
        withManifest([...all.slice(1), resum({ ...padded, header })]),
        /the header of policy\.d\/x\.yaml is not/,
      );
    }
    const dirty = Buffer.from(more({ path: 'policy.d/x.yaml' }, Buffer.from('x')));
    dirty[dirty.length - 1024 - 1] = 1;
    refused(dirty, /what follows policy\.d\/x\.yaml is not zero/);
  });
  test('has a wrong sum in a header', () => {
    const wrong = Buffer.from(bytes);
    wrong[148] = (wrong[148] ?? 0) ^ 1;
    refused(wrong, /the header of manifest\.jsonl is not/);
  });
  test('has a file twice, or in another order', () => {
    const [manifest, first, second, ...rest] = all as [Entry, Entry, Entry, ...Entry[]];
    refused(withManifest([first, first, second, ...rest]), /jailrun\/jailrun is not in its place/);
    refused(withManifest([second, first, ...rest]), /jailrun\/jailrun is not in its place/);
    refused(join512([first, manifest, second, ...rest]), /the first file must be manifest\.jsonl/);
    refused(withManifest([manifest, first, second, ...rest]), /manifest\.jsonl, which no bundle has/);
  });
  test('does not hold all of jailrun', () => {
    for (let i = 1; i <= Object.keys(programs).length; i++)
      refused(withManifest(all.slice(1).filter((_, j) => j !== i - 1)), /does not hold all of jailrun/);
  });
  test('has contents that its manifest does not name, wrong digests, or names for nothing', () => {
    for (const [i, { header, bytes: content }] of all.entries()) {
      if (i === 0 || content.length === 0) continue;
      const changed = Buffer.from(content);
      changed[changed.length - 1] = (changed.at(-1) ?? 0) ^ 1;
      refused(
        join512(all.map((one, j) => (i === j ? { header, bytes: changed } : one))),
        /is not what its manifest says/,
      );
    }
    refused(
      join512([...all, entry({ path: 'policy.d/x.yaml' })]),
      /policy\.d\/x\.yaml is not what its manifest says/,
    );
    refused(join512(all.slice(0, -1)), /names files that it does not hold/);
  });
  test('has a manifest of another form', () => {
    const text = all[0]?.bytes.toString() ?? '';
    const withText = (manifest: string) =>
      join512([entry({ path: 'manifest.jsonl' }, Buffer.from(manifest)), ...all.slice(1)]);
    refused(withText(''), /another form/);
    refused(withText(text.replace('"version":1', '"version":2')), /another form/);
    refused(withText(text.replace('"bundle"', '"bundle" ')), /another form/);
    refused(withText(text.replace(`"${jailrunVersion()}"`, '""')), /names no version/);
    refused(withText(text.replace(`"${jailrunVersion()}"`, `"${'1'.repeat(40)}"`)), /names no version/);
    refused(withText(text.replace(`"${jailrunVersion()}"`, '"1/../x"')), /names no version/);
    refused(withText(text.slice(0, -1)), /is not what its manifest says/);
    refused(withText(`${text}\n`), /names files that it does not hold/);
    refused(withText(text.toUpperCase()), /another form/);
  });
  test('is cut off, anywhere', () => {
    const { length } = bytes;
    for (const size of [
      0,
      1,
      511,
      512,
      1024,
      1536,
      length - 512,
      length - 1024,
      length - 1025,
      length - 1536,
      length >> 1,
    ])
      refused(bytes.subarray(0, size), /Nothing was installed: given\.tar: /);
  });
  test('has something behind its end', () => {
    for (const tail of [Buffer.alloc(1), Buffer.alloc(512), Buffer.alloc(8192), Buffer.from('x'), bytes])
      refused(Buffer.concat([bytes, tail]), /no tar archive, or cut off|does not end as a bundle does/);
  });
  test('says that a file is larger than it is, or than any is', () => {
    for (const size of [1 << 30, 0o77777777777, 65 << 20]) {
      const bomb = entry({ path: 'policy.d/x.yaml', size });
      refused(
        withManifest([...all.slice(1), bomb]),
        /policy\.d\/x\.yaml is larger than a bundle has room for/,
      );
    }
    refused(
      more({ path: 'policy.d/x.yaml' }, Buffer.alloc((1 << 20) + 1)),
      /larger than a bundle has room for/,
    );
    const negative = entry({ path: 'policy.d/x.yaml' });
    negative.header.write('-0000000001 ', 124, 'latin1');
    refused(withManifest([...all.slice(1), resum(negative)]), /larger than a bundle has room for/);
    const binary = entry({ path: 'policy.d/x.yaml' });
    binary.header.set([0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], 124);
    refused(withManifest([...all.slice(1), resum(binary)]), /the header of policy\.d\/x\.yaml is not/);
  });
  test('holds more files than a host has use for', () => {
    const files = Array.from({ length: 300 }, (_, i) =>
      entry({ path: `policy.d/x${String(i).padStart(3, '0')}.yaml` }, Buffer.from('x')),
    );
    refused(withManifest([...all.slice(1), ...files]), /more than 256 files/);
  });
  test('is compressed, or no archive', () => {
    const { stdout } = spawnSync('gzip', ['-c'], { input: bytes, maxBuffer: 64 << 20 });
    refused(stdout, /Nothing was installed: given\.tar: /);
    refused(Buffer.alloc(4096, 'x'), /too long a name/);
    refused(Buffer.alloc(4096), /the first file must be/);
  });
  test('is larger than any bundle, a FIFO, a directory or a device', () => {
    const huge = join(area.directory, 'huge.tar');
    spawnSync('truncate', ['-s', '65M', huge]);
    spawnSync('mkfifo', [join(area.directory, 'fifo.tar')]);
    const why = (file: string) => area.run(['bundle', 'install', '--root', host, file]).stderr;
    assert.match(why('huge.tar'), /larger than 67108864 bytes/);
    for (const file of ['fifo.tar', '/dev/zero', '.']) assert.match(why(file), /it is no regular file/);
    assert.deepEqual(tree(), {});
  });
});

/** Its header with the sum that it should have. */
function resum({ header, bytes }: Entry): Entry {
  const copy = Buffer.from(header);
  copy.fill(' ', 148, 156);
  const sum = copy.reduce((total, byte) => total + byte, 0);
  copy.write(`${sum.toString(8).padStart(6, '0')} \0`, 148, 'latin1');
  return { header: copy, bytes };
}

describe('an installation that is stopped', () => {
  const fault = join(distDirectory, '../build/fault');
  let old: Buffer;
  let young: Buffer;
  before(() => {
    area.policy('shop.yaml', policy('shop', 930));
    area.policy('gone.yaml', policy('gone', 931));
    area.policy('hook.json', hook());
    old = made('shop.yaml', 'gone.yaml', '--hook', 'hook.json');
    area.policy('shop.yaml', policy('shop', 932));
    area.policy('come.yaml', policy('come', 933));
    area.policy('hook.json', hook({ when: { always: true } }));
    young = made('shop.yaml', 'come.yaml', '--hook', 'hook.json');
  });
  /** Updates a host from the old to the young bundle, where one step of the installer goes wrong. */
  const update = (
    step: number,
    action: string,
  ): { status: number | null; stderr: string; steps: string[] } => {
    const prepared = join(area.directory, 'prepared');
    if (!existsSync(prepared)) {
      assert.equal(install(old).status, 0);
      cpSync(host, prepared, { recursive: true, verbatimSymlinks: true });
    }
    rmSync(host, { recursive: true, force: true });
    cpSync(prepared, host, { recursive: true, verbatimSymlinks: true });
    writeFileSync(join(area.directory, 'young.tar'), young);
    const words = ['1', String(step), action, withoutNode(), 'bundle', 'install'];
    const { status, output } = spawnSync(
      fault,
      [...words, '--root', host, join(area.directory, 'young.tar')],
      {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
      },
    );
    return { status, stderr: output[2] ?? '', steps: (output[3] ?? '').split('\n').slice(0, -1) };
  };
  /** The steps of an update to which nothing happens. */
  const listSteps = (): string[] => {
    const { status, stderr, steps } = update(0, 'list');
    assert.deepEqual([status, stderr], [0, '']);
    assert.ok(steps.length > 30, steps.join('\n'));
    return steps;
  };
  /** The host with one bundle or the other. */
  const whole = (given: Buffer[]): Record<string, string> => {
    rmSync(host, { recursive: true, force: true });
    mkdirSync(host);
    for (const one of given) assert.equal(install(one).status, 0);
    return tree();
  };
  const isStage = (name: string): boolean => name.includes('.jailrun-install');
  const places = (state: Record<string, string>) =>
    Object.fromEntries(Object.entries(state).filter(([name]) => !isStage(name)));

  test('by an error at any step leaves the host as it was, or as it is to be', () => {
    const [before, behind] = [whole([old]), whole([old, young])];
    assert.notDeepEqual(before, behind);
    const steps = listSteps();
    for (const [i, step] of steps.entries()) {
      const { status } = update(i + 1, '28');
      assert.deepEqual(places(tree()), status === 0 ? behind : before, `${step} fails`);
    }
  });
  test('by a signal at any step leaves every place old or new, and the next one completes it', () => {
    const [before, behind] = [whole([old]), whole([old, young])];
    const steps = listSteps();
    for (const [i, step] of steps.entries()) {
      update(i + 1, 'kill');
      const left = places(tree());
      for (const [name, state] of Object.entries(left))
        assert.ok(state === before[name] || state === behind[name], `${step}: ${name} is ${state}`);
      for (const name of Object.keys(programs)) assert.ok(left[`${ownDirectory}/${name}`], step);
      const again = spawnSync(withoutNode(), ['bundle', 'install', '--root', host, 'young.tar'], {
        cwd: area.directory,
      });
      assert.equal(again.status, 0, step);
      assert.deepEqual(tree(), behind, step);
    }
  });
  test('by a full disk leaves the host as it was', () => {
    const full = join(area.directory, 'full');
    mkdirSync(full);
    assert.equal(spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=5M,mode=755', 'none', full]).status, 0);
    try {
      host = full;
      assert.equal(install(old).status, 0);
      const before = tree();
      const { status, stderr } = install(young);
      assert.equal(status, 125);
      assert.match(stderr, /No space left on device/);
      assert.deepEqual(tree(), before);
    } finally {
      spawnSync('umount', [full]);
    }
  });
});
