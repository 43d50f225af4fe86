import { closeSync, openSync, readFileSync, readSync, writeFileSync } from 'node:fs';
import { release } from 'node:os';
import { PAGE_SIZE } from '../core/index.ts';
import {
  type MapsEntry,
  PAGEMAP_HIGH,
  PAGEMAP_WORD_BYTES,
  pagemapFrame,
  parseMaps,
} from '../procfs/index.ts';
import { readAt } from './live-files.ts';
import { loadNative } from './native/calls.ts';
import { Specimen } from './specimen.ts';
import { kernelProblem } from './userfaultfd.ts';
import type { TrackingAbilities } from './view.ts';

/** What the machine and our rights offer, found by trying. */
export interface LiveAbilities extends TrackingAbilities {
  /** Frame of the page of zeros, if frame numbers are visible. */
  readonly zeroFrame: number | undefined;
}

let cached: Promise<LiveAbilities> | undefined;

/** Probes once for the life of this program: neither kernel nor rights change under it. */
export function probeAbilities(): Promise<LiveAbilities> {
  cached ??= probe();
  return cached;
}

async function probe(): Promise<LiveAbilities> {
  const { problem, frameNumbers } = await trySoftDirty();
  return {
    softDirty: problem === undefined,
    frameNumbers,
    kernelRelease: release(),
    ...(problem === undefined ? {} : { softDirtyProblem: problem }),
    writeProtectionProblem: await tryWriteProtection(),
    zeroFrame: frameNumbers ? findZeroFrame() : undefined,
  };
}

async function tryWriteProtection(): Promise<string | undefined> {
  try {
    return kernelProblem(await loadNative());
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

interface Trial {
  readonly problem: string | undefined;
  readonly frameNumbers: boolean;
}

/**
 * Watches the pages of a process that echoes lines. A kernel without CONFIG_MEM_SOFT_DIRTY accepts the clear and marks
 * nothing, and an emulated one may mark everything, so three looks are needed: bits that are set in a new process,
 * none after a clear, some again once it has run.
 */
async function trySoftDirty(): Promise<Trial> {
  let specimen: Specimen | undefined;
  try {
    specimen = await Specimen.start();
    const { pid } = specimen;
    const fresh = countPages(pid);
    const frameNumbers = fresh.framesVisible;
    if (fresh.softDirty === 0) {
      return {
        problem: 'this kernel does not mark written pages (CONFIG_MEM_SOFT_DIRTY is off)',
        frameNumbers,
      };
    }
    writeFileSync(`/proc/${pid}/clear_refs`, '4');
    const cleared = countPages(pid);
    await specimen.echo();
    const written = countPages(pid);
    const works = cleared.softDirty === 0 && written.softDirty > 0;
    return { problem: works ? undefined : 'this kernel clears or sets the marks unreliably', frameNumbers };
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    return { problem: `soft-dirty marks could not be tried out: ${why}`, frameNumbers: false };
  } finally {
    specimen?.end();
  }
}

interface PageCounts {
  readonly softDirty: number;
  readonly framesVisible: boolean;
}

/** Looks at the present pages of a small process. */
function countPages(pid: number): PageCounts {
  let softDirty = 0;
  let framesVisible = false;
  forEachPresentPage(
    pid,
    () => true,
    (words, index) => {
      if ((words[index * 2 + 1]! & PAGEMAP_HIGH.softDirty) !== 0) softDirty++;
      if (pagemapFrame(words, index) !== 0) framesVisible = true;
    },
  );
  return { softDirty, framesVisible };
}

/** Larger than the size up to which any malloc reuses memory: it comes fresh from the kernel. */
const FRESH_BYTES = 40 << 20;
/** A few loads suffice; they are spread, for some of them may be answered by the huge page of zeros. */
const LOAD_DISTANCE_BYTES = 640 << 10;
/** Pages that malloc and the kernel may add to a mapping of that size. */
const ADDED_PAGES = 4096;
/** KPF_ZERO_PAGE of /proc/kpageflags (include/uapi/linux/kernel-page-flags.h). */
const ZERO_PAGE_FLAG = 1 << 24;

/** Loads from memory of our own that nobody has stored to, and looks at which frame the kernel put there. */
function findZeroFrame(): number | undefined {
  const fresh = new Uint8Array(FRESH_BYTES);
  let sum = 0;
  for (let offset = 0; offset < FRESH_BYTES; offset += LOAD_DISTANCE_BYTES) sum += fresh[offset]!;
  if (sum !== 0) return undefined;
  const candidates = new Set<number>();
  const pages = FRESH_BYTES / PAGE_SIZE;
  forEachPresentPage(
    process.pid,
    ({ inode, write, startPage, endPage }) =>
      inode === 0 && write && endPage - startPage >= pages && endPage - startPage < pages + ADDED_PAGES,
    (words, index) => {
      const shared = (words[index * 2 + 1]! & (PAGEMAP_HIGH.file | PAGEMAP_HIGH.exclusive)) === 0;
      if (shared) candidates.add(pagemapFrame(words, index));
    },
  );
  return [...candidates].find(isZeroFrame);
}

function isZeroFrame(frame: number): boolean {
  const flags = new BigUint64Array(1);
  const descriptor = openSync('/proc/kpageflags', 'r');
  try {
    readSync(descriptor, flags, 0, 8, frame * 8);
  } finally {
    closeSync(descriptor);
  }
  return (Number(flags[0]! & 0xffffffffn) & ZERO_PAGE_FLAG) !== 0;
}

/** Visits the pagemap words of present pages in those mappings that `wanted` picks. */
function forEachPresentPage(
  pid: number,
  wanted: (entry: MapsEntry) => boolean,
  visit: (words: Uint32Array, index: number) => void,
): void {
  const words = new Uint32Array(65536);
  const descriptor = openSync(`/proc/${pid}/pagemap`, 'r');
  try {
    for (const entry of parseMaps(readFileSync(`/proc/${pid}/maps`, 'latin1'))) {
      if (!wanted(entry)) continue;
      for (let page = entry.startPage; page < entry.endPage; page += words.length / 2) {
        const bytes = Math.min(entry.endPage - page, words.length / 2) * PAGEMAP_WORD_BYTES;
        const count = readAt(descriptor, words, bytes, page * PAGEMAP_WORD_BYTES) / PAGEMAP_WORD_BYTES;
        for (let index = 0; index < count; index++) {
          if (words[index * 2 + 1]! >= PAGEMAP_HIGH.present) visit(words, index);
        }
      }
    }
  } finally {
    closeSync(descriptor);
  }
}
