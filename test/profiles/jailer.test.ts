import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Access, Scope } from '../../src/abi.js';
import { compile, decide } from '../../src/profiles/compile.js';
import { locate } from '../../src/profiles/locate.js';
import { parseMountinfo } from '../../src/profiles/mounts.js';
import { parse } from '../../src/profiles/parse.js';
import { type Policy, PolicyError, type ResolvedRole } from '../../src/profiles/policy.js';
import { resolve } from '../../src/profiles/resolve.js';

const parseJson = (value: unknown): Policy =>
  parse(Buffer.from(JSON.stringify(value, undefined, 2)), '/etc/policy.json');

/** A role as Jailer's own file writes it, with every field. */
function jailerRole(
  changes: Record<string, unknown>,
  flags: Record<string, boolean> = {},
): Record<string, unknown> {
  return {
    id: 21,
    name: 'r',
    flags: {
      allow_file_access: false,
      allow_network: false,
      allow_exec: false,
      require_signed_binary: false,
      allow_setuid: true,
      allow_ptrace: true,
      ...flags,
    },
    file_paths: [],
    network_rules: [],
    execution_rules: [],
    require_signed_binary: false,
    ...changes,
  };
}

function roleOf(changes: Record<string, unknown>, flags?: Record<string, boolean>): ResolvedRole {
  const policy = parseJson({ roles: { r: jailerRole(changes, flags) }, pods: [] });
  const role = resolve([policy]).get('r');
  assert.ok(role);
  return role;
}

function problemsOf(value: unknown): string {
  try {
    parseJson(value);
  } catch (error) {
    if (error instanceof PolicyError)
      return error.problems.map(({ code, message, where }) => `${code} ${where}: ${message}`).join('\n');
    throw error;
  }
  return 'none';
}

const problemsOfRole = (changes: Record<string, unknown>, flags?: Record<string, boolean>): string =>
  problemsOf({ roles: { r: jailerRole(changes, flags) } });

function mayOpen(role: ResolvedRole): (path: string) => boolean {
  const mounts = parseMountinfo(Buffer.from('20 1 8:1 / / rw - ext4 /dev/sda1 rw\n'));
  const compiled = compile(
    locate(role, () => undefined),
    mounts,
  );
  return (path) =>
    decide(compiled, { device: (8 << 20) | 1, path, access: Access.READ | Access.WRITE }).granted;
}

describe('a flag of Jailer’s', () => {
  test('without rules allows everything or nothing', () => {
    const open = roleOf({}, { allow_file_access: true, allow_network: true, allow_exec: true });
    assert.deepEqual([open.files, open.network, open.exec], [Scope.ANY, Scope.ANY, Scope.ANY]);
    const shut = roleOf({});
    assert.deepEqual([shut.files, shut.network, shut.exec], [Scope.NONE, Scope.NONE, Scope.NONE]);
  });
  test('that asks for what is not enforced is refused', () => {
    for (const [name, value] of [
      ...[
        ['allow_ptrace', false],
        ['allow_setuid', false],
        ['allow_module_load', false],
      ],
      ...[
        ['allow_bpf_load', true],
        ['require_signed_binary', true],
        ['require_proxy', true],
      ],
    ] as [string, boolean][]) {
      assert.match(
        problemsOfRole({}, { [name]: value }),
        new RegExp(`^NOT_ENFORCED roles\\.r\\.flags\\.${name}: `),
      );
      assert.equal(problemsOfRole({}, { [name]: !value }), 'none');
    }
  });
});

describe('Jailer’s file paths', () => {
  test('deny below what the flag allows, and allow below what they deny', () => {
    const may = mayOpen(
      roleOf(
        {
          file_paths: [
            { pattern: '/tmp/', allow: true },
            { pattern: '/etc/shadow', allow: false },
            { pattern: '/srv/**', allow: false },
            { pattern: '/srv/*/data.txt', allow: true },
          ],
        },
        { allow_file_access: true },
      ),
    );
    for (const path of ['/tmp/x', '/etc/passwd', '/srv/a/data.txt']) assert.ok(may(path), path);
    for (const path of ['/etc/shadow', '/srv/x', '/srv/a/other']) assert.ok(!may(path), path);
  });
  test('allow nothing else where the flag does not', () => {
    const may = mayOpen(roleOf({ file_paths: [{ pattern: '/var/www/**', allow: true }] }));
    assert.ok(may('/var/www/index.html'));
    assert.ok(!may('/etc/passwd'));
  });
  test('take brackets and question marks for letters, as Jailer does', () => {
    const may = mayOpen(roleOf({ file_paths: [{ pattern: '/srv/[a]?', allow: true }] }));
    assert.ok(may('/srv/[a]?'));
    assert.ok(!may('/srv/ax'));
  });
  test('that are no paths are refused with their place', () => {
    assert.match(
      problemsOfRole({ file_paths: [{ pattern: 'srv', allow: true }] }),
      /^BAD_PATH roles\.r\.file_paths\[0\]\.pattern: /,
    );
    assert.match(problemsOfRole({ file_paths: [{ pattern: '/var/***/x', allow: true }] }), /^BAD_PATH/);
    assert.match(problemsOfRole({ file_paths: [{ pattern: '/x' }] }), /^MISSING_KEY .*allow is missing/);
    assert.match(
      problemsOfRole({ file_paths: [{ pattern: '/x', alow: true }] }),
      /UNKNOWN_KEY .*did you mean allow\?/,
    );
  });
});

describe('Jailer’s network rules', () => {
  const ports = (rules: unknown[], flags?: Record<string, boolean>): string[] =>
    roleOf({ network_rules: rules }, flags).ports.map(({ section, text }) => `${section} ${text}`);
  test('allow their ports in both directions, and no others', () => {
    assert.deepEqual(ports([{ protocol: 'tcp', port: 80, allow: true }], { allow_network: true }), [
      'network.bind tcp:80',
      'network.connect tcp:80',
    ]);
    assert.deepEqual(ports([{ protocol: 'udp', port_start: 53, port_end: 54, allow: true }]), [
      ...['network.bind udp:53', 'network.bind udp:54', 'network.connect udp:53', 'network.connect udp:54'],
    ]);
  });
  test('may deny what is not allowed anyway', () => {
    assert.deepEqual(ports([{ protocol: 'tcp', port: 22, allow: false }]), []);
    const rules = [
      { protocol: 'tcp', port: 80, allow: true },
      { protocol: 'tcp', port: 22, allow: false },
    ];
    assert.equal(ports(rules, { allow_network: true }).length, 2);
  });
  test('that cannot be enforced are refused', () => {
    const problem = (rule: unknown, flags?: Record<string, boolean>) =>
      problemsOfRole({ network_rules: [rule] }, flags);
    assert.match(
      problem({ protocol: 'tcp', port: 80, address: '10.0.0.1', allow: true }),
      /^NOT_ENFORCED .*address/,
    );
    assert.match(problem({ protocol: 'tcp', port: 0, allow: true }), /^NOT_ENFORCED/);
    assert.match(problem({ protocol: 'tcp', allow: true }), /^NOT_ENFORCED/);
    assert.match(
      problem({ protocol: 'tcp', port: 22, allow: false }, { allow_network: true }),
      /^NOT_ENFORCED .*list the allowed ones/,
    );
    assert.match(problem({ protocol: 'sctp', port: 80, allow: true }), /^BAD_VALUE .*tcp or udp/);
    assert.match(problem({ protocol: 'tcp', port_start: 9, port_end: 8, allow: true }), /^BAD_PORT/);
    assert.match(problem({ protocol: 'tcp', port: 70000, allow: true }), /^BAD_VALUE/);
    assert.equal(problem({ protocol: 'tcp', port: 80, address: null, allow: true }), 'none');
  });
});

describe('Jailer’s execution rules', () => {
  test('allow their programs', () => {
    const role = roleOf({
      execution_rules: [{ binary_path: '/usr/bin/curl', args_pattern: null, allow: true }],
    });
    assert.deepEqual(
      role.paths.map(({ section, text }) => `${section} ${text}`),
      ['exec /usr/bin/curl'],
    );
  });
  test('that cannot be enforced are refused', () => {
    const rule = { binary_path: '/usr/bin/curl', allow: true };
    assert.match(
      problemsOfRole({ execution_rules: [{ ...rule, args_pattern: '-k' }] }),
      /^NOT_ENFORCED .*args_pattern/,
    );
    assert.match(
      problemsOfRole({ execution_rules: [{ ...rule, allow: false }] }, { allow_exec: true }),
      /^NOT_ENFORCED/,
    );
  });
});

describe('a policy.json', () => {
  test('may have remarks and what is empty', () => {
    const policy = {
      _comment_x: 'x',
      roles: { r: { ...jailerRole({}), _comment: 'y', ip_rules: [], proxy: null } },
    };
    assert.equal(problemsOf({ ...policy, pods: [], exec_enrollments: [], cgroup_enrollments: [] }), 'none');
  });
  test('with enrollments, pods, or rules for addresses and domains is refused, with all of them', () => {
    const told = problemsOf({
      roles: { r: jailerRole({ ip_rules: [{}], domain_rules: [{}], proxy: { address: 'x' } }) },
      pods: [{ id: 1 }],
      exec_enrollments: [{ executable_path: '/usr/bin/nginx', pod_id: 1, role: 'r' }],
      cgroup_enrollments: [{}],
    });
    assert.equal(told.match(/^NOT_ENFORCED/gm)?.length, 6, told);
  });
  test('that Jailer would not read is refused', () => {
    assert.match(problemsOf({ roles: { r: { id: 0 } } }), /BAD_VALUE roles\.r\.id/);
    assert.match(problemsOf({ roles: { r: { id: 3, name: 'q' } } }), /BAD_VALUE roles\.r\.name/);
    assert.match(problemsOf({ roles: {}, rolls: {} }), /UNKNOWN_KEY rolls: .*did you mean roles\?/);
  });
  test('brings all its roles: built-in ones are not there beside it', () => {
    const builtIn = parse(
      Buffer.from('version: 1\nsets: {s: [/x]}\nroles: {r: {id: 21}, other: {id: 22}}'),
      'built-in/x.yaml',
    );
    const roles = resolve([builtIn, parseJson({ roles: { r: jailerRole({}) } })]);
    assert.deepEqual([...roles.keys()], ['r']);
    assert.equal(roles.get('r')?.place.file, '/etc/policy.json');
  });
  test('that has a version is a policy of ours, in JSON', () => {
    assert.equal(parseJson({ version: 1, roles: { r: { id: 21, exec: 'any' } } }).standsAlone, undefined);
  });
});
