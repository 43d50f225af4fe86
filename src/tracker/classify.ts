import { PAGEMAP_HIGH } from '../procfs/index.ts';

/**
 * The inner loop over pagemap words. It works on the high halves as signed integers, which is what the engine
 * computes with; the low half is looked at only where a frame number decides.
 */

const PRESENT = PAGEMAP_HIGH.present | 0;
const SWAPPED = PAGEMAP_HIGH.swapped;
const EXISTS = PRESENT | SWAPPED;
const FILE = PAGEMAP_HIGH.file;
const GUARD = PAGEMAP_HIGH.guard;
const UFFD = PAGEMAP_HIGH.uffdWriteProtected;
const EXCLUSIVE = PAGEMAP_HIGH.exclusive;
const SOFT_DIRTY = PAGEMAP_HIGH.softDirty;
const FRAME = PAGEMAP_HIGH.frameMask;
/** Last of the 32 swap types: a marker in the page table, with no page behind it (include/linux/swap.h). */
const MARKER_TYPE = 31;

/** What a word says about its page. */
export const PAGE_STATE = { hole: 0, suspect: 1, clean: 2 } as const;

/** How to read the words of one piece of a private mapping. */
export interface WordReading {
  /** Pages with bit 61 still follow their file and are not kept. */
  readonly copiedOnly: boolean;
  /** Whether a clear bit 55 is believed. */
  readonly trusted: boolean;
  /** Frame of the shared page of zeros, or -1 if it is not known. */
  readonly zeroFrame: number;
}

/**
 * Classifies words `from`..`to` (counted in 64-bit words) and calls `run` for each stretch of equal state, holes left
 * out, with offsets into `words`.
 */
export function classifyWords(
  words: Int32Array,
  from: number,
  to: number,
  reading: WordReading,
  run: (state: number, from: number, to: number) => void,
): void {
  let state = 0;
  let start = from;
  let lastHigh = 0;
  for (let index = from; index < to; index++) {
    const high = words[index * 2 + 1]!;
    // Neighbours mostly carry the same flags; only shared and swapped pages need a look at the frame number.
    if (high === lastHigh && (high & EXCLUSIVE) !== 0) continue;
    lastHigh = high;
    const next = (high & EXISTS) === 0 ? PAGE_STATE.hole : stateOf(high, words[index * 2]!, reading);
    if (next === state) continue;
    if (state !== PAGE_STATE.hole) run(state, start, index);
    state = next;
    start = index;
  }
  if (state !== PAGE_STATE.hole) run(state, start, to);
}

/** Calls `run` for each stretch of pages that are present or swapped, whatever their other bits say. */
export function existingWords(
  words: Int32Array,
  from: number,
  to: number,
  run: (from: number, to: number) => void,
): void {
  let start = -1;
  for (let index = from; index < to; index++) {
    const high = words[index * 2 + 1]!;
    const exists = (high & EXISTS) !== 0 && (high & GUARD) === 0;
    if (exists === start >= 0) continue;
    if (exists) start = index;
    else {
      run(start, index);
      start = -1;
    }
  }
  if (start >= 0) run(start, to);
}

/** State of a word that is present or swapped. */
function stateOf(high: number, low: number, reading: WordReading): number {
  if ((high & GUARD) !== 0) return PAGE_STATE.hole;
  if ((high & FILE) !== 0) {
    if (reading.copiedOnly) return PAGE_STATE.hole;
    // In memory without a file only the huge page of zeros carries the file bit.
    return (high & EXCLUSIVE) === 0 ? PAGE_STATE.hole : PAGE_STATE.suspect;
  }
  const clean = reading.trusted && (high & SOFT_DIRTY) === 0 ? PAGE_STATE.clean : PAGE_STATE.suspect;
  if ((high & PRESENT) === 0) return isMarker(high, low) ? PAGE_STATE.suspect : clean;
  if ((high & EXCLUSIVE) !== 0) return clean;
  // Shared by fork, or the page of zeros: after MADV_DONTNEED and a load it stands, clean, where data was before.
  if (reading.zeroFrame < 0) return PAGE_STATE.suspect;
  if (!isFrame(high, low, reading.zeroFrame)) return clean;
  return reading.copiedOnly ? PAGE_STATE.suspect : PAGE_STATE.hole;
}

/** Markers of userfaultfd, and of guard pages before 6.15, may have replaced a page without a trace in bit 55. */
function isMarker(high: number, low: number): boolean {
  return (high & UFFD) !== 0 || (low & MARKER_TYPE) === MARKER_TYPE;
}

function isFrame(high: number, low: number, frame: number): boolean {
  return low >>> 0 === frame % 4294967296 && (high & FRAME) === Math.floor(frame / 4294967296);
}

/**
 * Finds a page whose place and frame prove later that this page table is still the same: present, private, not
 * replaced behind the program's back, preferably not written lately. Offsets as in `classifyWords`.
 * @returns offset of the word, or -1
 */
export function findSample(words: Int32Array, from: number, to: number, zeroFrame: number): number {
  let fallback = -1;
  for (let index = from; index < to; index++) {
    const high = words[index * 2 + 1]!;
    if ((high & PRESENT) === 0 || (high & FILE) !== 0) continue;
    // A frame mapped elsewhere too is as good, if it cannot be the page of zeros, which stands at many addresses.
    if ((high & EXCLUSIVE) === 0 && (zeroFrame < 0 || isFrame(high, words[index * 2]!, zeroFrame))) continue;
    if ((high & SOFT_DIRTY) === 0) return index;
    if (fallback < 0) fallback = index;
  }
  return fallback;
}

/** Whether the word is a present page on `frame`, clean since the last clear. */
export function isUntouchedSample(words: Int32Array, index: number, frame: number): boolean {
  const high = words[index * 2 + 1]!;
  return (high & (PRESENT | FILE | SOFT_DIRTY)) === PRESENT && isFrame(high, words[index * 2]!, frame);
}
