/**
 * Page categories of ioctl(PAGEMAP_SCAN) as bits (Linux 6.7, include/uapi/linux/fs.h). `softDirty` came with 6.8, `guard`
 * with 6.15.
 */
export const SCAN_CATEGORY = {
  writeProtectAllowed: 1 << 0,
  written: 1 << 1,
  file: 1 << 2,
  present: 1 << 3,
  swapped: 1 << 4,
  zeroFrame: 1 << 5,
  huge: 1 << 6,
  softDirty: 1 << 7,
  guard: 1 << 8,
} as const;

/** Request flags as bits. */
export const SCAN_FLAG = { writeProtectMatching: 1, checkAsynchronous: 2 } as const;

/** The fields of struct pm_scan_arg that matter above the ABI; ranges in pages, masks of SCAN_CATEGORY. */
export interface PagemapScanRequest {
  readonly startPage: number;
  /** Exclusive. */
  readonly endPage: number;
  readonly flags: number;
  /** How many regions the caller can take. */
  readonly maximumRegions: number;
  /** Stop after this many pages reported; 0 = no limit. */
  readonly maximumPages: number;
  readonly categoryInverted: number;
  readonly categoryMask: number;
  readonly categoryAnyOfMask: number;
  readonly returnMask: number;
}

/** One struct page_region of the answer. */
export interface PagemapScanRegion {
  readonly startPage: number;
  readonly endPage: number;
  readonly categories: number;
}

/** The answer: regions in address order, and the page where the walk stopped. */
export interface PagemapScanResult {
  readonly regions: readonly PagemapScanRegion[];
  readonly walkEndPage: number;
}
