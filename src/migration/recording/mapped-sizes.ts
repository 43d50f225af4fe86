import type { PageSample } from '../trace/format.ts';
import type { PageNumbering } from './numbering.ts';
import { meanWrites, type TimesWritten } from './page-heat.ts';
import { type PageSizes, type SizedStretch, SizeTally, UNKNOWN_SIZE } from './page-sizes.ts';
import type { RecordedMapping } from './recording.ts';

/** A sample with the number of its page. */
interface Sample extends TimesWritten {
  readonly page: number;
  readonly compressedBytes: number;
  readonly differenceBytes: number | undefined;
}

/** Gathers the samples of a recording and makes sizes of them, mapping by mapping. */
export class MappedSizes {
  readonly #samples: Sample[] = [];

  /** @returns what has to be told, before `build`, in how many intervals the page was written so far */
  add(page: number, { compressedBytes, differenceBytes }: PageSample): TimesWritten {
    const sample = { page, compressedBytes, differenceBytes, timesWritten: 0 };
    this.#samples.push(sample);
    return sample;
  }

  /**
   * Sizes of pages by where they lie: pages near to each other mostly hold the same kind of data. Where no page of a
   * mapping was sampled it is taken to be as all others are.
   */
  build(
    mappings: readonly RecordedMapping[],
    numbering: PageNumbering,
    heat: Uint8Array,
  ): { sizes: PageSizes; notes: string[] } {
    const all = new SizeTally();
    const ofMapping = mappings.map(() => new SizeTally());
    const pieces = cut(stretchesOf(mappings, numbering), new Set(this.#samples.map(({ page }) => page)));
    const tallies = pieces.map(() => new SizeTally());
    const timesAtLast = new Map<number, number>();
    for (const { page, compressedBytes, differenceBytes, timesWritten } of this.#samples) {
      const writes = timesWritten - (timesAtLast.get(page) ?? 0);
      timesAtLast.set(page, timesWritten);
      const piece = findStretch(pieces, page);
      const known = piece < 0 ? [all] : [all, ofMapping[pieces[piece]!.mapping]!, tallies[piece]!];
      for (const tally of known) {
        tally.compressed(page, compressedBytes);
        if (differenceBytes === undefined || writes === 0) continue;
        tally.difference(writes * meanWrites(heat[page]!), differenceBytes);
      }
    }
    const otherwise = all.size(UNKNOWN_SIZE);
    const sizeOf = ofMapping.map((tally) => tally.size(otherwise));
    let unsampledPages = 0;
    const sized: SizedStretch[] = pieces.map(({ firstNumber, endNumber, mapping }, piece) => {
      if (ofMapping[mapping]!.sampledPages === 0) unsampledPages += endNumber - firstNumber;
      return { firstNumber, endNumber, mapping, ...tallies[piece]!.size(sizeOf[mapping]!) };
    });
    const notes: string[] = [];
    if (all.sampledPages === 0) notes.push('no content was measured: pages are taken not to compress');
    else if (unsampledPages * 10 > numbering.count) {
      notes.push('no page of some mappings was measured: they are taken to compress as the others do');
    }
    return { sizes: { stretches: sized, otherwise }, notes };
  }
}

/** Sampled pages of a piece of a mapping: enough for a mean. */
const SAMPLES_PER_PIECE = 16;

/** Cuts stretches so that each piece has about as many sampled pages. */
function cut(stretches: readonly Stretch[], sampled: ReadonlySet<number>): Stretch[] {
  const pages = Float64Array.from(sampled).sort();
  const pieces: Stretch[] = [];
  let next = 0;
  for (const { firstNumber, endNumber, mapping } of stretches) {
    while (next < pages.length && pages[next]! < firstNumber) next++;
    let from = firstNumber;
    const end = lowerBound(pages, endNumber);
    while (end - next >= 2 * SAMPLES_PER_PIECE) {
      next += SAMPLES_PER_PIECE;
      // Between the last sample of this piece and the first one of the next.
      const until = Math.ceil((pages[next - 1]! + pages[next]!) / 2);
      pieces.push({ firstNumber: from, endNumber: until, mapping });
      from = until;
    }
    pieces.push({ firstNumber: from, endNumber, mapping });
    next = end;
  }
  return pieces;
}

/** Index of the first number that is not below `limit`. */
function lowerBound(numbers: Float64Array, limit: number): number {
  let low = 0;
  let high = numbers.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (numbers[middle]! < limit) low = middle + 1;
    else high = middle;
  }
  return low;
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
