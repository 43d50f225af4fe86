import { describe, expect, it } from 'vitest';
import { Random } from '../../../src/core/index.ts';
import { measureCosts, median } from '../../../src/migration/recording/measure-costs.ts';
import { openSimulatedTarget, type ProcessView } from '../../../src/target/index.ts';
import { BASE, madeUpRecording, PID } from './recordings.ts';

const WORKLOAD = `
version: 1
name: one
seed: 1
processes:
  - name: one
    regions:
      heap: { size: 64KiB, resident: 64KiB, kind: anonymous, content: { kind: zero } }
    phases: [{ duration: 1s, writes: [] }]
`;

/** A process whose pages hold what `fill` writes; none above `end` can be read. */
async function processWith(fill: (page: number, into: Uint8Array) => void, end: number) {
  const target = await openSimulatedTarget(WORKLOAD, 'one.yaml');
  const view = target.processes()[0]!;
  const readMemory = (startPage: number, pageCount: number, into: Uint8Array) => {
    const found = Math.max(0, Math.min(pageCount, BASE + end - startPage));
    for (let page = 0; page < found; page++) {
      fill(startPage + page, into.subarray(page * 4096, (page + 1) * 4096));
    }
    return found;
  };
  const made = new Proxy(view, {
    get: (inner, key) =>
      key === 'pid' ? PID : key === 'readMemory' ? readMemory : Reflect.get(inner, key, inner),
  }) satisfies ProcessView;
  return { processes: () => [made] };
}

const records = (page: number, into: Uint8Array) => {
  for (let at = 0; at < 4096; at += 64)
    into.set(Buffer.from(`record ${page} ${at} of a customer, with his address`), at);
};
const random = new Random(1);
const noise = (_: number, into: Uint8Array) => {
  for (let at = 0; at < 4096; at++) into[at] = random.nextUint32() & 255;
};

describe('costs of work with the pages of a target', () => {
  const recording = madeUpRecording(2048, [{ written: [1] }]);

  it('are measured, and how much better pages compress together', async () => {
    const { costs, blockFactor } = await measureCosts(await processWith(records, 2048), recording);
    expect(costs.pageNanoseconds).toBeGreaterThan(10);
    expect(costs.zeroPageNanoseconds).toBeGreaterThan(1);
    expect(costs.compressNanosecondsPerByte!.zlib).toBeGreaterThan(0.1);
    expect(costs.compressNanosecondsPerByte!.zstd).toBeGreaterThan(0.01);
    expect(blockFactor).toBeLessThan(0.8);
    expect(blockFactor).toBeGreaterThan(0.05);
  });

  it('do not depend on compression where nothing can be compressed', async () => {
    const { blockFactor } = await measureCosts(await processWith(noise, 2048), recording);
    expect(blockFactor).toBeGreaterThan(0.98);
  });

  it('are left out where there are too few pages', async () => {
    const { costs, blockFactor } = await measureCosts(await processWith(noise, 20), recording);
    expect(costs).toEqual({});
    expect(blockFactor).toBe(1);
  });

  it('are the middle of several', () => {
    expect(median([5, 1, 100])).toBe(5);
    expect(median([])).toBe(0);
  });
});
