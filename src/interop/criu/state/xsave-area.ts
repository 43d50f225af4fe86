import { damaged } from '../damage.ts';
import type { MessageFields } from '../images/messages.ts';

/** Where XCR0, the set of components of the area, lies in it (arch/x86/include/uapi/asm/sigcontext.h). */
const XCR0_OFFSET = 464;
/** Where the header begins, whose first word says which components are not in their initial state. */
const HEADER_OFFSET = 512;
const HEADER_BYTES = 64;
/** Bits of x87 and SSE, which every area has. */
const LEGACY_COMPONENTS = 0b11n;

/**
 * Components as CRIU has them, and where they lie in an area that is not compacted: Intel's layout, the one that
 * debuggers know (Intel SDM, volume 1, chapter 13).
 */
const COMPONENTS = [
  { field: 'ymmh_space', bit: 2n, words: 64, wordBytes: 4, offset: 576 },
  { field: 'bndreg_state', bit: 3n, words: 8, wordBytes: 8, offset: 960 },
  { field: 'bndcsr_state', bit: 4n, words: 8, wordBytes: 8, offset: 1024 },
  { field: 'opmask_reg', bit: 5n, words: 8, wordBytes: 8, offset: 1088 },
  { field: 'zmm_upper', bit: 6n, words: 64, wordBytes: 8, offset: 1152 },
  { field: 'hi16_zmm', bit: 7n, words: 128, wordBytes: 8, offset: 1664 },
  { field: 'pkru', bit: 9n, words: 2, wordBytes: 4, offset: 2688 },
] as const;

/**
 * The content of NT_X86_XSTATE. CRIU records a component exactly if the processor has it (criu/arch/x86/crtools.c,
 * save_task_regs), so that those that are there make up XCR0.
 * @param legacy the image of FXSAVE, with which the area begins
 * @throws IntegrityError for a component of another length
 */
export function xsaveArea(legacy: Uint8Array, xsave: MessageFields): Uint8Array {
  const present = COMPONENTS.map((component) => ({
    ...component,
    values: xsave.bigs(component.field),
  })).filter(({ values }) => values.length > 0);
  const end = present.reduce(
    (furthest, { offset, words, wordBytes }) => Math.max(furthest, offset + words * wordBytes),
    HEADER_OFFSET + HEADER_BYTES,
  );
  const area = new Uint8Array(end);
  area.set(legacy);
  const view = new DataView(area.buffer);
  const components = present.reduce((set, { bit }) => set | (1n << bit), LEGACY_COMPONENTS);
  view.setBigUint64(XCR0_OFFSET, components, true);
  view.setBigUint64(HEADER_OFFSET, xsave.big('xstate_bv'), true);
  for (const { field, words, wordBytes, offset, values } of present) {
    if (values.length !== words)
      throw damaged(xsave, `its ${field} has ${values.length} words, not ${words}`);
    for (const [index, value] of values.entries()) {
      if (wordBytes === 4) view.setUint32(offset + index * 4, Number(value), true);
      else view.setBigUint64(offset + index * 8, value, true);
    }
  }
  return area;
}
