import { PageRangeList } from '../core/index.ts';
import { SCAN_CATEGORY, SCAN_FLAG } from '../procfs/index.ts';
import type { PageRule, ProcessView } from '../target/index.ts';
import { foreignCategory, REGIONS_AT_ONCE } from './protected-scan.ts';

/** Stretches that are closer than this are protected in one call: walking a page table is cheaper than calling. */
const CLOSE_PAGES = 512;

/** Pages of registered mappings of one rule that have to be protected; all lists in address order. */
export class UnprotectedPages {
  readonly #rule: PageRule;
  readonly #pages = new PageRangeList();
  /** Mappings that are registered by us, joined where they touch. */
  readonly #registered = new PageRangeList();

  constructor(rule: PageRule) {
    this.#rule = rule;
  }

  addMapping(startPage: number, endPage: number): void {
    this.#registered.append(startPage, endPage);
  }

  /** Pages of the mapping that was added last. */
  addPages(startPage: number, endPage: number): void {
    this.#pages.append(startPage, endPage);
  }

  /** Protects them. Pages that follow a file, and pages of zeros, are let be. */
  protect(process: ProcessView): void {
    for (const { startPage, endPage } of this.#calls()) protect(process, this.#rule, startPage, endPage);
  }

  /** What to protect at once: each stretch lies inside one run of registered mappings. */
  #calls(): PageRangeList {
    const calls = new PageRangeList();
    let run = 0;
    let start = 0;
    let end = 0;
    for (const { startPage, endPage } of this.#pages) {
      const isNear = end > 0 && startPage - end < CLOSE_PAGES;
      if (isNear && startPage < this.#registered.endPage(run)) {
        end = endPage;
        continue;
      }
      calls.append(start, end);
      while (this.#registered.endPage(run) <= startPage) run++;
      start = startPage;
      end = endPage;
    }
    calls.append(start, end);
    return calls;
  }
}

function protect(process: ProcessView, rule: PageRule, startPage: number, endPage: number): void {
  const { present, swapped, written, zeroFrame } = SCAN_CATEGORY;
  const unwanted = foreignCategory(rule) | zeroFrame;
  for (let at = startPage; at < endPage; ) {
    const answer = process.scanPagemap!({
      startPage: at,
      endPage,
      flags: SCAN_FLAG.writeProtectMatching | SCAN_FLAG.checkAsynchronous,
      maximumRegions: REGIONS_AT_ONCE,
      maximumPages: 0,
      categoryInverted: unwanted,
      categoryMask: unwanted | written,
      // Without it holes would get markers.
      categoryAnyOfMask: present | swapped,
      returnMask: 0,
    });
    at = answer.walkEndPage;
  }
}
