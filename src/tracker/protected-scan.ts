import { PAGEMAP_HIGH, type PagemapScanRegion, pagemapFrame, SCAN_CATEGORY } from '../procfs/index.ts';
import type { MappingDecision, PageRule, ProcessView } from '../target/index.ts';
import { BLOCK_PAGES } from './block-scan.ts';

/** Regions of one answer: 1.5 MiB of struct page_region. */
export const REGIONS_AT_ONCE = 65536;
/** Mappings that are not looked at but may lie inside one request, if they are smaller than this. */
const SKIPPED_PAGES = 512;

const { file, present, swapped, written, writeProtectAllowed, zeroFrame, softDirty, huge } = SCAN_CATEGORY;

/** What to ask for. Adjacent pages that differ in none of these are one region, so nothing more is asked for. */
const RETURN_MASK: Readonly<Record<WriteMark, number>> = {
  protection: writeProtectAllowed | written | swapped | zeroFrame,
  'soft-dirty': softDirty | swapped | zeroFrame | huge,
};

/** By which category the kernel tells that a page was written: by write protection, or by its soft-dirty bit. */
export type WriteMark = 'protection' | 'soft-dirty';

/** What a scan tells of a stretch of one private mapping. All its pages exist. */
export interface Stretch {
  readonly startPage: number;
  readonly endPage: number;
  /** In memory, not in swap. */
  readonly inMemory: boolean;
  /** The mapping is registered for asynchronous write protection, by whomever. */
  readonly allowed: boolean;
  /** Its pages carry the mark of protection: set by us if the mapping is registered by us, else a left-over. */
  readonly marked: boolean;
  /** Not a single page of it has the mark of being written. */
  readonly untouched: boolean;
}

type Visit = (decision: MappingDecision, stretch: Stretch) => void;

/**
 * Finds the private pages of mappings with PAGEMAP_SCAN and calls `visit` for each stretch of equal pages, in address
 * order. What is a hole to a checkpoint is left out: pages of zeros in anonymous memory, pages that still follow their
 * file, markers.
 * @param decisions of private mappings ('existing' or 'copied'), in address order
 * @returns pages that were reported
 */
export function scanPrivate(
  process: ProcessView,
  decisions: readonly MappingDecision[],
  mark: WriteMark,
  visit: Visit,
): number {
  const returnMask = RETURN_MASK[mark];
  let index = 0;
  let pages = 0;
  for (const group of groupsOf(decisions)) {
    for (const region of regionsOf(process, group, returnMask)) {
      while (decisions[index]!.vma.endPage <= region.startPage) {
        if (++index === decisions.length) return pages;
      }
      for (let at = index; at < decisions.length; at++) {
        const decision = decisions[at]!;
        const from = Math.max(region.startPage, decision.vma.startPage);
        const to = Math.min(region.endPage, decision.vma.endPage);
        if (decision.vma.startPage >= region.endPage) break;
        pages += to - from;
        const { categories } = region;
        visitRegion(process, decision, { startPage: from, endPage: to, categories }, mark, visit);
      }
    }
  }
  return pages;
}

/** What is asked for at once. */
interface Group {
  readonly rule: PageRule;
  readonly startPage: number;
  endPage: number;
}

/** Joins mappings of one rule with nothing large between them. */
function groupsOf(decisions: readonly MappingDecision[]): Group[] {
  const groups: Group[] = [];
  for (const { rule, vma } of decisions) {
    const last = groups.at(-1);
    const joins = last?.rule === rule && vma.startPage - last.endPage < SKIPPED_PAGES;
    if (joins) last.endPage = vma.endPage;
    else groups.push({ rule, startPage: vma.startPage, endPage: vma.endPage });
  }
  return groups;
}

function* regionsOf(
  process: ProcessView,
  { rule, startPage, endPage }: Group,
  returnMask: number,
): Generator<PagemapScanRegion> {
  const unwanted = foreignCategory(rule);
  for (let at = startPage; at < endPage; ) {
    const answer = process.scanPagemap!({
      startPage: at,
      endPage,
      flags: 0,
      maximumRegions: REGIONS_AT_ONCE,
      maximumPages: 0,
      categoryInverted: unwanted,
      categoryMask: unwanted,
      categoryAnyOfMask: present | swapped,
      returnMask,
    });
    yield* answer.regions;
    at = answer.walkEndPage;
  }
}

/**
 * Category of pages that are not the mapping's own. Whether a page is of a file is looked up in its struct page, which
 * takes four times as long as all else (measured on 6.18), so it is not asked where there is no file.
 */
export function foreignCategory(rule: PageRule): number {
  return rule === 'copied' ? file : 0;
}

function visitRegion(
  process: ProcessView,
  decision: MappingDecision,
  region: PagemapScanRegion,
  mark: WriteMark,
  visit: Visit,
): void {
  const { startPage, endPage, categories } = region;
  const allowed = (categories & writeProtectAllowed) !== 0;
  const untouched = isUntouched(mark, categories);
  const marked = (categories & written) === 0;
  const stretch = { startPage, endPage, inMemory: true, allowed, marked, untouched };
  if ((categories & zeroFrame) !== 0) {
    // In a mapping of a file, zeros are not what a hole would stand for.
    if (decision.rule === 'copied') visit(decision, { ...stretch, untouched: false });
  } else if ((categories & swapped) !== 0) visitSwapped(process, decision, stretch, visit);
  else if ((categories & huge) !== 0) visitHuge(process, decision, stretch, visit);
  else visit(decision, stretch);
}

function isUntouched(mark: WriteMark, categories: number): boolean {
  if (mark === 'soft-dirty') return (categories & softDirty) === 0;
  return (categories & writeProtectAllowed) !== 0 && (categories & written) === 0;
}

/**
 * Huge pages, for the soft-dirty tracker: before 6.17 the huge page of zeros is not reported as such, and it may stand,
 * clean, where data was. Its words carry the file bit.
 */
function visitHuge(process: ProcessView, decision: MappingDecision, stretch: Stretch, visit: Visit): void {
  const words = new Uint32Array(2);
  for (let startPage = stretch.startPage; startPage < stretch.endPage; ) {
    const endPage = Math.min(stretch.endPage, (Math.floor(startPage / BLOCK_PAGES) + 1) * BLOCK_PAGES);
    process.readPagemap(startPage, 1, words);
    if ((words[1]! & PAGEMAP_HIGH.file) === 0) visit(decision, { ...stretch, startPage, endPage });
    startPage = endPage;
  }
}

/** The highest of 32 swap types is that of markers: entries without a page behind them (include/linux/swap.h). */
const SWAP_TYPES = 32;
const MARKER_TYPE = 31;
/** The page was lost to a memory error: the dumper finds out, and says so (include/linux/swapops.h). */
const POISONED = 2;
const WORDS_AT_ONCE = 65536;

/**
 * Tells swapped pages from markers by their words. A protected page that MADV_DONTNEED, or a truncation, takes out of
 * a mapping of a file leaves a marker that is protected too, so "not written" proves nothing there
 * (mm/memory.c, zap_install_uffd_wp_if_needed).
 */
function visitSwapped(
  process: ProcessView,
  decision: MappingDecision,
  { startPage, endPage, allowed, marked, untouched }: Stretch,
  visit: Visit,
): void {
  const words = new Uint32Array(Math.min(WORDS_AT_ONCE, endPage - startPage) * 2);
  for (let from = startPage; from < endPage; from += WORDS_AT_ONCE) {
    const count = process.readPagemap(from, Math.min(WORDS_AT_ONCE, endPage - from), words);
    for (let index = 0; index < count; index++) {
      const entry = pagemapFrame(words, index);
      const isMarker = entry % SWAP_TYPES === MARKER_TYPE;
      if (isMarker && Math.floor(entry / SWAP_TYPES) !== POISONED) continue;
      visit(decision, {
        startPage: from + index,
        endPage: from + index + 1,
        inMemory: false,
        allowed,
        marked,
        // Without CAP_SYS_ADMIN every entry reads 0.
        untouched: untouched && !isMarker && entry !== 0,
      });
    }
  }
}
