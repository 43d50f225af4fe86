import { PAGE_DIGEST_BYTES } from '../codec/index.ts';
import { IntegrityError } from '../core/index.ts';
import {
  blockOfPosition,
  describeLocation,
  NO_BLOCK,
  positionOf,
  type Segment,
  slotOfPosition,
} from '../image/index.ts';
import type { BlockSource } from './block-source.ts';

/** The digests of one block of pages or differences. */
interface PlacedDigests {
  readonly block: number;
  readonly firstDigest: number;
  readonly digestCount: number;
  readonly digests: Uint8Array;
}

/**
 * Fills in the digests of a segment that was just decoded. They lie beside the pages, in the packs that these were
 * written to: written once, however often an index lists the page.
 * @throws IntegrityError if a block of digests is damaged, or there is none for a page.
 */
export async function fillDigests(source: BlockSource, segment: Segment): Promise<void> {
  // In address order the pages of one pack follow each other in its blocks, so the last block of each is remembered.
  const newest = new Map<number, PlacedDigests>();
  for (let entry = 0; entry < segment.count; entry++) {
    if (segment.packs[entry] === 0) continue;
    const isDelta = segment.deltaPacks[entry] !== 0;
    const pack = isDelta ? segment.deltaPacks[entry]! : segment.packs[entry]!;
    const position = isDelta ? segment.deltaPositions[entry]! : segment.positions[entry]!;
    const block = blockOfPosition(position);
    let placed = newest.get(pack);
    if (placed?.block !== block) {
      placed = await findDigests(source, pack, block);
      newest.set(pack, placed);
    }
    const slot = slotOfPosition(position);
    if (slot >= placed.digestCount) throw missing(describeLocation(pack, position));
    const from = (placed.firstDigest + slot) * PAGE_DIGEST_BYTES;
    const to = entry * PAGE_DIGEST_BYTES;
    for (let byte = 0; byte < PAGE_DIGEST_BYTES; byte++) {
      segment.digests[to + byte] = placed.digests[from + byte]!;
    }
  }
}

async function findDigests(source: BlockSource, pack: number, block: number): Promise<PlacedDigests> {
  const reader = source.pack(pack);
  const index = reader.indexOf(block);
  const digestBlock = index < 0 ? NO_BLOCK : reader.table.digestBlocks[index]!;
  if (digestBlock === NO_BLOCK) throw missing(describeLocation(pack, positionOf(block, 0)));
  const { extents, digests } = await source.digests(pack, digestBlock);
  const firstDigest = reader.table.firstDigests[index]!;
  const extent = extents.get(block);
  if (extent === undefined || extent.firstDigest !== firstDigest)
    throw missing(describeLocation(pack, positionOf(block, 0)));
  return { block, firstDigest, digestCount: extent.digestCount, digests };
}

function missing(where: string): IntegrityError {
  return new IntegrityError(`${where} has no digest`, {
    hint: "run 'ckpt verify' to list everything that is damaged",
  });
}
