/**
 * Open files and what is in them: images/fdinfo.proto, regfile.proto, pipe.proto, fifo.proto, sk-*.proto, tty.proto,
 * event*.proto, signalfd.proto, timerfd.proto, fsnotify.proto, ghost-file.proto and others of CRIU 4.2.
 */
export const FILE_SCHEMA = `
enum fd_types: UND=0, REG=1, PIPE=2, FIFO=3, INETSK=4, UNIXSK=5, EVENTFD=6, EVENTPOLL=7, INOTIFY=8, SIGNALFD=9,
  PACKETSK=10, TTY=11, FANOTIFY=12, NETLINKSK=13, NS=14, TUNF=15, EXT=16, TIMERFD=17, MEMFD=18, BPFMAP=19, PIDFD=20
fown_entry: uid=1 u32, euid=2 u32, signum=3 u32, pid_type=4 u32, pid=5 u32
fdinfo_entry: id=1 u32, flags=2 u32, type=3 fd_types, fd=4 u32, xattr_security_selinux=5 string?
file_entry: type=1 fd_types, id=2 u32, reg=3 reg_file_entry?, isk=4 inet_sk_entry?, nsf=5 ns_file_entry?,
  psk=6 packet_sock_entry?, nlsk=7 netlink_sk_entry?, efd=8 eventfd_file_entry?, epfd=9 eventpoll_file_entry?,
  sgfd=10 signalfd_entry?, tunf=11 tunfile_entry?, tfd=12 timerfd_entry?, ify=13 inotify_file_entry?,
  ffy=14 fanotify_file_entry?, ext=15 ext_file_entry?, usk=16 unix_sk_entry?, fifo=17 fifo_entry?, pipe=18 pipe_entry?,
  tty=19 tty_file_entry?, memfd=20 memfd_file_entry?, bpf=21 bpfmap_file_entry?, pidfd=22 pidfd_entry?
reg_file_entry: id=1 u32, flags=2 u32, pos=3 u64, fown=5 fown_entry, name=6 string, mnt_id=7 s32?, size=8 u64?,
  ext=9 bool?, mode=10 u32?, build_id=11 u32*, checksum=12 u32?, checksum_config=13 u32?, checksum_parameter=14 u32?
ext_file_entry: id=1 u32, fown=5 fown_entry
ns_file_entry: id=1 u32, ns_id=2 u32, ns_cflag=3 u32, flags=4 u32
pipe_entry: id=1 u32, pipe_id=2 u32, flags=3 u32, fown=4 fown_entry
fifo_entry: id=1 u32, pipe_id=2 u32, regf_id=3 u32?, wait_writer=4 bool?
pipe_data_entry: pipe_id=1 u32, bytes=2 u32, size=3 u32?
eventfd_file_entry: id=1 u32, flags=2 u32, fown=3 fown_entry, counter=4 u64
eventpoll_tfd_entry: id=1 u32, tfd=2 u32, events=3 u32, data=4 u64, dev=5 u32?, inode=6 u64?, pos=7 u64?
eventpoll_file_entry: id=1 u32, flags=2 u32, fown=3 fown_entry, tfd=4 eventpoll_tfd_entry*
signalfd_entry: id=1 u32, flags=2 u32, fown=3 fown_entry, sigmask=4 u64
timerfd_entry: id=1 u32, flags=2 u32, fown=3 fown_entry, clockid=4 u32, ticks=5 u64, settime_flags=6 u32, vsec=7 u64,
  vnsec=8 u64, isec=9 u64, insec=10 u64
pidfd_entry: id=1 u32, ino=2 u64, flags=3 u32, nspid=4 i32, fown=5 fown_entry
bpfmap_file_entry: id=1 u32, flags=2 u32, pos=3 u64, fown=4 fown_entry, map_type=5 u32, key_size=6 u32, value_size=7 u32,
  map_id=8 u32, max_entries=9 u32, map_flags=10 u32, memlock=11 u64, frozen=12 bool, map_name=13 string, ifindex=14 u32,
  mnt_id=15 s32?, map_extra=16 u64?
bpfmap_data_entry: map_id=1 u32, keys_bytes=2 u32, values_bytes=3 u32, count=4 u32
fh_entry: bytes=1 u32, type=2 u32, handle=3 u64*, path=4 string?, mnt_id=5 u32?
irmap_cache_entry: dev=1 u32, inode=2 u64, path=3 string
inotify_wd_entry: id=1 u32, i_ino=2 u64, mask=3 u32, ignored_mask=4 u32, s_dev=5 u32, wd=6 u32, f_handle=7 fh_entry
inotify_file_entry: id=1 u32, flags=2 u32, fown=4 fown_entry, wd=5 inotify_wd_entry*
enum mark_type: INODE=1, MOUNT=2
fanotify_inode_mark_entry: i_ino=1 u64, f_handle=2 fh_entry
fanotify_mount_mark_entry: mnt_id=1 u32, path=2 string?
fanotify_mark_entry: id=1 u32, type=2 mark_type, mflags=3 u32, mask=4 u32, ignored_mask=5 u32, s_dev=6 u32,
  ie=7 fanotify_inode_mark_entry?, me=8 fanotify_mount_mark_entry?
fanotify_file_entry: id=1 u32, flags=2 u32, fown=3 fown_entry, faflags=4 u32, evflags=5 u32,
  mark=6 fanotify_mark_entry*
enum sk_shutdown: NONE=0, READ=1, WRITE=2, BOTH=3
sk_opts_entry: so_sndbuf=1 u32, so_rcvbuf=2 u32, so_snd_tmo_sec=3 u64, so_snd_tmo_usec=4 u64, so_rcv_tmo_sec=5 u64,
  so_rcv_tmo_usec=6 u64, reuseaddr=7 bool?, so_priority=8 u32?, so_rcvlowat=9 u32?, so_mark=10 u32?, so_passcred=11 bool?,
  so_passsec=12 bool?, so_dontroute=13 bool?, so_no_check=14 bool?, so_bound_dev=15 string?, so_filter=16 fixed64*,
  so_reuseport=17 bool?, so_broadcast=18 bool?, so_keepalive=19 bool?, tcp_keepcnt=20 u32?, tcp_keepidle=21 u32?,
  tcp_keepintvl=22 u32?, so_oobinline=23 u32?, so_linger=24 u32?, so_buf_lock=25 u32?
file_perms_entry: mode=1 u32, uid=2 u32, gid=3 u32
unix_sk_entry: id=1 u32, ino=2 u32, type=3 u32, state=4 u32, flags=5 u32, uflags=6 u32, backlog=7 u32, peer=8 u32,
  fown=9 fown_entry, opts=10 sk_opts_entry, name=11 bytes, shutdown=12 sk_shutdown?, file_perms=13 file_perms_entry?,
  name_dir=14 string?, deleted=15 bool?, ns_id=16 u32?, mnt_id=17 s32?
ip_opts_raw_entry: hdrincl=1 bool?, nodefrag=2 bool?, checksum=3 bool?, icmpv_filter=4 u32*
ip_opts_entry: freebind=1 bool?, raw=4 ip_opts_raw_entry?
inet_sk_entry: id=1 u32, ino=2 u32, family=3 u32, type=4 u32, proto=5 u32, state=6 u32, src_port=7 u32, dst_port=8 u32,
  flags=9 u32, backlog=10 u32, src_addr=11 u32*, dst_addr=12 u32*, fown=13 fown_entry, opts=14 sk_opts_entry,
  v6only=15 bool?, ip_opts=16 ip_opts_entry?, ifname=17 string?, ns_id=18 u32?,
  shutdown=19 sk_shutdown?
packet_mclist: index=1 u32, type=2 u32, addr=3 bytes
packet_ring: block_size=1 u32, block_nr=2 u32, frame_size=3 u32, frame_nr=4 u32, retire_tmo=5 u32, sizeof_priv=6 u32,
  features=7 u32
packet_sock_entry: id=1 u32, type=2 u32, protocol=3 u32, flags=4 u32, ifindex=5 u32, fown=6 fown_entry,
  opts=7 sk_opts_entry, version=8 u32, reserve=9 u32, aux_data=10 bool, orig_dev=11 bool, vnet_hdr=12 bool, loss=13 bool,
  timestamp=14 u32, copy_thresh=15 u32, mclist=16 packet_mclist*, fanout=17 u32?, rx_ring=18 packet_ring?,
  tx_ring=19 packet_ring?, ns_id=20 u32?
netlink_sk_entry: id=1 u32, ino=2 u32, protocol=3 u32, state=4 u32, flags=6 u32, portid=7 u32, groups=8 u32*,
  dst_portid=9 u32, dst_group=10 u32, fown=11 fown_entry, opts=12 sk_opts_entry, ns_id=13 u32?
scm_entry: type=1 u32, rights=2 u32*
sk_ucred_entry: uid=1 u32, gid=2 u32, pid=3 u32
sk_packet_entry: id_for=1 u32, length=2 u32, scm=4 scm_entry*, ucred=128 sk_ucred_entry?
tcp_stream_entry: inq_len=1 u32, inq_seq=2 u32, outq_len=3 u32, outq_seq=4 u32, opt_mask=5 u32, snd_wscale=6 u32,
  mss_clamp=7 u32, rcv_wscale=8 u32?, timestamp=9 u32?, cork=10 bool?, nodelay=11 bool?, unsq_len=12 u32?, snd_wl1=13 u32?,
  snd_wnd=14 u32?, max_window=15 u32?, rcv_wnd=16 u32?, rcv_wup=17 u32?
winsize_entry: ws_row=1 u32, ws_col=2 u32, ws_xpixel=3 u32, ws_ypixel=4 u32
termios_entry: c_iflag=1 u32, c_oflag=2 u32, c_cflag=3 u32, c_lflag=4 u32, c_line=5 u32, c_ispeed=6 u32, c_ospeed=7 u32,
  c_cc=8 u32*
tty_pty_entry: index=1 u32
enum TtyType: UNKNOWN=0, PTY=1, CONSOLE=2, VT=3, CTTY=4, EXT_TTY=5, SERIAL=6
tty_data_entry: tty_id=1 u32, data=2 bytes
tty_info_entry: id=1 u32, type=2 TtyType, locked=3 bool, exclusive=4 bool, packet_mode=5 bool, sid=6 u32, pgrp=7 u32,
  rdev=8 u32, termios=9 termios_entry?, termios_locked=10 termios_entry?, winsize=11 winsize_entry?, pty=12 tty_pty_entry?,
  dev=13 u32?, uid=14 u32?, gid=15 u32?
tty_file_entry: id=1 u32, tty_info_id=2 u32, flags=3 u32, fown=4 fown_entry, regf_id=6 u32?
tunfile_entry: id=1 u32, netdev=2 string?, detached=3 bool?, ns_id=4 u32?
file_lock_entry: flag=1 u32, type=2 u32, pid=3 i32, fd=4 i32, start=5 i64, len=6 i64
enum remap_type: LINKED=0, GHOST=1, PROCFS=2
remap_file_path_entry: orig_id=1 u32, remap_id=2 u32, remap_type=3 remap_type?
timeval: tv_sec=1 u64, tv_usec=2 u64
ghost_file_entry: uid=1 u32, gid=2 u32, mode=3 u32, dev=4 u32?, ino=5 u64?, rdev=6 u32?, atim=7 timeval?, mtim=8 timeval?,
  chunks=9 bool?, size=10 u64?, symlnk_target=11 string?
ghost_chunk_entry: len=1 u64, off=2 u64
`;
