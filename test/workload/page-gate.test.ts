import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type PageGate, parseWorkload, Simulation } from '../../src/workload/index.ts';
import { anyWorkload } from './arbitrary-workload.ts';

/** Pages of the first process that are not there, until they are let in. */
class Missing implements PageGate {
  readonly pages: Set<string>;
  readonly pid: number;

  constructor(pid: number, pages: Iterable<number>) {
    this.pid = pid;
    this.pages = new Set([...pages].map((page) => `${pid}:${page}`));
  }

  isThere(pid: number, page: number): boolean {
    return !this.pages.has(`${pid}:${page}`);
  }

  isWhole(pid: number): boolean {
    return pid !== this.pid || this.pages.size === 0;
  }
}

const END_NANOSECONDS = 12_000_000;

describe('a simulation whose pages are not all there', () => {
  it('stops in front of what needs one, and does the same as if all had been there', () => {
    let faults = 0;
    fc.assert(
      fc.property(anyWorkload, fc.nat(4000), fc.integer({ min: 2, max: 9 }), (text, before, nth) => {
        const workload = parseWorkload(text, 'random.yaml');
        const uncut = Simulation.start(workload);
        uncut.run(before);
        const gated = Simulation.restore(workload, uncut.save());
        const [program] = gated.programs;
        if (program === undefined) return;
        const pages: number[] = [];
        for (const { startPage, sizePages } of program.regions.values()) {
          for (let page = startPage; page < startPage + sizePages; page += nth) pages.push(page);
        }
        const missing = new Missing(program.process.pid, pages);
        gated.kernel.listener = {
          store: (pid, page) => {
            if (!missing.isThere(pid, page)) throw new Error(`page ${page} was written and is not there`);
          },
        };
        for (;;) {
          const fault = gated.runUntil(END_NANOSECONDS, missing);
          if (fault === undefined) break;
          faults++;
          expect(fault.pid).toBe(missing.pid);
          expect(gated.nowNanoseconds).toBeLessThan(END_NANOSECONDS);
          // Asked again it needs the same, and has not moved.
          expect(gated.runUntil(END_NANOSECONDS, missing)).toEqual(fault);
          if (fault.page === undefined) missing.pages.clear();
          else expect(missing.pages.delete(`${fault.pid}:${fault.page}`)).toBe(true);
        }
        gated.kernel.listener = undefined;
        uncut.run((END_NANOSECONDS - uncut.nowNanoseconds) / 1000);
        expect(Buffer.compare(gated.save(), uncut.save())).toBe(0);
      }),
      { numRuns: 30 },
    );
    expect(faults).toBeGreaterThan(20);
  });
});
