import { deflateRawSync } from 'node:zlib';
import { isZeroPage, openBlockCodec } from '../../codec/index.ts';
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
/** Fewer pages than this tell nothing about the cost of one. */
const FEWEST_PAGES = 64;
const ZERO_CHECKS = 2000;

/**
 * Measures with pages of the running target what it costs here to read a page, to see that it holds zeros only, and to
 * compress it. What could not be measured is left out. zstd where Node.js has none is reckoned from what zlib takes,
 * for what does it then is slower than what migrations use.
 */
export async function measureCosts(target: Target, recording: Recording): Promise<Partial<HostCosts>> {
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
  if (pages < FEWEST_PAGES) return {};
  return {
    pageNanoseconds: median(perPage),
    zeroPageNanoseconds: zeroCheckNanoseconds(),
    ...(await compressionCosts(spread(content, COMPRESSED_BLOCKS))),
  };
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

async function compressionCosts(
  blocks: readonly Uint8Array[],
): Promise<Partial<Pick<HostCosts, 'compressNanosecondsPerByte'>>> {
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
  const codec = await openBlockCodec();
  const usual = USUAL_COSTS.compressNanosecondsPerByte;
  const zstd =
    codec.implementation === 'node'
      ? perByte((block) => codec.encode(block, 'zstd', 1))
      : (zlib * usual.zstd) / usual.zlib;
  return { compressNanosecondsPerByte: { zstd, zlib } };
}
