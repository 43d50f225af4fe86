import { accessSync, closeSync, constants, openSync, readSync } from 'node:fs';
import { PAGE_SIZE } from '../core/index.ts';
import { SCAN_CATEGORY, SCAN_FLAG } from '../procfs/index.ts';
import { type Feature, MissingError, needsCapability, tryFeature } from './feature.ts';
import type { Trial } from './feature-trial.ts';
import { DEFAULT_LEDGER_DIRECTORY, prepareLedger } from './live-ledger.ts';
import { probeAbilities } from './live-probe.ts';
import type { Native } from './native/calls.ts';
import { PageScanner } from './page-scan.ts';
import { USERFAULTFD_FLAGS, Userfaultfd } from './userfaultfd.ts';

const OWN_KERNEL = 'Linux 6.7 or later, with CONFIG_PTE_MARKER_UFFD_WP=y';

/** O_CLOEXEC | O_NONBLOCK without UFFD_USER_MODE_ONLY: for faults of the kernel, too. */
const ALL_FAULTS = 0x80800;

/** Bits of uffdio_api.features (include/uapi/linux/userfaultfd.h). */
const UFFD_FEATURE = { shared: 1n << 12n, unpopulated: 1n << 13n } as const;

/** Ways to learn which pages were written. */
export function probeTrackingFeatures(trial: Trial): Promise<Feature[]> {
  const userfaultfd = { ENOSYS: 'a kernel built with CONFIG_USERFAULTFD=y', EPERM: 'run ckpt as root' };
  const offered = (bit: bigint, name: string) => () => {
    if ((offeredFeatures(trial.native()) & bit) === 0n)
      throw new MissingError(`UFFDIO_API does not offer ${name}`);
    return `UFFDIO_API offers ${name}`;
  };
  return Promise.all([
    tryFeature('frame-numbers', 'frame numbers', { otherwise: needsCapability('CAP_SYS_ADMIN') }, seeFrames),
    tryFeature(
      'soft-dirty',
      'soft-dirty marks',
      { otherwise: 'a kernel built with CONFIG_MEM_SOFT_DIRTY=y' },
      markWrites,
    ),
    tryFeature(
      'clear-ledger',
      'ledger of cleared marks',
      { otherwise: `run ckpt as root, or make ${DEFAULT_LEDGER_DIRECTORY} writable` },
      tryLedger,
    ),
    tryFeature('pagemap-scan', 'PAGEMAP_SCAN', { otherwise: 'Linux 6.7 or later' }, () => scanPages(trial)),
    tryFeature('userfaultfd', 'userfaultfd', userfaultfd, () => openUserfaultfd(trial)),
    tryFeature('unrestricted-userfaultfd', 'unrestricted userfaultfd', {}, () => openUnrestricted(trial)),
    tryFeature('write-protect-async', 'asynchronous write protection', { otherwise: OWN_KERNEL }, () =>
      trackOwnWrites(trial),
    ),
    tryFeature(
      'write-protect-unpopulated',
      'protection of pages not yet there',
      { otherwise: OWN_KERNEL },
      offered(UFFD_FEATURE.unpopulated, 'WP_UNPOPULATED'),
    ),
    tryFeature(
      'write-protect-shared',
      'protection of shared and huge pages',
      { otherwise: OWN_KERNEL },
      offered(UFFD_FEATURE.shared, 'WP_HUGETLBFS_SHMEM'),
    ),
  ]);
}

async function seeFrames(): Promise<string> {
  const abilities = await probeAbilities();
  if (!abilities.frameNumbers) throw new MissingError('pagemap shows no frame numbers');
  return 'pagemap shows where pages are';
}

async function markWrites(): Promise<string> {
  const abilities = await probeAbilities();
  if (!abilities.softDirty)
    throw new MissingError(abilities.softDirtyProblem ?? 'written pages are not marked');
  return 'a cleared page was marked again when a process wrote to it';
}

function tryLedger(): string {
  const problem = prepareLedger(DEFAULT_LEDGER_DIRECTORY);
  if (problem !== undefined) throw new MissingError(problem);
  accessSync(DEFAULT_LEDGER_DIRECTORY, constants.W_OK);
  return `${DEFAULT_LEDGER_DIRECTORY} can be written`;
}

/** Memory of our own, in whole pages, that a trial may do anything with. */
class TrialPages {
  readonly native: Native;
  readonly count: number;
  readonly startPage: number;
  readonly bytes: Uint8Array;

  constructor(native: Native, count: number) {
    this.native = native;
    this.count = count;
    const block = new Uint8Array((count + 1) * PAGE_SIZE);
    const start = Number(native.addressOf(block));
    this.startPage = Math.ceil(start / PAGE_SIZE);
    const offset = this.startPage * PAGE_SIZE - start;
    this.bytes = block.subarray(offset, offset + count * PAGE_SIZE);
  }

  /** Pages of `category`, by PAGEMAP_SCAN with `flags`; as numbers from the first of these pages. */
  scan(category: number, flags: number): number[] {
    const startPage = this.startPage;
    const endPage = startPage + this.count;
    const descriptor = openSync('/proc/self/pagemap', 'r');
    try {
      const { regions } = new PageScanner(this.native).scan(descriptor, {
        ...{ startPage, endPage, flags, maximumRegions: this.count, maximumPages: 0 },
        ...{ categoryInverted: 0, categoryMask: category, categoryAnyOfMask: 0, returnMask: category },
      });
      const pages = Array.from({ length: this.count }, (_, index) => startPage + index);
      return pages
        .filter((page) => regions.some((region) => region.startPage <= page && page < region.endPage))
        .map((page) => page - startPage);
    } finally {
      closeSync(descriptor);
    }
  }
}

function readZeros(into: Uint8Array): void {
  const descriptor = openSync('/dev/zero', 'r');
  try {
    readSync(descriptor, into);
  } finally {
    closeSync(descriptor);
  }
}

function scanPages(trial: Trial): string {
  const pages = new TrialPages(trial.native(), 4);
  pages.bytes.fill(1);
  const present = pages.scan(SCAN_CATEGORY.present, 0);
  if (present.length !== 4) throw new MissingError(`of 4 present pages it named ${present.length}`);
  return 'it named the pages of a range';
}

function openUserfaultfd(trial: Trial): string {
  offeredFeatures(trial.native());
  return 'one was made for faults of user code';
}

function openUnrestricted(trial: Trial): string {
  const { errno, value } = trial.native().tryCall('userfaultfd', ALL_FAULTS);
  if (errno === 'EPERM') throw new MissingError('not for this user (vm.unprivileged_userfaultfd is 0)');
  if (errno !== undefined) throw new MissingError(`userfaultfd failed: ${errno}`);
  closeSync(Number(value));
  return 'one was made for faults of the kernel, too';
}

function openOwn(native: Native): Userfaultfd {
  return new Userfaultfd(native, Number(native.call('userfaultfd', 'userfaultfd', USERFAULTFD_FLAGS)));
}

/** What UFFDIO_API offers. */
function offeredFeatures(native: Native): bigint {
  const userfaultfd = openOwn(native);
  try {
    return userfaultfd.offers();
  } finally {
    userfaultfd.close();
  }
}

const PAGES = 16;
/** Pages that the trial writes: the last one through a system call, as a server does that reads from a socket. */
const WRITTEN_PAGES = [3, 4, 9];

/** Does on pages of our own what the tracker does on a target's. Closing the descriptor ends it. */
function trackOwnWrites(trial: Trial): string {
  const pages = new TrialPages(trial.native(), PAGES);
  const { native, startPage, bytes } = pages;
  bytes.fill(1);
  const userfaultfd = openOwn(native);
  try {
    const refused = userfaultfd.enable() ?? userfaultfd.register(startPage, startPage + PAGES);
    if (refused !== undefined)
      throw new MissingError(`UFFDIO_API with WP_ASYNC or UFFDIO_REGISTER gives ${refused}`);
    const flags = SCAN_FLAG.writeProtectMatching | SCAN_FLAG.checkAsynchronous;
    pages.scan(SCAN_CATEGORY.written, flags);
    for (const page of WRITTEN_PAGES.slice(0, -1)) bytes[page * PAGE_SIZE] = 2;
    readZeros(bytes.subarray(WRITTEN_PAGES.at(-1)! * PAGE_SIZE, (WRITTEN_PAGES.at(-1)! + 1) * PAGE_SIZE));
    const found = pages.scan(SCAN_CATEGORY.written, flags);
    if (found.join() !== WRITTEN_PAGES.join()) {
      throw new MissingError(`pages ${WRITTEN_PAGES.join(', ')} were written, and ${found.join(', ')} named`);
    }
    return `of ${PAGES} protected pages it named just the ${WRITTEN_PAGES.length} written`;
  } finally {
    userfaultfd.close();
  }
}
