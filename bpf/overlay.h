/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Overlayfs does on its layers what was asked of it, through the same functions: the hooks that have no
 * path but a dentry are asked a second time, about a file of a layer that no rule names. What the overlay
 * was granted must not be denied there.
 *
 * Overlayfs works with its mounter's credentials, so in such a call the task's credentials are not its
 * own. Other things that user space can do make them differ, too:
 *  - access(2) looks paths up as another user, which comes to none of these hooks but inode_follow_link;
 *  - an io_uring worker acts with the credentials that its request was made with. They differ from the
 *    worker's own whenever the program changed its credentials after the worker was born, or registered
 *    a personality. The requests that come to these hooks, those on extended attributes, are always
 *    a worker's, never the submitter's own.
 * A worker is therefore believed only if the credentials are those which an overlay, the one that the task
 * was last granted a change on, has in its private data.
 */
#ifndef JAILRUN_OVERLAY_H
#define JAILRUN_OVERLAY_H

#include "path.h"

/* struct ovl_fs has its creator_cred within so many words; the module may be loaded after us. */
#define OVL_FS_WORDS 32

/*
 * Takes down which overlay the task is about to change. Every hook that may grant a change calls it,
 * and never for a call of overlayfs itself. `known` is what known_access() says, or 0.
 */
static __always_inline void note_overlay(struct jail *jail, struct dentry *dentry, __u32 known)
{
	struct super_block *sb = dentry->d_sb;
	bool overlay = known ? known & JR_OVERLAY : sb->s_magic == OVERLAYFS_SUPER_MAGIC;

	jail->overlay = overlay ? (__u64)sb->s_fs_info : 0;
}

static __noinline int has_creator(struct jail *jail, __u64 cred)
{
	__u64 words[OVL_FS_WORDS];

	if (!jail->overlay || bpf_probe_read_kernel(words, sizeof(words), (void *)jail->overlay))
		return 0;
	for (int i = 0; i < OVL_FS_WORDS; i++)
		if (words[i] == cred)
			return 1;
	return 0;
}

/* True where overlayfs, for the running task, asks about one of its layers. */
static __always_inline bool is_layer_call(struct jail *jail)
{
	struct task_struct *task = bpf_get_current_task_btf();
	__u64 cred = (__u64)task->cred;

	if (cred == (__u64)task->real_cred)
		return false;
	return !(task->flags & PF_IO_WORKER) || has_creator(jail, cred);
}

/*
 * The same for attributes. Overlayfs marks a new directory as the owner that it will have: with credentials
 * made for this one call, which nothing tells from others, so there the attribute must do. Who gets round
 * it has CAP_SYS_ADMIN and can make a directory opaque, were it a layer.
 */
static __always_inline bool is_layer_xattr_call(struct jail *jail, const char *name)
{
	struct task_struct *task = bpf_get_current_task_btf();
	char head[24] = {};

	if (is_layer_call(jail))
		return true;
	if (!jail->overlay || task->cred == task->real_cred)
		return false;
	bpf_probe_read_kernel_str(head, sizeof(head), name);
	return same_bytes(head, "trusted.overlay.opaque", sizeof("trusted.overlay.opaque"));
}

#endif
