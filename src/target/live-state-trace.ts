import { type Native, REGISTER_SET, type RseqConfiguration } from './native/calls.ts';
import type { Registers } from './native/registers.ts';
import { interruptedCall } from './native/restart.ts';
import { hasErrno, type Tracee } from './native/tracee.ts';

const WORD_BYTES = 8;
/** svc #0 of aarch64. */
const SUPERVISOR_CALL = 0xd4000001;
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
    systemCall:
      architecture.name === 'x86_64'
        ? interruptedCall(registers)
        : callAhead(registers, (address, into) => native.readMemory(tracee.pid, address, into)),
  };
}

/**
 * The system call that a stopped thread of aarch64 makes as soon as it goes on. An interrupted call looks just like one
 * that was not made yet: before it shows the registers to a tracer, the kernel has put them back to the instruction and
 * its first argument (arch/arm64/kernel/signal.c, do_signal).
 * @param read reads memory of the process and returns the count of bytes read
 */
export function callAhead(
  registers: Registers,
  read: (address: bigint, into: Uint8Array) => number,
): number | undefined {
  const instruction = new Uint8Array(4);
  const length = read(registers.instructionPointer, instruction);
  const isCall = length === 4 && new DataView(instruction.buffer).getUint32(0, true) === SUPERVISOR_CALL;
  return isCall ? Number(registers.get('x8') & 0xffff_ffffn) : undefined;
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
