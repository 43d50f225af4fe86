import { UsageError } from '../core/index.ts';
import { BLOCK_HEADER_BYTES, type Manifest, TABLE_ENTRY_BYTES } from '../image/index.ts';
import { BlockSet, type Store } from '../store/index.ts';
import { NeededBlocks } from './needed-blocks.ts';

/** What to keep. */
export interface PruneOptions {
  /** How many of the newest checkpoints stay. */
  readonly keep: number;
}

/** A pack that a prune removes or makes smaller. */
export interface PackChange {
  readonly pack: number;
  readonly bytesBefore: number;
  /** 0 for a pack that goes away. */
  readonly bytesAfter: number;
}

/** What a prune would do: plain values, to be shown before it is done. */
export interface PrunePlan {
  /** Checkpoints that stay, ascending. */
  readonly kept: readonly number[];
  /** Checkpoints that go, ascending. */
  readonly removed: readonly number[];
  readonly packs: readonly PackChange[];
  readonly bytesFreed: number;
  /** For `executePrune`: the blocks that stay in the packs that are written anew. */
  readonly rewrites: readonly { readonly pack: number; readonly keep: BlockSet }[];
}

/** A pack is written anew when at least this share of it is needed by nobody: less is not worth copying the rest. */
const REWRITE_SHARE = 0.2;

/**
 * Plans to keep only the newest checkpoints. Every kept one stays restorable, also a delta whose parent goes: its index
 * is complete, and the blocks that it needs stay where they are.
 * @throws UsageError if nothing would be kept; IntegrityError if an index cannot be read, since then nobody knows what
 * is needed.
 */
export async function planPrune(store: Store, { keep }: PruneOptions): Promise<PrunePlan> {
  if (!Number.isInteger(keep) || keep < 1) {
    throw new UsageError(`cannot keep ${keep} checkpoints`, { hint: 'keep at least 1, or remove the store' });
  }
  const manifests = await store.manifests();
  const kept = manifests.slice(-keep);
  const needed = new NeededBlocks();
  for (const manifest of kept) await needed.addCheckpoint(store, manifest);
  needed.addDigests(store);
  const packs: PackChange[] = [];
  const rewrites: { pack: number; keep: BlockSet }[] = [];
  for (const pack of await store.packs()) {
    const blocks = needed.of(pack) ?? new BlockSet();
    const change = changeOf(store, pack, blocks, kept);
    if (change === undefined) continue;
    packs.push(change);
    if (change.bytesAfter > 0) rewrites.push({ pack, keep: blocks });
  }
  return {
    kept: kept.map(({ number }) => number),
    removed: manifests.slice(0, manifests.length - kept.length).map(({ number }) => number),
    packs,
    bytesFreed: packs.reduce((sum, { bytesBefore, bytesAfter }) => sum + bytesBefore - bytesAfter, 0),
    rewrites,
  };
}

/**
 * Carries a plan out. The checkpoints disappear together in one step; a prune that is killed after that is finished by
 * the next command that writes to the store.
 */
export async function executePrune(store: Store, plan: PrunePlan): Promise<void> {
  if (plan.removed.length === 0 && plan.packs.length === 0) return;
  await store.prune({ checkpoints: plan.removed, rewrites: plan.rewrites });
}

/** What becomes of a pack; undefined if it stays as it is. */
function changeOf(
  store: Store,
  pack: number,
  needed: BlockSet,
  kept: readonly Manifest[],
): PackChange | undefined {
  const { table, sizeBytes } = store.blocks.pack(pack);
  if (!kept.some(({ packs }) => packs.includes(pack))) return { pack, bytesBefore: sizeBytes, bytesAfter: 0 };
  let unneededBytes = 0;
  for (let index = 0; index < table.blocks.length; index++) {
    if (needed.has(table.blocks[index]!)) continue;
    unneededBytes += BLOCK_HEADER_BYTES + table.storedBytes[index]! + TABLE_ENTRY_BYTES;
  }
  if (unneededBytes < sizeBytes * REWRITE_SHARE) return undefined;
  return { pack, bytesBefore: sizeBytes, bytesAfter: sizeBytes - unneededBytes };
}
