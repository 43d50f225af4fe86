import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { UsageError } from '../../src/core/index.ts';
import { Link } from '../../src/migration/index.ts';

const MEGABYTE = 1e6;

describe('Link', () => {
  it('delivers what was written at its rate, whatever the pieces', () => {
    const pieces = fc.array(fc.integer({ min: 1, max: 5 * MEGABYTE }), { minLength: 1, maxLength: 30 });
    fc.assert(
      fc.property(pieces, fc.integer({ min: 1, max: 1000 }), (sizes, megabytesPerSecond) => {
        const link = new Link({ bytesPerSecond: megabytesPerSecond * MEGABYTE, backlogBytes: MEGABYTE });
        let now = 0;
        for (const size of sizes) {
          const written = link.write(size, now);
          expect(written).toBeGreaterThanOrEqual(now);
          expect(link.backlogAt(written)).toBeLessThanOrEqual(MEGABYTE + 1e-3);
          now = written;
        }
        const total = sizes.reduce((sum, size) => sum + size, 0);
        expect(link.emptyAt(now)).toBeCloseTo(total / megabytesPerSecond, 3);
      }),
    );
  });

  it('takes a write at once while there is room, and lets a blocked one wait for a third of the buffer', () => {
    const link = new Link({ bytesPerSecond: MEGABYTE, backlogBytes: 3 * MEGABYTE });
    expect(link.write(3 * MEGABYTE, 0)).toBe(0);
    expect(link.write(1, 0)).toBeCloseTo(1e6, 3);
  });

  it('lets a burst that is larger than its buffer pass at once, too', () => {
    const link = new Link({ bytesPerSecond: MEGABYTE, backlogBytes: MEGABYTE, burstBytes: 3 * MEGABYTE });
    expect(link.write(4 * MEGABYTE, 0)).toBe(0);
    expect(link.emptyAt(0)).toBeCloseTo(1e6, 3);
    expect(link.write(2 * MEGABYTE, 0)).toBeGreaterThan(1e6);
  });

  it('has a buffer that grows in the first second, and that is smaller on slow links', () => {
    // net/ipv4/tcp_input.c, tcp_sndbuf_expand: the send buffer follows the congestion window.
    const fullest = (bytesPerSecond: number, now: number) => {
      const link = new Link({ bytesPerSecond });
      let bytes = 0;
      while (link.write(10_000, now) === now) bytes += 10_000;
      return bytes;
    };
    expect(fullest(50 * MEGABYTE, 0)).toBeLessThan(1.4 * MEGABYTE);
    expect(fullest(50 * MEGABYTE, 500_000)).toBeLessThan(fullest(50 * MEGABYTE, 1e6));
    expect(fullest(50 * MEGABYTE, 1e6)).toBe(fullest(50 * MEGABYTE, 9e6));
    expect(fullest(12 * MEGABYTE, 9e6)).toBeCloseTo(2.4 * MEGABYTE, -5);
    expect(fullest(1000 * MEGABYTE, 9e6)).toBeCloseTo(3.3 * MEGABYTE, -5);
    expect(fullest(1 * MEGABYTE, 9e6)).toBeLessThan(0.3 * MEGABYTE);
    // Each connection has a buffer of its own.
    const backlog = (connections: number) => {
      const link = new Link({ bytesPerSecond: 50 * MEGABYTE, connections });
      return link.backlogAt(link.write(100 * MEGABYTE, 9e6));
    };
    expect(backlog(4) / backlog(1)).toBeGreaterThan(3);
  });

  it('follows its profile', () => {
    const link = new Link({
      bytesPerSecond: MEGABYTE,
      profile: [{ atMicroseconds: 1e6, bytesPerSecond: 3 * MEGABYTE }],
      backlogBytes: 100 * MEGABYTE,
    });
    link.write(7 * MEGABYTE, 0);
    expect(link.emptyAt(0)).toBeCloseTo(3e6, 3);
    expect(link.bytesPerSecondAt(2e6)).toBe(3 * MEGABYTE);
  });

  it('lets a burst pass, and gathers credit for the next while it is idle', () => {
    const link = new Link({ bytesPerSecond: MEGABYTE, burstBytes: MEGABYTE, backlogBytes: 9 * MEGABYTE });
    link.write(2 * MEGABYTE, 0);
    expect(link.emptyAt(0)).toBeCloseTo(1e6, 3);
    link.write(2 * MEGABYTE, 10e6);
    expect(link.emptyAt(10e6)).toBeCloseTo(11e6, 3);
  });

  it('is slowed by loss as TCP is', () => {
    const link = new Link({ bytesPerSecond: 1e9, loss: 0.01, roundTripMicroseconds: 10_000 });
    expect(link.bytesPerSecondAt(0)).toBeCloseTo((1.22 * 1448) / (0.01 * 0.1), 0);
  });

  it('delays lone messages by more or less, and streams by their slowest packet', () => {
    const jittery = { bytesPerSecond: MEGABYTE, roundTripMicroseconds: 20_000, jitterMicroseconds: 5000 };
    const link = new Link(jittery);
    const delays = Array.from({ length: 200 }, () => link.latency());
    expect(Math.min(...delays)).toBeGreaterThanOrEqual(5000);
    expect(Math.max(...delays)).toBeLessThanOrEqual(15_000);
    expect(Math.max(...delays) - Math.min(...delays)).toBeGreaterThan(8000);
    expect(delays.reduce((sum, delay) => sum + delay, 0) / 200).toBeCloseTo(10_000, -3);
    expect(link.arrivalAt(0)).toBe(15_000);
    expect(new Link(jittery).latency()).toBe(delays[0]);
    expect(new Link({ ...jittery, jitterSeed: 1 }).latency()).not.toBe(delays[0]);
    expect(new Link({ bytesPerSecond: MEGABYTE, roundTripMicroseconds: 20_000 }).latency()).toBe(10_000);
  });

  it('refuses what cannot carry anything', () => {
    expect(() => new Link({ bytesPerSecond: 0 })).toThrow(UsageError);
    expect(() => new Link({ bytesPerSecond: Number.NaN })).toThrow(UsageError);
    expect(() => new Link({ bytesPerSecond: 1, loss: 1 })).toThrow(UsageError);
    expect(
      () => new Link({ bytesPerSecond: 1, roundTripMicroseconds: 200, jitterMicroseconds: 101 }),
    ).toThrow(UsageError);
    const profile = [{ atMicroseconds: 5, bytesPerSecond: 0 }];
    expect(() => new Link({ bytesPerSecond: 1, profile })).toThrow(UsageError);
  });
});
