import { describe, expect, it } from 'vitest';
import { UsageError } from '../../src/core/index.ts';
import { Guest } from '../../src/migration/guest.ts';
import { checkQemuOptions, Link, QEMU_DEFAULTS, USUAL_COSTS } from '../../src/migration/index.ts';
import { MainStream } from '../../src/migration/qemu/stream.ts';
import { AutoConverge } from '../../src/migration/qemu/throttle.ts';
import { XbzrleCache } from '../../src/migration/qemu/xbzrle-cache.ts';
import { SpiedMemory } from './spied-memory.ts';

const SECOND = 1_000_000;

describe('the main stream', () => {
  it('counts whole pages by 32, copied ones by 32 KiB', () => {
    const plain = new MainStream(new Link({ bytesPerSecond: 1e9 }), USUAL_COSTS);
    for (let page = 0; page < 31; page++) plain.page(false);
    expect(plain.written).toBe(0);
    plain.page(false);
    expect(plain.written).toBe(32 * 4104);

    const copied = new MainStream(new Link({ bytesPerSecond: 1e9 }), USUAL_COSTS);
    for (let page = 0; page < 8; page++) copied.page(true);
    expect(copied.written).toBe(32768);
    copied.endStep();
    expect(copied.written).toBe(8 * 4104 + 18);
  });

  it('sends nine bytes for a page of zeros', () => {
    const stream = new MainStream(new Link({ bytesPerSecond: 1e9 }), USUAL_COSTS);
    for (let page = 0; page < 100; page++) stream.zeroPage();
    stream.flush();
    expect(stream.written).toBe(900);
  });
});

describe('auto-converge', () => {
  const options = { ...QEMU_DEFAULTS, autoConverge: true };

  it('throttles at the second bad period and at every second one after it', () => {
    const throttle = new AutoConverge(options);
    const steps: number[] = [];
    for (let second = 1; second <= 8; second++) {
      throttle.synced(second * 1.5 * SECOND, 10_000, second * 41 * SECOND);
      steps.push(throttle.percent);
    }
    expect(steps).toEqual([0, 0, 20, 20, 30, 30, 40, 40]);
  });

  it('leaves a guest alone that dirties less than half of what is sent', () => {
    const throttle = new AutoConverge(options);
    for (let second = 1; second <= 20; second++)
      throttle.synced(second * 1.5 * SECOND, 4000, second * 41 * SECOND);
    expect(throttle.percent).toBe(0);
    expect(throttle.throttling).toBeUndefined();
  });

  it('looks at most once a second', () => {
    const throttle = new AutoConverge(options);
    for (let tick = 1; tick <= 20; tick++) throttle.synced(tick * 0.1 * SECOND, 10_000, tick);
    expect(throttle.percent).toBe(0);
  });

  it('takes smaller steps near the end where it is asked to', () => {
    const throttle = new AutoConverge({ ...options, cpuThrottleTailslow: true, cpuThrottleInitial: 90 });
    for (let second = 1; second <= 5; second++) {
      throttle.synced(second * 1.5 * SECOND, 10_000, second * 70 * SECOND);
    }
    expect(throttle.percent).toBe(92);
  });
});

describe('a throttled guest', () => {
  const throttling = { periodMicroseconds: 20_000, sliceMicroseconds: 9000 };
  const ranAfter = (cpuShare: number, microseconds: number) => {
    const memory = new SpiedMemory({ pages: 1, writesPerSecond: 0, writtenPages: 1, seed: 1, cpuShare });
    let ran = 0;
    memory.run = (progress) => (ran += progress);
    const guest = new Guest(memory);
    guest.throttle(throttling, 0);
    for (let now = 0; now <= microseconds; now += 1000) guest.advance(now);
    return ran;
  };

  it('gets its slices only if it needs all of the processor', () => {
    expect(ranAfter(1, 9000)).toBeCloseTo(9000, 3);
    expect(ranAfter(1, 20_000)).toBeCloseTo(9000, 3);
    expect(ranAfter(1, 1e6)).toBeCloseTo(450_000, 3);
  });

  it('catches up in its slices if it needs less than is left', () => {
    expect(ranAfter(0.2, 1e6)).toBeCloseTo(1e6, 3);
    expect(ranAfter(0.2, 19_000)).toBeCloseTo(9000, 3);
    expect(ranAfter(0.2, 20_000)).toBeCloseTo(20_000, 3);
    expect(ranAfter(0.9, 1e6)).toBeCloseTo(500_000, 3);
  });
});

describe('the XBZRLE cache', () => {
  it('keeps a young page in its slot and gives up an old one', () => {
    const cache = new XbzrleCache(4 * 4096);
    cache.insert(1, 10, 1);
    expect(cache.lookUp(1, 1)).toBe(10);
    cache.insert(5, 7, 2);
    expect(cache.lookUp(5, 2)).toBe(-1);
    cache.insert(5, 7, 3);
    expect(cache.lookUp(5, 3)).toBe(7);
    expect(cache.lookUp(1, 3)).toBe(-1);
    cache.update(5, 9);
    cache.update(1, 9);
    expect(cache.lookUp(5, 3)).toBe(9);
  });
});

describe('checkQemuOptions', () => {
  it('passes the defaults and refuses what QEMU refuses', () => {
    checkQemuOptions(QEMU_DEFAULTS);
    const refused = [
      { maxBandwidth: -1 },
      { downtimeLimitMicroseconds: 3e9 },
      { cpuThrottleInitial: 0 },
      { cpuThrottleIncrement: 100 },
      { maxCpuThrottle: 10 },
      { xbzrleCacheBytes: 100 },
      { multifdChannels: 256 },
    ];
    for (const wrong of refused)
      expect(() => checkQemuOptions({ ...QEMU_DEFAULTS, ...wrong })).toThrow(UsageError);
  });
});
