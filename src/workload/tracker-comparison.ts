import { PAGE_SIZE } from '../core/index.ts';
import { ZERO_FRAME } from '../kernel/index.ts';
import { DEFAULT_QUEUE_EVENTS } from './event-queue.ts';
import type { Workload } from './model.ts';
import { type PageSnapshot, snapshotAll } from './page-snapshot.ts';
import { runInSlices, type WorkloadRunOptions } from './run-report.ts';
import { Simulation } from './simulation.ts';
import {
  type ComparedTracker,
  compareModel,
  eventQueueModel,
  pagemapScanModel,
  softDirtyModel,
  type TrackerAnswer,
  type TrackerModel,
} from './tracker-models.ts';

export interface TrackerComparisonOptions
  extends Pick<WorkloadRunOptions, 'version' | 'softDirty' | 'signal' | 'onProgress'> {
  /** Virtual time of one period; default 500 ms. */
  readonly intervalMicroseconds?: number;
  /** Default 6. */
  readonly intervals?: number;
  /** Capacity of the event queue. */
  readonly queueEvents?: number;
}

/** One tracker in one period. */
export interface TrackerInterval {
  /** Pages that a checkpoint would take: those that the tracker names, new ones, and shared memory. */
  readonly reportedPages: number;
  /** Changed pages among the others: a checkpoint without them is wrong. */
  readonly missedPages: number;
  /** Reported pages whose contents are the same as before. */
  readonly extraPages: number;
  /** pagemap words, written pages or contents that were looked at, whichever the tracker looks at. */
  readonly scannedPages: number;
  /** Faults that the target would not have taken without the tracker. */
  readonly extraFaults: number;
  /** What tracking cost the target, while it ran, in virtual microseconds. */
  readonly targetMicroseconds: number;
  /** What collecting and arming cost, in virtual microseconds. */
  readonly trackerMicroseconds: number;
  readonly lostEvents: number;
  /** The tracker lost its knowledge and everything was looked at. */
  readonly fullScan: boolean;
}

export interface TrackerResult {
  readonly kind: ComparedTracker;
  /** Why this tracker does not work on this kernel; it then has no intervals. */
  readonly unavailable?: string;
  readonly intervals: readonly TrackerInterval[];
  readonly total: TrackerInterval;
}

export interface TrackerComparison {
  readonly workload: string;
  readonly kernel: string;
  readonly intervalMicroseconds: number;
  /** Contents compared byte for byte (by hash): pages that exist at the end of each period, and those that changed. */
  readonly truth: readonly { readonly existingPages: number; readonly changedPages: number }[];
  readonly trackers: readonly TrackerResult[];
}

/**
 * Runs one workload under every tracker, each on a simulation of its own (they are equal: tracking changes no content),
 * beside one that nobody tracks. To the pages that a tracker names a dumper adds those that its parent does not have,
 * and all shared memory, which others may change unseen; so does this, except where contents were compared. Pages that
 * are gone are nobody's to report: the next checkpoint lists what exists.
 * @throws the signal's reason if it is aborted.
 */
export async function compareTrackers(
  workload: Workload,
  options: TrackerComparisonOptions = {},
): Promise<TrackerComparison> {
  const intervalMicroseconds = options.intervalMicroseconds ?? 500_000;
  const intervals = options.intervals ?? 6;
  const untracked = Simulation.start(workload, options);
  const models = modelsFor(workload, options, untracked);
  const running = models.flatMap((entry) => (entry.model === undefined ? [] : [entry.model]));
  const truth: { existingPages: number; changedPages: number }[] = [];
  const results = new Map<ComparedTracker, TrackerInterval[]>(running.map((model) => [model.kind, []]));
  let before = snapshotAll(untracked.kernel, ZERO_FRAME, true);
  for (const model of running) model.arm();
  for (let interval = 0; interval < intervals; interval++) {
    const meters = [untracked, ...running.map((model) => model.simulation)].map(meterOf);
    await runInSlices(
      meters.map((meter) => meter.simulation),
      intervalMicroseconds,
      options,
    );
    const plain = meters[0]!.read();
    const after = snapshotAll(untracked.kernel, ZERO_FRAME, true);
    const changed = changedPages(before, after);
    truth.push({ existingPages: countAll(pagesOf(after)), changedPages: countAll(changed) });
    for (const [index, model] of running.entries()) {
      const spent = meters[index + 1]!.read();
      const tracking = meterOf(model.simulation);
      const answer = model.collect({ changed, existing: after });
      model.arm();
      const work = tracking.read();
      results.get(model.kind)!.push({
        ...judge(answer, changed, before, after, model.simulation),
        extraFaults: spent.faults - plain.faults,
        targetMicroseconds: (spent.nanoseconds - plain.nanoseconds + answer.targetNanoseconds) / 1000,
        trackerMicroseconds: (work.nanoseconds + answer.trackerNanoseconds) / 1000,
      });
    }
    before = after;
  }
  return {
    workload: workload.name,
    kernel: untracked.kernel.version,
    intervalMicroseconds,
    truth,
    trackers: models.map(({ kind, unavailable }) => {
      const measured = results.get(kind) ?? [];
      return {
        kind,
        ...(unavailable === undefined ? {} : { unavailable }),
        intervals: measured,
        total: sumOf(measured),
      };
    }),
  };
}

interface ModelEntry {
  readonly kind: ComparedTracker;
  readonly unavailable?: string;
  readonly model?: TrackerModel;
}

function modelsFor(
  workload: Workload,
  options: TrackerComparisonOptions,
  untracked: Simulation,
): ModelEntry[] {
  const start = () => Simulation.start(workload, options);
  const scanMissing =
    untracked.kernel.version === '6.1'
      ? 'PAGEMAP_SCAN and asynchronous write protection came with Linux 6.7'
      : undefined;
  const bitMissing = untracked.softDirty ? undefined : 'this kernel is built without CONFIG_MEM_SOFT_DIRTY';
  return [
    bitMissing === undefined
      ? { kind: 'soft-dirty', model: softDirtyModel(start(), ZERO_FRAME) }
      : { kind: 'soft-dirty', unavailable: bitMissing },
    scanMissing === undefined
      ? { kind: 'pagemap-scan', model: pagemapScanModel(start()) }
      : { kind: 'pagemap-scan', unavailable: scanMissing },
    { kind: 'compare', model: compareModel(start()) },
    {
      kind: 'event-queue',
      model: eventQueueModel(start(), ZERO_FRAME, options.queueEvents ?? DEFAULT_QUEUE_EVENTS),
    },
  ];
}

/** Reads what faults and kernel work have happened since now. */
function meterOf(simulation: Simulation): {
  readonly simulation: Simulation;
  read(): { readonly faults: number; readonly nanoseconds: number };
} {
  const faults = faultsOf(simulation);
  const nanoseconds = simulation.kernel.nanoseconds;
  return {
    simulation,
    read: () => ({
      faults: faultsOf(simulation) - faults,
      nanoseconds: simulation.kernel.nanoseconds - nanoseconds,
    }),
  };
}

/** Faults that the hardware takes: lifting userfaultfd's protection happens within a fault that is counted anyway. */
function faultsOf(simulation: Simulation): number {
  const { faults } = simulation.kernel.counters();
  return Object.values(faults).reduce((sum, count) => sum + count, 0) - faults.userfault;
}

/** Pages that exist after and either did not exist before or held something else. */
function changedPages(
  before: ReadonlyMap<number, PageSnapshot>,
  after: ReadonlyMap<number, PageSnapshot>,
): Map<number, number[]> {
  const changed = new Map<number, number[]>();
  for (const [pid, now] of after) {
    const old = before.get(pid);
    const pages: number[] = [];
    let place = 0;
    for (let index = 0; index < now.pages.length; index++) {
      const page = now.pages[index]!;
      while (old !== undefined && place < old.pages.length && old.pages[place]! < page) place++;
      const same =
        old !== undefined &&
        old.pages[place] === page &&
        old.low[place] === now.low[index] &&
        old.high[place] === now.high[index];
      if (!same) pages.push(page);
    }
    changed.set(pid, pages);
  }
  return changed;
}

/**
 * Compares an answer with the truth. Tracking may keep huge pages from forming, so that pages of zeros that exist in the
 * untracked run are holes in the tracked one; holes cannot be missed.
 */
function judge(
  answer: TrackerAnswer,
  changed: ReadonlyMap<number, ArrayLike<number>>,
  before: ReadonlyMap<number, PageSnapshot>,
  after: ReadonlyMap<number, PageSnapshot>,
  tracked: Simulation,
): Omit<TrackerInterval, 'extraFaults' | 'targetMicroseconds' | 'trackerMicroseconds'> {
  let reportedPages = 0;
  let missedPages = 0;
  let extraPages = 0;
  for (const [pid, now] of after) {
    const named = new Set(Array.from(answer.pages.get(pid) ?? []));
    const known = new Set(before.get(pid)?.pages ?? []);
    const really = new Set(Array.from(changed.get(pid) ?? []));
    for (const [index, page] of now.pages.entries()) {
      const taken = !answer.exact && (!known.has(page) || now.shared[index] === 1);
      const reported = taken || named.has(page);
      if (reported) reportedPages++;
      if (reported && !really.has(page)) extraPages++;
      if (!reported && really.has(page) && exists(tracked, pid, page)) missedPages++;
    }
  }
  const { scannedPages, lostEvents, fullScan } = answer;
  return { reportedPages, missedPages, extraPages, scannedPages, lostEvents, fullScan };
}

/** Whether a page holds anything, looked up at no price. */
function exists(simulation: Simulation, pid: number, page: number): boolean {
  return simulation.kernel.process(pid)?.peekPage(page, new Uint8Array(PAGE_SIZE)) ?? false;
}

function pagesOf(snapshots: ReadonlyMap<number, PageSnapshot>): Map<number, ArrayLike<number>> {
  return new Map([...snapshots].map(([pid, snapshot]) => [pid, snapshot.pages]));
}

function countAll(pages: ReadonlyMap<number, ArrayLike<number>>): number {
  return [...pages.values()].reduce((sum, list) => sum + list.length, 0);
}

function sumOf(intervals: readonly TrackerInterval[]): TrackerInterval {
  const sum = (pick: (interval: TrackerInterval) => number) =>
    intervals.reduce((total, interval) => total + pick(interval), 0);
  return {
    reportedPages: sum((interval) => interval.reportedPages),
    missedPages: sum((interval) => interval.missedPages),
    extraPages: sum((interval) => interval.extraPages),
    scannedPages: sum((interval) => interval.scannedPages),
    extraFaults: sum((interval) => interval.extraFaults),
    targetMicroseconds: sum((interval) => interval.targetMicroseconds),
    trackerMicroseconds: sum((interval) => interval.trackerMicroseconds),
    lostEvents: sum((interval) => interval.lostEvents),
    fullScan: intervals.some((interval) => interval.fullScan),
  };
}
