import type { Architecture } from './architecture.ts';
import type { Registers } from './registers.ts';

/** The state of a thread that rt_sigreturn brings back. */
export interface FrameState {
  readonly registers: Registers;
  /** NT_X86_XSTATE or NT_PRFPREG. */
  readonly vector: Uint8Array;
  readonly signalMask: bigint;
}

/** A signal frame, ready to be put at `address`. */
export interface SignalFrame {
  readonly bytes: Uint8Array;
  /** Stack pointer for the gadget that returns into it. */
  readonly stackPointer: bigint;
}

/** No valid flags of an alternate stack: rt_sigreturn then leaves the one of the thread as it is. */
const NO_ALTERNATE_STACK = 0x100;

/**
 * Builds what the kernel puts on the stack of a thread that is to run a signal handler. A thread that "returns" from
 * it has all of `state` back, without anybody's help.
 *
 * @param address where the frame will be; a multiple of 64
 * @param returnCode address of the instructions that call rt_sigreturn
 */
export function buildSignalFrame(
  architecture: Architecture,
  state: FrameState,
  address: bigint,
  returnCode: bigint,
): SignalFrame {
  return architecture.name === 'x86_64' ? x86Frame(state, address, returnCode) : aarch64Frame(state, address);
}

/** struct rt_sigframe of arch/x86/include/asm/sigframe.h: return address, ucontext (304 bytes), siginfo. */
const X86 = { context: 8, machine: 48, mask: 304, vector: 448 } as const;
/** Order of general registers in struct sigcontext_64 (arch/x86/include/uapi/asm/sigcontext.h). */
const X86_ORDER = [
  ...['r8', 'r9', 'r10', 'r11', 'r12', 'r13', 'r14', 'r15', 'rdi', 'rsi', 'rbp', 'rbx', 'rdx', 'rax', 'rcx'],
  ...['rsp', 'rip', 'eflags'],
];
const FP_XSTATE_MAGIC1 = 0x46505853;
const FP_XSTATE_MAGIC2 = 0x46505845;
/** Where the software-reserved bytes are in the legacy area of an xsave image. */
const SOFTWARE_BYTES = 464;
const XSTATE_HEADER = 512;
/** UC_FP_XSTATE | UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS */
const X86_CONTEXT_FLAGS = 7n;
const AMX_TILE_DATA = 1n << 18n;
/** Where the tile data of AMX begins: threads that do not use it have no room for it. */
const AMX_OFFSET = 2816;

function x86Frame({ registers, vector, signalMask }: FrameState, address: bigint, returnCode: bigint) {
  const image = x86VectorImage(vector);
  const bytes = new Uint8Array(X86.vector + image.length);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, returnCode, true);
  view.setBigUint64(X86.context, X86_CONTEXT_FLAGS, true);
  view.setUint32(X86.context + 24, NO_ALTERNATE_STACK, true);
  X86_ORDER.forEach((name, index) => {
    view.setBigUint64(X86.machine + index * 8, registers.get(name), true);
  });
  const segments = X86.machine + X86_ORDER.length * 8;
  view.setUint16(segments, Number(registers.get('cs')), true);
  view.setUint16(segments + 6, Number(registers.get('ss')), true);
  view.setBigUint64(segments + 40, address + BigInt(X86.vector), true);
  view.setBigUint64(X86.mask, signalMask, true);
  bytes.set(image, X86.vector);
  return { bytes, stackPointer: address };
}

/** The xsave image with the words that make rt_sigreturn believe in it (arch/x86/kernel/fpu/signal.c). */
function x86VectorImage(vector: Uint8Array): Uint8Array {
  const source = new DataView(vector.buffer, vector.byteOffset, vector.byteLength);
  const features = source.getBigUint64(SOFTWARE_BYTES, true);
  const inUse = source.getBigUint64(XSTATE_HEADER, true);
  const hasTiles = (inUse & AMX_TILE_DATA) !== 0n;
  const size = hasTiles ? vector.length : Math.min(vector.length, AMX_OFFSET);
  const image = new Uint8Array(size + 4);
  image.set(vector.subarray(0, size));
  const view = new DataView(image.buffer);
  view.setUint32(SOFTWARE_BYTES, FP_XSTATE_MAGIC1, true);
  view.setUint32(SOFTWARE_BYTES + 4, size + 4, true);
  view.setBigUint64(SOFTWARE_BYTES + 8, hasTiles ? features : features & ~AMX_TILE_DATA, true);
  view.setUint32(SOFTWARE_BYTES + 16, size, true);
  view.setUint32(size, FP_XSTATE_MAGIC2, true);
  return image;
}

/**
 * struct rt_sigframe of arch/arm64/kernel/signal.c: siginfo (128 bytes), ucontext. In it flags, link, stack (24 bytes),
 * mask (8 of 128 bytes), then sigcontext at a multiple of 16.
 */
const ARM = { context: 128, mask: 128 + 40, machine: 128 + 176, records: 128 + 176 + 288 } as const;
const FPSIMD_MAGIC = 0x46508001;
/** Header, fpsr, fpcr and 32 registers of 16 bytes. */
const FPSIMD_BYTES = 528;

function aarch64Frame({ registers, vector, signalMask }: FrameState, address: bigint) {
  const bytes = new Uint8Array(ARM.records + 4096);
  const view = new DataView(bytes.buffer);
  view.setUint32(ARM.context + 24, NO_ALTERNATE_STACK, true);
  view.setBigUint64(ARM.mask, signalMask, true);
  // fault_address comes first; then x0 to x30, sp, pc and pstate as in user_pt_regs.
  bytes.set(registers.bytes.subarray(0, 34 * 8), ARM.machine + 8);
  view.setUint32(ARM.records, FPSIMD_MAGIC, true);
  view.setUint32(ARM.records + 4, FPSIMD_BYTES, true);
  // user_fpsimd_state has the registers first and the two control words behind them.
  bytes.set(vector.subarray(512, 520), ARM.records + 8);
  bytes.set(vector.subarray(0, 512), ARM.records + 16);
  return { bytes, stackPointer: address };
}
