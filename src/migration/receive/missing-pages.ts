import { PageRangeList } from '../../core/index.ts';
import type { PageGate } from '../../workload/index.ts';

/** Pages of a target that runs here already and that are still at the source. */
export class MissingPages implements PageGate {
  readonly #pages = new Map<number, Set<number>>();
  #count = 0;

  /** How many are missing. */
  get count(): number {
    return this.#count;
  }

  add(pid: number, ranges: PageRangeList): void {
    if (ranges.pageCount === 0) return;
    const pages = new Set<number>();
    for (const { startPage, endPage } of ranges) {
      for (let page = startPage; page < endPage; page++) pages.add(page);
    }
    this.#count += pages.size;
    this.#pages.set(pid, pages);
  }

  /** A page has come. @returns false if it was not missing */
  take(pid: number, page: number): boolean {
    const pages = this.#pages.get(pid);
    if (pages === undefined || !pages.delete(page)) return false;
    this.#count--;
    if (pages.size === 0) this.#pages.delete(pid);
    return true;
  }

  isThere(pid: number, page: number): boolean {
    return this.#pages.get(pid)?.has(page) !== true;
  }

  isWhole(pid: number): boolean {
    return !this.#pages.has(pid);
  }

  /** What is missing of a process: at most so many pages, the lowest first. */
  of(pid: number, most: number): PageRangeList {
    const ranges = new PageRangeList();
    const pages = Float64Array.from(this.#pages.get(pid) ?? []).sort();
    for (const page of pages.subarray(0, most)) ranges.append(page, page + 1);
    return ranges;
  }
}
