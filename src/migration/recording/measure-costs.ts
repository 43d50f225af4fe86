import { deflateRawSync } from 'node:zlib';
import { type BlockCodec, isZeroPage, openBlockCodec } from '../../codec/index.ts';
import { machineClock, PAGE_SIZE } from '../../core/index.ts';
import type { Target } from '../../target/index.ts';
import { type HostCosts, USUAL_COSTS } from '../costs.ts';
import { PageBitmap } from '../page-bitmap.ts';
import type { Recording } from './recording.ts';

/** Pages of one reading, and of one compressed block: what multifd puts into a packet. */
const BLOCK_PAGES = 128;
/** Blocks that are read, and how many of them are compressed. */
const READ_BLOCKS = 32;
const COMPRESSED_BLOCKS = 6;
/** And of how many of these each page is compressed alone, too. */
const JUDGED_BLOCKS = 3;
/** Fewer pages than this tell nothing about the cost of one. */
const FEWEST_PAGES = 64;
const ZERO_CHECKS = 2000;

/** What was measured with pages of a target. */
export interface MeasuredPages {
  /** What could not be measured is left out. */
  readonly costs: Partial<HostCosts>;
  /** How much smaller compressed pages are in a block of many than each alone, as a factor. */
  readonly blockFactor: number;
}

/**
 * Measures with pages of the running target what it costs here to read a page, to see that it holds zeros only, and to
 * compress it. zstd where Node.js has none is reckoned from what zlib takes, for what does it then is slower than what
 * migrations use.
 */
export async function measureCosts(
  target: Pick<Target, 'processes'>,
  recording: Recording,
): Promise<MeasuredPages> {
  const views = new Map(target.processes().map((view) => [view.pid, view]));
  const content: Uint8Array[] = [];
  const stream = new Uint8Array(BLOCK_PAGES * PAGE_SIZE);
  const perPage: number[] = [];
  let pages = 0;
  for (const { pid, startPage, pageCount } of blocksOf(recording)) {
    const block = new Uint8Array(pageCount * PAGE_SIZE);
    const began = machineClock();
    const found = views.get(pid)?.readMemory(startPage, pageCount, block) ?? 0;
    let zeros = 0;
    for (let page = 0; page < found; page++) if (isZeroPage(block, page * PAGE_SIZE)) zeros++;
    stream.set(block.subarray(0, found * PAGE_SIZE));
    if (found === 0) continue;
    perPage.push(((machineClock() - began) * 1000) / found);
    pages += found;
    if (zeros < found / 2) content.push(block.subarray(0, found * PAGE_SIZE));
  }
  if (pages < FEWEST_PAGES) return { costs: {}, blockFactor: 1 };
  const codec = await openBlockCodec();
  const chosen = spread(content, COMPRESSED_BLOCKS);
  const costs = {
    pageNanoseconds: median(perPage),
    zeroPageNanoseconds: zeroCheckNanoseconds(),
    ...compressionCosts(chosen, codec),
  };
  return { costs, blockFactor: blockFactor(chosen, codec) };
}

interface Block {
  readonly pid: number;
  readonly startPage: number;
  readonly pageCount: number;
}

/** Blocks of pages that the target had when it was last looked at, spread over its memory. */
function blocksOf({ states, segments }: Recording): Block[] {
  const resident = PageBitmap.copyOf(states.at(-1)!.resident);
  const blocks: Block[] = [];
  for (const { pid, startPage, endPage, firstNumber } of segments) {
    const end = firstNumber + endPage - startPage;
    for (let page = resident.next(firstNumber); page >= 0 && page < end; ) {
      const from = page;
      while (page < end && page - from < BLOCK_PAGES && resident.has(page)) page++;
      blocks.push({ pid, startPage: startPage + from - firstNumber, pageCount: page - from });
      page = resident.next(page);
    }
  }
  // Small pieces, as of libraries, say more about a call than about a page.
  return spread(
    [...blocks].sort((left, right) => right.pageCount - left.pageCount).slice(0, READ_BLOCKS * 8),
    READ_BLOCKS,
  );
}

/** So many of the items, spread evenly. */
function spread<T>(items: readonly T[], count: number): T[] {
  if (items.length <= count) return [...items];
  return Array.from({ length: count }, (_, index) => items[Math.floor((index * items.length) / count)]!);
}

/** The middle of several measurements: what else the machine does meanwhile shows in a few of them. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((left, right) => left - right);
  return sorted[Math.floor(sorted.length / 2)] ?? 0;
}

function zeroCheckNanoseconds(): number {
  const page = new Uint8Array(PAGE_SIZE);
  const began = machineClock();
  for (let check = 0; check < ZERO_CHECKS; check++) isZeroPage(page, 0);
  return ((machineClock() - began) * 1000) / ZERO_CHECKS;
}

/** Pages of one kind share what the compressor has learned of the ones before. */
function blockFactor(blocks: readonly Uint8Array[], codec: BlockCodec): number {
  let together = 0;
  let alone = 0;
  for (const block of blocks.slice(0, JUDGED_BLOCKS)) {
    together += codec.encode(block, 'zstd', 1).stored.length;
    for (let offset = 0; offset < block.length; offset += PAGE_SIZE) {
      alone += codec.encode(block.subarray(offset, offset + PAGE_SIZE), 'zstd', 1).stored.length;
    }
  }
  return alone === 0 ? 1 : Math.min(1, together / alone);
}

function compressionCosts(
  blocks: readonly Uint8Array[],
  codec: BlockCodec,
): Partial<Pick<HostCosts, 'compressNanosecondsPerByte'>> {
  const bytes = blocks.reduce((sum, { length }) => sum + length, 0);
  if (bytes < FEWEST_PAGES * PAGE_SIZE) return {};
  const perByte = (compress: (block: Uint8Array) => void) => {
    const times = blocks.map((block) => {
      const began = machineClock();
      compress(block);
      return ((machineClock() - began) * 1000) / block.length;
    });
    return median(times);
  };
  const zlib = perByte((block) => deflateRawSync(block, { level: 1 }));
  const usual = USUAL_COSTS.compressNanosecondsPerByte;
  const zstd =
    codec.implementation === 'node'
      ? perByte((block) => codec.encode(block, 'zstd', 1))
      : (zlib * usual.zstd) / usual.zlib;
  return { compressNanosecondsPerByte: { zstd, zlib } };
}
