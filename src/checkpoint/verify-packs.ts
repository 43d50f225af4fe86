import { type CodecPool, PAGE_DIGEST_BYTES } from '../codec/index.ts';
import { IntegrityError, PAGE_SIZE } from '../core/index.ts';
import {
  BLOCK_HEADER_BYTES,
  decodeDeltaBlock,
  decodeDigestBlock,
  MAX_PACK_BLOCKS,
  type Manifest,
  NO_BLOCK,
  PACK_HEADER_BYTES,
} from '../image/index.ts';
import { type PackReader, packFileName, type Store } from '../store/index.ts';
import { errorFinding, type Finding, findingOf } from './finding.ts';

/** Blocks that are decoded at the same time. */
const BLOCKS_UNDER_WAY = 8;

/** Blocks that cannot be read, for those who need pages of them. */
export class DamagedBlocks {
  readonly #blocks = new Set<number>();

  add(pack: number, block: number): void {
    this.#blocks.add(pack * MAX_PACK_BLOCKS + block);
  }

  has(pack: number, block: number): boolean {
    return this.#blocks.has(pack * MAX_PACK_BLOCKS + block);
  }
}

/** What a pass over the packs fills in, and whom it tells. */
export interface PackPass {
  readonly damaged: DamagedBlocks;
  /** Called after each block with its bytes. */
  readonly onBytes: (bytes: number) => void;
}

/** Reports packs that checkpoints name and that do not exist. */
export async function* verifyPackNames(
  store: Store,
  manifests: readonly Manifest[],
): AsyncGenerator<Finding> {
  const existing = new Set(await store.packs());
  const missing = new Set(manifests.flatMap(({ packs }) => packs).filter((pack) => !existing.has(pack)));
  for (const pack of missing) {
    const needing = manifests.filter(({ packs }) => packs.includes(pack)).map(({ number }) => number);
    yield errorFinding(packFileName(pack), `the file is missing; checkpoints ${needing.join(', ')} need it`, {
      pack,
    });
  }
}

/**
 * Reads a pack from its beginning to its end: every byte belongs to a record with a checksum, every block decodes, every
 * page has the digest that lies beside it.
 */
export async function* verifyPack(
  store: Store,
  pool: CodecPool,
  pack: number,
  pass: PackPass,
): AsyncGenerator<Finding> {
  const opened = openPack(store, pack);
  if (opened.finding !== undefined) yield opened.finding;
  const { reader } = opened;
  if (reader === undefined) return;
  yield* verifyExtent(reader);
  const underWay: Promise<Finding | undefined>[] = [];
  for (const index of inOrderOfOffsets(reader)) {
    const checked = verifyBlock(store, reader, index, pool, pass);
    // Observed here so that a rejection which is met later is not reported as unhandled in the meantime.
    checked.catch(() => undefined);
    underWay.push(checked);
    if (underWay.length < BLOCKS_UNDER_WAY) continue;
    const finding = await underWay.shift();
    if (finding !== undefined) yield finding;
  }
  for (const finding of await Promise.all(underWay)) if (finding !== undefined) yield finding;
}

function inOrderOfOffsets({ table }: PackReader): number[] {
  return [...table.blocks.keys()].sort((a, b) => table.offsetsBytes[a]! - table.offsetsBytes[b]!);
}

interface OpenedPack {
  readonly reader: PackReader | undefined;
  readonly finding: Finding | undefined;
}

function openPack(store: Store, pack: number): OpenedPack {
  try {
    return { reader: store.blocks.pack(pack), finding: undefined };
  } catch (cause) {
    const finding = findingOf(packFileName(pack), cause);
    if (!(cause instanceof IntegrityError)) return { reader: undefined, finding };
    const reader = store.damagedBlocks.pack(pack);
    const problem = `${finding.problem}; ${reader.table.blocks.length} of its blocks can still be found`;
    return { reader, finding: { ...finding, problem } };
  }
}

/** Every byte between header and table must belong to exactly one block. */
function* verifyExtent(reader: PackReader): Generator<Finding> {
  if (!reader.hasTable) return;
  const { offsetsBytes, storedBytes } = reader.table;
  let end = PACK_HEADER_BYTES;
  for (const index of inOrderOfOffsets(reader)) {
    const offset = offsetsBytes[index]!;
    if (offset !== end) yield strayBytes(reader, end, offset);
    end = offset + BLOCK_HEADER_BYTES + storedBytes[index]!;
  }
  if (end !== reader.tableOffsetBytes) yield strayBytes(reader, end, reader.tableOffsetBytes);
}

function strayBytes({ pack }: PackReader, from: number, to: number): Finding {
  const problem = `the bytes from offset ${from} to ${to} do not form one block after the other`;
  return errorFinding(packFileName(pack), problem, { pack, offsetBytes: from });
}

async function verifyBlock(
  store: Store,
  reader: PackReader,
  index: number,
  pool: CodecPool,
  { damaged, onBytes }: PackPass,
): Promise<Finding | undefined> {
  const { pack, table } = reader;
  const block = table.blocks[index]!;
  onBytes(BLOCK_HEADER_BYTES + table.storedBytes[index]!);
  try {
    const { header, stored, where } = reader.readIndex(index);
    const { codec, checksum, rawBytes, kind, itemCount } = header;
    const isPages = kind === 'pages';
    if (isPages && rawBytes !== itemCount * PAGE_SIZE) {
      throw new IntegrityError(`${where} has ${rawBytes} bytes for ${itemCount} pages`);
    }
    const hasDigests = isPages || kind === 'page-deltas';
    const digests = hasDigests ? await digestsOf(store, reader, index, itemCount, where) : undefined;
    const content = { codec, checksum, rawLengthBytes: rawBytes, stored };
    const bytes = await pool.decompress(content, where, isPages ? digests : undefined);
    if (kind === 'digests') decodeDigestBlock(bytes, where);
    else if (kind === 'page-deltas') {
      // What differences give can be told only with the pages that they refer to; the indexes name these.
      const records = decodeDeltaBlock(bytes, where).length;
      if (records !== itemCount)
        throw new IntegrityError(`${where} has ${records} differences, not ${itemCount}`);
    }
    return undefined;
  } catch (cause) {
    damaged.add(pack, block);
    const finding = findingOf(packFileName(pack), cause);
    return { ...finding, data: { ...finding.data, pack, block, offsetBytes: table.offsetsBytes[index]! } };
  }
}

/** The digests that lie beside the pages of a block. */
async function digestsOf(
  store: Store,
  { pack, table }: PackReader,
  index: number,
  itemCount: number,
  where: string,
): Promise<Uint8Array> {
  const digestBlock = table.digestBlocks[index]!;
  const firstDigest = table.firstDigests[index]!;
  if (digestBlock === NO_BLOCK) throw new IntegrityError(`${where} has no digests`);
  const { extents, digests } = await store.damagedBlocks.digests(pack, digestBlock);
  const extent = extents.get(table.blocks[index]!);
  if (extent === undefined || extent.firstDigest !== firstDigest || extent.digestCount !== itemCount) {
    throw new IntegrityError(`${where} does not find its digests in block ${digestBlock}`);
  }
  return digests.subarray(firstDigest * PAGE_DIGEST_BYTES, (firstDigest + itemCount) * PAGE_DIGEST_BYTES);
}
