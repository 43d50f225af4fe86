import { describe, expect, it } from 'vitest';
import { ModelledTime } from '../../../src/migration/send/migration-time.ts';
import { BandwidthMeter, Pacer } from '../../../src/migration/send/pacer.ts';

describe('keeping to a rate', () => {
  it('sends a window at once, waits for the next, and pays back what was too much', async () => {
    const time = new ModelledTime(1e9);
    const pacer = new Pacer(time);
    const at: number[] = [];
    for (let message = 0; message < 8; message++) {
      await pacer.admit(1e6, undefined);
      at.push(Math.round(time.now() / 1000));
      pacer.used(75_000);
    }
    // 100 kB a window: 150 kB in the first leave 50 kB for the second, and so on.
    expect(at).toEqual([0, 0, 100, 200, 300, 300, 400, 500]);
  });

  it('does not make up for what was not sent', async () => {
    const time = new ModelledTime(1e9);
    const pacer = new Pacer(time);
    await time.waitUntil(5e6, undefined);
    for (let message = 0; message < 3; message++) {
      await pacer.admit(1e6, undefined);
      pacer.used(60_000);
    }
    expect(time.now()).toBe(5.1e6);
  });
});

describe('measuring how fast memory gets there', () => {
  it('counts pages as what they hold, and only time in which something is sent', async () => {
    const time = new ModelledTime(1e9);
    const meter = new BandwidthMeter(time);
    expect(meter.bytesPerSecond).toBe(0);
    meter.resume(0, 0);
    await time.waitUntil(60_000, undefined);
    meter.add(600_000, 100_000, 100_000);
    expect(meter.bytesPerSecond).toBeCloseTo(10e6);
    await time.waitUntil(2e6, undefined);
    meter.resume(100_000, 100_000);
    await time.waitUntil(2.06e6, undefined);
    // Half of what was sent is still under way.
    meter.add(600_000, 200_000, 140_000);
    expect(meter.bytesPerSecond).toBeCloseTo(7e6);
    expect(meter.linkBytesPerSecond).toBeUndefined();
  });

  it('knows what a link carries only while it is never without work', async () => {
    const time = new ModelledTime(1e9);
    const meter = new BandwidthMeter(time);
    meter.resume(0, 0);
    // The link takes what it gets at once, then falls behind, and comes to rest.
    for (const [at, sent, arrived] of [
      [100_000, 2e6, 2e6],
      [200_000, 6e6, 3e6],
      [300_000, 8e6, 4e6],
      [400_000, 8e6, 5e6],
      [900_000, 8e6, 8e6],
    ] as const) {
      await time.waitUntil(at, undefined);
      meter.add(0, sent, arrived);
    }
    expect(meter.linkBytesPerSecond).toBeCloseTo(10e6);
  });
});
