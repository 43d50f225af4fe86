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
const stirrer = join(work, 'stirrer');

beforeAll(() => {
  execFileSync('gcc', ['-O1', '-o', shifter, join(import.meta.dirname, 'shifter.c')]);
  execFileSync('gcc', ['-O1', '-static', '-o', stirrer, join(import.meta.dirname, '../system/stirrer.c')]);
});
afterAll(() => rmSync(work, { recursive: true, force: true }));

/** What to follow, in which guest. */
interface Following {
  readonly kernel: GuestKernelVersion;
  readonly tracker: 'soft-dirty' | 'pagemap-scan';
  readonly prelude?: string;
  readonly program: string;
  readonly rounds: number;
  readonly operations: number;
  /** What else to say to the program, by round. */
  readonly commands?: Readonly<Record<number, string>>;
}

async function follow(following: Following): Promise<Outcome> {
  const { kernel, tracker, prelude = '', program, rounds, operations, commands = {} } = following;
  const files: Record<string, GuestFile> = {
    ...nodeFiles(),
    ...projectFiles(),
    ...programFiles(program, '/bin/program'),
    '/follow-shifter.mjs': { from: join(import.meta.dirname, 'follow-shifter.mjs') },
  };
  const command = `node /follow-shifter.mjs /bin/program ${tracker} ${rounds} ${operations}`;
  const script = `${prelude}\n${command} '${JSON.stringify(commands)}'`;
  const { stdout, exitCode } = await runInGuest({ kernel, files, script, timeoutSeconds: 280 });
  expect(exitCode, stdout).toBe(0);
  return JSON.parse(stdout.trim().split('\n').at(-1)!) as Outcome;
}

describe.each<GuestKernelVersion>(['6.1', '6.12'])(
  'soft-dirty tracking of a real process on Linux %s',
  (kernel) => {
    const obstacle = guestObstacle(kernel);

    it.skipIf(obstacle !== undefined)(
      `misses no change of a program that moves, merges, shares and discards its memory ${obstacle ?? ''}`,
      async () => {
        const outcome = await follow({
          ...{ kernel, tracker: 'soft-dirty', prelude: WITH_KSM },
          ...{ program: shifter, rounds: 40, operations: 4 },
        });
        expect(outcome.wrong).toEqual([]);
        expect(outcome.reason).toMatch(/^soft-dirty/);
        expect(outcome.written).toBeGreaterThan(10_000);
        // And it is worth having, even with a program as nasty as this.
        expect(outcome.unchanged).toBeGreaterThan(20_000);
        expect(outcome.notes).toBe(0);
      },
    );
  },
);

describe('write protection of a real process on Linux 6.12', () => {
  const kernel = '6.12';
  const tracker = 'pagemap-scan';
  const obstacle = guestObstacle(kernel);

  it.skipIf(obstacle !== undefined)(
    `misses no change of a program that moves, merges, shares and discards its memory ${obstacle ?? ''}`,
    async () => {
      const program = { program: shifter, rounds: 40, operations: 4 };
      const outcome = await follow({ kernel, tracker, prelude: WITH_KSM, ...program });
      expect(outcome.wrong).toEqual([]);
      expect(outcome.reason).toMatch(/^pagemap-scan/);
      expect(outcome.unchanged).toBeGreaterThan(20_000);
      expect(outcome.notes).toBe(0);
    },
  );

  it.skipIf(obstacle !== undefined)(
    `misses no change of files, heap and stack, nor where the program watches itself ${obstacle ?? ''}`,
    async () => {
      const commands = { 5: 'watch', 20: 'close', 25: 'close' };
      const program = { program: stirrer, rounds: 30, operations: 5 };
      const outcome = await follow({ kernel, tracker, ...program, commands });
      expect(outcome.wrong).toEqual([]);
      expect(outcome.unchanged).toBeGreaterThan(10_000);
      expect(outcome.notes).toBeGreaterThan(2);
    },
  );
});
