// Several roles that hold together: what every one of them grants is granted, and nothing else.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { Access, KeyKind, Role, RoleFlag, Rule, RuleKey, Scope } from '../../src/abi.js';
import { type CompiledRole, compile, decide, type Question } from '../../src/profiles/compile.js';
import { locate } from '../../src/profiles/locate.js';
import { type Mount, parseMountinfo } from '../../src/profiles/mounts.js';
import { TCP, UDP } from '../../src/profiles/network.js';
import { parse } from '../../src/profiles/parse.js';
import { type PathSection, PolicyError, type ResolvedRole } from '../../src/profiles/policy.js';
import { powerMask } from '../../src/profiles/powers.js';
import { resolve } from '../../src/profiles/resolve.js';
import { deciderOf, maxStack, numberStack, powersOf } from '../../src/profiles/stack.js';
import { address, hostsNear, modelRole, namespaceOf, networkRules, plainPath, wild } from './arbitrary.js';
import {
  allPaths,
  deciding,
  fileOrder,
  isHidden,
  type ModelRole,
  type ModelRule,
  mayExec,
  mayRead,
  mayUseSocket,
  mayWrite,
  type Namespace,
  namesOfObjects,
  objectKey,
  pathText,
} from './model.js';
import { decidingNames, type ModelEnd, type ModelName, mayUse, ruleText } from './network-model.js';

const rootOnly = parseMountinfo(Buffer.from('20 1 8:1 / / rw - ext4 /dev/sda1 rw\n'));
const disk = (8 << 20) | 1;

const compileAll = (stack: readonly ResolvedRole[], mounts: readonly Mount[] = rootOnly): CompiledRole =>
  compile(
    stack.map((role) => locate(role, () => undefined)),
    mounts,
  );

/** Roles a, b, c … with these bodies. */
function rolesOf(...bodies: string[]): ResolvedRole[] {
  const names = bodies.map((_, i) => String.fromCharCode(97 + i));
  const text = bodies.map((body, i) => `  ${names[i]}: {id: ${900 + i}, ${body}}`).join('\n');
  const roles = resolve([parse(Buffer.from(`version: 1\nroles:\n${text}\n`), 'p.yaml')]);
  return names.map((name) => roles.get(name) as ResolvedRole);
}

const stackOf = (...bodies: string[]): CompiledRole => compileAll(rolesOf(...bodies));

const sectionOf = (question: Question) => {
  if (!('path' in question) || question.access & (Access.CONNECT | Access.BIND)) return 'network';
  return question.access & (Access.EXEC | Access.MAP) ? 'exec' : 'files';
};

/** `yes`, or who denies and by which rule. */
function verdict(compiled: CompiledRole, question: Question): string {
  const { granted, rule } = decide(compiled, question);
  if (granted) return 'yes';
  const role = compiled.members[deciderOf(compiled.members, sectionOf(question), rule)]?.name;
  return `no, ${role}: ${compiled.rules[rule - 1]?.text ?? 'no rule'}`;
}
const path = (path: string, access: number): Question => ({ device: disk, path, access });
const end = (direction: 'bind' | 'connect', host: string, port: number, protocol = TCP): Question => ({
  direction,
  protocol,
  address: Buffer.from(host.split('.').map(Number)).toString('hex'),
  port,
});
const name = (direction: 'bind' | 'connect', name: string): Question => ({ direction, name });

describe('a stack of roles', () => {
  const files = stackOf(
    'files: {read: [/etc], write: [/srv, /tmp]}, exec: [/usr/bin]',
    'files: {read: [/etc, /srv], write: [/srv/up], deny: [/etc/secret]}, exec: [/usr/bin/id]',
  );
  test('grants what every role grants', () => {
    assert.equal(verdict(files, path('/etc/hosts', Access.READ)), 'yes');
    assert.equal(verdict(files, path('/srv/up/x', Access.WRITE)), 'yes');
    assert.equal(verdict(files, path('/usr/bin/id', Access.EXEC)), 'yes');
  });
  test('denies what one of them denies, and names that one and its rule', () => {
    assert.equal(verdict(files, path('/srv/x', Access.WRITE)), 'no, b: /srv');
    assert.equal(verdict(files, path('/tmp/x', Access.READ)), 'no, b: no rule');
    assert.equal(verdict(files, path('/etc/secret/x', Access.READ)), 'no, b: /etc/secret');
    assert.equal(verdict(files, path('/usr/bin/env', Access.EXEC)), 'no, b: no rule');
  });
  test('names the first of those that grant least', () => {
    assert.equal(verdict(files, path('/var', Access.READ)), 'no, a: no rule');
    assert.equal(verdict(files, path('/etc/x', Access.WRITE)), 'no, a: /etc');
  });
  test('hides what one of them denies expressly', () => {
    assert.ok(Role.decode(files.role).flags & RoleFlag.HIDES);
    assert.equal(verdict(files, path('/etc/secret', Access.HIDDEN)), 'yes');
    assert.match(verdict(files, path('/etc/hosts', Access.HIDDEN)), /^no/);
  });
  test('of one role is that role, byte for byte', () => {
    const [role] = rolesOf('files: {read: [/etc]}, network: {connect: [tcp:1, "unix:@x"]}');
    assert.ok(role);
    const values = compileAll([role]).entries.map(([, value]) => Rule.decode(value));
    assert.ok(values.every(({ rule, execRule }) => rule <= 3 && execRule === 0));
    const again = compileAll([{ ...role, name: 'other' }]);
    assert.equal(again.digest, compileAll([role]).digest);
  });
  test('has the name of all and the id of the first', () => {
    assert.equal(files.name, 'a+b');
    assert.equal(files.id, 900);
    assert.equal(Role.decode(files.role).id, 900);
  });
  test('is audited if all of its roles are', () => {
    assert.equal(stackOf('mode: audit', 'mode: audit').audit, true);
    assert.equal(stackOf('mode: audit', 'mode: enforce').audit, false);
  });
});

describe('what a section says as a whole', () => {
  const scopesOf = (...bodies: string[]) => {
    const { files, exec, network } = Role.decode(stackOf(...bodies).role);
    return [files, exec, network];
  };
  const any = 'files: any, exec: any, network: any';
  const none = 'files: none, exec: none, network: none';
  const rules = 'files: {read: [/a]}, exec: [/a], network: {bind: [tcp:1]}';
  test('any and any is any, any and rules are the rules, and none with whatever is none', () => {
    for (const [bodies, scope] of [
      [[any, any], Scope.ANY],
      [[any, rules], Scope.RULES],
      [[rules, any, any], Scope.RULES],
      [[rules, none], Scope.NONE],
      [[any, none, rules], Scope.NONE],
    ] as const)
      assert.deepEqual(scopesOf(...bodies), [scope, scope, scope], bodies.join('; '));
  });
  test('needs no entries where no rule could grant anything', () => {
    assert.equal(stackOf(none, rules).entries.filter(([key]) => RuleKey.decode(key).kind < 4).length, 0);
    assert.equal(stackOf(any, any).entries.length, 0);
  });
  test('is denied by the role that says none, whoever comes first', () => {
    assert.equal(verdict(stackOf(rules, none), path('/a', Access.READ)), 'no, b: no rule');
    assert.equal(verdict(stackOf(rules, none), end('bind', '0.0.0.0', 1)), 'no, b: no rule');
  });
  test('of any keeps a role from being named for what another does not grant', () => {
    const stack = stackOf(any, rules);
    assert.equal(verdict(stack, path('/b', Access.READ)), 'no, b: no rule');
    assert.equal(verdict(stack, end('connect', '10.0.0.1', 9)), 'no, b: no rule');
    assert.equal(verdict(stack, name('connect', 'x')), 'no, b: no rule');
  });
});

describe('executable memory', () => {
  const library = 'files: {read: [/lib]}, exec: none';
  const marked = (body: string) =>
    rolesOf(body).map((role) => ({
      ...role,
      paths: role.paths.map((rule) => (rule.text === '/lib' ? { ...rule, library: true as const } : rule)),
    }));
  const map = (...stack: ResolvedRole[]) => verdict(compileAll(stack), path('/lib/x.so', Access.MAP));
  test('is a library’s where all roles say so, or let it be executed', () => {
    assert.equal(map(...marked(library), ...marked(library)), 'yes');
    assert.equal(map(...marked(library), ...rolesOf('files: {read: [/]}, exec: [/lib]')), 'yes');
    assert.equal(map(...marked(library), ...rolesOf('files: any, exec: any')), 'yes');
  });
  test('is not that of what one role only reads', () => {
    assert.equal(
      map(...marked(library), ...rolesOf('files: {read: [/lib]}, exec: [/bin]')),
      'no, a: no rule',
    );
  });
  test('is nobody’s that has no file where one role says jit: none', () => {
    const flags = (...bodies: string[]) => Role.decode(stackOf(...bodies).role).flags & RoleFlag.NO_JIT;
    assert.equal(flags('jit: any', 'exec: any'), 0);
    assert.ok(flags('jit: any', 'jit: none'));
  });
});

describe('the powers of a stack', () => {
  const powers = (...bodies: string[]) => Role.decode(stackOf(...bodies).role).powers;
  test('are those that all roles have, with what their own sections imply', () => {
    const has = { files: true, bind: false };
    assert.equal(
      powers('allow: [mount, kill], files: any', 'allow: [kill, nice], files: {read: [/]}'),
      powerMask(['kill'], has),
    );
    assert.equal(
      powers('allow: any, files: any, network: any', 'allow: [nice]'),
      powerMask(['nice'], { files: false, bind: false }),
    );
  });
  test('do not depend on the order', () => {
    const bodies = ['allow: [mount, kill], network: any', 'allow: [kill], network: {bind: [tcp:80]}'];
    assert.equal(powers(...bodies), powers(...bodies.toReversed()));
    assert.deepEqual(
      powersOf(rolesOf('allow: any')[0] as ResolvedRole),
      powerMask('any', { files: true, bind: true }),
    );
  });
});

describe('the addresses of a stack', () => {
  const stack = stackOf(
    'network: {connect: ["tcp:10.0.0.0/8", tcp:443], deny: ["10.1.0.0/16"]}',
    'network: {connect: ["tcp:10.0.0.0/16:1-1000", "tcp:10.1.2.0/24", tcp:443-444], bind: [tcp]}',
  );
  const ask = (host: string, port: number) => verdict(stack, end('connect', host, port));
  test('are decided by each role’s own longest prefix', () => {
    assert.equal(ask('10.0.0.1', 80), 'yes');
    assert.equal(ask('10.0.0.1', 1001), 'no, b: no rule');
    assert.equal(ask('10.1.2.3', 80), 'no, a: 10.1.0.0/16');
    assert.equal(ask('10.9.0.1', 443), 'yes');
    assert.equal(ask('10.9.0.1', 80), 'no, b: no rule');
    assert.equal(ask('192.0.2.1', 443), 'yes');
    assert.equal(ask('192.0.2.1', 444), 'no, a: no rule');
  });
  test('are named for the first role where no rule of any speaks of them', () => {
    assert.equal(ask('192.0.2.1', 1), 'no, a: no rule');
    assert.equal(verdict(stack, end('bind', '0.0.0.0', 80)), 'no, a: no rule');
  });
  test('leave a port to the kernel’s choice where all do', () => {
    const choice = (...bodies: string[]) => verdict(stackOf(...bodies), end('bind', '0.0.0.0', 0));
    assert.equal(choice('network: {bind: [tcp]}', 'network: {bind: [tcp:1-65535]}'), 'yes');
    assert.equal(choice('network: {bind: [tcp]}', 'network: {bind: [tcp:80]}'), 'no, b: no rule');
    assert.equal(choice('network: {bind: [tcp]}', 'network: {bind: [tcp], deny: [tcp:22]}'), 'no, b: tcp:22');
  });
});

describe('the abstract names of a stack', () => {
  const stack = stackOf(
    'network: {connect: ["unix:@bus-*"], deny: ["unix:@bus-x"], bind: ["unix:@*"]}',
    'network: {connect: ["unix:@*-1", "unix:@bus-x"], bind: ["unix:@*"], deny: ["unix:@own"]}',
  );
  test('are decided by each role’s own rules', () => {
    assert.equal(verdict(stack, name('connect', 'bus-1')), 'yes');
    assert.equal(verdict(stack, name('connect', 'bus-2')), 'no, b: no rule');
    assert.equal(verdict(stack, name('connect', 'other-1')), 'no, a: no rule');
    assert.equal(verdict(stack, name('connect', 'bus-x')), 'no, a: unix:@bus-x');
    assert.equal(verdict(stack, name('bind', 'own')), 'no, b: unix:@own');
  });
  test('are the kernel’s to choose where all let it', () => {
    const choice = (...bodies: string[]) => {
      const key = RuleKey.encode({ state: 0, kind: KeyKind.ABSTRACT, length: 0, name: new Uint8Array() });
      const [, value] = stackOf(...bodies).entries.find(([one]) => Buffer.compare(one, key) === 0) ?? [];
      assert.ok(value);
      return Rule.decode(value);
    };
    const all = 'network: {bind: ["unix:@*"]}';
    assert.equal(choice(all, all).access, 1);
    assert.equal(choice(all, 'network: {bind: ["unix:@a*"]}').access, 0);
    assert.equal(choice(all, 'network: {bind: ["unix:@a*"]}').rule, 0, 'for which there is a reason');
    assert.equal(choice('network: any', all).access, 1);
  });
});

describe('unix sockets with a path', () => {
  const ask = (access: number, ...bodies: string[]) => verdict(stackOf(...bodies), path('/run/x', access));
  const writes = 'files: {write: [/run]}, network: {bind: [tcp:1]}';
  test('belong to who may write them, in roles without rules for them', () => {
    assert.equal(ask(Access.CONNECT, writes, writes), 'yes');
    assert.equal(
      ask(Access.CONNECT, writes, 'files: {read: [/run]}, network: {bind: [tcp:1]}'),
      'no, b: /run',
    );
  });
  test('are decided by rules in one role and by files in another', () => {
    const connects = 'network: {connect: ["unix:/run"]}';
    assert.equal(ask(Access.CONNECT, writes, connects), 'yes');
    assert.equal(ask(Access.CONNECT, writes, 'network: {connect: ["unix:/srv"]}'), 'no, b: no rule');
    assert.equal(ask(Access.BIND, writes, connects), 'no, b: no rule');
    assert.equal(
      ask(Access.CONNECT, `${writes.slice(0, -1)}, deny: ["unix:/run/x"]}`, connects),
      'no, a: unix:/run/x',
    );
  });
  test('are all open to a role with any network, but to bind one takes its path', () => {
    const any = 'files: {read: [/run]}, network: any';
    assert.equal(ask(Access.CONNECT, any, writes), 'yes');
    assert.equal(ask(Access.BIND, any, writes), 'no, a: /run');
  });
});

test('what cannot be held is refused in the name of the stack', () => {
  const wide = (letter: string) =>
    `files: {read: [${Array.from({ length: 14 }, (_, i) => `"/**/${letter}${i}/*/*/x"`).join()}]}`;
  assert.throws(
    () => stackOf(...['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'].map(wide)),
    (error) =>
      error instanceof PolicyError &&
      /stack a\+b\+c\+d\+e\+f\+g\+h compiles to more than .* or fewer roles/.test(error.message),
  );
});

test('a thousand ports under thousands of addresses are refused, and hundreds are not', () => {
  const ports = (count: number) =>
    `network: {connect: ${JSON.stringify(Array.from({ length: count }, (_, i) => `tcp:${2 * i + 1}`))}}`;
  const hosts = Array.from({ length: 2000 }, (_, i) => `tcp:10.0.${i >> 8}.${i & 255}`);
  const addresses = `network: {connect: ${JSON.stringify(hosts)}}`;
  assert.throws(
    () => stackOf(ports(1000), addresses),
    (error) =>
      error instanceof PolicyError &&
      /stack a\+b compiles to more than .* ranges of ports/.test(error.message),
  );
  const stack = stackOf(ports(100), addresses);
  assert.equal(verdict(stack, end('connect', '10.0.1.1', 199)), 'yes');
  assert.equal(verdict(stack, end('connect', '10.0.1.1', 198)), 'no, a: no rule');
});

test('the numbers of rules go through all roles, and each has one for none of its rules', () => {
  const stack = rolesOf(
    'files: {read: [/a, /b]}, network: {connect: [tcp:1, "unix:@x"]}',
    'files: {read: [/c]}',
    'network: {connect: [tcp:2]}',
  ).map((role) => locate(role, () => undefined));
  const numbers = numberStack(stack).map(({ paths, addresses, abstracts, none }) => [
    paths,
    addresses,
    abstracts,
    none,
  ]);
  assert.deepEqual(numbers, [
    [1, 3, 4, 7],
    [5, 6, 6, 8],
    [6, 6, 7, 9],
  ]);
  const { members } = compile(stack, rootOnly);
  const owners = [1, 4, 5, 6, 7, 8, 9].map((number) => deciderOf(members, 'files', number));
  assert.deepEqual(owners, [0, 0, 1, 2, 0, 1, 2]);
});

const scopes = { any: Scope.ANY, none: Scope.NONE, rules: Scope.RULES };
type Word = keyof typeof scopes;
const blank = (changes: Partial<ResolvedRole>): ResolvedRole => ({
  name: 'r',
  id: 1,
  description: '',
  sections: {},
  audit: false,
  files: Scope.NONE,
  exec: Scope.NONE,
  network: Scope.NONE,
  allow: [],
  jit: true,
  kills: false,
  paths: [],
  addresses: [],
  abstracts: [],
  vars: [],
  place: { file: 'p.yaml', line: 1, column: 1 },
  ...changes,
});

describe('on random stacks', () => {
  /** A role of the model with what the model of one role leaves out. */
  interface ModelMember extends ModelRole {
    files: Word;
    network: Word;
    /** What it reads by a rule are libraries. */
    libraries: boolean;
    sockets: { list: 'connect' | 'bind' | 'deny'; path: string[] }[];
  }
  const word = fc.constantFrom<Word>('rules', 'rules', 'rules', 'rules', 'any', 'none');
  const member: fc.Arbitrary<ModelMember> = fc
    .record({
      role: modelRole,
      files: word,
      network: word,
      libraries: fc.boolean(),
      sockets: fc.array(
        fc.record({
          list: fc.constantFrom('connect' as const, 'bind' as const, 'deny' as const),
          path: fc.oneof(plainPath, fc.array(wild, { maxLength: 3 })),
        }),
        { maxLength: 2 },
      ),
    })
    .map(({ role, files, network, libraries, sockets }) => ({
      exec: role.exec,
      // Only of rules for files there are some that deny.
      rules: role.rules.filter(({ section }) => section === 'exec' || files === 'rules'),
      files,
      network,
      libraries,
      sockets: network === 'rules' ? sockets : [],
    }));
  const order = fc.array(member, { minLength: 1, maxLength: maxStack });

  const textOf: Record<ModelRule['section'], PathSection> = {
    read: 'files.read',
    write: 'files.write',
    deny: 'files.deny',
    exec: 'exec',
  };
  const roleOf = ({ rules, sockets, ...says }: ModelMember): ResolvedRole =>
    blank({
      files: scopes[says.files],
      exec: scopes[says.exec],
      network: scopes[says.network],
      paths: [
        ...rules.map(({ section, path }) => ({
          section: textOf[section],
          text: pathText(path),
          ...(section === 'read' && says.libraries && { library: true as const }),
        })),
        ...sockets.map(({ list, path }) => ({
          section: `network.${list}` as PathSection,
          text: `unix:${pathText(path)}`,
        })),
      ].map((rule) => ({ ...rule, file: 'p.yaml', line: 1, column: 1 })),
    });

  /** What one role says of an object that goes by these names. */
  const permits: Record<string, (role: ModelMember, names: string[][]) => boolean> = {
    READ: (role, names) => role.files === 'any' || mayRead(role, names),
    WRITE: (role, names) => role.files === 'any' || mayWrite(role, names),
    EXEC: mayExec,
    MAP: (role, names) =>
      mayExec(role, names) ||
      (role.libraries && deciding(role.rules, names, fileOrder)[0]?.section === 'read'),
    CONNECT: (role, names) =>
      role.network === 'any' || (role.network === 'rules' && mayReach(role, 'connect', names)),
    BIND: (role, names) =>
      role.network === 'any'
        ? role.files === 'any' || mayWrite(role, names)
        : role.network === 'rules' && mayReach(role, 'bind', names),
    HIDDEN: (role, names) => !isHidden(role, names),
  };
  const mayReach = (role: ModelMember, list: 'connect' | 'bind', names: string[][]): boolean => {
    if (role.sockets.length === 0) return role.files === 'any' || mayWrite(role, names);
    const own: ModelRule[] = [
      ...role.sockets
        .filter((rule) => rule.list === list || rule.list === 'deny')
        .map(({ list, path }): ModelRule => ({ section: list === 'deny' ? 'deny' : 'exec', path })),
      ...role.rules.filter(({ section }) => section === 'deny'),
    ];
    const files = role.files === 'any' ? [{ section: 'write' as const, path: [] }] : role.rules;
    return mayUseSocket(own, files, names);
  };

  const objects = [1, 2, 3].flatMap((device) =>
    allPaths(['a', 'b', 'c'], 2).map((path) => ({ device, path })),
  );
  const visible = allPaths(['a', 'b', 'c'], 5);
  const compileModels = (stack: readonly ModelMember[], namespace: Namespace) =>
    compileAll(
      stack.map(roleOf),
      parseMountinfo(
        Buffer.from(
          namespace
            .lines()
            .map((line) => `${line}\n`)
            .join(''),
        ),
      ),
    );

  test('paths are decided as the models of all roles decide, and who is named denies', () => {
    let asked = 0;
    let granted = 0;
    fc.assert(
      fc.property(order, namespaceOf, (stack, namespace) => {
        const compiled = compileModels(stack, namespace);
        const { network } = Role.decode(compiled.role);
        const namesOf = namesOfObjects(namespace, visible);
        const known = new Set([...namesOf.keys()].map((key) => key.split(':')[0]));
        for (const object of objects) {
          const names = namesOf.get(objectKey(object)) ?? [];
          for (const [access, permit] of Object.entries(permits)) {
            // What makes a node is asked for a file there, and so it is only where rules are asked.
            if (access === 'BIND' && network !== Scope.RULES) continue;
            const question: Question = {
              device: object.device,
              path: pathText(object.path),
              access: Access[access as keyof typeof Access],
            };
            const answer = decide(compiled, question);
            const may = answer.granted !== (access === 'HIDDEN');
            const votes = stack.map((role) => permit(role, names));
            // Of a file system that nobody knows nothing is granted as soon as one role's rules are asked.
            const isKnown = known.has(String(object.device)) || answer.granted;
            const told = `${access} ${objectKey(object)} known as ${names.map(pathText).join(' ')}`;
            if (access === 'CONNECT' && !isKnown) assert.ok(!may, told);
            else if (access !== 'HIDDEN' || isKnown) assert.equal(may, votes.every(Boolean), told);
            if (!may && answer.reason === 0) {
              const decider = deciderOf(compiled.members, sectionOf(question), answer.rule);
              assert.equal(votes[decider], false, `${told} names ${decider}`);
            }
            asked++;
            if (may) granted++;
          }
        }
      }),
      { numRuns: 120, seed: 20_261_121 },
    );
    assert.ok(asked > 20_000 && granted > asked / 50 && granted < asked / 2, `${granted} of ${asked}`);
  });

  test('the order of roles changes no answer, and a role that stands twice says nothing more', () => {
    fc.assert(
      fc.property(order, namespaceOf, (stack, namespace) => {
        const [forth, back, twice] = [stack, stack.toReversed(), [...stack, stack[0] as ModelMember]].map(
          (one) => compileModels(one, namespace),
        );
        assert.ok(forth && back && twice);
        for (const { device, path } of objects)
          for (const access of [Access.READ, Access.WRITE, Access.EXEC, Access.MAP, Access.CONNECT]) {
            const question = { device, path: pathText(path), access };
            const { granted } = decide(forth, question);
            assert.equal(decide(back, question).granted, granted);
            assert.equal(decide(twice, question).granted, granted);
          }
      }),
      { numRuns: 25, seed: 20_261_121 },
    );
  });

  test('addresses are decided as the models of all roles decide, and who is named denies', () => {
    let asked = 0;
    let granted = 0;
    const roles = fc.array(fc.oneof({ weight: 5, arbitrary: networkRules }, fc.constant('any' as const)), {
      minLength: 1,
      maxLength: maxStack,
    });
    fc.assert(
      fc.property(roles, fc.array(address, { maxLength: 2 }), (stack, others) => {
        const bodies = stack.map((rules) => {
          if (rules === 'any') return 'network: any';
          const lists = ['bind', 'connect', 'deny'].flatMap((list) => {
            const texts = rules.filter((one) => one.list === list).map(ruleText);
            return texts.length > 0 ? [`${list}: ${JSON.stringify(texts)}`] : [];
          });
          if (lists.length === 0) return 'network: none';
          return `network: {${lists.join(', ')}}`;
        });
        const all = stack.flatMap((rules) => (rules === 'any' ? [] : rules));
        const compiled = stackOf(...bodies);
        const alone = rolesOf(...bodies).map((role) => compileAll([role]));
        for (const bytes of [...others, [0, 0, 0, 0], ...hostsNear(all).slice(0, 20)])
          for (const direction of ['bind', 'connect'] as const)
            for (const protocol of ['tcp', 'udp'] as const)
              for (const port of [1, 80, 81, 443, 65535, 0]) {
                const one: ModelEnd = { direction, protocol, bytes, port };
                const question = {
                  direction,
                  protocol: protocol === 'tcp' ? TCP : UDP,
                  address: Buffer.from(bytes).toString('hex'),
                  port,
                };
                const answer = decide(compiled, question);
                // A port of the kernel's choice is no model's.
                const votes = stack.map((rules, i) =>
                  port === 0
                    ? decide(alone[i] as CompiledRole, question).granted
                    : rules === 'any' || mayUse(rules, one),
                );
                const told = JSON.stringify({ bodies, one });
                assert.equal(answer.granted, votes.every(Boolean), told);
                if (!answer.granted)
                  assert.equal(votes[deciderOf(compiled.members, 'network', answer.rule)], false, told);
                asked++;
                if (answer.granted) granted++;
              }
      }),
      { numRuns: 80, seed: 20_261_121 },
    );
    assert.ok(asked > 20_000 && granted > asked / 100 && granted < asked / 2, `${granted} of ${asked}`);
  });

  test('abstract names are decided as the models of all roles decide, and who is named denies', () => {
    let asked = 0;
    let granted = 0;
    const rule: fc.Arbitrary<ModelName> = fc.record({
      list: fc.constantFrom('bind', 'connect', 'connect', 'deny'),
      tokens: fc
        .array(fc.constantFrom('a', 'b', '*', '*', '?', '[ab]'), { minLength: 1, maxLength: 4 })
        .map((tokens) => tokens.filter((token, i) => token !== '*' || tokens[i - 1] !== '*')),
    });
    const names = allPaths(['a', 'b', 'c'], 4)
      .filter((letters) => letters.length > 0)
      .map((letters) => letters.join(''));
    fc.assert(
      fc.property(
        fc.array(fc.array(rule, { minLength: 1, maxLength: 6 }), { minLength: 1, maxLength: 4 }),
        (stack) => {
          const abstracts = stack.map((rules) =>
            rules.map(({ list, tokens }) => ({
              kind: 'abstract' as const,
              section: `network.${list}` as const,
              name: tokens.join(''),
              text: `unix:@${tokens.join('')}`,
              file: 'p.yaml',
              line: 1,
              column: 1,
            })),
          );
          const compiled = compileAll(
            abstracts.map((own) => blank({ network: Scope.RULES, abstracts: own })),
          );
          for (const direction of ['bind', 'connect'] as const)
            for (const name of names) {
              const answer = decide(compiled, { direction, name });
              const votes = stack.map((rules) => {
                const [decided] = decidingNames(rules, direction, name);
                return decided !== undefined && decided.list !== 'deny';
              });
              const told = JSON.stringify({
                direction,
                name,
                rules: abstracts.map((own) => own.map(({ text }) => text)),
              });
              assert.equal(answer.granted, votes.every(Boolean), told);
              if (!answer.granted)
                assert.equal(votes[deciderOf(compiled.members, 'network', answer.rule)], false, told);
              asked++;
              if (answer.granted) granted++;
            }
        },
      ),
      { numRuns: 120, seed: 20_261_121 },
    );
    assert.ok(asked > 20_000 && granted > asked / 100, `${granted} of ${asked}`);
  });
});
