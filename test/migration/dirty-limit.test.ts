import { describe, expect, it } from 'vitest';
import { UsageError } from '../../src/core/index.ts';
import { checkQemuOptions, QEMU_DEFAULTS, rehearseOnce } from '../../src/migration/index.ts';
import { DirtyLimitedMemory } from '../../src/migration/qemu/dirty-limit.ts';
import { SpiedMemory } from './spied-memory.ts';

const MEBIBYTE = 2 ** 20;
const SECOND = 1_000_000;
const options = { dirtyRingPages: 4096, vcpuDirtyLimit: 50, vcpuDirtyLimitPeriodMicroseconds: SECOND };

function memoryOf(writesPerSecond: number, cpuShare: number, pages = 200_000): SpiedMemory {
  return new SpiedMemory({ pages, writtenPages: pages, writesPerSecond, seed: 1, cpuShare });
}

/** MiB dirtied in each of so many seconds. */
function dirtiedPerSecond(memory: DirtyLimitedMemory, seconds: number): number[] {
  return Array.from({ length: seconds }, () => {
    memory.run(SECOND);
    const pages = memory.dirty.count;
    memory.dirty.clear();
    return (pages * 4096) / MEBIBYTE;
  });
}

/** QEMU's system/dirtylimit.c. */
describe('the dirty page limit', () => {
  it('lets a guest run freely for the first period, then brings it near its quota', () => {
    const limited = new DirtyLimitedMemory(memoryOf(75_000, 1), options);
    limited.begin();
    const rates = dirtiedPerSecond(limited, 12);
    expect(rates[0]).toBeGreaterThan(200);
    for (const rate of rates.slice(8)) expect(Math.abs(rate - 50)).toBeLessThanOrEqual(26);
    expect(limited.sleptMicroseconds).toBeGreaterThan(6 * SECOND);
    expect(limited.sleepPercent).toBeGreaterThan(50);
  });

  it('leaves a guest alone that is within 25 MiB/s of its quota', () => {
    const limited = new DirtyLimitedMemory(memoryOf(18_000, 1), options);
    limited.begin();
    dirtiedPerSecond(limited, 5);
    expect(limited.sleptMicroseconds).toBe(0);
  });

  it('does nothing before it begins and after it ends', () => {
    const limited = new DirtyLimitedMemory(memoryOf(75_000, 1), options);
    dirtiedPerSecond(limited, 5);
    limited.begin();
    dirtiedPerSecond(limited, 3);
    const slept = limited.sleptMicroseconds;
    expect(slept).toBeGreaterThan(0);
    limited.end();
    dirtiedPerSecond(limited, 3);
    expect(limited.sleptMicroseconds).toBe(slept);
  });

  it('limits pages, not writes: who writes to a few pages only does not fill the ring', () => {
    const memory = new SpiedMemory({
      pages: 200_000,
      writtenPages: 2000,
      writesPerSecond: 75_000,
      seed: 1,
      cpuShare: 1,
    });
    const limited = new DirtyLimitedMemory(memory, options);
    limited.begin();
    dirtiedPerSecond(limited, 5);
    expect(limited.sleptMicroseconds).toBe(0);
  });

  it('makes a migration converge that would not, and costs the service time', () => {
    const migrate = (dirtyLimit: boolean) =>
      rehearseOnce(memoryOf(30_000, 1, 40_000), {
        link: { bytesPerSecond: 60e6 },
        choice: { policy: 'qemu', options: { dirtyLimit } },
        giveUpAfterMicroseconds: 30e6,
      });
    expect(migrate(false)).toMatchObject({
      verdict: 'does-not-converge',
      service: { throttledMicroseconds: 0 },
    });
    const limited = migrate(true);
    expect(limited.verdict).toBe('converges');
    expect(limited.service.throttledMicroseconds).toBeGreaterThan(SECOND);
    expect(limited.rounds.at(-1)?.throttlePercent).toBeGreaterThan(0);
  });

  it('is refused together with auto-converge, and with numbers that QEMU refuses', () => {
    const limited = { ...QEMU_DEFAULTS, dirtyLimit: true };
    checkQemuOptions(limited);
    for (const wrong of [
      { autoConverge: true },
      { vcpuDirtyLimit: 0 },
      { vcpuDirtyLimitPeriodMicroseconds: 2 * SECOND },
      { dirtyRingPages: 5000 },
    ]) {
      expect(() => checkQemuOptions({ ...limited, ...wrong })).toThrow(UsageError);
    }
  });
});
