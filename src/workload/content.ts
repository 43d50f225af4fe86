import { mix32, PAGE_SIZE } from '../core/index.ts';
import type { ContentProvider } from '../kernel/index.ts';
import type { ContentDefinition, Workload, WriteStyle } from './model.ts';
import { fillScratch, scratchPage } from './page-fill.ts';

/*
 * A page description ("source") and a stream of stores are numbers of 29 bits:
 *
 *   28        17   16          8 7        0
 *   +-----------+---+-----------+----------+
 *   | region + 1| P | style + 1 | writer   |
 *   +-----------+---+-----------+----------+
 *
 * P: the page held the region's initial content before the first store. Style 0: no store has hit it. The writer
 * tells processes apart that run the same program, so that they do not write the same bytes. A stream has P = 0.
 */
const REGION_SHIFT = 17;
const POPULATED = 1 << 16;
const STYLE_SHIFT = 8;
const STYLE_MASK = 0xff;
const STREAM_MASK = 0xffff;
const WRITER_MASK = 0xff;

/** The description of a page of a region as it is before any store. */
export function initialSource(regionIndex: number): number {
  return ((regionIndex + 1) << REGION_SHIFT) | POPULATED;
}

/** The stream of stores of one style by one process to one region. `writer` is taken modulo 256. */
export function streamOf(regionIndex: number, styleIndex: number, writer: number): number {
  return ((regionIndex + 1) << REGION_SHIFT) | ((styleIndex + 1) << STYLE_SHIFT) | (writer & WRITER_MASK);
}

/** What is precomputed of a style: the slots of a page and the order in which stores visit them. */
interface PreparedStyle {
  readonly bytes: number;
  readonly slots: number;
  /** Coprime to `slots`, so that `slots` successive stores hit each slot once; 1: in ascending order. */
  readonly slotStep: number;
  readonly scattered: boolean;
  /** Pages whose hash is below this are changed by stores; the others are rewritten with what they hold. */
  readonly changedBelow: number;
  /** Each store replaces the whole page, whatever it held. */
  readonly replaces: boolean;
}

/**
 * Page contents of a workload. Store number n to a page replaces one slot of `bytes` bytes; the slots are visited in
 * turn, so the page after n stores is its initial content under the newest store of each slot, and rendering it costs
 * the same after a million stores as after ten.
 */
export class WorkloadContent implements ContentProvider {
  readonly #regions: readonly { readonly content: ContentDefinition; readonly seed: number }[];
  readonly #styles: readonly PreparedStyle[];

  constructor(workload: Pick<Workload, 'seed' | 'regions' | 'styles'>) {
    const fileSeed = mix32(workload.seed) ^ mix32(Math.floor(workload.seed / 4294967296) + 1);
    this.#regions = workload.regions.map((region) => ({
      content: region.content,
      seed: mix32(fileSeed + Math.imul(region.index + 1, 0x9e3779b1)),
    }));
    this.#styles = workload.styles.map(prepareStyle);
  }

  sourceAfterStore(source: number, stream: number): number {
    const style = this.#styles[((stream >>> STYLE_SHIFT) & STYLE_MASK) - 1]!;
    if (source === 0 || style.replaces) return stream;
    if (source >>> REGION_SHIFT !== stream >>> REGION_SHIFT) return -1;
    const before = source & STREAM_MASK;
    return before === 0 || before === (stream & STREAM_MASK) ? source | stream : -1;
  }

  render(source: number, key: number, storeCount: number, out: Uint8Array): void {
    if (source === 0) {
      out.fill(0);
      return;
    }
    const style = this.#styles[((source >>> STYLE_SHIFT) & STYLE_MASK) - 1];
    if ((source & POPULATED) !== 0) {
      const region = this.#regions[(source >>> REGION_SHIFT) - 1]!;
      fillScratch(region.content, pageSeed(region.seed, key), PAGE_SIZE);
      out.set(scratchPage);
    } else if (style?.replaces !== true) out.fill(0);
    if (style === undefined) return;
    this.#store(source, key, Math.max(1, storeCount - style.slots + 1), storeCount, out);
  }

  apply(stream: number, key: number, storeNumber: number, bytes: Uint8Array): void {
    this.#store(stream, key, storeNumber, storeNumber, bytes);
  }

  /** Applies stores `first` to `last` of a stream, or of a source that the stream made. */
  #store(stream: number, key: number, first: number, last: number, bytes: Uint8Array): void {
    const style = this.#styles[((stream >>> STYLE_SHIFT) & STYLE_MASK) - 1]!;
    const region = this.#regions[(stream >>> REGION_SHIFT) - 1]!;
    const page = pageSeed(region.seed, key);
    if (mix32(page ^ 0x3c6ef372) >= style.changedBelow) return;
    const content = region.content.kind === 'zero' ? RECORDS : region.content;
    const origin = page ^ Math.imul((stream & WRITER_MASK) + 1, 0x85ebca77);
    const rotation = style.scattered ? page % style.slots : 0;
    let round = (first - 1) % style.slots;
    let slot = (round * style.slotStep + rotation) % style.slots;
    // Short writes may agree by chance; a number that is never the same twice in a row makes each store to a slot
    // differ from the one before.
    let visit = Math.floor((first - 1) / style.slots) + 1;
    for (let store = first; store <= last; store++) {
      const seed = mix32(origin + Math.imul(store, 0xc2b2ae3d));
      if (style.bytes <= LONGEST_COUNTER_BYTES)
        writeCounter(bytes, slot * style.bytes, style.bytes, visit, seed);
      else writeContent(bytes, slot * style.bytes, style.bytes, visit, seed, content);
      slot += style.slotStep;
      if (slot >= style.slots) slot -= style.slots;
      if (++round === style.slots) {
        round = 0;
        visit++;
      }
    }
  }
}

/** Writes up to this long are counters and clocks, whatever the region holds. */
const LONGEST_COUNTER_BYTES = 16;

/** A count in the first four bytes, then bits of a time or a hash. */
function writeCounter(page: Uint8Array, offset: number, length: number, visit: number, seed: number): void {
  page[offset] = visit;
  for (let index = 1; index < length; index++) {
    page[offset + index] = index < 4 ? visit >>> (index * 8) : seed >>> ((index & 3) * 8);
  }
}

/** What the region's content looks like elsewhere, marked in its first byte. */
function writeContent(
  page: Uint8Array,
  offset: number,
  length: number,
  visit: number,
  seed: number,
  content: ContentDefinition,
): void {
  fillScratch(content, seed, length);
  if (length > 64) page.set(scratchPage.subarray(0, length), offset);
  else for (let index = 0; index < length; index++) page[offset + index] = scratchPage[index]!;
  if (content.kind === 'text') page[offset] = 97 + (visit % 26);
  else if (content.kind !== 'random') page[offset] = visit;
}

/** What programs write into regions that begin as zeros. */
const RECORDS: ContentDefinition = { kind: 'records', compressible: 1 };

function pageSeed(regionSeed: number, key: number): number {
  return mix32(regionSeed ^ Math.imul(key + 1, 0x9e3779b1));
}

function prepareStyle(style: WriteStyle): PreparedStyle {
  const slots = Math.floor(PAGE_SIZE / style.bytes);
  return {
    bytes: style.bytes,
    slots,
    slotStep: style.order === 'scattered' ? coprimeNear(slots, Math.round(slots * 0.618)) : 1,
    scattered: style.order === 'scattered',
    changedBelow: style.changedShare * 4294967296,
    replaces: style.bytes === PAGE_SIZE && style.changedShare === 1,
  };
}

function coprimeNear(modulus: number, wanted: number): number {
  let step = Math.max(1, wanted);
  while (greatestCommonDivisor(step, modulus) !== 1) step++;
  return step;
}

function greatestCommonDivisor(left: number, right: number): number {
  return right === 0 ? left : greatestCommonDivisor(right, left % right);
}
