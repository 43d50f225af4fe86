/** Where XCR0, the set of components that an area has room for, lies in it (arch/x86/include/uapi/asm/sigcontext.h). */
const XCR0_OFFSET = 464;
/** The legacy area, the header and the upper halves of the AVX registers: at the same place on every processor. */
const COMMON_BYTES = 832;

/**
 * Components behind the common part: bit in XCR0, length, and offset on Intel's processors (Intel SDM, volume 1,
 * chapter 13). Those of AMD lack the bound registers and move the others up.
 */
const COMPONENTS = [
  { bit: 3, bytes: 64, offset: 960 },
  { bit: 4, bytes: 64, offset: 1024 },
  { bit: 5, bytes: 64, offset: 1088 },
  { bit: 6, bytes: 512, offset: 1152 },
  { bit: 7, bytes: 1024, offset: 1664 },
  { bit: 9, bytes: 8, offset: 2688 },
] as const;

/**
 * The content of NT_X86_XSTATE for an area as PTRACE_GETREGSET gives it. Nothing in a core tells gdb where an area has
 * its components: it guesses by the length, and up to gdb 13 it knows Intel's offsets only. So components that follow
 * each other closely, as AMD has them, are moved to these; an area that is laid out otherwise is left as it is.
 */
export function xstateForDebuggers(area: Uint8Array): Uint8Array {
  if (area.length <= COMMON_BYTES) return area;
  const present = componentsOf(area);
  const packedBytes = present.reduce((total, { bytes }) => total + bytes, COMMON_BYTES);
  const last = present.at(-1);
  if (area.length !== packedBytes || last === undefined) return area;
  const spread = new Uint8Array(last.offset + last.bytes);
  spread.set(area.subarray(0, COMMON_BYTES));
  let from = COMMON_BYTES;
  for (const { bytes, offset } of present) {
    spread.set(area.subarray(from, from + bytes), offset);
    from += bytes;
  }
  return spread;
}

function componentsOf(area: Uint8Array) {
  const xcr0 = new DataView(area.buffer, area.byteOffset).getUint32(XCR0_OFFSET, true);
  return COMPONENTS.filter(({ bit }) => (xcr0 >>> bit) % 2 === 1);
}
