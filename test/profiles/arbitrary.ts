/** Random roles, mounts and rules of the network, for the models and for the compiler. */
import fc from 'fast-check';
import { type ModelRole, type ModelRule, Namespace } from './model.js';
import { masked, type ModelRule as NetworkRule, ruleText } from './network-model.js';

/** Over names that few rules miss. */
export const plainPath = fc.array(fc.constantFrom('a', 'b'), { maxLength: 3 });
export const wild = fc.constantFrom('a', 'b', '*', '**', '?', '[ab]', '[!a]', 'a*');
const rule: fc.Arbitrary<ModelRule> = fc.record({
  section: fc.constantFrom('read', 'write', 'deny', 'exec'),
  path: fc.oneof(plainPath, fc.array(wild, { maxLength: 4 })),
});
export const modelRole: fc.Arbitrary<ModelRole> = fc
  .record({ rules: fc.array(rule, { maxLength: 7 }), exec: fc.constantFrom('any', 'none', 'rules') })
  .map(({ rules, exec }) => ({
    exec,
    rules: rules.filter(({ section }) => section !== 'exec' || exec === 'rules'),
  }));
const action = fc.oneof(
  fc.record({
    point: plainPath,
    device: fc.constantFrom(1, 2, 3),
    root: fc.array(fc.constantFrom('a', 'b'), { maxLength: 2 }),
  }),
  fc.record({ point: plainPath, from: plainPath }),
);
export const namespaceOf = fc
  .record({
    root: fc.array(fc.constantFrom('a', 'b'), { maxLength: 1 }),
    actions: fc.array(action, { maxLength: 5 }),
  })
  .map(({ root, actions }) => {
    const namespace = new Namespace(1, root);
    for (const act of actions)
      if ('from' in act) namespace.bind(act.from, act.point);
      else namespace.mount(act.point, act.device, act.root);
    return namespace;
  });

const byte = fc.constantFrom(0, 10, 127, 128, 255);
export const address = fc.oneof(
  fc.array(byte, { minLength: 4, maxLength: 4 }),
  fc.array(byte, { minLength: 16, maxLength: 16 }),
);
const port = fc.constantFrom(1, 2, 3, 79, 80, 81, 443, 65534, 65535);
const networkRule: fc.Arbitrary<NetworkRule> = fc
  .record({
    list: fc.constantFrom('bind', 'connect', 'deny'),
    protocol: fc.constantFrom('tcp', 'udp', 'both'),
    prefix: fc.option(fc.tuple(address, fc.nat(128)), { nil: undefined }),
    ports: fc.option(fc.tuple(port, port), { nil: undefined }),
  })
  .map(({ list, protocol, prefix, ports }) => {
    const made: NetworkRule = {
      list: list as NetworkRule['list'],
      protocol: (protocol === 'both' && (list !== 'deny' || !prefix)
        ? 'tcp'
        : protocol) as NetworkRule['protocol'],
    };
    if (prefix) {
      const length = prefix[1] % (prefix[0].length * 8 + 1);
      made.prefix = { bytes: masked(prefix[0], length), length };
    }
    if (ports) made.ports = [Math.min(...ports), Math.max(...ports)];
    return made;
  });
/** IPv4 in IPv6 form is no rule. */
export const networkRules = fc.array(networkRule, { minLength: 1, maxLength: 12 }).map((all) => {
  const seen = new Map(all.map((one) => [`${one.list} ${ruleText(one)}`, one]));
  return [...seen.values()].filter(
    ({ ports, prefix }) => !(ports?.[0] === 1 && ports[1] === 65535) && !isMapped(prefix),
  );
});
const isMapped = (prefix: NetworkRule['prefix']) =>
  prefix?.bytes.length === 16 && prefix.bytes.slice(0, 12).every((b, i) => b === (i < 10 ? 0 : 255));

/** The rules' own addresses, and some that miss a prefix by its last bit. */
export const hostsNear = (rules: readonly NetworkRule[]): number[][] =>
  rules.flatMap(({ prefix }) => {
    if (!prefix) return [];
    const last = Math.max(0, prefix.length - 1);
    const missing = prefix.bytes.map((byte, i) => (i === last >> 3 ? byte ^ (0x80 >> (last & 7)) : byte));
    return [prefix.bytes, missing];
  });
