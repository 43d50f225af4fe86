import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  type GuestFile,
  type GuestKernelVersion,
  guestObstacle,
  nodeFiles,
  programFiles,
  projectFiles,
  runInGuest,
} from './harness.ts';

interface Outcome {
  readonly reason: string;
  readonly suspects: number;
  readonly unchanged: number;
  readonly written: number;
  readonly notes: number;
  readonly wrong: readonly string[];
}

/** KSM scans as fast as it can: merged pages are what soft-dirty is most wrong about. */
const WITH_KSM = `
echo 1 > /sys/kernel/mm/ksm/run
echo 20000 > /sys/kernel/mm/ksm/pages_to_scan
echo 1 > /sys/kernel/mm/ksm/sleep_millisecs
`;

const work = mkdtempSync(join(tmpdir(), 'ckpt-shifter-'));
const shifter = join(work, 'shifter');

beforeAll(() => {
  execFileSync('gcc', ['-O1', '-o', shifter, join(import.meta.dirname, 'shifter.c')]);
});
afterAll(() => rmSync(work, { recursive: true, force: true }));

async function follow(
  kernel: GuestKernelVersion,
  prelude: string,
  rounds: number,
  operations: number,
): Promise<Outcome> {
  const files: Record<string, GuestFile> = {
    ...nodeFiles(),
    ...projectFiles(),
    ...programFiles(shifter, '/bin/shifter'),
    '/follow-shifter.mjs': { from: join(import.meta.dirname, 'follow-shifter.mjs') },
  };
  const script = `${prelude}\nnode /follow-shifter.mjs /bin/shifter soft-dirty ${rounds} ${operations}`;
  const { stdout, exitCode } = await runInGuest({ kernel, files, script });
  expect(exitCode, stdout).toBe(0);
  return JSON.parse(stdout.trim().split('\n').at(-1)!) as Outcome;
}

interface Chain {
  readonly trackers: readonly string[];
  readonly pages: readonly { readonly present: number; readonly dirty: number; readonly written: number }[];
  readonly wrong: readonly string[];
}

async function dumpAndRestore(kernel: GuestKernelVersion, dumps: number, operations: number): Promise<Chain> {
  const files: Record<string, GuestFile> = {
    ...nodeFiles(),
    ...projectFiles(),
    ...programFiles(shifter, '/bin/shifter'),
    '/follow-dumps.mjs': { from: join(import.meta.dirname, 'follow-dumps.mjs') },
    '/read-memory.mjs': { from: join(import.meta.dirname, '../system/read-memory.mjs') },
  };
  const script = `node /follow-dumps.mjs /bin/shifter ${dumps} ${operations}`;
  const { stdout, exitCode } = await runInGuest({ kernel, files, script, timeoutSeconds: 280 });
  expect(exitCode, stdout).toBe(0);
  return JSON.parse(stdout.trim().split('\n').at(-1)!) as Chain;
}

describe.each<GuestKernelVersion>(['6.1', '6.12'])(
  'soft-dirty tracking of a real process on Linux %s',
  (kernel) => {
    const obstacle = guestObstacle(kernel);

    it.skipIf(obstacle !== undefined)(
      `misses no change of a program that moves, merges, shares and discards its memory ${obstacle ?? ''}`,
      async () => {
        const outcome = await follow(kernel, WITH_KSM, 40, 4);
        expect(outcome.wrong).toEqual([]);
        expect(outcome.reason).toMatch(/^soft-dirty/);
        expect(outcome.written).toBeGreaterThan(10_000);
        // And it is worth having, even with a program as nasty as this.
        expect(outcome.unchanged).toBeGreaterThan(20_000);
        expect(outcome.notes).toBe(0);
      },
    );

    it.skipIf(obstacle !== undefined)(
      `gives incremental dumps that restore byte for byte ${obstacle ?? ''}`,
      async () => {
        const { trackers, pages, wrong } = await dumpAndRestore(kernel, 3, 6);
        expect(wrong).toEqual([]);
        expect(new Set(trackers)).toEqual(new Set(['soft-dirty']));
        for (const { present, dirty } of pages.slice(1)) expect(dirty).toBeLessThan(present);
      },
    );
  },
);
