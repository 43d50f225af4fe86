import { type Native, REGISTER_SET, type RseqConfiguration } from './native/calls.ts';
import { interruptedCall } from './native/restart.ts';
import { hasErrno, type Tracee } from './native/tracee.ts';

const WORD_BYTES = 8;
/** NT_ARM_SVE (include/uapi/linux/elf.h). */
const ARM_SVE = 0x405;

/** What ptrace, and system calls about it, tell of a stopped thread. */
export interface TracedThread {
  /** With which it goes on: an interrupted system call starts again. Undefined for a thread of 32-bit code. */
  readonly registers: TracedRegisters | undefined;
  readonly signalMask: bigint;
  /** siginfo of its pending signals. */
  readonly pending: readonly Uint8Array[];
  readonly rseq: RseqConfiguration | undefined;
  readonly robustList: { readonly head: bigint; readonly lengthBytes: number } | undefined;
}

interface TracedRegisters {
  readonly general: Uint8Array;
  readonly floatingPoint: Uint8Array;
  readonly extended: Uint8Array | undefined;
  readonly further: readonly { readonly type: number; readonly content: Uint8Array }[];
  /** The system call that it was stopped in. */
  readonly systemCall: number | undefined;
}

/** Looks at a thread from outside. No call may be under way inside its process. @throws SystemCallError */
export function readTracedThread(native: Native, tracee: Tracee): TracedThread {
  const { tid } = tracee;
  return {
    registers: readRegisters(native, tracee),
    signalMask: tracee.signalMask(),
    pending: native.pendingSignals(tid, false),
    rseq: native.rseqConfiguration(tid),
    robustList: readRobustList(native, tid),
  };
}

function readRegisters(native: Native, tracee: Tracee): TracedRegisters | undefined {
  const { architecture } = native;
  const wholeBytes = architecture.registerNames.length * WORD_BYTES;
  if (tracee.getRegisterSet(REGISTER_SET.general).length < wholeBytes) return undefined;
  const registers = tracee.registers();
  return {
    general: registers.bytes.subarray(0, wholeBytes),
    floatingPoint: tracee.getRegisterSet(REGISTER_SET.floatingPoint),
    extended: optionalSet(tracee, architecture.name === 'x86_64' ? REGISTER_SET.x86Extended : ARM_SVE),
    further: architecture.name === 'aarch64' ? readFurther(tracee) : [],
    systemCall: interruptedCall(registers),
  };
}

/** The sets of aarch64 that its general registers lack, as far as this kernel and processor have them. */
function readFurther(tracee: Tracee): TracedRegisters['further'] {
  return [REGISTER_SET.armThreadPointer, REGISTER_SET.armPointerMasks].flatMap((type) => {
    const content = optionalSet(tracee, type);
    return content === undefined ? [] : [{ type, content }];
  });
}

/** A register set; undefined where the kernel or the processor has no such thing. */
function optionalSet(tracee: Tracee, type: number): Uint8Array | undefined {
  try {
    return tracee.getRegisterSet(type);
  } catch (error) {
    if (hasErrno(error, 'EINVAL') || hasErrno(error, 'ENODEV')) return undefined;
    throw error;
  }
}

function readRobustList(native: Native, tid: number): TracedThread['robustList'] {
  const words = new BigUint64Array(2);
  const address = native.addressOf(new Uint8Array(words.buffer));
  const { errno } = native.tryCall('get_robust_list', tid, address, address + 8n);
  if (errno !== undefined || words[0] === 0n) return undefined;
  return { head: words[0]!, lengthBytes: Number(words[1]) };
}
