import { formatPageAddress, IntegrityError, PageRangeList } from '../../core/index.ts';
import type { ListedRuns } from './listing.ts';
import { PAGE_FLAGS } from './page-server/protocol.ts';

const { parent: PARENT, lazy: LAZY, present: PRESENT } = PAGE_FLAGS;

/**
 * What becomes of entries. `chain`: they stay as they are. `flat`: every page is present. `lazy`: the same, but what
 * may come later is left out.
 */
export type EntryTreatment = 'chain' | 'flat' | 'lazy';

/** What is written of one memory. */
export interface PlannedEntries {
  readonly entries: ListedRuns;
  /** The pages that go into its pages file, one behind the other. */
  readonly stored: PageRangeList;
  readonly parentPages: number;
  readonly lazyPages: number;
}

/**
 * Plans the entries of one memory.
 * @param deferrable the pages that `criu lazy-pages` may fetch later (`vma_entry_can_be_lazy` of criu/include/vma.h).
 *   A page that was only in the parent gets its flag LAZY by them: the parent's pagemap has one too, but by the mapping
 *   of then.
 * @param where names the memory in errors.
 * @throws IntegrityError for an entry whose pages are nowhere.
 */
export function planEntries(
  imported: ListedRuns,
  treatment: EntryTreatment,
  deferrable: PageRangeList,
  where: string,
): PlannedEntries {
  const plan = new EntryPlan();
  for (let index = 0; index < imported.flags.length; index++) {
    const startPage = imported.startPages[index]!;
    const endPage = startPage + imported.pageCounts[index]!;
    const flags = imported.flags[index]!;
    const isInParent = (flags & PARENT) !== 0;
    if (!isInParent && (flags & PRESENT) === 0) throw contentless(where, startPage);
    if (treatment === 'chain' || (treatment === 'flat' && !isInParent)) plan.add(startPage, endPage, flags);
    else {
      const deferred = treatment === 'lazy' ? LAZY : PRESENT | LAZY;
      plan.addSplit(startPage, endPage, deferrable, deferred);
    }
  }
  return plan.finish();
}

function contentless(where: string, startPage: number): IntegrityError {
  return new IntegrityError(
    `${where} has no content for ${formatPageAddress(startPage)}: CRIU left it on a page server`,
    { data: { address: formatPageAddress(startPage) } },
  );
}

/** Entries as they are added; neighbours with the same flags become one. */
class EntryPlan {
  readonly #startPages: number[] = [];
  readonly #pageCounts: number[] = [];
  readonly #flags: number[] = [];
  readonly #stored = new PageRangeList();
  #parentPages = 0;
  #lazyPages = 0;

  add(startPage: number, endPage: number, flags: number): void {
    const pageCount = endPage - startPage;
    if ((flags & PRESENT) !== 0) this.#stored.append(startPage, endPage);
    else if ((flags & PARENT) !== 0) this.#parentPages += pageCount;
    else this.#lazyPages += pageCount;
    const last = this.#flags.length - 1;
    const isNext = last >= 0 && this.#startPages[last]! + this.#pageCounts[last]! === startPage;
    if (isNext && this.#flags[last] === flags) this.#pageCounts[last]! += pageCount;
    else {
      this.#startPages.push(startPage);
      this.#pageCounts.push(pageCount);
      this.#flags.push(flags);
    }
  }

  /** Adds pages: with `deferred` where they are deferrable, else just present. */
  addSplit(startPage: number, endPage: number, deferrable: PageRangeList, deferred: number): void {
    let page = startPage;
    for (const part of deferrable.within(startPage, endPage)) {
      if (part.startPage > page) this.add(page, part.startPage, PRESENT);
      this.add(part.startPage, part.endPage, deferred);
      page = part.endPage;
    }
    if (endPage > page) this.add(page, endPage, PRESENT);
  }

  finish(): PlannedEntries {
    return {
      entries: {
        startPages: Float64Array.from(this.#startPages),
        pageCounts: Float64Array.from(this.#pageCounts),
        flags: Uint8Array.from(this.#flags),
      },
      stored: this.#stored,
      parentPages: this.#parentPages,
      lazyPages: this.#lazyPages,
    };
  }
}
