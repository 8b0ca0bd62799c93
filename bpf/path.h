/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The verdict on a path. A rule names an object, so what is walked is not the visible path but the
 * way from the object's dentry up to its super block's root (d_parent only: no mount is crossed),
 * and then down again through the role's automaton, which the compiler made for each file system
 * out of the visible paths. Bind mounts, chroots and private mount namespaces change nothing.
 */
#ifndef JAILRUN_PATH_H
#define JAILRUN_PATH_H

#include "denial.h"
#include "recall.h"

/* How often a walk looks at names again that are just being changed. */
#define JR_TRIES 1024

struct descent {
	struct jail *jail;
	void *rules;
	__u32 first;
};

/*
 * A dentry that is renamed between the look at its name and the look at its parent would show a path that it
 * never had, and a jail may rename. Its d_seq is odd while it is renamed, and then another one. It is enough
 * that each name was once in its parent: what moves the parents of a jail's files meanwhile is, if not
 * somebody outside, a rename that deny_move() allows, which gives nothing other rights.
 */
static __always_inline __u32 sequence_of(struct dentry *dentry)
{
	return BPF_CORE_READ(dentry, d_seq.seqcount.sequence);
}

/* Notes the name of the dentry, which is number `at` of the walk and has the parent. */
static __always_inline void note_name(struct jail *jail, __u64 at, struct dentry *dentry, __u64 parent)
{
	struct level *level = &jail->levels[at];
	void *name = (void *)dentry + short_name_offset();

	level->parent = parent;
	level->hash_len = BPF_CORE_READ(dentry, d_name.hash_len);
	if (level->hash_len >> 32 > JR_SHORT_NAME)
		jail->long_names |= 1 << at;
	else
		bpf_probe_read_kernel(level->name, sizeof(level->name), name);
}

/* Where the walk has the name of a component, or NULL. */
static __always_inline struct level *noted_level(struct jail *jail, __u64 at)
{
	struct level *level;

	if (at > JR_LEVELS)
		return NULL;
	/* Else clang multiplies first, and the verifier does not know the bound of the product. */
	asm volatile("" : "+r"(at));
	level = &jail->levels[at];
	return level->hash_len >> 32 > JR_SHORT_NAME ? NULL : level;
}

/* The length of a walked component's name, and in `name` where its bytes are. */
static __always_inline __u32 name_at(struct jail *jail, __u64 at, __u64 *name)
{
	struct dentry *dentry = (struct dentry *)jail->chain[at];
	struct level *level = noted_level(jail, at);

	if (level) {
		*name = (__u64)level->name;
		return level->hash_len >> 32;
	}
	*name = (__u64)BPF_CORE_READ(dentry, d_name.name);
	return BPF_CORE_READ(dentry, d_name.len);
}

/* bpf_loop callback: notes the dentry at the cursor and moves up, or tries again; ends at a root. */
static long climb(__u32 i, void *context)
{
	struct jail *jail = ((struct descent *)context)->jail;
	struct dentry *dentry = (struct dentry *)jail->cursor;
	__u32 sequence = sequence_of(dentry);
	__u64 parent = (__u64)BPF_CORE_READ(dentry, d_parent);
	__u64 at = jail->depth;

	if (at > JR_MAX_DEPTH) {
		jail->reason = JR_REASON_TOO_DEEP;
		return 1;
	}
	jail->chain[at] = jail->cursor;
	jail->sequences[at] = sequence;
	if (parent == jail->cursor) {
		jail->reason = JR_REASON_RULE;
		return 1;
	}
	if (at <= JR_LEVELS) {
		asm volatile("" : "+r"(at));
		note_name(jail, at, dentry, parent);
	}
	if (sequence & 1 || sequence_of(dentry) != sequence)
		return 0;
	jail->depth = at + 1;
	jail->cursor = parent;
	return 0;
}

/* True where a walked component whose name was not noted may have another one by now. */
static __always_inline bool has_moved(struct jail *jail, __u64 at)
{
	struct dentry *dentry = (struct dentry *)jail->chain[at];

	return !noted_level(jail, at) && sequence_of(dentry) != jail->sequences[at];
}

struct match {
	struct jail *jail;
	void *globs;
};

/* bpf_loop callback: follows one byte of the name in jail->denial.path. */
static long match_byte(__u32 i, void *context)
{
	struct match *match = context;
	struct jail *jail = match->jail;
	struct jr_glob_row *row;

	if (i >= jail->name_length)
		return 1;
	row = bpf_map_lookup_elem(match->globs, &jail->glob_row);
	if (!row) {
		jail->reason = JR_REASON_BROKEN;
		return 1;
	}
	jail->glob_row = row->next[(__u8)jail->denial.path[i & (JR_MAX_TARGET - 1)]];
	return !jail->glob_row;
}

/*
 * Which of the globs behind jail->now the name matches; 0 for none. A name may have 255 bytes, and the
 * only scratch that is as large is the denial's path, which nothing has begun yet.
 */
static __noinline __u32 match_name(struct jail *jail, __u64 name, __u32 length)
{
	struct match match = {.jail = jail};
	struct jr_glob_row *row;

	match.globs = bpf_map_lookup_elem(&role_globs, &jail->role);
	if (!match.globs || length > NAME_MAX) {
		jail->reason = JR_REASON_BROKEN;
		return 0;
	}
	bpf_probe_read_kernel(jail->denial.path, length, (void *)name);
	jail->name_length = length;
	jail->glob_row = jail->now.glob;
	bpf_loop(NAME_MAX, match_byte, &match, 0);
	row = bpf_map_lookup_elem(match.globs, &jail->glob_row);
	return row ? row->match : 0;
}

static __always_inline struct jr_rule *edge(struct descent *descent, __u32 kind, __u32 length)
{
	struct jr_rule_key *key = &descent->jail->key;

	__builtin_memset(key, 0, sizeof(*key));
	key->state = descent->jail->now.state;
	key->kind = kind;
	key->length = length;
	return bpf_map_lookup_elem(descent->rules, key);
}

/*
 * bpf_loop callback: follows a component, from number descent->first of the walk down; ends where nothing
 * below matters. It is called for single components, too, with no function in between: 8 frames are all there
 * are.
 */
static long descend(__u32 i, void *context)
{
	struct descent *descent = context;
	struct jail *jail = descent->jail;
	struct jr_rule_key *key = &jail->key;
	struct jr_rule *next = NULL;
	__u64 at = descent->first - i;
	__u32 length;
	__u64 name;

	if (at >= JR_MAX_DEPTH)
		return 1;
	length = name_at(jail, at, &name);
	if (jail->now.flags & JR_RULE_HAS_NAMES && length <= JR_MAX_NAME) {
		__builtin_memset(key, 0, sizeof(*key));
		key->state = jail->now.state;
		key->kind = JR_KEY_NAME;
		key->length = length;
		bpf_probe_read_kernel(key->name, length, (void *)name);
		next = bpf_map_lookup_elem(descent->rules, key);
	}
	if (!next && jail->now.glob) {
		__u32 match = match_name(jail, name, length);

		if (match)
			next = edge(descent, JR_KEY_GLOB, match);
	}
	if (!next && jail->now.flags & JR_RULE_HAS_ANY)
		next = edge(descent, JR_KEY_ANY_NAME, 0);
	if (has_moved(jail, at))
		jail->reason = JR_REASON_MOVING;
	if (jail->reason)
		return 1;
	if (!next) {
		/* No rule speaks of this component, nor of anything below it. */
		jail->now.flags |= JR_RULE_LEAF;
		return 1;
	}
	jail->now = *next;
	return !!(next->flags & JR_RULE_LEAF);
}

/*
 * What no role grants, whatever its rules say: the pins of these programs and whatever else is on a bpffs,
 * the launcher's own directory, and the cgroups of pods. Without the power `cgroup` no cgroup may be changed,
 * since that freezes, kills or moves tasks of others. `is_special` is for all that some of this may concern.
 */
static __always_inline bool is_special(struct super_block *sb)
{
	__u32 zero = 0;
	struct jr_meta *own;

	switch (sb->s_magic) {
	case BPF_FS_MAGIC:
	case CGROUP_SUPER_MAGIC:
	case CGROUP2_SUPER_MAGIC:
		return true;
	}
	own = bpf_map_lookup_elem(&meta, &zero);
	return own && own->run_device == sb->s_dev;
}

/* bpf_loop callback: ends with jail->cursor 0 at a directory of the walk that is a pod's cgroup. */
static long find_pod(__u32 i, void *context)
{
	struct jail *jail = ((struct descent *)context)->jail;
	struct dentry *dentry;
	char head[9] = {};

	if (i >= jail->depth || i >= JR_MAX_DEPTH)
		return 1;
	dentry = (struct dentry *)jail->chain[i];
	bpf_probe_read_kernel_str(head, sizeof(head), BPF_CORE_READ(dentry, d_name.name));
	if (!same_bytes(head, "jailrun-", sizeof("jailrun-") - 1))
		return 0;
	jail->cursor = 0;
	return 1;
}

enum {
	/* All of enum jr_access. */
	JR_ANY_ACCESS = 0xff,
	/* Beside it: the verdict may be remembered, and so may that on the object's directory. */
	JR_REMEMBERED = 1 << 31,
};

/*
 * The enum jr_access that may remain of the dentry that climb() just walked from. Nothing is remembered of
 * cgroups, nor of the directory that has our own: from what is remembered of a directory its children are one
 * step away, and no rule tells that step of them.
 */
static __noinline __u32 not_our_own(struct jail *jail)
{
	struct descent descent = {.jail = jail};
	struct super_block *sb = (struct super_block *)jail->on.sb;
	__u64 magic = BPF_CORE_READ(sb, s_magic);
	struct dentry *top;
	struct jr_meta *own;
	__u32 zero = 0;
	__u32 at;

	if (magic == BPF_FS_MAGIC)
		return 0;
	if (magic == CGROUP_SUPER_MAGIC || magic == CGROUP2_SUPER_MAGIC) {
		if (jail->scope.powers >> JR_POWER_CGROUP & 1) {
			bpf_loop(JR_MAX_DEPTH, find_pod, &descent, 0);
			if (jail->cursor)
				return JR_ANY_ACCESS;
		}
		return JR_ANY_ACCESS & ~(JR_ACCESS_WRITE | JR_ACCESS_EXEC | JR_ACCESS_MAP);
	}
	at = jail->depth - 1;
	asm volatile("" : "+r"(at));
	own = bpf_map_lookup_elem(&meta, &zero);
	if (!own || own->run_device != jail->on.device || at >= JR_MAX_DEPTH)
		return JR_ANY_ACCESS | JR_REMEMBERED;
	top = (struct dentry *)jail->chain[at];
	if (BPF_CORE_READ(top, d_inode, i_ino) == own->run_inode)
		return 0;
	return at ? JR_ANY_ACCESS | JR_REMEMBERED : JR_ANY_ACCESS;
}

/* What the role grants where no rule is asked. */
static __always_inline __u32 granted_anyway(struct jail *jail)
{
	return jail->scope.files == JR_SCOPE_ANY ? JR_ACCESS_READ | JR_ACCESS_WRITE : 0;
}

/*
 * What the role grants on the dentry: enum jr_access, with the rule that decided in jail->now; there
 * JR_RULE_LEAF says that everything below the dentry is granted the same, and where it does not, equal
 * states say that two directories are alike with all that they can hold. Whatever cannot be decided grants
 * nothing, and jail->reason says why.
 */
static __noinline __u32 access_of(struct jail *jail, __u64 dentry_address)
{
	struct descent descent = {.jail = jail};
	struct dentry *dentry = (struct dentry *)dentry_address;
	struct super_block *sb = BPF_CORE_READ(dentry, d_sb);
	struct dentry *directory;
	struct jr_rule *start;
	__u32 left;

	jail->on.ended = device_epoch(0);
	jail->on.sb = (__u64)sb;
	jail->on.root = (__u64)BPF_CORE_READ(sb, s_root);
	jail->on.device = BPF_CORE_READ(sb, s_dev);
	jail->on.epoch = device_epoch(jail->on.device);
	jail->on.overlay = BPF_CORE_READ(sb, s_magic) == OVERLAYFS_SUPER_MAGIC ? JR_OVERLAY : 0;
	__builtin_memset(&jail->now, 0, sizeof(jail->now));
	jail->cursor = dentry_address;
	jail->depth = 0;
	jail->long_names = 0;
	jail->reason = JR_REASON_MOVING;
	bpf_loop(JR_MAX_DEPTH + 1 + JR_TRIES, climb, &descent, 0);
	if (jail->reason)
		return 0;
	if (jail->cursor != jail->on.root) {
		jail->reason = JR_REASON_DISCONNECTED;
		return 0;
	}

	left = not_our_own(jail);
	if ((left & JR_ANY_ACCESS) != JR_ANY_ACCESS && (!left || jail->scope.files == JR_SCOPE_ANY)) {
		jail->now.access = granted_anyway(jail) & left;
		jail->now.flags = JR_RULE_LEAF;
		jail->reason = JR_REASON_OWN;
		return jail->now.access;
	}
	descent.rules = bpf_map_lookup_elem(&role_rules, &jail->role);
	if (!descent.rules) {
		jail->reason = JR_REASON_BROKEN;
		jail->now.access = granted_anyway(jail);
		jail->now.flags = JR_RULE_LEAF;
		return jail->now.access;
	}
	__builtin_memset(&jail->key, 0, sizeof(jail->key));
	jail->key.kind = JR_KEY_DEVICE;
	jail->key.state = jail->on.device;
	__builtin_memcpy(jail->key.name, &jail->on.epoch, sizeof(jail->on.epoch));
	start = bpf_map_lookup_elem(descent.rules, &jail->key);
	if (!start) {
		jail->reason = JR_REASON_UNKNOWN_DEVICE;
		jail->now.access = granted_anyway(jail);
		jail->now.flags = JR_RULE_LEAF;
		return jail->now.access;
	}
	jail->now = *start;
	if (!jail->depth)
		return (jail->now.access | granted_anyway(jail)) & left;
	descent.first = jail->depth - 1;
	if (!(start->flags & JR_RULE_LEAF))
		bpf_loop(descent.first, descend, &descent, 0);
	if (jail->reason)
		return 0;
	directory = (struct dentry *)jail->chain[1];
	jail->above = jail->now;
	if (left & JR_REMEMBERED)
		remember(jail, 1, BPF_CORE_READ(directory, d_name.hash), &jail->above);
	descent.first = 0;
	if (!(jail->now.flags & JR_RULE_LEAF))
		bpf_loop(1, descend, &descent, 0);
	if (jail->reason)
		return 0;
	if (left & JR_REMEMBERED)
		remember(jail, 0, BPF_CORE_READ(dentry, d_name.hash), &jail->now);
	if (jail->now.access & JR_ANY_ACCESS & ~left)
		jail->reason = JR_REASON_OWN;
	jail->now.access = (jail->now.access | granted_anyway(jail)) & left;
	return jail->now.access;
}

/*
 * What is remembered of the dentry's directory, and the walk's last step from there. As recall(), it tells
 * with JR_KNOWN what the role grants, or 0.
 */
static __noinline __u32 recall_directory(struct jail *jail, struct dentry *dentry)
{
	struct descent descent = {.jail = jail};
	__u32 sequence = dentry->d_seq.seqcount.sequence;
	struct dentry *directory = dentry->d_parent;
	long names = short_name_offset();
	struct memory *memory;
	__u64 version;

	if (directory == dentry)
		return 0;
	memory = memory_for(jail, directory, &version);
	if (!memory)
		return 0;
	jail->on = memory->on;
	jail->now = memory->rule;
	jail->depth = memory->depth + 1;
#pragma unroll
	for (int i = 0; i < JR_LEVELS; i++) {
		if (i + 1 == jail->depth)
			break;
		jail->levels[i + 1] = memory->levels[i];
	}
	if (!is_still(memory, version))
		return 0;
	jail->chain[0] = (__u64)dentry;
	jail->sequences[0] = sequence;
	jail->reason = JR_REASON_RULE;
	jail->levels[0].parent = (__u64)directory;
	jail->levels[0].hash_len = hash_len_of(dentry);
	jail->long_names = jail->levels[0].hash_len >> 32 > JR_SHORT_NAME;
	for (int i = 0; i < 4; i++)
		jail->levels[0].name[i] = short_name(dentry, names, i);
	if (sequence & 1 || dentry->d_seq.seqcount.sequence != sequence)
		return 0;
	if (!(jail->now.flags & JR_RULE_LEAF)) {
		descent.rules = bpf_map_lookup_elem(&role_rules, &jail->role);
		if (!descent.rules)
			return 0;
		bpf_loop(1, descend, &descent, 0);
		if (jail->reason)
			return 0;
	}
	remember(jail, 0, dentry->d_name.hash, &jail->now);
	return jail->now.access | jail->on.overlay | JR_KNOWN;
}

/* What the role grants on the dentry, with JR_KNOWN, where that can be told without a walk; otherwise 0. */
static __always_inline __u32 known_access(struct jail *jail, struct dentry *dentry)
{
	__u32 access = recall(jail, dentry);

	return access ? access : recall_directory(jail, dentry);
}

/* The same, once in the object and not in each place. */
static __noinline __u32 find_access(struct jail *jail, struct dentry *dentry)
{
	return known_access(jail, dentry);
}

/* bpf_loop callback: puts one component in front of the denial's path, from the leaf up. */
static long prepend(__u32 i, void *context)
{
	struct jail *jail = ((struct descent *)context)->jail;
	struct jr_denial *denial = &jail->denial;
	struct dentry *dentry;
	__u32 start = denial->path_start;
	__u32 length;

	if (i >= jail->depth || i >= JR_MAX_DEPTH)
		return 1;
	dentry = (struct dentry *)jail->chain[i];
	length = BPF_CORE_READ(dentry, d_name.len);
	if (length > 255 || length + 1 > start)
		return 1;
	start -= length;
	bpf_probe_read_kernel(&denial->path[start & (JR_MAX_TARGET - 1)], length & 255,
			      BPF_CORE_READ(dentry, d_name.name));
	start -= 1;
	denial->path[start & (JR_MAX_TARGET - 1)] = '/';
	denial->path_start = start;
	return 0;
}

/* Adds the path that access_of() just walked to a denial. */
static __noinline void name_target(struct jail *jail, __u64 dentry_address)
{
	struct descent descent = {.jail = jail};
	struct dentry *dentry = (struct dentry *)dentry_address;

	jail->denial.device = BPF_CORE_READ(dentry, d_sb, s_dev);
	bpf_loop(JR_MAX_DEPTH, prepend, &descent, 0);
	if (!jail->depth) { /* the root itself */
		jail->denial.path[JR_MAX_TARGET - 2] = '/';
		jail->denial.path_start = JR_MAX_TARGET - 2;
	}
}

/*
 * True for a mount that the kernel made for itself: pipes, sockets, memfds, anonymous inodes, pidfds,
 * and the layers below an overlay. No path leads to such a mount, so whoever has a file on one holds a
 * descriptor of it, or is the kernel. mnt_ns there is MNT_NS_INTERNAL, ERR_PTR(-EINVAL) (fs/mount.h);
 * of a mount that user space detached it is another one or NULL.
 */
static __always_inline bool is_internal_mount(struct vfsmount *vfsmount)
{
	struct mount *mount = (void *)vfsmount - bpf_core_field_offset(struct mount, mnt);

	return (long)BPF_CORE_READ(mount, mnt_ns) == -EINVAL;
}

/*
 * The open file that a hook's first argument, a struct path, is part of: the caller has a descriptor. NULL
 * where the path was looked up; then it is on the stack. The argument's address is read from the hook's
 * context, because the verifier lets nobody reckon with the typed pointer.
 */
static __always_inline struct file *file_of_path(void *context)
{
	__u64 stack = (__u64)bpf_get_current_task_btf()->stack;
	struct file *file;
	__u64 path;

	bpf_probe_read_kernel(&path, sizeof(path), context);
	if (path - stack < THREAD_SIZE_MAX)
		return NULL;
	file = (void *)(path - bpf_core_field_offset(struct file, f_path));
	return BPF_CORE_READ(file, f_inode) == BPF_CORE_READ(file, f_path.dentry, d_inode) ? file : NULL;
}

/* True where every file is granted but those that no role may have. */
static __always_inline bool any_file(struct jail *jail, struct dentry *dentry)
{
	return jail->scope.files == JR_SCOPE_ANY && !is_special(dentry->d_sb);
}

/* Denies what access_of() just refused. `scope` is the role's word on the section that decides. */
static __noinline int deny_walked(struct jail *jail, __u64 dentry_address, __u32 scope, __u32 hook_operation)
{
	struct jr_denial *denial = begin_denial(jail, hook_operation >> 16, hook_operation & 0xffff);

	if (scope == JR_SCOPE_RULES || jail->reason == JR_REASON_OWN) {
		denial->reason = jail->reason;
		denial->rule = jail->now.rule;
		if (denial->operation == JR_OPERATION_EXEC || denial->operation == JR_OPERATION_MAP)
			denial->rule = jail->now.exec_rule;
	}
	name_target(jail, dentry_address);
	return deny(jail, EACCES);
}

/* Returns 1 where the role's files do not grant all of `wanted` on the dentry. */
static __noinline int deny_path(struct jail *jail, __u64 dentry_address, __u32 wanted, __u32 hook_operation)
{
	if ((access_of(jail, dentry_address) & wanted) == wanted)
		return 0;
	return deny_walked(jail, dentry_address, jail->scope.files, hook_operation);
}

#define HOOK_OPERATION(hook, operation) (JR_HOOK_##hook << 16 | JR_OPERATION_##operation)

#endif
