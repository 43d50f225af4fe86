/**
 * Processes and threads: images/inventory.proto, pstree.proto, core.proto, core-x86.proto, core-aarch64.proto,
 * creds.proto, rlimit.proto, timer.proto, sa.proto, siginfo.proto, rseq.proto, fs.proto, seccomp.proto, stats.proto and
 * cpuinfo.proto of CRIU 4.2.
 */
export const TASK_SCHEMA = `
enum lsmtype: NO_LSM=0, SELINUX=1, APPARMOR=2
plugins_entry: plugins=12 string*
inventory_entry: img_version=1 u32, fdinfo_per_id=2 bool?, root_ids=3 task_kobj_ids_entry?, ns_per_id=4 bool?,
  root_cg_set=5 u32?, lsmtype=6 lsmtype?, dump_uptime=8 u64?, pre_dump_mode=9 u32?, tcp_close=10 bool?,
  network_lock_method=11 u32?, plugins_entry=12 plugins_entry?, dump_criu_run_id=13 string?, allow_uprobes=14 bool?
pstree_entry: pid=1 u32, ppid=2 u32, pgid=3 u32, sid=4 u32, threads=5 u32*
task_kobj_ids_entry: vm_id=1 u32, files_id=2 u32, fs_id=3 u32, sighand_id=4 u32, pid_ns_id=5 u32?, net_ns_id=6 u32?,
  ipc_ns_id=7 u32?, uts_ns_id=8 u32?, mnt_ns_id=9 u32?, user_ns_id=10 u32?, cgroup_ns_id=11 u32?, time_ns_id=12 u32?
enum march: UNKNOWN=0, X86_64=1, ARM=2, AARCH64=3, PPC64=4, S390=5, MIPS=6, LOONGARCH64=7, RISCV64=8
core_entry: mtype=1 march, thread_info=2 thread_info_x86?, tc=3 task_core_entry?, ids=4 task_kobj_ids_entry?,
  thread_core=5 thread_core_entry?, ti_aarch64=8 thread_info_aarch64?
enum seccomp_mode: disabled=0, strict=1, filter=2
task_core_entry: task_state=1 u32, exit_code=2 u32, personality=3 u32, flags=4 u32, blk_sigset=5 u64, comm=6 string,
  timers=7 task_timers_entry?, rlimits=8 task_rlimits_entry?, cg_set=9 u32?, signals_s=10 signal_queue_entry?,
  old_seccomp_mode=11 seccomp_mode?, old_seccomp_filter=12 u32?, loginuid=13 u32?, oom_score_adj=14 i32?,
  sigactions=15 sa_entry*, child_subreaper=18 bool?, blk_sigset_extended=20 u64?, stop_signo=21 i32?,
  membarrier_registration_mask=22 u32?
thread_sas_entry: ss_sp=1 u64, ss_size=2 u64, ss_flags=3 u32
thread_core_entry: futex_rla=1 u64, futex_rla_len=2 u32, sched_nice=3 s32?, sched_policy=4 u32?, sched_prio=5 u32?,
  blk_sigset=6 u64?, sas=7 thread_sas_entry?, pdeath_sig=8 u32?, signals_p=9 signal_queue_entry?,
  creds=10 creds_entry?, seccomp_mode=11 seccomp_mode?, seccomp_filter=12 u32?, comm=13 string?,
  blk_sigset_extended=14 u64?, rseq_entry=15 rseq_entry?, cg_set=16 u32?
rlimit_entry: cur=1 u64, max=2 u64
task_rlimits_entry: rlimits=1 rlimit_entry*
creds_entry: uid=1 u32, gid=2 u32, euid=3 u32, egid=4 u32, suid=5 u32, sgid=6 u32, fsuid=7 u32, fsgid=8 u32,
  cap_inh=9 u32*, cap_prm=10 u32*, cap_eff=11 u32*, cap_bnd=12 u32*, secbits=13 u32, groups=14 u32*,
  lsm_profile=15 string?, lsm_sockcreate=16 string?, apparmor_data=17 bytes?, no_new_privs=18 u32?
itimer_entry: isec=1 u64, iusec=2 u64, vsec=3 u64, vusec=4 u64
posix_timer_entry: it_id=1 u32, clock_id=2 u32, si_signo=3 u32, it_sigev_notify=4 u32, sival_ptr=5 u64, overrun=6 u32,
  isec=7 u64, insec=8 u64, vsec=9 u64, vnsec=10 u64, notify_thread_id=11 i32?
task_timers_entry: real=1 itimer_entry, virt=2 itimer_entry, prof=3 itimer_entry, posix=4 posix_timer_entry*
sa_entry: sigaction=1 u64, flags=2 u64, restorer=3 u64, mask=4 u64, compat_sigaction=5 bool?,
  mask_extended=6 u64?
siginfo_entry: siginfo=1 bytes
signal_queue_entry: signals=1 siginfo_entry*
rseq_entry: rseq_abi_pointer=1 u64, rseq_abi_size=2 u32, signature=3 u32, rseq_cs_pointer=4 u64?
fs_entry: cwd_id=1 u32, root_id=2 u32, umask=3 u32?
seccomp_filter: filter=1 bytes, prev=2 u32?, flags=3 u32?
seccomp_entry: seccomp_filters=1 seccomp_filter*
enum user_x86_regs_mode: NATIVE=1, COMPAT=2
user_x86_regs_entry: r15=1 u64, r14=2 u64, r13=3 u64, r12=4 u64, bp=5 u64, bx=6 u64, r11=7 u64, r10=8 u64, r9=9 u64,
  r8=10 u64, ax=11 u64, cx=12 u64, dx=13 u64, si=14 u64, di=15 u64, orig_ax=16 u64, ip=17 u64, cs=18 u64, flags=19 u64,
  sp=20 u64, ss=21 u64, fs_base=22 u64, gs_base=23 u64, ds=24 u64, es=25 u64, fs=26 u64, gs=27 u64,
  mode=28 user_x86_regs_mode?
user_x86_cet_entry: cet=1 u64?, ssp=2 u64?
user_x86_xsave_entry: xstate_bv=1 u64, ymmh_space=2 u32*, bndreg_state=3 u64*, bndcsr_state=4 u64*, opmask_reg=5 u64*,
  zmm_upper=6 u64*, hi16_zmm=7 u64*, pkru=8 u32*, cet=9 user_x86_cet_entry?
user_x86_fpregs_entry: cwd=1 u32, swd=2 u32, twd=3 u32, fop=4 u32, rip=5 u64, rdp=6 u64, mxcsr=7 u32,
  mxcsr_mask=8 u32, st_space=9 u32*, xmm_space=10 u32*, padding=11 u32*, xsave=13 user_x86_xsave_entry?
user_desc_t: entry_number=1 u32, base_addr=2 u32, limit=3 u32, seg_32bit=4 bool, contents_h=5 bool, contents_l=6 bool,
  read_exec_only=7 bool, limit_in_pages=8 bool, seg_not_present=9 bool, usable=10 bool
thread_info_x86: clear_tid_addr=1 u64, gpregs=2 user_x86_regs_entry, fpregs=3 user_x86_fpregs_entry, tls=4 user_desc_t*
user_aarch64_regs_entry: regs=1 u64*, sp=2 u64, pc=3 u64, pstate=4 u64
user_aarch64_fpsimd_context_entry: vregs=1 u64*, fpsr=2 u32, fpcr=3 u32
thread_info_aarch64: clear_tid_addr=1 u64, tls=2 u64, gpregs=3 user_aarch64_regs_entry,
  fpsimd=4 user_aarch64_fpsimd_context_entry
dump_stats_entry: freezing_time=1 u32, frozen_time=2 u32, memdump_time=3 u32, memwrite_time=4 u32, pages_scanned=5 u64,
  pages_skipped_parent=6 u64, pages_written=7 u64, irmap_resolve=8 u32?, pages_lazy=9 u64, page_pipes=10 u64?,
  page_pipe_bufs=11 u64?, shpages_scanned=12 u64?, shpages_skipped_parent=13 u64?, shpages_written=14 u64?
restore_stats_entry: pages_compared=1 u64, pages_skipped_cow=2 u64, forking_time=3 u32, restore_time=4 u32,
  pages_restored=5 u64?
stats_entry: dump=1 dump_stats_entry?, restore=2 restore_stats_entry?
enum cpuinfo_vendor: UNKNOWN=0, INTEL=1, AMD=2
cpuinfo_x86_entry: vendor_id=1 cpuinfo_vendor, cpu_family=2 u32, model=3 u32, stepping=4 u32, capability_ver=5 u32,
  capability=6 u32*, model_id=7 string?, xfeatures_mask=8 u64?, xsave_size=9 u32?, xsave_size_max=10 u32?
cpuinfo_entry: x86_entry=1 cpuinfo_x86_entry*
`;
