import { UnsupportedError } from '../../core/index.ts';
import { type MapsEntry, PAGEMAP_HIGH } from '../../procfs/index.ts';

const PAGE_BYTES = 4096;
/** One page for the signal frame (three with AMX state), the rest for arguments. */
export const FRAME_BYTES = 4 * PAGE_BYTES;
export const ARGUMENT_BYTES = 4 * PAGE_BYTES;
const SCRATCH_PAGES = (FRAME_BYTES + ARGUMENT_BYTES) / PAGE_BYTES;
/** Bytes below the stack pointer that belong to the running function (System V ABI for x86-64; none on aarch64). */
const RED_ZONE_BYTES = 128;

/** What the search must know of a process. */
export interface ScratchSearch {
  readonly mappings: readonly MapsEntry[];
  /** Of every thread. */
  readonly stackPointers: readonly bigint[];
  /** pagemap words (two halves each) of pages. */
  readonly readPagemap: (startPage: number, pageCount: number) => Uint32Array;
}

/**
 * Finds memory of the process that holds nothing: the far end of the main stack. It was never used if its pages do not
 * exist; if they do, they are dead where every stack pointer in the mapping is above them. A program that is let go
 * half-way, because ckpt was killed, does not notice what stands there. Where a thread stands on a frame of a work area
 * and cannot return, for its process was stopped when ckpt was killed in a rewind, that scratch memory serves again.
 * @throws UnsupportedError if the process has no such memory
 */
export function findScratch({ mappings, stackPointers, readPagemap }: ScratchSearch): bigint {
  const abandoned = abandonedScratch(mappings, stackPointers);
  if (abandoned !== undefined) return abandoned;
  const stack = mappings.find(({ pathname, write }) => pathname === '[stack]' && write);
  if (stack === undefined || stack.endPage - stack.startPage < SCRATCH_PAGES) throw noScratch();
  const end = stack.startPage + SCRATCH_PAGES;
  const inside = stackPointers.filter(
    (pointer) => pointer >= stack.startPage * PAGE_BYTES && pointer < stack.endPage * PAGE_BYTES,
  );
  const isBelowAll = inside.every((pointer) => pointer - BigInt(RED_ZONE_BYTES) >= end * PAGE_BYTES);
  const isUsed = readPagemap(stack.startPage, SCRATCH_PAGES).some(
    (half, index) => index % 2 === 1 && (half & (PAGEMAP_HIGH.present | PAGEMAP_HIGH.swapped)) !== 0,
  );
  const isStranded = stackPointers.some((pointer) => !isMapped(mappings, pointer));
  if (isBelowAll && (!isUsed || inside.length > 0 || isStranded)) {
    return BigInt(stack.startPage) * BigInt(PAGE_BYTES);
  }
  throw noScratch();
}

/**
 * Whether there is anything where a stack pointer points. A thread whose stack is gone stood on a work area that has
 * just been unmapped when ckpt was killed; it can do nothing but be rewound, whatever the main stack holds.
 */
function isMapped(mappings: readonly MapsEntry[], pointer: bigint): boolean {
  const page = Number(pointer / BigInt(PAGE_BYTES));
  return mappings.some(({ startPage, endPage }) => startPage <= page && page < endPage);
}

/** Scratch memory on which a thread stands in a work area that a killed ckpt has left. */
function abandonedScratch(
  mappings: readonly MapsEntry[],
  stackPointers: readonly bigint[],
): bigint | undefined {
  for (const pointer of stackPointers.filter(isFramePointer)) {
    const page = Number(pointer / BigInt(PAGE_BYTES));
    const index = mappings.findIndex(({ startPage }) => startPage === page);
    const mapping = mappings[index];
    if (mapping === undefined || !mapping.write || mapping.inode !== 0) continue;
    if (isWorkArea(mappings[index - 1], mapping)) return BigInt(page) * BigInt(PAGE_BYTES);
  }
  return undefined;
}

/** A page of code and scratch memory behind it, both without a file: see rewrite/work-area.ts. */
function isWorkArea(code: MapsEntry | undefined, scratch: MapsEntry): boolean {
  return (
    code !== undefined &&
    code.endPage === scratch.startPage &&
    code.endPage - code.startPage === 1 &&
    code.execute &&
    code.inode === 0 &&
    scratch.endPage - scratch.startPage === SCRATCH_PAGES
  );
}

/** Whether a stack pointer may stand on a frame at the beginning of scratch memory: before its return, or behind it. */
export function isFramePointer(pointer: bigint): boolean {
  const offset = pointer % BigInt(PAGE_BYTES);
  return offset === 0n || offset === 8n;
}

function noScratch(): UnsupportedError {
  return new UnsupportedError(
    'the process has no unused memory on its main stack for calls made on its behalf',
    {
      hint: 'dump it with --tracker compare, which needs no calls inside the target',
    },
  );
}
