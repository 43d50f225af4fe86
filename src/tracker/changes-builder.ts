import { PageRangeList } from '../core/index.ts';
import type { Changes } from './tracker.ts';

/** Gathers the verdicts of a scan, in address order. A clean page that the parent does not hold becomes a suspect. */
export class ChangesBuilder {
  #suspects = new PageRangeList();
  readonly #unchanged = new PageRangeList();
  readonly #parentPages: PageRangeList;
  #cursor = 0;
  readonly #doubts: string[] = [];
  readonly #notes: string[] = [];

  constructor(parentPages: PageRangeList = new PageRangeList()) {
    this.#parentPages = parentPages;
  }

  suspect(startPage: number, endPage: number): void {
    this.#suspects.append(startPage, endPage);
  }

  suspectAll(pages: PageRangeList): void {
    for (const { startPage, endPage } of pages) this.#suspects.append(startPage, endPage);
  }

  clean(startPage: number, endPage: number): void {
    const parent = this.#parentPages;
    let page = startPage;
    while (page < endPage) {
      while (this.#cursor < parent.rangeCount && parent.endPage(this.#cursor) <= page) this.#cursor++;
      const known = this.#cursor < parent.rangeCount;
      const from = known ? Math.max(page, Math.min(endPage, parent.startPage(this.#cursor))) : endPage;
      const to = known ? Math.max(from, Math.min(endPage, parent.endPage(this.#cursor))) : endPage;
      this.#suspects.append(page, from);
      this.#unchanged.append(from, to);
      page = to;
    }
  }

  /** Takes in the suspects, doubts and notes of a scan of other mappings. */
  join(other: ChangesBuilder): void {
    this.#suspects = this.#suspects.union(other.#suspects);
    this.#doubts.push(...other.#doubts);
    this.#notes.push(...other.#notes);
  }

  doubt(sentence: string): void {
    this.#doubts.push(sentence);
  }

  note(sentence: string): void {
    this.#notes.push(sentence);
  }

  build(scannedPages: number): Changes {
    return {
      suspects: this.#suspects,
      unchanged: this.#unchanged,
      scannedPages,
      doubts: this.#doubts,
      notes: this.#notes,
    };
  }
}
