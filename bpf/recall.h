/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Verdicts that were reached before. A verdict on a path is a pure function of the role, of the file system
 * and of the names from the object up to its root, so that is what a remembered one is found by: the names
 * themselves, compared byte for byte with the live ones. A rename makes other names, so nothing is ever
 * invalidated and no generation is counted.
 *
 * A directory is remembered with the state that it led to, so that what is new in it takes one step of the
 * walk or none. A denial walks all the same, since its report needs the walk.
 */
#ifndef JAILRUN_RECALL_H
#define JAILRUN_RECALL_H

#include "pod.h"

enum {
	JR_SLOTS = 4096,
	/* Beside enum jr_access: */
	JR_KNOWN = 1 << 30,   /* it is remembered, even if nothing is granted */
	JR_OVERLAY = 1 << 29, /* the object is on an overlay */
};

struct memory {
	__u64 version; /* odd while it is written */
	__u64 role;
	struct file_system on;
	struct jr_rule rule; /* where the walk came to */
	__u32 depth;
	__u32 pad;
	struct level levels[JR_LEVELS];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, JR_SLOTS);
	__type(key, __u32);
	__type(value, struct memory);
} memories SEC(".maps");

/* The kernel's hash of a name is salted with its directory's address, so equal names spread. */
static __always_inline struct memory *memory_of(struct jail *jail, __u32 hash)
{
	__u32 slot = (hash ^ hash >> 16 ^ (__u32)jail->role) & (JR_SLOTS - 1);

	return bpf_map_lookup_elem(&memories, &slot);
}

/* Believes the memory again after file systems have gone, if its own has not. */
static __noinline int renew(struct memory *memory, struct super_block *sb, __u64 version)
{
	__u32 ended = device_epoch(0);
	__u32 device = sb->s_dev;

	if (memory->on.device != device || memory->on.epoch != device_epoch(device))
		return 0;
	if (!__sync_bool_compare_and_swap(&memory->version, version, version + 1))
		return 0;
	memory->on.ended = ended;
	__sync_fetch_and_add(&memory->version, 1);
	return 1;
}

/* Eight bytes of a name that lies in its dentry, at the offset `names`. */
static __always_inline __u64 short_name(struct dentry *dentry, long names, int word)
{
	return *(__u64 *)((void *)dentry + names + 8 * word);
}

/*
 * d_name.hash_len. Before Linux 6.6 the verifier sees only the first member of a union; what is tested here
 * came with 6.12.
 */
static __always_inline __u64 hash_len_of(struct dentry *dentry)
{
	if (bpf_core_field_exists(union security_list_options, inode_free_security_rcu))
		return dentry->d_name.hash_len;
	return (__u64)dentry->d_name.len << 32 | dentry->d_name.hash;
}

/* A long name has its bytes elsewhere, but not the length of a short one. */
static __always_inline bool same_name(struct dentry *dentry, __u64 hash_len, long names, struct level *level)
{
	__u32 length = hash_len >> 32;

	if (hash_len != level->hash_len || short_name(dentry, names, 0) != level->name[0])
		return false;
	if (length < 8)
		return true;
	if (short_name(dentry, names, 1) != level->name[1])
		return false;
	if (length < 16)
		return true;
	if (short_name(dentry, names, 2) != level->name[2])
		return false;
	return length < 24 || short_name(dentry, names, 3) == level->name[3];
}

/*
 * What is remembered of the dentry, or NULL, and in `version` what memory->version must still be when the
 * memory has been read. A name and a parent that do not belong together, because of a rename in between, do
 * not pass for a pair that does: the hash, which is looked at first, was made of both.
 */
static __always_inline struct memory *memory_for(struct jail *jail, struct dentry *dentry, __u64 *version)
{
	__u64 hash_len = hash_len_of(dentry);
	struct memory *memory = memory_of(jail, hash_len);
	struct super_block *sb = dentry->d_sb;
	long names = short_name_offset();
	__u32 depth;

	if (!memory)
		return NULL;
	*version = *(volatile __u64 *)&memory->version;
	if (*version & 1 || memory->role != jail->role || memory->on.sb != (__u64)sb)
		return NULL;
	if (memory->on.ended != device_epoch(0)) {
		if (!renew(memory, sb, *version))
			return NULL;
		*version += 2;
	}
	depth = memory->depth;
#pragma unroll
	for (int i = 0; i <= JR_LEVELS; i++) {
		if (i == depth)
			return (__u64)dentry == memory->on.root ? memory : NULL;
		if (i == JR_LEVELS || !same_name(dentry, hash_len, names, &memory->levels[i]))
			return NULL;
		dentry = dentry->d_parent;
		if ((__u64)dentry != memory->levels[i].parent)
			return NULL;
		hash_len = hash_len_of(dentry);
	}
	return NULL;
}

/* x86 keeps loads in order. */
static __always_inline bool is_still(struct memory *memory, __u64 version)
{
	asm volatile("" ::: "memory");
	return *(volatile __u64 *)&memory->version == version;
}

/* The access remembered for the dentry, with JR_KNOWN; 0 where there is none. The pointer must be the hook's
 * own. */
static __always_inline __u32 recall(struct jail *jail, struct dentry *dentry)
{
	__u64 version;
	struct memory *memory = memory_for(jail, dentry, &version);
	__u32 access;

	if (!memory)
		return 0;
	access = memory->rule.access | memory->on.overlay | JR_KNOWN;
	return is_still(memory, version) ? access : 0;
}

/* Remembers where the names in jail->levels led, with 0 for `from` the object's or with 1 its directory's. */
static __noinline int remember(struct jail *jail, __u32 from, __u32 hash, struct jr_rule *rule)
{
	struct memory *memory = memory_of(jail, hash);
	__u64 version;

	if (!memory || from > 1 || jail->depth < from || jail->depth - from > JR_LEVELS ||
	    jail->long_names >> from)
		return 0;
	version = *(volatile __u64 *)&memory->version;
	if (version & 1 || !__sync_bool_compare_and_swap(&memory->version, version, version + 1))
		return 0;
	memory->role = jail->role;
	memory->on = jail->on;
	memory->rule = *rule;
	memory->depth = jail->depth - from;
#pragma unroll
	for (int i = 0; i < JR_LEVELS; i++) {
		if (i == jail->depth - from)
			break;
		memory->levels[i] = jail->levels[from + i];
	}
	__sync_fetch_and_add(&memory->version, 1);
	return 0;
}

#endif
