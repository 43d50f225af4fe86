import { randomFillSync } from 'node:crypto';
import {
  CodecPool,
  encodePageDelta,
  MAX_PAGE_DELTA_BYTES,
  SharedBuffers,
  type StoredBlock,
} from '../../src/codec/index.ts';
import { PAGE_SIZE } from '../../src/core/index.ts';
import { atLeast, type Findings } from './findings.ts';
import { sampleValue } from './values.ts';

const BLOCK_BYTES = 128 * 1024;
const SAMPLE_BYTES = 64 * 1024 * 1024;
const PASSES = 4;

/** A block on its way through the codec: as it was stored, and the digests of its pages. */
interface Encoded {
  readonly block: StoredBlock;
  readonly digests: Uint8Array;
}

/** Digests, compression and decompression of realistic memory with one worker and with two, and page differences. */
export async function benchCodec(findings: Findings): Promise<void> {
  findings.begin('codec');
  const sample = makeSample();
  const encodeSpeeds: number[] = [];
  for (const workers of [1, 2]) {
    const pool = new CodecPool({ workers });
    await pool.start();
    const name = `${workers} worker${workers === 1 ? '' : 's'} (${pool.implementation})`;
    const { value: encoded, megabytesPerSecond: encodeSpeed } = await timed(() => encodeAll(pool, sample));
    const { megabytesPerSecond: decodeSpeed } = await timed(() => decodeAll(pool, encoded));
    await pool.close();
    encodeSpeeds.push(encodeSpeed);
    findings.add(`digest and compress, ${name}`, encodeSpeed, 'MB/s');
    findings.add(`decompress and verify, ${name}`, decodeSpeed, 'MB/s');
  }
  findings.add(
    'digest and compress, two workers / one',
    encodeSpeeds[1]! / encodeSpeeds[0]!,
    'x',
    atLeast(1.7),
  );
  const changed = change(sample);
  const { megabytesPerSecond: deltaSpeed } = await timed(() => encodeDeltas(sample, changed));
  findings.add('page differences, 64 changed bytes in each page', deltaSpeed, 'MB/s');
}

/** Memory of a program that holds values: 30 % noise, the rest records, a page of zeros here and there. */
function makeSample(): Uint8Array {
  const sample = new Uint8Array(SAMPLE_BYTES);
  for (let at = 0, index = 0; at < SAMPLE_BYTES; index++) {
    const value = sampleValue(index, 0.3);
    sample.set(value.subarray(0, SAMPLE_BYTES - at), at);
    at += value.length;
  }
  for (let at = 0; at < SAMPLE_BYTES; at += 40 * PAGE_SIZE) sample.fill(0, at, at + PAGE_SIZE);
  return sample;
}

/** The best speed of several passes over the sample; the first ones warm the code up. */
async function timed<Value>(pass: () => Value | Promise<Value>) {
  let fastest = Number.POSITIVE_INFINITY;
  for (let count = 0; ; count++) {
    const start = performance.now();
    const value = await pass();
    fastest = Math.min(fastest, performance.now() - start);
    if (count === PASSES) return { value, megabytesPerSecond: SAMPLE_BYTES / 1e3 / fastest };
  }
}

async function encodeAll(pool: CodecPool, sample: Uint8Array): Promise<Encoded[]> {
  const buffers = new SharedBuffers(16, BLOCK_BYTES);
  const encoding: Promise<Encoded>[] = [];
  for (let at = 0; at < sample.length; at += BLOCK_BYTES) {
    const buffer = await buffers.take();
    buffer.set(sample.subarray(at, at + BLOCK_BYTES));
    encoding.push(encodeOne(pool, buffer).finally(() => buffers.give(buffer)));
  }
  return Promise.all(encoding);
}

async function encodeOne(pool: CodecPool, buffer: Uint8Array): Promise<Encoded> {
  const { digests } = await pool.digestPages(buffer, BLOCK_BYTES / PAGE_SIZE);
  const block = await pool.compress(buffer, 'zstd', 1);
  return { block: { ...block, rawLengthBytes: BLOCK_BYTES }, digests };
}

async function decodeAll(pool: CodecPool, encoded: readonly Encoded[]): Promise<void> {
  const buffers = new SharedBuffers(16, BLOCK_BYTES);
  const decoding: Promise<unknown>[] = [];
  for (const { block, digests } of encoded) {
    const buffer = await buffers.take();
    decoding.push(pool.decompress(block, 'block', digests, buffer).finally(() => buffers.give(buffer)));
  }
  await Promise.all(decoding);
}

/** The sample with 64 bytes of each page changed. */
function change(sample: Uint8Array): Uint8Array {
  const changed = sample.slice();
  for (let at = 0; at < sample.length; at += PAGE_SIZE) randomFillSync(changed, at + ((at / 7) & 4031), 64);
  return changed;
}

function encodeDeltas(sample: Uint8Array, changed: Uint8Array): void {
  const out = new Uint8Array(MAX_PAGE_DELTA_BYTES);
  for (let at = 0; at < sample.length; at += PAGE_SIZE) {
    encodePageDelta(sample.subarray(at, at + PAGE_SIZE), changed.subarray(at, at + PAGE_SIZE), out);
  }
}
