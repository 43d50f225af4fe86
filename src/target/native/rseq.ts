import type { RseqConfiguration } from './calls.ts';

/** Where struct rseq has the pointer to the critical section (include/uapi/linux/rseq.h). */
const CRITICAL_SECTION = 8;
const SECTION_BYTES = 32;

/**
 * A thread that is stopped in a restartable sequence will be sent to the abort address, since it has left its
 * processor. The kernel tells by the instruction pointer, so whoever lends the thread another one has to decide it in
 * the kernel's place.
 * @param read reads bytes of the process
 * @returns where the thread goes on; undefined if it is in no such sequence
 */
export function abortAddress(
  rseq: RseqConfiguration | undefined,
  instructionPointer: bigint,
  read: (address: bigint, length: number) => Uint8Array,
): bigint | undefined {
  if (rseq === undefined) return undefined;
  const section = viewOf(read(rseq.pointer + BigInt(CRITICAL_SECTION), 8)).getBigUint64(0, true);
  if (section === 0n) return undefined;
  // struct rseq_cs: version, flags (u32 each), start_ip, post_commit_offset, abort_ip
  const view = viewOf(read(section, SECTION_BYTES));
  const offset = instructionPointer - view.getBigUint64(8, true);
  const inside = offset >= 0n && offset < view.getBigUint64(16, true);
  return inside ? view.getBigUint64(24, true) : undefined;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
