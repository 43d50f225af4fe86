import type { PagemapScanRegion, PagemapScanRequest } from '../../procfs/index.ts';

/** The array of regions that a scan fills, with its two limits: regions and pages. */
export class ScanOutput {
  readonly #request: PagemapScanRequest;
  readonly #starts: number[] = [];
  readonly #ends: number[] = [];
  readonly #categories: number[] = [];
  #pages = 0;
  #walkEnd: number | undefined;

  constructor(request: PagemapScanRequest) {
    this.#request = request;
  }

  /** There is no array: nothing is reported or counted. */
  get silent(): boolean {
    return this.#request.maximumRegions === 0;
  }

  /** A limit was hit: the walk has to stop. */
  get full(): boolean {
    return this.#walkEnd !== undefined;
  }

  /** How many of the pages [start, end) could be added. */
  room(start: number, end: number, categories: number): number {
    if (this.silent) return end - start;
    const reported = categories & this.#request.returnMask;
    const limit = this.#request.maximumPages === 0 ? Infinity : this.#request.maximumPages;
    const pages = Math.min(end - start, limit - this.#pages);
    if (pages === 0) return 0;
    return this.#joins(start, reported) || this.#starts.length < this.#request.maximumRegions ? pages : 0;
  }

  /** pagemap_scan_output: adds pages that match; returns the first page that did not fit (`end` if all did). */
  add(start: number, end: number, categories: number): number {
    if (this.silent) return end;
    const pages = this.room(start, end, categories);
    const stop = start + pages;
    const reported = categories & this.#request.returnMask;
    if (pages > 0) {
      if (this.#joins(start, reported)) this.#ends[this.#ends.length - 1] = stop;
      else {
        this.#starts.push(start);
        this.#ends.push(stop);
        this.#categories.push(reported);
      }
      this.#pages += pages;
    }
    if (stop < end) this.#walkEnd = stop;
    return stop;
  }

  finish(endPage: number): { regions: PagemapScanRegion[]; walkEndPage: number } {
    const regions = this.#starts.map((startPage, index) => ({
      startPage,
      endPage: this.#ends[index]!,
      categories: this.#categories[index]!,
    }));
    return { regions, walkEndPage: this.#walkEnd ?? endPage };
  }

  #joins(start: number, reported: number): boolean {
    const last = this.#ends.length - 1;
    return last >= 0 && this.#ends[last] === start && this.#categories[last] === reported;
  }
}
