// Sockets of all families.
import type { Row } from './table.js';
import { readable, testTreeRows, withServers, writable } from './tree.js';

const network: Row[] = [
  ...(['4', '6'] as const).flatMap((family): Row[] => {
    const host = family === '4' ? '127.0.0.1' : '::1';
    const shown = family === '4' ? host : `[${host}]`;
    const over = `over IPv${family}`;
    return [
      {
        name: `bind a TCP port that no rule names ${over}`,
        denied: ['bind', family, 'tcp', host, '9090'],
        allowed: ['bind', family, 'tcp', host, '8080'],
        hook: 'socket_bind',
        operation: 'bind',
        target: `tcp ${shown}:9090`,
      },
      {
        name: `bind a UDP port that is granted for TCP ${over}`,
        denied: ['bind', family, 'udp', host, '8080'],
        allowed: ['bind', family, 'udp', host, '5353'],
        hook: 'socket_bind',
        operation: 'bind',
        target: `udp ${shown}:8080`,
      },
      {
        name: `connect to a TCP port that no rule names ${over}`,
        denied: ['connect', family, 'tcp', host, '7002'],
        allowed: ['connect', family, 'tcp', host, '7000'],
        hook: 'socket_connect',
        operation: 'connect',
        target: `tcp ${shown}:7002`,
      },
      {
        name: `connect a UDP socket to a port that no rule names ${over}`,
        denied: ['connect', family, 'udp', host, '53'],
        allowed: ['connect', family, 'udp', host, '7001'],
        hook: 'socket_connect',
        operation: 'connect',
        target: `udp ${shown}:53`,
      },
      {
        name: `send a datagram to a port that no rule names ${over}`,
        denied: ['send', family, 'udp', host, '53'],
        allowed: ['send', family, 'udp', host, '7001'],
        hook: 'socket_sendmsg',
        operation: 'send',
        target: `udp ${shown}:53`,
      },
      {
        name: `connect by TCP Fast Open to a port that no rule names ${over}`,
        denied: ['send', family, 'tcp', host, '7002'],
        allowed: ['send', family, 'tcp', host, '7000'],
        hook: 'socket_sendmsg',
        operation: 'send',
        target: `tcp ${shown}:7002`,
      },
    ];
  }),
  {
    name: 'connect over an IPv4-mapped IPv6 address to a port that no rule names',
    denied: ['connect', '6', 'tcp', '::ffff:127.0.0.1', '7002'],
    allowed: ['connect', '6', 'tcp', '::ffff:127.0.0.1', '7000'],
    hook: 'socket_connect',
    operation: 'connect',
    target: 'tcp 127.0.0.1:7002',
  },
  {
    name: 'send a datagram whose address has no family to a port that no rule names',
    denied: ['send-unspec', '127.0.0.1', '53'],
    allowed: ['send-unspec', '127.0.0.1', '7001'],
    hook: 'socket_sendmsg',
    operation: 'send',
    target: 'udp 127.0.0.1:53',
  },
  {
    name: 'listen without bind, on a port of the kernel’s choice',
    denied: ['listen'],
    allowed: ['bind', '4', 'tcp', '0.0.0.0', '8080'],
    hook: 'socket_listen',
    operation: 'listen',
    target: 'tcp 0.0.0.0:0',
  },
  ...[
    ['a raw socket', '2', '3', '1', 'inet protocol 1'],
    ['a packet socket', '17', '3', '0', 'packet'],
    ['an MPTCP socket', '2', '1', '262', 'inet protocol 262'],
    ['a netlink socket for netfilter', '16', '3', '12', 'netlink protocol 12'],
    ['a vsock socket', '40', '1', '0', 'family 40'],
    ['an AF_ALG socket', '38', '5', '0', 'family 38'],
  ].map(
    ([what, family, type, protocol, target]): Row => ({
      name: `make ${what}`,
      denied: ['socket', family as string, type as string, protocol as string],
      allowed: ['socket', '16', '3', '0'],
      hook: 'socket_create',
      operation: 'socket',
      target: target as string,
    }),
  ),
  {
    name: 'connect to a unix socket whose path it may not write',
    denied: ['unix', 'stream', `${readable}/stream.sock`],
    allowed: ['unix', 'stream', `${writable}/stream.sock`],
    hook: 'unix_stream_connect',
    operation: 'connect',
    target: `${readable}/stream.sock`,
  },
  {
    name: 'send to a unix datagram socket whose path it may not write',
    denied: ['unix', 'dgram', `${readable}/dgram.sock`],
    allowed: ['unix', 'dgram', `${writable}/dgram.sock`],
    hook: 'unix_may_send',
    operation: 'send',
    target: `${readable}/dgram.sock`,
  },
  {
    name: 'connect to an abstract unix socket',
    denied: ['unix', 'stream', '@jailrun-test'],
    allowed: ['socketpair'],
    hook: 'unix_stream_connect',
    operation: 'connect',
    target: 'unix @jailrun-test',
  },
  {
    name: 'bind an abstract unix name',
    denied: ['unix-bind', '@jailrun-test-2'],
    allowed: ['unix-bind', `${writable}/own.sock`],
    hook: 'socket_bind',
    operation: 'bind',
    target: 'unix @jailrun-test-2\u0000',
  },
];

testTreeRows(network, { around: withServers });
