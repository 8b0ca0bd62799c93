/**
 * A plain model of what the rules of a network section mean: every rule is asked about every end, and the
 * strongest of those that match decides. It shares no code with src/profiles.
 */

export interface ModelRule {
  list: 'bind' | 'connect' | 'deny';
  protocol: 'tcp' | 'udp' | 'both';
  /** Absent: every address of both families. */
  prefix?: { bytes: number[]; length: number };
  /** Absent: every port. */
  ports?: [first: number, last: number];
}

export interface ModelEnd {
  direction: 'bind' | 'connect';
  protocol: 'tcp' | 'udp';
  bytes: number[];
  port: number;
}

const bitOf = (bytes: number[], i: number): number => ((bytes[i >> 3] ?? 0) >> (7 - (i & 7))) & 1;

/** The first `length` bits of the bytes, and zeros. */
export function masked(bytes: number[], length: number): number[] {
  return bytes.map((byte, i) => {
    const bits = Math.min(8, Math.max(0, length - 8 * i));
    return byte & (0xff << (8 - bits)) & 0xff;
  });
}

function matches(rule: ModelRule, end: ModelEnd): boolean {
  if (rule.list !== 'deny' && rule.list !== end.direction) return false;
  if (rule.protocol !== 'both' && rule.protocol !== end.protocol) return false;
  const [first, last] = rule.ports ?? [0, 65535];
  if (end.port < first || end.port > last) return false;
  const { prefix } = rule;
  if (!prefix) return true;
  if (prefix.bytes.length !== end.bytes.length) return false;
  for (let i = 0; i < prefix.length; i++) if (bitOf(prefix.bytes, i) !== bitOf(end.bytes, i)) return false;
  return true;
}

/** The rules that decide, all alike: longest prefix, then fewest ports, then deny. */
export function deciding(rules: readonly ModelRule[], end: ModelEnd): ModelRule[] {
  const length = ({ prefix }: ModelRule) => prefix?.length ?? 0;
  const width = ({ ports: [first, last] = [0, 65535] }: ModelRule) => last - first;
  let left = rules.filter((rule) => matches(rule, end));
  const longest = Math.max(...left.map(length));
  left = left.filter((rule) => length(rule) === longest);
  const narrowest = Math.min(...left.map(width));
  left = left.filter((rule) => width(rule) === narrowest);
  const denials = left.filter(({ list }) => list === 'deny');
  return denials.length > 0 ? denials : left;
}

export function mayUse(rules: readonly ModelRule[], end: ModelEnd): boolean {
  const [rule] = deciding(rules, end);
  return rule !== undefined && rule.list !== 'deny';
}

export function addressText(bytes: number[]): string {
  if (bytes.length === 4) return bytes.join('.');
  const groups = Array.from({ length: 8 }, (_, i) =>
    (((bytes[2 * i] ?? 0) << 8) | (bytes[2 * i + 1] ?? 0)).toString(16),
  );
  return groups.join(':');
}

/** The rule as a policy has it. */
export function ruleText({ protocol, prefix, ports }: ModelRule): string {
  const parts: string[] = protocol === 'both' ? [] : [protocol];
  if (prefix) {
    const whole = prefix.length === prefix.bytes.length * 8;
    const text = addressText(prefix.bytes) + (whole ? '' : `/${prefix.length}`);
    parts.push(prefix.bytes.length === 4 ? text : `[${text}]`);
  }
  if (ports) parts.push(ports[0] === ports[1] ? String(ports[0]) : ports.join('-'));
  return parts.join(':');
}

/** A rule for abstract names: letters, `*`, `?` and classes without ranges. */
export interface ModelName {
  list: ModelRule['list'];
  tokens: string[];
}

/** The rules that decide, all alike: those that spell out the whole name, then most of it, then deny. */
export function decidingNames(
  rules: readonly ModelName[],
  direction: ModelEnd['direction'],
  name: string,
): ModelName[] {
  const spelled = ({ tokens }: ModelName) => {
    const letters = tokens.filter((token) => /^[a-z]$/.test(token)).length;
    return letters === tokens.length ? Number.POSITIVE_INFINITY : letters;
  };
  const expression = ({ tokens }: ModelName) =>
    tokens.map((token) => ({ '*': '.*', '?': '.' })[token] ?? token).join('');
  let left = rules.filter(({ list }) => list === direction || list === 'deny');
  left = left.filter((rule) => new RegExp(`^${expression(rule)}$`).test(name));
  const most = Math.max(...left.map(spelled));
  left = left.filter((rule) => spelled(rule) === most);
  const denials = left.filter(({ list }) => list === 'deny');
  return denials.length > 0 ? denials : left;
}
