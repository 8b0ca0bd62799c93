/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The verdict on one end of a connection: its own for what binds or listens, the other for what connects or
 * sends. What an address means is taken from what the kernel itself does with it:
 *  - IPv4-mapped IPv6 is IPv4.
 *  - To connect to 0.0.0.0 or :: is to connect to the address that the socket is bound to, else to loopback
 *    (ip_route_output_key_hash_rcu(), tcp_v6_connect(), udpv6_sendmsg()).
 *  - The family is the address's, not the socket's: an IPv6 socket takes IPv4 addresses for datagrams.
 * AF_UNSPEC is IPv4 to an IPv4 socket that binds or sends, and no address to an IPv6 one that sends.
 *
 * A verdict is a pure function of role, direction, protocol, address and port, so it is remembered by those,
 * for all tasks of a role. Nothing ever has to be forgotten: the role is named by a digest of its rules.
 */
#ifndef JAILRUN_ENDPOINT_H
#define JAILRUN_ENDPOINT_H

#include "path.h"

enum {
	JR_ENDPOINTS = 4096,
	LOOPBACK = 0x0100007f, /* 127.0.0.1 in network order */
	/* A prefix, and its entries of ports in up to 17 halvings, for each length. */
	SEARCH_STEPS = 129 * 18,
};

/* An end that the role grants. */
struct known_end {
	__u64 version; /* odd while it is written */
	__u64 role;
	struct endpoint end;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, JR_ENDPOINTS);
	__type(key, __u32);
	__type(value, struct known_end);
} known_ends SEC(".maps");

/* struct sockaddr_in and struct sockaddr_in6, up to the scope. */
struct raw_address {
	__u16 family;
	__be16 port;
	__be32 four;
	__u64 six[2];
};

enum {
	FOUR_LENGTH = 16,
	SIX_LENGTH = 24, /* without the scope, as in RFC 2133 */
};

static __always_inline bool is_inet(__u32 family)
{
	return family == AF_INET || family == AF_INET6;
}

/* ::ffff:a.b.c.d */
static __always_inline bool is_mapped(const __u64 *six)
{
	return !six[0] && (__u32)six[1] == 0xffff0000;
}

static __always_inline void set_four(struct endpoint *end, __be32 address)
{
	end->address[0] = address;
	end->address[1] = 0;
}

static __always_inline void set_six(struct endpoint *end, const __u64 *six)
{
	if (is_mapped(six)) {
		set_four(end, six[1] >> 32);
		return;
	}
	end->address[0] = six[0];
	end->address[1] = six[1];
	end->space |= JR_SPACE_INET6;
}

/* What the unspecified address leads to. */
static __always_inline void find_self(struct endpoint *end, struct sock *sk)
{
	__u64 six[2] = {};

	if (end->address[0] || end->address[1])
		return;
	if (end->space & JR_SPACE_INET6) {
		bpf_probe_read_kernel(six, sizeof(six), &sk->__sk_common.skc_v6_rcv_saddr);
		if (is_mapped(six)) {
			end->space &= ~JR_SPACE_INET6;
			set_four(end, LOOPBACK);
		} else {
			end->address[1] = 1ull << 56;
		}
		return;
	}
	set_four(end, BPF_CORE_READ((struct inet_sock *)sk, inet_saddr));
	if (!end->address[0])
		set_four(end, LOOPBACK);
}

/*
 * Reads the address that a system call was given. Returns 0, or the errno that the kernel itself would answer
 * with; AF_UNSPEC is the caller's.
 */
static __always_inline int read_end(struct endpoint *end, __u32 space, struct raw_address *raw, int length)
{
	end->space = space;
	end->port = __builtin_bswap16(raw->port);
	end->pad = 0;
	if (raw->family == AF_INET6) {
		if (length < SIX_LENGTH)
			return EINVAL;
		set_six(end, raw->six);
		return 0;
	}
	if (length < FOUR_LENGTH)
		return EINVAL;
	set_four(end, raw->four);
	return raw->family == AF_INET ? 0 : EAFNOSUPPORT;
}

/* The end that the socket is bound to, or that it is connected to. */
static __always_inline void read_socket(struct endpoint *end, struct sock *sk, __u32 space)
{
	__u64 six[2] = {};
	bool remote = space & JR_SPACE_CONNECT;

	end->space = space;
	end->pad = 0;
	end->port = remote ? __builtin_bswap16(BPF_CORE_READ(sk, __sk_common.skc_dport))
			   : BPF_CORE_READ(sk, __sk_common.skc_num);
	if (BPF_CORE_READ(sk, __sk_common.skc_family) == AF_INET) {
		set_four(end, remote ? BPF_CORE_READ(sk, __sk_common.skc_daddr)
				     : BPF_CORE_READ(sk, __sk_common.skc_rcv_saddr));
		return;
	}
	if (remote)
		bpf_probe_read_kernel(six, sizeof(six), &sk->__sk_common.skc_v6_daddr);
	else
		bpf_probe_read_kernel(six, sizeof(six), &sk->__sk_common.skc_v6_rcv_saddr);
	set_six(end, six);
}

static __always_inline struct known_end *known_end_of(struct jail *jail, struct endpoint *end)
{
	__u64 hash =
	    (end->address[0] ^ end->address[1] * 3 ^ jail->role ^ end->port ^ (__u64)end->space << 16) *
	    0x9e3779b97f4a7c15ull;
	__u32 slot = hash >> 52;

	return bpf_map_lookup_elem(&known_ends, &slot);
}

/* True where it is remembered that the role grants the end. x86 keeps loads in order. */
static __always_inline bool is_known_end(struct jail *jail, struct endpoint *end)
{
	struct known_end *known = known_end_of(jail, end);
	__u64 version;

	if (!known)
		return false;
	version = *(volatile __u64 *)&known->version;
	if (version & 1 || known->role != jail->role || known->end.address[0] != end->address[0] ||
	    known->end.address[1] != end->address[1] || known->end.port != end->port ||
	    known->end.space != end->space)
		return false;
	asm volatile("" ::: "memory");
	return *(volatile __u64 *)&known->version == version;
}

static __noinline int remember_end(struct jail *jail)
{
	struct known_end *known = known_end_of(jail, &jail->end);
	__u64 version;

	if (!known)
		return 0;
	version = *(volatile __u64 *)&known->version;
	if (version & 1 || !__sync_bool_compare_and_swap(&known->version, version, version + 1))
		return 0;
	known->role = jail->role;
	known->end = jail->end;
	__sync_fetch_and_add(&known->version, 1);
	return 0;
}

static __always_inline __u64 mask_of(__u32 bits)
{
	return bits >= 64 ? ~0ull : bits ? ~0ull << (64 - bits) : 0;
}

/* Begins with the ports of the next prefix that has an entry. */
static __always_inline void try_prefix(struct jail *jail, void *rules)
{
	struct jr_rule_key *key = &jail->key;
	__u64 *address = (__u64 *)key->name;
	__u32 length = --jail->prefix;
	struct jr_rule *found;

	if (length < 128 && !(jail->lengths.bits[length / 32 & 3] >> (length % 32) & 1))
		return;
	key->kind = JR_KEY_PREFIX;
	key->state = jail->end.space;
	key->length = length;
	address[0] = jail->end.address[0] & __builtin_bswap64(mask_of(length));
	address[1] = jail->end.address[1] & __builtin_bswap64(mask_of(length > 64 ? length - 64 : 0));
	found = bpf_map_lookup_elem(rules, key);
	address[0] = 0;
	address[1] = 0;
	key->length = 0;
	if (!found)
		return;
	jail->low = found->state;
	jail->high = found->state + found->access;
}

/* bpf_loop callback: tries one entry of ports, or goes to the next prefix. */
static long search(__u32 i, void *context)
{
	struct descent *descent = context;
	struct jail *jail = descent->jail;
	struct jr_rule *ports;
	__u32 middle;

	if (jail->low >= jail->high) {
		if (!jail->prefix)
			return 1;
		try_prefix(jail, descent->rules);
		return 0;
	}
	middle = (jail->low + jail->high) / 2;
	jail->key.kind = JR_KEY_PORTS;
	jail->key.state = middle;
	ports = bpf_map_lookup_elem(descent->rules, &jail->key);
	if (!ports) {
		jail->reason = JR_REASON_BROKEN;
		return 1;
	}
	if (jail->end.port < ports->state >> 16) {
		jail->high = middle;
	} else if (jail->end.port > (ports->state & 0xffff)) {
		jail->low = middle + 1;
	} else {
		jail->now.rule = ports->rule;
		jail->granted = ports->access;
		return 1;
	}
	return 0;
}

/* True where the role's rules grant jail->end; jail->now.rule is the one that decides. */
static __noinline int grants_end(struct jail *jail)
{
	struct descent descent = {.jail = jail};
	struct jr_lengths *lengths;

	jail->granted = 0;
	jail->now.rule = 0;
	jail->reason = JR_REASON_BROKEN;
	descent.rules = bpf_map_lookup_elem(&role_rules, &jail->role);
	if (!descent.rules)
		return 0;
	jail->reason = JR_REASON_RULE;
	__builtin_memset(&jail->key, 0, sizeof(jail->key));
	jail->key.kind = JR_KEY_LENGTHS;
	jail->key.state = jail->end.space;
	lengths = bpf_map_lookup_elem(descent.rules, &jail->key);
	if (!lengths)
		return 0;
	jail->lengths = *lengths;
	jail->prefix = lengths->longest + 1;
	jail->low = 0;
	jail->high = 0;
	bpf_loop(SEARCH_STEPS, search, &descent, 0);
	return jail->granted;
}

/* Denies jail->end, for the reason that grants_end() left or the caller gives. */
static __noinline int deny_this_end(struct jail *jail, __u32 hook_operation)
{
	struct jr_denial *denial = begin_denial(jail, hook_operation >> 16, hook_operation & 0xffff);

	denial->reason = jail->reason;
	denial->rule = jail->now.rule;
	denial->family = jail->end.space & JR_SPACE_INET6 ? AF_INET6 : AF_INET;
	denial->protocol = jail->end.space & JR_SPACE_UDP ? IPPROTO_UDP : IPPROTO_TCP;
	denial->port = jail->end.port;
	__builtin_memcpy(denial->address, jail->end.address, sizeof(denial->address));
	return deny(jail, EACCES);
}

/* Returns 1 where the role does not grant jail->end. */
static __noinline int deny_end(struct jail *jail, __u32 hook_operation)
{
	if (grants_end(jail)) {
		remember_end(jail);
		return 0;
	}
	return deny_this_end(jail, hook_operation);
}

#endif
