import { describe, expect, it } from 'vitest';
import { PageRangeList, Random } from '../../src/core/index.ts';
import {
  type MigratingMemory,
  type Outcome,
  openSimulatedMemory,
  openSource,
  type PolicyChoice,
  type Recording,
  type RehearsalOptions,
  rehearse,
  rehearseOnce,
  USUAL_COSTS,
} from '../../src/migration/index.ts';
import { scaledLink } from '../../src/migration/link.ts';
import { RecordingBuilder } from '../../src/migration/recording/builder.ts';
import { parseWorkload, type Workload } from '../../src/workload/index.ts';
import { HEADER, PID, pagesOf } from './recording/recordings.ts';

/** A program with 48 MiB in use, of which it writes as the phases say. */
function program(name: string, ...phases: readonly string[]): Workload {
  const text = `
version: 1
name: ${name}
seed: 3
processes:
  - name: program
    regions:
      heap: { size: 44MiB, resident: 44MiB, kind: anonymous, content: { kind: random } }
      table: { size: 4MiB, resident: 4MiB, kind: anonymous, content: { kind: random } }
    phases:
${phases.join('\n')}
`;
  return parseWorkload(text, name);
}

function phase(seconds: number, ...writes: readonly string[]): string {
  const streams = writes.map((write) => `          - { ${write}, bytes: 64 }`);
  return [`      - duration: ${seconds}s`, '        writes:', ...streams].join('\n');
}

const PROGRAMS = [
  program('zipf', phase(60, 'region: heap, pattern: zipf, theta: 0.99, rate: 3000/s')),
  program('uniform', phase(60, 'region: heap, pattern: uniform, rate: 1500/s')),
  program('sequential', phase(60, 'region: heap, pattern: sequential, rate: 2500/s')),
  program(
    'bursts',
    phase(2, 'region: heap, pattern: uniform, rate: 5000/s'),
    phase(3, 'region: heap, pattern: uniform, rate: 50/s'),
  ),
  program(
    'hot',
    phase(60, 'region: table, pattern: uniform, rate: 8000/s', 'region: heap, pattern: uniform, rate: 300/s'),
  ),
];
const POLICIES: readonly PolicyChoice[] = [
  { policy: 'qemu', options: { maxBandwidth: 0 } },
  { policy: 'xen' },
  { policy: 'criu', options: { preDumps: 2 } },
];
const FIGURES = ['totalMicroseconds', 'downtimeMicroseconds', 'transferredBytes'] as const;
const BANDWIDTHS = [12e6, 48e6];
const TRUTHS = 8;
const RECORDED_SECONDS = 20;

/** What a tracker sees of a program, interval by interval. */
function recordedFrom(memory: MigratingMemory): Recording {
  const builder = new RecordingBuilder(HEADER);
  const none = new PageRangeList();
  const empty = { pid: PID, unmapped: [], mapped: [], resident: none, zero: none, written: none, gone: none };
  const { intervalMicroseconds } = HEADER;
  const step = (interval: number, found: Partial<Record<'resident' | 'written', PageRangeList>>) =>
    builder.add({
      atMicroseconds: interval * intervalMicroseconds,
      ...{ frozenMicroseconds: 0, started: [], ended: [] },
      processes: [{ ...empty, samples: [], ...found }],
    });
  step(0, { resident: pagesOf(pagesIn(memory.resident)) });
  for (let interval = 1; interval * intervalMicroseconds <= RECORDED_SECONDS * 1e6; interval++) {
    memory.run(intervalMicroseconds);
    step(interval, { written: pagesOf(pagesIn(memory.dirty)) });
    memory.dirty.clear();
  }
  return builder.build();
}

function* pagesIn(set: MigratingMemory['dirty']): Generator<number> {
  for (let page = set.next(0); page >= 0; page = set.next(page + 1)) yield page;
}

/** A link that is off by as much as is promised, and hosts that are sometimes busy. */
function asItTurnsOut(options: RehearsalOptions, random: Random): RehearsalOptions {
  const between = (low: number, high: number) => low + (high - low) * random.nextFraction();
  const seldom = (high: number) => high * random.nextFraction() ** 3;
  return {
    ...options,
    link: scaledLink(options.link, between(0.98, 1.02)),
    costs: {
      wakeMicroseconds: USUAL_COSTS.wakeMicroseconds * between(0, 1) + seldom(2000),
      stopMicroseconds: USUAL_COSTS.stopMicroseconds * between(0.2, 1) + seldom(30_000),
      resumeMicroseconds: USUAL_COSTS.resumeMicroseconds * between(0.1, 1) + seldom(40_000),
      pageNanoseconds: USUAL_COSTS.pageNanoseconds * between(0.3, 2),
    },
  };
}

describe('the intervals of a rehearsal', () => {
  it('hold what happens to another run of the program in nine of ten cases, from a recording of an earlier one', {
    timeout: 120_000,
  }, async () => {
    const inside = new Map<string, number[]>();
    const count = (key: string, isInside: boolean) => {
      const [held = 0, all = 0] = inside.get(key) ?? [];
      inside.set(key, [held + (isInside ? 1 : 0), all + 1]);
    };
    for (const [number, workload] of PROGRAMS.entries()) {
      const memory = await openSimulatedMemory(workload, { seed: 100 + number, warmUpMicroseconds: 3e6 });
      const source = { kind: 'recording', recording: recordedFrom(memory) } as const;
      const random = new Random(number + 1);
      for (const bytesPerSecond of BANDWIDTHS) {
        for (const choice of POLICIES) {
          const options = { link: { bytesPerSecond }, choice };
          const open = (run: number) => openSource(source, run);
          const predicted = await rehearse(open, options, { runs: 20, withAdvice: false });
          for (let truth = 0; truth < TRUTHS; truth++) {
            const seed = 5000 + number * 1000 + random.nextBelow(1000);
            const warmUpMicroseconds = 2e6 + random.nextBelow(8e6);
            const real = await openSimulatedMemory(workload, { seed, warmUpMicroseconds });
            const outcome: Outcome = rehearseOnce(real, asItTurnsOut(options, random));
            expect(outcome.verdict).toBe(predicted.verdict);
            for (const figure of FIGURES) {
              const [low, high] = predicted.intervals[figure];
              const value = outcome[figure];
              count(figure, value >= low && value <= high);
              count(workload.name, value >= low && value <= high);
            }
          }
        }
      }
    }
    const shares = new Map([...inside].map(([key, [held, all]]) => [key, held! / all!]));
    for (const figure of FIGURES) expect(shares.get(figure), figure).toBeGreaterThanOrEqual(0.9);
    for (const { name } of PROGRAMS) expect(shares.get(name), name).toBeGreaterThanOrEqual(0.85);
  });
});
