import { encodePruning } from '../image/index.ts';
import type { BlockSource } from './block-source.ts';
import type { StoreFiles } from './files.ts';
import { PRUNING_FILE } from './layout.ts';
import { PackWriter } from './pack-writer.ts';
import { finishPruning, removeManifests, removeUnneededPacks } from './recovery.ts';

/** A set of block numbers of one pack, one bit a block. */
export class BlockSet {
  #bits = new Uint8Array(128);
  #count = 0;

  /** Number of blocks in the set. */
  get count(): number {
    return this.#count;
  }

  add(block: number): void {
    const byte = Math.floor(block / 8);
    if (byte >= this.#bits.length) {
      const grown = new Uint8Array(Math.max(byte + 1, this.#bits.length * 2));
      grown.set(this.#bits);
      this.#bits = grown;
    }
    const bit = 1 << (block % 8);
    if ((this.#bits[byte]! & bit) === 0) this.#count++;
    this.#bits[byte]! |= bit;
  }

  has(block: number): boolean {
    return (this.#bits[Math.floor(block / 8)]! & (1 << (block % 8))) !== 0;
  }
}

/** What a prune is to do. Packs that no kept manifest names are removed without being listed. */
export interface Pruning {
  /** Checkpoints to remove, ascending. */
  readonly checkpoints: readonly number[];
  /** Packs to write anew with these blocks only; every other block is needed by nobody. */
  readonly rewrites: readonly { readonly pack: number; readonly keep: BlockSet }[];
}

/**
 * Removes checkpoints. The moment `pruning.json` has its name they are gone, all together; what follows only frees
 * space, and the next writer finishes it if this one is killed. A reader that has opened a pack keeps its descriptor
 * and notices nothing; one that opens a checkpoint that goes away meanwhile gets an IntegrityError, never wrong pages.
 */
export async function prune(files: StoreFiles, source: BlockSource, pruning: Pruning): Promise<void> {
  await files.replaceText('.', PRUNING_FILE, encodePruning(pruning.checkpoints), 'pruning');
  await removeManifests(files, pruning.checkpoints);
  await removeUnneededPacks(files);
  for (const { pack, keep } of pruning.rewrites) await rewritePack(files, source, pack, keep);
  await finishPruning(files);
}

/** Writes a pack anew with some of its blocks. Blocks keep their numbers, so no index has to change. */
async function rewritePack(
  files: StoreFiles,
  source: BlockSource,
  pack: number,
  keep: BlockSet,
): Promise<void> {
  const reader = source.pack(pack);
  const writer = await PackWriter.create(files, pack);
  try {
    for (let index = 0; index < reader.table.blocks.length; index++) {
      if (!keep.has(reader.table.blocks[index]!)) continue;
      const digestBlock = reader.table.digestBlocks[index]!;
      const firstDigest = reader.table.firstDigests[index]!;
      writer.copy(reader.readIndex(index), { digestBlock, firstDigest });
      await writer.ready();
    }
    await writer.finish();
    await writer.publish();
  } catch (cause) {
    await writer.abort();
    throw cause;
  }
}
