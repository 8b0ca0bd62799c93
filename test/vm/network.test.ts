// Every way to reach or to be reached over a socket: what no rule grants is denied, with the errno and the event
// that say so, and its allowed twin works. A first run without a jail shows that nothing else stands in the way.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, rmSync } from 'node:fs';
import { release } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { attach, jailrun, leave, root, run, writePolicy } from './jail.js';

const net = join(root, 'build/net');
const area = '/mnt/ext4/network';
const [granted, named, writable, shut] = ['open', 'named', 'writable', 'shut'].map(
  (name) => `${area}/${name}`,
);
const policy = writePolicy(
  'network',
  `version: 1
roles:
  network:
    id: 630
    files:
      read: ["@runtime", /usr, /bin, ${root}/build, ${area}]
      write: ["@devices", ${writable}]
    exec: any
    allow: [io_uring]
    network:
      bind:
        - tcp:8080
        - udp:5353
        - tcp:127.0.0.2:8000-8009
        - tcp:[::1]:8000-8009
        - tcp:0.0.0.0:8081
        - tcp:[::]:8082
        - udp:[::]:8082
        - unix:${named}/*.sock
        - unix:@jailrun-own*
      connect:
        - tcp:7000
        - udp:7001
        - tcp:127.0.0.1:7003
        - udp:127.0.0.1:7003
        - tcp:[::1]:7004
        - unix:${granted}
        - unix:@jailrun-ok-*
      deny:
        - 127.0.0.3
        - unix:${granted}/shut*
        - unix:${writable}/shut*
        - unix:@jailrun-ok-not*
  everywhere: {id: 631, files: any, exec: any, network: {bind: [tcp, "unix:@*"], connect: [tcp, udp], deny: ["@metadata"]}}
  alone: {id: 632, files: any, exec: any, network: none}
`,
);

const since = (version: [major: number, minor: number]): boolean => {
  const [major = 0, minor = 0] = release().split('.').map(Number);
  return major > version[0] || (major === version[0] && minor >= version[1]);
};

interface Row {
  name: string;
  /** What \`net\` does, in the test's role and without a jail. */
  denied: string;
  allowed: string;
  /** The call that fails; the last one unless given. */
  step?: string;
  hook: string;
  operation: string;
  target: string | RegExp;
  /** The deny rule that decides. */
  rule?: string;
  reason?: RegExp;
  /** What one gets who is not jailed, where that is not success. */
  unjailed?: string;
  result?: string;
  severalEvents?: true;
}

/** A row about an address that a call is given. */
function ends(step: string, hook: string, operation: string) {
  return (
    name: string,
    denied: string,
    allowed: string,
    target: string | RegExp,
    more: Partial<Row> = {},
  ): Row => ({
    name,
    denied,
    allowed,
    step,
    hook,
    operation,
    target,
    ...more,
  });
}
const bind = ends('bind', 'socket_bind', 'bind');
const listen = ends('listen', 'socket_listen', 'listen');
const connect = ends('connect', 'socket_connect', 'connect');
const send = ends('sendto', 'socket_sendmsg', 'send');

const rows: Row[] = [
  ...(['4', '6'] as const).flatMap((v): Row[] => {
    const host = v === '4' ? '127.0.0.1' : '::1';
    const shown = v === '4' ? host : `[${host}]`;
    const own = v === '4' ? '127.0.0.2' : '::1';
    const other = v === '4' ? '127.0.0.1' : '::';
    const over = `over IPv${v}`;
    return [
      bind(
        `bind a TCP port that no rule names ${over}`,
        `tcp${v} bind ${host} 9090`,
        `tcp${v} bind ${host} 8080`,
        `tcp ${shown}:9090`,
      ),
      bind(
        `bind a UDP port that is granted for TCP ${over}`,
        `udp${v} bind ${host} 8080`,
        `udp${v} bind ${host} 5353`,
        `udp ${shown}:8080`,
      ),
      bind(
        `bind a port that is granted on another address ${over}`,
        `tcp${v} only6 1 bind ${other} 8001`.replace(v === '4' ? ' only6 1' : '', ''),
        `tcp${v} bind ${own} 8001`,
        `tcp ${v === '4' ? other : `[${other}]`}:8001`,
      ),
      bind(
        `bind a port just behind a range ${over}`,
        `tcp${v} bind ${own} 8010`,
        `tcp${v} bind ${own} 8009`,
        `tcp ${v === '4' ? own : `[${own}]`}:8010`,
      ),
      bind(
        `share a port that no rule names ${over}`,
        `tcp${v} reuse-port bind ${host} 9090`,
        `tcp${v} reuse-port bind ${host} 8080`,
        `tcp ${shown}:9090`,
      ),
      listen(
        `listen without bind ${over}, on a port of the kernel’s choice`,
        `tcp${v} listen`,
        `tcp${v} bind ${host} 8080 listen`,
        `tcp ${v === '4' ? '0.0.0.0' : '[::]'}:0`,
      ),
      listen(
        `listen on a port that bind was left to choose ${over}`,
        `tcp${v} bind ${host} 0 listen`,
        `tcp${v} bind ${host} 0`,
        new RegExp(`^tcp ${shown.replace(/[[\].]/g, '\\$&')}:[1-9]\\d+$`),
      ),
      connect(
        `connect to a TCP port that no rule names ${over}`,
        `tcp${v} connect ${host} 7002`,
        `tcp${v} connect ${host} 7000 send`,
        `tcp ${shown}:7002`,
      ),
      connect(
        `connect a UDP socket to a port that no rule names ${over}`,
        `udp${v} connect ${host} 7053`,
        `udp${v} connect ${host} 7001 send`,
        `udp ${shown}:7053`,
      ),
      connect(
        `connect anew, elsewhere, once a connection is dissolved ${over}`,
        `udp${v} connect ${host} 7001 dissolve connect ${host} 7053`,
        `udp${v} connect ${host} 7001 dissolve connect ${host} 7001 send`,
        `udp ${shown}:7053`,
      ),
      send(
        `send a datagram to a port that no rule names ${over}`,
        `udp${v} sendto ${host} 7053`,
        `udp${v} sendto ${host} 7001`,
        `udp ${shown}:7053`,
      ),
      send(
        `send elsewhere on a connected socket ${over}`,
        `udp${v} connect ${host} 7001 sendto ${host} 7053`,
        `udp${v} connect ${host} 7001 sendto ${host} 7001`,
        `udp ${shown}:7053`,
      ),
      send(
        `send several datagrams of which the last goes to such a port ${over}`,
        `udp${v} sendmmsg ${host} 7001 ${host} 7053`,
        `udp${v} sendmmsg ${host} 7001 ${host} 7001`,
        `udp ${shown}:7053`,
        { step: 'sendmmsg', severalEvents: true },
      ),
      send(
        `connect by TCP Fast Open to such a port ${over}`,
        `tcp${v} fastopen ${host} 7002`,
        `tcp${v} fastopen ${host} 7000`,
        `tcp ${shown}:7002`,
        { step: 'fastopen' },
      ),
      connect(
        `connect by TCP Fast Open at the first send ${over}`,
        `tcp${v} fastopen-connect connect ${host} 7002 send`,
        `tcp${v} fastopen-connect connect ${host} 7000 send`,
        `tcp ${shown}:7002`,
      ),
    ];
  }),
  // Which address is meant.
  bind(
    'bind every address where a rule names one',
    'tcp4 bind 0.0.0.0 8001',
    'tcp4 bind 0.0.0.0 8081',
    'tcp 0.0.0.0:8001',
  ),
  bind(
    'bind every address of both families where a rule grants IPv6',
    'tcp6 bind :: 8082',
    'tcp6 only6 1 bind :: 8082',
    'tcp 0.0.0.0:8082',
  ),
  bind(
    'bind every address for datagrams of IPv6 alone, which only the socket says',
    'udp6 only6 1 bind :: 8082',
    'udp6 bind :: 5353',
    'udp 0.0.0.0:8082',
  ),
  bind(
    'bind an IPv4 address in IPv6 form',
    'tcp6 bind ::ffff:127.0.0.1 8001',
    'tcp6 bind ::ffff:127.0.0.2 8001',
    'tcp 127.0.0.1:8001',
  ),
  bind(
    'bind an address without a family',
    'tcp4 bind-unspec 0.0.0.0 9090',
    'tcp4 bind-unspec 0.0.0.0 8080',
    'tcp 0.0.0.0:9090',
    { step: 'bind-unspec' },
  ),
  bind(
    'bind an address that is denied',
    'tcp4 bind 127.0.0.3 8080',
    'tcp4 bind 127.0.0.2 8080',
    'tcp 127.0.0.3:8080',
    { rule: '127.0.0.3' },
  ),
  listen(
    'listen on an address that was bound without a port',
    'tcp4 no-port bind 127.0.0.1 0 listen',
    'tcp4 bind 127.0.0.2 8001 listen',
    'tcp 127.0.0.1:0',
  ),
  connect(
    'connect to a port that is granted on another address',
    'tcp4 connect 127.0.0.2 7003',
    'tcp4 connect 127.0.0.1 7003',
    'tcp 127.0.0.2:7003',
  ),
  connect(
    'connect to an address that is denied',
    'tcp4 connect 127.0.0.3 7000',
    'tcp4 connect 127.0.0.2 7000',
    'tcp 127.0.0.3:7000',
    { rule: '127.0.0.3' },
  ),
  connect(
    'connect to an IPv4 address in IPv6 form',
    'tcp6 connect ::ffff:127.0.0.1 7002',
    'tcp6 connect ::ffff:127.0.0.1 7003',
    'tcp 127.0.0.1:7002',
  ),
  connect(
    'connect to 0.0.0.0, which is loopback',
    'tcp4 connect 0.0.0.0 7002',
    'tcp4 connect 0.0.0.0 7003',
    'tcp 127.0.0.1:7002',
  ),
  connect(
    'connect to 0.0.0.0, which is the own address of a bound socket',
    'tcp4 bind 127.0.0.2 0 connect 0.0.0.0 7003',
    'tcp4 bind 127.0.0.1 0 connect 0.0.0.0 7003',
    'tcp 127.0.0.2:7003',
  ),
  connect(
    'connect to 0.0.0.0 in IPv6 form',
    'tcp6 connect ::ffff:0.0.0.0 7002',
    'tcp6 connect ::ffff:0.0.0.0 7003',
    'tcp 127.0.0.1:7002',
  ),
  connect(
    'connect to ::, which is loopback',
    'tcp6 connect :: 7002',
    'tcp6 connect :: 7004',
    'tcp [::1]:7002',
  ),
  connect(
    'connect to ::, which is IPv4 loopback to a socket bound to IPv4',
    'tcp6 bind ::ffff:127.0.0.1 0 connect :: 7004',
    'tcp6 bind ::ffff:127.0.0.1 0 connect :: 7003',
    'tcp 127.0.0.1:7004',
  ),
  send('send to 0.0.0.0', 'udp4 sendto 0.0.0.0 7053', 'udp4 sendto 0.0.0.0 7003', 'udp 127.0.0.1:7053'),
  send(
    'send to 0.0.0.0 on a socket bound to another address',
    'udp4 bind 127.0.0.2 0 sendto 0.0.0.0 7003',
    'udp4 bind 127.0.0.1 0 sendto 0.0.0.0 7003',
    'udp 127.0.0.2:7003',
  ),
  send(
    'send to 0.0.0.0 with an own address in control data',
    'udp4 packet-info 127.0.0.2 0.0.0.0 7003',
    'udp4 packet-info 127.0.0.1 127.0.0.1 7003',
    'udp 0.0.0.0:7003',
    { step: 'packet-info', reason: /control data/ },
  ),
  send('send to ::', 'udp6 sendto :: 7053', 'udp6 sendto :: 7001', 'udp [::1]:7053'),
  send(
    'send to an IPv4 address on an IPv6 socket',
    'udp6 sendto 127.0.0.1 7053',
    'udp6 sendto 127.0.0.1 7001',
    'udp 127.0.0.1:7053',
  ),
  send(
    'send to an address without a family',
    'udp4 sendto-unspec 127.0.0.1 7053',
    'udp4 sendto-unspec 127.0.0.1 7001',
    'udp 127.0.0.1:7053',
    { step: 'sendto-unspec' },
  ),
  send(
    'send to a group',
    'udp4 multicast sendto 224.0.0.251 5353',
    'udp4 multicast sendto 224.0.0.251 7001',
    'udp 224.0.0.251:5353',
  ),
  // Through other hosts.
  {
    name: 'have IPv4 packets go by another host',
    denied: 'udp4 route4',
    allowed: 'udp4 multicast',
    step: 'route4',
    hook: 'socket_setsockopt',
    operation: 'send',
    target: 'inet',
    reason: /hosts for packets to go by/,
  },
  {
    name: 'have IPv6 packets go by another host',
    denied: 'udp6 route6',
    allowed: 'udp6 only6 1',
    step: 'route6',
    hook: 'socket_setsockopt',
    operation: 'send',
    target: 'inet6',
    reason: /hosts for packets to go by/,
  },
  {
    name: 'have a single packet go by another host',
    denied: 'udp4 connect 127.0.0.1 7001 routed 0 7',
    allowed: 'udp4 connect 127.0.0.1 7001 routed 0 2',
    step: 'routed',
    hook: 'socket_sendmsg',
    operation: 'send',
    target: 'inet',
    reason: /hosts for packets to go by/,
    unjailed: '*',
  },
  // Through a ring.
  connect(
    'connect through a ring',
    'tcp4 ring-connect 127.0.0.1 7002',
    'tcp4 ring-connect 127.0.0.1 7000',
    'tcp 127.0.0.1:7002',
    { step: 'ring-connect' },
  ),
  send(
    'send a message through a ring',
    'udp4 ring-sendmsg 127.0.0.1 7053',
    'udp4 ring-sendmsg 127.0.0.1 7001',
    'udp 127.0.0.1:7053',
    { step: 'ring-sendmsg' },
  ),
  send(
    'send through a ring',
    'udp4 ring-send 127.0.0.1 7053',
    'udp4 ring-send 127.0.0.1 7001',
    'udp 127.0.0.1:7053',
    { step: 'ring-send' },
  ),
  {
    name: 'make a raw socket through a ring',
    denied: 'ring-socket 2 3 1',
    allowed: 'ring-socket 2 1 0',
    hook: 'socket_create',
    operation: 'socket',
    target: 'inet protocol 1',
    step: 'ring-socket',
  },
  ...(since([6, 11])
    ? [
        bind(
          'bind through a ring',
          'tcp4 ring-bind 127.0.0.1 9090',
          'tcp4 ring-bind 127.0.0.1 8080',
          'tcp 127.0.0.1:9090',
          { step: 'ring-bind' },
        ),
        listen(
          'listen through a ring',
          'tcp4 ring-listen',
          'tcp4 ring-bind 127.0.0.1 8080 ring-listen',
          'tcp 0.0.0.0:0',
          { step: 'ring-listen' },
        ),
      ]
    : []),
  // What rules cannot name.
  ...(
    [
      ['a raw socket', '2 3 1', 'inet protocol 1'],
      ['a raw IPv6 socket', '10 3 58', 'inet6 protocol 58'],
      ['a socket for pings', '2 2 1', 'inet protocol 1'],
      ['a packet socket', '17 3 0', 'packet'],
      ['an MPTCP socket', '2 1 262', 'inet protocol 262'],
      ['an SCTP socket', '2 1 132', 'inet protocol 132'],
      ['a UDP-Lite socket', '2 2 136', 'inet protocol 136'],
      ['a DCCP socket', '2 6 33', 'inet protocol 33'],
      ['a netlink socket for netfilter', '16 3 12', 'netlink protocol 12'],
      ['a netlink socket for uevents', '16 3 15', 'netlink protocol 15'],
      ['a vsock socket', '40 1 0', 'family 40'],
      ['an AF_ALG socket', '38 5 0', 'family 38'],
      ['an XDP socket', '44 3 0', 'family 44'],
      ['a bluetooth socket', '31 1 3', 'family 31 protocol 3'],
      ['an SMC socket', '43 1 0', 'family 43'],
      ['an SMC socket of the IPv4 family', '2 1 256', 'inet protocol 256'],
      ['a TIPC socket', '30 5 0', 'family 30'],
    ] as const
  ).map(
    ([what, words, target]): Row => ({
      name: `make ${what}`,
      denied: `socket ${words}`,
      allowed: 'socket 16 3 0',
      step: 'socket',
      hook: 'socket_create',
      operation: 'socket',
      target,
      unjailed: '*',
    }),
  ),
  ...(
    [
      ['add a route', '24 0x401'],
      ['remove a route', '25 1'],
      ['set a link up', '19 1'],
      ['add an address behind a question', '18 0x301 again 20 1'],
    ] as const
  ).map(
    ([what, words]): Row => ({
      name: what,
      denied: `netlink ${words}`,
      allowed: 'netlink 18 0x301 again 22 0x301',
      step: 'netlink',
      hook: 'capable',
      operation: 'use',
      target: 'net_admin',
      result: 'EPERM',
    }),
  ),
  // unix sockets.
  ...(
    [
      ['connect to', 'stream reach', 'stream', 'reach', 'unix_stream_connect', 'connect'],
      ['send to', 'datagram tell', 'dgram', 'tell', 'unix_may_send', 'send'],
      ['connect a datagram socket to', 'datagram reach', 'dgram', 'reach', 'unix_may_send', 'send'],
    ] as const
  ).flatMap(([what, words, kind, step, hook, operation]): Row[] => {
    const row = ends(step, hook, operation);
    const [path, name] = [`${granted}/shut-${kind}.sock`, `@jailrun-ok-not-${kind}`];
    const own = `${writable}/shut-${kind}.sock`;
    return [
      row(
        `${what} a path that no rule names`,
        `${words} ${shut}/${kind}.sock`,
        `${words} ${granted}/${kind}.sock`,
        `${shut}/${kind}.sock`,
      ),
      row(
        `${what} a path that is denied below a granted one`,
        `${words} ${path}`,
        `${words} ${writable}/${kind}.sock`,
        path,
        { rule: `unix:${granted}/shut*` },
      ),
      row(
        `${what} a socket whose path it may write and that is denied`,
        `${words} ${own}`,
        `${words} ${writable}/${kind}.sock`,
        own,
        { rule: `unix:${writable}/shut*` },
      ),
      row(
        `${what} an abstract name that no rule names`,
        `${words} @jailrun-shut-${kind}`,
        `${words} @jailrun-ok-${kind}`,
        `unix @jailrun-shut-${kind}`,
      ),
      row(
        `${what} an abstract name that is denied`,
        `${words} ${name}`,
        `${words} @jailrun-ok-${kind}`,
        `unix ${name}`,
        { rule: 'unix:@jailrun-ok-not*' },
      ),
      row(
        `${what} a name that goes on behind a NUL`,
        `${words} @jailrun-shut-${kind}%00x`,
        `${words} @jailrun-ok-${kind}%00x`,
        `unix @jailrun-shut-${kind}\\u{0}x`,
      ),
    ];
  }),
  ends('name', 'path_mknod', 'bind')(
    'bind a path that no rule names',
    `stream name ${granted}/new.sock`,
    `stream name ${named}/new.sock`,
    `${granted}/new.sock`,
  ),
  ends('name', 'socket_bind', 'bind')(
    'bind an abstract name that no rule names',
    'stream name @jailrun-ok-new',
    'stream name @jailrun-own',
    'unix @jailrun-ok-new',
  ),
  ends('name', 'socket_bind', 'bind')(
    'bind a name of the kernel’s choice',
    'stream name -',
    'stream name @jailrun-own-2',
    'unix',
    { reason: /the kernel would choose its name/ },
  ),
  // Sockets that come from outside.
  ...(
    [
      ['a listener that no rule names', 'listener-shut', 'listener-granted', 'bind', 'tcp 127.0.0.1:9091'],
      [
        'a connection that no rule names',
        'connection-shut',
        'connection-granted',
        'connect',
        'tcp 127.0.0.1:7002',
      ],
      [
        'a bound datagram socket that no rule names',
        'datagram-shut',
        'unbound',
        'bind',
        'udp 127.0.0.1:9092',
      ],
      [
        'a connected datagram socket that no rule names',
        'connected-shut',
        'connected-granted',
        'connect',
        'udp 127.0.0.1:7053',
      ],
      ['a raw socket', 'raw', 'route', 'bind', 'inet protocol 1'],
      ['a netlink socket for uevents', 'uevents', 'route', 'bind', 'netlink protocol 15'],
      [
        'a unix listener that no rule names',
        'unix-listener-shut',
        'unix-listener-granted',
        'bind',
        `${shut}/stream.sock`,
      ],
      ['a unix connection that no rule names', 'unix-shut', 'unix-granted', 'connect', `${shut}/stream.sock`],
      ['a unix datagram socket that no rule names', 'unix-dgram-shut', 'pair', 'bind', `${shut}/dgram.sock`],
    ] as const
  ).map(
    ([what, denied, allowed, operation, target]): Row => ({
      name: `receive ${what}`,
      denied: `receive ${granted}/giver.sock ${denied}`,
      allowed: `receive ${granted}/giver.sock ${allowed}`,
      step: 'receive',
      result: 'EBADMSG',
      hook: 'file_receive',
      operation,
      target,
    }),
  ),
];

const servers = `
import socket, threading, os, time
kept = []
def keep(s):
    kept.append(s); return s
def tcp(family, host, port):
    s = keep(socket.socket(family, socket.SOCK_STREAM))
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6: s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    s.bind((host, port)); s.listen(128); return s
def udp(family, host, port):
    s = keep(socket.socket(family, socket.SOCK_DGRAM))
    if family == socket.AF_INET6: s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    s.bind((host, port)); return s
for family, host in ((socket.AF_INET, '0.0.0.0'), (socket.AF_INET6, '::')):
    for port in (7000, 7002, 7003, 7004): tcp(family, host, port)
    for port in (7001, 7003, 7053): udp(family, host, port)
def unix(kind, name):
    s = keep(socket.socket(socket.AF_UNIX, kind)); s.bind(name)
    if kind == socket.SOCK_STREAM: s.listen(128)
    return s
S, D = socket.SOCK_STREAM, socket.SOCK_DGRAM
have = {}
for directory in ('${granted}', '${writable}', '${shut}'):
    for kind, name in ((S, 'stream.sock'), (D, 'dgram.sock')):
        have[directory + '/' + name] = unix(kind, directory + '/' + name)
for kind, end in ((S, 'stream'), (D, 'dgram')):
    for directory in ('${granted}', '${writable}'): unix(kind, '%s/shut-%s.sock' % (directory, end))
    unix(kind, '\\0jailrun-ok-not-' + end)
    for start in ('shut', 'ok'):
        for tail in ('', '\\0x'): unix(kind, '\\0jailrun-%s-%s%s' % (start, end, tail))
def connected(kind, to, family=socket.AF_INET):
    s = keep(socket.socket(family, kind)); s.connect(to); return s
have.update({
    'listener-shut': tcp(socket.AF_INET, '127.0.0.1', 9091),
    'listener-granted': tcp(socket.AF_INET, '127.0.0.2', 8005),
    'connection-shut': connected(S, ('127.0.0.1', 7002)),
    'connection-granted': connected(S, ('127.0.0.1', 7000)),
    'datagram-shut': udp(socket.AF_INET, '127.0.0.1', 9092),
    'connected-shut': connected(D, ('127.0.0.1', 7053)),
    'connected-granted': connected(D, ('127.0.0.1', 7001)),
    'unbound': keep(socket.socket()),
    'raw': keep(socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)),
    'route': keep(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)),
    'uevents': keep(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 15)),
    'unix-listener-shut': have['${shut}/stream.sock'],
    'unix-listener-granted': unix(S, '${named}/listener.sock'),
    'unix-shut': connected(S, '${shut}/stream.sock', socket.AF_UNIX),
    'unix-granted': connected(S, '${granted}/stream.sock', socket.AF_UNIX),
    'unix-dgram-shut': have['${shut}/dgram.sock'],
    'pair': keep(socket.socketpair()[0]),
})
giver = unix(S, '${granted}/giver.sock')
def serve():
    while True:
        peer = giver.accept()[0]
        try: socket.send_fds(peer, [b'x'], [have[peer.recv(100).decode()].fileno()])
        finally: peer.close()
threading.Thread(target=serve, daemon=True).start()
print('ready', flush=True)
time.sleep(3600)
`;

function makeTree(): void {
  rmSync(area, { recursive: true, force: true });
  for (const directory of [granted, named, writable, shut])
    mkdirSync(directory as string, { recursive: true });
}

async function withServers<T>(action: () => T): Promise<T> {
  makeTree();
  const child = spawn('python3', ['-c', servers], { stdio: ['ignore', 'pipe', 'inherit'] });
  const closed = new Promise((resolve) => child.once('close', resolve));
  try {
    await new Promise((resolve, reject) => {
      child.stdout.once('data', resolve);
      child.once('close', () => reject(new Error('the servers did not start')));
    });
    return action();
  } finally {
    child.kill('SIGKILL');
    await closed;
  }
}

interface Act {
  step: string;
  result: string;
  pid: number;
}

/** Runs \`net\` once for each line, in one shell; jailed where options are given. */
function runLines(
  lines: string[],
  options?: string[],
): { acts: Act[]; denials: ReturnType<typeof run>['denials']; stderr: string } {
  const input = lines.map((line) => `${net} ${line}\n`).join('');
  const outcome = options
    ? run([...options, '--', '/bin/sh'], { input })
    : { ...spawnSync('/bin/sh', { input, encoding: 'utf8' }), denials: [] };
  const acts = outcome.stdout
    .trimEnd()
    .split('\n')
    .map((line): Act => {
      const words = line.split(' ');
      const [step = '', result = ''] = words.length === 3 ? words : ['', words[0]];
      return { step, result, pid: Number(words.at(-1)) };
    });
  assert.equal(acts.length, lines.length, `${outcome.stdout}\n${outcome.stderr}`);
  return { acts, denials: outcome.denials, stderr: outcome.stderr };
}

const jail = (role: string): string[] => ['--policy', policy, '--role', role];

before(attach);
after(() => {
  rmSync(area, { recursive: true, force: true });
  leave();
});

describe('a jailed task cannot', () => {
  let unjailed: Act[];
  let jailed: ReturnType<typeof runLines>;

  before(async () => {
    unjailed = await withServers(() => runLines(rows.map(({ denied }) => denied)).acts);
    const both = rows.flatMap(({ denied, allowed }) => [denied, allowed]);
    jailed = await withServers(() => runLines(both, jail('network')));
  });

  rows.forEach((row, i) => {
    test(row.name, () => {
      const { step, result, pid } = jailed.acts[2 * i] as Act;
      const { result: without } = unjailed[i] as Act;
      assert.deepEqual([step, result], [row.step, row.result ?? 'EACCES']);
      // What this kernel does not offer to anybody is denied all the same, before it could be asked for.
      if (row.unjailed !== '*') assert.equal(without, 'ok', 'unjailed');
      const events = jailed.denials.filter((denial) => denial.pid === pid);
      if (!row.severalEvents) assert.equal(events.length, 1, JSON.stringify(events));
      const event = events.at(-1);
      assert.ok(event);
      const { hook, operation, target, error, rule, reason } = event;
      assert.deepEqual(
        { hook, operation, error },
        { hook: row.hook, operation: row.operation, error: row.operation === 'use' ? 'EPERM' : 'EACCES' },
      );
      if (row.target instanceof RegExp) assert.match(target, row.target);
      else assert.equal(target.replaceAll('\0', '\\u{0}'), row.target);
      assert.equal(rule?.text.startsWith('/') ? undefined : rule?.text, row.rule);
      if (row.reason) assert.match(reason ?? '', row.reason);
    });
    test(`${row.name}; its allowed twin works`, () => {
      const { step, result, pid } = jailed.acts[2 * i + 1] as Act;
      assert.deepEqual([step, result], ['', 'ok']);
      assert.deepEqual(
        jailed.denials.filter((denial) => denial.pid === pid),
        [],
      );
    });
  });
});

/** Runs lines jailed, with the servers, and says what each did and what was denied. */
async function tell(role: string, lines: string[]): Promise<string[]> {
  const { acts, denials } = await withServers(() => runLines(lines, jail(role)));
  return acts.map(({ step, result, pid }) =>
    [step, result, ...denials.filter((one) => one.pid === pid).map(({ target }) => target)]
      .filter(Boolean)
      .join(' '),
  );
}

test('an address that is too short is the kernel’s own error, and one of another family, too', async () => {
  const lines = [
    'tcp4 bind-short 15 127.0.0.1 9090',
    'tcp6 bind-short 23 ::1 9090',
    'tcp4 connect-short 15 127.0.0.1 7002',
    'tcp6 connect-short 23 ::1 7002',
    'udp4 connect-short 8 127.0.0.1 7053',
    'udp4 sendto-short 15 127.0.0.1 7053',
    'udp6 sendto-short 23 ::1 7053',
  ];
  const results = (acts: Act[]) => acts.map(({ result }) => result);
  const unjailed = await withServers(() => runLines(lines).acts);
  const { acts, denials } = await withServers(() => runLines(lines, jail('network')));
  assert.deepEqual([results(acts), denials], [results(unjailed), []]);
  assert.deepEqual(new Set(results(acts)), new Set(['EINVAL']));
});

test('a stream ignores an address at a send, so it is none of the jail’s business', async () => {
  assert.deepEqual(await tell('network', ['tcp4 connect 127.0.0.1 7000 sendto 127.0.0.1 7002']), ['ok']);
});

test('an IPv6 socket that was turned into one for IPv4 is held by the rules for IPv4', async () => {
  assert.deepEqual(
    await tell('network', [
      'udp6 connect ::ffff:127.0.0.1 7001 turn4 send',
      'udp6 connect ::ffff:127.0.0.1 7001 turn4 sendto 127.0.0.1 7003',
      'udp6 connect ::ffff:127.0.0.1 7001 turn4 sendto 127.0.0.1 7053',
      'udp6 connect ::ffff:127.0.0.1 7001 turn4 connect 127.0.0.1 7053',
      'tcp6 connect ::ffff:127.0.0.1 7000 turn4 dissolve connect 127.0.0.1 7002',
      'tcp6 connect ::ffff:127.0.0.1 7000 turn4 dissolve connect 127.0.0.1 7003',
    ]),
    [
      ...['ok', 'ok', 'sendto EACCES udp 127.0.0.1:7053', 'connect EACCES udp 127.0.0.1:7053'],
      ...['connect EACCES tcp 127.0.0.1:7002', 'ok'],
    ],
  );
});

test('a role for all addresses and ports listens without a port, takes a name of the kernel’s, and denies what it denies', async () => {
  assert.deepEqual(
    await tell('everywhere', [
      'tcp4 listen',
      'tcp6 listen',
      'stream name -',
      'tcp4 connect 127.0.0.3 7002',
      'udp6 sendto ::1 7053',
      'udp4 sendto 169.254.169.254 80',
      'udp6 sendto ::ffff:169.254.169.254 80',
      'udp6 sendto 64:ff9b::a9fe:a9fe 80',
      'tcp6 connect fd00:ec2::254 80',
      'udp4 bind 127.0.0.1 9090',
    ]),
    [
      ...['ok', 'ok', 'ok', 'ok', 'ok'],
      'sendto EACCES udp 169.254.169.254:80',
      'sendto EACCES udp 169.254.169.254:80',
      'sendto EACCES udp [64:ff9b::a9fe:a9fe]:80',
      'connect EACCES tcp [fd00:ec2::254]:80',
      'bind EACCES udp 127.0.0.1:9090',
    ],
  );
});

test('without a network only pairs without a name work, whatever files it may write', async () => {
  assert.deepEqual(
    await tell('alone', [
      'pair 1 send',
      'pair 2 send',
      'tcp4',
      `stream reach ${granted}/stream.sock`,
      `datagram tell ${granted}/dgram.sock`,
      'stream reach @jailrun-ok-stream',
      `stream name ${named}/x.sock`,
      'stream name @jailrun-own',
      'stream name -',
      'socket 16 3 0',
    ]),
    [
      ...['ok', 'ok', 'tcp4 EACCES inet', `reach EACCES ${granted}/stream.sock`],
      ...[`tell EACCES ${granted}/dgram.sock`, 'reach EACCES unix @jailrun-ok-stream'],
      ...['name EACCES unix', 'name EACCES unix @jailrun-own', 'name EACCES unix', 'socket EACCES netlink'],
    ],
  );
});

/** Starts the command with descriptor 20 as Python made it. */
function handOver(make: string, line: string): { said: string; targets: string[] } {
  const script = `import socket, os, sys
${make}
os.dup2(s.fileno(), 20)
os.execv(sys.argv[1], sys.argv[1:])
`;
  const command = [jailrun, '--json', ...jail('network'), '--', net, ...line.split(' ')];
  const { stdout, stderr } = spawnSync('python3', ['-c', script, ...command], { encoding: 'utf8' });
  const denials = stderr.split('\n').filter((text) => text.startsWith('{'));
  return {
    said: stdout.split(' ').slice(0, -1).join(' '),
    targets: denials.map((text) => JSON.parse(text).target),
  };
}

describe('a socket that was handed over', () => {
  const listener = "s = socket.socket(); s.bind(('127.0.0.1', 9095)); s.listen(4)";
  const client = `${listener}\nc = socket.socket(); c.connect(('127.0.0.1', 9095)); os.set_inheritable(c.fileno(), True)`;
  const datagram =
    "r = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); r.bind(('127.0.0.1', 9096)); os.set_inheritable(r.fileno(), True)\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect(('127.0.0.1', 9096))";
  const told =
    "r = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); r.bind('\\0jailrun-told'); os.set_inheritable(r.fileno(), True)\ns = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.connect('\\0jailrun-told')";
  test('may accept and listen on, whatever its port', () => {
    assert.deepEqual(handOver(client, 'use 20 accept'), { said: 'ok', targets: [] });
    assert.deepEqual(handOver(listener, 'use 20 listen'), { said: 'ok', targets: [] });
  });
  test('may send to whom it is connected', () => {
    assert.deepEqual(handOver(datagram, 'use 20 send'), { said: 'ok', targets: [] });
    assert.deepEqual(handOver(told, 'use 20 send'), { said: 'ok', targets: [] });
  });
  test('may not send elsewhere', () => {
    assert.deepEqual(handOver(datagram, 'use 20 sendto 127.0.0.1 9096'), {
      said: 'sendto EACCES',
      targets: ['udp 127.0.0.1:9096'],
    });
    assert.deepEqual(handOver(told, 'use 20 dissolve tell @jailrun-told'), {
      said: 'tell EACCES',
      targets: ['unix @jailrun-told'],
    });
  });
  test('may not be connected elsewhere', () => {
    assert.deepEqual(handOver(datagram, 'use 20 connect 127.0.0.1 9096'), {
      said: 'connect EACCES',
      targets: ['udp 127.0.0.1:9096'],
    });
  });
  test('of a kind that no rule can name may not send to an address', () => {
    const raw = 's = socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)';
    assert.deepEqual(handOver(raw, 'use 20 sendto 127.0.0.1 0'), {
      said: 'sendto EACCES',
      targets: ['inet protocol 1'],
    });
  });
});

test('what is only audited goes on and is reported once', async () => {
  const lines = [
    'tcp4 connect 127.0.0.1 7002',
    'udp4 sendto 127.0.0.1 7053',
    'tcp4 listen',
    'stream reach @jailrun-shut-stream',
  ];
  const { acts, denials } = await withServers(() => runLines(lines, [...jail('network'), '--audit']));
  assert.deepEqual(
    acts.map(({ result, pid }) => [
      result,
      ...denials.filter((one) => one.pid === pid).map(({ hook }) => hook),
    ]),
    [
      ['ok', 'socket_connect'],
      ['ok', 'socket_sendmsg'],
      ['ok', 'socket_listen'],
      ['ok', 'unix_stream_connect'],
    ],
  );
});
