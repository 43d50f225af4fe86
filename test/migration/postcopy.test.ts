import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type MigratingMemory,
  PageBitmap,
  type PolicyChoice,
  rehearseOnce,
} from '../../src/migration/index.ts';

const MEGABYTE = 1e6;
const SECOND = 1_000_000;
const GIVE_UP = 100 * SECOND;

/** A program that writes to pages in a given order, one every so often, and counts how often each page is sent. */
class WalkedMemory implements MigratingMemory {
  readonly resident = new PageBitmap(0);
  readonly dirty = new PageBitmap(0);
  readonly cpuShare = 0;
  readonly pageCount: number;
  readonly sent: Uint8Array;
  /** How many of its writes the program has made. */
  steps = 0;
  readonly #walk: readonly number[];
  readonly #microseconds: number;
  #owed = 0;

  constructor(pageCount: number, walk: readonly number[], microseconds: number) {
    this.pageCount = pageCount;
    this.#walk = walk;
    this.#microseconds = microseconds;
    this.sent = new Uint8Array(pageCount);
    this.resident.addRange(0, pageCount);
  }

  run(microseconds: number): void {
    this.#owed += microseconds;
    for (; this.#owed >= this.#microseconds && this.steps < this.#walk.length; this.steps++) {
      this.#owed -= this.#microseconds;
      this.dirty.add(this.#walk[this.steps]!);
    }
  }

  isZero(): boolean {
    return false;
  }

  compressedShare(): number {
    return 1;
  }

  countStores(): void {
    // Nothing is asked about them.
  }

  storesOf(): number {
    return 0;
  }

  differenceBytes(): number {
    return 4096;
  }
}

const link = (roundTripMicroseconds: number) => ({
  bytesPerSecond: 100 * MEGABYTE,
  roundTripMicroseconds,
  backlogBytes: MEGABYTE,
});

function migrate(memory: MigratingMemory, choice: PolicyChoice, roundTrip = 1000) {
  return rehearseOnce(memory, { link: link(roundTrip), choice, giveUpAfterMicroseconds: GIVE_UP });
}

const KINDS = ['none', 'forward', 'bubbling'] as const;
const fixed = (postcopy: (typeof KINDS)[number], rounds = 0): PolicyChoice => ({
  policy: 'fixed',
  options: { rounds, postcopy },
});
const criu = (preDumps: number): PolicyChoice => ({ policy: 'criu', options: { preDumps, lazyPages: true } });
const ascending = (from: number, to: number) => Array.from({ length: to - from }, (_, index) => from + index);

describe('post-copy', () => {
  it('sends every page once, whoever chooses the order', () => {
    const walk = fc.array(fc.integer({ min: 0, max: 1999 }), { maxLength: 300 });
    const choice = fc.constantFrom(fixed('forward'), fixed('bubbling'), criu(0));
    // A page may be on its way already when the request for it comes, if that takes less time than a look.
    const roundTrip = fc.constantFrom(100, 400, 1000);
    fc.assert(
      fc.property(walk, choice, fc.integer({ min: 2, max: 5000 }), roundTrip, (pages, policy, pace, rtt) => {
        const memory = new WalkedMemory(2000, pages, pace);
        const outcome = migrate(memory, policy, rtt);
        expect(outcome).toMatchObject({ verdict: 'converges', strategy: 'post-copy' });
        expect(outcome.pages.normal).toBe(2000);
        expect(outcome.curve.every(({ remainingBytes }) => remainingBytes >= 0)).toBe(true);
        expect(outcome.service.faultMicroseconds).toBeGreaterThanOrEqual(outcome.service.faultedPages * rtt);
        expect(outcome.downtimeMicroseconds).toBeLessThan(60_000);
      }),
      { numRuns: 30 },
    );
  });

  it('sends no page again that was on its way when it was asked for', () => {
    const scattered = ascending(0, 4000).map((step) => (step * 7919) % 20_000);
    for (const kind of ['forward', 'bubbling'] as const) {
      const outcome = rehearseOnce(new WalkedMemory(20_000, scattered, 5), {
        link: { bytesPerSecond: 1000 * MEGABYTE, roundTripMicroseconds: 200 },
        choice: fixed(kind),
      });
      expect(outcome.pages.normal).toBe(20_000);
      expect(outcome.curve.every(({ remainingBytes }) => remainingBytes >= 0)).toBe(true);
    }
  });

  it('is called hybrid after rounds, and then sends again what was written meanwhile', () => {
    const pages = ascending(0, 2000);
    for (const choice of [fixed('bubbling', 1), criu(1)]) {
      const outcome = migrate(new WalkedMemory(20_000, pages, 100), choice);
      expect(outcome).toMatchObject({ verdict: 'converges', strategy: 'hybrid' });
      expect(outcome.pages.normal).toBeGreaterThan(20_500);
      expect(outcome.pages.normal).toBeLessThan(22_100);
    }
  });

  it('by demand alone leaves at the source what nobody touches', () => {
    // The first steps are made before the stop.
    const walk = (to: number) => [...ascending(0, 20), ...ascending(0, to)];
    const touched = migrate(new WalkedMemory(500, walk(500), 1000), fixed('none'));
    expect(touched).toMatchObject({ verdict: 'converges', service: { faultedPages: 500 } });
    const left = migrate(new WalkedMemory(500, walk(400), 1000), fixed('none'));
    expect(left).toMatchObject({ verdict: 'does-not-converge', service: { faultedPages: 400 } });
  });

  it('costs a fault at least a round trip', () => {
    for (const kind of KINDS) {
      const memory = new WalkedMemory(20_000, [100, 9000, 19_000, 4000], 10_000);
      const { service } = migrate(memory, fixed(kind), 20_000);
      expect(service.faultedPages).toBeGreaterThan(0);
      expect(service.faultMicroseconds / service.faultedPages).toBeGreaterThanOrEqual(20_000);
    }
  });
});

/** Hines and Gopalan 2009. */
describe('pre-paging', () => {
  // 80 MB take 0.8 s; the program begins in the middle.
  const faults = (walk: number[], kind: (typeof KINDS)[number]) =>
    migrate(new WalkedMemory(20_000, walk, 500), fixed(kind)).service.faultedPages;

  it('spares most faults of a program that goes through memory, in either direction', () => {
    const up = ascending(10_000, 11_000);
    const down = up.map((page) => 21_000 - page);
    expect(faults(up, 'none')).toBeGreaterThan(980);
    expect(faults(up, 'forward')).toBeLessThan(20);
    expect(faults(up, 'bubbling')).toBeLessThan(20);
    expect(faults(down, 'bubbling')).toBeLessThan(20);
    expect(faults(down, 'forward')).toBeGreaterThan(faults(down, 'bubbling'));
  });

  it('grows several bubbles at a time', () => {
    const alternating = ascending(0, 500).flatMap((step) => [3000 + step, 12_000 + step, 18_000 - step]);
    expect(faults(alternating, 'none')).toBeGreaterThan(1480);
    expect(faults(alternating, 'bubbling')).toBeLessThan(60);
  });
});

/** criu/uffd.c: xfer_pages, update_xfer_len, handle_page_fault. */
describe("CRIU's lazy pages", () => {
  /** Round trips of a memory that hardly takes time to send. */
  const roundTrips = (walk: number[], pace: number) => {
    const { totalMicroseconds, downtimeMicroseconds } = migrate(
      new WalkedMemory(1056, walk, pace),
      criu(0),
      1e6,
    );
    return (totalMicroseconds - downtimeMicroseconds) / 1e6;
  };

  it('ask for 64 KiB more each time, one request after the other', () => {
    // 16 + 32 + ... + 176 pages: eleven requests.
    expect(roundTrips([], 1)).toBeCloseTo(11.5, 0);
  });

  it('begin again with 64 KiB after a fault', () => {
    expect(roundTrips([1055], 5.2e6)).toBeGreaterThan(13);
  });

  it('restore at once, without reading memory', () => {
    const downtime = (choice: PolicyChoice) =>
      migrate(new WalkedMemory(200_000, [], 1), choice).downtimeMicroseconds;
    expect(downtime(criu(0))).toBeLessThan(60_000);
    expect(downtime({ policy: 'criu', options: { preDumps: 1 } })).toBeGreaterThan(400_000);
    // What the pre-dump has brought is read.
    expect(downtime(criu(1))).toBeGreaterThan(400_000);
  });
});
