import { describe, expect, it } from 'vitest';
import { rehearseOnce } from '../../src/migration/index.ts';
import { type Compared, compare, openRecorded, recordedConditions } from './qemu-comparison.ts';
import {
  isUndisturbed,
  type Recording,
  readRecordings,
  workloadFile,
  workloadText,
} from './qemu-recordings.ts';

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

describe('further recorded migrations, which the model was not built with', () => {
  // A guest that needs all of a processor shares it with the host's other work, which nobody has recorded. Those that
  // do not converge take longest; `npm run validate` has them, too.
  const comparable = readRecordings('qemu-migration-more').filter(
    (recording) =>
      isUndisturbed(recording) &&
      recording.capabilities['auto-converge'] !== true &&
      (recording.result.converged || recording.id === 'a-zipf06'),
  );

  it('are there', () => {
    expect(comparable.length).toBeGreaterThanOrEqual(15);
  });

  for (const recording of comparable) {
    it(recording.id, async () => {
      const outcome = rehearseOnce(await openRecorded(recording), recordedConditions(recording));
      const { convergedAsRecorded, megabytes, syncs, totalMilliseconds } = compare(recording, outcome);
      expect(convergedAsRecorded, outcome.verdict).toBe(true);
      expectWithin('MB', megabytes, megabytes.recorded * 0.05);
      expectWithin('syncs', syncs, Math.max(1, syncs.recorded * 0.2));
      // With several connections the sender's threads compete for the processor, too.
      if (totalMilliseconds === undefined || recording.capabilities['multifd'] === true) return;
      expectWithin('total ms', totalMilliseconds, totalMilliseconds.recorded * 0.05);
    });
  }
});
