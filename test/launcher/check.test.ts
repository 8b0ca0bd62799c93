// check finds every problem of policy files, and roles lists what there is.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type Area, makeArea } from './command.js';

let area: Area;
before(() => {
  area = makeArea();
});
after(() => area.remove());

/** The lines of a check, with the area's directory as `AT`. */
function linesOf(...files: string[]): string[] {
  const { lines, stderr } = area.run(['check', ...files]);
  assert.equal(stderr, '');
  return lines.map((line) => line.replaceAll(area.directory, 'AT'));
}

const role = (body: string) => `version: 1\nroles:\n  ${body}\n`;

describe('check', () => {
  test('prints each role of a policy that is fine, and ends with 0', () => {
    area.policy('fine.yaml', role('one: {id: 900, network: {bind: [tcp:1]}}\n  two: {id: 901, files: any}'));
    const { status, lines } = area.run(['check', 'fine.yaml']);
    assert.equal(status, 0);
    assert.match(lines[1] ?? '', /^two \(id 901\): 10 rules, \d+ entries$/);
    assert.deepEqual(
      [lines[0], lines[2]?.replace(/^.*fine/, 'fine')],
      [
        'one (id 900): 1 rule, 6 entries',
        'fine.yaml:4: warning: roles.two: files: any, so root in it can write what others outside act upon',
      ],
    );
  });
  test('warns of what leads out of the jail', () => {
    area.policy(
      'ways.yaml',
      role(
        'way: {id: 902, files: {write: [/etc/cron.d, /srv]}, exec: any, network: any, allow: [module, chroot]}',
      ),
    );
    const { status, lines } = area.run(['check', 'ways.yaml']);
    assert.equal(status, 0);
    assert.deepEqual(
      lines.slice(1).map((line) => line.replace(/^.*ways/, 'ways')),
      [
        'ways.yaml:3: warning: roles.way: allow: [module], by which root in it can get out: load and unload kernel modules, and have the kernel load them',
        'ways.yaml:3: warning: roles.way: it may write /etc/cron.d, which others outside act upon',
        'ways.yaml:3: warning: roles.way: network: any, so root in it can have services outside act for it, by their sockets',
      ],
    );
  });
  /** What check warns a role of whose body this is. */
  const warnings = (body: string): string[] => {
    area.policy('warned.yaml', role(`warned: {id: 903, ${body}}`));
    const { lines } = area.run(['check', 'warned.yaml']);
    return lines.flatMap((line) => / warning: roles\.warned: (.*)$/.exec(line)?.[1] ?? []);
  };
  const written = (paths: string) => [`it may write ${paths}, which others outside act upon`];
  test('warns of what lies below a deputy, and of what a rule above it opens', () => {
    for (const path of [
      '/etc/cron.d/job',
      '/etc/systemd/system',
      '/usr/local/bin/tool',
      '/root/.ssh/authorized_keys',
    ])
      assert.deepEqual(warnings(`files: {write: [${path}]}`), written(path));
    assert.deepEqual(warnings('files: {write: [/root]}').length, 1);
    assert.match(
      warnings('files: {write: [/]}').join('|'),
      /^it may write \/proc\/sys, .* and 1\d\d more, which/,
    );
  });
  test('warns where a wildcard may be a deputy', () => {
    assert.deepEqual(warnings('files: {write: ["/etc/cron.*/x"]}'), written('/etc/cron.*/x'));
    assert.deepEqual(warnings('files: {write: ["/home/*/.ssh"]}'), written('/home/*/.ssh'));
    assert.deepEqual(warnings('files: {write: ["/home/me/.s*"]}'), written('/home/me/.s*'));
  });
  test('warns by whatever name the path has', () => {
    symlinkSync('/etc/cron.d', join(area.directory, 'tables'));
    assert.equal(warnings(`files: {write: [${area.directory}/tables]}`).length, 1);
  });
  test('warns of the sockets of services, with a path and without', () => {
    for (const path of [
      '/run/docker.sock',
      '/run/systemd/private',
      '/run/podman/podman.sock',
      '/tmp/tmux-0/default',
    ])
      assert.deepEqual(warnings(`network: {connect: ["unix:${path}"]}`), [
        `it may connect to ${path}, which others outside act upon`,
      ]);
    assert.match(warnings('network: {connect: ["unix:/run"]}').join(), /^it may connect to \/run\/\S+, /);
    assert.deepEqual(warnings('network: {connect: ["unix:@/tmp/dbus-*"]}'), [
      'it may connect to unix:@/tmp/dbus-*: a session’s D-Bus starts services',
    ]);
    assert.ok(warnings('network: {connect: ["unix:@*"]}').length > 5);
  });
  test('warns of none of what leads nowhere', () => {
    const fine = [
      'files: {write: [/srv, /var/www, "@tmp", "@devices"], deny: ["@sessions"]}',
      'files: {write: [/], deny: ["@deputies"]}',
      'files: {read: [/]}',
      'network: {connect: [tcp, "unix:/run/php/*.sock", "unix:@bus-*"]}',
    ];
    for (const body of fine) assert.deepEqual(warnings(body), [], body);
  });
  test('prints every problem of every file, in the order of files and lines, and ends with 1', () => {
    const texts = ['first: {id: 0, filez: any}', 'second: {id: 910, files: {read: [srv]}}'];
    const files = texts.map((text, i) => area.policy(`bad-${i}.yaml`, role(text)));
    assert.deepEqual(linesOf(...files), [
      'AT/bad-0.yaml:3:15: roles.first.id: 0 is impossible; it must be from 1 to 65535',
      'AT/bad-0.yaml:3:18: roles.first.filez: unknown key; did you mean files?',
      'AT/bad-1.yaml:3:36: roles.second.files.read[0]: "srv" is not absolute; write the whole path from /',
    ]);
    assert.equal(area.run(['check', ...files]).status, 1);
  });
  test('prints more problems than an error of a run would', () => {
    const ports = Array.from({ length: 50 }, (_, i) => `x:${i}`);
    area.policy('many.yaml', role(`many: {id: 920, network: {bind: [${ports.join(', ')}]}}`));
    assert.equal(linesOf('many.yaml').length, 50);
  });
  test('takes the files together with the built-in policies', () => {
    area.policy('clash.yaml', role('mine: {id: 3, extends: [websever], files: {read: ["@runtimee"]}}'));
    area.policy('again.yaml', role('mine: {id: 930}'));
    const found = linesOf('clash.yaml', 'again.yaml');
    assert.equal(found.length, 4, found.join('\n'));
    assert.match(found[0] ?? '', /clash\.yaml:3:14: roles\.mine\.id: 3 is the id of role webserver already/);
    assert.match(found[1] ?? '', /clash\.yaml:3:27: .* no role websever; did you mean webserver\?/);
    assert.match(found[2] ?? '', /clash\.yaml:3:\d+: .* no set @runtimee; did you mean @runtime\?/);
    assert.match(found[3] ?? '', /again\.yaml:3:3: roles\.mine: the role mine is defined already, at /);
  });
  test('does not miss what a file defines that has problems', () => {
    area.policy('base.yaml', role('base: {id: 940, filez: any}'));
    area.policy('upon.yaml', role('upon: {id: 941, extends: [base]}'));
    assert.deepEqual(linesOf('upon.yaml', 'base.yaml'), [
      'AT/base.yaml:3:19: roles.base.filez: unknown key; did you mean files?',
    ]);
  });
  test('finds what cannot be enforced on this host, once for all roles that share it', () => {
    symlinkSync('loop', join(area.directory, 'loop'));
    const one = `one: {id: 950, files: {read: [/srv, ${area.directory}/loop]}}`;
    area.policy('loop.yaml', role(`${one}\n  two: {id: 951, extends: [one]}\n  fine: {id: 952}`));
    assert.deepEqual(linesOf('loop.yaml'), [
      `AT/loop.yaml:3:${one.indexOf(area.directory) + 3}: files.read: AT/loop leads through more than 40 symbolic links; mend the loop or name the object itself`,
      'fine (id 952): 0 rules, 0 entries',
    ]);
  });
  test('reads a file once that is named twice', () => {
    area.policy('twice.yaml', role('twice: {id: 960}'));
    assert.deepEqual(linesOf('twice.yaml', './twice.yaml'), ['twice (id 960): 0 rules, 0 entries']);
  });
  test('says so where there is no file', () => {
    assert.deepEqual(linesOf('none.yaml'), ['AT/none.yaml: does not exist; correct the path']);
  });
  test('tells root that others may write the file, and the other problems too', () => {
    chmodSync(area.policy('open.yaml', role('open: {id: 970, filez: any}')), 0o666);
    assert.deepEqual(
      linesOf('open.yaml').map((line) => line.split('; ')[0]),
      [
        'AT/open.yaml: can be written by others than root',
        'AT/open.yaml:3:19: roles.open.filez: unknown key',
      ],
    );
  });
  test('prints JSON lines with --json', () => {
    area.policy('good.yaml', role('good: {id: 980, description: Good., exec: any, files: {read: [/]}}'));
    area.policy('bad.yaml', role('bad: {id: 981, filez: any}'));
    const { status, lines } = area.run(['check', 'good.yaml', 'bad.yaml', '--json']);
    assert.equal(status, 1);
    const [problem, good, ...more] = lines.map((line) => JSON.parse(line));
    assert.deepEqual(problem, {
      version: 1,
      type: 'problem',
      code: 'UNKNOWN_KEY',
      file: join(area.directory, 'bad.yaml'),
      line: 3,
      column: 18,
      where: 'roles.bad.filez',
      message: 'unknown key; did you mean files?',
    });
    const { entries, ...rest } = good;
    assert.ok(entries > 0);
    assert.deepEqual(rest, {
      version: 1,
      type: 'role',
      name: 'good',
      id: 980,
      description: 'Good.',
      file: join(area.directory, 'good.yaml'),
      line: 3,
      rules: 1,
    });
    assert.deepEqual(more, []);
  });
  test('fails with 125 when it is told no file', () => {
    const { status, stderr } = area.run(['check']);
    assert.equal(status, 125);
    assert.match(stderr, /missing required argument 'file'/);
  });
  test('works without rights, checks no owners then, and tells where it may not look', () => {
    mkdirSync(join(area.directory, 'closed'), { mode: 0o700 });
    const file = area.policy(
      'user.yaml',
      role(`user: {id: 990, files: {read: [${area.directory}/closed/x]}}`),
    );
    chmodSync(file, 0o666);
    const { status, lines } = area.run(['check', 'user.yaml'], 'nobody');
    assert.equal(status, 0);
    assert.match(
      lines.join('\n'),
      /^user \(id 990\): 1 rule, .*; this user may not look at \S+\/closed\/x, so check it as root, too$/,
    );
    const row = JSON.parse(area.run(['check', 'user.yaml', '--json'], 'nobody').lines.join());
    assert.deepEqual(row.unseen, [join(area.directory, 'closed/x')]);
  });
});

describe('roles', () => {
  const builtIn = [
    'restricted',
    'permissive',
    'webserver',
    'database',
    'isolated',
    'web_with_db',
    'worker',
    'ci',
    'ai_agent',
  ];

  test('lists the built-in roles in the order of their ids', () => {
    const { status, lines } = area.run(['roles'], 'nobody');
    assert.equal(status, 0);
    assert.deepEqual(
      lines.map((line) => line.split(/\s+/)[0]),
      builtIn,
    );
    assert.equal(
      lines[2],
      'webserver    3  built-in/webserver.yaml:4    Serves HTTP and HTTPS with nginx; starts no other program and connects nowhere.',
    );
  });
  test('lists those of a policy file, too', () => {
    area.policy('own.yaml', role('own:\n    id: 1000\n    description: |\n      Of two\n      lines.'));
    for (const args of [
      ['roles', '--policy', 'own.yaml'],
      ['--policy', 'own.yaml', 'roles'],
    ]) {
      const { lines } = area.run(args, 'nobody');
      assert.equal(lines.length, builtIn.length + 1);
      assert.match(lines.at(-1) ?? '', /^own +1000 +\S+\/own\.yaml:3 +Of two lines\.$/);
    }
  });
  test('lists them as JSON lines with --json', () => {
    const rows = area.run(['roles', '--json']).lines.map((line) => JSON.parse(line));
    assert.deepEqual(
      rows.map(({ name }) => name),
      builtIn,
    );
    const { description, ...row } = rows[0];
    assert.match(description, /^Computes /);
    assert.deepEqual(row, {
      version: 1,
      type: 'role',
      name: 'restricted',
      id: 1,
      file: 'built-in/restricted.yaml',
      line: 4,
    });
  });
  test('fails with the problems of a policy that cannot be used', () => {
    area.policy('roles-bad.yaml', role('bad: {id: 1010, filez: any}'));
    const { status, lines, stderr } = area.run(['roles', '--policy', 'roles-bad.yaml']);
    assert.deepEqual([status, lines], [125, []]);
    assert.match(stderr, /roles-bad\.yaml:3:\d+: .*filez/);
  });
});

describe('an answer that cannot be written', () => {
  const inShell = (script: string) => {
    const jailrun = join(area.directory, 'dist/jailrun');
    return spawnSync('/bin/sh', ['-c', script.replace('jailrun', jailrun)], { encoding: 'utf8' });
  };
  test('is a failure of jailrun', () => {
    const { status, stderr } = inShell('jailrun roles >/dev/full');
    assert.equal(status, 125);
    assert.match(stderr, /^jailrun: Standard output cannot be written \(ENOSPC\)\. /);
  });
  test('is none where the reader had enough', () => {
    const { stderr } = inShell('(sleep 0.3; jailrun roles; echo status $? >&2) | true');
    assert.equal(stderr, 'status 0\n');
  });
});
