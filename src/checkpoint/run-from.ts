import { IntegrityError } from '../core/index.ts';
import type { Target } from '../target/index.ts';
import type { WorkProgress } from './dump-types.ts';
import { digestTargetMemory, proveMemoryDigest } from './memory-proof.ts';
import { restoreSimulated } from './open-target.ts';
import {
  type CheckpointName,
  openNamed,
  readStore,
  requireOwnDump,
  requireRestorable,
} from './read-store.ts';

/** Which simulated process goes on, from where, and for how long. */
export interface RunRequest {
  readonly storeDirectory: string;
  readonly checkpoint: CheckpointName;
  readonly runMicroseconds: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: WorkProgress) => void;
}

/** How the restored process was, and how it is after its run. */
export interface RunResult {
  readonly checkpoint: number;
  readonly target: string;
  /** Recomputed from the restored process's memory, and equal to the checkpoint's. */
  readonly restoredDigest: string;
  readonly ranMicroseconds: number;
  /** Virtual time after the run. */
  readonly nowMicroseconds: number;
  /** Digest of its memory after the run. */
  readonly memoryDigest: string;
  readonly summary: Readonly<Record<string, unknown>>;
}

/**
 * Restores the simulated process of a checkpoint, proves its memory by the digest, and lets it run on.
 * @throws TargetError if the checkpoint is of a live process, IntegrityError if the memory is not what was dumped.
 */
export async function runFromCheckpoint(request: RunRequest): Promise<RunResult> {
  return readStore(request.storeDirectory, async (store, pool) => {
    const reader = await openNamed(store, request.checkpoint);
    requireOwnDump(reader);
    requireRestorable(reader);
    await proveMemoryDigest(reader);
    const { number, memoryDigest } = reader.manifest;
    const target = await restoreSimulated(reader);
    try {
      const restoredDigest = await digestTargetMemory(target, pool);
      requireEqualDigest(restoredDigest, memoryDigest, number);
      await run(target, request);
      return {
        checkpoint: number,
        target: target.identity.name,
        restoredDigest,
        ranMicroseconds: request.runMicroseconds,
        nowMicroseconds: target.nowMicroseconds(),
        memoryDigest: await digestTargetMemory(target, pool),
        summary: target.captureState().summary,
      };
    } finally {
      await target.close();
    }
  });
}

async function run(target: Target, request: RunRequest): Promise<void> {
  request.onProgress?.({ phase: 'running', donePages: 0, totalPages: 0, doneBytes: 0 });
  await target.run(request.runMicroseconds, request.signal);
}

function requireEqualDigest(found: string, expected: string, checkpoint: number): void {
  if (found === expected) return;
  throw new IntegrityError(
    `the process restored from checkpoint ${checkpoint} does not have the memory that was dumped`,
    {
      hint: "run 'ckpt verify'; if it finds nothing, this is a bug in ckpt",
      data: { checkpoint, found, expected },
    },
  );
}
