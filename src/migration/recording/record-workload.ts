import type { Workload } from '../../workload/index.ts';
import type { PageBitmap } from '../page-bitmap.ts';
import { openSimulatedMemory, type SimulatedMemory } from '../simulated-memory.ts';
import { RangeCoder } from './coded-ranges.ts';
import { HeatCounter, heatOf, type PageHeat, rateOf } from './page-heat.ts';
import { type SizedStretch, UNKNOWN_SIZE } from './page-sizes.ts';
import type { Recording } from './recording.ts';
import { sharedCopy } from './shared-arrays.ts';
import { StateShots } from './state-shots.ts';

export interface WorkloadRecordingOptions {
  /** How long the program has run when the recording begins. */
  readonly warmUpMicroseconds?: number;
  /** How long it is recorded, in virtual time. */
  readonly durationMicroseconds: number;
  readonly intervalMicroseconds?: number;
  /** Another seed than the workload file's. */
  readonly seed?: number;
  readonly signal?: AbortSignal;
}

const USUAL_INTERVAL_MICROSECONDS = 20_000;
/** Writes for which differences are told: powers of two. */
const DIFFERENCE_ROWS = 12;

/**
 * Runs a simulated workload in virtual time and records what it writes. Nothing is found out by a tracker: every store
 * is seen, so that it is known how often a page was written in an interval.
 */
export async function recordWorkload(
  workload: Workload,
  options: WorkloadRecordingOptions,
): Promise<Recording> {
  const { warmUpMicroseconds, seed, durationMicroseconds, signal } = options;
  const { intervalMicroseconds = USUAL_INTERVAL_MICROSECONDS } = options;
  const memory = await openSimulatedMemory(workload, {
    ...(warmUpMicroseconds === undefined ? {} : { warmUpMicroseconds }),
    ...(seed === undefined ? {} : { seed }),
  });
  memory.countStores();
  const written = new RangeCoder();
  const gone = new RangeCoder();
  const heat = new HeatCounter(intervalMicroseconds);
  const shots = beginShots(memory);
  const intervals = Math.max(1, Math.round(durationMicroseconds / intervalMicroseconds));
  for (let interval = 1; interval <= intervals; interval++) {
    signal?.throwIfAborted();
    memory.run(intervalMicroseconds);
    heat.begin(intervalMicroseconds);
    eachRange(memory.dirty, (start, end) => {
      written.add(start, end);
      heat.add(start, end);
      shots.written(start, end);
    });
    memory.dirty.clear();
    written.finish(ignore);
    gone.finish(ignore);
    shots.finishInterval(interval, interval * intervalMicroseconds, memory.pageCount);
  }
  return {
    target: `sim:${workload.name}`,
    kind: 'simulated',
    tracker: 'every store',
    intervalMicroseconds,
    microseconds: intervals * intervalMicroseconds,
    pageCount: memory.pageCount,
    ...layoutOf(memory),
    states: shots.build(intervals),
    endsMicroseconds: sharedCopy(
      Float64Array.from({ length: intervals }, (_, index) => (index + 1) * intervalMicroseconds),
    ),
    written: written.build(),
    gone: gone.build(),
    heat: countedHeat(memory, heat),
    cpuShare: memory.cpuShare,
    notes: [],
  };
}

function beginShots(memory: SimulatedMemory): StateShots {
  const shots = new StateShots();
  eachRange(memory.resident, (start, end) => {
    shots.resident.addRange(start, end);
    for (let page = start; page < end; page++) if (memory.isZero(page)) shots.zero.add(page);
  });
  shots.begin(memory.pageCount);
  return shots;
}

/** Heat by what was counted: stores per interval in which there was one. */
function countedHeat(memory: SimulatedMemory, times: HeatCounter): PageHeat {
  const built = times.build(memory.pageCount);
  for (let page = 0; page < memory.pageCount; page++) {
    const stores = memory.storesOf(page);
    if (stores <= 1) continue;
    built.heat[page] = heatOf(rateOf(stores / times.timesWritten(page)));
    built.hot[page >>> 5]! |= 1 << (page & 31);
  }
  return built;
}

function layoutOf(memory: SimulatedMemory): Pick<Recording, 'segments' | 'mappings' | 'sizes'> {
  const segments = memory.segments();
  const regions = memory.regions();
  const stretches: SizedStretch[] = regions.map(({ firstNumber, endNumber }, mapping) => ({
    firstNumber,
    endNumber,
    mapping,
    compressedShare: memory.compressedShare(firstNumber),
    differenceBytes: Array.from({ length: DIFFERENCE_ROWS }, (_, row) =>
      memory.differenceBytes(firstNumber, 2 ** row),
    ),
  }));
  const mappings = regions.map(({ name, pid, firstNumber, endNumber }) => {
    const segment = segments.find((each) => each.firstNumber === firstNumber);
    const startPage = segment?.startPage ?? 0;
    return { pid, startPage, endPage: startPage + endNumber - firstNumber, label: name };
  });
  return { segments, mappings, sizes: { stretches, otherwise: UNKNOWN_SIZE } };
}

/** Calls `visit` for each run of pages in a set. */
function eachRange(set: PageBitmap, visit: (start: number, end: number) => void): void {
  for (let start = set.next(0); start >= 0; ) {
    let end = start + 1;
    let next = set.next(end);
    while (next === end) {
      end++;
      next = set.next(end);
    }
    visit(start, end);
    start = next;
  }
}

function ignore(): void {
  // What is coded is known already.
}
