import type { CodecPool } from '../codec/index.ts';
import { formatPageAddress, IntegrityError, type PageRangeList } from '../core/index.ts';
import {
  createSegment,
  type DigestedProcess,
  type GrowingSegment,
  memoryDigest,
  segmentDigest,
  windowStartOf,
} from '../image/index.ts';
import type { CheckpointReader } from '../store/index.ts';
import type { ProcessView, Target } from '../target/index.ts';
import { compareTracker } from '../tracker/index.ts';
import { copyPages } from './copy-pages.ts';
import { digested } from './digested.ts';
import { ChunkSupply } from './page-spool.ts';

/**
 * Proves that the page digests of a checkpoint, by which every page is checked as it is read, are those of the memory
 * that was dumped: recomputes the digest of every segment from them, and the memory digest from these.
 * @throws IntegrityError naming the segment or the checkpoint.
 */
export async function proveMemoryDigest(reader: CheckpointReader): Promise<void> {
  const { manifest } = reader;
  const processes: DigestedProcess[] = [];
  for (const { pid, vmas } of manifest.processes) {
    const index = await reader.index(pid);
    const segments: { startPage: number; digest: Uint8Array }[] = [];
    for (const reference of index.segments) {
      const { segment } = await index.load(reference);
      const digest = segmentDigest(segment);
      if (Buffer.compare(digest, reference.digest) !== 0) {
        throw mismatch(`process ${pid} at ${formatPageAddress(reference.startPage)}`, manifest.number);
      }
      segments.push({ startPage: reference.startPage, digest });
    }
    processes.push({ pid, vmas, segments });
  }
  if (memoryDigest(processes) !== manifest.memoryDigest) throw mismatch('the whole', manifest.number);
}

function mismatch(what: string, checkpoint: number): IntegrityError {
  return new IntegrityError(
    `checkpoint ${checkpoint} is damaged: the memory digest of ${what} does not match`,
    {
      hint: "run 'ckpt verify' to list everything that is damaged",
      data: { checkpoint },
    },
  );
}

/** The memory digest of a target as it is now; it must not run meanwhile. */
export async function digestTargetMemory(target: Target, pool: CodecPool): Promise<string> {
  const processes: DigestedProcess[] = [];
  for (const view of target.processes()) {
    const vmas = view.vmas();
    const { suspects } = compareTracker.collect(view, vmas, undefined);
    processes.push({ pid: view.pid, vmas, segments: await digestPagesOf(view, suspects, pool) });
  }
  return memoryDigest(processes);
}

async function digestPagesOf(
  view: ProcessView,
  pages: PageRangeList,
  pool: CodecPool,
): Promise<{ startPage: number; digest: Uint8Array }[]> {
  const supply = new ChunkSupply();
  const source = { view, processIndex: 0, takeChunk: () => supply.take(), onUnreadable: () => undefined };
  const segments: { startPage: number; digest: Uint8Array }[] = [];
  let current: GrowingSegment | undefined;
  const close = () => {
    if (current !== undefined)
      segments.push({ startPage: current.startPage, digest: segmentDigest(current) });
  };
  for await (const { chunk, found } of digested(copyPages(source, pages), pool)) {
    for (let index = 0; index < chunk.pageCount; index++) {
      const page = chunk.pages[index]!;
      if (current?.startPage !== windowStartOf(page)) {
        close();
        current = createSegment(windowStartOf(page));
      }
      const at = current!.count++;
      current!.offsets[at] = page - current!.startPage;
      current!.digests.set(found.digests.subarray(index * 16, index * 16 + 16), at * 16);
    }
    supply.give(chunk);
  }
  close();
  return segments;
}
