import { UnsupportedError } from '../../core/index.ts';

/** System calls that ckpt makes itself or inside a target, as both architectures number them. */
const SYSTEM_CALLS = {
  // name: [x86_64, aarch64] (arch/x86/entry/syscalls/syscall_64.tbl, include/uapi/asm-generic/unistd.h)
  brk: [12, 214],
  capset: [126, 91],
  chdir: [80, 49],
  clock_nanosleep: [230, 115],
  clone: [56, 220],
  clone3: [435, 435],
  close: [3, 57],
  close_range: [436, 436],
  dup: [32, 23],
  dup3: [292, 24],
  epoll_create1: [291, 20],
  epoll_ctl: [233, 21],
  eventfd2: [290, 19],
  exit: [60, 93],
  exit_group: [231, 94],
  fchdir: [81, 50],
  fcntl: [72, 25],
  flock: [73, 32],
  fsync: [74, 82],
  ftruncate: [77, 46],
  futex: [202, 98],
  get_robust_list: [274, 100],
  getitimer: [36, 102],
  getpid: [39, 172],
  gettid: [186, 178],
  ioctl: [16, 29],
  kcmp: [312, 272],
  kill: [62, 129],
  lseek: [8, 62],
  madvise: [28, 233],
  membarrier: [324, 283],
  memfd_create: [319, 279],
  mincore: [27, 232],
  mlock: [149, 228],
  mlock2: [325, 284],
  mmap: [9, 222],
  mprotect: [10, 226],
  mremap: [25, 216],
  munlock: [150, 229],
  munmap: [11, 215],
  openat: [257, 56],
  personality: [135, 92],
  pidfd_getfd: [438, 438],
  pidfd_open: [434, 434],
  pipe2: [293, 59],
  prctl: [157, 167],
  prlimit64: [302, 261],
  process_madvise: [440, 440],
  process_vm_readv: [310, 270],
  ptrace: [101, 117],
  read: [0, 63],
  recvmsg: [47, 212],
  rseq: [334, 293],
  rt_sigaction: [13, 134],
  rt_sigprocmask: [14, 135],
  rt_sigqueueinfo: [129, 138],
  rt_sigreturn: [15, 139],
  rt_sigtimedwait: [128, 137],
  rt_tgsigqueueinfo: [297, 240],
  sched_getattr: [315, 275],
  sched_setattr: [314, 274],
  sched_setscheduler: [144, 119],
  sendmsg: [46, 211],
  set_robust_list: [273, 99],
  set_tid_address: [218, 96],
  setfsgid: [123, 152],
  setfsuid: [122, 151],
  setgroups: [116, 159],
  setitimer: [38, 103],
  setpgid: [109, 154],
  setpriority: [141, 140],
  setresgid: [119, 149],
  setresuid: [117, 147],
  setsid: [112, 157],
  sigaltstack: [131, 132],
  signalfd4: [289, 74],
  socketpair: [53, 199],
  tee: [276, 77],
  tgkill: [234, 131],
  timer_create: [222, 107],
  timer_delete: [226, 111],
  timer_getoverrun: [225, 109],
  timer_gettime: [224, 108],
  timer_settime: [223, 110],
  timerfd_create: [283, 85],
  timerfd_settime: [286, 86],
  umask: [95, 166],
  uname: [63, 160],
  userfaultfd: [323, 282],
  wait4: [61, 260],
  write: [1, 64],
} as const satisfies Readonly<Record<string, readonly [number, number]>>;

/** Name of a system call that ckpt can make. */
export type SystemCallName = keyof typeof SYSTEM_CALLS;

/** What differs between processors: numbers, registers, instructions. */
export interface Architecture {
  readonly name: 'x86_64' | 'aarch64';
  /** `e_machine` of ELF. */
  readonly elfMachine: number;
  /** Names of the 64-bit words of NT_PRSTATUS, in order. */
  readonly registerNames: readonly string[];
  readonly instructionPointer: string;
  readonly stackPointer: string;
  /** Register with the number of the call to be made. */
  readonly callNumber: string;
  readonly callArguments: readonly string[];
  readonly result: string;
  systemCall(name: SystemCallName): number;
}

const X86_64: Architecture = {
  name: 'x86_64',
  elfMachine: 62,
  // struct user_regs_struct, arch/x86/include/asm/user_64.h
  registerNames: [
    ...['r15', 'r14', 'r13', 'r12', 'rbp', 'rbx', 'r11', 'r10', 'r9', 'r8', 'rax', 'rcx', 'rdx', 'rsi'],
    ...['rdi', 'orig_rax', 'rip', 'cs', 'eflags', 'rsp', 'ss', 'fs_base', 'gs_base', 'ds', 'es', 'fs', 'gs'],
  ],
  instructionPointer: 'rip',
  stackPointer: 'rsp',
  callNumber: 'rax',
  callArguments: ['rdi', 'rsi', 'rdx', 'r10', 'r8', 'r9'],
  result: 'rax',
  systemCall: (name) => SYSTEM_CALLS[name][0],
};

const AARCH64: Architecture = {
  name: 'aarch64',
  elfMachine: 183,
  // struct user_pt_regs, arch/arm64/include/uapi/asm/ptrace.h
  registerNames: [...Array.from({ length: 31 }, (_, index) => `x${index}`), 'sp', 'pc', 'pstate'],
  instructionPointer: 'pc',
  stackPointer: 'sp',
  callNumber: 'x8',
  callArguments: ['x0', 'x1', 'x2', 'x3', 'x4', 'x5'],
  result: 'x0',
  systemCall: (name) => SYSTEM_CALLS[name][1],
};

/** Both architectures, for those who decode what another machine recorded. */
export const ARCHITECTURES: Readonly<Record<'x86_64' | 'aarch64', Architecture>> = {
  x86_64: X86_64,
  aarch64: AARCH64,
};

/**
 * The architecture that this program runs on.
 * @throws UnsupportedError for others than x86-64 and aarch64
 */
export function ownArchitecture(): Architecture {
  if (process.arch === 'x64') return X86_64;
  if (process.arch === 'arm64') return AARCH64;
  throw new UnsupportedError(`live targets on ${process.arch} are not supported`, {
    hint: 'x86-64 and aarch64 are; plain /proc access works everywhere',
  });
}
