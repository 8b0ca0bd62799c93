// SPDX-License-Identifier: GPL-2.0-only
/*
 * sb_delete: a file system is gone, and the kernel will give its device number to another one. Whatever was
 * said of the number before is no longer said of it: roles and memories name an epoch beside it.
 *
 * The hook is called when nobody can reach a file of it any more and before the number is free
 * (generic_shutdown_super(), then free_anon_bdev() or the block device's release).
 */
#include "path.h"

SEC("lsm/sb_delete")
int BPF_PROG(jr_sb_delete, struct super_block *sb)
{
	__u32 *all = epoch_entry(0);
	__u32 *own = epoch_entry(sb->s_dev);

	/* In this order: see the launcher, which reads the mount table between two looks at `all`. */
	if (all)
		__sync_fetch_and_add(all, 1);
	if (own)
		__sync_fetch_and_add(own, 1);
	return 0;
}
