import { PAGE_SIZE } from '../core/index.ts';
import {
  type PagemapScanRegion,
  type PagemapScanRequest,
  type PagemapScanResult,
  SCAN_FLAG,
} from '../procfs/index.ts';
import type { Native } from './native/calls.ts';
import { hasErrno } from './native/tracee.ts';

/** _IOWR('f', 16, struct pm_scan_arg), include/uapi/linux/fs.h of Linux 6.7. */
const PAGEMAP_SCAN = 0xc0606610;
const ARGUMENT_BYTES = 96;
const WALK_END_WORD = 4;
/** struct page_region: start, end, categories, 64 bits each; read as halves. */
const REGION_BYTES = 24;
const REGION_HALVES = 6;
const HIGH_HALF_PAGES = 2 ** 32 / PAGE_SIZE;

/** PAGEMAP_SCAN on pagemap files of live processes. The answer's memory is used again by the next scan. */
export class PageScanner {
  readonly #native: Native;
  #vector = new Uint32Array(0);

  constructor(native: Native) {
    this.#native = native;
  }

  /**
   * @param pagemap our descriptor of a process's pagemap
   * @throws SystemCallError: EPERM if CHECK_WPASYNC is asked for and a mapping is not registered for it
   */
  scan(pagemap: number, request: PagemapScanRequest): PagemapScanResult {
    const vector = this.#vectorFor(request.maximumRegions);
    const argument = BigUint64Array.of(
      BigInt(ARGUMENT_BYTES),
      BigInt(request.flags),
      BigInt(request.startPage) * BigInt(PAGE_SIZE),
      BigInt(request.endPage) * BigInt(PAGE_SIZE),
      0n,
      request.maximumRegions === 0 ? 0n : this.#native.addressOf(bytesOf(vector)),
      BigInt(request.maximumRegions),
      BigInt(request.maximumPages),
      BigInt(request.categoryInverted),
      BigInt(request.categoryMask),
      BigInt(request.categoryAnyOfMask),
      BigInt(request.returnMask),
    );
    const count = this.#native.ioctl('PAGEMAP_SCAN', pagemap, PAGEMAP_SCAN, bytesOf(argument));
    const regions = decodeRegions(vector, count);
    const walkEndPage = Number(argument[WALK_END_WORD]! / BigInt(PAGE_SIZE));
    return { regions, walkEndPage: trueEnd(request, regions, walkEndPage) };
  }

  #vectorFor(regions: number): Uint32Array {
    if (this.#vector.length < regions * REGION_HALVES) {
      this.#vector = new Uint32Array((regions * REGION_BYTES) / Uint32Array.BYTES_PER_ELEMENT);
    }
    return this.#vector;
  }
}

/**
 * Where the walk really stopped. The kernel collects 512 regions at a time; if it had to empty that buffer on the way,
 * `walk_end` still tells where it did so last, although the walk went on to the end (do_pagemap_scan, seen on 6.18).
 */
function trueEnd(request: PagemapScanRequest, regions: readonly PagemapScanRegion[], told: number): number {
  if (regions.length < request.maximumRegions && request.maximumPages === 0) return request.endPage;
  return Math.max(told, regions.at(-1)?.endPage ?? told);
}

function decodeRegions(vector: Uint32Array, count: number): PagemapScanRegion[] {
  const regions: PagemapScanRegion[] = [];
  for (let at = 0; at < count * REGION_HALVES; at += REGION_HALVES) {
    regions.push({
      startPage: vector[at + 1]! * HIGH_HALF_PAGES + vector[at]! / PAGE_SIZE,
      endPage: vector[at + 3]! * HIGH_HALF_PAGES + vector[at + 2]! / PAGE_SIZE,
      categories: vector[at + 4]!,
    });
  }
  return regions;
}

function bytesOf(view: BigUint64Array | Uint32Array): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}

/** Whether the mapping at a page is registered for asynchronous write protection, by anybody. */
export function isRegistered(scanner: PageScanner, pagemap: number, page: number): boolean {
  const everything = { categoryInverted: 0, categoryMask: 0, categoryAnyOfMask: 0, returnMask: 0 };
  try {
    scanner.scan(pagemap, {
      ...everything,
      startPage: page,
      endPage: page + 1,
      flags: SCAN_FLAG.checkAsynchronous,
      maximumRegions: 0,
      maximumPages: 0,
    });
    return true;
  } catch (error) {
    // EFAULT: the vsyscall page, which is not of user space.
    if (hasErrno(error, 'EPERM') || hasErrno(error, 'EFAULT')) return false;
    throw error;
  }
}
