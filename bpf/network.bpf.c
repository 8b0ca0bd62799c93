// SPDX-License-Identifier: GPL-2.0-only
/*
 * socket_create: a family, type or protocol that no rule can name is not made.
 * socket_bind, socket_listen: local ports. listen() without bind() takes a port of the kernel's choice.
 * socket_connect, socket_sendmsg with an address: remote ports. TCP Fast Open connects in sendmsg.
 * unix_stream_connect, unix_may_send: sockets on this host, by the path that they are bound to.
 *
 * As far as the verifier knows socket->sk may be NULL. No hook can decide on such a socket, so it denies.
 */
#include "path.h"

static __always_inline void load_address(struct jr_denial *denial, const void *address)
{
	__u8 raw[24] = {};

	/* struct sockaddr_in6 is the longest: family, port, flow label, then the address. */
	bpf_probe_read_kernel(raw, sizeof(raw), address);
	denial->port = (__u16)(raw[2] << 8 | raw[3]);
	if (denial->family == AF_INET6)
		__builtin_memcpy(denial->address, raw + 8, 16);
	else
		__builtin_memcpy(denial->address, raw + 4, 4);
}

/* Returns 1 where no `kind` rule names the port. `address` is NULL where the socket has the port. */
static __noinline int deny_port(struct jail *jail, struct sock *sk, const void *address, __u32 kind,
				__u32 hook_operation)
{
	__u32 protocol = BPF_CORE_READ(sk, sk_protocol);
	struct jr_denial *denial;
	void *rules;
	__u8 raw[4] = {};
	__u32 port;

	if (address) {
		bpf_probe_read_kernel(raw, sizeof(raw), address);
		port = (__u32)raw[2] << 8 | raw[3];
	} else {
		port = BPF_CORE_READ(sk, __sk_common.skc_num);
	}
	rules = bpf_map_lookup_elem(&role_rules, &jail->role);
	if (rules) {
		__builtin_memset(&jail->key, 0, sizeof(jail->key));
		jail->key.kind = kind;
		jail->key.state = protocol << 16 | port;
		if (bpf_map_lookup_elem(rules, &jail->key))
			return 0;
	}
	denial = begin_denial(jail, hook_operation >> 16, hook_operation & 0xffff);
	denial->reason = rules ? JR_REASON_RULE : JR_REASON_BROKEN;
	denial->family = BPF_CORE_READ(sk, __sk_common.skc_family);
	denial->protocol = protocol;
	denial->port = port;
	if (address)
		load_address(denial, address);
	return deny(jail, EACCES);
}

static __always_inline bool is_inet(__u32 family)
{
	return family == AF_INET || family == AF_INET6;
}

SEC("lsm/socket_create")
int BPF_PROG(jr_socket_create, int family, int type, int protocol, int kern)
{
	struct jail *jail = current_jail();
	struct jr_denial *denial;

	if (!jail || kern || family == AF_UNIX || jail->scope.network == JR_SCOPE_ANY)
		return 0;
	type &= SOCK_TYPE_MASK;
	if (jail->scope.network == JR_SCOPE_RULES) {
		if (is_inet(family) && type == SOCK_STREAM && (!protocol || protocol == IPPROTO_TCP))
			return 0;
		if (is_inet(family) && type == SOCK_DGRAM && (!protocol || protocol == IPPROTO_UDP))
			return 0;
		/* Resolvers ask the kernel which addresses it has. */
		if (family == AF_NETLINK && protocol == NETLINK_ROUTE)
			return 0;
	}
	denial = begin_denial(jail, JR_HOOK_SOCKET_CREATE, JR_OPERATION_SOCKET);
	denial->reason =
	    is_inet(family) && jail->scope.network == JR_SCOPE_NONE ? JR_REASON_RULE : JR_REASON_FAMILY;
	denial->family = family;
	denial->protocol = protocol;
	return verdict(deny(jail, EACCES), EACCES);
}

SEC("lsm/socket_bind")
int BPF_PROG(jr_socket_bind, struct socket *sock, struct sockaddr *address, int length)
{
	struct jail *jail = current_jail();
	struct sock *sk = sock->sk;
	struct jr_denial *denial;
	__u8 raw[4] = {};

	if (!jail || jail->scope.network == JR_SCOPE_ANY)
		return 0;
	if (!sk)
		return verdict(1, EACCES);
	bpf_probe_read_kernel(raw, sizeof(raw), address);
	if (sk->__sk_common.skc_family == AF_UNIX) {
		/* A name in the file system is made by path_mknod. An abstract one is everybody's. */
		if (length > 2 && raw[2])
			return 0;
		denial = begin_denial(jail, JR_HOOK_SOCKET_BIND, JR_OPERATION_BIND);
		denial->reason = JR_REASON_FAMILY;
		denial->family = AF_UNIX;
		return verdict(deny(jail, EACCES), EACCES);
	}
	/* Port 0 is a port of the kernel's choice, as a client has; socket_listen decides servers. */
	if (is_inet(sk->__sk_common.skc_family) && !raw[2] && !raw[3])
		return 0;
	if (sk->__sk_common.skc_family == AF_NETLINK)
		return 0;
	return verdict(deny_port(jail, sk, address, JR_KEY_BIND, HOOK_OPERATION(SOCKET_BIND, BIND)), EACCES);
}

SEC("lsm/socket_listen")
int BPF_PROG(jr_socket_listen, struct socket *sock)
{
	struct jail *jail = current_jail();
	struct sock *sk = sock->sk;

	if (!jail || jail->scope.network == JR_SCOPE_ANY)
		return 0;
	if (!sk)
		return verdict(1, EACCES);
	if (sk->__sk_common.skc_family == AF_UNIX)
		return 0;
	return verdict(deny_port(jail, sk, NULL, JR_KEY_BIND, HOOK_OPERATION(SOCKET_LISTEN, LISTEN)), EACCES);
}

SEC("lsm/socket_connect")
int BPF_PROG(jr_socket_connect, struct socket *sock, struct sockaddr *address)
{
	struct jail *jail = current_jail();
	struct sock *sk = sock->sk;

	if (!jail || jail->scope.network == JR_SCOPE_ANY)
		return 0;
	if (!sk)
		return verdict(1, EACCES);
	/* AF_UNSPEC dissolves a connection; unix sockets have hooks that know the peer. */
	if (address->sa_family == AF_UNSPEC || sk->__sk_common.skc_family == AF_UNIX ||
	    sk->__sk_common.skc_family == AF_NETLINK)
		return 0;
	return verdict(deny_port(jail, sk, address, JR_KEY_CONNECT, HOOK_OPERATION(SOCKET_CONNECT, CONNECT)),
		       EACCES);
}

SEC("lsm/socket_sendmsg")
int BPF_PROG(jr_socket_sendmsg, struct socket *sock, struct msghdr *message)
{
	struct jail *jail = current_jail();
	struct sock *sk = sock->sk;

	if (!jail || jail->scope.network == JR_SCOPE_ANY || !message->msg_name)
		return 0;
	if (!sk)
		return verdict(1, EACCES);
	if (!is_inet(sk->__sk_common.skc_family))
		return 0;
	/* A stream ignores the address unless it is to connect by it. */
	if (sock->type == SOCK_STREAM && !(message->msg_flags & MSG_FASTOPEN))
		return 0;
	return verdict(
	    deny_port(jail, sk, message->msg_name, JR_KEY_CONNECT, HOOK_OPERATION(SOCKET_SENDMSG, SEND)),
	    EACCES);
}

/*
 * Returns 1 where the task may not reach the unix socket `peer`. As for the kernel's own check,
 * connecting to a socket in the file system takes the right to write it. A socket without a name
 * is the other end of a socketpair.
 */
static __noinline int deny_unix(struct jail *jail, struct sock *peer, __u32 hook_operation)
{
	struct unix_sock *target = (struct unix_sock *)peer;
	struct jr_denial *denial;
	__u64 dentry;

	if (!target)
		return 1;
	if (!BPF_CORE_READ(target, addr))
		return 0;
	dentry = (__u64)BPF_CORE_READ(target, path.dentry);
	if (dentry && jail->scope.network == JR_SCOPE_RULES) {
		if (jail->scope.files == JR_SCOPE_ANY)
			return 0;
		return deny_path(jail, dentry, JR_ACCESS_WRITE, hook_operation);
	}
	denial = begin_denial(jail, hook_operation >> 16, hook_operation & 0xffff);
	denial->family = AF_UNIX;
	if (dentry) {
		access_of(jail, dentry);
		name_target(jail, dentry);
	} else {
		denial->reason = JR_REASON_FAMILY;
	}
	return deny(jail, EACCES);
}

SEC("lsm/unix_stream_connect")
int BPF_PROG(jr_unix_stream_connect, struct sock *sock, struct sock *peer)
{
	struct jail *jail = current_jail();

	if (!jail || jail->scope.network == JR_SCOPE_ANY)
		return 0;
	return verdict(deny_unix(jail, peer, HOOK_OPERATION(UNIX_STREAM_CONNECT, CONNECT)), EACCES);
}

SEC("lsm/unix_may_send")
int BPF_PROG(jr_unix_may_send, struct socket *sock, struct socket *peer)
{
	struct jail *jail = current_jail();

	if (!jail || jail->scope.network == JR_SCOPE_ANY)
		return 0;
	return verdict(deny_unix(jail, peer->sk, HOOK_OPERATION(UNIX_MAY_SEND, SEND)), EACCES);
}
