import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PageRangeList, Random } from '../../../src/core/index.ts';
import { emptyStep } from '../../../src/migration/trace/format.ts';
import { SizeBudget } from '../../../src/migration/trace/size-budget.ts';
import { TraceWriter } from '../../../src/migration/trace/writer.ts';

const INTERVAL = 100_000;
const PAGES = 30_000;
const BASE = 0x7f0000000;

interface Pattern {
  /** Pages written in one interval, at random, as a share of all; from a moment on, as a share of the duration. */
  readonly phases: readonly (readonly [from: number, share: number])[];
  readonly intervals: number;
  readonly maxBytes: number;
  readonly isOpenEnded: boolean;
}

/** Writes the trace that a recording with this budget would write. */
async function record({ phases, intervals, maxBytes, isOpenEnded }: Pattern) {
  const duration = intervals * INTERVAL;
  const header = { target: 'x', kind: 'live', tracker: 'none', clock: 'monotonic' } as const;
  let bytes = 0;
  const writer = await TraceWriter.begin(
    { ...header, pageSize: 4096, intervalMicroseconds: INTERVAL },
    async (part) => {
      bytes += part.length;
    },
  );
  const step = (atMicroseconds: number, list: Partial<ReturnType<typeof emptyStep>>) =>
    writer.step({
      atMicroseconds,
      frozenMicroseconds: 0,
      started: [],
      ended: [],
      processes: [{ ...emptyStep(1), ...list }],
    });
  const durationMicroseconds = isOpenEnded ? undefined : duration;
  const budget = new SizeBudget({ maxBytes, intervalMicroseconds: INTERVAL, durationMicroseconds });
  await step(0, { resident: PageRangeList.of({ startPage: BASE, endPage: BASE + PAGES }) });
  budget.begin(writer.expectedBytes, PAGES);
  const random = new Random(7);
  /** Pages before the next one that is written. */
  const gap = (share: number) =>
    Math.min(
      PAGES,
      share >= 1 ? 0 : Math.floor(Math.log1p(-random.nextFraction()) / Math.log1p(-share || -1e-9)),
    );
  const lengths: number[] = [];
  for (let at = 0, wait = INTERVAL; at < duration; ) {
    const end = Math.min(duration, at + wait);
    lengths.push(end - at);
    const share = phases.findLast(([from]) => from * duration <= at)?.[1] ?? 0;
    // Each page independently, as often as there were intervals.
    const written = 1 - (1 - share) ** ((end - at) / INTERVAL);
    const pages = new PageRangeList();
    for (let page = gap(written); page < PAGES; page += 1 + gap(written)) {
      pages.append(BASE + page, BASE + page + 1);
    }
    await step(end, { written: pages });
    at = end;
    wait = budget.next(writer.expectedBytes, at, PAGES);
  }
  await writer.seal('duration');
  return { bytes, lengths };
}

describe('the size of a trace', () => {
  it('stays below its limit whatever is written', async () => {
    const share = fc.oneof(fc.constant(0), fc.double({ min: 0, max: 1, noNaN: true }), fc.constant(0.5));
    const phases = fc.array(fc.tuple(fc.double({ min: 0, max: 1, noNaN: true }), share), {
      minLength: 1,
      maxLength: 3,
    });
    await fc.assert(
      fc.asyncProperty(
        phases,
        fc.integer({ min: 100_000, max: 300_000 }),
        fc.boolean(),
        async (phases, maxBytes, isOpenEnded) => {
          const sorted = [...phases].sort(([left], [right]) => left - right);
          const { bytes } = await record({ phases: sorted, intervals: 150, maxBytes, isOpenEnded });
          expect(bytes).toBeLessThanOrEqual(maxBytes);
        },
      ),
      { numRuns: 12 },
    );
  });

  it('makes good use of what it may take, and stretches nothing without need', async () => {
    const common = { intervals: 300, maxBytes: 300_000, isOpenEnded: false };
    const busy = await record({ ...common, phases: [[0, 0.2]] });
    expect(busy.bytes).toBeGreaterThan(200_000);
    expect(Math.max(...busy.lengths)).toBeLessThanOrEqual(20 * INTERVAL);
    const calm = await record({ ...common, phases: [[0, 0.005]] });
    expect(new Set(calm.lengths)).toEqual(new Set([INTERVAL]));
  });

  it('goes back to the interval asked for when the storm is over', async () => {
    const { lengths } = await record({
      phases: [
        [0, 0.5],
        [0.3, 0.001],
      ],
      intervals: 300,
      maxBytes: 300_000,
      isOpenEnded: false,
    });
    expect(Math.max(...lengths)).toBeGreaterThan(INTERVAL);
    expect(lengths.slice(-100).every((length) => length === INTERVAL)).toBe(true);
  });

  it('refuses a limit that leaves no room for a second scan', () => {
    const budget = new SizeBudget({
      maxBytes: 100_000,
      intervalMicroseconds: INTERVAL,
      durationMicroseconds: undefined,
    });
    expect(() => budget.begin(1000, 1_000_000)).toThrow('has no room');
  });
});
