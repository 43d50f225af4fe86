import { PAGEMAP_HIGH } from '../../src/procfs/index.ts';
import type { ClearLedger, ProcessView, Vma } from '../../src/target/index.ts';

/** Flags of a word, for tests: letters as in the reference tables of the kernel's documentation. */
const LETTERS: Readonly<Record<string, number>> = {
  P: PAGEMAP_HIGH.present,
  W: PAGEMAP_HIGH.swapped,
  F: PAGEMAP_HIGH.file,
  G: PAGEMAP_HIGH.guard,
  U: PAGEMAP_HIGH.uffdWriteProtected,
  X: PAGEMAP_HIGH.exclusive,
  D: PAGEMAP_HIGH.softDirty,
};

/** A process made of pagemap words that the test writes by hand. */
export class FakeProcess implements ProcessView {
  readonly pid: number = 7;
  readonly parentPid: number = 0;
  readonly name = 'fake';
  readonly zeroFrame?: number;
  clearLedger?: ClearLedger;
  cleared = 0;
  pagemapReads = 0;
  readonly #words = new Map<number, readonly [high: number, low: number]>();
  #vmas: readonly Vma[] = [];

  constructor(zeroFrame?: number) {
    if (zeroFrame !== undefined) this.zeroFrame = zeroFrame;
  }

  setVmas(...vmas: readonly Vma[]): void {
    this.#vmas = vmas;
  }

  /** Sets the word of a page: letters, and a frame (or swap entry). Empty letters: nothing there. */
  set(page: number, letters: string, frame = page + 1000): void {
    let high = Math.floor(frame / 2 ** 32);
    for (const letter of letters) high += LETTERS[letter]!;
    if (letters === '') this.#words.delete(page);
    else this.#words.set(page, [high, frame % 2 ** 32]);
  }

  vmas(): Vma[] {
    return [...this.#vmas];
  }

  readPagemap(startPage: number, pageCount: number, words: Uint32Array): number {
    this.pagemapReads++;
    for (let index = 0; index < pageCount; index++) {
      const [high, low] = this.#words.get(startPage + index) ?? [0, 0];
      words[index * 2] = low;
      words[index * 2 + 1] = high;
    }
    return pageCount;
  }

  clearReferences(value: number): void {
    if (value === 4) this.cleared++;
    for (const [page, [high, low]] of this.#words) {
      if ((high & PAGEMAP_HIGH.softDirty) !== 0) this.#words.set(page, [high - PAGEMAP_HIGH.softDirty, low]);
    }
  }

  readMemory(): number {
    return 0;
  }
}

/** A mapping of private anonymous memory, unless told otherwise. */
export function vma(startPage: number, endPage: number, overrides: Partial<Vma> = {}): Vma {
  return {
    startPage,
    endPage,
    read: true,
    write: true,
    execute: false,
    shared: false,
    offsetPages: 0,
    deviceMajor: 0,
    deviceMinor: 0,
    inode: 0,
    pathname: '',
    flags: ['rd', 'wr'],
    ...overrides,
  };
}
