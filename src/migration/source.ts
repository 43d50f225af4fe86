import { parseWorkload } from '../workload/index.ts';
import type { MigratingMemory } from './memory.ts';
import { openRecordedMemory } from './recording/recorded-memory.ts';
import type { Recording } from './recording/recording.ts';
import { openSimulatedMemory } from './simulated-memory.ts';

/**
 * Where the memory of a rehearsal comes from, as plain data: threads can be given it, and each opens the memory anew
 * for every run.
 */
export type MemorySource =
  | {
      readonly kind: 'workload';
      /** Name of the workload file, for messages. */
      readonly path: string;
      /** What it says. */
      readonly text: string;
      /** How long the program has run when the migration begins. */
      readonly warmUpMicroseconds: number;
    }
  | { readonly kind: 'recording'; readonly recording: Recording };

/** Runs after one another begin so far apart, as a share of a recording: no few of them come close to each other. */
const GOLDEN_SHARE = 0.618034;

/**
 * Opens the memory for run number `run`, from 0: each has another history of the same program, or begins at another
 * instant of the recording; the first one begins where the recording does.
 * @throws WorkloadError
 */
export async function openSource(source: MemorySource, run: number): Promise<MigratingMemory> {
  if (source.kind === 'recording') {
    const { recording } = source;
    const offsetMicroseconds = ((run * GOLDEN_SHARE) % 1) * recording.microseconds;
    return openRecordedMemory(recording, { offsetMicroseconds, seed: run });
  }
  const { path, text, warmUpMicroseconds } = source;
  const workload = parseWorkload(text, path);
  return openSimulatedMemory(workload, {
    warmUpMicroseconds,
    seed: (workload.seed + run) % Number.MAX_SAFE_INTEGER,
  });
}
