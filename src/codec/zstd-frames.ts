import { MAX_BLOCK_BYTES } from './limits.ts';
import type { CodecPool } from './pool.ts';

const MAGIC = [0x28, 0xb5, 0x2f, 0xfd] as const;
/** A single segment whose content size has four bytes. */
const DESCRIPTOR = 0xa0;
const MAX_RAW_BLOCK_BYTES = 128 * 1024;

/**
 * A zstd stream of `source` for any program that reads zstd: frames of 512 KiB, one behind the other, compressed by the
 * pool's workers. Memory holds a few frames for each worker.
 * @throws UsageError for an unknown level; what `source` throws.
 */
export async function* compressZstdStream(
  source: AsyncIterable<Uint8Array>,
  pool: CodecPool,
  level: number,
): AsyncGenerator<Uint8Array> {
  const underWay: Promise<Uint8Array>[] = [];
  const ahead = 2 * Math.max(1, pool.workerCount);
  for await (const block of blocksOf(source)) {
    const frame = frameOf(block, pool, level);
    // Met when its turn comes; until then nobody awaits it.
    frame.catch(() => undefined);
    underWay.push(frame);
    if (underWay.length > ahead) yield await underWay.shift()!;
  }
  for (const frame of underWay) yield await frame;
}

/** Copies of the bytes of `source`, in blocks of one size but the last. */
async function* blocksOf(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let block = new Uint8Array(MAX_BLOCK_BYTES);
  let filled = 0;
  for await (const chunk of source) {
    for (let taken = 0; taken < chunk.length; ) {
      const part = chunk.subarray(taken, taken + MAX_BLOCK_BYTES - filled);
      block.set(part, filled);
      filled += part.length;
      taken += part.length;
      if (filled < MAX_BLOCK_BYTES) continue;
      yield block;
      block = new Uint8Array(MAX_BLOCK_BYTES);
      filled = 0;
    }
  }
  if (filled > 0) yield block.slice(0, filled);
}

async function frameOf(block: Uint8Array, pool: CodecPool, level: number): Promise<Uint8Array> {
  const { codec, stored } = await pool.compress(block, 'zstd', level);
  return codec === 'zstd' ? stored : rawFrame(block);
}

/** A frame that holds its content as it is (RFC 8878, 3.1.1.2.2). */
function rawFrame(content: Uint8Array): Uint8Array {
  const blocks = Math.ceil(content.length / MAX_RAW_BLOCK_BYTES);
  const frame = new Uint8Array(9 + 3 * blocks + content.length);
  frame.set([...MAGIC, DESCRIPTOR]);
  new DataView(frame.buffer).setUint32(5, content.length, true);
  let at = 9;
  for (let start = 0; start < content.length; start += MAX_RAW_BLOCK_BYTES) {
    const part = content.subarray(start, start + MAX_RAW_BLOCK_BYTES);
    const last = start + part.length === content.length ? 1 : 0;
    const header = (part.length << 3) | last;
    frame.set([header & 0xff, (header >> 8) & 0xff, header >> 16], at);
    frame.set(part, at + 3);
    at += 3 + part.length;
  }
  return frame;
}
