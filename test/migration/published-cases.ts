import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import {
  type Outcome,
  openSimulatedMemory,
  type RehearsalOptions,
  rehearseOnce,
} from '../../src/migration/index.ts';
import { parseWorkload } from '../../src/workload/index.ts';

/** A figure of a publication and what is predicted for it. */
export interface PublishedFigure {
  readonly what: string;
  readonly predicted: number;
  readonly published: number;
  /** Share by which the prediction is off at most; what is reached, so that it does not get worse unnoticed. */
  readonly within: number;
}

/** A migration of which a publication tells enough to rehearse it. */
export interface PublishedCase {
  readonly name: string;
  readonly source: string;
  /** Workload file in fixtures/published, where it is said what was assumed of the program. */
  readonly workload: string;
  readonly conditions: RehearsalOptions;
  readonly verdict: Outcome['verdict'];
  /** What the publication leaves open besides the program. */
  readonly assumed: string;
  /** Takes many seconds: only rehearsed for the table. */
  readonly isLong?: boolean;
  figures(outcome: Outcome): PublishedFigure[];
}

const SECOND = 1e6;
const MEBIBYTE = 2 ** 20;
const GIGABIT = 125e6;
const clark = { link: { bytesPerSecond: 0.95 * GIGABIT }, choice: { policy: 'clark' } } as const;
const CLARK_ASSUMED =
  'the constants of its code in Xen 2; the figures of single rounds are quoted second-hand, downtimes are in its text';

function figure(what: string, predicted: number, published: number, within: number): PublishedFigure {
  return { what, predicted, published, within };
}

function roundMegabytes(outcome: Outcome, number: number): number {
  return (outcome.rounds.at(number)?.sentBytes ?? 0) / MEBIBYTE;
}

function allMegabytes(outcome: Outcome): number {
  return outcome.transferredBytes / MEBIBYTE;
}

/** What the first live rounds sent, in MB. */
function rounds(outcome: Outcome, published: readonly number[], within: number): PublishedFigure[] {
  return published.map((megabytes, index) =>
    figure(`round ${index + 1}, MB`, roundMegabytes(outcome, index), megabytes, within),
  );
}

const oldQemu = { maxBandwidth: 32 * MEBIBYTE, downtimeLimitMicroseconds: 30_000 };
const warehouse = { maxBandwidth: 2.5e9, downtimeLimitMicroseconds: 4 * SECOND };
const warehouseHost = { link: { bytesPerSecond: 2.4e9 }, costs: { pageNanoseconds: 15_500 } };
const WAREHOUSE_ASSUMED =
  'sending a page takes 15.5 us, as 95750218 pages in 1487 s say of the run without auto-converge';

export const PUBLISHED_CASES: readonly PublishedCase[] = [
  {
    name: 'static web server, 800 MB',
    source: 'Clark 2005, figure 8',
    workload: 'clark-web-server',
    conditions: { ...clark, giveUpAfterMicroseconds: 600 * SECOND },
    verdict: 'converges',
    assumed: CLARK_ASSUMED,
    figures: (outcome) => [
      figure('first round, s', (outcome.rounds[1]?.startMicroseconds ?? 0) / SECOND, 62, 0.1),
      figure('all, s', outcome.totalMicroseconds / SECOND, 72, 0.1),
      figure('downtime, ms', outcome.downtimeMicroseconds / 1000, 165, 0.7),
    ],
  },
  {
    name: 'SPECweb99, 800 MB',
    source: 'Clark 2005, figure 9',
    workload: 'clark-specweb99',
    conditions: { ...clark, giveUpAfterMicroseconds: 600 * SECOND },
    verdict: 'converges',
    assumed: CLARK_ASSUMED,
    figures: (outcome) => [
      ...rounds(outcome, [676.8, 126.7, 39.0, 28.4, 24.2, 16.7, 14.2, 15.3], 0.35),
      figure('stop phase, MB', roundMegabytes(outcome, -1), 18.2, 0.4),
      figure('all, MB', allMegabytes(outcome), 960, 0.05),
      figure('live rounds', outcome.rounds.length - 1, 8, 0.5),
      figure('downtime, ms', outcome.downtimeMicroseconds / 1000, 210, 0.2),
    ],
  },
  {
    name: 'Quake 3 server, 64 MB',
    source: 'Clark 2005, figure 10',
    workload: 'clark-quake3',
    conditions: clark,
    verdict: 'converges',
    assumed: `${CLARK_ASSUMED}; of its 60 ms, 40 were start-up that has nothing to do with memory`,
    figures: (outcome) => [
      ...rounds(outcome, [56.3, 20.4, 4.6], 0.35),
      figure('stop phase, MB', roundMegabytes(outcome, -1), 0.148, 0.9),
      figure('all, MB', allMegabytes(outcome), 88, 0.15),
      figure('live rounds', outcome.rounds.length - 1, 10, 1),
      figure('downtime, ms', outcome.downtimeMicroseconds / 1000, 60, 0.9),
    ],
  },
  {
    name: 'MMuncher, 256 of 512 MB',
    source: 'Clark 2005, figure 11',
    workload: 'clark-mmuncher',
    conditions: clark,
    verdict: 'converges',
    assumed: `${CLARK_ASSUMED}; the third round is what its other figures leave of the sum`,
    figures: (outcome) => [
      ...rounds(outcome, [255.4, 44.0, 116.0], 0.4),
      figure('stop phase, MB', roundMegabytes(outcome, -1), 222.5, 0.05),
      figure('all, MB', allMegabytes(outcome), 638, 0.05),
      figure('downtime, s', outcome.downtimeMicroseconds / SECOND, 3.5, 0.12),
    ],
  },
  {
    name: 'every byte of 1 GB over 1 Gbit/s',
    source: 'Berrange 2016',
    workload: 'qemu-stress-1g',
    conditions: {
      link: { bytesPerSecond: 0.95 * GIGABIT },
      choice: { policy: 'qemu' },
      giveUpAfterMicroseconds: 15 * SECOND,
    },
    verdict: 'does-not-converge',
    assumed: 'parameters of QEMU 10',
    figures: () => [],
  },
  {
    name: 'load of the XBZRLE test, without it',
    source: 'QEMU docs/xbzrle.txt',
    workload: 'qemu-xbzrle-test',
    conditions: {
      link: { bytesPerSecond: 0.95 * GIGABIT },
      choice: { policy: 'qemu', options: oldQemu },
      giveUpAfterMicroseconds: 110 * SECOND,
    },
    verdict: 'does-not-converge',
    assumed: 'limits of QEMU before 6.0: 32 MiB/s, 30 ms',
    isLong: true,
    figures: () => [],
  },
  {
    name: 'load of the XBZRLE test, with it',
    source: 'QEMU docs/xbzrle.txt',
    workload: 'qemu-xbzrle-test',
    conditions: {
      link: { bytesPerSecond: 0.95 * GIGABIT },
      choice: {
        policy: 'qemu',
        options: { ...oldQemu, xbzrle: true, xbzrleCacheBytes: 256 * MEBIBYTE },
      },
      giveUpAfterMicroseconds: 110 * SECOND,
    },
    verdict: 'converges',
    assumed: 'limits of QEMU before 6.0; its 110 s cannot be compared without the size of its guest',
    figures: () => [],
  },
  {
    name: 'Java warehouse, 256 GB',
    source: 'QEMU commit 7ca1dfad95',
    workload: 'warehouse-256g',
    conditions: {
      ...warehouseHost,
      choice: { policy: 'qemu', options: warehouse },
      giveUpAfterMicroseconds: 120 * SECOND,
    },
    verdict: 'does-not-converge',
    assumed: WAREHOUSE_ASSUMED,
    isLong: true,
    figures: () => [],
  },
  {
    name: 'Java warehouse, 256 GB, auto-converge',
    source: 'QEMU commit 7ca1dfad95',
    workload: 'warehouse-256g',
    conditions: {
      ...warehouseHost,
      choice: { policy: 'qemu', options: { ...warehouse, autoConverge: true } },
      giveUpAfterMicroseconds: 600 * SECOND,
    },
    verdict: 'converges',
    assumed: `${WAREHOUSE_ASSUMED}; auto-converge of 2013 slowed a guest by other rules than today's, which are rehearsed`,
    isLong: true,
    figures: (outcome) => [
      figure('all, s', outcome.totalMicroseconds / SECOND, 241, 0.8),
      figure('all, GB', outcome.transferredBytes / 1e9, 28.9, 0.5),
      figure('downtime, ms', outcome.downtimeMicroseconds / 1000, 6373, 0.5),
    ],
  },
  {
    name: 'idle 8 GiB, 10 Gbit/s',
    source: 'OPNFV KVMFORNFV',
    workload: 'nfv-idle',
    conditions: {
      link: { bytesPerSecond: 9.5 * GIGABIT },
      choice: { policy: 'qemu', options: { maxBandwidth: 0, downtimeLimitMicroseconds: 10_000 } },
    },
    verdict: 'converges',
    assumed: 'usual costs of a page of zeros, which take most of the time; no limit but the link',
    isLong: true,
    figures: (outcome) => [
      figure('all, ms', outcome.totalMicroseconds / 1000, 2070, 0.4),
      figure('downtime, ms', outcome.downtimeMicroseconds / 1000, 29, 0.7),
    ],
  },
  {
    name: 'post-copy at once, 1 GB',
    source: 'V-Recover',
    workload: 'vrecover-write',
    conditions: {
      link: { bytesPerSecond: 0.95 * GIGABIT },
      choice: { policy: 'qemu', options: { postcopyAfter: { microseconds: 0 } } },
    },
    verdict: 'converges',
    assumed: 'usual costs of stopping and resuming',
    figures: (outcome) => [figure('downtime, ms (7 to 11.6)', outcome.downtimeMicroseconds / 1000, 9.3, 0.5)],
  },
];

/** Rehearses a case with the history that its workload file has. */
export async function rehearsePublished({ workload, conditions }: PublishedCase): Promise<Outcome> {
  const memory = await openPublished(workload);
  return rehearseOnce(memory, conditions);
}

/** The memory of a workload of fixtures/published, after the program has run for five seconds. */
export function openPublished(name: string): ReturnType<typeof openSimulatedMemory> {
  const file = resolve(import.meta.dirname, '../../fixtures/published', `${name}.yaml`);
  return openSimulatedMemory(parseWorkload(readFileSync(file, 'utf8'), file), {
    warmUpMicroseconds: 5 * SECOND,
  });
}
