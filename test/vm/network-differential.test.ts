// The kernel's verdicts on random rules for addresses and random ends of connections, held against the plain
// model of test/profiles/network-model.ts. JAILRUN_OPERATIONS says how many to try and JAILRUN_SEED where to
// begin; a failure names the seed and is shrunk to the smallest case that fails.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import fc from 'fast-check';
import {
  addressText,
  type ModelEnd,
  type ModelRule,
  masked,
  mayUse,
  ruleText,
} from '../profiles/network-model.js';
import { attach, leave, root, run, writePolicy } from './jail.js';

const operations = Number(process.env.JAILRUN_OPERATIONS ?? 2000);
const seed = Number(process.env.JAILRUN_SEED ?? 20_261_121);
const net = join(root, 'build/net');

/** What is asked: to bind, to connect, or to send without having connected. */
interface Asked extends ModelEnd {
  how: 'bind' | 'connect' | 'send';
  /** IPv4 on an IPv6 socket. */
  mapped: boolean;
}

const byte = fc.constantFrom<number[]>(0, 1, 10, 127, 128, 192, 255);
const four = fc.array(byte, { minLength: 4, maxLength: 4 });
const six = fc.array(byte, { minLength: 16, maxLength: 16 });
/** 0.0.0.0 and :: mean others to who connects, which has tests of its own; IPv4-mapped is no rule. */
const isPlain = (bytes: number[]): boolean =>
  bytes.some((one) => one !== 0) && !bytes.slice(0, 10).every((one) => one === 0);
const address = fc.oneof(four, six).filter((bytes) => (bytes.length === 4 ? bytes[0] !== 0 : isPlain(bytes)));
const port = fc.constantFrom(1, 2, 53, 79, 80, 81, 443, 1024, 65534, 65535);
const rule: fc.Arbitrary<ModelRule> = fc
  .record({
    list: fc.constantFrom<ModelRule['list']>('bind', 'connect', 'deny'),
    protocol: fc.constantFrom<ModelRule['protocol']>('tcp', 'udp', 'both'),
    prefix: fc.option(fc.tuple(address, fc.nat(128)), { nil: undefined }),
    ports: fc.option(fc.tuple(port, port), { nil: undefined }),
  })
  .map(({ list, protocol, prefix, ports }) => {
    const made: ModelRule = {
      list,
      protocol: protocol === 'both' && (list !== 'deny' || !prefix) ? 'tcp' : protocol,
    };
    if (prefix) {
      const length = prefix[1] % (prefix[0].length * 8 + 1);
      made.prefix = { bytes: masked(prefix[0], length), length };
    }
    if (ports) made.ports = [Math.min(...ports), Math.max(...ports)];
    return made;
  });
/** The whole of the ports is said by none. */
const rules = fc
  .array(rule, { minLength: 1, maxLength: 14 })
  .map((all) => [...new Map(all.map((one) => [`${one.list} ${ruleText(one)}`, one])).values()])
  .map((all) => all.filter(({ ports }) => !(ports?.[0] === 1 && ports[1] === 65535)));

const end = fc.record({
  bytes: address,
  port,
  how: fc.constantFrom<Asked['how']>('bind', 'connect', 'send'),
  udp: fc.boolean(),
  mapped: fc.boolean(),
});
interface Case {
  rules: ModelRule[];
  asked: Asked[];
}
/** Most ends lie within a prefix of a rule, or just beside it. */
const randomCase: fc.Arbitrary<Case> = fc
  .record({ rules, ends: fc.array(fc.tuple(end, fc.nat(13), fc.nat(3)), { minLength: 40, maxLength: 120 }) })
  .map(({ rules, ends }) => ({
    rules,
    asked: ends.map(([{ bytes, port, how, udp, mapped }, pick, near]): Asked => {
      const prefix = rules[pick]?.prefix;
      let at = bytes;
      if (prefix && near < 3) {
        at = prefix.bytes.map((one, i) => (8 * i >= prefix.length ? (bytes[i % bytes.length] ?? 0) : one));
        const last = prefix.length - 1;
        if (near === 0 && last >= 0)
          at = at.map((one, i) => (i === last >> 3 ? one ^ (0x80 >> (last & 7)) : one));
      }
      if (at.length === 4 ? at[0] === 0 : !isPlain(at)) at = bytes;
      return {
        direction: how === 'bind' ? 'bind' : 'connect',
        protocol: udp ? 'udp' : 'tcp',
        bytes: at,
        port,
        how,
        mapped: mapped && at.length === 4,
      };
    }),
  }));

function policyOf(all: ModelRule[]): string {
  const lists = (['bind', 'connect', 'deny'] as const).flatMap((list) => {
    const texts = all.filter((one) => one.list === list).map(ruleText);
    return texts.length > 0 ? [`${list}: ${JSON.stringify(texts)}`] : [];
  });
  const network = lists.length > 0 ? `{${lists.join(', ')}}` : 'none';
  return `version: 1\nroles: {random: {id: 640, files: any, exec: any, network: ${network}}}\n`;
}

function lineOf({ how, protocol, bytes, port, mapped }: Asked): string {
  return `${how} ${protocol} ${mapped ? '::ffff:' : ''}${addressText(bytes)} ${port}`;
}

/** Runs one case; returns how many operations it tried. Each is asked twice, the second time of what is remembered. */
function compareCase({ rules, asked }: Case): number {
  const policy = writePolicy('network-differential', policyOf(rules));
  const all = rules.length > 0 ? [...asked, ...asked] : [];
  if (all.length === 0) return 0;
  const input = all.map((one) => `${lineOf(one)}\n`).join('');
  const words = ['--policy', policy, '--role', 'random', '--exec', '--', net, '-'];
  const { status, stdout, stderr } = run(words, { input });
  assert.equal(status, 0, `${stdout.slice(-300)}\n${stderr.slice(-2000)}`);
  assert.equal(stdout.length, all.length);
  const wrong = all.filter((one, i) => (mayUse(rules, one) ? 'o' : 'd') !== stdout[i]);
  const told = wrong.slice(0, 5).map((one) => `${lineOf(one)}: should be ${mayUse(rules, one) ? 'o' : 'd'}`);
  assert.equal(wrong.length, 0, told.join('\n'));
  return all.length;
}

before(attach);
after(leave);

test(`the kernel answers as the model does, in ${operations} operations from seed ${seed}`, () => {
  let tried = 0;
  let cases = 0;
  fc.assert(
    fc.property(randomCase, (one) => {
      if (tried >= operations) return;
      tried += compareCase(one);
      cases++;
    }),
    { numRuns: operations, seed, maxSkipsPerRun: 0 },
  );
  console.log(`${tried} operations in ${cases} cases from seed ${seed}`);
  assert.ok(tried >= operations);
});
