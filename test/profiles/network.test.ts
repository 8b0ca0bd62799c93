import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { Access, KeyKind, Reason, Rule, RuleKey } from '../../src/abi.js';
import { type CompiledRole, compile, decide } from '../../src/profiles/compile.js';
import type { Direction } from '../../src/profiles/endpoints.js';
import { locate } from '../../src/profiles/locate.js';
import { parseMountinfo } from '../../src/profiles/mounts.js';
import { type Prefix, readTarget, showAddress, TCP, UDP } from '../../src/profiles/network.js';
import { parse } from '../../src/profiles/parse.js';
import { PolicyError } from '../../src/profiles/policy.js';
import { resolve } from '../../src/profiles/resolve.js';
import { address, hostsNear, networkRules } from './arbitrary.js';
import { deciding, type ModelEnd, mayUse, ruleText } from './network-model.js';

const rootOnly = parseMountinfo(Buffer.from('20 1 8:1 / / rw - ext4 /dev/sda1 rw\n'));
const disk = (8 << 20) | 1;

function compileRole(body: string): CompiledRole {
  const policy = parse(Buffer.from(`version: 1\nroles: {a: {id: 900, ${body}}}`), 'a.yaml');
  const role = resolve([policy]).get('a');
  assert.ok(role);
  return compile([locate(role, () => undefined)], rootOnly);
}

const hexOf = (host: string): string => {
  const target = readTarget(host.includes(':') ? `tcp:[${host}]` : `tcp:${host}`);
  assert.ok('kind' in target && target.kind === 'address', JSON.stringify(target));
  return target.prefixes?.[0]?.address ?? '';
};

/** The rule that decides, with "no" in front where it denies. */
function verdict(
  role: CompiledRole,
  direction: Direction,
  protocol: number,
  host: string,
  port: number,
): string {
  const { granted, rule } = decide(role, { direction, protocol, address: hexOf(host), port });
  return `${granted ? '' : 'no '}${role.rules[rule - 1]?.text ?? 'rule'}`;
}

function problemOf(list: string, rule: string): string {
  try {
    parse(
      Buffer.from(`version: 1\nroles:\n  a:\n    id: 1\n    network: {${list}: ${JSON.stringify([rule])}}\n`),
      'a.yaml',
    );
  } catch (error) {
    assert.ok(error instanceof PolicyError, String(error));
    return error.problems
      .map(({ code, line, column, message }) => `${line}:${column} ${code} ${message}`)
      .join('\n');
  }
  return 'none';
}

describe('rules of the network section', () => {
  test('are taken in every form', () => {
    for (const rule of [
      ...['tcp', 'udp', 'tcp:1', 'udp:65535', 'tcp:8000-8100', 'tcp:1-65535'],
      ...['tcp:10.0.0.0/8', 'tcp:10.0.0.5', 'tcp:10.0.0.5:5432', 'udp:0.0.0.0/0:53', 'tcp:0.0.0.0:80-81'],
      ...['tcp:[::]', 'tcp:[::/0]:80', 'tcp:[fd00::/8]:5432', 'udp:[64:ff9b::169.254.169.254]:53'],
      ...['tcp:@private:443', 'tcp:@metadata', 'udp:@loopback', 'tcp:@link-local:1-2'],
      ...['unix:/run/php/*.sock', 'unix:/', 'unix:@bus', 'unix:@bus-*', 'unix:@?/x y', 'unix:@*'],
    ])
      for (const list of ['bind', 'connect', 'deny']) assert.equal(problemOf(list, rule), 'none', rule);
    for (const rule of ['@metadata', '10.0.0.0/8', '[fd00::/8]:5432', '1.2.3.4:80'])
      assert.equal(problemOf('deny', rule), 'none', rule);
  });

  const refused: [rule: string, code: string, message: RegExp][] = [
    ['tcp:0', 'BAD_PORT', /PORT from 1 to 65535/],
    ['tcp:65536', 'BAD_PORT', /impossible port/],
    ['tcp:1-65536', 'BAD_PORT', /impossible port/],
    ['tcp:0-5', 'BAD_PORT', /PORT from 1/],
    ['tcp:5-4', 'BAD_PORT', /does not go up; write 4-5/],
    ['tcp:5-5', 'BAD_PORT', /does not go up; write 5/],
    ['tcp:080', 'BAD_PORT', /no port number/],
    ['tcp:', 'BAD_PORT', /no port number/],
    ['tcp:http', 'BAD_PORT', /no port number/],
    ['tcp:*', 'BAD_PORT', /write tcp:1-65535/],
    ['tcp:10.0.0.0/8:', 'BAD_PORT', /no port number/],
    ['', 'BAD_PORT', /write tcp:PORT/],
    ['80', 'BAD_PORT', /write tcp:PORT/],
    ['80/udp', 'BAD_PORT', /write udp:80/],
    ['tpc:80', 'BAD_PORT', /did you mean tcp:\?/],
    ['TCP:80', 'BAD_PORT', /did you mean tcp:\?/],
    ['unxi:/run/x', 'BAD_PORT', /did you mean unix:\?/],
    ['sctp:80', 'BAD_PORT', /does not begin with/],
    ['@metadata', 'BAD_PORT', /write tcp:@metadata or udp:@metadata/],
    ['tcp:@privat', 'BAD_PORT', /did you mean @private\?/],
    ['tcp:@nothing', 'BAD_PORT', /there are @loopback, @link-local, @private, @metadata/],
    ['tcp:10.0.0.1/8', 'BAD_PORT', /bits behind its prefix of 8; write 10\.0\.0\.0\/8, or 10\.0\.0\.1 for/],
    ['tcp:[fd00::1/8]', 'BAD_PORT', /write \[fd00::\/8\], or \[fd00::1\] for/],
    ['tcp:10.0.0.0/33', 'BAD_PORT', /from 0 to 32/],
    ['tcp:[::/129]', 'BAD_PORT', /from 0 to 128/],
    ['tcp:10.0.0.0/08', 'BAD_PORT', /impossible prefix length/],
    ['tcp:10.0.0/8', 'BAD_PORT', /no IPv4 address/],
    ['tcp:10.0.0.256', 'BAD_PORT', /no IPv4 address/],
    ['tcp:010.0.0.1', 'BAD_PORT', /no IPv4 address/],
    ['tcp:[10.0.0.1]', 'BAD_PORT', /in brackets; remove them/],
    ['tcp:[fd00:::1]', 'BAD_PORT', /no IPv6 address/],
    ['tcp:[1:2:3:4:5:6:7]', 'BAD_PORT', /no IPv6 address/],
    ['tcp:[fe80::1%eth0]', 'BAD_PORT', /no IPv6 address/],
    ['tcp:fd00::1', 'BAD_PORT', /without brackets; write tcp:\[fd00::1\]/],
    ['tcp:[fd00::1]80', 'BAD_PORT', /write :PORT/],
    ['tcp:[::ffff:10.0.0.0/104]', 'BAD_PORT', /decided as IPv4; write 10\.0\.0\.0\/8/],
    ['tcp:[::ffff:10.0.0.1]', 'BAD_PORT', /decided as IPv4; write 10\.0\.0\.1/],
    ['unix:run/x', 'BAD_PATH', /not absolute/],
    ['unix:/run/../x', 'BAD_PATH', /plain form/],
    ['unix:@', 'BAD_PATH', /no name/],
    ['unix:@a**', 'BAD_PATH', /one \* stands for any part/],
    [`unix:@${'x'.repeat(108)}`, 'BAD_PATH', /108 bytes; abstract names have 107/],
  ];
  for (const [rule, code, message] of refused)
    test(`${JSON.stringify(rule.slice(0, 40))} is refused at its place, with the mend`, () => {
      const problem = problemOf('connect', rule);
      assert.ok(problem.startsWith(`5:25 ${code} `), problem);
      assert.match(problem, message);
    });

  test('say nothing twice, in whichever form', () => {
    for (const pair of [
      ['tcp', 'tcp:1-65535'],
      ['tcp:[fd00::1]', 'tcp:[FD00:0::1]'],
      ['tcp:10.0.0.1', 'tcp:10.0.0.1/32'],
      ['tcp:80', 'tcp:80'],
    ])
      assert.throws(
        () => compileRole(`network: {bind: ${JSON.stringify(pair)}}`),
        /DUPLICATE|keep one/,
        pair.join(' '),
      );
    assert.ok(compileRole('network: {bind: [tcp:80], connect: [tcp:80], deny: [tcp:80]}'));
  });
});

describe('of the rules that match', () => {
  test('the longest prefix decides, then the narrowest range, and deny on a tie', () => {
    const role = compileRole(
      `network: {connect: [tcp:443, "tcp:10.0.0.0/8", "tcp:10.1.0.0/16:80", "tcp:10.1.2.3", tcp:8000-9000, udp],
        deny: ["tcp:10.1.0.0/16", "10.1.2.3:22", tcp:8080, udp:53]}`,
    );
    const ask = (host: string, port: number, protocol = TCP) =>
      verdict(role, 'connect', protocol, host, port);
    assert.equal(ask('192.0.2.1', 443), 'tcp:443');
    assert.equal(ask('2001:db8::1', 443), 'tcp:443');
    assert.equal(ask('192.0.2.1', 444), 'no rule');
    assert.equal(ask('10.2.0.1', 5), 'tcp:10.0.0.0/8');
    assert.equal(ask('10.1.0.1', 443), 'no tcp:10.1.0.0/16');
    assert.equal(ask('10.1.0.1', 80), 'tcp:10.1.0.0/16:80');
    assert.equal(ask('10.1.2.3', 443), 'tcp:10.1.2.3');
    assert.equal(ask('10.1.2.3', 22), 'no 10.1.2.3:22');
    assert.equal(ask('10.1.2.3', 22, UDP), 'no 10.1.2.3:22');
    assert.equal(ask('192.0.2.1', 8000), 'tcp:8000-9000');
    assert.equal(ask('192.0.2.1', 8080), 'no tcp:8080');
    assert.equal(ask('192.0.2.1', 54, UDP), 'udp');
    assert.equal(ask('192.0.2.1', 53, UDP), 'no udp:53');
    assert.equal(verdict(role, 'bind', TCP, '0.0.0.0', 443), 'no rule');
  });

  test('one without an address covers both families, and one for all of a family that one', () => {
    const role = compileRole('network: {bind: [tcp:80, "tcp:0.0.0.0/0:81", "tcp:[::/0]:82"]}');
    for (const [host, ports] of [
      ['0.0.0.0', [80, 81]],
      ['::', [80, 82]],
    ] as const)
      for (const port of [80, 81, 82])
        assert.equal(
          decide(role, { direction: 'bind', protocol: TCP, address: hexOf(host), port }).granted,
          (ports as readonly number[]).includes(port),
          `${host} ${port}`,
        );
  });

  test('a rule for one address to bind is none for the wildcard, but one for the wildcard itself is', () => {
    const role = compileRole('network: {bind: ["tcp:10.0.0.1:80", "tcp:0.0.0.0:81"]}');
    assert.equal(verdict(role, 'bind', TCP, '0.0.0.0', 80), 'no rule');
    assert.equal(verdict(role, 'bind', TCP, '10.0.0.1', 80), 'tcp:10.0.0.1:80');
    assert.equal(verdict(role, 'bind', TCP, '0.0.0.0', 81), 'tcp:0.0.0.0:81');
  });

  test('a port of the kernel’s choice takes all ports', () => {
    const port = (network: string) =>
      verdict(compileRole(`network: {${network}}`), 'bind', TCP, '0.0.0.0', 0);
    assert.equal(port('bind: [tcp]'), 'tcp');
    assert.equal(port('bind: [tcp:1-65535]'), 'tcp:1-65535');
    assert.equal(port('bind: [tcp:1-65534]'), 'no rule');
    assert.equal(port('bind: [tcp], deny: [tcp:22]'), 'no tcp:22');
    assert.equal(port('bind: [tcp:1-1000, tcp:1001-65535]'), 'tcp:1-1000');
    assert.equal(port('bind: ["tcp:0.0.0.0:80", tcp]'), 'tcp');
    assert.equal(port('bind: [tcp], deny: ["tcp:0.0.0.0:80"]'), 'no tcp:0.0.0.0:80');
  });
});

test('the named lists cover what they say, in both families', () => {
  const role = compileRole(
    'network: {connect: [tcp, udp], deny: ["@metadata", "tcp:@private:1", "tcp:@loopback:2", "tcp:@link-local:3"]}',
  );
  const denied = (host: string, port: number) => verdict(role, 'connect', TCP, host, port).startsWith('no ');
  for (const host of ['169.254.169.254', 'fd00:ec2::254', '100.100.100.200', '64:ff9b::a9fe:a9fe'])
    assert.ok(denied(host, 80), host);
  for (const host of [
    '64:ff9b::10.9.9.9',
    '64:ff9b::192.168.1.1',
    '10.9.9.9',
    '172.31.0.1',
    '192.168.1.1',
    '100.64.0.1',
    'fc00::1',
    'fdff::1',
  ])
    assert.ok(denied(host, 1) && !denied(host, 4), host);
  for (const host of ['127.0.0.1', '127.9.9.9', '::1']) assert.ok(denied(host, 2) && !denied(host, 4), host);
  for (const host of ['169.254.1.1', 'fe80::1', 'febf::1'])
    assert.ok(denied(host, 3) && !denied(host, 4), host);
  for (const host of [
    '64:ff9b::172.32.0.1',
    '172.32.0.1',
    '11.0.0.1',
    '128.0.0.1',
    '::2',
    'fec0::1',
    'fe00::1',
    '192.167.0.1',
  ])
    for (const port of [1, 2, 3]) assert.ok(!denied(host, port), `${host} ${port}`);
});

describe('unix sockets', () => {
  const ask = (role: CompiledRole, path: string, access: number) => {
    const { granted, rule } = decide(role, { device: disk, path, access });
    return `${granted ? '' : 'no '}${role.rules[rule - 1]?.text ?? 'rule'}`;
  };
  test('with a path are found as files are, and the longest match decides, files.write among them', () => {
    const role = compileRole(
      `files: {read: [/run], write: [/run/app, /run/db/open.sock], deny: [/run/db/secret]},
       network: {connect: ["unix:/run/db", "unix:/run/php/*.sock"], bind: ["unix:/run/own.sock"],
                 deny: ["unix:/run/app/no.sock", "unix:/run/db", "unix:/run/db/*/x"]}`,
    );
    assert.equal(ask(role, '/run/php/a.sock', Access.CONNECT), 'unix:/run/php/*.sock');
    assert.equal(ask(role, '/run/php/a.sock', Access.BIND), 'no /run');
    assert.equal(ask(role, '/run/own.sock', Access.BIND), 'unix:/run/own.sock');
    assert.equal(ask(role, '/run/own.sock', Access.CONNECT), 'no /run');
    assert.equal(ask(role, '/run/app/x', Access.CONNECT), '/run/app');
    assert.equal(ask(role, '/run/app/x', Access.BIND), '/run/app');
    assert.equal(ask(role, '/run/app/no.sock', Access.CONNECT), 'no unix:/run/app/no.sock');
    assert.equal(ask(role, '/run/app/no.sock', Access.BIND), 'no unix:/run/app/no.sock');
    // deny and a grant for the same path.
    assert.equal(ask(role, '/run/db/x', Access.CONNECT), 'no unix:/run/db');
    assert.equal(ask(role, '/run/db/open.sock', Access.CONNECT), '/run/db/open.sock');
    assert.equal(ask(role, '/run/db/secret/x', Access.CONNECT), 'no unix:/run/db/*/x');
    assert.equal(ask(role, '/run/db/secret', Access.CONNECT), 'no /run/db/secret');
    assert.equal(ask(role, '/elsewhere', Access.CONNECT), 'no rule');
  });

  test('a longer grant of the right to write outweighs a deny rule, a shorter one does not', () => {
    for (const [write, deny, granted] of [
      ['/a/b', '/a', true],
      ['/a', '/a/b', false],
      ['/a/b', '/a/b', false],
    ] as const) {
      const role = compileRole(
        `files: {write: [${write}]}, network: {connect: [tcp:1], deny: ["unix:${deny}"]}`,
      );
      assert.equal(
        decide(role, { device: disk, path: '/a/b/c', access: Access.CONNECT }).granted,
        granted,
        `${write} ${deny}`,
      );
    }
  });

  test('with a path are all granted under files: any, but for those that are denied', () => {
    const role = compileRole('files: any, network: {bind: [tcp:1], deny: ["unix:/run/docker.sock"]}');
    assert.match(ask(role, '/run/docker.sock', Access.CONNECT), /^no unix:/);
    assert.ok(decide(role, { device: disk, path: '/run/x', access: Access.CONNECT }).granted);
    assert.ok(decide(role, { device: disk, path: '/run/docker.sock', access: Access.WRITE }).granted);
  });

  test('without rules of their own belong to who may write their path, where there is a network', () => {
    const role = (network: string) => compileRole(`files: {write: [/run]}, network: ${network}`);
    const may = (network: string, path: string) =>
      decide(role(network), { device: disk, path, access: Access.CONNECT }).granted;
    assert.ok(may('{bind: [tcp:1]}', '/run/x'));
    assert.ok(!may('{bind: [tcp:1]}', '/x'));
    assert.ok(!may('none', '/run/x'));
    assert.ok(may('any', '/x'));
  });

  test('with an abstract name are matched byte by byte, and what spells out most decides', () => {
    const role = compileRole(
      `network: {connect: ["unix:@bus-*", "unix:@/tmp/.X11-unix/X?", "unix:@*z"],
                 bind: ["unix:@own"], deny: ["unix:@bus-secret*", "unix:@bus-*-b", "unix:@own?"]}`,
    );
    const name = (text: string, direction: Direction = 'connect') => {
      const { granted, rule } = decide(role, { direction, name: Buffer.from(text).toString('latin1') });
      return `${granted ? '' : 'no '}${role.rules[rule - 1]?.text ?? 'rule'}`;
    };
    assert.equal(name('bus-1'), 'unix:@bus-*');
    assert.equal(name('bus-/\0/1'), 'unix:@bus-*');
    assert.equal(name('bus-secret'), 'no unix:@bus-secret*');
    assert.equal(name('bus-a-b'), 'no unix:@bus-*-b');
    assert.equal(name('/tmp/.X11-unix/X0'), 'unix:@/tmp/.X11-unix/X?');
    assert.equal(name('/tmp/.X11-unix/Xé'), 'unix:@/tmp/.X11-unix/X?');
    assert.equal(name('own'), 'no rule');
    assert.equal(name('own', 'bind'), 'unix:@own');
    assert.equal(name('own\0', 'bind'), 'no unix:@own?');
    assert.equal(name('\0z'), 'unix:@*z');
    assert.equal(name(''), 'no rule');
  });
});

test('a name of the kernel’s choice takes a rule for all names, and none that denies one of them', () => {
  const choice = (network: string) => {
    const role = compileRole(`network: {${network}}`);
    const key = RuleKey.encode({ state: 0, kind: KeyKind.ABSTRACT, length: 0, name: new Uint8Array() });
    const [, value] = role.entries.find(([one]) => Buffer.compare(one, key) === 0) ?? [];
    assert.ok(value);
    const { access, rule } = Rule.decode(value);
    return `${access ? '' : 'no '}${role.rules[rule - 1]?.text ?? 'rule'}`;
  };
  assert.equal(choice('bind: ["unix:@*"]'), 'unix:@*');
  assert.equal(choice('bind: ["unix:@a*"]'), 'no rule');
  assert.equal(choice('bind: ["unix:@*"], deny: ["unix:@a*"]'), 'no unix:@a*');
  assert.equal(choice('bind: ["unix:@*"], deny: ["unix:@x*"]'), 'unix:@*');
  assert.equal(choice('bind: ["unix:@*"], deny: ["unix:@??????"]'), 'unix:@*');
});

describe('the compiled rules answer as the model does', () => {
  test('on random rules and ends', () => {
    let granted = 0;
    let asked = 0;
    fc.assert(
      fc.property(networkRules, fc.array(address, { maxLength: 3 }), (all, others) => {
        if (all.length === 0) return;
        const lists = ['bind', 'connect', 'deny'].flatMap((list) => {
          const texts = all.filter((one) => one.list === list).map(ruleText);
          return texts.length > 0 ? [`${list}: ${JSON.stringify(texts)}`] : [];
        });
        const role = compileRole(`network: {${lists.join(', ')}}`);
        for (const bytes of [...others, [0, 0, 0, 0], ...hostsNear(all)])
          for (const direction of ['bind', 'connect'] as const)
            for (const protocol of ['tcp', 'udp'] as const)
              for (const port of [1, 80, 81, 443, 65535]) {
                const end: ModelEnd = { direction, protocol, bytes, port };
                const answer = decide(role, {
                  direction,
                  protocol: protocol === 'tcp' ? TCP : UDP,
                  address: Buffer.from(bytes).toString('hex'),
                  port,
                });
                const told = JSON.stringify({ all: all.map(ruleText), end });
                assert.equal(answer.granted, mayUse(all, end), told);
                const candidates = deciding(all, end).map(ruleText);
                const text = role.rules[answer.rule - 1]?.text;
                assert.ok(text === undefined ? candidates.length === 0 : candidates.includes(text), told);
                asked++;
                if (answer.granted) granted++;
              }
      }),
      { numRuns: 300, seed: 20_261_121 },
    );
    assert.ok(granted > asked / 50 && granted < asked / 2, `${granted} of ${asked}`);
  });
});

test('ten thousand rules compile, and the whole of the ports is one entry', () => {
  const texts = Array.from({ length: 10_000 }, (_, i) => `tcp:10.${i >> 8}.${i & 255}.1:${1000 + (i % 9)}`);
  const role = compileRole(`network: {connect: ${JSON.stringify(texts)}}`);
  assert.equal(role.entries.length, 20_001);
  const whole = compileRole('network: {connect: [tcp:1-65535]}');
  assert.equal(whole.entries.length, 6);
  assert.equal(verdict(whole, 'connect', TCP, '192.0.2.1', 65535), 'tcp:1-65535');
});

test('what no rules decide the scope does', () => {
  for (const [network, granted] of [
    ['any', true],
    ['none', false],
  ] as const) {
    const role = compileRole(`network: ${network}`);
    const address = hexOf('127.0.0.1');
    assert.deepEqual(decide(role, { direction: 'bind', protocol: TCP, address, port: 80 }), {
      granted,
      rule: 0,
      reason: Reason.RULE,
    });
  }
});

test('addresses are shown as people write them', () => {
  const shown = (prefix: Prefix['address']) => showAddress(prefix);
  assert.equal(shown('0a000005'), '10.0.0.5');
  assert.equal(shown('00000000000000000000000000000001'), '::1');
  assert.equal(shown('fd000ec2000000000000000000000254'), 'fd00:ec2::254');
});
