import { parseWorkload } from '../workload/index.ts';
import type { MigratingMemory } from './memory.ts';
import { openSimulatedMemory } from './simulated-memory.ts';

/**
 * Where the memory of a rehearsal comes from, as plain data: threads can be given it, and each opens the memory anew
 * for every run.
 */
export type MemorySource = {
  readonly kind: 'workload';
  /** Name of the workload file, for messages. */
  readonly path: string;
  /** What it says. */
  readonly text: string;
  /** How long the program has run when the migration begins. */
  readonly warmUpMicroseconds: number;
};

/**
 * Opens the memory for run number `run`, from 0: each has another history of the same program.
 * @throws WorkloadError
 */
export async function openSource(source: MemorySource, run: number): Promise<MigratingMemory> {
  const { path, text, warmUpMicroseconds } = source;
  const workload = parseWorkload(text, path);
  return openSimulatedMemory(workload, {
    warmUpMicroseconds,
    seed: (workload.seed + run) % Number.MAX_SAFE_INTEGER,
  });
}
