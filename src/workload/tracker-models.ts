import { type PageRange, UnsupportedError } from '../core/index.ts';
import {
  DEFAULT_COSTS,
  errnoName,
  type Process,
  UFFD_FEATURE,
  UFFD_REGISTER,
  type Userfaultfd,
} from '../kernel/index.ts';
import { SCAN_CATEGORY, SCAN_FLAG } from '../procfs/index.ts';
import { EventQueue } from './event-queue.ts';
import { type PageSnapshot, snapshotAll } from './page-snapshot.ts';
import type { Simulation } from './simulation.ts';

export const COMPARED_TRACKERS = ['soft-dirty', 'pagemap-scan', 'compare', 'event-queue'] as const;
export type ComparedTracker = (typeof COMPARED_TRACKERS)[number];

/** Virtual nanoseconds of work that the simulated kernel does not price: it happens in the tracker's own program. */
const PRICES = {
  /** Copying a page out of the target through /proc/PID/mem. */
  readPage: 700,
  /** SHA-256 of a page (6 us as measured on current machines). */
  hashPage: 6000,
  /** The target writes a trace record, also one that is then dropped. */
  traceEvent: 250,
  /** The tracker reads a trace record. */
  drainEvent: 100,
};

/** What a tracker says after a period. */
export interface TrackerAnswer {
  /** Changed pages by process, ascending. Pages that did not exist before need not be named. */
  readonly pages: ReadonlyMap<number, ArrayLike<number>>;
  /** The pages are those whose contents changed: nothing need be added. */
  readonly exact: boolean;
  readonly scannedPages: number;
  readonly lostEvents: number;
  readonly fullScan: boolean;
  /** Nanoseconds of the target's time that the period cost besides faults. */
  readonly targetNanoseconds: number;
  /** Nanoseconds of the tracker's own work besides system calls. */
  readonly trackerNanoseconds: number;
}

/** What an untracked simulation shows at the end of a period, at no price. */
export interface Truth {
  /** Pages whose contents changed, by process. */
  readonly changed: ReadonlyMap<number, ArrayLike<number>>;
  /** All pages that exist, by process. */
  readonly existing: ReadonlyMap<number, PageSnapshot>;
}

/** A tracker at work on a simulation of its own. */
export interface TrackerModel {
  readonly kind: ComparedTracker;
  readonly simulation: Simulation;
  /** Ends a period: names what changed in it. */
  collect(truth: Truth): TrackerAnswer;
  /** Begins a period. */
  arm(): void;
}

const NOTHING_SPECIAL = {
  exact: false,
  lostEvents: 0,
  fullScan: false,
  targetNanoseconds: 0,
  trackerNanoseconds: 0,
};

/** clear_refs 4, then bit 55 of pagemap. */
export function softDirtyModel(simulation: Simulation, zeroFrame: number): TrackerModel {
  return {
    kind: 'soft-dirty',
    simulation,
    collect() {
      const snapshots = snapshotAll(simulation.kernel, zeroFrame, false);
      return { ...NOTHING_SPECIAL, pages: pick(snapshots, 'softDirty'), scannedPages: wordsOf(snapshots) };
    },
    arm() {
      for (const { process } of simulation.programs) process.clearRefs('4');
    },
  };
}

/** PAGEMAP_SCAN over mappings under asynchronous userfaultfd write protection. */
export function pagemapScanModel(simulation: Simulation): TrackerModel {
  const descriptors = new Map<Process, Userfaultfd>();
  return {
    kind: 'pagemap-scan',
    simulation,
    collect() {
      const pages = new Map<number, number[]>();
      let scannedPages = 0;
      for (const { process } of simulation.programs) {
        const found: number[] = [];
        for (const vma of process.vmas()) {
          // A mapping that is not registered is new, or of a kind that cannot be: all of it may have changed.
          scannedPages += scan(process, vma, vma.flags.includes('uw'), found);
        }
        pages.set(process.pid, found);
      }
      return { ...NOTHING_SPECIAL, pages, scannedPages };
    },
    arm() {
      for (const { process } of simulation.programs) protectNewMappings(process, descriptors);
    },
  };
}

/** A hash of every page against the one of the last period: right by definition, at the price of reading it all. */
export function compareModel(simulation: Simulation): TrackerModel {
  return {
    kind: 'compare',
    simulation,
    collect({ changed, existing }) {
      const scannedPages = pageCount(existing);
      return {
        ...NOTHING_SPECIAL,
        exact: true,
        pages: changed,
        scannedPages,
        trackerNanoseconds:
          wordsOf(existing) * DEFAULT_COSTS.pagemapWord + scannedPages * (PRICES.readPage + PRICES.hashPage),
      };
    },
    arm() {},
  };
}

/** A bounded queue of write events; when it has overflowed, everything is suspect and the dumper reads it all. */
export function eventQueueModel(simulation: Simulation, zeroFrame: number, capacity: number): TrackerModel {
  const queue = new EventQueue(capacity);
  return {
    kind: 'event-queue',
    simulation,
    collect() {
      const contents = queue.drain();
      const all = contents.fullScanNeeded ? snapshotAll(simulation.kernel, zeroFrame, false) : undefined;
      const everything = all === undefined ? 0 : pageCount(all);
      return {
        exact: false,
        pages: all === undefined ? listsOf(contents.pagesOfProcess) : pick(all, 'pages'),
        scannedPages: everything,
        lostEvents: contents.lostEvents,
        fullScan: contents.fullScanNeeded,
        targetNanoseconds: (contents.events + contents.lostEvents) * PRICES.traceEvent,
        trackerNanoseconds:
          contents.events * PRICES.drainEvent + everything * (PRICES.readPage + PRICES.hashPage),
      };
    },
    arm() {
      simulation.kernel.listener = queue;
    },
  };
}

/** Scans one mapping for written pages, which are protected again, or for all that exist; they go to `found`. */
function scan(process: Process, vma: PageRange, written: boolean, found: number[]): number {
  let scannedPages = 0;
  for (let at = vma.startPage; at < vma.endPage; ) {
    const answer = process.scanPagemap({
      startPage: at,
      endPage: vma.endPage,
      flags: written ? SCAN_FLAG.writeProtectMatching | SCAN_FLAG.checkAsynchronous : 0,
      maximumRegions: 1024,
      maximumPages: 0,
      categoryInverted: SCAN_CATEGORY.zeroFrame,
      categoryMask: SCAN_CATEGORY.zeroFrame | (written ? SCAN_CATEGORY.written : 0),
      categoryAnyOfMask: SCAN_CATEGORY.present | SCAN_CATEGORY.swapped,
      returnMask: SCAN_CATEGORY.written,
    });
    if (typeof answer === 'number') {
      throw new UnsupportedError(`PAGEMAP_SCAN was refused by the simulated kernel: ${errnoName(answer)}`);
    }
    for (const region of answer.regions) {
      for (let page = region.startPage; page < region.endPage; page++) found.push(page);
      scannedPages += region.endPage - region.startPage;
    }
    at = answer.walkEndPage;
  }
  return scannedPages;
}

/** Registers what is not registered yet, and protects it. */
function protectNewMappings(process: Process, descriptors: Map<Process, Userfaultfd>): void {
  const features =
    UFFD_FEATURE.writeProtectAsync |
    UFFD_FEATURE.writeProtectUnpopulated |
    UFFD_FEATURE.writeProtectHugeShared;
  let descriptor = descriptors.get(process);
  if (descriptor === undefined) {
    const opened = process.userfaultfd(features);
    if (typeof opened === 'number') return;
    descriptor = opened;
    descriptors.set(process, descriptor);
  }
  for (const vma of process.vmas()) {
    if (vma.flags.includes('uw')) continue;
    const registered = descriptor.register(
      vma.startPage,
      vma.endPage - vma.startPage,
      UFFD_REGISTER.writeProtect,
    );
    if (registered >= 0) scan(process, vma, true, []);
  }
}

function pick(
  snapshots: ReadonlyMap<number, PageSnapshot>,
  key: 'pages' | 'softDirty',
): Map<number, Float64Array> {
  return new Map([...snapshots].map(([pid, snapshot]) => [pid, snapshot[key]]));
}

function wordsOf(snapshots: ReadonlyMap<number, PageSnapshot>): number {
  return [...snapshots.values()].reduce((sum, snapshot) => sum + snapshot.scannedWords, 0);
}

function pageCount(snapshots: ReadonlyMap<number, PageSnapshot>): number {
  return [...snapshots.values()].reduce((sum, snapshot) => sum + snapshot.pages.length, 0);
}

function listsOf(ranges: ReturnType<EventQueue['drain']>['pagesOfProcess']): Map<number, number[]> {
  const lists = new Map<number, number[]>();
  for (const [pid, list] of ranges) {
    const pages: number[] = [];
    for (const { startPage, endPage } of list) {
      for (let page = startPage; page < endPage; page++) pages.push(page);
    }
    lists.set(pid, pages);
  }
  return lists;
}
