import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Access, Scope } from '../../src/abi.js';
import { decodeBuiltIn, encodeBuiltIn } from '../../src/profiles/builtin.js';
import { compile, decide } from '../../src/profiles/compile.js';
import { locate } from '../../src/profiles/locate.js';
import { parseMountinfo } from '../../src/profiles/mounts.js';
import { readTarget } from '../../src/profiles/network.js';
import { parse } from '../../src/profiles/parse.js';
import type { NetworkSection, ResolvedRole } from '../../src/profiles/policy.js';
import { resolve } from '../../src/profiles/resolve.js';
import { bindStandIns, bindVariables } from '../../src/profiles/rulepath.js';

const files = readdirSync('profiles').filter((name) => name.endsWith('.yaml'));
const policies = files.map((name) => parse(readFileSync(join('profiles', name)), `built-in/${name}`));
const roles = resolve(policies);

function roleOf(name: string): ResolvedRole {
  const role = roles.get(name);
  assert.ok(role, name);
  return role;
}

/** Debian 12's layout: one file system, /usr merged. */
function onDebian(name: string): (path: string, access: number) => boolean {
  const links: Record<string, string> = {
    '/bin': 'usr/bin',
    '/lib': 'usr/lib',
    '/lib64': 'usr/lib64',
    '/etc/localtime': '/usr/share/zoneinfo/Etc/UTC',
  };
  const mounts = parseMountinfo(Buffer.from('20 1 8:1 / / rw - ext4 /dev/sda1 rw\n'));
  const stack = bindVariables(
    [roleOf(name)],
    new Map(roleOf(name).vars.map((name) => [name, `/srv/${name}`])),
  );
  const compiled = compile(
    stack.map((role) => locate(role, (path) => links[path])),
    mounts,
  );
  return (path, access) => decide(compiled, { device: (8 << 20) | 1, path, access }).granted;
}

function endsOf(name: string, section: NetworkSection): string[] {
  return roleOf(name)
    .addresses.filter((rule) => rule.section === section)
    .map(({ text }) => text);
}

test('the built-in roles have the numbers that Jailer’s users know', () => {
  const ids = Object.fromEntries([...roles.values()].map(({ id, name }) => [id, name]));
  assert.deepEqual(ids, {
    1: 'restricted',
    2: 'permissive',
    3: 'webserver',
    4: 'database',
    5: 'isolated',
    6: 'web_with_db',
    7: 'worker',
    8: 'ci',
    9: 'ai_agent',
  });
});

test('each built-in role has a file of its own, a description, and a reason on every line of a list', () => {
  for (const file of files) {
    const lines = readFileSync(join('profiles', file), 'utf8').split('\n');
    for (const line of lines.filter((text) => /^\s+- /.test(text)))
      assert.match(line, / # \S/, `${file}: ${line}`);
    assert.match(lines[0] ?? '', /^# yaml-language-server: \$schema=policy\.v1\.schema\.json$/);
    for (const { name, description } of policies[files.indexOf(file)]?.roles ?? []) {
      assert.equal(`${name}.yaml`, file);
      assert.notEqual(description, '');
    }
  }
});

test('the ports are those of the design', () => {
  assert.deepEqual(endsOf('webserver', 'network.bind'), ['tcp:80', 'tcp:443', 'tcp:8080']);
  assert.deepEqual(endsOf('webserver', 'network.connect'), []);
  assert.deepEqual(endsOf('database', 'network.bind'), ['tcp:5432', 'tcp:6379']);
  assert.deepEqual(endsOf('web_with_db', 'network.bind'), endsOf('webserver', 'network.bind'));
  assert.deepEqual(endsOf('web_with_db', 'network.connect'), ['tcp:5432', 'tcp:3306', 'tcp:6379']);
  assert.deepEqual(endsOf('worker', 'network.connect'), ['tcp:443', 'tcp:5432', 'tcp:6379', 'tcp:5672']);
});

describe('whom a role lets reach the network', () => {
  /** Asks as explain does: `tcp:10.0.0.1:80`. */
  const asker = (name: string) => {
    const compiled = compile(
      [locate(bindStandIns(roleOf(name)), () => undefined)],
      parseMountinfo(Buffer.from('20 1 8:1 / / rw - ext4 /dev/sda1 rw\n')),
    );
    return (direction: 'bind' | 'connect', text: string) => {
      const target = readTarget(text);
      assert.ok('kind' in target && target.kind === 'address' && target.protocol, text);
      const { protocol, prefixes = [], first } = target;
      const address = prefixes[0]?.address ?? '';
      return decide(compiled, { direction, protocol, address, port: first }).granted;
    };
  };
  const metadata = ['tcp:169.254.169.254:443', 'tcp:[fd00:ec2::254]:443', 'tcp:[64:ff9b::a9fe:a9fe]:443'];
  test('nobody reaches the metadata service but who may everything', () => {
    for (const { name, network } of roles.values()) {
      if (network === Scope.ANY) continue;
      const may = asker(name);
      for (const text of [...metadata, ...metadata.map((one) => one.replace('443', '80'))])
        assert.ok(!may('connect', text), `${name} ${text}`);
    }
  });
  test('a build job reaches the web and its own servers', () => {
    const may = asker('ci');
    for (const text of ['tcp:192.0.2.1:443', 'tcp:[2001:db8::1]:443', 'tcp:10.0.0.1:443', 'udp:10.0.0.1:53'])
      assert.ok(may('connect', text), text);
    for (const text of ['tcp:127.0.0.1:9999', 'tcp:[::1]:9999', 'udp:127.0.0.1:9999'])
      assert.ok(may('connect', text) && may('bind', text), text);
    for (const text of ['tcp:192.0.2.1:25', 'udp:192.0.2.1:443']) assert.ok(!may('connect', text), text);
    for (const text of ['tcp:0.0.0.0:9999', 'tcp:10.0.0.1:9999']) assert.ok(!may('bind', text), text);
  });
  test('an agent reaches the web, and of private networks the resolver alone', () => {
    const may = asker('ai_agent');
    for (const text of ['tcp:192.0.2.1:443', 'udp:10.0.0.1:53', 'tcp:192.168.1.1:53', 'udp:[fd00::1]:53'])
      assert.ok(may('connect', text), text);
    for (const text of ['tcp:10.0.0.1:443', 'tcp:192.168.1.1:80', 'tcp:[fd00::1]:443', 'tcp:[fe80::1]:443'])
      assert.ok(!may('connect', text), text);
    assert.ok(may('connect', 'tcp:127.0.0.1:8000'));
  });
});

test('the scopes are those of the design', () => {
  const { NONE, RULES, ANY } = Scope;
  const scopesOf = (name: string) => [roleOf(name).files, roleOf(name).exec, roleOf(name).network];
  assert.deepEqual(scopesOf('restricted'), [RULES, NONE, NONE]);
  assert.deepEqual(scopesOf('permissive'), [ANY, ANY, ANY]);
  assert.deepEqual(scopesOf('webserver'), [RULES, NONE, RULES]);
  assert.deepEqual(scopesOf('database'), [RULES, RULES, RULES]);
  assert.deepEqual(scopesOf('isolated'), [RULES, NONE, NONE]);
  assert.deepEqual(scopesOf('web_with_db'), [RULES, NONE, RULES]);
  assert.deepEqual(scopesOf('worker'), [RULES, ANY, RULES]);
  assert.deepEqual(scopesOf('ci'), [RULES, RULES, RULES]);
  assert.deepEqual(scopesOf('ai_agent'), [RULES, RULES, RULES]);
});

describe('what programs of Debian 12 were seen to open, their roles grant:', () => {
  // Gathered with strace -f -e trace=file; links are followed.
  const everywhere = [
    '/etc/ld.so.cache',
    '/usr/lib/x86_64-linux-gnu/libc.so.6',
    '/usr/lib/locale/C.utf8/LC_CTYPE',
    '/etc/locale.alias',
    '/usr/share/zoneinfo/Etc/UTC',
    '/etc/ssl/openssl.cnf',
    '/etc/nsswitch.conf',
    '/etc/passwd',
    '/etc/group',
    '/proc/filesystems',
    '/proc/sys/kernel/ngroups_max',
    '/sys/devices/system/cpu/online',
  ];
  const seen: Record<string, { role: string; read: string[]; write: string[] }> = {
    'id(1) and ls(1)': { role: 'restricted', read: [], write: ['/dev/null'] },
    nginx: {
      role: 'webserver',
      read: [
        '/etc/nginx/nginx.conf',
        '/etc/nginx/mime.types',
        '/etc/nginx/sites-available/default',
        '/usr/share/nginx/modules-available/mod-http-echo.conf',
        '/usr/lib/nginx/modules/ngx_http_echo_module.so',
        '/run/systemd/userdb',
        '/var/www/html/index.nginx-debian.html',
      ],
      write: [
        '/run/nginx.pid',
        '/var/log/nginx/access.log',
        '/var/log/nginx/error.log',
        '/var/lib/nginx/body',
      ],
    },
    PostgreSQL: {
      role: 'database',
      read: [
        '/etc/postgresql/15/main/postgresql.conf',
        '/etc/ssl/certs/ssl-cert-snakeoil.pem',
        '/etc/ssl/private/ssl-cert-snakeoil.key',
        '/proc/1/status',
        '/proc/sys/kernel/cap_last_cap',
        '/usr/lib/postgresql/15/lib',
        '/usr/share/postgresql/15/timezonesets/Default',
      ],
      write: [
        '/dev/shm/PostgreSQL.1',
        '/run/postgresql/.s.PGSQL.5432.lock',
        '/var/lib/postgresql/15/main/base',
      ],
    },
    Redis: {
      role: 'database',
      read: [
        '/dev/urandom',
        '/etc/redis/redis.conf',
        '/proc/sys/net/core/somaxconn',
        '/proc/sys/vm/overcommit_memory',
        '/sys/devices/system/clocksource/clocksource0/current_clocksource',
        '/sys/kernel/mm/transparent_hugepage/enabled',
      ],
      write: ['/run/redis/redis-server.pid', '/var/lib/redis/dump.rdb', '/var/log/redis/redis-server.log'],
    },
    'a shell script': {
      role: 'worker',
      read: ['/usr/bin/env', '/etc/profile'],
      write: ['/tmp/x', '/dev/shm/x'],
    },
  };
  for (const [program, { role, read, write }] of Object.entries(seen))
    test(program, () => {
      const may = onDebian(role);
      for (const path of [...everywhere, ...read]) assert.ok(may(path, Access.READ), `read ${path}`);
      for (const path of write) assert.ok(may(path, Access.READ | Access.WRITE), `write ${path}`);
    });
});

test('no role but those for any file may read secrets or write programs', () => {
  for (const { name, files: scope } of roles.values()) {
    if (scope === Scope.ANY || name === 'isolated') continue;
    const may = onDebian(name);
    for (const path of [
      '/etc/shadow',
      '/root/.ssh/id_ed25519',
      '/home/u/.bash_history',
      '/proc/1/environ',
      '/dev/mem',
    ])
      assert.ok(!may(path, Access.READ), `${name} reads ${path}`);
    for (const path of [
      '/usr/bin/id',
      '/usr/lib/x86_64-linux-gnu/libc.so.6',
      '/etc/passwd',
      '/etc/nginx/nginx.conf',
    ])
      assert.ok(!may(path, Access.WRITE), `${name} writes ${path}`);
  }
});

test('@secrets covers what lets one become somebody else, and nothing that programs need to start', () => {
  const text = 'version: 1\nroles: {careful: {id: 900, files: {read: [/], deny: ["@secrets"]}}}';
  const careful = resolve([...policies, parse(Buffer.from(text), 'careful.yaml')]).get('careful');
  assert.ok(careful);
  const compiled = compile(
    [locate(careful, () => undefined)],
    parseMountinfo(Buffer.from('20 1 8:1 / / rw - ext4 /dev/sda1 rw\n')),
  );
  const may = (path: string) =>
    decide(compiled, { device: (8 << 20) | 1, path, access: Access.READ }).granted;
  for (const path of [
    ...[
      '/etc/shadow',
      '/etc/shadow-',
      '/etc/ssh/ssh_host_ed25519_key',
      '/run/secrets/token',
      '/root/.ssh/id_rsa',
    ],
    ...[
      '/home/ann/.aws/credentials',
      '/home/ann/.bash_history',
      '/home/ann/.config/google-chrome-beta/Default',
    ],
    ...[
      '/home/ann/.npmrc',
      '/home/ann/.cargo/credentials.toml',
      '/var/lib/jenkins/.ssh/id_rsa',
      '/proc/kcore',
    ],
  ])
    assert.ok(!may(path), path);
  for (const path of [
    '/etc/passwd',
    '/etc/ssh/ssh_config',
    '/home/ann/.bashrc',
    '/home/ann/.cargo/bin/cargo',
    '/usr',
  ])
    assert.ok(may(path), path);
});

describe('the form for the launcher', () => {
  test('holds the roles, ready for use, and the policies, to be resolved with others', () => {
    const builtIn = decodeBuiltIn(encodeBuiltIn(policies));
    assert.deepEqual(new Map(builtIn.names.map((name) => [name, builtIn.role(name)])), roles);
    assert.equal(builtIn.role('no such role'), undefined);
    const own = parse(Buffer.from('version: 1\nroles: {mine: {id: 900, extends: [webserver]}}'), 'mine.yaml');
    const mine = resolve([...builtIn.policies(), own]).get('mine');
    assert.deepEqual(mine?.paths, roleOf('webserver').paths);
  });

  test('is refused when another version wrote it', () => {
    assert.throws(() => decodeBuiltIn('{"format": "other", "names": []}\n'), /run: npm run build/);
    assert.throws(() => decodeBuiltIn(''), /run: npm run build/);
  });

  test('is what the build writes', (t) => {
    const directory = mkdtempSync(join(tmpdir(), 'jailrun-builtin-'));
    t.after(() => rmSync(directory, { recursive: true }));
    const out = join(directory, 'roles.jsonl');
    const main = fileURLToPath(new URL('../../src/profiles/precompile.js', import.meta.url));
    execFileSync(process.execPath, [main, out]);
    assert.equal(readFileSync(out, 'utf8'), encodeBuiltIn(policies));
    assert.throws(() => execFileSync(process.execPath, [main], { stdio: 'pipe' }), /usage/);
  });
});

test('the powers are those that its programs need to start', () => {
  const allowed = Object.fromEntries([...roles.values()].map(({ name, allow }) => [name, allow]));
  assert.deepEqual(allowed, {
    restricted: [],
    permissive: 'any',
    webserver: ['setuid'],
    database: ['setuid'],
    isolated: [],
    web_with_db: ['setuid'],
    worker: [],
    ci: [],
    ai_agent: [],
  });
});

describe('no built-in role opens what others outside act upon:', () => {
  const asking = parse(
    Buffer.from('version: 1\nroles: {asking: {id: 9000, files: {read: ["@deputies"]}}}'),
    'asking.yaml',
  );
  const deputies = resolve([...policies, asking]).get('asking')?.paths ?? [];
  const paths = deputies.map(({ text }) => text.replace(/\[(.)[^\]]*\]/g, '$1').replaceAll('*', '1'));
  for (const name of roles.keys())
    if (name !== 'permissive')
      test(name, () => {
        const may = onDebian(name);
        for (const path of paths)
          for (const access of [Access.WRITE, Access.CONNECT])
            for (const object of [path, `${path}/below`]) assert.ok(!may(object, access), object);
      });
  test('but the one that permits everything', () => {
    assert.ok(paths.length > 150);
    for (const path of paths) assert.ok(onDebian('permissive')(path, Access.WRITE), path);
  });
});
