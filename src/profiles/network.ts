/**
 * The form of a rule of the network section, as it is written:
 *
 *   tcp  tcp:443  udp:8000-8100  tcp:10.0.0.0/8  tcp:10.0.0.5:5432  tcp:[fd00::/8]:5432  tcp:@private:443
 *   unix:/run/php/*.sock  unix:@bus-*
 *
 * Without an address a rule is for every address of both families, without a port for every port. In `deny`
 * the protocol may be left out: `@metadata` is both.
 */
import { toByteString } from './locate.js';
import { checkPattern } from './pattern.js';
import { checkPath, type Fault } from './rulepath.js';
import { nearest } from './spelling.js';

export const TCP = 6;
export const UDP = 17;

/** All addresses that begin with the first `length` bits of `address`. */
export interface Prefix {
  /** In hexadecimal: 8 digits for IPv4, 32 for IPv6. The bits behind the prefix are 0. */
  address: string;
  length: number;
}

/** Which ends of connections a rule names. */
export interface AddressTarget {
  kind: 'address';
  /** An IP protocol number; absent for TCP and UDP both. */
  protocol?: number;
  /** Absent for every address of both families. */
  prefixes?: Prefix[];
  /** The ports: 0 to 65535 for all of them. */
  first: number;
  last: number;
}

/** Unix sockets with a path, a pattern as in the section files. */
export interface SocketTarget {
  kind: 'path';
  path: string;
}

/** Unix sockets with an abstract name; wildcards as in a path's component, but of any bytes. */
export interface AbstractTarget {
  kind: 'abstract';
  /** A byte string, see locate.ts. */
  name: string;
}

/** `text` is the rule as it was written. */
export type NetworkTarget = { text: string } & (AddressTarget | SocketTarget | AbstractTarget);

const protocols: Readonly<Record<string, number>> = { tcp: TCP, udp: UDP };
/** struct sockaddr_un has 108 bytes for a name, and an abstract one begins with a NUL. */
const maxAbstract = 107;

/**
 * The lists of addresses that rules may name. With an IPv4 prefix goes what NAT64 makes of it under its
 * well-known prefix (RFC 6052); IPv4-mapped addresses are decided as IPv4.
 */
const lists: Readonly<Record<string, readonly string[]>> = {
  loopback: ['127.0.0.0/8', '::1'],
  'link-local': ['169.254.0.0/16', 'fe80::/10'],
  /** RFC 1918, carriers' networks (RFC 6598), unique local addresses (RFC 4193). */
  private: ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '100.64.0.0/10', 'fc00::/7'],
  /** Where clouds hand out credentials: most of them, and Amazon's IPv6; ECS; EKS; Alibaba; Oracle. */
  metadata: [
    ...['169.254.169.254', 'fd00:ec2::254', '169.254.170.2', '169.254.170.23', 'fd00:ec2::23'],
    ...['100.100.100.200', '192.0.0.192'],
  ],
};
const nat64 = `0064ff9b${'0'.repeat(16)}`;

/** What a rule names, or why it names nothing. `denying`: it stands in `deny`, where it may be for both protocols. */
export function readTarget(text: string, denying = false): NetworkTarget | Fault {
  const bad = (message: string): Fault => ({
    code: 'BAD_PORT',
    message: `${JSON.stringify(text)} ${message}`,
  });
  if (text.startsWith('unix:')) return readUnix(text);
  const swapped = /^([0-9]+)\/(tcp|udp)$/i.exec(text);
  if (swapped) return bad(`is not how ports are written; write ${swapped[2]?.toLowerCase()}:${swapped[1]}`);
  const [, scheme = '', , rest] = /^([^:@[]*)(:(.*))?$/s.exec(text) ?? [];
  const protocol = Object.hasOwn(protocols, scheme) ? protocols[scheme] : undefined;
  const both = protocol === undefined && /^(@|\[|[0-9]+\.)/.test(text);
  if (both && !denying)
    return bad(`names no protocol, which only a deny rule may; write tcp:${text} or udp:${text}`);
  if (protocol === undefined && !both) {
    const meant = nearest(scheme, [...Object.keys(protocols), 'unix']);
    return bad(
      `does not begin with tcp:, udp: or unix:; ${meant ? `did you mean ${meant}:?` : 'write tcp:PORT'}`,
    );
  }
  if (!both && rest === undefined)
    return { text, kind: 'address', ...(protocol && { protocol }), ...allPorts };
  const end = readEnd(both ? text : (rest ?? ''), scheme || 'tcp');
  if (typeof end === 'string') return bad(end);
  return { text, kind: 'address', ...(protocol !== undefined && { protocol }), ...end };
}

const allPorts = { first: 0, last: 65535 };

function readUnix(text: string): NetworkTarget | Fault {
  const path = text.slice('unix:'.length);
  if (!path.startsWith('@')) {
    const fault = checkPath(path);
    return fault ?? { text, kind: 'path', path };
  }
  const bad = (message: string): Fault => ({
    code: 'BAD_PATH',
    message: `${JSON.stringify(text)} ${message}`,
  });
  const name = toByteString(path.slice(1));
  if (name === '') return bad('has no name behind the @; write unix:@NAME, or unix:@* for all');
  if (/[\0\p{Surrogate}]/u.test(path)) return bad('holds a character that no rule can name');
  if (name.length > maxAbstract)
    return bad(`has a name of ${name.length} bytes; abstract names have ${maxAbstract} at most`);
  if (name.includes('**')) return bad('has a **; one * stands for any part of an abstract name');
  const fault = checkPattern([name]);
  return fault === undefined ? { text, kind: 'abstract', name } : bad(fault);
}

/** `[HOST][:PORTS]`; what is wrong with it, or how else it must be said, as text. */
function readEnd(text: string, scheme: string): Omit<AddressTarget, 'kind' | 'protocol'> | string {
  const [, bracketed, named, v4, colon, ports] =
    /^(?:\[([^\]]*)\]|(@[^:]*)|([0-9]+\.[^:]*))?(:)?(.*)$/s.exec(text) ?? [];
  const host = bracketed ?? named ?? v4;
  if (host === undefined) {
    if ((text.match(/:/g)?.length ?? 0) > 1)
      return `has an IPv6 address without brackets; write ${scheme}:[${text}]`;
    const range = readPorts(text, scheme);
    return typeof range === 'string' ? range : range;
  }
  const prefixes = named === undefined ? readPrefix(host, bracketed !== undefined) : readList(named);
  if (typeof prefixes === 'string') return prefixes;
  if (!colon && ports) return `has ${JSON.stringify(ports)} behind its address; write :PORT there`;
  const range = colon ? readPorts(ports ?? '', scheme) : allPorts;
  return typeof range === 'string' ? range : { prefixes, ...range };
}

function readPorts(text: string, scheme: string): { first: number; last: number } | string {
  const [, low, high] = /^([1-9][0-9]*)(?:-([1-9][0-9]*))?$/.exec(text) ?? [];
  if (low === undefined)
    return /[*?]/.test(text)
      ? `has a wildcard for a port; write ${scheme}:1-65535, or no port for all of them`
      : `has no port number; write ${scheme}:PORT with a PORT from 1 to 65535`;
  const [first, last] = [Number(low), Number(high ?? low)];
  if (first > 65535 || last > 65535) return 'is an impossible port; ports go from 1 to 65535';
  if (high !== undefined && last <= first)
    return `has a range that does not go up; write ${last === first ? first : `${last}-${first}`}`;
  return first === 1 && last === 65535 ? allPorts : { first, last };
}

function readList(name: string): Prefix[] | string {
  const list = Object.hasOwn(lists, name.slice(1)) ? lists[name.slice(1)] : undefined;
  if (!list) {
    const meant = nearest(name.slice(1), Object.keys(lists));
    const known = Object.keys(lists).map((known) => `@${known}`);
    return `names no list of addresses; ${meant ? `did you mean @${meant}?` : `there are ${known.join(', ')}`}`;
  }
  return list.flatMap((text) => {
    const [prefix] = readPrefix(text, text.includes(':')) as Prefix[];
    if (!prefix || prefix.address.length === 32) return prefix ?? [];
    return [prefix, { address: nat64 + prefix.address, length: 96 + prefix.length }];
  });
}

function readPrefix(text: string, isSix: boolean): Prefix[] | string {
  const [, host = '', , length] = /^([^/]*)(\/(.*))?$/s.exec(text) ?? [];
  const bits = isSix ? 128 : 32;
  const address = isSix ? parseSix(host) : parseFour(host);
  if (address === undefined) {
    if (isSix && parseFour(host) !== undefined) return 'has an IPv4 address in brackets; remove them';
    return `has no IPv${isSix ? 6 : 4} address: ${JSON.stringify(host)}; correct it`;
  }
  if (length !== undefined && (!/^(0|[1-9][0-9]*)$/.test(length) || Number(length) > bits))
    return `has an impossible prefix length; it is from 0 to ${bits}`;
  const prefix = { address: hexOf(address, bits), length: Number(length ?? bits) };
  if (isSix && prefix.length >= 96 && prefix.address.startsWith(mapped))
    return `is an IPv4 address in IPv6 form, which is decided as IPv4; write ${showPrefix({ address: prefix.address.slice(24), length: prefix.length - 96 })}`;
  const masked = maskOf(prefix);
  if (masked !== prefix.address)
    return `has bits behind its prefix of ${prefix.length}; write ${bracket({ ...prefix, address: masked })}, or ${bracket({ ...prefix, length: bits })} for the one address`;
  return [prefix];
}

/** What an IPv4 address begins with where IPv6 stands (RFC 4291, 2.5.5.2). */
const mapped = '00000000000000000000ffff';

function hexOf(address: bigint, bits: number): string {
  return address.toString(16).padStart(bits / 4, '0');
}

/** The address without what is behind the prefix. */
function maskOf({ address, length }: Prefix): string {
  const bits = address.length * 4;
  const behind = BigInt(bits - length);
  return hexOf((BigInt(`0x${address}`) >> behind) << behind, bits);
}

function parseFour(text: string): bigint | undefined {
  const parts = text.split('.');
  if (parts.length !== 4 || !parts.every((part) => /^(0|[1-9][0-9]{0,2})$/.test(part) && Number(part) < 256))
    return undefined;
  return parts.reduce((sum, part) => (sum << 8n) | BigInt(part), 0n);
}

function parseSix(text: string): bigint | undefined {
  const [, head = '', four] = /^(.*?)([0-9]+\.[0-9.]+)?$/s.exec(text) ?? [];
  const last = four === undefined ? undefined : parseFour(four);
  if (four !== undefined && (last === undefined || !head.endsWith(':'))) return undefined;
  const tail = last === undefined ? '' : `${(last >> 16n).toString(16)}:${(last & 0xffffn).toString(16)}`;
  const halves = `${head}${tail}`.split('::');
  const groups = halves.map((half) => (half === '' ? [] : half.split(':')));
  const count = groups.flat().length;
  if (halves.length > 2 || (halves.length === 2 ? count > 7 : count !== 8)) return undefined;
  if (!groups.flat().every((group) => /^[0-9a-f]{1,4}$/i.test(group))) return undefined;
  const [front = [], back = []] = groups;
  const whole = [...front, ...Array(8 - count).fill('0'), ...back];
  return whole.reduce((sum, group) => (sum << 16n) | BigInt(`0x${group}`), 0n);
}

/** An address as people write it. */
export function showAddress(address: string): string {
  if (address.length === 8)
    return [0, 2, 4, 6].map((at) => Number(`0x${address.slice(at, at + 2)}`)).join('.');
  const groups = address.match(/..../g) ?? [];
  // The URL parser writes IPv6 addresses in their canonical, shortened form, in brackets.
  return new URL(`http://[${groups.join(':')}]`).hostname.slice(1, -1);
}

function showPrefix({ address, length }: Prefix): string {
  return length === address.length * 4 ? showAddress(address) : `${showAddress(address)}/${length}`;
}

/** In brackets where rules have them. */
function bracket(prefix: Prefix): string {
  return prefix.address.length === 8 ? showPrefix(prefix) : `[${showPrefix(prefix)}]`;
}

/** The same for all ways to write a rule. */
export function canonicalTarget(target: NetworkTarget): string {
  if (target.kind === 'path') return `unix:${target.path}`;
  if (target.kind === 'abstract') return `unix:@${target.name}`;
  const { protocol = 0, prefixes = [], first, last } = target;
  return [protocol, prefixes.map(showPrefix).join(), first, last].join(' ');
}

/** One end of a connection, as an operation has it: a family is told by the number of digits. */
export interface End {
  protocol: number;
  /** In hexadecimal, as a Prefix has it. */
  address: string;
  port: number;
}
