// SPDX-License-Identifier: GPL-2.0-only
/*
 * socket_create: a family, type or protocol that no rule can name is not made, nor, without a power over the
 * audit log, a socket to it.
 * socket_bind, socket_listen: the own end. listen() without bind() takes a port of the kernel's choice.
 * socket_connect, socket_sendmsg with an address: the other end. TCP Fast Open connects in sendmsg.
 * socket_setsockopt, socket_sendmsg with control data: a route for packets is none that rules could name.
 * unix_stream_connect, unix_may_send: sockets on this host, by the name that they are bound to. A path is
 * bound by making a node (path_mknod).
 * file_receive: a socket that comes from another process, as if it were bound or connected now.
 * Addresses, routes and links may be asked for over netlink; to change them is a power (capability.bpf.c).
 *
 * What was handed over when the command started may be used as it is, but an address is always decided. So is
 * not what an accepted connection came from: who may listen may be reached.
 *
 * As far as the verifier knows socket->sk may be NULL. No hook can decide on such a socket, so it denies.
 */
#include "endpoint.h"
#include "power.h"
#include "unix.h"

/* What rules can name, and the kernel's own answers about addresses, which resolvers ask for. */
static __always_inline bool is_ordinary(__u32 family, __u32 type, __u32 protocol)
{
	if (is_inet(family) && type == SOCK_STREAM)
		return !protocol || protocol == IPPROTO_TCP;
	if (is_inet(family) && type == SOCK_DGRAM)
		return !protocol || protocol == IPPROTO_UDP;
	return family == AF_NETLINK && protocol == NETLINK_ROUTE;
}

/* Denies a socket that no rule can name. MPTCP is one: its peer adds addresses, and no hook is asked then. */
static __noinline int deny_family(struct jail *jail, __u32 family, __u32 protocol, __u32 hook_operation)
{
	struct jr_denial *denial = begin_denial(jail, hook_operation >> 16, hook_operation & 0xffff);

	denial->reason = JR_REASON_FAMILY;
	if (jail->scope.network == JR_SCOPE_NONE && is_inet(family))
		denial->reason = JR_REASON_RULE;
	denial->family = family;
	denial->protocol = protocol;
	return deny(jail, EACCES);
}

#define AUDIT_POWERS                                                                                         \
	(1ull << JR_POWER_AUDIT_WRITE | 1ull << JR_POWER_AUDIT_CONTROL | 1ull << JR_POWER_AUDIT_READ)

/*
 * The audit log is reached over netlink and is no network: who has a power over it may, and the kernel asks
 * capable about each message and group. Without a socket PAM lets nobody in, whatever su and sudo may do.
 */
static __always_inline bool is_audit(__u32 family, __u32 protocol)
{
	return family == AF_NETLINK && protocol == NETLINK_AUDIT;
}

SEC("lsm/socket_create")
int BPF_PROG(jr_socket_create, int family, int type, int protocol, int kern)
{
	struct jail *jail = current_jail();

	if (!jail || kern || family == AF_UNIX || jail->scope.network == JR_SCOPE_ANY)
		return 0;
	if (jail->scope.network == JR_SCOPE_RULES && is_ordinary(family, type & SOCK_TYPE_MASK, protocol))
		return 0;
	if (is_audit(family, protocol)) {
		if (jail->scope.powers & AUDIT_POWERS)
			return 0;
		return verdict(deny_power(jail, JR_POWER_AUDIT_WRITE, 0, JR_HOOK_SOCKET_CREATE), EPERM);
	}
	return verdict(deny_family(jail, family, protocol, HOOK_OPERATION(SOCKET_CREATE, SOCKET)), EACCES);
}

/* The half of the rules for addresses that a socket belongs to; NO_SPACE where none can name it. */
#define NO_SPACE 0xffff

static __always_inline __u32 space_of(__u32 family, __u32 protocol, __u32 direction)
{
	if (!is_inet(family))
		return NO_SPACE;
	if (protocol == IPPROTO_TCP)
		return direction;
	return protocol == IPPROTO_UDP ? direction | JR_SPACE_UDP : NO_SPACE;
}

static __always_inline int deny_other_family(struct jail *jail, struct sock *sk, __u32 hook_operation)
{
	__u32 family = BPF_CORE_READ(sk, __sk_common.skc_family);

	return deny_family(jail, family, BPF_CORE_READ(sk, sk_protocol), hook_operation);
}

/*
 * Returns 1 where the role does not let the socket be bound to jail->end. An IPv6 socket that is bound to ::
 * is reached over IPv4, too, unless it was told not to; a TCP one that is told otherwise meanwhile is asked
 * again when it listens, and a datagram one is not believed.
 */
static __noinline int deny_own_end(struct jail *jail, struct sock *sk, __u32 hook_operation)
{
	struct endpoint *end = &jail->end;

	if (!is_known_end(jail, end) && deny_end(jail, hook_operation))
		return 1;
	if (!(end->space & JR_SPACE_INET6) || end->address[0] || end->address[1])
		return 0;
	if (!(end->space & JR_SPACE_UDP) && BPF_CORE_READ_BITFIELD_PROBED(sk, __sk_common.skc_ipv6only))
		return 0;
	end->space &= ~JR_SPACE_INET6;
	return !is_known_end(jail, end) && deny_end(jail, hook_operation);
}

SEC("lsm/socket_bind")
int BPF_PROG(jr_socket_bind, struct socket *sock, struct sockaddr *address, int length)
{
	struct jail *jail = current_jail();
	struct sock *sk = sock->sk;
	struct raw_address raw = {};
	__u32 family, space;
	int error;

	if (!jail || jail->scope.network == JR_SCOPE_ANY)
		return 0;
	if (!sk)
		return verdict(1, EACCES);
	bpf_probe_read_kernel(&raw, sizeof(raw), address);
	family = sk->__sk_common.skc_family;
	if (family == AF_UNIX) {
		if (length <= UNIX_NAME)
			return verdict(deny_abstract(jail, 0, CHOSEN_NAME, HOOK_OPERATION(SOCKET_BIND, BIND)),
				       EACCES);
		if (!(raw.port & 0xff))
			return verdict(deny_abstract(jail, (__u64)address + UNIX_NAME + 1,
						     length - UNIX_NAME - 1,
						     HOOK_OPERATION(SOCKET_BIND, BIND)),
				       EACCES);
		if (jail->scope.network == JR_SCOPE_RULES)
			return 0;
		return verdict(deny_family(jail, family, 0, HOOK_OPERATION(SOCKET_BIND, BIND)), EACCES);
	}
	if (family == AF_NETLINK)
		return 0;
	space = space_of(family, sk->sk_protocol, 0);
	if (space == NO_SPACE)
		return verdict(deny_other_family(jail, sk, HOOK_OPERATION(SOCKET_BIND, BIND)), EACCES);
	if (raw.family == AF_UNSPEC && family == AF_INET)
		raw.family = AF_INET;
	error = read_end(&jail->end, space, &raw, length);
	if (error == EINVAL)
		return verdict(1, EINVAL);
	if (error)
		return verdict(1, EAFNOSUPPORT);
	/* Port 0 is a port of the kernel's choice, as a client has; socket_listen decides servers. */
	if (!raw.port)
		return 0;
	return verdict(deny_own_end(jail, sk, HOOK_OPERATION(SOCKET_BIND, BIND)), EACCES);
}

SEC("lsm/socket_listen")
int BPF_PROG(jr_socket_listen, struct socket *sock)
{
	struct jail *jail = current_jail();
	struct sock *sk = sock->sk;
	__u32 space;

	if (!jail || jail->scope.network == JR_SCOPE_ANY)
		return 0;
	if (!sk)
		return verdict(1, EACCES);
	/* What listens already is told a new length of its queue. */
	if (sk->__sk_common.skc_family == AF_UNIX || sk->__sk_common.skc_state == TCP_LISTEN)
		return 0;
	space = space_of(sk->__sk_common.skc_family, sk->sk_protocol, 0);
	if (space == NO_SPACE)
		return verdict(deny_other_family(jail, sk, HOOK_OPERATION(SOCKET_LISTEN, LISTEN)), EACCES);
	read_socket(&jail->end, sk, space);
	return verdict(deny_own_end(jail, sk, HOOK_OPERATION(SOCKET_LISTEN, LISTEN)), EACCES);
}

SEC("lsm/socket_connect")
int BPF_PROG(jr_socket_connect, struct socket *sock, struct sockaddr *address, int length)
{
	struct jail *jail = current_jail();
	struct sock *sk = sock->sk;
	struct raw_address raw = {};
	__u32 family, space;
	int error;

	if (!jail || jail->scope.network == JR_SCOPE_ANY)
		return 0;
	if (!sk)
		return verdict(1, EACCES);
	family = sk->__sk_common.skc_family;
	/* unix sockets have hooks that know the peer. */
	if (family == AF_UNIX || family == AF_NETLINK)
		return 0;
	bpf_probe_read_kernel(&raw, sizeof(raw), address);
	/* It dissolves a connection. */
	if (raw.family == AF_UNSPEC)
		return 0;
	space = space_of(family, sk->sk_protocol, JR_SPACE_CONNECT);
	if (space == NO_SPACE)
		return verdict(deny_other_family(jail, sk, HOOK_OPERATION(SOCKET_CONNECT, CONNECT)), EACCES);
	error = read_end(&jail->end, space, &raw, length);
	if (error == EINVAL)
		return verdict(1, EINVAL);
	if (error)
		return verdict(1, EAFNOSUPPORT);
	find_self(&jail->end, sk);
	if (is_known_end(jail, &jail->end))
		return 0;
	return verdict(deny_end(jail, HOOK_OPERATION(SOCKET_CONNECT, CONNECT)), EACCES);
}

/*
 * Options by which packets go to other hosts first. Nobody needs a privilege for these (ip_options_compile(),
 * ipv6_set_opt_hdr()), and the first host gets the data.
 */
static __always_inline bool is_route(__u32 level, __u32 option)
{
	if (level == SOL_IP)
		return option == IP_OPTIONS || option == IP_RETOPTS;
	return level == SOL_IPV6 &&
	       (option == IPV6_RTHDR || option == IPV6_2292RTHDR || option == IPV6_2292PKTOPTIONS);
}

static __noinline int deny_route(struct jail *jail, struct sock *sk, __u32 hook_operation)
{
	struct jr_denial *denial = begin_denial(jail, hook_operation >> 16, hook_operation & 0xffff);

	denial->reason = JR_REASON_ROUTED;
	denial->family = BPF_CORE_READ(sk, __sk_common.skc_family);
	return deny(jail, EACCES);
}

/* IP_RETOPTS means another thing to setsockopt(2), which takes no route by it. */
SEC("lsm/socket_setsockopt")
int BPF_PROG(jr_socket_setsockopt, struct socket *sock, int level, int option)
{
	struct jail *jail;
	struct sock *sk;

	if (!is_route(level, option) || (level == SOL_IP && option == IP_RETOPTS))
		return 0;
	jail = current_jail();
	if (!jail || jail->scope.network == JR_SCOPE_ANY)
		return 0;
	sk = sock->sk;
	if (!sk)
		return verdict(1, EACCES);
	return verdict(deny_route(jail, sk, HOOK_OPERATION(SOCKET_SETSOCKOPT, SEND)), EACCES);
}

/* struct cmsghdr */
struct control_head {
	__u64 length;
	__u32 level;
	__u32 type;
};

enum { CONTROL_MESSAGES = 256 };

/* bpf_loop callback: looks at the control message at jail->cursor, of which jail->high bytes are left. */
static long check_control(__u32 i, void *context)
{
	struct jail *jail = ((struct descent *)context)->jail;
	struct control_head head = {};
	__u64 step;

	/* As for_each_cmsghdr(), and what is not whole is refused by whoever reads it. */
	jail->granted = 1;
	if (jail->high < sizeof(head))
		return 1;
	bpf_probe_read_kernel(&head, sizeof(head), (void *)jail->cursor);
	if (head.length < sizeof(head) || head.length > jail->high)
		return 1;
	jail->granted = 0;
	if (is_route(head.level, head.type))
		return 1;
	step = (head.length + 7) & ~7ull;
	jail->cursor += step;
	jail->high = step > jail->high ? 0 : jail->high - step;
	return 0;
}

static __noinline int has_route(struct jail *jail, struct msghdr *message)
{
	struct descent descent = {.jail = jail};

	jail->cursor = (__u64)BPF_CORE_READ(message, msg_control);
	jail->high = BPF_CORE_READ(message, msg_controllen);
	bpf_loop(CONTROL_MESSAGES, check_control, &descent, 0);
	return !jail->granted;
}

/* Without an address and control data nothing is decided, and to look at them costs less than the task does.
 */
SEC("lsm/socket_sendmsg")
int BPF_PROG(jr_socket_sendmsg, struct socket *sock, struct msghdr *message)
{
	struct raw_address raw = {};
	__u32 family, space;
	struct jail *jail;
	struct sock *sk;
	int error;

	if (!message->msg_name && !message->msg_controllen)
		return 0;
	jail = current_jail();
	if (!jail || jail->scope.network == JR_SCOPE_ANY)
		return 0;
	sk = sock->sk;
	if (!sk)
		return verdict(1, EACCES);
	family = sk->__sk_common.skc_family;
	if (family == AF_UNIX || family == AF_NETLINK)
		return 0;
	if (is_inet(family) && message->msg_controllen && has_route(jail, message))
		return verdict(deny_route(jail, sk, HOOK_OPERATION(SOCKET_SENDMSG, SEND)), EACCES);
	if (!message->msg_name)
		return 0;
	/* A stream ignores the address unless it is to connect by it. */
	if (is_inet(family) && sock->type == SOCK_STREAM && !(message->msg_flags & MSG_FASTOPEN))
		return 0;
	space = space_of(family, sk->sk_protocol, JR_SPACE_CONNECT);
	if (space == NO_SPACE)
		return verdict(deny_other_family(jail, sk, HOOK_OPERATION(SOCKET_SENDMSG, SEND)), EACCES);
	bpf_probe_read_kernel(&raw, sizeof(raw), message->msg_name);
	if (raw.family == AF_UNSPEC) {
		if (family == AF_INET6)
			return 0;
		raw.family = AF_INET;
	}
	error = read_end(&jail->end, space, &raw, message->msg_namelen);
	if (error == EINVAL)
		return verdict(1, EINVAL);
	if (error)
		return verdict(1, EAFNOSUPPORT);
	/* Control data may set the own address, which is where 0.0.0.0 leads to. */
	if (!jail->end.address[0] && !jail->end.address[1] && message->msg_controllen) {
		jail->now.rule = 0;
		jail->reason = JR_REASON_UNCLEAR;
		return verdict(deny_this_end(jail, HOOK_OPERATION(SOCKET_SENDMSG, SEND)), EACCES);
	}
	find_self(&jail->end, sk);
	if (is_known_end(jail, &jail->end))
		return 0;
	return verdict(deny_end(jail, HOOK_OPERATION(SOCKET_SENDMSG, SEND)), EACCES);
}

SEC("lsm/unix_stream_connect")
int BPF_PROG(jr_unix_stream_connect, struct sock *sock, struct sock *peer)
{
	struct jail *jail = current_jail();

	if (!jail || jail->scope.network == JR_SCOPE_ANY)
		return 0;
	return verdict(deny_unix(jail, peer, HOOK_OPERATION(UNIX_STREAM_CONNECT, CONNECT)), EACCES);
}

/* It is asked when a datagram socket is connected, before it is, and again at everything that it sends. */
SEC("lsm/unix_may_send")
int BPF_PROG(jr_unix_may_send, struct socket *sock, struct socket *peer)
{
	struct jail *jail = current_jail();
	struct unix_sock *own;

	if (!jail || jail->scope.network == JR_SCOPE_ANY)
		return 0;
	own = (struct unix_sock *)sock->sk;
	if (own && (__u64)BPF_CORE_READ(own, peer) == (__u64)peer->sk)
		return 0;
	return verdict(deny_unix(jail, peer->sk, HOOK_OPERATION(UNIX_MAY_SEND, SEND)), EACCES);
}

static __noinline int grants_socket(struct jail *jail, struct sock *sk, __u32 space)
{
	read_socket(&jail->end, sk, space);
	return grants_end(jail);
}

/*
 * Returns 1 where the task may not have the socket that it receives. A connection is one that it could have
 * made or accepted. A socket that is neither bound nor connected is as good as a new one.
 */
static __noinline int deny_received(struct jail *jail, struct sock *sk)
{
	__u32 hook_operation = HOOK_OPERATION(FILE_RECEIVE, BIND);
	__u32 family, protocol, space;
	struct unix_sock *own;
	struct sock *peer;

	if (!sk)
		return 1;
	family = BPF_CORE_READ(sk, __sk_common.skc_family);
	if (family == AF_UNIX) {
		own = (struct unix_sock *)sk;
		peer = BPF_CORE_READ(own, peer);
		if (peer && deny_unix(jail, peer, HOOK_OPERATION(FILE_RECEIVE, CONNECT)))
			return 1;
		return (!peer || BPF_CORE_READ(sk, sk_type) == SOCK_DGRAM) &&
		       deny_unix(jail, sk, hook_operation);
	}
	protocol = BPF_CORE_READ(sk, sk_protocol);
	if (!is_ordinary(family, BPF_CORE_READ(sk, sk_type), protocol) ||
	    jail->scope.network == JR_SCOPE_NONE)
		return deny_other_family(jail, sk, hook_operation);
	if (family == AF_NETLINK || !BPF_CORE_READ(sk, __sk_common.skc_num))
		return 0;
	space = space_of(family, protocol, 0);
	if (!BPF_CORE_READ(sk, __sk_common.skc_dport)) {
		read_socket(&jail->end, sk, space);
		return deny_own_end(jail, sk, hook_operation);
	}
	if (grants_socket(jail, sk, space) || grants_socket(jail, sk, space | JR_SPACE_CONNECT))
		return 0;
	return deny_this_end(jail, HOOK_OPERATION(FILE_RECEIVE, CONNECT));
}

SEC("lsm/file_receive")
int BPF_PROG(jr_file_receive_socket, struct file *file)
{
	struct jail *jail = current_jail();
	struct socket *sock;

	if (!jail || jail->scope.network == JR_SCOPE_ANY || file->f_mode & FMODE_PATH ||
	    file->f_inode->i_sb->s_magic != SOCKFS_MAGIC)
		return 0;
	sock = file->private_data;
	return verdict(deny_received(jail, BPF_CORE_READ(sock, sk)), EACCES);
}
