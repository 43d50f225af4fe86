/**
 * Mounts, control groups and namespaces: images/mnt.proto, cgroup.proto, utsns.proto, userns.proto, timens.proto,
 * ipc-*.proto, netdev.proto, sysctl.proto, binfmt-misc.proto and autofs.proto of CRIU 4.2.
 */
export const NAMESPACE_SCHEMA = `
enum fstype: UNSUPPORTED=0, PROC=1, SYSFS=2, DEVTMPFS=3, BINFMT_MISC=4, TMPFS=5, DEVPTS=6, SIMFS=7, PSTORE=8,
  SECURITYFS=9, FUSECTL=10, DEBUGFS=11, CGROUP=12, AUFS=13, MQUEUE=14, FUSE=15, AUTO=16, OVERLAYFS=17, AUTOFS=18,
  TRACEFS=19, CGROUP2=23
mnt_entry: fstype=1 fstype, mnt_id=2 u32, root_dev=3 u32, parent_mnt_id=4 u32, flags=5 u32, root=6 string,
  mountpoint=7 string, source=8 string, options=9 string, shared_id=10 u32?, master_id=11 u32?, with_plugin=12 bool?,
  ext_mount=13 bool?, fsname=14 string?, internal_sharing=15 bool?, deleted=16 bool?, sb_flags=17 u32?, ext_key=18 string?
cgroup_perms: mode=1 u32, uid=2 u32, gid=3 u32
cgroup_prop_entry: name=1 string, value=2 string, perms=3 cgroup_perms?
cgroup_dir_entry: dir_name=1 string, children=2 cgroup_dir_entry*, properties=3 cgroup_prop_entry*, dir_perms=4 cgroup_perms?
cg_controller_entry: cnames=1 string*, dirs=2 cgroup_dir_entry*, is_threaded=3 bool?
cg_member_entry: name=1 string, path=2 string, cgns_prefix=3 u32?
cg_set_entry: id=1 u32, ctls=2 cg_member_entry*
cgroup_entry: sets=1 cg_set_entry*, controllers=2 cg_controller_entry*
utsns_entry: nodename=1 string, domainname=2 string
uid_gid_extent: first=1 u32, lower_first=2 u32, count=3 u32
userns_entry: uid_map=1 uid_gid_extent*, gid_map=2 uid_gid_extent*
timespec: tv_sec=1 u64, tv_nsec=2 u64
timens_entry: monotonic=1 timespec, boottime=2 timespec
ipc_desc_entry: key=1 u32, uid=2 u32, gid=3 u32, cuid=4 u32, cgid=5 u32, mode=6 u32, id=7 u32
ipc_shm_entry: desc=1 ipc_desc_entry, size=2 u64, in_pagemaps=3 bool?, hugetlb_flag=4 u32?
ipc_sem_entry: desc=1 ipc_desc_entry, nsems=2 u32
ipc_msg: mtype=1 u64, msize=2 u32
ipc_msg_entry: desc=1 ipc_desc_entry, qbytes=2 u32, qnum=3 u32
ipc_var_entry: sem_ctls=1 u32*, msg_ctlmax=2 u32, msg_ctlmnb=3 u32, msg_ctlmni=4 u32, auto_msgmni=5 u32, shm_ctlmax=6 u64,
  shm_ctlall=7 u64, shm_ctlmni=8 u32, shm_rmid_forced=9 u32, mq_queues_max=10 u32, mq_msg_max=11 u32, mq_msgsize_max=12 u32,
  mq_msg_default=13 u32?, mq_msgsize_default=14 u32?, msg_next_id=15 u32?, sem_next_id=16 u32?, shm_next_id=17 u32?
enum nd_type: LOOPBACK=1, VETH=2, TUN=3, EXTLINK=4, VENET=5, BRIDGE=6
enum SysctlType: CTL_STR=5, CTL_32=6
sysctl_entry: type=1 SysctlType, iarg=2 i32?, sarg=3 string?
tun_link_entry: flags=1 u32, owner=2 i32, group=3 i32, vnethdr=4 u32, sndbuf=5 u32
net_device_entry: type=1 nd_type, ifindex=2 u32, mtu=3 u32, flags=4 u32, name=5 string, tun=6 tun_link_entry?,
  address=7 bytes?, conf=8 i32*, conf4=9 sysctl_entry*, conf6=10 sysctl_entry*
netns_entry: def_conf=1 i32*, all_conf=2 i32*, def_conf4=3 sysctl_entry*, all_conf4=4 sysctl_entry*,
  def_conf6=5 sysctl_entry*, all_conf6=6 sysctl_entry*
binfmt_misc_entry: name=1 string, enabled=2 bool, interpreter=3 string, flags=4 string?, extension=5 string?,
  magic=6 string?, mask=7 string?, offset=8 i32?
autofs_entry: fd=1 i32, pgrp=2 i32, timeout=3 i32, minproto=4 i32, maxproto=5 i32, mode=6 i32, uid=7 i32?, gid=8 i32?,
  read_fd=9 i32?
`;
