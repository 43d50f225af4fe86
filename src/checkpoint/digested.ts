import type { CodecPool, PageDigests } from '../codec/index.ts';
import type { PageChunk } from './page-spool.ts';

/** Chunks whose digests are being computed while the consumer works on one. */
const CHUNKS_AHEAD = 4;

/** A chunk and the digests of its pages. */
export interface DigestedChunk {
  readonly chunk: PageChunk;
  readonly found: PageDigests;
}

/** Digests chunks in the codec pool, a few ahead of the consumer, and hands them on in their order. */
export async function* digested(chunks: Iterable<PageChunk>, pool: CodecPool): AsyncGenerator<DigestedChunk> {
  const ahead: { readonly chunk: PageChunk; readonly found: Promise<PageDigests> }[] = [];
  for (const chunk of chunks) {
    if (chunk.pageCount === 0) continue;
    const found = pool.digestPages(chunk.bytes, chunk.pageCount);
    // Observed here so that a rejection which is met later is not reported as unhandled in the meantime.
    found.catch(() => undefined);
    ahead.push({ chunk, found });
    if (ahead.length > CHUNKS_AHEAD) {
      const next = ahead.shift()!;
      yield { chunk: next.chunk, found: await next.found };
    }
  }
  for (const { chunk, found } of ahead) yield { chunk, found: await found };
}
