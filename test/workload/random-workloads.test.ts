import fc from 'fast-check';
import { expect, it } from 'vitest';
import { compareTrackers, parseWorkload, Simulation } from '../../src/workload/index.ts';
import { anyWorkload } from './arbitrary-workload.ts';
import { observe } from './helpers.ts';

it('any workload may be cut, tracked, saved and restored anywhere', () => {
  let writes = 0;
  fc.assert(
    fc.property(
      anyWorkload,
      fc.array(fc.integer({ min: 0, max: 3000 }), { minLength: 1, maxLength: 4 }),
      (text, cuts) => {
        const parsed = parseWorkload(text, 'random.yaml');
        const uncut = Simulation.start(parsed);
        let cut = Simulation.start(parsed);
        for (const [index, duration] of cuts.entries()) {
          // Trackers change page tables, and must be part of both runs; cutting and saving of one only.
          if (index > 0) {
            for (const simulation of [uncut, cut]) {
              for (const { process } of simulation.programs) process.clearRefs('4');
            }
          }
          uncut.run(duration);
          cut.run(Math.floor(duration / 3));
          cut = Simulation.restore(parsed, cut.save());
          cut.run(duration - Math.floor(duration / 3));
        }
        expect(observe(cut)).toEqual(observe(uncut));
        expect(Buffer.compare(cut.save(), uncut.save())).toBe(0);
        for (const program of cut.programs) writes += program.counts.writes;
      },
    ),
    { numRuns: 40 },
  );
  // The property would hold of workloads that do nothing.
  expect(writes).toBeGreaterThan(400);
});

it('no tracker misses a change of any workload, except the queue, which hears of stores only', async () => {
  let changed = 0;
  await fc.assert(
    fc.asyncProperty(anyWorkload, async (text) => {
      const options = { intervalMicroseconds: 1000, intervals: 4 };
      const { trackers, truth } = await compareTrackers(parseWorkload(text, 'random.yaml'), options);
      const missed = trackers.filter(({ kind, total }) => kind !== 'event-queue' && total.missedPages > 0);
      expect(missed).toEqual([]);
      for (const { changedPages } of truth) changed += changedPages;
    }),
    { numRuns: 60 },
  );
  expect(changed).toBeGreaterThan(1000);
});
