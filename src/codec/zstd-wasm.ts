import type { VectorU8, ZstdBinding } from 'zstd-codec/lib/module.js';
import { MAX_BLOCK_BYTES } from './limits.ts';
import type { Zstd } from './zstd.ts';

let opened: Promise<Zstd> | undefined;

/**
 * zstd-codec for this thread. Each initialisation makes a new heap of 16 MiB, so a thread initialises it once.
 *
 * The binding below the package's own `Simple` is used: `Simple` allocates and clears two vectors of the block's
 * size for every call, which takes a quarter of the time at level 1. Here both live as long as the thread.
 */
export function openWasmZstd(): Promise<Zstd> {
  opened ??= import('zstd-codec/lib/module.js').then(
    ({ run }) =>
      new Promise((resolve) => {
        run((binding) => resolve(wrap(binding)));
      }),
  );
  return opened;
}

function wrap(binding: ZstdBinding): Zstd {
  const codec = new binding.ZstdCodec();
  const bound = codec.compressBound(MAX_BLOCK_BYTES);
  const source = new binding.VectorU8();
  const target = new binding.VectorU8();
  // At their largest once, so that they never move or grow again.
  for (const vector of [source, target]) vector.resize(bound, 0);

  const load = (bytes: Uint8Array) => {
    source.resize(bytes.length, 0);
    binding.toTypedArrayView(source).set(bytes);
  };
  const unload = (vector: VectorU8, length: number, what: string) => {
    if (length < 0) throw new Error(`zstd ${what} failed`);
    return binding.toTypedArrayView(vector).subarray(0, length);
  };
  return {
    implementation: 'wasm',
    compress: (raw, level) => {
      load(raw);
      target.resize(bound, 0);
      return unload(target, codec.compress(target, source, level), 'compression');
    },
    decompress: (frame, rawLengthBytes) => {
      load(frame);
      target.resize(rawLengthBytes, 0);
      return unload(target, codec.decompress(target, source), 'decompression');
    },
  };
}
