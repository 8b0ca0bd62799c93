import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { Scope } from '../../src/abi.js';
import { linkReader } from '../../src/profiles/load.js';
import { follow, locate, type ReadLink } from '../../src/profiles/locate.js';
import { type PathSection, PolicyError, type ResolvedRole } from '../../src/profiles/policy.js';

function linksOf(links: Record<string, string>): ReadLink {
  return (path) => (Object.hasOwn(links, path) ? links[path] : undefined);
}

function reading(...paths: string[]): ResolvedRole {
  return {
    name: 'r',
    id: 1,
    description: '',
    sections: {},
    audit: false,
    files: Scope.RULES,
    exec: Scope.NONE,
    network: Scope.NONE,
    allow: [],
    jit: true,
    kills: false,
    paths: paths.map((text, i) => ({ section: 'files.read', text, file: 'p.yaml', line: i + 1, column: 9 })),
    addresses: [],
    abstracts: [],
    vars: [],
    place: { file: 'p.yaml', line: 1, column: 1 },
  };
}

describe('a path', () => {
  const links = linksOf({
    '/lib': 'usr/lib',
    '/var/run': '/run',
    '/etc/localtime': '../usr/share/zoneinfo/UTC',
    '/etc/alternatives/editor': '/usr/bin/vim',
    '/usr/bin/editor': '/etc/alternatives/editor',
    '/dots': './usr//./lib/',
    '/up': '../../../etc',
  });

  test('without links leads to itself', () => {
    assert.equal(follow('/srv/www', links).object, '/srv/www');
    assert.equal(follow('/', links).object, '/');
  });

  test('with links on the way leads where they lead', () => {
    assert.equal(follow('/lib/x86_64-linux-gnu', links).object, '/usr/lib/x86_64-linux-gnu');
    assert.equal(follow('/var/run/nginx.pid', links).object, '/run/nginx.pid');
    assert.equal(follow('/etc/localtime', links).object, '/usr/share/zoneinfo/UTC');
    assert.equal(follow('/dots/x', links).object, '/usr/lib/x');
    assert.equal(follow('/up/passwd', links).object, '/etc/passwd');
  });

  test('that ends in links leads to the object and names these links', () => {
    const { object, links: ends } = follow('/usr/bin/editor', links);
    assert.equal(object, '/usr/bin/vim');
    assert.deepEqual(ends, ['/usr/bin/editor', '/etc/alternatives/editor']);
    assert.deepEqual(follow('/lib/x', links).links, []);
  });

  test('that leads to nothing keeps the names that are not there', () => {
    assert.equal(follow('/var/run/new/x', links).object, '/run/new/x');
  });

  test('in a loop of links has a fault', () => {
    assert.match(follow('/a/x', linksOf({ '/a': '/b', '/b': '/a' })).fault ?? '', /symbolic links/);
  });

  test('into /proc/self has a fault, however it leads there', () => {
    const own = linksOf({
      '/dev/stdout': '/proc/self/fd/1',
      '/etc/mtab': '../proc/self/mounts',
      '/proc/self': '4711',
    });
    for (const path of ['/dev/stdout', '/etc/mtab', '/proc/self/maps'])
      assert.ok(follow(path, own).fault, path);
    assert.equal(follow('/proc/4711/maps', own).fault, undefined);
  });

  test('leads where the kernel leads', (t) => {
    const directory = realpathSync(mkdtempSync(join(tmpdir(), 'jailrun-locate-')));
    t.after(() => rmSync(directory, { recursive: true }));
    mkdirSync(join(directory, 'a/b'), { recursive: true });
    writeFileSync(join(directory, 'a/b/file'), '');
    symlinkSync('a', join(directory, 'link'));
    symlinkSync('../link/b/', join(directory, 'a/through'));
    symlinkSync(join(directory, 'a/through/file'), join(directory, 'absolute'));
    for (const name of ['link/b/file', 'a/through/file', 'link/through', 'absolute'])
      assert.equal(follow(join(directory, name), linkReader()).object, realpathSync(join(directory, name)));
  });
});

const plain = (path: string) => ({ path, pattern: [] });

describe('a role', () => {
  test('gets the places of each rule: the link, where the path ends in one, and the object', () => {
    const role = locate(reading('/lib', '/lib/x'), linksOf({ '/lib': 'usr/lib' }));
    assert.deepEqual(
      role.paths.map(({ places }) => places),
      [[plain('/lib'), plain('/usr/lib')], [plain('/usr/lib/x')]],
    );
  });

  test('follows links up to the first component with wildcards', () => {
    const links = linksOf({ '/lib': 'usr/[x]', '/usr/[x]/a': '/other' });
    const role = locate(reading('/lib/*/a', '/lib/a/b[cd]/e'), links);
    assert.deepEqual(
      role.paths.map(({ places }) => places),
      [[{ path: '/usr/[x]', pattern: ['*', 'a'] }], [{ path: '/other', pattern: ['b[cd]', 'e'] }]],
    );
  });

  test('keeps names that are not ASCII as bytes', () => {
    const role = locate(reading('/ü'), linksOf({ '/\xc3\xbc': '\xff' }));
    assert.deepEqual(role.paths[0]?.places, [plain('/\xc3\xbc'), plain('/\xff')]);
  });

  test('with rules that lead nowhere is refused with all of them', () => {
    const links = linksOf({ '/dev/stdin': '/proc/self/fd/0', '/loop': 'loop' });
    assert.throws(
      () => locate(reading('/dev/stdin', '/srv', '/loop'), links),
      (error) =>
        error instanceof PolicyError &&
        error.problems.map(({ line }) => line).join() === '1,3' &&
        /^p\.yaml:1:9: files\.read: \/dev\/stdin leads into \/proc\/self/.test(error.message),
    );
  });

  test('reads each link once, however many rules pass it', () => {
    const asked: string[] = [];
    locate(reading('/a/b', '/a/c', '/a'), (path) => {
      asked.push(path);
      return undefined;
    });
    assert.deepEqual(asked, ['/a', '/a/b', '/a/c']);
  });
});

describe('a link that the role itself may replace', () => {
  const links = linksOf({ '/srv/current': '/data/2', '/opt/tool': '/usr/bin/tool', '/srv/own': '/data/own' });
  const locateRules = (...rules: [PathSection, string][]) => {
    const paths = rules.map(([section, text], i) => ({
      section,
      text,
      file: 'p.yaml',
      line: i + 1,
      column: 9,
    }));
    return locate({ ...reading(), paths }, links);
  };
  const refused = (...rules: [PathSection, string][]): string => {
    try {
      locateRules(...rules);
    } catch (error) {
      if (error instanceof PolicyError) return error.message;
      throw error;
    }
    return 'accepted';
  };

  test('is none to follow for a rule that grants', () => {
    for (const section of ['files.write', 'files.read', 'exec', 'network.connect'] as const) {
      const prefix = section === 'network.connect' ? 'unix:' : '';
      assert.equal(
        refused(['files.write', '/srv'], [section, `${prefix}/srv/current/bin`]),
        `p.yaml:2:9: ${section}: ${prefix}/srv/current/bin leads through the symbolic link /srv/current, which the role may replace (files.write: /srv), so that it could lead anywhere; name the object itself, or keep the link elsewhere`,
      );
    }
  });
  test('is followed for one that denies', () => {
    assert.equal(refused(['files.write', '/srv'], ['files.deny', '/srv/current/bin']), 'accepted');
  });
  test('is none where the rule names the link, which the kernel side keeps in its place', () => {
    assert.equal(refused(['files.write', '/srv/own']), 'accepted');
    assert.equal(refused(['files.write', '/srv'], ['files.write', '/srv/own']), 'accepted');
  });
  test('is none where a longer rule keeps the role from it', () => {
    const write: [PathSection, string] = ['files.write', '/'];
    assert.equal(refused(write, ['exec', '/opt/tool']), 'accepted');
    for (const section of ['files.read', 'files.deny'] as const)
      assert.equal(
        refused(['files.write', '/srv'], [section, '/srv/current'], ['exec', '/srv/current/x']),
        'accepted',
      );
  });
});
