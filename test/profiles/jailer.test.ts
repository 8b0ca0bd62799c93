import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { Access, Scope } from '../../src/abi.js';
import { compile, decide } from '../../src/profiles/compile.js';
import { locate } from '../../src/profiles/locate.js';
import { parseMountinfo } from '../../src/profiles/mounts.js';
import { parse } from '../../src/profiles/parse.js';
import {
  type Policy,
  PolicyError,
  type PolicyProblem,
  type ResolvedRole,
} from '../../src/profiles/policy.js';
import { powerNames } from '../../src/profiles/powers.js';
import { resolve } from '../../src/profiles/resolve.js';

const parseText = (text: string): Policy => parse(Buffer.from(text), '/etc/policy.json');
const parseJson = (value: unknown): Policy => parseText(JSON.stringify(value, undefined, 2));

/** A role as Jailer's own file writes it, with every field. */
function jailerRole(
  changes: Record<string, unknown>,
  flags: Record<string, unknown> = {},
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

function roleOf(changes: Record<string, unknown>, flags?: Record<string, unknown>): ResolvedRole {
  const policy = parseJson({ roles: { r: jailerRole(changes, flags) }, pods: [] });
  const role = resolve([policy]).get('r');
  assert.ok(role);
  return role;
}

function caught(read: () => unknown): readonly PolicyProblem[] {
  try {
    read();
  } catch (error) {
    if (error instanceof PolicyError) return error.problems;
    throw error;
  }
  return [];
}

function problemsOf(value: unknown): string {
  const problems = caught(() => parseJson(value));
  return problems.map(({ code, message, where }) => `${code} ${where}: ${message}`).join('\n') || 'none';
}

const problemsOfRole = (changes: Record<string, unknown>, flags?: Record<string, unknown>): string =>
  problemsOf({ roles: { r: jailerRole(changes, flags) } });

const noLinks = () => undefined;
const oneMount = parseMountinfo(Buffer.from('20 1 8:1 / / rw - ext4 /dev/sda1 rw\n'));

function asker(role: ResolvedRole, access: number): (path: string) => boolean {
  const compiled = compile([locate(role, noLinks)], oneMount);
  return (path) => decide(compiled, { device: (8 << 20) | 1, path, access }).granted;
}

const mayOpen = (role: ResolvedRole) => asker(role, Access.READ | Access.WRITE);
const mayRun = (role: ResolvedRole) => asker(role, Access.EXEC);
const portsOf = ({ addresses }: ResolvedRole): string[] =>
  addresses.map(({ section, text }) => `${section} ${text}`);

const allow = (pattern: string) => ({ pattern, allow: true });
const deny = (pattern: string) => ({ pattern, allow: false });
const run = (binary_path: string, allow = true) => ({ binary_path, args_pattern: null, allow });

/** The seven roles that Jailer is delivered with. `power` is what its flags for powers say. */
function standardRoles(power: boolean): Record<string, unknown> {
  const roles: [name: string, flags: string, paths: string[], ports: (number | number[])[]][] = [
    ['restricted', '', [], []],
    ['permissive', 'fnx', [], []],
    ['webserver', 'fnx', ['/var/www/**', '/var/log/nginx/**'], [80, 443, 8080]],
    ['database', 'fn', ['/var/lib/postgresql/**', '/var/log/postgresql/**'], [5432, 6379]],
    ['isolated', 'f', ['/tmp/**'], []],
    ['web_with_db', 'fn', [], [80, 443, 8080, 5432, 3306, 6379]],
    ['worker', 'fnx', [], [443, 5432, 6379, 5672, [8000, 8100]]],
  ];
  return Object.fromEntries(
    roles.map(([name, flags, paths, ports], index) => [
      name,
      {
        id: index + 1,
        name,
        flags: {
          allow_file_access: flags.includes('f'),
          allow_network: flags.includes('n'),
          allow_exec: flags.includes('x'),
          require_signed_binary: false,
          allow_setuid: power,
          allow_ptrace: power,
        },
        file_paths: paths.map(allow),
        network_rules: ports.map((port) =>
          typeof port === 'number'
            ? { protocol: 'tcp', port, allow: true }
            : { protocol: 'tcp', port_start: port[0], port_end: port[1], allow: true },
        ),
        execution_rules: [],
        require_signed_binary: false,
      },
    ]),
  );
}

/** A scope in words. */
const said = (scope: Scope): string =>
  ({ [Scope.NONE]: 'none', [Scope.RULES]: 'rules', [Scope.ANY]: 'any' })[scope];

describe('a whole policy.json', () => {
  test('brings the roles that Jailer’s users know, by their ids and in the place of ours', () => {
    const builtIn = parse(
      Buffer.from('version: 1\nroles: {webserver: {id: 3, files: none}, ours: {id: 300}}'),
      'built-in/x.yaml',
    );
    const policy = parseJson({
      _comment: 'the roles of this host',
      roles: standardRoles(true),
      pods: [],
      exec_enrollments: [],
      cgroup_enrollments: [],
    });
    const roles = [...resolve([builtIn, policy]).values()];
    assert.deepEqual(
      roles.map(({ id, name, files, network, exec, addresses }) => [
        ...[id, name, said(files), said(network), said(exec)],
        addresses.length,
      ]),
      [
        [1, 'restricted', 'none', 'none', 'none', 0],
        [2, 'permissive', 'any', 'any', 'any', 0],
        [3, 'webserver', 'any', 'rules', 'any', 6],
        [4, 'database', 'any', 'rules', 'none', 4],
        [5, 'isolated', 'any', 'none', 'none', 0],
        [6, 'web_with_db', 'any', 'rules', 'none', 12],
        [7, 'worker', 'any', 'rules', 'any', 2 * (4 + 101)],
      ],
    );
  });

  test('is read with the place of every entry', () => {
    const policy = parseText(`{
  "roles": {
    "shop": {
      "id": 300,
      "flags": {
        "allow_file_access": true,
        "allow_network": false,
        "allow_exec": false
      },
      "file_paths": [
        {"pattern": "/etc/ssl/", "allow": false},
        {"pattern": "/etc/ssl/*/public", "allow": true}
      ],
      "network_rules": [
        {"protocol": "tcp", "direction": "inbound", "port": 80, "allow": true}
      ],
      "execution_rules": [{"binary_path": "/usr/bin/convert", "allow": true}]
    }
  }
}`);
    const place = (line: number, column: number) => ({ file: '/etc/policy.json', line, column });
    assert.deepEqual(policy.roles, [
      {
        name: 'shop',
        ...place(3, 5),
        id: { ...place(4, 13), value: 300 },
        description: "From Jailer's /etc/policy.json.",
        extends: [],
        vars: [],
        files: {
          read: [],
          write: [
            { ...place(6, 9), value: '/' },
            { ...place(12, 21), value: '/etc/ssl/*/public' },
          ],
          deny: [{ ...place(11, 21), value: '/etc/ssl' }],
        },
        exec: [{ ...place(17, 43), value: '/usr/bin/convert' }],
        network: {
          bind: [
            { ...place(15, 9), value: { text: 'tcp:80', kind: 'address', protocol: 6, first: 80, last: 80 } },
          ],
          connect: [],
          deny: [],
        },
        allow: powerNames
          .filter((name) => !['setuid', 'ptrace', 'module', 'bpf'].includes(name))
          .map((value) => ({ ...place(3, 5), value })),
        sections: { files: place(6, 9), exec: place(8, 9), network: place(7, 9) },
      },
    ]);
  });

  test('as Jailer delivers it is refused for what would not be enforced, and for nothing else', () => {
    const told = problemsOf({
      roles: {
        ...standardRoles(false),
        agent: {
          ...jailerRole({ name: 'agent' }, { require_proxy: true }),
          ip_rules: [{ cidr: '10.0.0.0/8', direction: 'connect', allow: false }],
          domain_rules: [{ domain: 'api.example.com', allow: true }],
          proxy: { address: '127.0.0.1:8080', required: true },
        },
      },
      pods: [{ id: 1, role_id: 1, stack_depth: 0 }],
      exec_enrollments: [{ executable_path: '/usr/bin/nginx', pod_id: 1000, role: 'webserver' }],
      cgroup_enrollments: [{ cgroup_path: '/sys/fs/cgroup/x', pod_id: 2000, role: 'isolated' }],
    });
    const agents = ['domain_rules', 'flags.require_proxy', 'ip_rules', 'proxy'].map(
      (field) => `roles.agent.${field}`,
    );
    assert.deepEqual(
      told.match(/^\w+ [\w.]+/gm)?.sort(),
      ['pods', ...agents].map((where) => `NOT_ENFORCED ${where}`).sort(),
    );
  });

  test('enrolls by files and cgroups, of plain paths', () => {
    const enrolling = (path: string) => ({
      roles: standardRoles(false),
      exec_enrollments: [{ executable_path: path, pod_id: 1000, role: 'webserver' }],
      cgroup_enrollments: [{ cgroup_path: '/sys/fs/cgroup/x', pod_id: 2000, role: 'isolated' }],
    });
    assert.deepEqual(
      parseJson(enrolling('/usr/bin/nginx')).enrollments?.map(({ kind, path, roles }) => [
        kind,
        path,
        roles.map(({ value }) => value),
      ]),
      [
        ['executable', '/usr/bin/nginx', ['webserver']],
        ['cgroup', '/sys/fs/cgroup/x', ['isolated']],
      ],
    );
    assert.match(problemsOf(enrolling('/usr/bin/*')), /^BAD_PATH exec_enrollments\[0\]\.executable_path: /);
  });

  test('that is wrong is refused with lines like file:line:column: where: what is wrong; the mend', () => {
    assert.throws(() => parseText('{\n "roles": {},\n "podz": []\n}'), {
      name: 'PolicyError',
      message: `/etc/policy.json:2:11: roles: is empty; remove it
/etc/policy.json:3:2: podz: unknown key; did you mean pods?`,
    });
  });

  test('may be indented with tabs and escape its slashes, as JSON may', () => {
    const text = JSON.stringify({ roles: { r: jailerRole({ file_paths: [allow('/tmp/')] }) } }, null, '\t');
    const [role] = parseText(text.replaceAll('/', '\\/')).roles;
    assert.ok(typeof role?.files === 'object');
    assert.equal(role.files.write[0]?.value, '/tmp');
  });

  test('may have remarks and what is empty', () => {
    const role = { ...jailerRole({}), _comment: 'y', ip_rules: [], domain_rules: [], proxy: null };
    assert.equal(problemsOf({ _comment_x: 'x', roles: { r: role }, pods: [] }), 'none');
  });

  test('that Jailer would not read is refused', () => {
    const { id: _id, ...withoutId } = jailerRole({});
    const { flags: _flags, ...withoutFlags } = jailerRole({});
    for (const [role, problem] of [
      [{ ...jailerRole({}), id: 0 }, /^BAD_VALUE roles\.r\.id/],
      [{ ...jailerRole({}), id: 65536 }, /^BAD_VALUE roles\.r\.id/],
      [{ ...jailerRole({}), id: '3' }, /^WRONG_TYPE roles\.r\.id/],
      [{ ...jailerRole({}), id: null }, /^EMPTY roles\.r\.id/],
      [withoutId, /^MISSING_KEY roles\.r: id/],
      [withoutFlags, /^MISSING_KEY roles\.r: flags/],
      [{ ...jailerRole({}), name: 'q' }, /^BAD_VALUE roles\.r\.name: is "q"/],
      [{ ...jailerRole({}), file_path: [] }, /^UNKNOWN_KEY .*did you mean file_paths\?/],
      [{ ...jailerRole({}), file_paths: {} }, /^WRONG_TYPE roles\.r\.file_paths/],
      [{ ...jailerRole({}), file_paths: ['/x'] }, /^WRONG_TYPE roles\.r\.file_paths\[0\]/],
      [{ ...jailerRole({}), require_signed_binary: true }, /^NOT_ENFORCED .*signatures/],
    ] as const)
      assert.match(problemsOf({ roles: { r: role } }), problem);
    assert.match(problemsOf({ roles: { R: jailerRole({ name: 'R' }) } }), /^BAD_NAME roles\.R/);
    assert.match(problemsOf({ roles: [jailerRole({})] }), /^WRONG_TYPE roles/);
    assert.match(problemsOf({ pods: [] }), /^MISSING_KEY : roles is missing/);
    const problems = caught(() => parseText('{"roles": {"r": {"id": 1, "id": 2}}}'));
    assert.deepEqual(
      problems.map(({ code }) => code),
      ['MISSING_KEY', 'DUPLICATE'],
    );
  });

  test('is told from a policy of ours in JSON by the version', () => {
    assert.equal(parseJson({ version: 1, roles: { r: { id: 21, exec: 'any' } } }).standsAlone, undefined);
    assert.match(problemsOf({ sets: { a: ['/x'] }, roles: {} }), /^MISSING_KEY : version/m);
  });
});

describe('beside a policy.json', () => {
  const yaml = (text: string, file: string) => parse(Buffer.from(`version: 1\n${text}`), file);
  const builtIn = yaml('sets: {s: [/x]}\nroles: {r: {id: 21}, other: {id: 22}}', 'built-in/x.yaml');
  const jailers = parseJson({ roles: { r: jailerRole({}) } });

  test('there are no built-in roles, and their sets', () => {
    const mine = yaml('roles: {mine: {id: 22, files: {read: ["@s"]}}}', '/etc/p.yaml');
    const roles = resolve([builtIn, mine, jailers]);
    assert.deepEqual([...roles.keys()], ['mine', 'r']);
    assert.equal(roles.get('r')?.place.file, '/etc/policy.json');
  });

  test('no role of another file may have the name or the id of one of its', () => {
    for (const text of ['roles: {r: {id: 9}}', 'roles: {q: {id: 21}}'])
      assert.equal(caught(() => resolve([jailers, yaml(text, '/etc/p.yaml')]))[0]?.code, 'DUPLICATE');
  });
});

describe('a flag of Jailer’s', () => {
  test('without rules allows everything or nothing', () => {
    const open = roleOf({}, { allow_file_access: true, allow_network: true, allow_exec: true });
    assert.deepEqual([open.files, open.network, open.exec], [Scope.ANY, Scope.ANY, Scope.ANY]);
    const shut = roleOf({});
    assert.deepEqual([shut.files, shut.network, shut.exec], [Scope.NONE, Scope.NONE, Scope.NONE]);
  });

  test('that asks for what is not enforced is refused', () => {
    for (const [name, value] of [
      ['require_signed_binary', true],
      ['require_proxy', true],
    ] as [string, boolean][]) {
      assert.match(
        problemsOfRole({}, { [name]: value }),
        new RegExp(`^NOT_ENFORCED roles\\.r\\.flags\\.${name}: `),
      );
      assert.equal(problemsOfRole({}, { [name]: !value }), 'none');
    }
  });

  test('takes the power that it speaks of, and no other', () => {
    for (const [flag, power] of [
      ['allow_setuid', 'setuid'],
      ['allow_ptrace', 'ptrace'],
      ['allow_module_load', 'module'],
      ['allow_bpf_load', 'bpf'],
    ] as const) {
      assert.equal(roleOf({}, { [flag]: true }).allow.includes(power), true);
      assert.equal(roleOf({}, { [flag]: false }).allow.includes(power), false);
    }
    assert.equal(roleOf({}).allow.includes('mount'), true);
  });

  test('is true or false, and the three that decide are there', () => {
    assert.match(problemsOfRole({}, { allow_exec: 'yes' }), /^WRONG_TYPE roles\.r\.flags\.allow_exec/);
    assert.match(problemsOfRole({}, { allow_exec: null }), /^EMPTY roles\.r\.flags\.allow_exec/);
    assert.match(problemsOfRole({}, { allow_execs: true }), /^UNKNOWN_KEY .*did you mean allow_exec\?/);
    const flags = { allow_file_access: true, allow_network: true };
    assert.match(problemsOf({ roles: { r: { id: 1, flags } } }), /^MISSING_KEY .*allow_exec is missing/);
  });
});

describe('Jailer’s file paths', () => {
  test('deny below what the flag allows, and allow below what they deny', () => {
    const may = mayOpen(
      roleOf(
        { file_paths: [allow('/tmp/'), deny('/etc/shadow'), deny('/srv/**'), allow('/srv/*/data.txt')] },
        { allow_file_access: true },
      ),
    );
    for (const path of ['/tmp/x', '/etc/passwd', '/srv/a/data.txt']) assert.ok(may(path), path);
    for (const path of ['/etc/shadow', '/srv/x', '/srv/a/other']) assert.ok(!may(path), path);
  });

  test('allow nothing else where the flag does not', () => {
    const may = mayOpen(roleOf({ file_paths: [allow('/var/www/**'), deny('/var/www/private/')] }));
    for (const path of ['/var/www', '/var/www/index.html', '/var/www/a/b']) assert.ok(may(path), path);
    for (const path of ['/etc/passwd', '/var', '/var/www/private/x']) assert.ok(!may(path), path);
  });

  test('say of a name what they say of it, whatever they say of all names', () => {
    const may = mayOpen(
      roleOf(
        { file_paths: [allow('/tmp/mixed/*/data.txt'), deny('/tmp/mixed/secret/')] },
        { allow_file_access: true },
      ),
    );
    assert.ok(may('/tmp/mixed/alice/data.txt'));
    assert.ok(!may('/tmp/mixed/secret/data.txt'));
  });

  test('of which Jailer and we would follow different ones are refused with a mend that helps', () => {
    const secret = [allow('/tmp/*/data.txt'), deny('/tmp/secret/')];
    assert.match(
      problemsOfRole({ file_paths: secret }),
      /^NOT_ENFORCED roles\.r\.file_paths\[1\]\.pattern: where "\/tmp\/\*\/data\.txt" on line 16 matches, too, .*; deny "\/tmp\/secret\/data\.txt", too, or rewrite one of them$/,
    );
    const mended = mayOpen(roleOf({ file_paths: [...secret, deny('/tmp/secret/data.txt')] }));
    assert.deepEqual(['/tmp/a/data.txt', '/tmp/secret/data.txt'].map(mended), [true, false]);

    const keys = [deny('/home/*/.ssh/'), allow('/home/bob/')];
    assert.match(problemsOfRole({ file_paths: keys }), /deny "\/home\/bob\/\.ssh", too/);
    const safe = mayOpen(roleOf({ file_paths: [...keys, deny('/home/bob/.ssh')] }));
    assert.deepEqual(['/home/bob/x', '/home/bob/.ssh/id'].map(safe), [true, false]);

    assert.match(
      problemsOfRole({ file_paths: [deny('/tmp/*'), allow('/tmp/mine')] }, { allow_file_access: true }),
      /^NOT_ENFORCED .*of two as long the one that denies; rewrite one of them$/,
    );
  });

  test('take ** for any number of components', () => {
    const may = mayOpen(roleOf({ file_paths: [deny('/srv/**/.git')] }, { allow_file_access: true }));
    assert.deepEqual(['/srv/.git', '/srv/a/b/.git/config', '/srv/a'].map(may), [false, false, true]);
  });

  test('take brackets, question marks and dollars for letters, as Jailer does', () => {
    // biome-ignore lint/suspicious/noTemplateCurlyInString: no variable to Jailer
    const variable = '/srv/${x}';
    const may = mayOpen(roleOf({ file_paths: [allow('/srv/[a]?'), allow(variable)] }));
    for (const path of ['/srv/[a]?', variable]) assert.ok(may(path), path);
    assert.ok(!may('/srv/ax'));
  });

  test('that are no paths, or would match nothing, are refused with their place', () => {
    for (const pattern of ['srv', '', '~/x', '/a/../b', '/a//b', '/', '/**', '/var/***/x', '/var/log/*.log'])
      assert.match(
        problemsOfRole({ file_paths: [allow(pattern)] }),
        /^BAD_PATH roles\.r\.file_paths\[0\]\.pattern: /,
        pattern,
      );
    assert.match(problemsOfRole({ file_paths: [allow('/proc/self/fd/')] }), /^NOT_ENFORCED/);
    assert.match(problemsOfRole({ file_paths: [{ pattern: '/x' }] }), /^MISSING_KEY .*allow is missing/);
    assert.match(problemsOfRole({ file_paths: [{ pattern: 5, allow: true }] }), /^WRONG_TYPE/);
    assert.match(
      problemsOfRole({ file_paths: [{ pattern: '/x', allow: 1 }] }),
      /^WRONG_TYPE .*true or false/,
    );
    assert.match(
      problemsOfRole({ file_paths: [{ pattern: '/x', alow: true }] }),
      /UNKNOWN_KEY .*did you mean allow\?/,
    );
  });

  test('are each there once', () => {
    for (const again of [allow('/srv/'), deny('/srv/**')])
      assert.match(
        problemsOfRole({ file_paths: [allow('/srv'), again] }),
        /^DUPLICATE roles\.r\.file_paths\[1\]\.pattern: .*on line 16; keep one$/,
      );
  });
});

describe('Jailer’s network rules', () => {
  const ports = (rules: unknown[], flags?: Record<string, unknown>): string[] =>
    portsOf(roleOf({ network_rules: rules }, flags));

  test('allow their ports in both directions, and no others', () => {
    assert.deepEqual(ports([{ protocol: 'tcp', port: 80, allow: true }], { allow_network: true }), [
      'network.bind tcp:80',
      'network.connect tcp:80',
    ]);
    assert.deepEqual(ports([{ protocol: 'udp', port_start: 53, port_end: 54, allow: true }]), [
      ...['network.bind udp:53', 'network.bind udp:54', 'network.connect udp:53', 'network.connect udp:54'],
    ]);
  });

  test('may have a direction', () => {
    const rule = (direction: string, port: number) => ({ protocol: 'tcp', direction, port, allow: true });
    assert.deepEqual(ports([rule('inbound', 80), rule('outbound', 80)]), [
      'network.bind tcp:80',
      'network.connect tcp:80',
    ]);
    assert.deepEqual(ports([rule('bind', 1), rule('connect', 2)]), [
      'network.bind tcp:1',
      'network.connect tcp:2',
    ]);
    assert.match(
      problemsOfRole({ network_rules: [rule('inbond', 80)] }),
      /^BAD_VALUE roles\.r\.network_rules\[0\]\.direction: .*did you mean inbound\?/,
    );
  });

  test('may deny what is not allowed anyway', () => {
    assert.deepEqual(ports([{ protocol: 'tcp', port: 22, allow: false }]), []);
    const rules = [
      { protocol: 'tcp', port: 80, allow: true },
      { protocol: 'tcp', port: 22, allow: false },
      { protocol: 'tcp', port: 0, allow: false },
      { protocol: 'udp', allow: false },
    ];
    assert.equal(ports(rules, { allow_network: true }).length, 2);
  });

  test('that cannot be enforced are refused', () => {
    const problem = (rule: unknown, flags?: Record<string, unknown>) =>
      problemsOfRole({ network_rules: [rule] }, flags);
    assert.match(
      problem({ protocol: 'tcp', port: 80, address: '10.0.0.1', allow: true }),
      /^NOT_ENFORCED roles\.r\.network_rules\[0\]\.address/,
    );
    for (const all of [{}, { port: 0 }, { port_start: 0, port_end: 9 }])
      assert.match(problem({ protocol: 'tcp', ...all, allow: true }), /^NOT_ENFORCED .*all ports/);
    assert.match(
      problem({ protocol: 'tcp', port: 22, allow: false }, { allow_network: true }),
      /^NOT_ENFORCED .*list the allowed ones/,
    );
    assert.equal(problem({ protocol: 'tcp', port: 80, address: null, allow: true }), 'none');
  });

  test('that are impossible are refused', () => {
    const problem = (rule: Record<string, unknown>) =>
      problemsOfRole({ network_rules: [{ protocol: 'tcp', ...rule, allow: true }] });
    assert.match(problem({ protocol: 'sctp', port: 80 }), /^BAD_VALUE .*tcp or udp/);
    assert.match(problem({ protocol: 'TCP', port: 80 }), /^BAD_VALUE .*did you mean tcp\?/);
    assert.match(problem({ port: 70000 }), /^BAD_VALUE roles\.r\.network_rules\[0\]\.port/);
    assert.match(problem({ port: '80' }), /^WRONG_TYPE roles\.r\.network_rules\[0\]\.port/);
    assert.match(problem({ port_start: 9, port_end: 8 }), /^BAD_PORT .*from 9 to 8/);
    assert.match(problem({ port_start: 1, port_end: 65535 }), /^BAD_PORT .*at most 4096/);
    for (const form of ['port port_end', 'port port_start', 'port_start', 'port_end'])
      assert.match(
        problem(Object.fromEntries(form.split(' ').map((name) => [name, 80]))),
        /^BAD_PORT .*write either port, or port_start and port_end$/,
      );
  });

  test('say of each port one thing, once', () => {
    const problem = (second: Record<string, unknown>) =>
      problemsOfRole({
        network_rules: [
          { protocol: 'tcp', port_start: 8000, port_end: 8100, allow: true },
          { protocol: 'tcp', ...second },
        ],
      });
    for (const allow of [true, false])
      assert.match(
        problem({ port: 8050, allow }),
        /^DUPLICATE roles\.r\.network_rules\[1\]: tcp:8050 is allowed on line 16 already; keep one of the two$/,
      );
    assert.equal(problem({ port: 8101, allow: true }), 'none');
  });
});

describe('Jailer’s execution rules', () => {
  const files = { allow_file_access: true };

  test('allow their programs and what is below, and no others', () => {
    const may = mayRun(roleOf({ execution_rules: [run('/usr/bin/curl'), run('/opt/')] }, files));
    assert.deepEqual(['/usr/bin/curl', '/opt/a/b', '/usr/bin/id'].map(may), [true, true, false]);
  });

  test('change nothing where the flag allows all programs, or denies them', () => {
    const all = { ...files, allow_exec: true };
    assert.equal(roleOf({ execution_rules: [run('/usr/bin/curl')] }, all).exec, Scope.ANY);
    assert.equal(roleOf({ execution_rules: [run('/usr/bin/curl', false)] }, files).exec, Scope.NONE);
  });

  test('run nothing that may not be opened', () => {
    const listed = [allow('/usr/'), deny('/usr/local/'), allow('/usr/local/bin')];
    const all = mayRun(roleOf({ file_paths: listed }, { allow_exec: true }));
    assert.deepEqual(['/usr/bin/id', '/usr/local/x', '/usr/local/bin/x', '/tmp/x'].map(all), [
      true,
      false,
      true,
      false,
    ]);
    assert.equal(roleOf({}, { allow_exec: true }).exec, Scope.NONE);
    for (const file_paths of [[], [allow('/usr/bin/id')], [allow('/usr'), deny('/usr/bin/')]])
      assert.match(
        problemsOfRole({ file_paths, execution_rules: [run('/usr/bin/curl')] }),
        /^BAD_VALUE roles\.r\.execution_rules\[0\]\.binary_path: .*allow the file, too, or remove this$/,
      );
  });

  test('run what may be opened inside of what may not', () => {
    const inside = { file_paths: [deny('/usr/local/'), allow('/usr/local/bin')] };
    const may = (program: string) => mayRun(roleOf({ ...inside, execution_rules: [run(program)] }, files));
    const paths = ['/usr/bin/id', '/usr/local/x', '/usr/local/bin/x'];
    assert.deepEqual(paths.map(may('/usr/')), [true, false, true]);
    assert.deepEqual(paths.map(may('/usr/local/bin/x')), [false, false, true]);
    assert.match(problemsOfRole({ ...inside, execution_rules: [run('/usr/local/x')] }, files), /^BAD_VALUE/);
    const crossing = { file_paths: [deny('/*/lib'), allow('/*/lib/bin')], execution_rules: [run('/usr')] };
    const crossed = mayRun(roleOf(crossing, files));
    assert.deepEqual(['/usr/lib/x', '/usr/lib/bin/x', '/opt/lib/bin/x'].map(crossed), [false, true, false]);
  });

  test('that cannot be enforced are refused', () => {
    const problem = (rules: unknown[], flags = {}) =>
      problemsOfRole({ execution_rules: rules }, { ...files, ...flags });
    assert.match(
      problem([{ ...run('/usr/bin/curl'), args_pattern: '-k' }]),
      /^NOT_ENFORCED roles\.r\.execution_rules\[0\]\.args_pattern/,
    );
    assert.match(
      problem([run('/usr/bin/curl', false)], { allow_exec: true }),
      /^NOT_ENFORCED roles\.r\.execution_rules\[0\]\.binary_path: .*set allow_exec to false and list/,
    );
    assert.match(
      problem([run('/usr/bin/'), run('/usr/bin/curl', false)]),
      /^NOT_ENFORCED roles\.r\.execution_rules\[1\]\.binary_path: .*; list the allowed ones$/,
    );
    assert.match(problem([run('/usr/bin/'), run('/usr/bin')]), /^DUPLICATE/);
    assert.match(problem([run('curl')]), /^BAD_PATH/);
  });
});

/** What a list of rules says in Jailer's documentation, as plainly as can be. */
function verdictOf(rules: { pattern: string; allow: boolean }[], flag: boolean, path: string): boolean {
  const names = path.slice(1).split('/');
  const matching = rules
    .map(({ pattern, allow }) => ({ parts: pattern.slice(1).split('/'), allow }))
    .filter(
      ({ parts }) => parts.length <= names.length && parts.every((p, i) => p === '*' || p === names[i]),
    );
  // A name sorts behind a star, and a longer pattern behind what it begins with.
  const rank = (parts: string[]) => parts.map((part) => (part === '*' ? '1' : '2')).join('');
  const [best] = matching.sort((a, b) => (rank(a.parts) < rank(b.parts) ? 1 : -1));
  return best?.allow ?? flag;
}

test('whatever rules for paths are accepted, they decide as Jailer’s documentation says', () => {
  const pattern = fc
    .array(fc.constantFrom('a', 'b', '*'), { minLength: 1, maxLength: 3 })
    .map((names) => `/${names.join('/')}`);
  const rules = fc.uniqueArray(fc.record({ pattern, allow: fc.boolean() }), {
    maxLength: 5,
    selector: (rule) => rule.pattern,
  });
  const paths = ['a', 'b', 'c'].flatMap((x) => [
    `/${x}`,
    ...['a', 'b', 'c'].flatMap((y) => [`/${x}/${y}`, `/${x}/${y}/a`, `/${x}/${y}/b/a`]),
  ]);
  const granted = (scope: Scope, ask: (path: string) => boolean, path: string) =>
    scope === Scope.RULES ? ask(path) : scope === Scope.ANY;
  let accepted = 0;
  fc.assert(
    fc.property(rules, rules, fc.boolean(), fc.boolean(), (files, programs, fileFlag, execFlag) => {
      const execution_rules = programs.map(({ pattern, allow }) => run(pattern, allow));
      const changes = { file_paths: files, execution_rules };
      const flags = { allow_file_access: fileFlag, allow_exec: execFlag };
      const problems = caught(() => roleOf(changes, flags));
      if (problems.length > 0) return problems.every(({ code }) => /NOT_ENFORCED|BAD_VALUE/.test(code));
      accepted++;
      const role = roleOf(changes, flags);
      const [opens, runs] = [mayOpen(role), mayRun(role)];
      for (const path of paths) {
        const mayBeOpened = verdictOf(files, fileFlag, path);
        const mayBeRun = mayBeOpened && verdictOf(programs, execFlag, path);
        assert.equal(granted(role.files, opens, path), mayBeOpened, `open ${path}`);
        assert.equal(granted(role.exec, runs, path), mayBeRun, `run ${path}`);
      }
      return true;
    }),
    { numRuns: 2000 },
  );
  assert.ok(accepted > 500, `only ${accepted} were accepted`);
});
