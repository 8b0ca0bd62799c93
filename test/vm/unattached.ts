// The LSM hooks that no program of ours is attached to, each with the reason. A kernel with a hook that is neither
// attached nor here fails hooks.test.ts: somebody has to think about it first.

/** By reason, which reads on: "no program is attached to it, since …". */
const reasons: Record<string, string> = {
  'it is no hook but a function of the BPF LSM itself':
    'find_cgroup_shim func_proto get_retval_range has_d_inode_locked hook_returns_errno is_sleepable_hook is_trusted verify_prog init',
  'it only keeps a security module’s own data in an object, and decides nothing':
    'backing_file_alloc backing_file_free bdev_alloc_security bdev_free_security bdev_setintegrity bpf_map_free bpf_map_free_security bpf_prog_alloc_security bpf_prog_free bpf_prog_free_security bpf_token_free cred_alloc_blank cred_free cred_prepare cred_transfer d_instantiate file_alloc_security file_free_security file_release inode_alloc_security inode_free_security inode_free_security_rcu inode_setintegrity key_alloc key_free kernfs_init_security msg_msg_alloc_security msg_msg_free_security perf_event_alloc perf_event_free sb_alloc_security sb_free_security sk_alloc_security sk_clone_security sk_free_security sock_graft socket_post_create task_free tun_dev_alloc_security tun_dev_free_security file_set_fowner initramfs_populated',
  'it is about labels, which jailrun has none of':
    'cred_getlsmprop cred_getsecid current_getlsmprop_subj current_getsecid_subj dentry_create_files_as dentry_init_security getprocattr getselfattr setprocattr setselfattr inode_getlsmprop inode_getsecctx inode_getsecid inode_getsecurity inode_init_security inode_invalidate_secctx inode_listsecurity inode_notifysecctx inode_setsecctx inode_setsecurity inode_xattr_skipcap ipc_getlsmprop ipc_getsecid ismaclabel kernel_act_as kernel_create_files_as key_getsecurity lsmprop_to_secctx release_secctx sb_clone_mnt_opts sb_eat_lsm_opts sb_free_mnt_opts sb_mnt_opts_compat sb_set_mnt_opts sb_show_options secctx_to_secid secid_to_secctx secmark_refcount_dec secmark_refcount_inc secmark_relabel_packet sk_getsecid socket_getpeersec_dgram socket_getpeersec_stream task_getlsmprop_obj task_getsecid_obj task_to_inode req_classify_flow fs_context_dup fs_context_submount',
  'the audit subsystem asks it for its rules, which CAP_AUDIT_CONTROL guards':
    'audit_rule_free audit_rule_init audit_rule_known audit_rule_match',
  'it tells what has been done already and cannot be refused':
    'bprm_committed_creds file_post_open inode_post_create_tmpfile inode_post_remove_acl inode_post_removexattr inode_post_set_acl inode_post_setattr inode_post_setxattr kernel_post_load_data kernel_post_read_file key_post_create_or_update path_post_mknod inet_conn_established inet_csk_clone sctp_assoc_established sctp_sk_clone mptcp_add_subflow',
  'the path_* hook of the same operation is asked before it, with the path':
    'inode_link inode_mkdir inode_mknod inode_rename inode_rmdir inode_symlink file_truncate',
  'it is asked for each component of every path or for each read and write, and the open has decided':
    'inode_permission file_permission file_lock',
  'overlayfs asks it for its own copies, behind an operation that was decided':
    'inode_copy_up inode_copy_up_xattr mmap_backing_file',
  'it is about the file capabilities that a change of the file takes away':
    'inode_killpriv inode_need_killpriv',
  'binder is Android’s, and its device is opened by a path':
    'binder_set_context_mgr binder_transaction binder_transfer_binder binder_transfer_file',
  'the hook bpf is asked before it for the same system call':
    'bpf_map bpf_map_alloc_security bpf_map_create bpf_prog bpf_prog_load bpf_token_capable bpf_token_cmd bpf_token_create',
  'what it decides is who one will be, which bprm_creds_from_file and capable decide':
    'bprm_creds_for_exec capget capset task_fix_setgid task_fix_setgroups task_fix_setuid',
  'the kernel asks capable for it as well':
    'fs_context_parse_param kernel_load_data kernel_read_file locked_down mmap_addr quota_on quotactl sb_kern_mount sb_remount settime',
  'F_SETOWN and its kin were refused, and here the task that runs is anybody': 'file_send_sigiotask',
  'ipc_permission is asked before it': 'msg_queue_msgrcv msg_queue_msgsnd sem_semop shm_shmat',
  'it tells no more of another process than that it is there':
    'task_getioprio task_getpgid task_getscheduler task_getsid',
  'it acts on the caller and its children, or only reads':
    'task_prctl task_setpgid task_prlimit perf_event_read perf_event_write sb_statfs vm_enough_memory',
  'the ring itself is a power, and its requests pass the hooks of their operations':
    'uring_allowed uring_cmd uring_override_creds uring_sqpoll',
  'what a socket may reach was decided when it was made, bound or connected':
    'socket_accept socket_getpeername socket_getsockname socket_getsockopt socket_recvmsg socket_shutdown socket_socketpair unix_find inet_conn_request',
  'it is asked for packets, whoever they belong to': 'socket_sock_rcv_skb xfrm_decode_session',
  'CAP_NET_ADMIN guards it':
    'netlink_send tun_dev_attach tun_dev_attach_queue tun_dev_create tun_dev_open xfrm_policy_alloc_security xfrm_policy_clone_security xfrm_policy_delete_security xfrm_policy_free_security xfrm_policy_lookup xfrm_state_alloc xfrm_state_alloc_acquire xfrm_state_delete_security xfrm_state_free_security xfrm_state_pol_flow_match',
  'SCTP sockets are not made in a jail whose network has rules': 'sctp_assoc_request sctp_bind_connect',
};

/** Hook -> why no program is attached to it. */
export const unattached: ReadonlyMap<string, string> = new Map(
  Object.entries(reasons).flatMap(([reason, hooks]) =>
    hooks.split(' ').map((hook) => [hook, reason] as const),
  ),
);
