import { PAGEMAP_HIGH, PAGEMAP_WORD_BYTES } from '../../procfs/index.ts';
import { ERRNO } from '../abi.ts';
import { type AddressSpace, USER_END_PAGE } from '../address-space.ts';
import { FRAME } from '../memory/frames.ts';
import { PTE, TABLE_ENTRIES } from '../pagetable/entry.ts';
import type { HugeEntry, LeafTable } from '../pagetable/tables.ts';
import { VM } from '../vma/flags.ts';
import type { Vma } from '../vma/vma.ts';
import { ioctlScan, type RawScanArgument, type ScanAnswer } from './scan.ts';

/**
 * Layouts of the 64-bit word. `modern` (4.2 and later). `switching` (3.11 to 4.1): bits 55-60 hold the page shift until
 * the first clear in the system, then bit 55 is soft-dirty. `pagemap2` (proposed in April 2013): a second file has bit
 * 55 = soft-dirty and bits 56-60 zero, while the first keeps the page shift for ever.
 */
export type PagemapLayout = 'modern' | 'switching' | 'pagemap2';

/** log2(4096) at bit 55, as the upper half of a word. */
const PAGE_SHIFT_HIGH = 12 << 23;
const FLAG_BITS_2013 =
  PAGEMAP_HIGH.present | PAGEMAP_HIGH.swapped | PAGEMAP_HIGH.file | PAGEMAP_HIGH.frameMask;
/** Type number of markers among swap entries (SWP_PTE_MARKER), and the bits of their kinds. */
const MARKER_TYPE = 31;
const MARKER_UFFD = 1;
const MARKER_GUARD = 4;

/** An open pagemap file: bound to the address space at open; reads nothing once that is gone. */
export class PagemapFile {
  readonly #space: AddressSpace | undefined;
  readonly #layout: PagemapLayout;
  readonly #second: boolean;
  readonly #scannable: boolean;

  /** `scannable`: this kernel has PAGEMAP_SCAN, even if there is nothing left to scan. */
  constructor(space: AddressSpace | undefined, layout: PagemapLayout, second: boolean, scannable: boolean) {
    this.#space = space;
    this.#scannable = scannable;
    this.#layout = layout;
    this.#second = second;
  }

  get space(): AddressSpace | undefined {
    return this.#space;
  }

  /** pread(2): bytes read, 0 at the end of the address space, or a negative errno. */
  read(offsetBytes: bigint, lengthBytes: number, into?: Uint8Array): number {
    const space = this.#space;
    if (space === undefined || space.dead) return 0;
    const unit = BigInt(PAGEMAP_WORD_BYTES);
    if (offsetBytes < 0n || offsetBytes % unit !== 0n || lengthBytes % PAGEMAP_WORD_BYTES !== 0) {
      return -ERRNO.EINVAL;
    }
    const first = offsetBytes / unit;
    if (first >= BigInt(USER_END_PAGE)) return 0;
    const start = Number(first);
    const count = Math.min(lengthBytes / PAGEMAP_WORD_BYTES, USER_END_PAGE - start);
    if (into !== undefined) {
      const words = new Uint32Array(count * 2);
      this.readWords(start, count, words);
      into.set(new Uint8Array(words.buffer), 0);
    }
    return count * PAGEMAP_WORD_BYTES;
  }

  /**
   * Words of `pageCount` pages from `startPage`, two halves each, low half first.
   * @returns pages read; fewer only at the end of the address space.
   */
  readWords(startPage: number, pageCount: number, words: Uint32Array): number {
    const space = this.#space;
    if (space === undefined || space.dead) return 0;
    const count = Math.max(0, Math.min(pageCount, USER_END_PAGE - startPage));
    words.fill(0, 0, count * 2);
    space.machine.ledger.charge('pagemapWord', count);
    const end = startPage + count;
    const { items } = space.vmas;
    for (let index = space.vmas.indexAbove(startPage); index < items.length; index++) {
      const vma = items[index]!;
      if (vma.start >= end) break;
      mappingWords(space, vma, Math.max(vma.start, startPage), Math.min(vma.end, end), words, startPage);
    }
    if (this.#layout !== 'modern') this.#toOldLayout(words, count);
    return count;
  }

  /** ioctl(PAGEMAP_SCAN) with the raw structure. */
  ioctlScan(argument: RawScanArgument): ScanAnswer {
    const space = this.#space;
    if (!this.#scannable) return { result: -ERRNO.ENOTTY, regions: [], walkEndPage: 0 };
    if (space === undefined || space.dead) return { result: -ERRNO.ESRCH, regions: [], walkEndPage: 0 };
    return ioctlScan(space, argument);
  }

  #toOldLayout(words: Uint32Array, count: number): void {
    const softDirty = this.#layout === 'pagemap2' ? this.#second : this.#space?.machine.softDirtySwitch;
    const kept = softDirty ? FLAG_BITS_2013 | PAGEMAP_HIGH.softDirty : FLAG_BITS_2013;
    const added = softDirty ? 0 : PAGE_SHIFT_HIGH;
    for (let index = 1; index < count * 2; index += 2) words[index] = (words[index]! & kept) | added;
  }
}

/** pagemap_pmd_range and friends for the part [start, end) of a mapping. */
function mappingWords(
  space: AddressSpace,
  vma: Vma,
  start: number,
  end: number,
  words: Uint32Array,
  originPage: number,
): void {
  const { softDirty } = space.machine;
  const whole = softDirty && vma.has(VM.softDirty) ? PAGEMAP_HIGH.softDirty : 0;
  if (whole !== 0) {
    for (let at = (start - originPage) * 2 + 1; at < (end - originPage) * 2; at += 2) words[at] = whole;
  }
  if (vma.has(VM.pfnMap)) return;
  const soft = softDirty && !vma.hugeTlb ? PAGEMAP_HIGH.softDirty : 0;
  space.tables.forEachBlock(
    Math.floor(start / TABLE_ENTRIES),
    Math.ceil(end / TABLE_ENTRIES),
    (block, found) => {
      const base = block * TABLE_ENTRIES;
      const from = Math.max(start, base) - base;
      const to = Math.min(end, base + TABLE_ENTRIES) - base;
      const at = (base - originPage) * 2;
      if (found.huge) hugeWords(space, found, from, to, whole, soft, words, at);
      else if (vma.hugeTlb) hugeTlbMarkerWords(found, from, to, whole, words, at);
      else if (found.used > 0) tableWords(space, found, from, to, whole, soft, words, at);
    },
  );
}

/** The hot loop: one table of entries. `at` is where the word of its entry 0 would be. */
function tableWords(
  space: AddressSpace,
  table: LeafTable,
  from: number,
  to: number,
  whole: number,
  soft: number,
  words: Uint32Array,
  at: number,
): void {
  const { frames } = space.machine;
  const frameFlags = frames.flags;
  const mapCount = frames.mapCount;
  const { flags, values } = table;
  for (let index = from; index < to; index++) {
    const entry = flags[index]!;
    if (entry === 0) continue;
    let high =
      whole | (entry & PTE.soft ? soft : 0) | (entry & PTE.uffd ? PAGEMAP_HIGH.uffdWriteProtected : 0);
    const value = values[index]!;
    if (entry & PTE.present) {
      high |= PAGEMAP_HIGH.present;
      if (!(entry & PTE.special)) {
        const state = frameFlags[value]!;
        if (!(state & FRAME.anonymous)) high |= PAGEMAP_HIGH.file;
        const mappings = state & FRAME.compound ? frames.mappings(value) : mapCount[value]!;
        if (mappings === 1) high |= PAGEMAP_HIGH.exclusive;
      }
      words[at + index * 2] = value;
    } else {
      high |= PAGEMAP_HIGH.swapped | swapHigh(space, entry, value);
      words[at + index * 2] = swapLow(entry, value);
    }
    words[at + index * 2 + 1] = high;
  }
}

/** pagemap_hugetlb_range knows of write protection in a marker, but does not call the marker swapped. */
function hugeTlbMarkerWords(
  table: LeafTable,
  from: number,
  to: number,
  whole: number,
  words: Uint32Array,
  at: number,
): void {
  for (let index = from; index < to; index++) {
    if (table.flags[index]! & PTE.uffd) {
      words[at + index * 2 + 1] = whole | PAGEMAP_HIGH.uffdWriteProtected;
    }
  }
}

function swapLow(entry: number, slot: number): number {
  if (!(entry & PTE.marker)) return (slot << 5) >>> 0;
  return MARKER_TYPE | (((entry & PTE.uffd ? MARKER_UFFD : 0) | (entry & PTE.guard ? MARKER_GUARD : 0)) << 5);
}

function swapHigh(space: AddressSpace, entry: number, slot: number): number {
  if (entry & PTE.marker) {
    return entry & PTE.guard && space.machine.features.guardReported ? PAGEMAP_HIGH.guard : 0;
  }
  return slot >>> 27;
}

function hugeWords(
  space: AddressSpace,
  entry: HugeEntry,
  from: number,
  to: number,
  whole: number,
  soft: number,
  words: Uint32Array,
  at: number,
): void {
  const { frames } = space.machine;
  const common =
    PAGEMAP_HIGH.present |
    whole |
    (entry.flags & PTE.soft ? soft : 0) |
    (entry.flags & PTE.uffd ? PAGEMAP_HIGH.uffdWriteProtected : 0);
  const perPage =
    space.machine.features.exclusivePerHugeSubpage || frames.flags[entry.frame]! & FRAME.hugeTlb;
  for (let index = from; index < to; index++) {
    const frame = entry.frame + index;
    let high = common;
    // The huge zero page shows up as a file page: it is not anonymous (pagemap_pmd_range).
    if (!(frames.flags[frame]! & FRAME.anonymous)) high |= PAGEMAP_HIGH.file;
    if (!(entry.flags & PTE.special) && frames.mappings(perPage ? frame : entry.frame) === 1) {
      high |= PAGEMAP_HIGH.exclusive;
    }
    words[at + index * 2] = frame;
    words[at + index * 2 + 1] = high;
  }
}
