/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The verdict on a unix socket, by its name: a path, which is a file's, or an abstract name, which a network
 * namespace has. One without a name is the other end of a pair, or what an accepted connection came from.
 */
#ifndef JAILRUN_UNIX_H
#define JAILRUN_UNIX_H

#include "path.h"

enum {
	UNIX_NAME = 2,        /* offset of the name in struct sockaddr_un */
	CHOSEN_NAME = 0xffff, /* for a length: the kernel is to choose an abstract name */
};

static __always_inline bool is_binding(__u32 hook_operation)
{
	return (hook_operation & 0xffff) == JR_OPERATION_BIND;
}

/* True where the role has rules for sockets of their own; otherwise those for files say who may write them.
 */
static __always_inline bool decides_sockets(struct jail *jail)
{
	return jail->scope.network == JR_SCOPE_RULES && jail->scope.flags & JR_ROLE_SOCKETS;
}

/* Returns 1 where the role does not let the task use the socket at the dentry. */
static __noinline int deny_socket_path(struct jail *jail, __u64 dentry, __u32 hook_operation)
{
	__u32 wanted = JR_ACCESS_READ | JR_ACCESS_WRITE;
	bool binding = is_binding(hook_operation);
	struct jr_denial *denial;
	__u32 access;

	if (decides_sockets(jail))
		wanted = binding ? JR_ACCESS_BIND : JR_ACCESS_CONNECT;
	else if (jail->scope.network == JR_SCOPE_RULES && jail->scope.files == JR_SCOPE_ANY)
		return 0;
	access = access_of(jail, dentry);
	if (jail->scope.network == JR_SCOPE_RULES && (access & wanted) == wanted)
		return 0;
	denial = begin_denial(jail, hook_operation >> 16, hook_operation & 0xffff);
	denial->family = AF_UNIX;
	if (jail->scope.network == JR_SCOPE_RULES) {
		denial->reason = jail->reason;
		if (!decides_sockets(jail))
			denial->rule = jail->now.rule;
		else
			denial->rule = binding ? jail->now.bind_rule : jail->now.connect_rule;
	}
	name_target(jail, dentry);
	return deny(jail, EACCES);
}

/* Returns 1 where the role does not grant the abstract name, `length` bytes at `name`. */
static __noinline int deny_abstract(struct jail *jail, __u64 name, __u32 length, __u32 hook_operation)
{
	struct jr_rule_key *key = &jail->key;
	struct jr_denial *denial;
	struct jr_rule *found = NULL;
	__u32 start, match, rule;
	void *rules = NULL;

	jail->reason = JR_REASON_RULE;
	if (jail->scope.network == JR_SCOPE_RULES)
		rules = bpf_map_lookup_elem(&role_rules, &jail->role);
	if (rules) {
		__builtin_memset(key, 0, sizeof(*key));
		key->kind = JR_KEY_ABSTRACT;
		key->state = is_binding(hook_operation) ? 0 : JR_SPACE_CONNECT;
		found = bpf_map_lookup_elem(rules, key);
	}
	if (found && length != CHOSEN_NAME) {
		jail->now = *found;
		match = match_name(jail, name, length);
		key->length = match;
		found = match ? bpf_map_lookup_elem(rules, key) : NULL;
	}
	if (found && found->access)
		return 0;
	rule = found ? found->rule : 0;
	denial = begin_denial(jail, hook_operation >> 16, hook_operation & 0xffff);
	denial->reason = length == CHOSEN_NAME && !rule ? JR_REASON_CHOSEN_NAME : jail->reason;
	denial->rule = rule;
	denial->family = AF_UNIX;
	if (length < 128) {
		start = JR_MAX_TARGET - 1 - length;
		bpf_probe_read_kernel(&denial->path[start & (JR_MAX_TARGET - 1)], length & 127, (void *)name);
		denial->path_start = start;
	}
	return deny(jail, EACCES);
}

/* Returns 1 where the role does not let the task use the socket `named`: reach it, or be it. */
static __noinline int deny_unix(struct jail *jail, struct sock *named, __u32 hook_operation)
{
	struct unix_sock *target = (struct unix_sock *)named;
	struct unix_address *address;
	__u64 dentry, name;
	__u32 length;

	if (!target)
		return 1;
	address = BPF_CORE_READ(target, addr);
	if (!address)
		return 0;
	dentry = (__u64)BPF_CORE_READ(target, path.dentry);
	if (dentry)
		return deny_socket_path(jail, dentry, hook_operation);
	length = BPF_CORE_READ(address, len) - UNIX_NAME - 1;
	name = (__u64)address + bpf_core_field_offset(struct unix_address, name) + UNIX_NAME + 1;
	return deny_abstract(jail, name, length, hook_operation);
}

#endif
