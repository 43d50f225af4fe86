import {
  type BlobReference,
  blockOfPosition,
  MAX_PACK_BLOCKS,
  type Manifest,
  NO_BLOCK,
  type Segment,
} from '../image/index.ts';
import { BlockSet, type Store } from '../store/index.ts';

/** Which blocks of which packs some checkpoints need: indexes, pages, differences and what they refer to, state. */
export class NeededBlocks {
  readonly #packs = new Map<number, BlockSet>();
  readonly #seenSegments = new Set<number>();

  /** The needed blocks of a pack; none if it is not needed at all. */
  of(pack: number): BlockSet | undefined {
    return this.#packs.get(pack);
  }

  /** Adds the blocks of digests that belong to needed blocks; call it when all checkpoints are added. */
  addDigests(store: Store): void {
    for (const [pack, blocks] of this.#packs) {
      const { table } = store.blocks.pack(pack);
      for (let index = 0; index < table.blocks.length; index++) {
        const digestBlock = table.digestBlocks[index]!;
        if (digestBlock !== NO_BLOCK && blocks.has(table.blocks[index]!)) blocks.add(digestBlock);
      }
    }
  }

  /** Adds everything that a checkpoint needs. Segments shared with checkpoints added before are not read again. */
  async addCheckpoint(store: Store, manifest: Manifest): Promise<void> {
    const reader = await store.openCheckpoint(manifest.number);
    const { state, files } = manifest;
    if (state !== null) this.#addBlob(state.content);
    if (files !== undefined) {
      this.#addBlob(files.listing);
      this.#addBlob(files.content);
    }
    for (const process of manifest.processes) {
      this.#addBlob(process.index.root);
      if (process.trackerState !== null) this.#addBlob(process.trackerState);
      const index = await reader.index(process.pid);
      for (const reference of index.segments) {
        const { pack, block } = reference.location;
        if (this.#seenSegments.has(pack * MAX_PACK_BLOCKS + block)) continue;
        this.#seenSegments.add(pack * MAX_PACK_BLOCKS + block);
        const { segment } = await index.load(reference);
        this.#add(pack, block);
        this.#addPages(segment);
      }
    }
  }

  #addPages(segment: Segment): void {
    for (let entry = 0; entry < segment.count; entry++) {
      const pack = segment.packs[entry]!;
      const deltaPack = segment.deltaPacks[entry]!;
      if (pack !== 0) this.#add(pack, blockOfPosition(segment.positions[entry]!));
      if (deltaPack !== 0) this.#add(deltaPack, blockOfPosition(segment.deltaPositions[entry]!));
    }
  }

  #addBlob({ pack, firstBlock, blockCount }: BlobReference): void {
    for (let block = firstBlock; block < firstBlock + blockCount; block++) this.#add(pack, block);
  }

  #add(pack: number, block: number): void {
    let blocks = this.#packs.get(pack);
    if (blocks === undefined) {
      blocks = new BlockSet();
      this.#packs.set(pack, blocks);
    }
    blocks.add(block);
  }
}
