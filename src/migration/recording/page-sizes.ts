import { PAGE_SIZE } from '../../core/index.ts';

/** How pages compress, and how much of them writes change. */
export interface PageSize {
  /** Size in a stream of compressed pages, as a share of its plain size. */
  readonly compressedShare: number;
  /** Bytes of the difference that 1, 2, 4, 8... writes make to a page. */
  readonly differenceBytes: readonly number[];
}

/** Sizes of a stretch of page numbers. */
export interface SizedStretch extends PageSize {
  readonly firstNumber: number;
  /** Exclusive. */
  readonly endNumber: number;
  /** Index of the mapping that they belong to. */
  readonly mapping: number;
}

/** Sizes of pages; a page in no stretch is sized as `otherwise` says. */
export interface PageSizes {
  /** In the order of their numbers, none overlapping another. */
  readonly stretches: readonly SizedStretch[];
  readonly otherwise: PageSize;
}

/** What nobody measured is taken not to compress, and to change as a whole. */
export const UNKNOWN_SIZE: PageSize = { compressedShare: 1, differenceBytes: [PAGE_SIZE] };

/** The same sizes with pages compressed so many times better. */
export function compressedTogether({ stretches, otherwise }: PageSizes, factor: number): PageSizes {
  const better = <T extends PageSize>(size: T): T => ({
    ...size,
    compressedShare: size.compressedShare * factor,
  });
  return { stretches: stretches.map(better), otherwise: better(otherwise) };
}

/** Rows of a table of differences: as many writes as 2 to the power of the row. */
const ROWS = 12;

/** Bytes of the difference that so many writes make, out of a table for 1, 2, 4, 8... writes. */
export function differenceAfter(table: readonly number[], writes: number): number {
  if (writes <= 0) return 0;
  if (writes <= 1) return Math.ceil(table[0]! * writes);
  const last = table.length - 1;
  const row = Math.log2(writes);
  if (row >= last) return Math.ceil(table[last]!);
  const below = Math.floor(row);
  return Math.ceil(table[below]! + (table[below + 1]! - table[below]!) * (writes / 2 ** below - 1));
}

/** Gathers what samples of some pages say, and makes sizes of it. */
export class SizeTally {
  readonly #pages = new Map<number, number>();
  readonly #bytes = new Float64Array(ROWS);
  readonly #weights = new Float64Array(ROWS);
  readonly #writes = new Float64Array(ROWS);

  /** Pages of which the compressed size is known. */
  get sampledPages(): number {
    return this.#pages.size;
  }

  /** A page takes so many bytes when compressed; zeros are left out, for they are not compressed. */
  compressed(page: number, bytes: number): void {
    if (bytes > 0) this.#pages.set(page, bytes);
  }

  /** So many writes made a difference of so many bytes. */
  difference(writes: number, bytes: number): void {
    const row = Math.min(ROWS - 1, Math.max(0, Math.round(Math.log2(writes))));
    this.#bytes[row]! += bytes;
    this.#writes[row]! += writes;
    this.#weights[row]!++;
  }

  /** Means over the samples; where there are none, what `otherwise` says. */
  size(otherwise: PageSize): PageSize {
    let bytes = 0;
    for (const each of this.#pages.values()) bytes += Math.min(PAGE_SIZE, each);
    return {
      compressedShare:
        this.#pages.size === 0 ? otherwise.compressedShare : bytes / (this.#pages.size * PAGE_SIZE),
      differenceBytes: this.#table() ?? otherwise.differenceBytes,
    };
  }

  /**
   * Rows without samples lie between their neighbours. Below the first one differences are in proportion to the writes;
   * above the last one further writes are taken to fall on other bytes, which is the most that they can add.
   */
  #table(): number[] | undefined {
    const table: number[] = [];
    for (let row = 0; row < ROWS; row++) {
      const weight = this.#weights[row]!;
      if (weight === 0) continue;
      const mean = Math.max(this.#bytes[row]! / weight, table.at(-1) ?? 0);
      const writes = this.#writes[row]! / weight;
      const known = table.length;
      if (known === 0) for (let each = 0; each < row; each++) table.push((mean * 2 ** each) / writes);
      else {
        const before = table[known - 1]!;
        for (let each = known; each < row; each++) {
          table.push(before + ((mean - before) * (each - known + 1)) / (row - known + 1));
        }
      }
      table.push(mean);
    }
    if (table.length === 0) return undefined;
    for (let bytes = table.at(-1)!; table.length < ROWS; table.push(bytes)) {
      bytes = Math.min(PAGE_SIZE, bytes + bytes * Math.max(0, 1 - bytes / PAGE_SIZE));
    }
    return table.map((bytes) => Math.min(PAGE_SIZE, bytes));
  }
}
