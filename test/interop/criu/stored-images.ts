import { createHash } from 'node:crypto';
import { IncomingCheckpoints } from '../../../src/checkpoint/index.ts';
import { CodecPool } from '../../../src/codec/index.ts';
import { PageRangeList } from '../../../src/core/index.ts';
import { FIRST_OBJECT_PID, type StoredVma } from '../../../src/image/index.ts';
import {
  encodeListing,
  type ImageListing,
  LISTING_FORMAT,
  type ListedFile,
  type ListedRuns,
} from '../../../src/interop/criu/listing.ts';
import { Store } from '../../../src/store/index.ts';
import { anonymousVma, patternPage } from '../../checkpoint/memory-target.ts';

/** A page of a directory: what it holds, and its flags there. */
export interface ModelPage {
  /** Of `patternPage`; 0 for zeros. */
  readonly value: number;
  /** 1 in the parent, 4 present, 6 present and lazy. */
  readonly flags: number;
}

/** One memory of a directory, by pages. */
export interface ModelMemory {
  /** Of a process; of a shared memory object as `shmem-ID`. */
  readonly id: number | `shmem-${string}`;
  readonly pagesId: number;
  readonly pages: ReadonlyMap<number, ModelPage>;
  /** One private anonymous mapping of everything unless given. */
  readonly vmas?: readonly StoredVma[];
}

export interface ModelFile {
  readonly name: string;
  readonly mode?: number;
  /** Of a file; without it and without a target it is a directory. */
  readonly content?: Uint8Array;
  /** Of a link. */
  readonly target?: string;
}

/** One directory of images, as it would have been imported. */
export interface ModelLevel {
  readonly imagesPath?: string;
  readonly preDump?: boolean;
  readonly files?: readonly ModelFile[];
  readonly memories: readonly ModelMemory[];
  /** Changes the listing before it is stored. */
  readonly forged?: (listing: ImageListing) => ImageListing;
}

/** Name of a memory's pagemap. */
export const pagemapOf = ({ id }: ModelMemory) => `pagemap-${id}.img`;

const runsOf = (pages: ReadonlyMap<number, ModelPage>): ListedRuns => {
  const sorted = [...pages].sort(([a], [b]) => a - b);
  return {
    startPages: Float64Array.from(sorted, ([page]) => page),
    pageCounts: new Float64Array(sorted.length).fill(1),
    flags: Uint8Array.from(sorted, ([, { flags }]) => flags),
  };
};

const pidOf = ({ id }: ModelMemory) =>
  typeof id === 'number' ? id : FIRST_OBJECT_PID + Number(id.slice('shmem-'.length));

/** Makes a store with a checkpoint for each level, the first of them number 1, each with the one before as its parent. */
export async function storeLevels(directory: string, levels: readonly ModelLevel[]): Promise<void> {
  const pool = new CodecPool({ workers: 0 });
  const store = await Store.open(directory, { access: 'create', command: 'test', codec: pool });
  const incoming = new IncomingCheckpoints(store, pool, { name: 'zstd', level: 1 });
  try {
    for (const level of levels) await storeLevel(incoming, level);
  } finally {
    incoming.close();
    await store.close();
    await pool.close();
  }
}

async function storeLevel(incoming: IncomingCheckpoints, level: ModelLevel): Promise<void> {
  await incoming.begin();
  const processes = level.memories.map((memory) => {
    const { id, vmas } = memory;
    return {
      pid: pidOf(memory),
      parentPid: 0,
      name: 'model',
      vmas: vmas ?? [anonymousVma(0, 1 << 20)],
      ...(typeof id === 'number' ? {} : { sharedMemory: id.slice('shmem-'.length) }),
    };
  });
  for (const [index, memory] of level.memories.entries()) {
    await storePages(incoming, processes[index]!, memory.pages);
  }
  await incoming.seal(processes);
  const { listing, content } = listLevel(level);
  await incoming.commit(
    {
      preDump: level.preDump === true,
      target: { kind: 'criu', name: 'model', fingerprint: 'model' },
      tracker: 'criu',
      createdAt: '2026-01-01T00:00:00.000Z',
      times: () => ({ freeze: 0, scan: 0, read: 0, total: 0 }),
    },
    undefined,
    { format: LISTING_FORMAT, listing: encodeListing(listing), content: inPieces(content) },
  );
}

async function storePages(
  incoming: IncomingCheckpoints,
  process: Parameters<IncomingCheckpoints['present']>[0],
  pages: ReadonlyMap<number, ModelPage>,
): Promise<void> {
  const gone = [...(await incoming.present(process))]
    .flatMap(({ startPage, endPage }) =>
      Array.from({ length: endPage - startPage }, (_, index) => startPage + index),
    )
    .filter((page) => !pages.has(page));
  for (const page of gone)
    incoming.drop(process.pid, PageRangeList.of({ startPage: page, endPage: page + 1 }));
  for (const [page, { value, flags }] of pages) {
    if ((flags & 1) !== 0) continue;
    const range = PageRangeList.of({ startPage: page, endPage: page + 1 });
    await incoming.add(process.pid, range, async (into) => into.set(patternPage(value)));
  }
}

function listLevel(level: ModelLevel): { listing: ImageListing; content: Buffer } {
  const contents: Uint8Array[] = [];
  let offset = 0;
  const files = (level.files ?? []).map(({ name, mode, content, target }): ListedFile => {
    const listed = { name, mode: mode ?? 0o644, bytes: content?.length ?? 0, offset };
    if (target !== undefined) return { ...listed, kind: 'link', target };
    if (content === undefined) return { ...listed, kind: 'directory' };
    contents.push(content);
    offset += content.length;
    return { ...listed, kind: 'file' };
  });
  const listing: ImageListing = {
    imagesPath: level.imagesPath ?? '',
    files,
    memories: level.memories.map((memory) => ({
      name: pagemapOf(memory),
      pid: pidOf(memory),
      sharedMemory: typeof memory.id === 'number' ? null : memory.id.slice('shmem-'.length),
      pagesId: memory.pagesId,
      runs: runsOf(memory.pages),
    })),
  };
  return { listing: level.forged?.(listing) ?? listing, content: Buffer.concat(contents) };
}

async function* inPieces(content: Buffer): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < content.length; at += 100_000) yield content.subarray(at, at + 100_000);
}

/** Bytes that are the same for the same seed, and cannot be compressed. */
export function noise(seed: string, bytes: number): Buffer {
  const parts: Buffer[] = [];
  for (let index = 0; index * 32 < bytes; index++) {
    parts.push(createHash('sha256').update(`${seed} ${index}`).digest());
  }
  return Buffer.concat(parts).subarray(0, bytes);
}
