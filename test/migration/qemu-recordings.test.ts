import { describe, expect, it } from 'vitest';
import { rehearseOnce } from '../../src/migration/index.ts';
import { type Compared, compare, openRecorded, recordedConditions } from './qemu-comparison.ts';
import { type Recording, readRecordings, workloadFile, workloadText } from './qemu-recordings.ts';

const recordings = readRecordings();

/** How far a prediction is off, and how far it may be. */
function expectWithin(what: string, { predicted, recorded }: Compared, allowed: number): void {
  const off = Math.abs(predicted - recorded);
  expect(
    off,
    `${what}: predicted ${predicted.toFixed(1)}, recorded ${recorded.toFixed(1)}`,
  ).toBeLessThanOrEqual(allowed);
}

async function expectPrediction(recording: Recording): Promise<void> {
  const outcome = rehearseOnce(await openRecorded(recording), recordedConditions(recording));
  const compared = compare(recording, outcome);
  expect(compared.convergedAsRecorded, outcome.verdict).toBe(true);
  const { totalMilliseconds, reportedDowntimeMilliseconds, downtimeMilliseconds } = compared;
  if (totalMilliseconds !== undefined) {
    expectWithin('total ms', totalMilliseconds, totalMilliseconds.recorded * 0.05);
  }
  for (const downtime of [reportedDowntimeMilliseconds, downtimeMilliseconds]) {
    if (downtime !== undefined) {
      expectWithin('downtime ms', downtime, Math.max(30, downtime.recorded * 0.2));
    }
  }
  expectWithin('MB', compared.megabytes, compared.megabytes.recorded * 0.05);
  expectWithin('syncs', compared.syncs, Math.max(1, compared.syncs.recorded * 0.2));
}

describe('recorded migrations of QEMU', () => {
  it('are there', () => {
    expect(recordings.length).toBe(27);
  });

  for (const recording of recordings) {
    it(`${recording.id}: ${recording.note}`, async () => {
      await expect(workloadText(recording)).toMatchFileSnapshot(workloadFile(recording));
      await expectPrediction(recording);
    });
  }
});
