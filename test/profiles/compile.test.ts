import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { Access, KeyKind, Limit, Reason, Role, Rule, RuleFlag, RuleKey, Scope } from '../../src/abi.js';
import { type CompiledRole, compile, decide } from '../../src/profiles/compile.js';
import { locate } from '../../src/profiles/locate.js';
import { type Mount, parseMountinfo } from '../../src/profiles/mounts.js';
import { type PathSection, PolicyError, type ResolvedRole } from '../../src/profiles/policy.js';
import { powerMask } from '../../src/profiles/powers.js';
import { modelRole, namespaceOf, plainPath, wild } from './arbitrary.js';
import {
  allPaths,
  deciding,
  execOrder,
  fileOrder,
  isHidden,
  type ModelRole,
  type ModelRule,
  mayExec,
  mayRead,
  mayUseSocket,
  mayWrite,
  Namespace,
  namesOfObjects,
  objectKey,
  pathText,
} from './model.js';

type Lists = Partial<Record<'read' | 'write' | 'deny' | 'exec', string[]>>;
const sections: Record<keyof Lists, PathSection> = {
  read: 'files.read',
  write: 'files.write',
  deny: 'files.deny',
  exec: 'exec',
};

function roleOf(lists: Lists, changes: Partial<ResolvedRole> = {}): ResolvedRole {
  const names = Object.keys(lists) as (keyof Lists)[];
  const paths = names.flatMap((name) =>
    (lists[name] ?? []).map((text, i) => ({
      section: sections[name],
      text,
      file: 'p.yaml',
      line: i + 1,
      column: 1,
    })),
  );
  return {
    name: 'r',
    id: 3,
    description: '',
    sections: {},
    audit: false,
    files: Scope.RULES,
    exec: lists.exec ? Scope.RULES : Scope.NONE,
    network: Scope.NONE,
    allow: [],
    jit: true,
    kills: false,
    paths,
    addresses: [],
    abstracts: [],
    vars: [],
    place: { file: 'p.yaml', line: 1, column: 1 },
    ...changes,
  };
}

function compileFor(mounts: Mount[], lists: Lists, changes: Partial<ResolvedRole> = {}): CompiledRole {
  return compile([locate(roleOf(lists, changes), () => undefined)], mounts);
}

function mountsOf(...lines: string[]): Mount[] {
  return parseMountinfo(Buffer.from(lines.map((line) => `${line}\n`).join('')));
}

function mountsIn(namespace: Namespace): Mount[] {
  return mountsOf(...namespace.lines());
}

const rootOnly = mountsOf('20 1 8:1 / / rw - ext4 /dev/sda1 rw');
const disk = (8 << 20) | 1;

function may(compiled: CompiledRole, device: number, path: string, access: number): boolean {
  return decide(compiled, { device, path, access }).granted;
}

describe('a rule', () => {
  const compiled = compileFor(rootOnly, {
    read: ['/srv', '/var/log/old'],
    write: ['/var/log'],
    deny: ['/srv/private'],
    exec: ['/usr/bin/id'],
  });

  test('covers the object that it names and what is below', () => {
    assert.ok(may(compiled, disk, '/srv', Access.READ));
    assert.ok(may(compiled, disk, '/srv/www/index.html', Access.READ));
  });

  test('does not cover what only begins with the same letters', () => {
    assert.ok(!may(compiled, disk, '/srv2', Access.READ));
  });

  test('does not cover the directories above', () => {
    assert.ok(!may(compiled, disk, '/', Access.READ));
    assert.ok(!may(compiled, disk, '/var', Access.READ));
  });

  test('for reading does not grant writing', () => {
    assert.ok(!may(compiled, disk, '/srv/www', Access.WRITE));
  });

  test('for writing grants reading too', () => {
    assert.ok(may(compiled, disk, '/var/log/x', Access.READ | Access.WRITE));
  });

  test('for reading below one for writing makes that part read-only', () => {
    assert.ok(may(compiled, disk, '/var/log/old/x', Access.READ));
    assert.ok(!may(compiled, disk, '/var/log/old/x', Access.WRITE));
  });

  test('that denies takes reading away below a rule that grants it', () => {
    assert.ok(!may(compiled, disk, '/srv/private/key', Access.READ));
  });

  test('for exec grants exec alone', () => {
    assert.ok(may(compiled, disk, '/usr/bin/id', Access.EXEC));
    assert.ok(!may(compiled, disk, '/usr/bin/id', Access.READ));
    assert.ok(!may(compiled, disk, '/usr/bin/env', Access.EXEC));
  });

  test('that decides is named by its number, and 0 stands for none', () => {
    const numberOf = (path: string, access: number) => decide(compiled, { device: disk, path, access }).rule;
    assert.equal(compiled.rules[numberOf('/srv/private/key', Access.READ) - 1]?.text, '/srv/private');
    assert.equal(compiled.rules[numberOf('/var/log/old', Access.WRITE) - 1]?.text, '/var/log/old');
    assert.equal(numberOf('/etc/shadow', Access.READ), 0);
  });

  test('for / covers every object that has a name', () => {
    const all = compileFor(rootOnly, { read: ['/'] });
    assert.ok(may(all, disk, '/', Access.READ));
    assert.ok(may(all, disk, '/etc/shadow', Access.READ));
  });

  test('of equal depth that denies wins, then one that grants writing', () => {
    const tied = compileFor(rootOnly, {
      read: ['/a', '/b'],
      write: ['/a', '/b'],
      deny: ['/b'],
      exec: ['/b'],
    });
    assert.ok(may(tied, disk, '/a', Access.WRITE));
    assert.ok(!may(tied, disk, '/b', Access.READ));
    assert.ok(!may(tied, disk, '/b', Access.EXEC));
  });

  test('that denies takes exec away unless a deeper exec rule grants it again', () => {
    const denied = compileFor(rootOnly, { deny: ['/opt/x'], exec: ['/opt', '/opt/x/bin'] });
    assert.ok(may(denied, disk, '/opt/y', Access.EXEC));
    assert.ok(!may(denied, disk, '/opt/x/y', Access.EXEC));
    assert.ok(may(denied, disk, '/opt/x/bin/y', Access.EXEC));
  });

  test('that denies also holds under `exec: any`', () => {
    const compiledAny = compileFor(rootOnly, { read: ['/'], deny: ['/opt/x'] }, { exec: Scope.ANY });
    assert.ok(may(compiledAny, disk, '/opt/y', Access.EXEC));
    assert.ok(!may(compiledAny, disk, '/opt/x/y', Access.EXEC));
  });
});

describe('names', () => {
  test('of any bytes are told apart', () => {
    const compiled = compileFor(rootOnly, { read: ['/Bücher/ a\n'] });
    assert.ok(may(compiled, disk, '/Bücher/ a\n', Access.READ));
    assert.ok(!may(compiled, disk, '/Bucher/ a\n', Access.READ));
  });

  test('of the longest possible length are told from longer ones', () => {
    const name = 'n'.repeat(Limit.MAX_NAME);
    const compiled = compileFor(rootOnly, { read: ['/'], deny: [`/${name}`] });
    assert.ok(!may(compiled, disk, `/${name}`, Access.READ));
    assert.ok(may(compiled, disk, `/${name}n`, Access.READ));
  });
});

describe('a rule with wildcards', () => {
  const read = (compiled: CompiledRole, path: string) => may(compiled, disk, path, Access.READ);
  test('covers what its pattern matches and all below that', () => {
    const compiled = compileFor(rootOnly, { read: ['/run/nginx*.pid', '/srv/?/log', '/srv/[0-9]'] });
    for (const path of ['/run/nginx.pid', '/run/nginx-2.pid/x', '/srv/a/log/x', '/srv/ü/log', '/srv/7/y'])
      assert.ok(read(compiled, path), path);
    for (const path of ['/run/nginx.pid2', '/run/x/nginx.pid', '/srv/ab/log', '/srv/a', '/srv/77', '/run'])
      assert.ok(!read(compiled, path), path);
  });
  test('matches any number of components with **, none included', () => {
    const compiled = compileFor(rootOnly, { read: ['/srv'], deny: ['/srv/**/.git', '/**/id_*'] });
    for (const path of ['/srv/.git', '/srv/a/b/.git/config', '/srv/id_rsa', '/srv/.git/x/.git'])
      assert.ok(!read(compiled, path), path);
    for (const path of ['/srv', '/srv/git', '/srv/a/.github', '/srv/a/x_id_rsa'])
      assert.ok(read(compiled, path), path);
  });
  test('that matches more of the name outweighs one that matches less', () => {
    const compiled = compileFor(rootOnly, { deny: ['/srv/*'], read: ['/srv/*/public', '/srv/open'] });
    assert.ok(read(compiled, '/srv/a/public/x'));
    assert.ok(!read(compiled, '/srv/a/private'));
    assert.ok(!read(compiled, '/srv/open'), 'a tie, and deny wins');
  });
  test('at its end ** says nothing more than that all below is covered', () => {
    const compiled = compileFor(rootOnly, { read: ['/srv/**'], deny: ['/srv/private'] });
    assert.ok(read(compiled, '/srv'));
    assert.ok(!read(compiled, '/srv/private/x'));
  });
  test('names a character of its own in brackets', () => {
    const compiled = compileFor(rootOnly, { read: ['/srv/[*]', '/srv/a[[]b'] });
    assert.ok(read(compiled, '/srv/*') && read(compiled, '/srv/a[b'));
    assert.ok(!read(compiled, '/srv/x'));
    assert.equal(compiled.globs.length, 0);
  });
  test('matches names that are longer than a rule can spell out', () => {
    const compiled = compileFor(rootOnly, { read: ['/srv/*.log'] });
    assert.ok(read(compiled, `/srv/${'n'.repeat(251)}.log`));
    assert.ok(!read(compiled, `/srv/${'n'.repeat(255)}`));
  });
  test('finds mount points that it matches, and sees nothing under them', () => {
    const mounts = mountsOf('20 1 8:1 / / rw - ext4 /dev/a rw', '21 20 8:2 / /srv/data rw - ext4 /dev/b rw');
    const compiled = compileFor(mounts, { read: ['/srv/*'] });
    assert.ok(may(compiled, (8 << 20) | 2, '/x', Access.READ));
    assert.ok(!may(compiled, disk, '/srv/data/x', Access.READ));
    assert.ok(may(compiled, disk, '/srv/other', Access.READ));
  });
  test('that would need too large a table is refused with its place', () => {
    const read = Array.from({ length: 14 }, (_, i) => `/**/${'?'.repeat(i + 8)}x*${i}*y*z`);
    assert.throws(
      () => compileFor(rootOnly, { read }),
      /p\.yaml:1:1: roles\.r: role r compiles to more than/,
    );
  });
  test('costs a compiler no explosion with thousands of rules', () => {
    const read = Array.from({ length: 4000 }, (_, i) => `/srv/site-${i % 50}/${i}/*.html`);
    const deny = Array.from({ length: 3 }, (_, i) => `/srv/**/.secret-${i}`);
    const begin = process.cpuUsage();
    const compiled = compileFor(rootOnly, { read, deny });
    const { user, system } = process.cpuUsage(begin);
    assert.ok(may(compiled, disk, '/srv/site-7/57/index.html', Access.READ));
    assert.ok(!may(compiled, disk, '/srv/site-7/57/.secret-2/index.html', Access.READ));
    // Half a second where nothing else runs; what explodes takes minutes.
    assert.ok(user + system < 10_000_000, `${user + system} µs`);
  });
});

describe('mounts', () => {
  const nameOf = (length: number) => 'n'.repeat(length);

  test('below a rule are covered by it', () => {
    const namespace = new Namespace(1);
    namespace.mount(['srv', 'data'], 2, []);
    const compiled = compileFor(mountsIn(namespace), { read: ['/srv'] });
    assert.ok(may(compiled, 1, '/srv/x', Access.READ));
    assert.ok(may(compiled, 2, '/x', Access.READ));
  });

  test('are named by rules inside of them, and what they hide is not', () => {
    const namespace = new Namespace(1);
    namespace.mount(['srv', 'data'], 2, []);
    const compiled = compileFor(mountsIn(namespace), { read: ['/srv/data/x'] });
    assert.ok(may(compiled, 2, '/x', Access.READ));
    assert.ok(!may(compiled, 2, '/y', Access.READ));
    assert.ok(!may(compiled, 1, '/srv/data/x', Access.READ));
  });

  test('hide the directory under them even from a rule above', () => {
    const namespace = new Namespace(1);
    namespace.mount(['srv', 'data'], 2, []);
    const compiled = compileFor(mountsIn(namespace), { read: ['/'] });
    assert.ok(!may(compiled, 1, '/srv/data/x', Access.READ));
    assert.ok(may(compiled, 1, '/srv/x', Access.READ));
  });

  test('that bind a directory give its objects a second name, and the deeper rule decides for both', () => {
    const namespace = new Namespace(1);
    namespace.bind(['srv', 'private'], ['mnt', 'x', 'y']);
    const deny = compileFor(mountsIn(namespace), { read: ['/mnt'], deny: ['/srv/private'] });
    assert.ok(!may(deny, 1, '/srv/private/key', Access.READ));
    const grant = compileFor(mountsIn(namespace), { read: ['/mnt/x/y'], deny: ['/srv/private'] });
    assert.ok(may(grant, 1, '/srv/private/key', Access.READ));
    assert.ok(!may(grant, 1, '/srv', Access.READ));
  });

  test('of a subvolume grant nothing above it', () => {
    const compiled = compileFor(mountsOf('20 1 0:30 /@ / rw - btrfs /dev/sda rw'), { write: ['/'] });
    assert.ok(may(compiled, 30, '/@/etc', Access.WRITE));
    assert.ok(!may(compiled, 30, '/@home/u', Access.READ));
    assert.ok(!may(compiled, 30, '/', Access.READ));
  });

  test('that were not there are unknown file systems', () => {
    const compiled = compileFor(rootOnly, { read: ['/'] });
    const decision = decide(compiled, { device: 99, path: '/', access: Access.READ });
    assert.deepEqual(decision, { granted: false, rule: 0, reason: Reason.UNKNOWN_DEVICE });
  });

  test('that had the device number before or get it later are other file systems', () => {
    const second = rootOnly.map((mount) => ({ ...mount, epoch: 1 }));
    const compiled = compileFor(second, { read: ['/'] });
    const reasons = [0, 1, 2].map(
      (epoch) => decide(compiled, { device: disk, epoch, path: '/', access: Access.READ }).reason,
    );
    assert.deepEqual(reasons, [Reason.UNKNOWN_DEVICE, Reason.RULE, Reason.UNKNOWN_DEVICE]);
    assert.notEqual(compiled.digest, compileFor(rootOnly, { read: ['/'] }).digest);
  });

  test('of removed directories give no names', () => {
    const mounts = mountsOf(
      '20 1 0:1 / / rw - ext4 x rw',
      '21 20 0:1 /old//deleted /a rw - ext4 x rw',
      '22 20 0:2 /x//deleted /b rw - ext4 x rw',
    );
    const compiled = compileFor(mounts, { read: ['/a', '/b'] });
    for (const path of ['/old', '/old/deleted']) assert.ok(!may(compiled, 1, path, Access.READ));
    for (const path of ['/x', '/x/deleted']) assert.ok(!may(compiled, 2, path, Access.READ));
  });

  test('of namespace files give no names', () => {
    const mounts = mountsOf(
      '20 1 0:1 / / rw - ext4 x rw',
      '21 20 0:4 net:[4026531840] /run/n rw - nsfs nsfs rw',
    );
    const compiled = compileFor(mounts, { read: ['/'] });
    for (const path of ['/', '/net:[4026531840]']) assert.ok(!may(compiled, 4, path, Access.READ));
  });

  test('with blanks in their paths are recognized', () => {
    const mounts = mountsOf('20 1 0:1 / / rw - ext4 x rw', '21 20 0:2 /a\\040b /mnt/c\\011d rw - ext4 x rw');
    assert.ok(may(compileFor(mounts, { read: ['/mnt/c\td/e'] }), 2, '/a b/e', Access.READ));
  });

  test('on a name that is too long for a rule are no obstacle while no rule needs it', () => {
    const namespace = new Namespace(1);
    namespace.mount([nameOf(200)], 2, []);
    const compiled = compileFor(mountsIn(namespace), { read: ['/srv'], deny: ['/srv/x'] });
    assert.ok(may(compiled, 1, '/srv/y', Access.READ));
    assert.ok(!may(compiled, 2, '/', Access.READ));
  });

  test('of a directory whose name is too long for a rule are refused when a rule needs it', () => {
    const namespace = new Namespace(1);
    namespace.bind([nameOf(200)], ['mnt']);
    assert.throws(
      () => compileFor(mountsIn(namespace), { read: ['/'], deny: ['/mnt/x'] }),
      (error) => error instanceof PolicyError && /component of 200 bytes/.test(error.message),
    );
  });
});

describe('scopes', () => {
  test('that need no rules compile to no entries', () => {
    for (const scope of [Scope.ANY, Scope.NONE]) {
      const compiled = compileFor(rootOnly, {}, { files: scope, exec: scope, network: scope });
      assert.equal(compiled.entries.length, 0);
      const has = scope === Scope.ANY;
      const powers = powerMask([], { files: has, bind: has });
      const role = { id: 3, files: scope, exec: scope, network: scope, flags: 0, powers };
      assert.deepEqual(Role.decode(compiled.role), role);
      assert.equal(may(compiled, 99, '/x', Access.READ), scope === Scope.ANY);
      assert.equal(may(compiled, 99, '/x', Access.EXEC), scope === Scope.ANY);
    }
  });

  test('of exec rules without file rules compile the exec rules', () => {
    const compiled = compileFor(rootOnly, { exec: ['/usr/bin'] }, { files: Scope.ANY });
    assert.ok(may(compiled, disk, '/usr/bin/id', Access.EXEC));
    assert.ok(!may(compiled, disk, '/tmp/x', Access.EXEC));
    assert.ok(may(compiled, disk, '/tmp/x', Access.WRITE));
  });
});

describe('the compiled form', () => {
  test('ends walks where nothing below changes the answer', () => {
    const compiled = compileFor(rootOnly, { read: ['/srv', '/srv/www'] });
    const values = compiled.entries.map(([, value]) => Rule.decode(value));
    assert.equal(values.filter(({ flags, state }) => flags & RuleFlag.LEAF && state === 0).length, 1);
  });

  test('leaves out what changes nothing', () => {
    const namespace = new Namespace(1);
    namespace.mount(['opt', 'a', 'b'], 2, []);
    const compiled = compileFor(mountsIn(namespace), { read: ['/srv'] });
    const names = compiled.entries
      .map(([key]) => RuleKey.decode(key))
      .filter(({ kind }) => kind === KeyKind.NAME);
    assert.equal(names.length, 1);
  });

  test('joins states that answer alike', () => {
    const namespace = new Namespace(1);
    namespace.mount(['a'], 2, []);
    namespace.mount(['b'], 2, []);
    const once = compileFor(mountsIn(namespace), { deny: ['/a/x/y', '/b/x/y'], read: ['/'] });
    const names = once.entries
      .map(([key]) => RuleKey.decode(key))
      .filter(({ kind }) => kind === KeyKind.NAME);
    assert.equal(names.length, 2 + 2);
  });

  test('has entries sorted by key, and a digest that tells roles apart', () => {
    const one = compileFor(rootOnly, { read: ['/srv', '/etc'] });
    const other = compileFor(rootOnly, { write: ['/srv', '/etc'] });
    const keys = one.entries.map(([key]) => Buffer.from(key));
    assert.deepEqual(keys, keys.toSorted(Buffer.compare));
    assert.notEqual(one.digest, other.digest);
    assert.equal(one.digest, compileFor(rootOnly, { read: ['/srv', '/etc'] }, { name: 'x' }).digest);
    assert.notEqual(one.digest, compileFor(rootOnly, { read: ['/srv', '/etc'] }, { id: 4 }).digest);
  });
});

describe('on random rules and mounts', () => {
  const scopes = { any: Scope.ANY, none: Scope.NONE, rules: Scope.RULES };
  const compileModel = (role: ModelRole, mounts: Mount[]) => {
    const lists: Lists = {};
    for (const { section, path } of role.rules) lists[section] = [...(lists[section] ?? []), pathText(path)];
    return compileFor(mounts, lists, { exec: scopes[role.exec] });
  };
  const objects = [1, 2, 3].flatMap((device) =>
    allPaths(['a', 'b', 'c'], 3).map((path) => ({ device, path })),
  );
  const visible = allPaths(['a', 'b', 'c'], 6);

  const socketRule = fc.record({
    section: fc.constantFrom<PathSection>(
      'network.connect',
      'network.deny',
      'files.read',
      'files.write',
      'files.deny',
    ),
    path: fc.oneof(plainPath, fc.array(wild, { maxLength: 4 })),
  });

  test('the rules for sockets and those for files decide together as the model says', () => {
    fc.assert(
      fc.property(fc.array(socketRule, { maxLength: 7 }), namespaceOf, (rules, namespace) => {
        const paths = rules.map(({ section, path }) => {
          const text = `${section.startsWith('network') ? 'unix:' : ''}${pathText(path)}`;
          return { section, text, file: 'p.yaml', line: 1, column: 1 };
        });
        const own: ModelRule[] = rules.flatMap(({ section, path }): ModelRule[] => {
          if (section === 'network.connect') return [{ section: 'exec', path }];
          return section.endsWith('.deny') ? [{ section: 'deny', path }] : [];
        });
        const files: ModelRule[] = rules.flatMap(({ section, path }): ModelRule[] => {
          const [part, list] = section.split('.');
          return part === 'files' ? [{ section: list as ModelRule['section'], path }] : [];
        });
        const compiled = compileFor(
          mountsIn(namespace),
          {},
          { files: Scope.RULES, network: Scope.RULES, paths },
        );
        const namesOf = namesOfObjects(namespace, visible);
        for (const object of objects) {
          const names = namesOf.get(objectKey(object)) ?? [];
          const at = { device: object.device, path: pathText(object.path) };
          const { granted } = decide(compiled, { ...at, access: Access.CONNECT });
          const told = `${objectKey(object)} known as ${names.map(pathText).join(' ')}`;
          assert.equal(granted, mayUseSocket(own, files, names), told);
        }
      }),
      { numRuns: 400 },
    );
  });

  test('the compiled form answers as the model does', () => {
    fc.assert(
      fc.property(modelRole, namespaceOf, (role, namespace) => {
        const compiled = compileModel(role, mountsIn(namespace));
        const namesOf = namesOfObjects(namespace, visible);
        for (const object of objects) {
          const names = namesOf.get(objectKey(object)) ?? [];
          const at = { device: object.device, path: pathText(object.path) };
          const read = decide(compiled, { ...at, access: Access.READ });
          const write = decide(compiled, { ...at, access: Access.WRITE });
          const exec = decide(compiled, { ...at, access: Access.EXEC });
          const told = `${objectKey(object)} known as ${names.map(pathText).join(' ')}`;
          assert.equal(read.granted, mayRead(role, names), `read ${told}`);
          assert.equal(write.granted, mayWrite(role, names), `write ${told}`);
          assert.equal(exec.granted, mayExec(role, names), `exec ${told}`);
          const hidden = decide(compiled, { ...at, access: Access.HIDDEN });
          assert.equal(hidden.granted, isHidden(role, names), `hide ${told}`);
          const textOf = ({ section, path }: ModelRule) => `${sections[section]} ${pathText(path)}`;
          for (const [decision, order] of [
            [read, fileOrder],
            [exec, execOrder],
          ] as const) {
            if (decision === exec && role.exec !== 'rules') continue;
            const decided = compiled.rules[decision.rule - 1];
            const expected = deciding(role.rules, names, order).map(textOf);
            if (decided) assert.ok(expected.includes(`${decided.section} ${decided.text}`), told);
            else assert.deepEqual(expected, [], told);
          }
        }
      }),
      { numRuns: 150 },
    );
  });

  test('the order of rules and of mount lines changes no answer', () => {
    fc.assert(
      fc.property(modelRole, namespaceOf, fc.infiniteStream(fc.nat()), (role, namespace, random) => {
        const shuffle = <T>(list: T[]): T[] =>
          list
            .map((item) => ({ item, at: random.next().value }))
            .sort((a, b) => a.at - b.at)
            .map(({ item }) => item);
        const mounts = mountsIn(namespace);
        const compiled = compileModel(role, mounts);
        assert.equal(compileModel(role, shuffle(mounts)).digest, compiled.digest);
        const shuffled = compileModel({ ...role, rules: shuffle(role.rules) }, mounts);
        for (const { device, path } of objects)
          for (const access of [Access.READ, Access.WRITE, Access.EXEC])
            assert.equal(
              may(shuffled, device, pathText(path), access),
              may(compiled, device, pathText(path), access),
              `${device}:${pathText(path)}`,
            );
      }),
      { numRuns: 50 },
    );
  });
});
