import type { PageSample } from '../trace/format.ts';
import type { PageNumbering } from './numbering.ts';
import { meanWrites } from './page-heat.ts';
import { type PageSizes, type SizedStretch, SizeTally, UNKNOWN_SIZE } from './page-sizes.ts';
import type { RecordedMapping } from './recording.ts';

/** A sample with the number of its page, and in how many intervals the page was written since the one before. */
interface Sample {
  readonly page: number;
  readonly compressedBytes: number;
  readonly differenceBytes: number | undefined;
  readonly timesWritten: number;
}

/** Gathers the samples of a recording and makes sizes of them, mapping by mapping. */
export class MappedSizes {
  readonly #samples: Sample[] = [];
  readonly #timesAtLast = new Map<number, number>();

  /** @param timesWritten intervals in which the page was written so far */
  add(page: number, { compressedBytes, differenceBytes }: PageSample, timesWritten: number): void {
    const since = timesWritten - (this.#timesAtLast.get(page) ?? 0);
    this.#timesAtLast.set(page, timesWritten);
    this.#samples.push({ page, compressedBytes, differenceBytes, timesWritten: since });
  }

  /** Sizes of the pages of each mapping; a mapping of which no page was sampled is taken to be as all others are. */
  build(
    mappings: readonly RecordedMapping[],
    numbering: PageNumbering,
    heat: Uint8Array,
  ): { sizes: PageSizes; notes: string[] } {
    const all = new SizeTally();
    const stretches = stretchesOf(mappings, numbering).map((stretch) => ({
      ...stretch,
      tally: new SizeTally(),
    }));
    for (const { page, compressedBytes, differenceBytes, timesWritten } of this.#samples) {
      const tally = stretches[findStretch(stretches, page)]?.tally;
      for (const each of tally === undefined ? [all] : [all, tally]) {
        each.compressed(page, compressedBytes);
        if (differenceBytes === undefined || timesWritten === 0) continue;
        each.difference(timesWritten * meanWrites(heat[page]!), differenceBytes);
      }
    }
    const otherwise = all.size(UNKNOWN_SIZE);
    // A mapping lies in several stretches where others came in between: they share what is known of it.
    const ofMapping = new Map<number, SizeTally>();
    for (const { mapping, tally } of stretches) {
      const shared = ofMapping.get(mapping);
      if (shared === undefined) ofMapping.set(mapping, tally);
      else shared.absorb(tally);
    }
    let unsampledPages = 0;
    const sized: SizedStretch[] = stretches.map(({ firstNumber, endNumber, mapping }) => {
      const tally = ofMapping.get(mapping)!;
      if (tally.sampledPages === 0) unsampledPages += endNumber - firstNumber;
      return { firstNumber, endNumber, mapping, ...tally.size(otherwise) };
    });
    const notes: string[] = [];
    if (all.sampledPages === 0) notes.push('no content was measured: pages are taken not to compress');
    else if (unsampledPages * 10 > numbering.count) {
      notes.push('no page of some mappings was measured: they are taken to compress as the others do');
    }
    return { sizes: { stretches: sized, otherwise }, notes };
  }
}

interface Stretch {
  readonly firstNumber: number;
  readonly endNumber: number;
  /** Index of the mapping. */
  readonly mapping: number;
}

/** Where the pages of mappings are numbered. Of mappings that were at one address one after the other, the last counts. */
function stretchesOf(mappings: readonly RecordedMapping[], numbering: PageNumbering): Stretch[] {
  const edges: { at: number; end: number; mapping: number }[] = [];
  for (const [mapping, { pid, startPage, endPage }] of mappings.entries()) {
    numbering.eachNumbered(pid, startPage, endPage, (at, end) => edges.push({ at, end, mapping }));
  }
  edges.sort((left, right) => left.at - right.at || left.mapping - right.mapping);
  const stretches: Stretch[] = [];
  for (const { at, end, mapping } of edges) {
    const last = stretches.at(-1);
    if (last === undefined || at >= last.endNumber) {
      stretches.push({ firstNumber: at, endNumber: end, mapping });
      continue;
    }
    if (mapping > last.mapping) {
      stretches.pop();
      if (at > last.firstNumber) stretches.push({ ...last, endNumber: at });
      stretches.push({ firstNumber: at, endNumber: Math.max(end, last.endNumber), mapping });
    } else if (end > last.endNumber) stretches.push({ firstNumber: last.endNumber, endNumber: end, mapping });
  }
  return stretches;
}

/** Index of the stretch in which a page lies; -1 if it lies in none. */
export function findStretch(
  stretches: readonly { readonly firstNumber: number; readonly endNumber: number }[],
  page: number,
): number {
  let low = 0;
  let high = stretches.length - 1;
  while (low <= high) {
    const middle = (low + high) >>> 1;
    const { firstNumber, endNumber } = stretches[middle]!;
    if (page < firstNumber) high = middle - 1;
    else if (page >= endNumber) low = middle + 1;
    else return middle;
  }
  return -1;
}
