import { type Finding, verifyStore } from '../../../../src/checkpoint/index.ts';
import { CodecPool } from '../../../../src/codec/index.ts';
import { PAGE_SIZE } from '../../../../src/core/index.ts';
import { decodeListing, type ImageListing } from '../../../../src/interop/criu/listing.ts';
import { Store } from '../../../../src/store/index.ts';

/** Opens a store for reading and lends it. */
export async function withStore<Result>(
  directory: string,
  use: (store: Store, codec: CodecPool) => Promise<Result>,
): Promise<Result> {
  const codec = new CodecPool({ workers: 0 });
  const store = await Store.open(directory, { access: 'read', command: 'test', codec });
  try {
    return await use(store, codec);
  } finally {
    await store.close();
    await codec.close();
  }
}

/** Every page of a process or object of a checkpoint. */
export async function memoryOf(store: Store, checkpoint: number, pid: number): Promise<Map<number, Buffer>> {
  const memory = new Map<number, Buffer>();
  const reader = await store.openCheckpoint(checkpoint);
  for await (const { startPage, pageCount, bytes } of reader.pages(pid)) {
    for (let index = 0; index < pageCount; index++) {
      const content = bytes?.subarray(index * PAGE_SIZE, (index + 1) * PAGE_SIZE);
      memory.set(startPage + index, content === undefined ? Buffer.alloc(PAGE_SIZE) : Buffer.from(content));
    }
  }
  return memory;
}

/** The files that a checkpoint keeps, with their contents. */
export async function filesOf(
  store: Store,
  checkpoint: number,
): Promise<{ readonly listing: ImageListing; readonly contents: ReadonlyMap<string, Buffer> }> {
  const kept = await (await store.openCheckpoint(checkpoint)).files();
  if (kept === undefined) throw new Error('no files are kept');
  const listing = decodeListing(kept.listing);
  const contents = new Map<string, Buffer>();
  for (const { name, kind, offset, bytes } of listing.files) {
    const pieces: Uint8Array[] = [];
    if (kind === 'file') for await (const piece of kept.read(offset, bytes)) pieces.push(Buffer.from(piece));
    contents.set(name, Buffer.concat(pieces));
  }
  return { listing, contents };
}

/** What is wrong with a store. */
export async function damageOf(store: Store, codec: CodecPool): Promise<Finding[]> {
  const findings: Finding[] = [];
  for await (const finding of verifyStore(store, codec)) findings.push(finding);
  return findings;
}
