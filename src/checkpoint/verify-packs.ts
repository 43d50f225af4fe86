import type { CodecPool } from '../codec/index.ts';
import { IntegrityError, PAGE_SIZE } from '../core/index.ts';
import {
  BLOCK_HEADER_BYTES,
  decodeDeltaBlock,
  formatNumber,
  MAX_PACK_BLOCKS,
  type Manifest,
  PACK_HEADER_BYTES,
} from '../image/index.ts';
import { type PackReader, packFileName, type Store } from '../store/index.ts';
import { errorFinding, type Finding, findingOf } from './finding.ts';
import type { StoredDigests } from './stored-digests.ts';

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

/** What a pass over the packs fills in. */
export interface PackPass {
  readonly digests: StoredDigests;
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
 * Reads a pack from its beginning to its end: every byte belongs to a record with a checksum, every block decodes.
 * Digests of pages go to `pass.digests`; the generator yields undefined when these should be compared and cleared.
 */
export async function* verifyPack(
  store: Store,
  pool: CodecPool,
  pack: number,
  pass: PackPass,
): AsyncGenerator<Finding | undefined> {
  const place = packFileName(pack);
  const opened = openPack(store, pack);
  if (opened.finding !== undefined) yield opened.finding;
  const { reader } = opened;
  if (reader === undefined) return;
  yield* verifyExtent(reader, place);
  const order = [...reader.table.blocks.keys()].sort(
    (a, b) => reader.table.offsetsBytes[a]! - reader.table.offsetsBytes[b]!,
  );
  const underWay: Promise<Finding | undefined>[] = [];
  for (const index of order) {
    const checked = verifyBlock(reader, index, pool, pass, place);
    checked.catch(() => undefined);
    underWay.push(checked);
    if (underWay.length < BLOCKS_UNDER_WAY) continue;
    const finding = await underWay.shift();
    if (finding !== undefined) yield finding;
    if (pass.digests.isFull) yield undefined;
  }
  for (const finding of await Promise.all(underWay)) if (finding !== undefined) yield finding;
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
function* verifyExtent(reader: PackReader, place: string): Generator<Finding> {
  const { blocks, offsetsBytes, storedBytes } = reader.table;
  const order = [...blocks.keys()].sort((a, b) => offsetsBytes[a]! - offsetsBytes[b]!);
  let end = PACK_HEADER_BYTES;
  for (const index of order) {
    const offset = offsetsBytes[index]!;
    if (offset !== end && reader.hasTable) yield strayBytes(place, end, offset);
    end = offset + BLOCK_HEADER_BYTES + storedBytes[index]!;
  }
  if (end !== reader.tableOffsetBytes && reader.hasTable)
    yield strayBytes(place, end, reader.tableOffsetBytes);
}

function strayBytes(place: string, from: number, to: number): Finding {
  return errorFinding(place, `the bytes from offset ${from} to ${to} do not form one block after the other`, {
    offsetBytes: from,
  });
}

async function verifyBlock(
  reader: PackReader,
  index: number,
  pool: CodecPool,
  { digests, damaged, onBytes }: PackPass,
  place: string,
): Promise<Finding | undefined> {
  const { pack, table } = reader;
  const block = table.blocks[index]!;
  onBytes(BLOCK_HEADER_BYTES + table.storedBytes[index]!);
  try {
    const { header, stored, where } = reader.readIndex(index);
    const { codec, checksum, rawBytes, kind, itemCount } = header;
    const bytes = await pool.decompress({ codec, checksum, rawLengthBytes: rawBytes, stored }, where);
    if (kind === 'pages') {
      if (bytes.length !== itemCount * PAGE_SIZE) {
        throw new IntegrityError(`${where} has ${bytes.length} bytes for ${itemCount} pages`);
      }
      digests.addBlock(pack, block, (await pool.digestPages(bytes, itemCount)).digests);
      return undefined;
    }
    // No page lies in any other block, whatever an index says.
    digests.addBlock(pack, block, new Uint8Array(0));
    if (kind === 'page-deltas') {
      const records = decodeDeltaBlock(bytes, where).length;
      if (records !== itemCount)
        throw new IntegrityError(`${where} has ${records} differences, not ${itemCount}`);
    }
    return undefined;
  } catch (cause) {
    damaged.add(pack, block);
    const finding = findingOf(place, cause);
    const data = { ...finding.data, pack, block, offsetBytes: table.offsetsBytes[index]! };
    return { ...finding, data, problem: `${finding.problem} [block ${block} of ${formatNumber(pack)}]` };
  }
}
