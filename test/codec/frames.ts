import { compressFrame, decompressFrame } from '../../src/codec/frame.ts';
import { openZstd, type ZstdImplementation } from '../../src/codec/zstd.ts';

/** One zstd with results that stay. */
export async function openFrames(name: ZstdImplementation) {
  const zstd = await openZstd(name);
  return {
    implementation: zstd.implementation,
    compress: (raw: Uint8Array, level: number) => new Uint8Array(compressFrame(zstd, raw, level)),
    decompress: (frame: Uint8Array, rawLengthBytes: number, record: string) =>
      new Uint8Array(decompressFrame(zstd, frame, rawLengthBytes, record)),
  };
}
