import {
  type MigratingMemory,
  type Outcome,
  openSimulatedMemory,
  type RehearsalOptions,
} from '../../src/migration/index.ts';
import { parseWorkload } from '../../src/workload/index.ts';
import {
  giveUpMicroseconds,
  linkOptions,
  qemuOptions,
  type Recording,
  warmUpMicroseconds,
  workloadText,
} from './qemu-recordings.ts';

/** What was predicted and what was recorded of one figure. */
export interface Compared {
  readonly predicted: number;
  readonly recorded: number;
}

export interface Comparison {
  readonly id: string;
  readonly convergedAsRecorded: boolean;
  readonly totalMilliseconds: Compared | undefined;
  readonly reportedDowntimeMilliseconds: Compared | undefined;
  readonly downtimeMilliseconds: Compared | undefined;
  readonly megabytes: Compared;
  readonly syncs: Compared;
}

/** The memory of a recorded guest when its migration began, in run number `run`. */
export function openRecorded(recording: Recording, run = 0): Promise<MigratingMemory> {
  const workload = parseWorkload(workloadText(recording), `${recording.id}.yaml`);
  return openSimulatedMemory(workload, { warmUpMicroseconds: warmUpMicroseconds(recording), seed: run + 1 });
}

/** The conditions of a recorded migration. */
export function recordedConditions(recording: Recording): RehearsalOptions {
  return {
    link: linkOptions(recording),
    choice: { policy: 'qemu', options: qemuOptions(recording) },
    giveUpAfterMicroseconds: giveUpMicroseconds(recording),
  };
}

/** Sets what was predicted of a recorded migration beside what happened. */
export function compare(recording: Recording, outcome: Outcome): Comparison {
  const { result, observed } = recording;
  const ram = result.final.ram ?? result.final.last_active?.ram;
  const milliseconds = (predicted: number, recorded: number | null | undefined) =>
    recorded === null || recorded === undefined ? undefined : { predicted: predicted / 1000, recorded };
  return {
    id: recording.id,
    convergedAsRecorded: (outcome.verdict === 'converges') === (result.status === 'completed'),
    totalMilliseconds: milliseconds(outcome.totalMicroseconds, result.total_time_ms),
    reportedDowntimeMilliseconds: milliseconds(outcome.reportedDowntimeMicroseconds, result.downtime_ms),
    downtimeMilliseconds: milliseconds(outcome.downtimeMicroseconds, observed?.stop_to_resume_ms),
    megabytes: { predicted: outcome.transferredBytes / 1e6, recorded: (ram?.transferred ?? 0) / 1e6 },
    syncs: { predicted: outcome.rounds.length, recorded: result.dirty_sync_count },
  };
}
