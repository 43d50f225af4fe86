import type { LiveState, LiveThreadState } from '../../../target/index.ts';
import { damaged } from '../damage.ts';
import type { MessageFields } from '../images/messages.ts';
import { base64, words64 } from './numbers.ts';
import { xsaveArea } from './xsave-area.ts';

/** Register sets of a thread, null for one of 32 bits. */
export type ThreadRegisters = LiveThreadState['registers'];

/** Registers of a thread and what else CRIU keeps beside them. */
export interface ThreadInfo {
  readonly machine: LiveState['machine'];
  readonly registers: ThreadRegisters;
  readonly clearChildTid: bigint;
  /** The system call that it was stopped in; null if it ran its own code, or where that is not recorded. */
  readonly systemCall: number | null;
}

/** The order of struct user_regs_struct (arch/x86/include/asm/user_64.h), which is that of the fields. */
const X86_GENERAL = [
  ...['r15', 'r14', 'r13', 'r12', 'bp', 'bx', 'r11', 'r10', 'r9', 'r8', 'ax', 'cx', 'dx', 'si', 'di'],
  ...['orig_ax', 'ip', 'cs', 'flags', 'sp', 'ss', 'fs_base', 'gs_base', 'ds', 'es', 'fs', 'gs'],
] as const;
const EINTR = 4n;

/** Words of st_space and xmm_space, 32 bits each. */
const X87_WORDS = 32;
const SSE_WORDS = 64;
const FXSAVE_BYTES = 512;

const ARM_GENERAL = 31;
/** Halves of the 32 registers of 128 bits. */
const ARM_VECTOR_WORDS = 64;
/** struct user_fpsimd_state: the vectors, two control words, and eight bytes of nothing. */
const ARM_VECTOR_BYTES = ARM_VECTOR_WORDS * 8 + 16;
/** Thread pointer (include/uapi/linux/elf.h). */
const NT_ARM_TLS = 0x401;

/**
 * What an image CORE says of a thread's registers; undefined for a machine other than x86-64 and aarch64, and for a
 * process that had ended.
 * @throws IntegrityError
 */
export function threadInfoOf(core: MessageFields): ThreadInfo | undefined {
  const x86 = core.message('thread_info');
  if (x86 !== undefined) return x86Thread(x86);
  const arm = core.message('ti_aarch64');
  return arm === undefined ? undefined : armThread(arm);
}

function x86Thread(info: MessageFields): ThreadInfo {
  const general = requiredMessage(info, 'gpregs');
  const isCompat = general.optionalLabel('mode') === 'COMPAT';
  return {
    machine: 'x86_64',
    registers: isCompat ? null : x86Registers(general, requiredMessage(info, 'fpregs')),
    clearChildTid: info.big('clear_tid_addr'),
    systemCall: x86SystemCall(general),
  };
}

function x86Registers(general: MessageFields, floating: MessageFields): ThreadRegisters {
  const legacy = legacyArea(floating);
  const xsave = floating.message('xsave');
  return {
    general: base64(words64(X86_GENERAL.map((name) => general.big(name)))),
    floatingPoint: base64(legacy),
    extended: xsave === undefined ? null : base64(xsaveArea(legacy, xsave)),
    further: [],
  };
}

/** The image of FXSAVE: NT_PRFPREG, and the beginning of NT_X86_XSTATE. */
function legacyArea(floating: MessageFields): Uint8Array {
  const area = new Uint8Array(FXSAVE_BYTES);
  const view = new DataView(area.buffer);
  for (const [index, name] of ['cwd', 'swd', 'twd', 'fop'].entries()) {
    view.setUint16(index * 2, floating.number(name), true);
  }
  view.setBigUint64(8, floating.big('rip'), true);
  view.setBigUint64(16, floating.big('rdp'), true);
  view.setUint32(24, floating.number('mxcsr'), true);
  view.setUint32(28, floating.number('mxcsr_mask'), true);
  const words = [...exactly(floating, 'st_space', X87_WORDS), ...exactly(floating, 'xmm_space', SSE_WORDS)];
  for (const [index, word] of words.entries()) view.setUint32(32 + index * 4, word, true);
  return area;
}

/**
 * CRIU stops a thread in a system call and rewinds it (compel/arch/x86/src/lib/infect.c, compel_get_task_regs): the
 * number of the call is then in ax again, or EINTR for a call that cannot be begun anew.
 */
function x86SystemCall(general: MessageFields): number | null {
  const number = BigInt.asIntN(64, general.big('orig_ax'));
  const result = BigInt.asIntN(64, general.big('ax'));
  return number >= 0n && (result === number || result === -EINTR) ? Number(number) : null;
}

function armThread(info: MessageFields): ThreadInfo {
  const general = requiredMessage(info, 'gpregs');
  const vectors = requiredMessage(info, 'fpsimd');
  const numbered = general.bigs('regs');
  if (numbered.length !== ARM_GENERAL) throw damaged(general, `it has ${numbered.length} registers, not 31`);
  const special = ['sp', 'pc', 'pstate'].map((name) => general.big(name));
  return {
    machine: 'aarch64',
    registers: {
      general: base64(words64([...numbered, ...special])),
      floatingPoint: base64(armVectors(vectors)),
      extended: null,
      further: [{ type: NT_ARM_TLS, content: base64(words64([info.big('tls')])) }],
    },
    clearChildTid: info.big('clear_tid_addr'),
    // x0 is the first argument again, and nothing tells whether x8 is still the number of a call.
    systemCall: null,
  };
}

/** struct user_fpsimd_state: NT_PRFPREG. */
function armVectors(vectors: MessageFields): Uint8Array {
  const values = vectors.bigs('vregs');
  if (values.length !== ARM_VECTOR_WORDS) {
    throw damaged(vectors, `it has ${values.length} halves of vector registers, not ${ARM_VECTOR_WORDS}`);
  }
  const area = new Uint8Array(ARM_VECTOR_BYTES);
  area.set(words64(values));
  const view = new DataView(area.buffer);
  view.setUint32(ARM_VECTOR_WORDS * 8, vectors.number('fpsr'), true);
  view.setUint32(ARM_VECTOR_WORDS * 8 + 4, vectors.number('fpcr'), true);
  return area;
}

function exactly(message: MessageFields, field: string, count: number): number[] {
  const values = message.numbers(field);
  if (values.length === count) return values;
  throw damaged(message, `its ${field} has ${values.length} words, not ${count}`);
}

function requiredMessage(message: MessageFields, field: string): MessageFields {
  const found = message.message(field);
  if (found === undefined) throw damaged(message, `its ${field} is missing`);
  return found;
}
