import { Random } from '../../src/core/index.ts';
import { type MigratingMemory, PageBitmap } from '../../src/migration/index.ts';

export interface Writer {
  readonly pages: number;
  readonly writesPerSecond: number;
  /** Writes go to this many pages at the start. */
  readonly writtenPages: number;
  readonly seed: number;
  readonly cpuShare?: number;
}

/** A memory that knows which version of each page the sender has seen: it asks about zeros before it sends a page. */
export class SpiedMemory implements MigratingMemory {
  readonly resident = new PageBitmap(0);
  readonly dirty = new PageBitmap(0);
  readonly pageCount: number;
  readonly cpuShare: number;
  /** How often pages were sent. */
  sent = 0;
  readonly #writer: Writer;
  readonly #random: Random;
  readonly #versions: Float64Array;
  readonly #sentVersions: Float64Array;
  #owed = 0;

  constructor(writer: Writer) {
    this.#writer = writer;
    this.#random = new Random(writer.seed);
    this.pageCount = writer.pages;
    this.cpuShare = writer.cpuShare ?? 0;
    this.#versions = new Float64Array(writer.pages).fill(1);
    this.#sentVersions = new Float64Array(writer.pages);
    this.resident.addRange(0, writer.pages);
  }

  run(microseconds: number): void {
    this.#owed += (microseconds * this.#writer.writesPerSecond) / 1e6;
    for (; this.#owed >= 1; this.#owed--) {
      const page = this.#random.nextBelow(this.#writer.writtenPages);
      this.#versions[page]!++;
      this.dirty.add(page);
    }
  }

  isZero(page: number): boolean {
    this.sent++;
    this.#sentVersions[page] = this.#versions[page]!;
    return this.#versions[page] === 1 && page % 3 === 0;
  }

  compressedShare(): number {
    return 0.5;
  }

  countStores(): void {
    // Versions are counted anyway.
  }

  storesOf(page: number): number {
    return this.#versions[page]!;
  }

  differenceBytes(_page: number, stores: number): number {
    return stores * 20;
  }

  /** Pages of which the destination has not got the newest version. */
  stalePages(): number[] {
    return [...this.#versions.keys()].filter((page) => this.#versions[page] !== this.#sentVersions[page]);
  }
}
