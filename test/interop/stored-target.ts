import { takeCheckpoint } from '../../src/checkpoint/index.ts';
import { CodecPool } from '../../src/codec/index.ts';
import { Store } from '../../src/store/index.ts';
import type { LiveProcessState, TargetState, Vma } from '../../src/target/index.ts';
import { encodeLiveState } from '../../src/target/live-state-codec.ts';
import { LIVE_STATE_FORMAT } from '../../src/target/live-state-format.ts';
import { anonymousVma, MemoryProcess, MemoryTarget, patternPage } from '../checkpoint/memory-target.ts';
import { liveState } from './states.ts';

/** Page of private memory at which the processes of a `StatefulTarget` have a mapping of 600 pages. */
export const HEAP_PAGE = 0x5555_5555_0;

/** A live target in plain memory, whose checkpoints have the given state. */
export class StatefulTarget extends MemoryTarget {
  readonly #states: readonly LiveProcessState[];

  constructor(states: readonly LiveProcessState[], furtherMappings: readonly Vma[] = []) {
    super(
      states.map(({ pid, parentPid }) => {
        const process = new MemoryProcess(pid, parentPid);
        process.mappings = [...furtherMappings, anonymousVma(HEAP_PAGE, HEAP_PAGE + 600)].sort(
          (a, b) => a.startPage - b.startPage,
        );
        return process;
      }),
      false,
    );
    this.#states = states;
    for (const process of this.list) {
      process.store(HEAP_PAGE + 1, patternPage(process.pid));
      process.store(HEAP_PAGE + 2, patternPage(0));
      process.store(HEAP_PAGE + 599, patternPage(process.pid + 1));
    }
  }

  override captureState(): TargetState {
    return { format: LIVE_STATE_FORMAT, bytes: encodeLiveState(liveState(...this.#states)), summary: {} };
  }
}

/** Makes a store with one checkpoint of a target. */
export async function storeCheckpoint(directory: string, target: MemoryTarget): Promise<void> {
  const pool = new CodecPool({ workers: 0 });
  try {
    const store = await Store.open(directory, { access: 'create', command: 'test', codec: pool });
    try {
      await takeCheckpoint(target, store, pool, { incremental: false });
    } finally {
      await store.close();
    }
  } finally {
    await pool.close();
  }
}
