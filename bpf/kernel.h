/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The parts of the kernel's types that the programs read. CO-RE finds each member by name in the
 * running kernel's BTF, so order, size and the members left out do not matter.
 */
#ifndef JAILRUN_KERNEL_H
#define JAILRUN_KERNEL_H

#include "abi.h"

typedef long long __s64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u64 __be64;
typedef __u32 __wsum;

typedef _Bool bool;
#define true 1
#define false 0
#define NULL ((void *)0)

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

/* include/uapi/linux/bpf.h */
enum {
	BPF_MAP_TYPE_HASH = 1,
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_PERCPU_ARRAY = 6,
	BPF_MAP_TYPE_HASH_OF_MAPS = 13,
	BPF_MAP_TYPE_RINGBUF = 27,
	BPF_MAP_TYPE_TASK_STORAGE = 29,
	BPF_F_NO_PREALLOC = 1,
	BPF_LOCAL_STORAGE_GET_F_CREATE = 1,
};

enum {
	EPERM = 1,
	ENOMEM = 12,
	EACCES = 13,
	EXDEV = 18,
	EINVAL = 22,
	ERANGE = 34,
	ENODATA = 61,
	EOPNOTSUPP = 95,
	EAFNOSUPPORT = 97,
};

enum {
	AF_UNSPEC = 0,
	AF_UNIX = 1,
	AF_INET = 2,
	AF_INET6 = 10,
	AF_NETLINK = 16,
	SOCK_STREAM = 1,
	SOCK_DGRAM = 2,
	SOCK_TYPE_MASK = 0xf,
	IPPROTO_TCP = 6,
	IPPROTO_UDP = 17,
	NETLINK_ROUTE = 0,
	NETLINK_AUDIT = 9,
	MSG_FASTOPEN = 0x20000000,
	SOL_IP = 0,
	SOL_IPV6 = 41,
	IP_OPTIONS = 4,
	IP_RETOPTS = 7,
	IPV6_2292RTHDR = 5,
	IPV6_2292PKTOPTIONS = 6,
	IPV6_RTHDR = 57,
	TCP_ESTABLISHED = 1,
	TCP_LISTEN = 10,
};

/* include/linux/fs.h. Both bits are the kernel's own: open(2) masks them out of the caller's flags. */
#define FMODE_READ 1
#define FMODE_WRITE 2
#define FMODE_PATH (1u << 14)
#define FMODE_NOACCOUNT (1u << 29)
#define KERNEL_FMODE_EXEC 0x20 /* __FMODE_EXEC, in f_flags */
#define O_ACCMODE 3
#define O_TRUNC 01000

#define NAME_MAX 255 /* include/uapi/linux/limits.h */
#define BPF_F_INNER_MAP (1u << 12)
#define SB_KERNMOUNT (1u << 22)
#define S_IFMT 0170000
#define S_IFDIR 0040000
#define S_IFREG 0100000
#define S_IFSOCK 0140000
#define S_IFBLK 0060000
#define S_IFLNK 0120000
#define S_ISUID 04000
#define S_ISGID 02000
#define S_IXGRP 010
#define S_IFCHR 0020000
#define MEM_MAJOR 1
#define PROT_READ 1
#define PROT_WRITE 2
#define PROT_EXEC 4
#define READ_IMPLIES_EXEC 0x0400000
#define CAP_OPT_NOAUDIT 2
#define MNT_DETACH 2
#define TS_COMPAT 2              /* arch/x86: this system call is a 32-bit one */
#define FMODE_BACKING (3u << 24) /* one of the two bits; which one changed within 6.12 */
#define RENAME_EXCHANGE 2
#define THREAD_SIZE_MAX 32768 /* half of it without KASAN */
#define FSNOTIFY_OBJ_TYPE_INODE 0

/* struct iattr, ia_valid */
#define ATTR_MODE (1 << 0)
#define ATTR_UID (1 << 1)
#define ATTR_GID (1 << 2)
#define ATTR_SIZE (1 << 3)
#define ATTR_FORCE (1 << 9)

/* include/uapi/linux/magic.h */
#define NSFS_MAGIC 0x6e736673
#define SOCKFS_MAGIC 0x534f434b
#define ANON_INODE_FS_MAGIC 0x09041934
#define BPF_FS_MAGIC 0xcafe4a11
#define CGROUP_SUPER_MAGIC 0x27e0eb
#define CGROUP2_SUPER_MAGIC 0x63677270
#define FUSE_SUPER_MAGIC 0x65735546
#define MQUEUE_MAGIC 0x19800202
#define OVERLAYFS_SUPER_MAGIC 0x794c7630
#define PROC_SUPER_MAGIC 0x9fa0

/* include/linux/sched.h */
#define PF_IO_WORKER 0x00000010
#define SIGKILL 9
#define PF_KTHREAD 0x00200000
#define CLONE_INTO_CGROUP 0x200000000ul

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct bpf_local_storage;

struct user_namespace {
	int level; /* 0 for the first one, which is the host's */
};

struct thread_info {
	__u32 status;
};

struct pt_regs {
	unsigned long orig_ax;
};

/* One number since 6.3, two halves of it before. */
struct kernel_cap {
	__u64 val;
};

typedef struct {
	unsigned int val;
} kuid_t;

typedef struct {
	unsigned int val;
} kgid_t;

struct cred {
	kuid_t uid;
	kuid_t euid;
	kgid_t gid;
	kgid_t egid;
	struct kernel_cap cap_effective;
	struct user_namespace *user_ns;
};

struct task_struct {
	int pid;
	int tgid;
	__u64 start_boottime;
	__u64 self_exec_id;
	struct task_struct *real_parent;
	struct task_struct *group_leader;
	struct bpf_local_storage *bpf_storage;
	unsigned int flags;
	void *stack;
	const struct cred *real_cred;
	const struct cred *cred;
	unsigned int personality;
	struct thread_info thread_info;
	unsigned int ptrace;        /* 0 for a task that nobody traces */
	struct task_struct *parent; /* its tracer, or its real parent */
	struct css_set *cgroups;
	struct mm_struct *mm;
	struct signal_struct *signal;
	struct fs_struct *fs;
	struct nsproxy *nsproxy;
};

struct signal_struct {
	int nr_threads;
};

struct mm_struct {
	struct file *exe_file;
};

struct kernfs_node {
	const char *name;
	__u64 id; /* of a cgroup its own, which bpf_get_current_cgroup_id() answers */
};

/* The first member of struct cgroup, and so the parent's address is the parent cgroup's. */
struct cgroup_subsys_state {
	struct cgroup_subsys_state *parent;
};

struct cgroup {
	struct cgroup_subsys_state self;
	struct kernfs_node *kn;
};

struct css_set {
	struct cgroup *dfl_cgrp;
};

struct seq_file;

struct bpf_iter_meta {
	struct seq_file *seq;
};

struct bpf_iter__task {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
};

struct bpf_iter__task_file {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
	__u32 fd;
	struct file *file;
};

struct super_block {
	__u32 s_dev;
	unsigned long s_flags;
	unsigned long s_magic;
	struct dentry *s_root;
	void *s_fs_info;
};

struct inode {
	__u16 i_mode;
	kuid_t i_uid;
	unsigned int i_nlink;
	__u32 i_rdev;
	unsigned long i_ino;
	__u32 i_generation;
	struct super_block *i_sb;
	void *i_private;
};

struct upid {
	int nr;
};

struct pid {
	struct upid numbers[1]; /* the number in the first PID namespace */
};

struct proc_inode {
	struct pid *pid; /* NULL for a file that is no process's */
	struct inode vfs_inode;
};

struct qstr {
	union {
		struct {
			__u32 hash;
			__u32 len;
		};
		__u64 hash_len;
	};
	const unsigned char *name;
};

struct seqcount {
	unsigned int sequence;
};

typedef struct seqcount seqcount_t;

struct seqcount_spinlock {
	seqcount_t seqcount;
};

typedef struct seqcount_spinlock seqcount_spinlock_t;

struct dentry {
	seqcount_spinlock_t d_seq;
	struct dentry *d_parent;
	struct qstr d_name;
	struct inode *d_inode;
	unsigned char d_iname[32];
	struct super_block *d_sb;
};

/* From 6.15 on. */
union shortname_store {
	unsigned char string[40];
};

struct dentry___shortname {
	union shortname_store d_shortname;
};

struct vfsmount {
	struct dentry *mnt_root;
	struct super_block *mnt_sb;
};

struct ns_common {
	unsigned int inum;
};

/* From 6.18 on; before, mount namespaces alone were numbered. */
struct ns_common___numbered {
	__u64 ns_id;
};

struct mnt_namespace {
	struct ns_common ns;
};

struct mnt_namespace___numbered {
	__u64 seq;
};

struct nsproxy {
	struct mnt_namespace *mnt_ns;
};

struct list_head {
	struct list_head *next;
};

struct mount {
	struct vfsmount mnt;
	struct list_head mnt_mounts;
	struct mnt_namespace *mnt_ns;
};

struct path {
	struct vfsmount *mnt;
	struct dentry *dentry;
};

struct fs_struct {
	struct path root;
};

struct file {
	struct path f_path;
	struct inode *f_inode;
	unsigned int f_flags;
	unsigned int f_mode;
	void *private_data;
};

struct iattr {
	unsigned int ia_valid;
};

union security_list_options {
	void *file_truncate;
	void *inode_free_security_rcu;
};

/* The file of a layer that an overlay opened for a mapping. Since 6.6, before that a plain file. */
struct backing_file {
	struct file file;
	struct path user_path;
};

struct anon_vma;

struct vm_area_struct {
	struct anon_vma *anon_vma; /* there are pages of its own: it has been written */
	struct file *vm_file;
};

struct kern_ipc_perm;

struct linux_binprm {
	struct file *file;
	struct cred *cred;
	const char *filename;
	const char *interp;
};

struct in6_addr {
	__u8 bytes[16];
};

struct sock_common {
	unsigned short skc_family;
	volatile unsigned char skc_state;
	unsigned char skc_ipv6only : 1;
	__be32 skc_rcv_saddr;
	__be32 skc_daddr;
	__be16 skc_dport;
	__u16 skc_num; /* the local port, host order */
	struct in6_addr skc_v6_rcv_saddr;
	struct in6_addr skc_v6_daddr;
};

struct sock {
	struct sock_common __sk_common;
	__u16 sk_protocol;
	__u16 sk_type;
};

struct inet_sock {
	__be32 inet_saddr;
};

struct socket {
	short type;
	struct sock *sk;
};

struct sockaddr_un {
	unsigned short sun_family;
	char sun_path[108];
};

struct unix_address {
	int len;
	struct sockaddr_un name[0];
};

struct unix_sock {
	struct sock sk;
	struct unix_address *addr;
	struct path path;
	struct sock *peer;
};

struct sockaddr {
	unsigned short sa_family;
};

struct msghdr {
	void *msg_name;
	int msg_namelen;
	unsigned int msg_flags;
	void *msg_control;
	unsigned long msg_controllen;
};

#pragma clang attribute pop

union bpf_attr;

/*
 * Where a dentry has its short name: in d_iname, or since 6.15 in d_shortname. The empty asm keeps clang from
 * merging the branches, since the relocation in the one that does not apply must not be reached.
 */
static __always_inline long short_name_offset(void)
{
	long offset;

	if (bpf_core_field_exists(struct dentry, d_iname)) {
		offset = bpf_core_field_offset(struct dentry, d_iname);
		asm volatile("" : "+r"(offset));
	} else {
		offset = bpf_core_field_offset(struct dentry___shortname, d_shortname);
		asm volatile("" : "+r"(offset));
	}
	return offset;
}

/*
 * True where the hook's first argument is NULL. Where the kernel does not say that it may be, the verifier of
 * 6.12 takes `!argument` for never true and removes what follows from it; a read from address 0 then has no
 * protection, and the kernel panics. So the argument is read as a number. Where the kernel does say so (7.2),
 * `!argument` is needed as well.
 */
static __always_inline bool is_first_null(void *context)
{
	__u64 argument = 0;

	bpf_probe_read_kernel(&argument, sizeof(argument), context);
	return !argument;
}

/* clang calls memcmp() for more than a few bytes. */
static __always_inline bool same_bytes(const char *a, const char *b, int length)
{
	for (int i = 0; i < length; i++)
		if (a[i] != b[i])
			return false;
	return true;
}

#endif
