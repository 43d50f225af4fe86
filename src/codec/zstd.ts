import * as zlib from 'node:zlib';
import { UnsupportedError, UsageError } from '../core/index.ts';
import { openWasmZstd } from './zstd-wasm.ts';

/** Which zstd does the work. Frames of one are readable by the other, though not byte for byte equal. */
export type ZstdImplementation = 'node' | 'wasm';

/**
 * zstd for whole frames of at most MAX_BLOCK_BYTES. Any failure is an exception. Results are views that are valid
 * until the next call.
 */
export interface Zstd {
  readonly implementation: ZstdImplementation;
  compress(raw: Uint8Array, level: number): Uint8Array;
  /** `rawLengthBytes` has been checked against the frame's header. */
  decompress(frame: Uint8Array, rawLengthBytes: number): Uint8Array;
}

/** The part of node:zlib that exists from Node 22.15 and 23.8 on; the types of Node 20 do not know it. */
interface NodeZstd {
  zstdCompressSync(
    raw: Uint8Array,
    options: { chunkSize: number; pledgedSrcSize: number; params: Record<number, number> },
  ): Uint8Array;
  zstdDecompressSync(frame: Uint8Array, options: { chunkSize: number; maxOutputLength: number }): Uint8Array;
}

/** ZSTD_c_compressionLevel of zstd.h. */
const COMPRESSION_LEVEL_PARAMETER = 100;

/** zlib refuses smaller output chunks. */
const MIN_CHUNK_BYTES = 64;

function hasZstd(module: object): module is NodeZstd {
  return 'zstdCompressSync' in module && 'zstdDecompressSync' in module;
}

function openNodeZstd(library: NodeZstd): Zstd {
  return {
    implementation: 'node',
    compress: (raw, level) =>
      library.zstdCompressSync(raw, {
        // One chunk that holds any result: output is then not put together from pieces.
        chunkSize: raw.length + (raw.length >> 7) + 512,
        // Puts the content size into the frame header, which zstd-codec needs to decode it.
        pledgedSrcSize: raw.length,
        params: { [COMPRESSION_LEVEL_PARAMETER]: level },
      }),
    decompress: (frame, rawLengthBytes) =>
      library.zstdDecompressSync(frame, {
        chunkSize: Math.max(MIN_CHUNK_BYTES, rawLengthBytes),
        maxOutputLength: rawLengthBytes,
      }),
  };
}

/**
 * Decides which zstd to use: the forced one, else what the environment variable CKPT_ZSTD (`node` or `wasm`) says,
 * else node:zlib where it has zstd, else zstd-codec.
 * @throws UnsupportedError if node:zlib is forced and has none; UsageError if CKPT_ZSTD is something else.
 */
export function chooseZstd(forced?: ZstdImplementation): ZstdImplementation {
  const wanted = forced ?? implementationFromEnvironment();
  if (wanted === 'node' && !hasZstd(zlib)) {
    throw new UnsupportedError(`node:zlib of Node ${process.versions.node} has no zstd`, {
      hint: 'use Node 22.15 or later, or leave the choice of zstd to ckpt',
    });
  }
  return wanted ?? (hasZstd(zlib) ? 'node' : 'wasm');
}

function implementationFromEnvironment(): ZstdImplementation | undefined {
  const value = process.env['CKPT_ZSTD'];
  if (value === undefined || value === '') return undefined;
  if (value === 'node' || value === 'wasm') return value;
  throw new UsageError(`CKPT_ZSTD is '${value}'`, { hint: "set it to 'node' or 'wasm', or not at all" });
}

/** Opens the zstd of this thread, chosen as by `chooseZstd`. */
export async function openZstd(forced?: ZstdImplementation): Promise<Zstd> {
  const library: object = zlib;
  return chooseZstd(forced) === 'node' && hasZstd(library) ? openNodeZstd(library) : openWasmZstd();
}
