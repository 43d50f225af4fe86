import { PageRangeList } from '../core/index.ts';
import { PAGEMAP_HIGH } from '../procfs/index.ts';
import type { ProcessView, Vma } from '../target/index.ts';

const PRESENT = PAGEMAP_HIGH.present | 0;
const EXCLUSIVE = PAGEMAP_HIGH.exclusive;
const FRAME = PAGEMAP_HIGH.frameMask;

/** Pages whose words are read at once. */
const BATCH_PAGES = 8192;
/** Ranges closer than this are read together: a call costs about as much as this many words. */
const NEAR_PAGES = 256;

/** A process of which it is known what will be kept of it. */
interface Known {
  readonly view: ProcessView;
  readonly vmas: readonly Vma[];
  readonly changes: { readonly suspects: PageRangeList; readonly unchanged: PageRangeList };
}

/** Pages that a process has in common, at the same addresses, with another one. */
export interface Alike<Donor> {
  readonly donor: Donor;
  readonly pages: PageRangeList;
}

/** Below this, copying costs less than asking. */
const WORTHWHILE_PAGES = 64;

/**
 * Finds pages among `suspects` that need not be copied because an earlier process has them too: that of the parent
 * process, with whom they have been shared since the fork until one of them writes, or the first child of the same
 * parent, which still has what the parent has changed since. What is one object of memory for both, mapped at the same
 * place, is alike as a whole.
 * @param earlier processes in the order of the dump
 */
export function findAlike<Donor extends Known>(
  view: ProcessView,
  vmas: readonly Vma[],
  suspects: PageRangeList,
  earlier: readonly Donor[],
): { readonly alike: readonly Alike<Donor>[]; readonly rest: PageRangeList } {
  const parent = earlier.find(({ view: { pid } }) => pid === view.parentPid);
  const sibling = earlier.find(({ view: { parentPid } }) => parentPid === view.parentPid && parentPid !== 0);
  const alike: Alike<Donor>[] = [];
  let rest = suspects;
  for (const donor of [parent, sibling]) {
    if (donor === undefined || rest.pageCount < WORTHWHILE_PAGES) continue;
    const kept = donor.changes.suspects.union(donor.changes.unchanged);
    const objects = sameObjects(vmas, donor.vmas).intersection(rest);
    const frames = sameFrames(view, donor.view, rest.difference(objects));
    const pages = objects.union(frames).intersection(kept);
    if (pages.rangeCount === 0) continue;
    alike.push({ donor, pages });
    rest = rest.difference(pages);
  }
  return { alike, rest };
}

/** Shared mappings of the same part of one object, at the same addresses. */
function sameObjects(vmas: readonly Vma[], others: readonly Vma[]): PageRangeList {
  const known = new Set(others.map(objectOf));
  return PageRangeList.of(...vmas.filter((vma) => vma.shared && vma.inode !== 0 && known.has(objectOf(vma))));
}

function objectOf(vma: Vma): string {
  const { shared, startPage, endPage, offsetPages, deviceMajor, deviceMinor, inode } = vma;
  return [shared, startPage, endPage, offsetPages, deviceMajor, deviceMinor, inode].join();
}

/**
 * The pages of `ranges` at which two processes that stand still have one and the same frame of memory. Only frames
 * that are mapped more than once count, so that a page that the kernel moves between the two looks is not taken for
 * another one in its old place.
 */
function sameFrames(one: ProcessView, other: ProcessView, ranges: PageRangeList): PageRangeList {
  const alike = new PageRangeList();
  const words = new Int32Array(BATCH_PAGES * 2);
  const otherWords = new Int32Array(BATCH_PAGES * 2);
  for (let index = 0; index < ranges.rangeCount; ) {
    let page = ranges.startPage(index);
    let last = index;
    while (last + 1 < ranges.rangeCount && ranges.startPage(last + 1) - ranges.endPage(last) < NEAR_PAGES) {
      last++;
    }
    const endPage = ranges.endPage(last);
    for (; page < endPage; page += BATCH_PAGES) {
      const count = Math.min(BATCH_PAGES, endPage - page);
      const read = one.readPagemap(page, count, new Uint32Array(words.buffer));
      if (!hasShared(words, read)) continue;
      const otherRead = other.readPagemap(page, read, new Uint32Array(otherWords.buffer));
      addEqual(words, otherWords, otherRead, page, alike);
    }
    index = last + 1;
  }
  return alike.intersection(ranges);
}

function hasShared(words: Int32Array, count: number): boolean {
  for (let index = 0; index < count; index++) {
    if ((words[index * 2 + 1]! & (PRESENT | EXCLUSIVE)) === PRESENT) return true;
  }
  return false;
}

function addEqual(
  words: Int32Array,
  otherWords: Int32Array,
  count: number,
  startPage: number,
  alike: PageRangeList,
): void {
  let start = -1;
  for (let index = 0; index <= count; index++) {
    const equal = index < count && isSameFrame(words, otherWords, index);
    if (equal === start >= 0) continue;
    if (equal) start = index;
    else {
      alike.append(startPage + start, startPage + index);
      start = -1;
    }
  }
}

/** A frame number of 0 is one that the kernel hides. */
function isSameFrame(words: Int32Array, otherWords: Int32Array, index: number): boolean {
  const [low, high] = [words[index * 2]!, words[index * 2 + 1]!];
  const otherHigh = otherWords[index * 2 + 1]!;
  const bits = PRESENT | EXCLUSIVE;
  if ((high & bits) !== PRESENT || (otherHigh & bits) !== PRESENT) return false;
  return (
    low === otherWords[index * 2] && (high & FRAME) === (otherHigh & FRAME) && (low | (high & FRAME)) !== 0
  );
}
