import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Scope } from '../../src/abi.js';
import { parse } from '../../src/profiles/parse.js';
import { PolicyError, type ResolvedRole } from '../../src/profiles/policy.js';
import { resolve } from '../../src/profiles/resolve.js';

/** Resolves policies whose bodies are given; they are called a.yaml, b.yaml and so on. */
function resolveAll(...bodies: string[]): Map<string, ResolvedRole> {
  return resolve(bodies.map((body, i) => parse(Buffer.from(`version: 1\n${body}`), `${'abc'[i]}.yaml`)));
}

function roleOf(name: string, ...bodies: string[]): ResolvedRole {
  const role = resolveAll(...bodies).get(name);
  assert.ok(role);
  return role;
}

function rulesOf(role: ResolvedRole): string[] {
  return [...role.paths, ...role.addresses, ...role.abstracts].map(
    ({ section, text }) => `${section} ${text}`,
  );
}

function messagesOf(...bodies: string[]): string[] {
  try {
    resolveAll(...bodies);
  } catch (error) {
    if (error instanceof PolicyError) return error.message.split('\n');
    throw error;
  }
  return assert.fail('the policies were accepted');
}

describe('a role', () => {
  test('that says nothing is granted nothing', () => {
    const { files, exec, network, audit } = roleOf('a', 'roles: {a: {id: 1}}');
    assert.deepEqual([files, exec, network, audit], [Scope.NONE, Scope.NONE, Scope.NONE, false]);
  });

  test('keeps each rule with its section and place', () => {
    const body = `roles:
  a:
    id: 1
    files: {read: [/r], write: [/w], deny: [/d]}
    exec: [/x]
    network: {bind: [tcp:80], connect: [udp:53]}`;
    const role = roleOf('a', body);
    assert.deepEqual(rulesOf(role), [
      'files.read /r',
      'files.write /w',
      'files.deny /d',
      'exec /x',
      'network.bind tcp:80',
      'network.connect udp:53',
    ]);
    assert.deepEqual(role.paths[1], {
      section: 'files.write',
      text: '/w',
      file: 'a.yaml',
      line: 5,
      column: 33,
    });
    assert.deepEqual([role.addresses[1]?.protocol, role.addresses[1]?.first], [17, 53]);
    assert.deepEqual([role.files, role.exec, role.network], [Scope.RULES, Scope.RULES, Scope.RULES]);
  });

  test('keeps its own place, and for each section the place of the last word on it', () => {
    const bases = 'roles:\n  base:\n    id: 1\n    files: any\n    exec: none';
    const role = roleOf('a', bases, 'roles:\n  a:\n    id: 2\n    extends: [base]\n    exec: any');
    assert.deepEqual(role.place, { file: 'b.yaml', line: 3, column: 3 });
    assert.deepEqual(role.sections, {
      files: { file: 'a.yaml', line: 5, column: 5 },
      exec: { file: 'b.yaml', line: 6, column: 5 },
    });
  });

  test('survives a way through JSON', () => {
    const role = roleOf('a', 'sets: {s: [/x]}\nroles: {a: {id: 1, exec: ["@s"], network: {bind: [tcp:80]}}}');
    assert.deepEqual(JSON.parse(JSON.stringify(role)), role);
  });
});

describe('extends', () => {
  const bases = `roles:
  one: {id: 1, files: {read: [/one]}, exec: any, network: {bind: [tcp:1]}, mode: audit}
  two: {id: 2, files: {read: [/two], deny: [/no]}, exec: none, network: any}
`;

  test('appends lists from left to right, the own ones last', () => {
    const role = roleOf('a', bases, 'roles: {a: {id: 3, extends: [two, one], files: {read: [/own]}}}');
    assert.deepEqual(
      rulesOf(role).filter((rule) => rule.startsWith('files')),
      ['files.read /two', 'files.deny /no', 'files.read /one', 'files.read /own'],
    );
  });

  test('lets the later single value override the earlier', () => {
    assert.equal(roleOf('a', bases, 'roles: {a: {id: 3, extends: [one, two]}}').exec, Scope.NONE);
    assert.equal(roleOf('a', bases, 'roles: {a: {id: 3, extends: [two, one]}}').exec, Scope.ANY);
    assert.equal(roleOf('a', bases, 'roles: {a: {id: 3, extends: [two, one], exec: none}}').exec, Scope.NONE);
  });

  test('lets `any` and `none` drop the lists below, and a list replace them', () => {
    const any = roleOf('a', bases, 'roles: {a: {id: 3, extends: [one], files: any, network: none}}');
    assert.deepEqual(rulesOf(any), []);
    assert.deepEqual([any.files, any.network], [Scope.ANY, Scope.NONE]);
    const list = roleOf('a', bases, 'roles: {a: {id: 3, extends: [one], exec: [/x]}}');
    assert.equal(list.exec, Scope.RULES);
    const replaced = roleOf('a', bases, 'roles: {a: {id: 3, extends: [two, one]}}');
    assert.deepEqual([replaced.network, rulesOf(replaced).at(-1)], [Scope.RULES, 'network.bind tcp:1']);
  });

  test('hands the mode on, but neither id nor description', () => {
    const body = 'roles: {a: {id: 3, extends: [one]}, b: {id: 4, extends: [one], mode: enforce}}';
    assert.equal(roleOf('a', bases, body).audit, true);
    assert.equal(roleOf('b', bases, body).audit, false);
    assert.equal(roleOf('a', bases, body).id, 3);
  });

  test('takes a base that comes by two ways once', () => {
    const chain = Array.from({ length: 40 }, (_, i) => {
      const last = i === 0 ? 'one' : `c${i - 1}`;
      return `  b${i}: {id: ${100 + i}, extends: [${last}]}\n  c${i}: {id: ${200 + i}, extends: [${last}, b${i}]}`;
    });
    assert.deepEqual(rulesOf(roleOf('c39', `${bases}${chain.join('\n')}`)), [
      'files.read /one',
      'network.bind tcp:1',
    ]);
  });

  test('refuses cycles, showing each once', () => {
    const cycle =
      'roles: {a: {id: 1, extends: [b]}, b: {id: 2, extends: [c]}, c: {id: 3, extends: [a]}, d: {id: 4, extends: [a]}}';
    const messages = messagesOf(cycle);
    assert.equal(messages.length, 1);
    assert.match(messages[0] ?? '', /^a\.yaml:2:\d+: roles\.c\.extends: a -> b -> c -> a is a cycle/);
    assert.match(messagesOf('roles: {a: {id: 1, extends: [a]}}')[0] ?? '', /a -> a is a cycle/);
  });

  test('refuses roles that nobody defines, with the nearest one', () => {
    assert.match(
      messagesOf('roles: {webserver: {id: 1}, a: {id: 2, extends: [websever]}}')[0] ?? '',
      /roles\.a\.extends: there is no role websever; did you mean webserver\?/,
    );
  });

  test('follows chains as long as a file may hold', () => {
    const chain = Array.from({ length: 20_000 }, (_, i) => `  r${i}: {id: ${i + 1}, extends: [r${i + 1}]}`);
    const roles = resolveAll(`roles:\n${chain.join('\n')}\n  r20000: {id: 30000, exec: any}`);
    assert.equal(roles.get('r0')?.exec, Scope.ANY);
  });
});

describe('sets', () => {
  test('stand for their paths, which keep their own places and the name of their set', () => {
    const role = roleOf(
      'a',
      'sets:\n  web: [/srv, "@base"]\n  base: [/lib]',
      'roles: {a: {id: 1, files: {read: [/x, "@web"]}}}',
    );
    assert.deepEqual(role.paths, [
      { section: 'files.read', text: '/x', file: 'b.yaml', line: 2, column: 35 },
      { section: 'files.read', text: '/srv', file: 'a.yaml', line: 3, column: 9, set: 'web' },
      { section: 'files.read', text: '/lib', file: 'a.yaml', line: 4, column: 10, set: 'base' },
    ]);
  });

  test('that overlap give each path once for each section', () => {
    const role = roleOf(
      'a',
      'sets: {s: [/x, /y], t: ["@s", /z]}\nroles: {a: {id: 1, files: {read: [/y, "@s", "@t"], write: ["@s"]}}}',
    );
    assert.deepEqual(rulesOf(role), [
      'files.read /y',
      'files.read /x',
      'files.read /z',
      'files.write /x',
      'files.write /y',
    ]);
  });

  test('that use each other are refused', () => {
    assert.match(messagesOf('sets: {a: ["@b"], b: ["@a"]}')[0] ?? '', /sets\.b: a -> b -> a is a cycle/);
  });

  test('that nobody defines are refused wherever they are used, with the nearest one', () => {
    const messages = messagesOf(
      'sets: {runtime: [/lib], s: ["@runtme"]}\nroles: {a: {id: 1, exec: ["@x"], files: {deny: ["@runtim"]}}}',
    );
    assert.equal(messages.length, 3);
    assert.match(messages.join('\n'), /sets\.s: there is no set @runtme; did you mean @runtime\?/);
    assert.match(messages.join('\n'), /roles\.a\.exec: there is no set @x; define it or correct the name/);
    assert.match(messages.join('\n'), /roles\.a\.files\.deny: there is no set @runtim/);
  });

  test('that double each other do not explode', () => {
    const doubling = Array.from(
      { length: 60 },
      (_, i) => `  s${i + 1}: ["@s${i}", "@t${i}"]\n  t${i + 1}: ["@s${i}", "@t${i}"]`,
    );
    const role = roleOf(
      'a',
      `sets:\n  s0: [/x]\n  t0: [/y]\n${doubling.join('\n')}\nroles: {a: {id: 1, exec: ["@s60"]}}`,
    );
    assert.deepEqual(rulesOf(role), ['exec /x', 'exec /y']);
  });
});

describe('over several files', () => {
  test('a role defined twice is refused with both places', () => {
    const messages = messagesOf('roles: {web: {id: 1}}', 'roles:\n  web: {id: 2}');
    assert.deepEqual(messages, [
      'b.yaml:3:3: roles.web: the role web is defined already, at a.yaml:2; give yours another name, and extends: [web] to build on it',
    ]);
  });

  test('a set defined twice is refused with both places', () => {
    assert.match(
      messagesOf('sets: {s: [/a]}', 'sets: {s: [/a]}')[0] ?? '',
      /^b\.yaml:2:8: sets\.s: .* at a\.yaml:2/,
    );
  });

  test('an id given twice is refused with both places', () => {
    assert.match(
      messagesOf('roles: {web: {id: 7}}', 'roles: {api: {id: 7}}')[0] ?? '',
      /^b\.yaml:2:19: roles\.api\.id: 7 is the id of role web already, at a\.yaml:2; choose another/,
    );
  });

  test('a base by a built-in role’s name is refused where one of them brings all its roles', () => {
    const builtIn = parse(Buffer.from('version: 1\nroles: {a: {id: 1}, b: {id: 2}}'), 'built-in/x.yaml');
    const own = parse(Buffer.from('version: 1\nroles: {a: {id: 1}}'), 'alone.json');
    for (const base of ['a', 'b']) {
      const mine = parse(Buffer.from(`version: 1\nroles: {c: {id: 3, extends: [${base}]}}`), 'p.yaml');
      assert.throws(() => resolve([builtIn, mine, { ...own, standsAlone: true }]), {
        message: `p.yaml:2:30: roles.c.extends: the built-in role ${base} is not there beside alone.json, which brings all its roles; write out what this role needs, or remove one of the two policies`,
      });
    }
  });

  test('all problems are reported at once', () => {
    assert.equal(
      messagesOf('roles: {a: {id: 1, extends: [x]}}', 'roles: {a: {id: 2}, b: {id: 1, exec: ["@y"]}}').length,
      4,
    );
  });
});

describe('what is enrolled', () => {
  test('has a role that is there and has no variables, and is enrolled once', () => {
    const lines = messagesOf(
      'roles: {web: {id: 1}, site: {id: 2, vars: [data]}}\nexecutables: {/a: wbe, /b: site, /c: web}',
      'cgroups: {/c: web}\nexecutables: {/c: web}',
    );
    assert.deepEqual(lines, [
      'a.yaml:3:19: executables."/a": there is no role wbe; did you mean web?',
      'a.yaml:3:28: executables."/b": role site has variables, which nothing binds here; write a role without',
      'b.yaml:3:15: executables."/c": is enrolled already, at a.yaml:3; keep one',
    ]);
  });
  test('of containers is said once, of roles that are there, by default of one without variables', () => {
    const lines = messagesOf(
      'roles: {web: {id: 1}, site: {id: 2, vars: [data]}}\ncontainers: {default: [site, wbe], roles: [web, ci]}',
      'containers: {roles: any}',
    );
    assert.deepEqual(lines, [
      'b.yaml:2:1: containers: a.yaml:3 says already which roles containers have; keep one',
      'a.yaml:3:30: containers: there is no role wbe; did you mean web?',
      'a.yaml:3:49: containers: there is no role ci; define it or correct the name',
      'a.yaml:3:24: containers.default: role site has variables, which a container that asks for nothing does not bind; write a role without',
    ]);
  });
  test('by attributes is said once, in roles that are there, without variables, and can be claimed', () => {
    const name = 'w'.repeat(60);
    const lines = messagesOf(
      `roles: {web: {id: 1}, site: {id: 2, vars: [data]}, ${name}: {id: 3}, ${'w'.repeat(59)}: {id: 4}}\nxattrs: {owners: [root], roles: [site, wbe, ${name}, web, ${'w'.repeat(59)}]}`,
      'xattrs: {owners: [root], roles: [web]}',
    );
    assert.deepEqual(lines, [
      'b.yaml:2:1: xattrs: a.yaml:3 says already which roles files may claim; keep one',
      'a.yaml:3:34: xattrs.roles: role site has variables, which a file that claims it does not bind; write a role without',
      'a.yaml:3:40: xattrs.roles: there is no role wbe; did you mean web?',
      `a.yaml:3:45: xattrs.roles: ${name} is longer than the 59 bytes that a file can claim; give the role a shorter name`,
    ]);
  });
  test('by the socket is what a role and those that it extends say', () => {
    const role = roleOf(
      'b',
      'roles: {a: {id: 1, enroll: {users: [x]}}, b: {id: 2, extends: [a], enroll: {users: [y]}}}',
    );
    assert.deepEqual(role.enroll, { users: ['x', 'y'], groups: [] });
  });
});
