/** Name of the format of a live target's state bytes: UTF-8 JSON of a `LiveState`, see LIVE-STATE.md. */
export const LIVE_STATE_FORMAT = 'ckpt-live-2';

/** A 64-bit number or address: `0x7ffc10a0`. JSON numbers lose bits above 2^53. */
export type HexNumber = `0x${string}`;
/** Bytes in base64. */
export type Base64 = string;
/** An integer of any size, possibly negative: `-1`, `9223372036854775807`. */
export type DecimalNumber = string;

/** Everything beyond memory that a checkpoint of a live target holds, or one of processes that CRIU dumped. */
export interface LiveState {
  readonly machine: 'x86_64' | 'aarch64';
  /** `6.18.44`, as in /proc/sys/kernel/osrelease; empty where CRIU took the state. */
  readonly kernelRelease: string;
  /** Empty where CRIU took the state. */
  readonly bootId: string;
  /** Root first, parents before their children. */
  readonly processes: readonly LiveProcessState[];
  /** What could not be looked at, and why, as sentences: everything is here if this is empty. */
  readonly gaps: readonly string[];
  /** Files that are mapped, as far as CRIU has recorded how to know them again; absent where CRIU did not take it. */
  readonly mappedFiles?: readonly KnownFile[];
}

/** How to know a file again. */
export interface KnownFile {
  readonly path: string;
  readonly sizeBytes: number;
  /** Of a program or library that has one: hexadecimal digits, two a byte. */
  readonly buildId: string | null;
}

export interface LiveProcessState {
  readonly pid: number;
  /** 0 for the root of the target, whatever its parent is. */
  readonly parentPid: number;
  /** When it started, in clock ticks since boot: with the PID it names the process while the machine runs. */
  readonly startTicks: number;
  readonly processGroup: number;
  readonly session: number;
  /** `/dev/pts/3`, or null without a controlling terminal. */
  readonly terminal: string | null;
  readonly name: string;
  readonly exe: FileIdentity | null;
  readonly commandLine: readonly string[];
  /** The initial environment as it stands in memory, NUL-separated. */
  readonly environment: Base64 | null;
  readonly auxiliaryVector: Base64 | null;
  readonly workingDirectory: string | null;
  readonly root: string | null;
  readonly umask: number | null;
  readonly personality: HexNumber | null;
  readonly credentials: Credentials;
  readonly limits: readonly ResourceLimit[];
  readonly layout: MemoryLayout;
  readonly signals: ProcessSignals;
  readonly timers: ProcessTimers;
  readonly files: readonly OpenFile[];
  /** `{ pid: 'pid:[4026531836]', ... }`; numbers that CRIU gave are only good for telling equal from other. */
  readonly namespaces: Readonly<Record<string, string>>;
  readonly cgroup: string | null;
  readonly oomScoreAdjustment: number | null;
  /** 0 none, 1 strict, 2 filter. */
  readonly seccompMode: number;
  /** The leader first. */
  readonly threads: readonly LiveThreadState[];
}

export interface FileIdentity {
  readonly path: string;
  /** `254:1`, decimal. */
  readonly device: string;
  readonly inode: DecimalNumber;
  /** Rounded if above 2^53. */
  readonly sizeBytes: number;
  readonly modifiedNanoseconds: DecimalNumber;
}

export interface Credentials {
  /** Real, effective, saved, file system. */
  readonly userIds: readonly number[];
  readonly groupIds: readonly number[];
  readonly supplementaryGroups: readonly number[];
  readonly capabilities: {
    readonly inheritable: HexNumber;
    readonly permitted: HexNumber;
    readonly effective: HexNumber;
    readonly bounding: HexNumber;
    readonly ambient: HexNumber;
  };
  readonly noNewPrivileges: boolean;
}

/** One of RLIMIT_*, by its number in include/uapi/asm-generic/resource.h; `0xffffffffffffffff` is unlimited. */
export interface ResourceLimit {
  readonly resource: number;
  readonly soft: HexNumber;
  readonly hard: HexNumber;
}

/** The fields of mm_struct that prctl(PR_SET_MM_MAP) sets. */
export interface MemoryLayout {
  readonly startCode: HexNumber;
  readonly endCode: HexNumber;
  readonly startData: HexNumber;
  readonly endData: HexNumber;
  readonly startBrk: HexNumber;
  /** The present end of the heap, to the byte; null if nobody could ask. */
  readonly brk: HexNumber | null;
  readonly startStack: HexNumber;
  readonly argumentsStart: HexNumber;
  readonly argumentsEnd: HexNumber;
  readonly environmentStart: HexNumber;
  readonly environmentEnd: HexNumber;
}

export interface ProcessSignals {
  /** Those with a handler, bit n-1 for signal n. */
  readonly caught: HexNumber;
  readonly ignored: HexNumber;
  /** Those that are not at their default; null if they could not be asked for. */
  readonly dispositions: readonly SignalDisposition[] | null;
  /** siginfo of signals pending for the process, 128 bytes each. */
  readonly pending: readonly Base64[];
}

/** As in struct kernel_sigaction; handler 0x1 is SIG_IGN. */
export interface SignalDisposition {
  readonly signal: number;
  readonly handler: HexNumber;
  readonly flags: HexNumber;
  readonly restorer: HexNumber;
  readonly mask: HexNumber;
}

export interface ProcessTimers {
  /** ITIMER_REAL, _VIRTUAL, _PROF with a value or an interval; null if they could not be asked for. */
  readonly intervals:
    | readonly {
        readonly which: number;
        readonly valueMicroseconds: number;
        readonly intervalMicroseconds: number;
      }[]
    | null;
  /** POSIX timers: what /proc/PID/timers says, with remaining times. */
  readonly posix: readonly PosixTimer[];
}

export interface PosixTimer {
  readonly id: number;
  readonly clock: number;
  readonly signal: number;
  /** SIGEV_* */
  readonly notify: number;
  /** Thread for SIGEV_THREAD_ID. */
  readonly notifyThread: number | null;
  readonly value: HexNumber;
  readonly remainingNanoseconds: DecimalNumber | null;
  readonly intervalNanoseconds: DecimalNumber | null;
  readonly overrun: number | null;
}

export type OpenFileKind =
  | 'file'
  | 'directory'
  | 'pipe'
  | 'fifo'
  | 'socket'
  | 'terminal'
  | 'null'
  | 'device'
  | 'memfd'
  | 'eventfd'
  | 'epoll'
  | 'signalfd'
  | 'timerfd'
  | 'inotify'
  | 'userfaultfd'
  | 'io_uring'
  | 'pidfd'
  | 'other';

export interface OpenFile {
  readonly descriptor: number;
  /** As the link in /proc/PID/fd says: `/var/log/x`, `pipe:[123]`, `anon_inode:[eventfd]`. */
  readonly path: string;
  readonly kind: OpenFileKind;
  /** Whether the link says that the file has been deleted. */
  readonly deleted: boolean;
  /** O_* without O_CLOEXEC. */
  readonly flags: number;
  readonly closeOnExec: boolean;
  /** A position in bytes, or, of a directory, what its file system takes for one (up to 64 bits). */
  readonly position: DecimalNumber;
  /** `254:1`, decimal: of the file system that the file is on; of a device or terminal, its own numbers. */
  readonly device: string;
  readonly inode: DecimalNumber;
  /** Rounded if above 2^53. */
  readonly sizeBytes: number;
  /**
   * Equal for descriptors that share one open file description, in the whole target; null if nobody could tell.
   * Counted from 1.
   */
  readonly description: number | null;
  /** The lines of fdinfo beyond pos, flags, mnt_id and ino: what epoll watches, what an eventfd counts, ... */
  readonly details: readonly string[];
  /**
   * What is in a pipe or FIFO both ends of which the target holds: on the first descriptor, in the order of this
   * state, that reads from it; null on every other and wherever it could not be looked at.
   */
  readonly pipe: PipeContent | null;
}

export interface PipeContent {
  readonly unread: Base64;
  /** As F_GETPIPE_SZ says. */
  readonly capacityBytes: number;
}

export interface LiveThreadState {
  readonly id: number;
  readonly name: string;
  /** Register sets as PTRACE_GETREGSET gives them; null if the thread was not stopped by ptrace. */
  readonly registers: {
    /** NT_PRSTATUS: user_regs_struct (27 words on x86-64), user_pt_regs (34 words on aarch64). */
    readonly general: Base64;
    /** NT_PRFPREG. */
    readonly floatingPoint: Base64;
    /** NT_X86_XSTATE, or the SVE state; null if the kernel has none. */
    readonly extended: Base64 | null;
    /**
     * Further sets by the type of their note. aarch64: NT_ARM_TLS (0x401), the thread pointer, which x86-64 has among
     * the general registers, and where pointers are authenticated NT_ARM_PAC_MASK (0x406), which cannot be set.
     */
    readonly further: readonly { readonly type: number; readonly content: Base64 }[];
  } | null;
  readonly signalMask: HexNumber;
  readonly pending: readonly Base64[];
  /** Null if it could not be asked for. */
  readonly alternateStack: {
    readonly start: HexNumber;
    readonly flags: number;
    readonly sizeBytes: number;
  } | null;
  readonly robustList: { readonly head: HexNumber; readonly lengthBytes: number } | null;
  /** Cleared and woken as a futex when the thread ends (set_tid_address); null if it could not be asked for. */
  readonly clearChildTid: HexNumber | null;
  readonly rseq: {
    readonly pointer: HexNumber;
    readonly sizeBytes: number;
    readonly signature: number;
    readonly flags: number;
  } | null;
  readonly schedule: { readonly policy: number; readonly priority: number; readonly nice: number };
  /** The system call that the thread was in, by number; null if it was running in its own code. */
  readonly systemCall: number | null;
}
