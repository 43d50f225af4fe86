import { CodecPool } from '../codec/index.ts';
import { PAGE_SIZE } from '../core/index.ts';
import { Store } from '../store/index.ts';
import type { WorkProgress } from './dump-types.ts';
import type { Finding } from './finding.ts';
import { executePrune, type PrunePlan, planPrune } from './prune.ts';
import { type CheckpointName, readStore } from './read-store.ts';
import { executeSquash, planSquash, type SquashPlan, type SquashResult } from './squash.ts';
import { verifyStore } from './verify.ts';

/** What long work on a store needs besides the store. */
export interface MaintenanceRequest {
  readonly storeDirectory: string;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: WorkProgress) => void;
  /** Told things worth knowing that are no failures. */
  readonly onNote?: (note: string) => void;
}

/** What verifying a store came to. */
export interface Verification {
  readonly storeDirectory: string;
  readonly checkpoints: number;
  readonly errors: number;
  readonly warnings: number;
  readonly findings: readonly Finding[];
  readonly microseconds: number;
}

/**
 * Verifies every byte of the store in a directory.
 * @throws StoreNotFoundError, StoreUnusableError, StoreVersionError; damage is a finding, not an exception.
 */
export async function verifyDirectory(
  request: MaintenanceRequest & { readonly onFinding?: (finding: Finding) => void },
): Promise<Verification> {
  const started = performance.now();
  return readStore(request.storeDirectory, async (store, pool) => {
    const findings: Finding[] = [];
    const options = {
      ...(request.signal === undefined ? {} : { signal: request.signal }),
      onProgress: (doneBytes: number, totalBytes: number) =>
        request.onProgress?.({
          phase: 'verifying',
          donePages: Math.ceil(doneBytes / PAGE_SIZE),
          totalPages: Math.ceil(totalBytes / PAGE_SIZE),
          doneBytes,
        }),
    };
    for await (const finding of verifyStore(store, pool, options)) {
      findings.push(finding);
      request.onFinding?.(finding);
    }
    const errors = findings.filter(({ severity }) => severity === 'error').length;
    return {
      storeDirectory: request.storeDirectory,
      checkpoints: (await store.numbers()).length,
      errors,
      warnings: findings.length - errors,
      findings,
      microseconds: Math.round((performance.now() - started) * 1000),
    };
  });
}

/** A squash that was planned and, unless it was a dry run, done. */
export interface Squashed {
  readonly plan: SquashPlan;
  readonly result: SquashResult | null;
}

/**
 * Folds the chain of a checkpoint into a base.
 * @throws as `planSquash` and `executeSquash`.
 */
export async function squashDirectory(
  request: MaintenanceRequest & { readonly checkpoint: CheckpointName; readonly dryRun: boolean },
): Promise<Squashed> {
  return withWriter(request, 'ckpt squash', async (store) => {
    const { checkpoint } = request;
    const plan = await planSquash(store, checkpoint === 'latest' ? {} : { checkpoint });
    if (request.dryRun) return { plan, result: null };
    const result = await executeSquash(store, plan, {
      ...(request.signal === undefined ? {} : { signal: request.signal }),
      onProgress: (donePages, totalPages) =>
        request.onProgress?.({ phase: 'squashing', donePages, totalPages, doneBytes: donePages * PAGE_SIZE }),
    });
    return { plan, result };
  });
}

/** A prune that was planned and, unless it was a dry run, done. */
export interface Pruned {
  readonly plan: PrunePlan;
  readonly done: boolean;
}

/**
 * Keeps the newest checkpoints of a store and removes what none of them needs.
 * @throws as `planPrune`.
 */
export async function pruneDirectory(
  request: MaintenanceRequest & { readonly keep: number; readonly dryRun: boolean },
): Promise<Pruned> {
  return withWriter(request, 'ckpt prune', async (store) => {
    const plan = await planPrune(store, { keep: request.keep });
    request.signal?.throwIfAborted();
    if (!request.dryRun) await executePrune(store, plan);
    return { plan, done: !request.dryRun };
  });
}

async function withWriter<Result>(
  request: MaintenanceRequest,
  command: string,
  use: (store: Store) => Promise<Result>,
): Promise<Result> {
  const pool = new CodecPool();
  try {
    const store = await Store.open(request.storeDirectory, { access: 'write', command, codec: pool });
    try {
      for (const notice of store.notices) request.onNote?.(notice);
      return await use(store);
    } finally {
      await store.close();
    }
  } finally {
    await pool.close();
  }
}
