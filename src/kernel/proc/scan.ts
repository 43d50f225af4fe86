import {
  type PagemapScanRegion,
  type PagemapScanRequest,
  SCAN_CATEGORY,
  SCAN_FLAG,
} from '../../procfs/index.ts';
import { ERRNO, UFFD_FEATURE } from '../abi.ts';
import { type AddressSpace, USER_END_PAGE } from '../address-space.ts';
import { FRAME } from '../memory/frames.ts';
import { PTE, TABLE_ENTRIES } from '../pagetable/entry.ts';
import { changeProtection } from '../pagetable/protect.ts';
import { type Block, type HugeEntry, type LeafTable, SUMMARY } from '../pagetable/tables.ts';
import { splitHugeEntry } from '../pagetable/unmap.ts';
import { VM } from '../vma/flags.ts';
import type { Vma } from '../vma/vma.ts';
import { ScanOutput } from './scan-output.ts';

/** What a scan found: `result` is the number of regions, or a negative errno. */
export interface ScanAnswer {
  readonly result: number;
  readonly regions: readonly PagemapScanRegion[];
  readonly walkEndPage: number;
}

/** struct pm_scan_arg with addresses in bytes; `vectorLength` 0 means a null vector. */
export interface RawScanArgument {
  readonly sizeBytes: number;
  readonly flags: bigint;
  readonly startBytes: bigint;
  readonly endBytes: bigint;
  readonly vectorLength: number;
  readonly maximumPages: number;
  readonly categoryInverted: bigint;
  readonly categoryMask: bigint;
  readonly categoryAnyOfMask: bigint;
  readonly returnMask: bigint;
}

const ARGUMENT_BYTES = 96;
const ALL_FLAGS = SCAN_FLAG.writeProtectMatching | SCAN_FLAG.checkAsynchronous;

const refused = (error: number): ScanAnswer => ({ result: -error, regions: [], walkEndPage: 0 });

/** ioctl(PAGEMAP_SCAN) with the checks of pagemap_scan_get_args, in the kernel's order. */
export function ioctlScan(space: AddressSpace, argument: RawScanArgument): ScanAnswer {
  const { features } = space.machine;
  if (!features.pagemapScan) return refused(ERRNO.ENOTTY);
  const known = BigInt(features.guardReported ? 0x1ff : 0xff);
  const categories =
    argument.categoryInverted | argument.categoryMask | argument.categoryAnyOfMask | argument.returnMask;
  if (argument.sizeBytes !== ARGUMENT_BYTES || (argument.flags & ~BigInt(ALL_FLAGS)) !== 0n) {
    return refused(ERRNO.EINVAL);
  }
  if ((categories & ~known) !== 0n || argument.startBytes % 4096n !== 0n) return refused(ERRNO.EINVAL);
  const limit = BigInt(USER_END_PAGE) * 4096n;
  if (argument.endBytes < argument.startBytes || argument.endBytes > limit) return refused(ERRNO.EFAULT);
  return scanPages(space, {
    startPage: Number(argument.startBytes / 4096n),
    endPage: Number((argument.endBytes + 4095n) / 4096n),
    flags: Number(argument.flags),
    maximumRegions: argument.vectorLength,
    maximumPages: argument.maximumPages,
    categoryInverted: Number(argument.categoryInverted),
    categoryMask: Number(argument.categoryMask),
    categoryAnyOfMask: Number(argument.categoryAnyOfMask),
    returnMask: Number(argument.returnMask),
  });
}

/** do_pagemap_scan for a request that is well formed. */
export function scanPages(space: AddressSpace, request: PagemapScanRequest): ScanAnswer {
  const { ledger } = space.machine;
  ledger.charge('scanCall');
  const scan = new Scan(space, request);
  const { items } = space.vmas;
  for (let index = space.vmas.indexAbove(request.startPage); index < items.length; index++) {
    const vma = items[index]!;
    if (vma.start >= request.endPage) break;
    const failed = scan.mapping(vma);
    if (failed < 0) return refused(-failed);
    if (scan.output.full) break;
  }
  const { regions, walkEndPage } = scan.output.finish(request.endPage);
  ledger.charge('scanRegion', regions.length);
  return { result: regions.length, regions, walkEndPage };
}

/** One walk over the mappings of an address space. */
class Scan {
  readonly output: ScanOutput;
  readonly #space: AddressSpace;
  readonly #request: PagemapScanRequest;
  readonly #protects: boolean;
  /** Categories of every page of the current mapping. */
  #common = 0;
  /** Categories of the stretches of it that have no page table. */
  #holes = 0;

  constructor(space: AddressSpace, request: PagemapScanRequest) {
    this.#space = space;
    this.#request = request;
    this.#protects = (request.flags & SCAN_FLAG.writeProtectMatching) !== 0;
    this.output = new ScanOutput(request);
  }

  /** pagemap_scan_test_walk and the walk below it: 0 or a negative errno. */
  mapping(vma: Vma): number {
    const request = this.#request;
    const allowed =
      vma.has(VM.uffdWp) && vma.uffd !== null && (vma.uffd.features & UFFD_FEATURE.writeProtectAsync) !== 0;
    if (!allowed) {
      if (request.flags & SCAN_FLAG.checkAsynchronous) return -ERRNO.EPERM;
      if (this.#protects) return 0;
    }
    if (vma.has(VM.pfnMap)) return 0;
    const softDirty = this.#space.machine.softDirty && vma.has(VM.softDirty);
    this.#common =
      (allowed ? SCAN_CATEGORY.writeProtectAllowed : 0) | (softDirty ? SCAN_CATEGORY.softDirty : 0);
    const written = this.#space.machine.features.scanEmptySlotWritten && vma.has(VM.uffdWp);
    this.#holes = this.#common | (written ? SCAN_CATEGORY.written : 0);
    const required = request.categoryMask & SCAN_CATEGORY.writeProtectAllowed;
    if (((this.#common ^ request.categoryInverted) & required) !== required) return 0;
    this.#walk(vma, Math.max(vma.start, request.startPage), Math.min(vma.end, request.endPage));
    return 0;
  }

  #walk(vma: Vma, start: number, end: number): void {
    const first = Math.floor(start / TABLE_ENTRIES);
    const last = Math.ceil(end / TABLE_ENTRIES);
    const holesMatter = this.#matches(this.#holes) || (this.#protects && this.output.silent);
    if (!holesMatter) {
      this.#space.tables.forEachSummary(first, last, this.#neededSummary(), (block, found) => {
        if (!this.output.full) this.#block(vma, block, found, start, end);
      });
      return;
    }
    let at = start;
    this.#space.tables.forEachBlock(first, last, (block, found) => {
      if (this.output.full) return;
      this.#hole(vma, at, block * TABLE_ENTRIES);
      if (this.output.full) return;
      this.#block(vma, block, found, start, end);
      at = (block + 1) * TABLE_ENTRIES;
    });
    if (!this.output.full) this.#hole(vma, at, end);
  }

  /** Summary bits without which a table cannot hold a match. */
  #neededSummary(): number {
    const request = this.#request;
    if (this.output.silent) return 0;
    const wanted = request.categoryMask & ~request.categoryInverted;
    let needed = 0;
    if (wanted & SCAN_CATEGORY.softDirty && !(this.#common & SCAN_CATEGORY.softDirty)) needed |= SUMMARY.soft;
    if (wanted & SCAN_CATEGORY.written) {
      needed |= this.#space.machine.features.scanEmptySlotWritten ? SUMMARY.unprotected : SUMMARY.written;
    }
    return needed;
  }

  /** pagemap_scan_pte_hole: a stretch without page tables; where it could be write-protected, it counts as written. */
  #hole(vma: Vma, start: number, end: number): void {
    if (start >= end || !this.#matches(this.#holes)) {
      if (start < end && this.#protects && this.output.silent) this.#protectRange(vma, start, end);
      return;
    }
    const stop = this.output.add(start, end, this.#holes);
    if (this.#protects && stop > start) this.#protectRange(vma, start, stop);
  }

  #block(vma: Vma, block: number, found: Block, start: number, end: number): void {
    this.#space.machine.ledger.charge('scanTable');
    const base = block * TABLE_ENTRIES;
    const from = Math.max(start, base);
    const to = Math.min(end, base + TABLE_ENTRIES);
    let table = found;
    if (table.huge) {
      if (this.#huge(vma, table, from, to)) return;
      splitHugeEntry(this.#space, vma, block);
      const split = this.#space.tables.find(block);
      if (split === undefined || split.huge) return;
      table = split;
    }
    if (this.#protects && this.output.silent) this.#protectRange(vma, from, to);
    else this.#table(vma, table, from, to, base);
  }

  /** pagemap_scan_thp_entry; false if the entry has to be split because only a part of it is to be protected. */
  #huge(vma: Vma, entry: HugeEntry, from: number, to: number): boolean {
    const categories = this.#common | this.#hugeCategories(entry);
    const whole = to - from === TABLE_ENTRIES;
    const protect = this.#protects && (categories & SCAN_CATEGORY.written) !== 0;
    if (!this.output.silent && !this.#matches(categories)) return true;
    if (!protect) {
      this.output.add(from, to, categories);
      return true;
    }
    if (!whole || this.output.room(from, to, categories) < TABLE_ENTRIES) return false;
    this.output.add(from, to, categories);
    this.#protectRange(vma, from, to);
    return true;
  }

  /** The entries of one table. */
  #table(vma: Vma, table: LeafTable, from: number, to: number, base: number): void {
    const softOnly = (this.#neededSummary() & SUMMARY.soft) !== 0;
    const last = to - base;
    for (let index = from - base; index < last; index++) {
      if (softOnly) index = table.nextSoft(index, last);
      if (index === last) return;
      const categories = this.#common | this.#entryCategories(table, index);
      if (!this.#matches(categories)) continue;
      const page = base + index;
      const stop = this.output.add(page, page + 1, categories);
      if (stop === page) return;
      if (this.#protects && categories & SCAN_CATEGORY.written) this.#protectRange(vma, page, page + 1);
    }
  }

  /** pagemap_page_category. */
  #entryCategories(table: LeafTable, index: number): number {
    const flags = table.flags[index]!;
    if (flags === 0) return this.#space.machine.features.scanEmptySlotWritten ? SCAN_CATEGORY.written : 0;
    let categories = flags & PTE.uffd ? 0 : SCAN_CATEGORY.written;
    if (flags & PTE.soft && this.#space.machine.softDirty) categories |= SCAN_CATEGORY.softDirty;
    if (!(flags & PTE.present)) {
      return categories | SCAN_CATEGORY.swapped | (flags & PTE.guard ? this.#guardCategory() : 0);
    }
    categories |= SCAN_CATEGORY.present;
    if (flags & PTE.special) return categories | SCAN_CATEGORY.zeroFrame;
    const file = !(this.#space.machine.frames.flags[table.values[index]!]! & FRAME.anonymous);
    return categories | (file ? SCAN_CATEGORY.file : 0);
  }

  #guardCategory(): number {
    return this.#space.machine.features.guardReported ? SCAN_CATEGORY.guard : 0;
  }

  /** pagemap_thp_category and pagemap_hugetlb_category. */
  #hugeCategories(entry: HugeEntry): number {
    const { flags } = entry;
    let categories = SCAN_CATEGORY.huge | SCAN_CATEGORY.present;
    if (!(flags & PTE.uffd)) categories |= SCAN_CATEGORY.written;
    if (flags & PTE.soft && this.#space.machine.softDirty) categories |= SCAN_CATEGORY.softDirty;
    if (flags & PTE.special) return categories | SCAN_CATEGORY.zeroFrame;
    const file = !(this.#space.machine.frames.flags[entry.frame]! & FRAME.anonymous);
    return categories | (file ? SCAN_CATEGORY.file : 0);
  }

  #matches(categories: number): boolean {
    const { categoryInverted, categoryMask, categoryAnyOfMask } = this.#request;
    const seen = categories ^ categoryInverted;
    return (
      (seen & categoryMask) === categoryMask && (categoryAnyOfMask === 0 || (seen & categoryAnyOfMask) !== 0)
    );
  }

  #protectRange(vma: Vma, start: number, end: number): void {
    changeProtection(this.#space, vma, start, end, { uffd: 'protect' });
  }
}
