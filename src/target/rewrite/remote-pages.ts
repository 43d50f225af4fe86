import type { PageRange } from '../../core/index.ts';
import type { Injector } from '../native/injector.ts';
import type { Vma } from '../view.ts';

const PAGE_BYTES = 4096n;
const MADV_DONTNEED = 4;
const MADV_REMOVE = 9;
/** For locked memory, since Linux 5.18. */
const MADV_DONTNEED_LOCKED = 24;
const MADV_GUARD_REMOVE = 103;
const EINVAL = -22n;
/** A process names itself so to pidfd calls, since Linux 6.15 (include/uapi/linux/pidfd.h). */
const PIDFD_SELF = -10000;
/** Fewer than UIO_MAXIOV, and as many as the scratch memory takes. */
const RANGES_AT_ONCE = 512;

/**
 * Makes pages of a process as if they had never been used: private memory reads as zeros or as its file again, shared
 * memory becomes a hole. `vma` is the mapping that they all lie in.
 */
export function discardPages(injector: Injector, vma: Vma, ranges: readonly PageRange[]): void {
  if (vma.shared) for (const range of ranges) advise(injector, range, MADV_REMOVE);
  else if (ranges.length === 1 || !discardMany(injector, ranges)) {
    for (const range of ranges) discardPrivate(injector, range);
  }
}

function discardPrivate(injector: Injector, range: PageRange): void {
  if (tryAdvise(injector, range, MADV_DONTNEED) === EINVAL) advise(injector, range, MADV_DONTNEED_LOCKED);
}

/**
 * Takes guard markers off pages (MADV_GUARD_REMOVE, Linux 6.13).
 * @returns false if there can be none
 */
export function removeGuards(injector: Injector, startPage: number, endPage: number): boolean {
  return tryAdvise(injector, { startPage, endPage }, MADV_GUARD_REMOVE) === 0n;
}

/** All in a few calls. @returns false if this kernel cannot; then some may be discarded, which does no harm */
function discardMany(injector: Injector, ranges: readonly PageRange[]): boolean {
  for (let from = 0; from < ranges.length; from += RANGES_AT_ONCE) {
    const batch = ranges.slice(from, from + RANGES_AT_ONCE);
    const vector = new BigUint64Array(batch.length * 2);
    batch.forEach(({ startPage, endPage }, index) => {
      vector[index * 2] = BigInt(startPage) * PAGE_BYTES;
      vector[index * 2 + 1] = BigInt(endPage - startPage) * PAGE_BYTES;
    });
    const address = injector.writeScratch(new Uint8Array(vector.buffer));
    const total = vector.reduce((sum, word, index) => (index % 2 === 1 ? sum + word : sum), 0n);
    const done = injector.tryCall('process_madvise', PIDFD_SELF, address, batch.length, MADV_DONTNEED, 0);
    if (done !== total) return false;
  }
  return true;
}

function advise(injector: Injector, range: PageRange, advice: number): void {
  injector.call('madvise', ...bytesOf(range), advice);
}

function tryAdvise(injector: Injector, range: PageRange, advice: number): bigint {
  return injector.tryCall('madvise', ...bytesOf(range), advice);
}

function bytesOf({ startPage, endPage }: PageRange): [bigint, bigint] {
  return [BigInt(startPage) * PAGE_BYTES, BigInt(endPage - startPage) * PAGE_BYTES];
}
