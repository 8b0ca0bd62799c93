import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Limit } from '../../src/abi.js';
import { parse } from '../../src/profiles/parse.js';
import { type Policy, PolicyError, type PolicyProblem } from '../../src/profiles/policy.js';

function parseText(text: string): Policy {
  return parse(Buffer.from(text), 'p.yaml');
}

/** The problems of a text, or of bytes. */
function problemsOf(source: string | Uint8Array): readonly PolicyProblem[] {
  try {
    parse(Buffer.from(source), 'p.yaml');
  } catch (error) {
    if (error instanceof PolicyError) return error.problems;
    throw error;
  }
  return assert.fail('the policy was accepted');
}

/** The message of a policy with one problem, and its code in front. */
function problemOf(source: string | Uint8Array): string {
  const problems = problemsOf(source);
  assert.equal(problems.length, 1, problems.map(({ message }) => message).join('\n'));
  return `${problems[0]?.code} ${problems[0]?.message}`;
}

function role(body: string): string {
  return `version: 1\nroles: {web: {id: 3, ${body}}}\n`;
}

const readPath = (path: string) => role(`files: {read: [${JSON.stringify(path)}]}`);

describe('a whole policy', () => {
  test('is read with the place of every entry', () => {
    const policy = parseText(`version: 1
sets:
  web: [/srv/www, "@base"]
roles:
  server:
    id: 3
    description: Serves.
    extends: [one, two]
    mode: audit
    files:
      read: [/etc/nginx]
      deny:
        - /etc/nginx/private
    exec: none
    network: {bind: [tcp:80, udp:53]}
`);
    const place = (line: number, column: number) => ({ file: 'p.yaml', line, column });
    assert.deepEqual(policy, {
      file: 'p.yaml',
      sets: [
        {
          name: 'web',
          ...place(3, 3),
          entries: [
            { ...place(3, 9), value: '/srv/www' },
            { ...place(3, 19), value: '@base' },
          ],
        },
      ],
      roles: [
        {
          name: 'server',
          ...place(5, 3),
          id: { ...place(6, 9), value: 3 },
          description: 'Serves.',
          extends: [
            { ...place(8, 15), value: 'one' },
            { ...place(8, 20), value: 'two' },
          ],
          vars: [],
          mode: 'audit',
          files: {
            read: [{ ...place(11, 14), value: '/etc/nginx' }],
            write: [],
            deny: [{ ...place(13, 11), value: '/etc/nginx/private' }],
          },
          exec: 'none',
          network: {
            bind: [
              {
                ...place(15, 22),
                value: { text: 'tcp:80', kind: 'address', protocol: 6, first: 80, last: 80 },
              },
              {
                ...place(15, 30),
                value: { text: 'udp:53', kind: 'address', protocol: 17, first: 53, last: 53 },
              },
            ],
            connect: [],
            deny: [],
          },
          sections: { files: place(10, 5), exec: place(14, 5), network: place(15, 5) },
        },
      ],
    });
  });

  test('may be JSON', () => {
    assert.equal(
      parseText('{"version": 1, "roles": {"a": {"id": 1, "files": "any"}}}').roles[0]?.files,
      'any',
    );
  });

  test('may begin with a byte order mark', () => {
    assert.equal(parseText('\ufeffversion: 1\nroles: {a: {id: 1}}').roles[0]?.line, 2);
  });

  test('reports all that is wrong with it, in the order of the lines', () => {
    const problems = problemsOf(`version: 2
roles:
  a: {id: 0, exec: maybe, files: {reed: [/x]}}
  b: {id: 1, network: {bind: [tcp:0, tcp:80]}}
`);
    assert.deepEqual(
      problems.map(({ line, where }) => `${line} ${where}`),
      ['1 version', '3 roles.a.id', '3 roles.a.exec', '3 roles.a.files.reed', '4 roles.b.network.bind[0]'],
    );
  });

  test('that is wrong makes an error of lines like file:line:column: where: what is wrong; the mend', () => {
    assert.throws(() => parseText(role('exec: maybe')), {
      name: 'PolicyError',
      message: 'p.yaml:2:28: roles.web.exec: "maybe" is not possible here; write any or none or a list',
    });
  });
});

test('of very many problems the first twenty are shown and all are kept', () => {
  const problems = problemsOf(role(`exec: [${Array.from({ length: 50 }, (_, i) => `p${i}`).join()}]`));
  assert.equal(problems.length, 50);
  const lines = new PolicyError(problems).message.split('\n');
  assert.deepEqual([lines.length, lines.at(-1)], [21, 'and 30 more problems']);
});

describe('as a file it is refused', () => {
  test('when it is empty or only comments', () => {
    for (const text of ['', '\n\n', '# nothing\n', '---\n', '--- ~\n'])
      assert.match(problemOf(text), /^EMPTY/);
  });

  test('when it is not UTF-8, with the line', () => {
    const problems = problemsOf(Buffer.from('version: 1\n# caf\xe9\n', 'latin1'));
    assert.equal(problems[0]?.code, 'ENCODING');
    assert.equal(problems[0]?.line, 2);
  });

  test('when it is not YAML, with the line', () => {
    const [problem] = problemsOf('version: 1\nroles:\n\ta: {id: 1}\n');
    assert.equal(problem?.code, 'SYNTAX');
    assert.equal(problem?.line, 3);
  });

  test('when a set is not quoted', () => {
    assert.match(problemOf(role('files: {read: [@runtime]}')), /^SYNTAX quote names of sets: "@runtime"/);
  });

  test('when it holds two documents', () => {
    assert.match(problemOf('version: 1\n---\nversion: 1\n'), /^SYNTAX .*one document/);
  });

  test('when it uses aliases, so that none can explode', () => {
    const bomb = Array.from({ length: 30 }, (_, i) => `s${i + 1}: &s${i + 1} [*s${i}, *s${i}]`);
    const problems = problemsOf(`s0: &s0 [x]\n${bomb.join('\n')}\n`);
    assert.ok(problems.every(({ code, message }) => code === 'SYNTAX' && message.includes('aliases')));
  });

  test('when it uses tags', () => {
    assert.match(problemOf('version: !!int 1\nroles: {a: {id: 1}}'), /^SYNTAX tags/);
    assert.match(problemOf('version: 1\nroles: !x {a: {id: 1}}'), /^SYNTAX/);
  });

  test('when it asks for another version of YAML, in which `no` is not text', () => {
    assert.match(problemOf('%YAML 1.1\n---\nversion: 1\nroles: {a: {id: 1}}'), /^SYNTAX .*YAML 1\.2/);
  });

  test('when it is nested too deep to be read', () => {
    assert.match(problemOf('['.repeat(50_000)), /^SYNTAX .*nested/);
  });
});

describe('keys', () => {
  test('that are unknown are refused with the nearest known one', () => {
    assert.match(problemOf(role('ntework: any')), /^UNKNOWN_KEY .*did you mean network\?/);
    assert.match(problemOf('version: 1\nrole: {a: {id: 1}}\nsets: {a: [/x]}'), /did you mean roles\?/);
    assert.match(problemOf(role('capabilities: []')), /one of id, description, .* can stand here/);
  });

  test('of merging are unknown like any other', () => {
    assert.match(problemOf(role('<<: {id: 4}')), /^UNKNOWN_KEY/);
  });

  test('of what a denial does have two values', () => {
    assert.equal(parseText(role('on-denial: kill')).roles[0]?.onDenial, 'kill');
    assert.match(problemOf(role('on-denial: kil')), /^BAD_VALUE .*did you mean kill\?/);
  });

  test('that stand twice are refused with the line of the first', () => {
    assert.match(problemOf('version: 1\nroles:\n  a: {id: 1}\n  a: {id: 2}\n'), /^DUPLICATE .*on line 3/);
    assert.match(problemOf(role('exec: any, exec: none')), /^DUPLICATE/);
  });

  test('that are no text are refused', () => {
    assert.match(problemOf('version: 1\nroles: {3: {id: 1}, a: {id: 2}}'), /^WRONG_TYPE the key 3/);
    assert.match(problemOf('version: 1\nroles: {[a]: {id: 1}, b: {id: 2}}'), /^WRONG_TYPE the key a list/);
  });

  test('without a value are refused', () => {
    for (const text of [role('files:'), role('exec: ~'), 'version: 1\nroles:\n', 'version: 1\nroles: {a: }'])
      assert.match(problemOf(text), /^EMPTY/);
  });

  test('with an empty mapping or list are refused', () => {
    for (const body of ['files: {}', 'files: {read: []}', 'exec: []', 'network: {bind: []}', 'extends: []'])
      assert.match(problemOf(role(body)), /^EMPTY/);
    assert.match(problemOf('version: 1\nsets: {}'), /^EMPTY/);
  });

  test('that are required are missed by name', () => {
    assert.match(problemOf('roles: {a: {id: 1}}'), /^MISSING_KEY version/);
    assert.match(problemOf('version: 1\nroles: {a: {exec: any}}'), /^MISSING_KEY id/);
    assert.match(problemOf('version: 1'), /^EMPTY .*defines nothing/);
  });

  test('that name roles and sets keep to plain lower-case words', () => {
    for (const name of ['Web', '1web', 'web.server', 'web server', '-web', 'wéb'])
      assert.match(problemOf(`version: 1\nroles: {"${name}": {id: 1}}`), /^BAD_NAME/);
    assert.equal(parseText('version: 1\nroles: {web_with-db2: {id: 1}}').roles[0]?.name, 'web_with-db2');
  });
});

describe('values', () => {
  test('of another type are refused', () => {
    const bodies = [
      'description: 5',
      'description: [x]',
      'extends: base',
      'files: {read: /srv}',
      'files: {read: {a: b}}',
    ];
    for (const body of [...bodies, 'files: {read: [5]}', 'files: {read: [[/srv]]}', 'network: {bind: [80]}'])
      assert.match(problemOf(role(body)), /^WRONG_TYPE/);
    for (const body of ['files: [/srv]', 'exec: {a: b}', 'exec: true', 'network: [tcp:80]', 'mode: 0644'])
      assert.match(problemOf(role(body)), /^BAD_VALUE/);
    for (const text of ['[1]', 'hello', 'version: 1\nroles: [a]', 'version: 1\nroles: {a: any}'])
      assert.match(problemOf(text), /^WRONG_TYPE/);
  });

  test('of words are refused with the nearest possible one', () => {
    assert.match(problemOf(role('mode: Enforce')), /did you mean enforce\?/);
    assert.match(problemOf(role('exec: nome')), /did you mean none\?/);
  });

  test('of ids are whole numbers from 1 to 65535 in plain decimal', () => {
    for (const id of ['0', '-1', '65536', '999999999999999999999'])
      assert.match(problemOf(`version: 1\nroles: {a: {id: ${id}}}`), /^BAD_VALUE/);
    for (const id of ['0x10', '0o17', '007', '1e3', '3.0', '1.5', '"3"', '3_0', 'true', '.inf', '[3]'])
      assert.match(problemOf(`version: 1\nroles: {a: {id: ${id}}}`), /^WRONG_TYPE/);
    assert.equal(parseText('version: 1\nroles: {a: {id: 65535}}').roles[0]?.id.value, 65535);
  });

  test('of the version can only be 1', () => {
    assert.match(problemOf('version: 2\nroles: {a: {id: 1}}'), /^BAD_VALUE 2 is impossible; it must be 1/);
    assert.match(problemOf('version: "1"\nroles: {a: {id: 1}}'), /^WRONG_TYPE/);
  });

  test('that stand twice in a list are refused', () => {
    assert.match(problemOf(role('files: {read: [/srv, /etc, /srv]}')), /^DUPLICATE \/srv .*on line 2/);
    assert.match(problemOf(role('network: {bind: [tcp:80, tcp:80]}')), /^DUPLICATE/);
    assert.match(problemOf(role('extends: [a, a]')), /^DUPLICATE/);
  });
});

describe('paths', () => {
  const bytesOf = (length: number) => `/${'n'.repeat(length)}`;

  test('that are absolute and plain are taken as they are', () => {
    for (const path of [
      '/',
      '/srv',
      '/a b/ü',
      '/.hidden/..x/x..',
      '/a{b}]$c',
      bytesOf(Limit.MAX_NAME),
      '/procself',
    ])
      assert.equal(parseText(readPath(path)).roles[0]?.files !== undefined, true);
  });

  test('that are not absolute are refused', () => {
    for (const path of ['srv', './srv', '', '~/x', '~', ' /srv'])
      assert.match(problemOf(readPath(path)), /^BAD_PATH/);
  });

  test('that are not in their plain form are refused with that form', () => {
    const plain: Record<string, string> = {
      '/srv/': '/srv',
      '//srv': '/srv',
      '/srv//www': '/srv/www',
      '/srv/./www': '/srv/www',
      '/srv/../etc': '/etc',
      '/..': '/',
      '/srv/.': '/srv',
    };
    for (const [path, form] of Object.entries(plain))
      assert.match(problemOf(readPath(path)), new RegExp(`^BAD_PATH .*write ${form}$`));
  });

  test('may have wildcards', () => {
    for (const path of ['/run/nginx*.pid', '/a/?', '/a/[b-d]', '/a/[!]x]', '/srv/**/.git', '/srv/**', '/**'])
      assert.ok(parseText(readPath(path)), path);
  });

  test('with wildcards that mean nothing are refused with the mend', () => {
    for (const path of ['/a**', '/***', '/a/**b/c'])
      assert.match(problemOf(readPath(path)), /^BAD_PATH .*write \*/);
    for (const path of ['/a[', '/a[/]', '/a[]', '/a[!]'])
      assert.match(problemOf(readPath(path)), /write \[\[\]/);
    assert.match(problemOf(readPath('/a[z-a]')), /range z-a is the wrong way round/);
    assert.match(problemOf(readPath('/a[ä]')), /ASCII.*write \?/);
  });

  test('may have variables, at their beginning for a whole path', () => {
    for (const path of ['$\u007bsite}', '$\u007bsite}/a', '/home/$\u007buser}/x', '/a-$\u007bb}-c'])
      assert.ok(parseText(readPath(path)), path);
    for (const path of ['$\u007bsite}a/b', '/a/$\u007b', '/a/$\u007bA}'])
      assert.match(problemOf(readPath(path)), /^BAD_PATH/);
  });

  test('that the kernel side cannot follow are refused', () => {
    assert.match(problemOf(readPath(bytesOf(Limit.MAX_NAME + 1))), /^BAD_PATH .*component of 121 bytes/);
    assert.match(problemOf(readPath(`/${'ü'.repeat(61)}`)), /component of 122 bytes/);
    assert.match(problemOf(readPath('/d'.repeat(Limit.MAX_DEPTH + 1))), /^BAD_PATH .*129 components deep/);
    assert.ok(parseText(readPath('/d'.repeat(Limit.MAX_DEPTH))));
  });

  test('that no file can have are refused', () => {
    assert.match(problemOf(role('files: {read: ["/a\\0b"]}')), /^BAD_PATH/);
    assert.match(problemOf(role('files: {read: ["/a\\ud800b"]}')), /^BAD_PATH/);
  });

  test('of the own process are refused as not enforced', () => {
    for (const path of ['/proc/self', '/proc/self/maps', '/proc/thread-self/comm'])
      assert.match(problemOf(readPath(path)), /^NOT_ENFORCED/);
  });

  test('may be names of sets in every list, and these are plain words', () => {
    const policy = parseText(role('files: {write: ["@a", "@b-c"]}, exec: ["@d"]'));
    assert.equal(Array.isArray(policy.roles[0]?.exec), true);
    for (const name of ['@', '@A', '@a/b', '@@a']) assert.match(problemOf(readPath(name)), /^BAD_NAME/);
  });
});

describe('enrollments', () => {
  const enrollments = (body: string) => `version: 1\nroles: {web: {id: 3}}\n${body}\n`;

  test('are read with their places, and with one role or a stack', () => {
    const { enrollments: read } = parseText(
      enrollments('cgroups:\n  /sys/fs/cgroup/a: web\nexecutables: {/usr/sbin/nginx: [web, ci]}'),
    );
    assert.deepEqual(
      read?.map(({ kind, path, roles, line }) => [kind, path, roles.map(({ value }) => value), line]),
      [
        ['cgroup', '/sys/fs/cgroup/a', ['web'], 4],
        ['executable', '/usr/sbin/nginx', ['web', 'ci'], 5],
      ],
    );
  });
  test('are of plain paths', () => {
    for (const path of ['/', 'a', '/a/', '/a/../b', '/a*', '/a//b', '/[a]', '/a$b'])
      assert.match(
        problemOf(enrollments(`executables: {${JSON.stringify(path)}: web}`)),
        /^BAD_PATH is not an absolute path/,
        path,
      );
  });
  test('by the socket are of users and groups', () => {
    const { roles } = parseText(role('enroll: {users: [www-data, "1001"], groups: [web]}'));
    assert.deepEqual(
      Object.entries(roles[0]?.enroll ?? {}).map(([kind, names]) => [kind, names.map(({ value }) => value)]),
      [
        ['users', ['www-data', '1001']],
        ['groups', ['web']],
      ],
    );
    assert.match(problemOf(role('enroll: {users: ["a b"]}')), /^BAD_NAME "a b" is no name of a user/);
  });
});

describe('what files may claim', () => {
  const claims = (body: string) => `version: 1\nxattrs: ${body}\n`;

  test('is read as users, by name or number, and roles', () => {
    const { owners, roles, line } =
      parseText(claims('{owners: [root, "1001"], roles: [web, ci]}')).claims ?? {};
    const values = [owners, roles].map((list) => list?.map(({ value }) => value));
    assert.deepEqual([...values, line], [['root', '1001'], ['web', 'ci'], 2]);
  });
  test('is refused where it does not say both, or says it otherwise', () => {
    const bad: [string, RegExp][] = [
      ['{owners: [root]}', /^MISSING_KEY/],
      ['{roles: [web]}', /^MISSING_KEY/],
      ['{owners: [], roles: [web]}', /^EMPTY/],
      ['{owners: [root], roles: []}', /^EMPTY/],
      ['{owners: any, roles: [web]}', /^WRONG_TYPE/],
      ['{owners: [root], roles: any}', /^WRONG_TYPE/],
      ['{owners: [1001], roles: [web]}', /^WRONG_TYPE/],
      ['{owners: ["-1"], roles: [web]}', /^BAD_NAME/],
      ['{owners: [root, root], roles: [web]}', /^DUPLICATE/],
      ['{owners: [root], roles: [web], role: web}', /^UNKNOWN_KEY/],
    ];
    for (const [body, problem] of bad) assert.match(problemOf(claims(body)), problem, body);
  });
});

describe('what containers have', () => {
  const containers = (body: string) => `version: 1\ncontainers: ${body}\n`;

  test('is read as one role, a stack or none, and what they may ask for', () => {
    const read = (body: string) => {
      const { default: standard, roles } = parseText(containers(body)).containers ?? {};
      return [
        standard?.map(({ value }) => value),
        roles === 'any' ? roles : roles?.map(({ value }) => value),
      ];
    };
    assert.deepEqual(read('{default: web, roles: [ci, web]}'), [['web'], ['ci', 'web']]);
    assert.deepEqual(read('{default: [web, ci]}'), [['web', 'ci'], undefined]);
    assert.deepEqual(read('{default: none, roles: any}'), [undefined, 'any']);
  });
  test('is refused where it says nothing', () => {
    for (const body of ['{}', '{roles: []}', '{default: [], roles: any}'])
      assert.match(problemOf(containers(body)), /^EMPTY/, body);
    assert.match(problemOf(containers('{role: web}')), /^UNKNOWN_KEY/);
    assert.match(problemOf(containers('{roles: none}')), /^WRONG_TYPE/);
  });
});
