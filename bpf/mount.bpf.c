// SPDX-License-Identifier: GPL-2.0-only
/*
 * sb_mount, sb_umount, sb_pivotroot, move_mount: what a role with `mount` still may not do. Without `mount`
 * none of them is reached, since capable is asked first; fsopen(2) and its kin have no hook but that.
 *
 * The links of all these programs are pinned on a bpffs, and when its last mount goes they end. So a jailed
 * task neither unmounts, moves nor covers a bpffs, nor detaches a mount with all that is mounted below it.
 */
#include "path.h"

static __always_inline bool is_bpffs(struct path *path)
{
	return path->dentry->d_sb->s_magic == BPF_FS_MAGIC;
}

/* Returns 1 for a jailed task. */
static __always_inline int deny_own(__u32 hook)
{
	struct jail *jail = current_jail();

	if (!jail)
		return 0;
	begin_denial(jail, hook, JR_OPERATION_USE)->reason = JR_REASON_OWN;
	jail->denial.power = JR_POWER_MOUNT;
	return deny(jail, EPERM);
}

SEC("lsm/sb_mount")
int BPF_PROG(jr_sb_mount, const char *source, struct path *path)
{
	return verdict(is_bpffs(path) ? deny_own(JR_HOOK_SB_MOUNT) : 0, EPERM);
}

SEC("lsm/sb_umount")
int BPF_PROG(jr_sb_umount, struct vfsmount *vfsmount, int flags)
{
	struct mount *mount = (void *)vfsmount - bpf_core_field_offset(struct mount, mnt);
	__u64 below = (__u64)BPF_CORE_READ(mount, mnt_mounts.next);
	bool with_others =
	    flags & MNT_DETACH && below != (__u64)mount + bpf_core_field_offset(struct mount, mnt_mounts);

	if (vfsmount->mnt_sb->s_magic != BPF_FS_MAGIC && !with_others)
		return 0;
	return verdict(deny_own(JR_HOOK_SB_UMOUNT), EPERM);
}

SEC("lsm/sb_pivotroot")
int BPF_PROG(jr_sb_pivotroot, struct path *old, struct path *new)
{
	return verdict(is_bpffs(old) || is_bpffs(new) ? deny_own(JR_HOOK_SB_PIVOTROOT) : 0, EPERM);
}

SEC("lsm/move_mount")
int BPF_PROG(jr_move_mount, struct path *from, struct path *to)
{
	return verdict(is_bpffs(from) || is_bpffs(to) ? deny_own(JR_HOOK_MOVE_MOUNT) : 0, EPERM);
}
