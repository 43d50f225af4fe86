import {
  type MemoryProfile,
  QEMU_DEFAULTS,
  type Rehearsal,
  type Round,
  type SweepResult,
  USUAL,
} from '../../../src/migration/index.ts';
import { type RehearsalReportInput, rehearsalParameters, type Shadow } from '../../../src/report/index.ts';

const MEBIBYTE = 2 ** 20;

/** A rehearsal of made-up figures: so many rounds, each shorter than the one before. */
export function sampleRehearsal(count = 6, changes: Partial<Rehearsal> = {}): Rehearsal {
  const rounds: Round[] = [];
  const curve: { atMicroseconds: number; remainingBytes: number }[] = [];
  let at = 3000;
  let remaining = 2048 * MEBIBYTE;
  for (let number = 1; number <= count; number++) {
    const lasts = Math.round(remaining / 117);
    const dirtied = Math.round(remaining * (number === count ? 0 : 0.42));
    rounds.push({
      number,
      startMicroseconds: at,
      sentPages: Math.round(remaining / 4096),
      zeroPages: number === 1 ? 1000 : 0,
      sentBytes: remaining,
      dirtiedPages: Math.round(dirtied / 4096),
      remainingBytes: remaining,
      throttlePercent: number < 3 ? 0 : Math.min(99, 10 * (number - 1)),
    });
    for (let part = 0; part <= 20; part++) {
      curve.push({
        atMicroseconds: at + Math.round((lasts * part) / 20),
        remainingBytes: Math.round(remaining * (1 - part / 20)),
      });
    }
    at += lasts;
    remaining = dirtied;
  }
  const downtime = at - rounds.at(-1)!.startMicroseconds;
  const sent = rounds.reduce((sum, round) => sum + round.sentBytes, 0);
  return {
    verdict: 'converges',
    policy: 'qemu',
    strategy: 'pre-copy',
    totalMicroseconds: at,
    downtimeMicroseconds: downtime,
    reportedDowntimeMicroseconds: downtime - 4000,
    setupMicroseconds: 3000,
    transferredBytes: sent,
    pages: { normal: Math.round(sent / 4096), duplicate: 1000, xbzrle: 0 },
    rounds,
    curve,
    service: { throttledMicroseconds: 812_000, faultedPages: 0, faultMicroseconds: 0 },
    runs: 20,
    convergence: 1,
    intervals: {
      totalMicroseconds: [Math.round(at * 0.97), Math.round(at * 1.04)],
      downtimeMicroseconds: [Math.round(downtime * 0.8), Math.round(downtime * 1.3)],
      transferredBytes: [Math.round(sent * 0.98), Math.round(sent * 1.02)],
      rounds: [count - 1, count + 1],
    },
    advice: [
      {
        change: 'send differences of pages',
        options: '--xbzrle',
        totalMicroseconds: 23_400_000,
        downtimeMicroseconds: 220_000,
      },
      {
        change: 'switch to post-copy after one pass (the guest is lost if the network fails then)',
        options: '--postcopy-after 1',
        totalMicroseconds: 13_700_000,
        downtimeMicroseconds: 85_300,
      },
    ],
    ...changes,
  };
}

const PARTS = [
  '[heap]',
  '/usr/lib/x86_64-linux-gnu/libjemalloc.so.2',
  '[anon] 7f1c20000000',
  '[anon] 7f1c40000000',
  '/dev/shm/cache',
  '[stack]',
];

/** What a program might have written: much in one place, a moving front in another. */
export function sampleProfile(intervals = 120, parts: readonly string[] = PARTS): MemoryProfile {
  const lengthMicroseconds = 500_000;
  const columns = Array.from({ length: intervals }, (_, index) => index * lengthMicroseconds);
  const counts = parts.map((_, part) =>
    columns.map((_, column) => {
      const front = Math.abs(((column * parts.length) / intervals - part) % parts.length);
      return Math.floor(4000 * Math.exp(-front * 2.2)) * (part === 1 ? 0 : 1) + (part === 0 ? 700 : 0);
    }),
  );
  return {
    intervals: columns.map((atMicroseconds, column) => ({
      atMicroseconds,
      lengthMicroseconds,
      dirtyPages: counts.reduce((sum, row) => sum + row[column]!, 0),
    })),
    workingSet: Array.from({ length: 8 }, (_, index) => {
      const pages = Math.round(60_000 * (1 - 0.75 ** (index + 1)));
      return {
        windowMicroseconds: lengthMicroseconds * 2 ** index,
        pages,
        low: Math.round(pages * 0.8),
        high: Math.round(pages * 1.15),
      };
    }),
    heat: {
      columns,
      rows: parts.map((label, index) => ({
        label,
        startPage: 1_000_000 * (index + 1),
        endPage: 1_000_000 * (index + 1) + 8192 * (index + 1),
        pid: 4711,
      })),
      counts,
    },
    mappings: parts
      .map((label, index) => ({
        label,
        startPage: 1_000_000 * (index + 1),
        endPage: 1_000_000 * (index + 1) + 8192 * (index + 1),
        pid: 4711,
        dirtyPages: counts[index]!.reduce((sum, count) => sum + count, 0),
      }))
      .filter(({ dirtyPages }) => dirtyPages > 0)
      .sort((left, right) => right.dirtyPages - left.dirtyPages),
    residentPages: 524_288,
  };
}

/** All combinations of some bandwidths, downtime limits and policies. */
export function sampleSweep(bandwidths = 6, policies: readonly string[] = ['qemu', 'clark']): SweepResult {
  const axes = [
    {
      name: 'bandwidth',
      values: Array.from({ length: bandwidths }, (_, index) => ({
        label: `${2 ** index}Gbit/s`,
        value: 1.25e8 * 2 ** index,
      })),
    },
    {
      name: 'downtime-limit',
      values: ['50ms', '300ms', '1s'].map((label, index) => ({ label, value: [5e4, 3e5, 1e6][index]! })),
    },
    { name: 'policy', values: policies.map((label) => ({ label, value: label })) },
  ];
  const cells = axes[0]!.values.flatMap((_, bandwidth) =>
    [0, 1, 2].flatMap((limit) =>
      policies.map((_, policy) => {
        const ends = bandwidth + limit > 0;
        const downtimeMicroseconds = ends ? Math.round([5e4, 3e5, 1e6][limit]! * (1.1 - bandwidth * 0.1)) : 0;
        return {
          indices: [bandwidth, limit, policy],
          verdict: ends ? ('converges' as const) : ('does-not-converge' as const),
          meetsLimit: ends && bandwidth > 0,
          convergence: ends ? 1 : 0,
          totalMicroseconds: Math.round((4e7 / 2 ** bandwidth) * (1 + policy * 0.3)),
          downtimeMicroseconds,
          transferredBytes: (4096 - 256 * bandwidth) * MEBIBYTE,
          rounds: 9 - bandwidth,
          service: { throttledMicroseconds: 0, faultedPages: 0, faultMicroseconds: 0 },
          bandwidthBytesPerSecond: 1.25e8 * 2 ** bandwidth,
        };
      }),
    ),
  );
  const frontier = cells.flatMap((cell, index) =>
    cell.verdict === 'converges' && cell.indices[2] === 0 ? [index] : [],
  );
  return { axes, runs: 1, cells, frontier };
}

/** The sample on a network that took a little longer, with a longer stop. */
function sampleShadow(): Shadow {
  const { runs, convergence, intervals, advice, ...outcome } = sampleRehearsal();
  const stretched = (microseconds: number) => Math.round(microseconds * 1.02);
  return {
    migration: {
      ...outcome,
      totalMicroseconds: stretched(outcome.totalMicroseconds),
      downtimeMicroseconds: Math.round(outcome.downtimeMicroseconds * 1.6),
      curve: outcome.curve.map((point) => ({ ...point, atMicroseconds: stretched(point.atMicroseconds) })),
      end: 'rehearsed',
      migrationId: '5f0c',
      target: { kind: 'live', name: '4711 (redis-server)', fingerprint: 'boot-start-exe' },
      peer: '192.0.2.7:4400',
      tracker: 'pagemap-scan',
      trackerReason: 'it is there',
      processes: 1,
      checkpoint: undefined,
      memoryDigest: undefined,
      obstacles: [],
      scans: { count: 6, microseconds: 31_000, longest: 7000 },
      linkBytesPerSecond: 1.15e8,
      storeMicroseconds: 0,
      stop: undefined,
      warnings: [],
    },
    predicted: sampleRehearsal(),
  };
}

/** Everything that a page can show. */
export function sampleInput(changes: Partial<RehearsalReportInput> = {}): RehearsalReportInput {
  const rehearsal = sampleRehearsal();
  return {
    rehearsal,
    target: 'redis-server (PID 4711)',
    profile: sampleProfile(),
    sweep: sampleSweep(),
    parameters: rehearsalParameters(
      {
        link: { bytesPerSecond: 1.17e8, roundTripMicroseconds: 200, setupMicroseconds: 3000, loss: 0.001 },
        choice: { policy: 'qemu', options: { ...QEMU_DEFAULTS, downtimeLimitMicroseconds: 250_000 } },
        costs: { stateBytes: 35_000, compressNanosecondsPerByte: { zstd: 0.06, zlib: 0.76 } },
      },
      USUAL,
    ),
    notes: ['watched for 60.0 s; meanwhile it stood still for 41.2 ms altogether, 3.1 ms at a time'],
    shadow: sampleShadow(),
    generatedAt: new Date('2026-11-21T15:40:00Z'),
    ...changes,
  };
}
