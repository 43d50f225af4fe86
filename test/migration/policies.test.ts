import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { UsageError } from '../../src/core/index.ts';
import {
  type Outcome,
  POLICY_NAMES,
  type PolicyChoice,
  type QemuOptions,
  rehearse,
  rehearseOnce,
} from '../../src/migration/index.ts';
import { SpiedMemory, type Writer } from './spied-memory.ts';

const MEGABYTE = 1e6;

const CHOICES: readonly PolicyChoice[] = [
  ...POLICY_NAMES.map((policy) => ({ policy })),
  { policy: 'qemu', options: { clearLog: 'before-send', maxBandwidth: 5 * MEGABYTE } },
  { policy: 'qemu', options: { xbzrle: true, xbzrleCacheBytes: 64 * 4096 } },
  { policy: 'qemu', options: { multifdChannels: 4, multifdCompression: 'zstd' } },
  { policy: 'qemu', options: { autoConverge: true, maxBandwidth: 4 * MEGABYTE } },
  { policy: 'qemu', options: { multifdChannels: 1, multifdCompression: 'zlib' } },
  { policy: 'clark', options: { skipWritableWorkingSet: false } },
  { policy: 'criu', options: { preDumps: 4 } },
  { policy: 'fixed', options: { rounds: 0 } },
];

const writer = fc.record({
  pages: fc.integer({ min: 1, max: 3000 }),
  writesPerSecond: fc.integer({ min: 0, max: 20_000 }),
  share: fc.double({ min: 0.01, max: 1, noNaN: true }),
  seed: fc.nat(),
});

function memoryOf({
  pages,
  share,
  ...others
}: { pages: number; share: number } & Omit<Writer, 'writtenPages'>) {
  return new SpiedMemory({ pages, writtenPages: Math.max(1, Math.floor(pages * share)), ...others });
}

describe('every policy', () => {
  it('has sent the newest version of every page when it says that it converges', () => {
    const rate = fc.integer({ min: 1, max: 500 });
    fc.assert(
      fc.property(writer, fc.constantFrom(...CHOICES), rate, (parameters, choice, megabytes) => {
        const memory = memoryOf(parameters);
        const outcome = rehearseOnce(memory, {
          link: { bytesPerSecond: megabytes * MEGABYTE },
          choice,
          giveUpAfterMicroseconds: 20e6,
        });
        if (outcome.verdict === 'converges') {
          expect(memory.stalePages()).toEqual([]);
          expect(outcome.downtimeMicroseconds).toBeGreaterThan(0);
          expect(outcome.downtimeMicroseconds).toBeGreaterThanOrEqual(outcome.reportedDowntimeMicroseconds);
        }
        const { rounds } = outcome;
        expect(outcome.pages.normal + outcome.pages.duplicate).toBeLessThanOrEqual(memory.sent);
        expect(rounds.map(({ number }) => number)).toEqual(rounds.map((_, index) => index + 1));
        expect(rounds.reduce((sum, round) => sum + round.sentPages, 0)).toBe(
          outcome.pages.normal + outcome.pages.duplicate + outcome.pages.xbzrle,
        );
        expect(rounds.every((round) => round.sentBytes >= 0 && round.remainingBytes >= 0)).toBe(true);
      }),
      { numRuns: 150 },
    );
  });

  it('sends an idle memory once', () => {
    for (const choice of CHOICES) {
      const memory = new SpiedMemory({ pages: 3000, writesPerSecond: 0, writtenPages: 1, seed: 1 });
      const outcome = rehearseOnce(memory, { link: { bytesPerSecond: 100 * MEGABYTE }, choice });
      expect(outcome.verdict).toBe('converges');
      expect(memory.sent).toBe(3000);
      expect(outcome.pages).toEqual({ normal: 2000, duplicate: 1000, xbzrle: 0 });
    }
  });
});

describe('the rules by which policies stop', () => {
  const busy = () =>
    new SpiedMemory({ pages: 20_000, writesPerSecond: 50_000, writtenPages: 20_000, seed: 3 });
  const link = { bytesPerSecond: 50 * MEGABYTE };

  it('xen stops after five rounds, whatever they brought', () => {
    const outcome = rehearseOnce(busy(), { link, choice: { policy: 'xen' } });
    expect(outcome.rounds.length).toBe(6);
    expect(outcome.downtimeMicroseconds).toBeGreaterThan(1e6);
  });

  it('phaul makes one pre-dump of any but the smallest process', () => {
    expect(rehearseOnce(busy(), { link, choice: { policy: 'phaul' } }).rounds.length).toBe(2);
  });

  it('qemu never stops a guest that outruns it', () => {
    const outcome = rehearseOnce(busy(), { link, choice: { policy: 'qemu' }, giveUpAfterMicroseconds: 60e6 });
    expect(outcome).toMatchObject({
      verdict: 'does-not-converge',
      downtimeMicroseconds: 0,
      totalMicroseconds: 60e6,
    });
  });

  it('auto-converge stops it, by slowing it down', () => {
    const memory = new SpiedMemory({
      pages: 20_000,
      writesPerSecond: 50_000,
      writtenPages: 20_000,
      seed: 3,
      cpuShare: 1,
    });
    const choice = { policy: 'qemu', options: { autoConverge: true } } as const;
    const outcome = rehearseOnce(memory, { link, choice, giveUpAfterMicroseconds: 600e6 });
    expect(outcome.verdict).toBe('converges');
    expect(outcome.rounds.at(-1)?.throttlePercent).toBeGreaterThanOrEqual(50);
    expect(outcome.service.throttledMicroseconds).toBeGreaterThan(1e6);
  });

  it('clark spares what is written all the time', () => {
    const sentBy = (skipWritableWorkingSet: boolean) => {
      const memory = new SpiedMemory({
        pages: 50_000,
        writesPerSecond: 100_000,
        writtenPages: 2000,
        seed: 5,
      });
      const choice = { policy: 'clark', options: { skipWritableWorkingSet } } as const;
      return rehearseOnce(memory, { link, choice }).transferredBytes;
    };
    expect(sentBy(true)).toBeLessThan(sentBy(false) * 0.95);
  });

  it('waits for those that send slowly, by their own choice or because the link does', () => {
    const quiet = (pages: number) =>
      new SpiedMemory({ pages, writesPerSecond: 1, writtenPages: 10, seed: 2 });
    const fast = { bytesPerSecond: 1000 * MEGABYTE };
    const ends = (choice: PolicyChoice, conditions: object = {}, pages = 5000) => {
      const outcome = rehearseOnce(quiet(pages), { link: { ...fast, ...conditions }, choice });
      expect(outcome.verdict).toBe('converges');
      expect(outcome.totalMicroseconds).toBeGreaterThan(60e6);
    };
    ends({ policy: 'clark', options: { minRate: 0.1 * MEGABYTE, maxRate: 0.1 * MEGABYTE } });
    ends({ policy: 'fixed', options: { maxBandwidth: 0.1 * MEGABYTE } });
    ends({ policy: 'qemu' }, { loss: 0.05, roundTripMicroseconds: 200_000 });
    ends({ policy: 'xen' }, { profile: [{ atMicroseconds: 5000, bytesPerSecond: 0.1 * MEGABYTE }] });
    const postcopyAfter = { microseconds: 0 };
    // However low the limit, a buffer full goes in each of QEMU's windows.
    ends({ policy: 'qemu', options: { postcopyAfter, maxPostcopyBandwidth: 0.01 * MEGABYTE } }, {}, 50_000);
  });

  it('post-copy sends every page once, and counts what the guest waits for', () => {
    const choice = { policy: 'qemu', options: { postcopyAfter: { microseconds: 0 } } } as const;
    const outcome = rehearseOnce(busy(), { link, choice });
    expect(outcome).toMatchObject({ verdict: 'converges', strategy: 'post-copy' });
    expect(outcome.pages.normal + outcome.pages.duplicate).toBeLessThan(20_100);
    expect(outcome.downtimeMicroseconds).toBeLessThan(200_000);
    expect(outcome.service.faultedPages).toBeGreaterThan(0);
    expect(outcome.service.faultMicroseconds).toBeGreaterThan(0);
  });
});

describe('post-copy', () => {
  const memory = () =>
    new SpiedMemory({ pages: 20_000, writesPerSecond: 5000, writtenPages: 20_000, seed: 3 });
  const link = { bytesPerSecond: 50 * MEGABYTE };
  const after = { microseconds: 0 };
  const migrate = (options: Partial<QemuOptions>) =>
    rehearseOnce(memory(), {
      link,
      choice: { policy: 'qemu', options: { postcopyAfter: after, ...options } },
    });

  it('keeps to its own limit, but serves requests beyond it', () => {
    const free = migrate({});
    const limited = migrate({ maxPostcopyBandwidth: 10 * MEGABYTE });
    expect(limited.totalMicroseconds).toBeGreaterThan(free.totalMicroseconds * 2);
    expect(limited.transferredBytes).toBeCloseTo(free.transferredBytes, -5);
  });

  it('serves requests sooner on a connection of their own', () => {
    const perFault = ({ service }: Outcome) => service.faultMicroseconds / service.faultedPages;
    expect(perFault(migrate({ postcopyPreempt: true }))).toBeLessThan(perFault(migrate({})) / 5);
  });
});

describe('rehearse()', () => {
  const open = (run: number) =>
    Promise.resolve(new SpiedMemory({ pages: 5000, writesPerSecond: 3000, writtenPages: 4000, seed: run }));
  const options = { link: { bytesPerSecond: 20 * MEGABYTE }, choice: { policy: 'qemu' } } as const;

  it('shows the first run and the bounds of all', async () => {
    const rehearsal = await rehearse(open, options, { runs: 10 });
    expect(rehearsal).toMatchObject({ runs: 10, convergence: 1, verdict: 'converges' });
    const [low, high] = rehearsal.intervals.totalMicroseconds;
    expect(low).toBeLessThanOrEqual(rehearsal.totalMicroseconds);
    expect(high).toBeGreaterThanOrEqual(rehearsal.totalMicroseconds);
    expect(low).toBeLessThan(high);
  });

  it('predicts the same again', async () => {
    expect(await rehearse(open, options, { runs: 3 })).toEqual(await rehearse(open, options, { runs: 3 }));
  });

  it('ends when it is told to', async () => {
    await expect(
      rehearse(open, options, { runs: 3, signal: AbortSignal.abort(new Error('enough')) }),
    ).rejects.toThrow('enough');
  });

  it('refuses what cannot be', async () => {
    await expect(rehearse(open, options, { runs: 0 })).rejects.toThrow(UsageError);
    const choice = { policy: 'qemu', options: { downtimeLimitMicroseconds: 50 } } as const;
    await expect(rehearse(open, { ...options, choice }, { runs: 1 })).rejects.toThrow(UsageError);
  });
});
