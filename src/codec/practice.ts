import { PAGE_SIZE } from '../core/index.ts';
import type { BlockCodec } from './block.ts';
import { digestPages, PAGE_DIGEST_BYTES } from './digest.ts';
import { DEFAULT_ZSTD_LEVEL } from './limits.ts';

const SAMPLE_PAGES = 16;

/**
 * Encodes a sample so often. WebAssembly and JavaScript begin slowly: both are compiled well only after they have run
 * for some time, which whoever can wait lets pass before there is work.
 */
export function practise(codec: BlockCodec, blocks: number): void {
  if (blocks === 0) return;
  const raw = sample();
  const into = new Uint8Array(raw.length);
  const digests = new Uint8Array(SAMPLE_PAGES * PAGE_DIGEST_BYTES);
  for (let block = 0; block < blocks; block++) {
    digestPages(raw, SAMPLE_PAGES, digests);
    codec.encode(raw, 'zstd', DEFAULT_ZSTD_LEVEL, into);
  }
}

/** Numbers in text, as in many programs, and in between what does not compress. */
function sample(): Uint8Array {
  const bytes = new Uint8Array(SAMPLE_PAGES * PAGE_SIZE);
  let state = 1;
  for (let at = 0; at < bytes.length; at++) {
    if (at % 8 === 0) state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    const isText = at % 2048 < 1400;
    bytes[at] = isText ? 48 + ((state >>> (24 - (at % 8))) & 7) : Math.imul(state, at) >>> 24;
  }
  return bytes;
}
