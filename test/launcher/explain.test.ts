// explain and the compiled form agree, and it says which line of a policy decides.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type Area, makeArea } from './command.js';

let area: Area;
let policy: string;
before(() => {
  area = makeArea();
  const at = area.directory;
  policy = area.policy(
    'policy.yaml',
    `version: 1
sets:
  site: [${at}/site]
roles:
  shop:
    id: 900
    extends: [open]
    files:
      read: ["@site", ${at}/current]
      write: [${at}/data]
      deny: [${at}/site/private]
    exec: [/usr/bin/id]
    network: {bind: [tcp:80], connect: [udp:53]}
  watched: {id: 901, mode: audit, files: none}
  silent: {id: 902}
  free: {id: 903, extends: [permissive]}
  fenced: {id: 904, exec: any, files: {read: [/], deny: [${at}/site]}}
  reach:
    id: 905
    network:
      connect: ["tcp:10.0.0.0/8:5432", "tcp:127.0.0.1:81", "tcp:[::1]:82", udp:1, "unix:/run/php", "unix:@bus-*"]
      bind: [udp:53]
      deny: [10.0.0.6]
  open: {id: 906, files: any, exec: none, network: none}
`,
  );
  mkdirSync(join(at, 'site/private'), { recursive: true });
  mkdirSync(join(at, 'mounted'));
  symlinkSync('site', join(at, 'current'));
  symlinkSync('loop', join(at, 'loop'));
});
after(() => area.remove());

const explain = (role: string, operation: string, target: string, ...more: string[]) =>
  area.run(['explain', '--role', role, '--policy', policy, ...more, operation, target]);
/** The verdict's line, with the area's directory as `AT`, once the exit status agrees with it. */
function verdict(role: string, operation: string, target: string, ...more: string[]): string {
  const { status, lines, stderr } = explain(role, operation, target, ...more);
  assert.equal(stderr, '');
  const [line = ''] = lines;
  assert.equal(status, line.startsWith('allowed: ') ? 0 : 1, line);
  return line.replaceAll(area.directory, 'AT');
}

describe('explain says of a path', () => {
  test('that a rule grants it, which, and where that is written', () => {
    assert.equal(
      verdict('shop', 'write', `${area.directory}/data/x`),
      'allowed: write AT/data/x by files.write AT/data (AT/policy.yaml:10)',
    );
    assert.equal(
      verdict('webserver', 'read', '/etc/nginx/nginx.conf'),
      'allowed: read /etc/nginx/nginx.conf by files.read /etc/nginx (built-in/webserver.yaml:10)',
    );
  });
  test('from which set the rule comes', () => {
    assert.equal(
      verdict('shop', 'read', `${area.directory}/site`),
      'allowed: read AT/site by files.read AT/site of @site (AT/policy.yaml:3)',
    );
  });
  test('that a rule denies it, and does not offer to outweigh that', () => {
    for (const operation of ['read', 'write'])
      assert.equal(
        verdict('shop', operation, `${area.directory}/site/private/key`),
        `denied: ${operation} AT/site/private/key by files.deny AT/site/private (AT/policy.yaml:11)`,
      );
  });
  test('that a rule grants less', () => {
    assert.equal(
      verdict('shop', 'write', `${area.directory}/site/page`),
      'denied: write AT/site/page by files.read AT/site of @site (AT/policy.yaml:3), which grants reading only; to allow it: files.write: [AT/site/page] in AT/policy.yaml:5',
    );
  });
  test('that no rule grants it, and what to add where', () => {
    assert.equal(
      verdict('shop', 'read', '/etc/shadow'),
      'denied: role shop does not grant read /etc/shadow; to allow it: files.read: [/etc/shadow] in AT/policy.yaml:5',
    );
    assert.equal(
      verdict('webserver', 'read', '/etc/shadow'),
      'denied: role webserver does not grant read /etc/shadow; to allow it: files.read: [/etc/shadow]',
    );
    assert.equal(
      verdict('silent', 'write', '/x'),
      'denied: role silent does not grant write /x; to allow it: files.write: [/x] in AT/policy.yaml:15',
    );
  });
  test('whether it may be executed', () => {
    assert.equal(
      verdict('shop', 'exec', '/usr/bin/id'),
      'allowed: exec /usr/bin/id by exec /usr/bin/id (AT/policy.yaml:12)',
    );
    assert.match(verdict('shop', 'exec', '/usr/bin/env'), /^denied: .*exec: \[\/usr\/bin\/env\] in /);
  });
  test('that a section decides as a whole, and where somebody wrote that', () => {
    assert.equal(
      verdict('permissive', 'read', '/etc/shadow'),
      'allowed: read /etc/shadow by files: any (built-in/permissive.yaml:7)',
    );
    assert.equal(verdict('free', 'exec', '/x'), 'allowed: exec /x by exec: any (built-in/permissive.yaml:8)');
    assert.equal(
      verdict('watched', 'read', '/x'),
      'denied: read /x by files: none (AT/policy.yaml:14); to allow it: files.read: [/x] in AT/policy.yaml:14',
    );
  });
  test('that `exec: any` decides where files.deny does not', () => {
    assert.match(verdict('fenced', 'exec', '/usr/bin/id'), /by exec: any \(AT\/policy\.yaml:17\)$/);
    assert.match(verdict('fenced', 'exec', `${area.directory}/site/x`), /by files\.deny AT\/site \(/);
  });
});

describe('explain says of a power', () => {
  test('that the role has it, and where that is written', () => {
    assert.equal(
      verdict('webserver', 'use', 'setuid'),
      'allowed: use setuid by allow setuid (built-in/webserver.yaml:28)',
    );
    assert.equal(
      verdict('permissive', 'use', 'mount'),
      'allowed: use mount by allow: any (built-in/permissive.yaml:10)',
    );
  });
  test('that it has not, what to add, and what the power lets', () => {
    const { lines } = explain('shop', 'use', 'mknod');
    assert.match(
      lines[0] ?? '',
      /^denied: role shop does not grant use mknod; to allow it: allow: \[mknod\] in /,
    );
    assert.deepEqual(lines.slice(1), ['note: mknod lets make device nodes']);
  });
  test('that there is none of the name', () => {
    const { status, stderr } = explain('shop', 'use', 'mout');
    assert.equal(status, 125);
    assert.match(stderr, /TARGET: there is no power "mout"; did you mean mount\?/);
  });
});

describe('the object of a path is found', () => {
  test('behind symbolic links, also where .. follows one', () => {
    const { directory: at } = area;
    assert.equal(
      verdict('shop', 'read', `${at}/current/private`),
      'denied: read AT/current/private -> AT/site/private by files.deny AT/site/private (AT/policy.yaml:11)',
    );
    assert.match(verdict('shop', 'read', `${at}/current/private/..`), / -> AT\/site by /);
  });
  test('from the working directory', () => {
    assert.match(verdict('shop', 'write', 'data//./x/'), /^allowed: write AT\/data\/x by /);
  });
  test('behind a bind mount, by all its names', () => {
    const { directory: at } = area;
    execFileSync('mount', ['--bind', join(at, 'site/private'), join(at, 'mounted')]);
    try {
      assert.match(verdict('shop', 'read', `${at}/mounted/key`), /by files\.deny AT\/site\/private \(/);
    } finally {
      execFileSync('umount', [join(at, 'mounted')]);
    }
  });
  test('unless it is another one for each process', () => {
    for (const path of ['/proc/self/maps', '/dev/stdin']) {
      const { status, stderr } = explain('shop', 'read', path);
      assert.equal(status, 125);
      assert.match(stderr, /leads into \/proc\/self, .* name \/proc\/PID/);
    }
    assert.equal(explain('free', 'read', '/proc/1/maps').status, 0);
  });
  test('unless its links are a loop', () => {
    const { status, stderr } = explain('shop', 'read', 'loop');
    assert.equal(status, 125);
    assert.match(stderr, /more than 40 symbolic links/);
  });
});

describe('explain says of a port', () => {
  test('that a rule grants it', () => {
    assert.equal(
      verdict('shop', 'bind', 'tcp:80'),
      'allowed: bind tcp:80 by network.bind tcp:80 (AT/policy.yaml:13)',
    );
    assert.equal(
      verdict('shop', 'connect', 'udp:53'),
      'allowed: connect udp:53 by network.connect udp:53 (AT/policy.yaml:13)',
    );
  });
  test('that none does, for another protocol, number or direction', () => {
    for (const [operation, target] of [
      ['bind', 'udp:80'],
      ['bind', 'tcp:81'],
      ['connect', 'tcp:80'],
    ] as const)
      assert.equal(
        verdict('shop', operation, target),
        `denied: role shop does not grant ${operation} ${target}; to allow it: network.${operation}: [${target}] in AT/policy.yaml:5`,
      );
  });
  test('that the section decides as a whole', () => {
    assert.match(verdict('free', 'connect', 'tcp:1'), /^allowed: .* by network: any \(built-in\/permissive/);
    assert.match(verdict('free', 'connect', 'unix:/run/x'), /^allowed: .* by network: any \(built-in\//);
    assert.match(
      verdict('isolated', 'bind', 'tcp:80'),
      /by network: none \(built-in\/isolated\.yaml:21\); to /,
    );
  });
});

describe('explain says of an address', () => {
  const asked = (operation: 'bind' | 'connect', target: string) => verdict('reach', operation, target);
  test('which rule decides, with the place', () => {
    assert.equal(
      asked('connect', 'tcp 10.0.0.5:5432'),
      'allowed: connect tcp 10.0.0.5:5432 by network.connect tcp:10.0.0.0/8:5432 (AT/policy.yaml:21)',
    );
    assert.equal(
      asked('connect', 'tcp 10.0.0.6:5432'),
      'denied: connect tcp 10.0.0.6:5432 by network.deny 10.0.0.6 (AT/policy.yaml:23)',
    );
    assert.match(asked('bind', 'udp :53'), /^allowed: bind udp :53 by network\.bind udp:53 /);
  });
  test('which rule would grant just this', () => {
    assert.match(
      asked('connect', 'tcp [2001:db8::1]:443'),
      /to allow it: network\.connect: \["tcp:\[2001:db8::1\]:443"\] in /,
    );
    assert.match(asked('bind', 'tcp 127.0.0.1:80'), /network\.bind: \[tcp:127\.0\.0\.1:80\] in /);
  });
  test('that 0.0.0.0 is loopback to who connects, and every address to who binds', () => {
    assert.match(asked('connect', 'tcp 0.0.0.0:81'), /^allowed: .* by network\.connect tcp:127\.0\.0\.1:81 /);
    assert.match(asked('connect', 'tcp [::]:82'), /^allowed: .* by network\.connect tcp:\[::1\]:82 /);
    assert.match(asked('bind', 'udp 0.0.0.0:53'), /^allowed: /);
  });
  test('what a rule for sockets says, by path and by abstract name', () => {
    assert.match(
      asked('connect', 'unix:/run/php/a.sock'),
      /^allowed: .* by network\.connect unix:\/run\/php /,
    );
    assert.match(
      asked('bind', 'unix:/run/php/a.sock'),
      /network\.bind: \["?unix:\/run\/php\/a\.sock"?\] in /,
    );
    assert.match(asked('connect', 'unix @bus-1'), /^allowed: .* by network\.connect unix:@bus-\* /);
    assert.match(asked('connect', 'unix:@other'), /network\.connect: \[unix:@other\] in /);
  });
  test('in as many words as it takes', () => {
    const words = ['--role', 'reach', '--policy', policy, 'connect', 'tcp', '10.0.0.5:5432'];
    const { lines } = area.run(['explain', ...words]);
    assert.match(lines[0] ?? '', /^allowed: connect tcp 10\.0\.0\.5:5432 /);
  });
  test('that a rule for an address may say otherwise, where none is asked about', () => {
    assert.deepEqual(explain('reach', 'connect', 'udp:1').lines.slice(1), [
      'note: rules that name an address may say otherwise of that one',
    ]);
  });
});

describe('a note tells', () => {
  const notes = (...args: Parameters<typeof explain>) => explain(...args).lines.slice(1);
  test('that the command itself may start, where exec is denied', () => {
    assert.deepEqual(notes('webserver', 'exec', '/usr/sbin/nginx'), [
      'note: the command that jailrun itself is given may start all the same',
    ]);
  });
  test('that a role in audit mode denies nothing', () => {
    assert.deepEqual(notes('watched', 'read', '/x'), [
      'note: role watched is in audit mode, which reports this and lets it through',
    ]);
    assert.deepEqual(notes('shop', 'bind', 'tcp:80'), []);
  });
});

describe('of several roles explain says', () => {
  const asked = (roles: string[], operation: string, target: string, ...more: string[]) => {
    const names = roles.slice(1).flatMap((role) => ['--role', role]);
    return verdict(roles[0] ?? '', operation, target, ...names, ...more);
  };
  test('which one denies, by which line, and what it would have to say', () => {
    const at = area.directory;
    assert.equal(
      asked(['shop', 'webserver'], 'read', `${at}/data/x`),
      'denied: role webserver does not grant read AT/data/x; to allow it: files.read: [AT/data/x]',
    );
    assert.equal(
      asked(['permissive', 'shop'], 'write', `${at}/site/page`),
      'denied: write AT/site/page by files.read AT/site of @site in role shop (AT/policy.yaml:3), which grants reading only; to allow it: files.write: [AT/site/page] in AT/policy.yaml:5',
    );
    assert.equal(
      asked(['permissive', 'shop'], 'read', `${at}/site/private/key`),
      'denied: read AT/site/private/key by files.deny AT/site/private in role shop (AT/policy.yaml:11)',
    );
    assert.equal(
      asked(['reach', 'shop'], 'connect', 'tcp 10.0.0.5:5432'),
      'denied: role shop does not grant connect tcp 10.0.0.5:5432; to allow it: network.connect: [tcp:10.0.0.5:5432] in AT/policy.yaml:5',
    );
    assert.equal(
      asked(['shop', 'open'], 'exec', '/usr/bin/id'),
      'denied: exec /usr/bin/id by exec: none in role open (AT/policy.yaml:24); to allow it: exec: [/usr/bin/id] in AT/policy.yaml:24',
    );
    assert.equal(
      asked(['permissive', 'webserver'], 'use', 'mount'),
      'denied: role webserver does not grant use mount; to allow it: allow: [mount]',
    );
  });
  test('by what one of those that say least grants it', () => {
    const at = area.directory;
    assert.equal(
      asked(['permissive', 'shop'], 'write', `${at}/data/x`),
      'allowed: write AT/data/x by files.write AT/data in role shop (AT/policy.yaml:10)',
    );
    assert.equal(
      asked(['permissive', 'free'], 'read', '/etc/shadow'),
      'allowed: read /etc/shadow by files: any in role permissive (built-in/permissive.yaml:7)',
    );
    assert.match(asked(['permissive', 'webserver'], 'use', 'setuid'), /^allowed: use setuid by allow/);
  });
  test('the same whatever their order', () => {
    for (const target of ['/etc/shadow', '/usr/lib/x', `${area.directory}/data/x`]) {
      const [forth, back] = [
        asked(['shop', 'ci'], 'read', target, '--var', 'workspace=/w'),
        asked(['ci', 'shop'], 'read', target, '--var', 'workspace=/w'),
      ];
      assert.equal(forth.split(':')[0], back.split(':')[0], target);
    }
  });
  test('who decides in JSON, too', () => {
    const { lines } = explain('permissive', 'read', '/etc/shadow', '--role', 'shop', '--json');
    const { role, decider, granted } = JSON.parse(lines.join());
    assert.deepEqual([role, decider, granted], ['permissive+shop', 'shop', false]);
  });
});

describe('with --json the verdict is a line of JSON', () => {
  const rowOf = (...args: Parameters<typeof explain>) => JSON.parse(explain(...args, '--json').lines.join());
  test('with the rule and what to add', () => {
    const at = area.directory;
    assert.deepEqual(rowOf('shop', 'write', `${at}/current/page`), {
      version: 1,
      type: 'verdict',
      role: 'shop',
      operation: 'write',
      target: `${at}/current/page`,
      object: `${at}/site/page`,
      granted: false,
      rule: { section: 'files.read', text: `${at}/site`, file: policy, line: 3, column: 10, set: 'site' },
      allow: { section: 'files.write', text: `${at}/site/page`, file: policy, line: 5 },
    });
  });
  test('with the section that decided, and with notes', () => {
    const { rule, granted, notes } = rowOf('watched', 'read', '/x');
    assert.deepEqual(rule, { section: 'files', text: 'none', file: policy, line: 14, column: 35 });
    assert.equal(granted, false);
    assert.equal(notes.length, 1);
  });
  test('as is a failure', () => {
    const { status, stderr } = explain('shpo', 'read', '/x', '--json');
    assert.equal(status, 125);
    assert.equal(JSON.parse(stderr).code, 'UNKNOWN_ROLE');
  });
});

describe('explain refuses', () => {
  const refused = (args: string[], message: RegExp): void => {
    const { status, lines, stderr } = area.run(['explain', ...args]);
    assert.deepEqual([status, lines], [125, []]);
    assert.match(stderr, message);
  };
  test('to ask no role', () => {
    refused(['read', '/x'], /No role is named.* jailrun explain --role NAME OPERATION TARGET/);
  });
  test('a stack that cannot be: of a role twice, of more than eight, or of which some are only audited', () => {
    const roles = (...names: string[]) => names.flatMap((name) => ['--role', name]);
    refused([...roles('worker', 'ci', 'worker'), 'read', '/x'], /Role worker is named twice/);
    const nine = ['restricted', 'permissive', 'webserver', 'database', 'isolated', 'web_with_db', 'worker'];
    refused(
      [...roles(...nine, 'ci', 'ai_agent'), 'read', '/x'],
      /9 roles are named, and 8 can hold together/,
    );
    refused(
      ['--policy', policy, ...roles('shop', 'watched'), 'read', '/x'],
      /policy\.yaml:14:3: roles\.watched: it is in audit mode, and role shop, which is not, .* --audit$/m,
    );
    refused([...roles('worker', 'wroker'), 'read', '/x'], /no.* role wroker; did you mean worker\?/i);
  });
  test('an operation that there is not, with the nearest', () => {
    refused(['--role', 'worker', 'wirte', '/x'], /no operation wirte; did you mean write\?/);
    refused(['--role', 'worker', 'levitate', '/x'], /one of read, write, exec, bind, connect/);
  });
  test('a target that is none', () => {
    refused(['--role', 'worker', 'read', ''], /TARGET is empty/);
    refused(['--role', 'worker', 'bind', '80'], /TARGET "80" .*write tcp:PORT/);
    refused(['--role', 'worker', 'bind', 'tcp:0'], /TARGET "tcp:0" /);
    for (const target of ['tcp', 'tcp:80-81', 'tcp:@private:80', 'tcp 10.0.0.0/8:80'])
      refused(['--role', 'worker', 'connect', target], /is more than one address or port; ask for one/);
    refused(['--role', 'worker', 'connect', '/run/x.sock'], /For a unix socket write unix:\/run\/x\.sock/);
    refused(['--role', 'worker', 'read'], /missing required argument 'target'/);
  });
  test('a policy that cannot be used', () => {
    const bad = area.policy('bad.yaml', 'version: 1\nroles: {x: {id: 3}}\n');
    refused(
      ['--role', 'x', '--policy', bad, 'read', '/x'],
      /bad\.yaml:2:17: roles\.x\.id: 3 is the id of role/,
    );
  });
});

describe('without rights', () => {
  const ask = (...args: string[]) => area.run(['explain', ...args], 'nobody');
  test('explain answers the same', () => {
    const args = ['--role', 'shop', '--policy', policy, 'write', `${area.directory}/site/page`];
    assert.deepEqual(ask(...args), area.run(['explain', ...args]));
  });
  test('options before the subcommand count, too', () => {
    const { lines } = area.run(
      ['--role', 'shop', '--policy', 'policy.yaml', 'explain', 'bind', 'tcp:80'],
      'nobody',
    );
    assert.match(lines[0] ?? '', /^allowed: bind tcp:80 by network\.bind tcp:80 /);
  });
  test('it tells where it could not look for symbolic links', () => {
    mkdirSync(join(area.directory, 'closed'), { mode: 0o700 });
    const { status, lines } = ask('--role', 'isolated', 'read', 'closed/link/x');
    assert.equal(status, 0);
    const place = join(area.directory, 'closed/link');
    const notes = lines.slice(1).filter((line) => !line.includes(' /root/'));
    assert.deepEqual(notes, [
      `note: this user may not look at ${place}, which is taken for no symbolic link; root may get another answer`,
    ]);
  });
});
