import { type Architecture, ownArchitecture, type SystemCallName } from './architecture.ts';
import { SystemCallError } from './errno.ts';
import { type CallResult, loadSystemLibrary, type SystemLibrary, type Word } from './library.ts';

/** Requests of ptrace (include/uapi/linux/ptrace.h). */
const PTRACE = {
  cont: 7,
  detach: 17,
  systemCall: 24,
  getEventMessage: 0x4201,
  getSignalInfo: 0x4202,
  getRegisterSet: 0x4204,
  setRegisterSet: 0x4205,
  seize: 0x4206,
  interrupt: 0x4207,
  peekSignalInfo: 0x4209,
  getSignalMask: 0x420a,
  setSignalMask: 0x420b,
  rseqConfiguration: 0x420f,
} as const;

/** Options of PTRACE_SEIZE. EXITKILL is only for processes that ckpt itself has begun. */
export const TRACE_OPTION = {
  markSystemCalls: 1,
  fork: 2,
  vfork: 4,
  clone: 8,
  exitKill: 1 << 20,
  suspendSeccomp: 1 << 21,
} as const;

/** Types of register sets (include/uapi/linux/elf.h). */
export const REGISTER_SET = {
  general: 1,
  floatingPoint: 2,
  x86Extended: 0x202,
  armThreadPointer: 0x401,
  armSystemCall: 0x404,
  armPointerMasks: 0x406,
} as const;

const PEEK_SHARED = 1;
const SIGINFO_BYTES = 128;
const SIGNALS_AT_ONCE = 32;
const SIGNAL_SET_BYTES = 8;
/** Any thread, also one that clone made without SIGCHLD (include/uapi/linux/wait.h). */
const WAIT_ALL = 0x40000000;
const WAIT_NO_HANG = 1;
const KCMP_FILE = 0;
/** Larger than the register state of any processor of today: AMX makes 11 KiB. */
const REGISTER_SET_BYTES = 32 * 1024;

/** PTRACE_EVENT_STOP, in the upper half of a stop signal. */
export const EVENT_STOP = 128;

/** What became of a thread that was waited for. */
export type WaitStatus =
  | { readonly kind: 'exited'; readonly code: number }
  | { readonly kind: 'killed'; readonly signal: number }
  | { readonly kind: 'stopped'; readonly signal: number; readonly event: number };

/** The rseq area of a thread. */
export interface RseqConfiguration {
  readonly pointer: bigint;
  readonly sizeBytes: number;
  readonly signature: number;
  readonly flags: number;
}

/**
 * Typed system calls of this process. All are synchronous, and all that concern one tracee have to be made on the same
 * thread: the main thread of Node.
 */
export class Native {
  readonly architecture: Architecture;
  readonly #library: SystemLibrary;

  constructor(architecture: Architecture, library: SystemLibrary) {
    this.architecture = architecture;
    this.#library = library;
  }

  /** @throws SystemCallError; `what` names the call for people */
  call(what: string, name: SystemCallName, ...words: Word[]): Word {
    return this.#library.call(what, this.architecture.systemCall(name), ...words);
  }

  /** Makes a system call that may well fail; `errno` is undefined if it did not. */
  tryCall(name: SystemCallName, ...words: Word[]): CallResult {
    return this.#library.tryCall(this.architecture.systemCall(name), ...words);
  }

  /** Where the bytes are in our own memory. The caller keeps them alive. */
  addressOf(bytes: Uint8Array): bigint {
    return this.#library.addressOf(bytes);
  }

  /** Attaches to a thread without stopping it. */
  seize(tid: number, options = 0): void {
    this.#ptrace('SEIZE', PTRACE.seize, tid, 0, options | TRACE_OPTION.markSystemCalls);
  }

  /** Asks a seized thread to stop; `wait` tells when it has. */
  interrupt(tid: number): void {
    this.#ptrace('INTERRUPT', PTRACE.interrupt, tid, 0, 0);
  }

  /** Lets a stopped thread go for good, delivering `signal` if it stopped for one. */
  detach(tid: number, signal = 0): void {
    this.#ptrace('DETACH', PTRACE.detach, tid, 0, signal);
  }

  /** Lets a stopped thread run on until something happens to it. */
  resume(tid: number, signal = 0): void {
    this.#ptrace('CONT', PTRACE.cont, tid, 0, signal);
  }

  /** Lets a stopped thread run to the next entry into, or return from, a system call. */
  resumeToSystemCall(tid: number): void {
    this.#ptrace('SYSCALL', PTRACE.systemCall, tid, 0, 0);
  }

  /** The value that belongs to an event stop: after a clone, the new thread. */
  eventMessage(tid: number): number {
    const message = new BigUint64Array(1);
    this.#ptrace('GETEVENTMSG', PTRACE.getEventMessage, tid, 0, this.addressOf(bytesOf(message)));
    return Number(message[0]);
  }

  /**
   * What a thread stopped for, told without waiting; undefined if it is not stopped. The event of a stop stands in the
   * code of its siginfo.
   */
  stopReason(tid: number): { readonly signal: number; readonly event: number } | undefined {
    const info = new Int32Array(SIGINFO_BYTES / 4);
    const address = this.addressOf(bytesOf(info));
    if (this.tryCall('ptrace', PTRACE.getSignalInfo, tid, 0, address).errno !== undefined) return undefined;
    return { signal: info[0]!, event: info[2]! >> 8 };
  }

  /**
   * Waits for a traced thread to change its state.
   * @returns undefined if it has not yet and `block` is false
   * @throws SystemCallError (ECHILD if it is no tracee of ours any more)
   */
  wait(tid: number, block: boolean): WaitStatus | undefined {
    const status = new Int32Array(1);
    const address = this.addressOf(bytesOf(status));
    const options = WAIT_ALL | (block ? 0 : WAIT_NO_HANG);
    for (;;) {
      const { value, errno } = this.tryCall('wait4', tid, address, options, 0);
      if (errno === 'EINTR') continue;
      if (errno !== undefined) throw new SystemCallError(`wait for thread ${tid}`, errno, tid);
      return Number(value) === 0 ? undefined : decodeWaitStatus(status[0]!);
    }
  }

  /** A register set of a stopped thread, as long as the kernel makes it. */
  getRegisterSet(tid: number, type: number): Uint8Array {
    const bytes = new Uint8Array(REGISTER_SET_BYTES);
    const vector = this.#vector(bytes, bytes.length);
    this.#ptrace('GETREGSET', PTRACE.getRegisterSet, tid, type, this.addressOf(bytesOf(vector)));
    return bytes.slice(0, Number(vector[1]));
  }

  setRegisterSet(tid: number, type: number, bytes: Uint8Array): void {
    const vector = this.#vector(bytes, bytes.length);
    this.#ptrace('SETREGSET', PTRACE.setRegisterSet, tid, type, this.addressOf(bytesOf(vector)));
  }

  /** Blocked signals of a stopped thread: bit n-1 for signal n. */
  getSignalMask(tid: number): bigint {
    const mask = new BigUint64Array(1);
    this.#ptrace('GETSIGMASK', PTRACE.getSignalMask, tid, SIGNAL_SET_BYTES, this.addressOf(bytesOf(mask)));
    return mask[0]!;
  }

  setSignalMask(tid: number, mask: bigint): void {
    const words = BigUint64Array.of(mask);
    this.#ptrace('SETSIGMASK', PTRACE.setSignalMask, tid, SIGNAL_SET_BYTES, this.addressOf(bytesOf(words)));
  }

  /** siginfo (128 bytes each) of the signals pending for a stopped thread, or for its process; none is taken away. */
  pendingSignals(tid: number, shared: boolean): Uint8Array[] {
    const signals: Uint8Array[] = [];
    const bytes = new Uint8Array(SIGINFO_BYTES * SIGNALS_AT_ONCE);
    for (;;) {
      // struct ptrace_peeksiginfo_args: offset (u64), flags (u32), count (i32)
      const request = new DataView(new ArrayBuffer(16));
      request.setBigUint64(0, BigInt(signals.length), true);
      request.setUint32(8, shared ? PEEK_SHARED : 0, true);
      request.setInt32(12, SIGNALS_AT_ONCE, true);
      const count = Number(
        this.#ptrace(
          'PEEKSIGINFO',
          PTRACE.peekSignalInfo,
          tid,
          this.addressOf(bytesOf(request)),
          this.addressOf(bytes),
        ),
      );
      for (let index = 0; index < count; index++) {
        signals.push(bytes.slice(index * SIGINFO_BYTES, (index + 1) * SIGINFO_BYTES));
      }
      if (count < SIGNALS_AT_ONCE) return signals;
    }
  }

  /** The rseq area of a stopped thread; undefined if it has none, or the kernel cannot tell (before 5.13). */
  rseqConfiguration(tid: number): RseqConfiguration | undefined {
    // struct ptrace_rseq_configuration: pointer (u64), size (u32), signature (u32), flags (u32), padding
    const bytes = new Uint8Array(24);
    const result = this.tryCall('ptrace', PTRACE.rseqConfiguration, tid, bytes.length, this.addressOf(bytes));
    if (result.errno !== undefined) return undefined;
    const view = new DataView(bytes.buffer);
    const pointer = view.getBigUint64(0, true);
    if (pointer === 0n) return undefined;
    return {
      pointer,
      sizeBytes: view.getUint32(8, true),
      signature: view.getUint32(12, true),
      flags: view.getUint32(16, true),
    };
  }

  /** @throws SystemCallError */
  ioctl(what: string, descriptor: number, request: number, argument: Uint8Array | number): number {
    const word = typeof argument === 'number' ? argument : this.addressOf(argument);
    return Number(this.call(what, 'ioctl', descriptor, request, word));
  }

  /** A descriptor of ours that stands for a process. */
  pidfdOpen(pid: number): number {
    return Number(this.call(`pidfd_open of process ${pid}`, 'pidfd_open', pid, 0));
  }

  /** A descriptor of ours for what `descriptor` is in the process; both share one open file description. */
  pidfdGetfd(pidfd: number, descriptor: number): number {
    return Number(this.call(`pidfd_getfd of descriptor ${descriptor}`, 'pidfd_getfd', pidfd, descriptor, 0));
  }

  /** Whether two descriptors share one open file description. */
  sameFile(pid: number, descriptor: number, otherPid: number, otherDescriptor: number): boolean {
    const what = `kcmp of descriptors ${descriptor} and ${otherDescriptor}`;
    return Number(this.call(what, 'kcmp', pid, otherPid, KCMP_FILE, descriptor, otherDescriptor)) === 0;
  }

  /**
   * Reads memory of another process with process_vm_readv, up to the first page that cannot be read. It pins the pages:
   * those that the process shares since a fork, it gets copies of.
   * @returns bytes read; 0 if there is nothing to read at `address`
   * @throws SystemCallError (ESRCH, EPERM)
   */
  readMemory(pid: number, address: bigint, into: Uint8Array): number {
    const words = BigUint64Array.of(address, BigInt(into.length));
    return this.readPieces(pid, new Uint32Array(words.buffer), 1, into);
  }

  /**
   * Reads several pieces of memory of another process with one process_vm_readv, one behind the other into `into`.
   * @param pieces iovecs, `count` of them: 64-bit address and length, each in two halves, low first
   * @returns bytes read, up to the first page that cannot be read
   * @throws SystemCallError (ESRCH, EPERM)
   */
  readPieces(pid: number, pieces: Uint32Array, count: number, into: Uint8Array): number {
    const local = this.#vector(into, into.length);
    const { value, errno } = this.tryCall(
      'process_vm_readv',
      pid,
      this.addressOf(bytesOf(local)),
      1,
      this.addressOf(bytesOf(pieces)),
      count,
      0,
    );
    if (errno === 'EFAULT' || errno === 'EIO') return 0;
    if (errno !== undefined) throw new SystemCallError(`process_vm_readv of process ${pid}`, errno, pid);
    return Number(value);
  }

  #ptrace(what: string, request: number, tid: number, address: Word, data: Word): Word {
    return this.call(`ptrace ${what} of thread ${tid}`, 'ptrace', request, tid, address, data);
  }

  #vector(bytes: Uint8Array, length: number): BigUint64Array {
    return BigUint64Array.of(this.addressOf(bytes), BigInt(length));
  }
}

function bytesOf(view: ArrayBufferView): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}

/** @param status as waitpid fills it in (include/uapi/linux/wait.h) */
export function decodeWaitStatus(status: number): WaitStatus {
  const low = status & 0x7f;
  if (low === 0) return { kind: 'exited', code: (status >> 8) & 0xff };
  if (low !== 0x7f) return { kind: 'killed', signal: low };
  return { kind: 'stopped', signal: (status >> 8) & 0xff, event: status >>> 16 };
}

let cached: Promise<Native> | undefined;

/**
 * The native calls of this machine, loaded once.
 * @throws UnsupportedError if there are none, saying why
 */
export function loadNative(): Promise<Native> {
  cached ??= loadSystemLibrary().then((library) => new Native(ownArchitecture(), library));
  return cached;
}
