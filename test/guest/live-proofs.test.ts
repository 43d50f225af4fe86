import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { CheckReport } from '../../src/checkpoint/index.ts';
import {
  type GuestFile,
  type GuestKernelVersion,
  guestObstacle,
  nodeFiles,
  programFiles,
  projectFiles,
  runInGuest,
} from './harness.ts';

/** Trackers that kernels have, beside the one that needs nothing of them. */
const TRACKERS: Readonly<Record<GuestKernelVersion, readonly string[]>> = {
  '6.1': ['soft-dirty'],
  '6.12': ['soft-dirty', 'pagemap-scan'],
};
const CHECKPOINTS = 11;
/** Emulation on a busy machine takes several times as long as on an idle one. */
const LIMIT_SECONDS = 900;
const SYSTEM = resolve(import.meta.dirname, '../system');
const SOURCES = [
  join(import.meta.dirname, 'shifter.c'),
  ...['stirrer', 'checksum', 'revive', 'rewinder'].map((name) => join(SYSTEM, `${name}.c`)),
];

const programs = mkdtempSync(join(tmpdir(), 'ckpt-proofs-'));
afterAll(() => rmSync(programs, { recursive: true, force: true }));

interface Following {
  readonly trackers: readonly string[];
  readonly warnings: readonly unknown[];
  readonly pages: readonly { readonly present: number; readonly dirty: number }[];
  /** In each checkpoint. */
  readonly processes: readonly number[];
  /** How many different memories the programs of each name have had. */
  readonly versions: Readonly<Record<string, number>>;
  readonly wrong: readonly string[];
  readonly sums: string;
  readonly family: number;
  readonly broken: readonly string[];
}

interface Recorded {
  readonly tracker: string;
  readonly residentPages: number;
  /** Pages of each step; the first is the beginning. */
  readonly written: readonly number[];
  readonly sums: string;
}

interface Rewound {
  readonly outcome: string;
  readonly obstacles: readonly unknown[];
  readonly before: string;
  readonly changed: string;
  readonly after: string;
}

interface RevivedProgram {
  readonly pids: readonly number[];
  readonly revived: readonly number[];
  /** Lines that the program had written when it was killed. */
  readonly before: number;
  readonly lines: readonly string[];
}

/** Boots the kernel once; what each proof has printed, by name. */
async function prove(kernel: GuestKernelVersion): Promise<ReadonlyMap<string, object>> {
  const files: Record<string, GuestFile> = {
    ...nodeFiles(),
    ...projectFiles(),
    '/live-proofs.mjs': { from: join(import.meta.dirname, 'live-proofs.mjs') },
    '/read-memory.mjs': { from: join(SYSTEM, 'read-memory.mjs') },
  };
  for (const source of SOURCES) {
    const name = source.slice(source.lastIndexOf('/') + 1, -2);
    const options = ['-O1', '-static', '-pthread', '-DREGIONS=2'];
    execFileSync('gcc', [...options, '-o', join(programs, name), source]);
    Object.assign(files, programFiles(join(programs, name), `/bin/${name}`));
  }
  const script = `node /live-proofs.mjs ${TRACKERS[kernel].join()}`;
  const { stdout, exitCode } = await runInGuest({ kernel, files, script, timeoutSeconds: LIMIT_SECONDS });
  expect(exitCode, stdout).toBe(0);
  const documents = stdout.split('\n').filter((line) => line.startsWith('{"proof":'));
  return new Map(documents.map((line) => [(JSON.parse(line) as { proof: string }).proof, JSON.parse(line)]));
}

/** What the numbers at the beginning of the lines count: none left out, none twice. */
function expectCounting(lines: readonly string[]): void {
  const numbers = lines.map((line) => Number.parseInt(line, 10));
  expect(numbers).toEqual(numbers.map((_, index) => index + 1));
}

describe.each<GuestKernelVersion>(['6.1', '6.12'])('live processes on Linux %s', (kernel) => {
  const obstacle = guestObstacle(kernel);
  const proof = it.skipIf(obstacle !== undefined);
  const because = obstacle ?? '';
  let proofs: ReadonlyMap<string, object> = new Map();
  beforeAll(
    async () => {
      if (obstacle === undefined) proofs = await prove(kernel);
    },
    LIMIT_SECONDS * 1000 + 30_000,
  );

  function resultOf<Result extends object>(name: string): Result {
    const result = proofs.get(name);
    expect(result, name).toBeDefined();
    expect(result).not.toHaveProperty('error');
    return result as Result;
  }

  proof(`are what ckpt check says ${because}`, () => {
    const report = resultOf<CheckReport>('check');
    const has = kernel === '6.12' ? 'works' : 'missing';
    const features = report.purposes.flatMap((purpose) => purpose.features);
    expect(Object.fromEntries(features.map(({ id, state }) => [id, state]))).toMatchObject({
      ...{ 'trial-dump': 'works', 'native-calls': 'works', ptrace: 'works', inject: 'works' },
      ...{ 'soft-dirty': 'works', 'clear-ledger': 'works', 'frame-numbers': 'works', userfaultfd: 'works' },
      ...{ 'pagemap-scan': has, 'write-protect-async': has, 'write-protect-unpopulated': has },
      ...{ 'set-tid': 'works', 'set-mm-map': 'works', 'write-memory': 'works' },
      // It is none of the guest's.
      ...{ gdb: 'missing' },
    });
    expect(report.purposes.filter(({ works }) => !works)).toEqual([]);
    const kinds = Object.fromEntries(report.trackers.kinds.map(({ kind, works }) => [kind, works]));
    expect(kinds).toEqual({ 'pagemap-scan': kernel === '6.12', 'soft-dirty': true, compare: true });
    expect(report.trackers.auto).toMatch(kernel === '6.12' ? /^pagemap-scan: / : /^soft-dirty: /);
  });

  describe.each(TRACKERS[kernel])('followed by %s', (tracker) => {
    proof(`restore byte for byte, each of ten incremental checkpoints of a tree ${because}`, () => {
      const { trackers, warnings, wrong, versions, processes } = resultOf<Following>(tracker);
      expect(wrong).toEqual([]);
      expect(trackers).toEqual(Array.from({ length: CHECKPOINTS }, () => tracker));
      expect(warnings).toEqual([]);
      expect(versions).toMatchObject({ shifter: 11, stirrer: 11, checksum: 11, revive: 11 });
      expect(Math.min(...processes)).toBeGreaterThanOrEqual(7);
    });

    proof(`are dumped by what was written ${because}`, () => {
      const { pages } = resultOf<Following>(tracker);
      const deltas = pages.slice(1);
      const sum = (key: 'present' | 'dirty') => deltas.reduce((total, count) => total + count[key], 0);
      expect(sum('dirty')).toBeLessThan(sum('present') * 0.9);
    });

    proof(`go on unharmed ${because}`, () => {
      const { sums, family, broken } = resultOf<Following>(tracker);
      expect(sums).toBe('sound');
      expect(broken).toEqual([]);
      expect(family).toBeGreaterThan(20);
    });
  });

  proof.each(TRACKERS[kernel])(`are recorded with %s ${because}`, (tracker) => {
    const { residentPages, written, sums, ...recorded } = resultOf<Recorded>(`record ${tracker}`);
    expect(recorded).toMatchObject({ tracker });
    expect(sums).toBe('sound');
    expect(written.length).toBeGreaterThan(2);
    // In each interval something, and not always everything.
    expect(Math.min(...written.slice(1))).toBeGreaterThan(0);
    expect(Math.min(...written.slice(1))).toBeLessThan(residentPages);
  });

  proof(`are rewound in place ${because}`, () => {
    const { outcome, obstacles, before, changed, after } = resultOf<Rewound>('rewind');
    expect({ outcome, obstacles }).toEqual({ outcome: 'rewound', obstacles: [] });
    expect(changed).not.toBe(before);
    expect(after).toBe(before);
  });

  proof(`go on as new processes with threads, timers and signals ${because}`, () => {
    const { pids, revived, lines } = resultOf<RevivedProgram>('revive work');
    expect(revived).toEqual(pids);
    expect(lines.filter((line) => line.includes('broken'))).toEqual([]);
    expectCounting(lines);
  });

  proof(`go on as new processes with their family ${because}`, () => {
    const { pids, revived, lines } = resultOf<RevivedProgram>('revive tree');
    expect(revived).toHaveLength(3);
    expect(revived).toEqual(pids);
    expect(lines.filter((line) => line.includes('broken'))).toEqual([]);
    expectCounting(lines);
  });
});
