import { execFileSync, spawnSync } from 'node:child_process';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { CodecPool, compressZstdStream, decompressZstdStream } from '../../src/codec/index.ts';
import { IntegrityError, Random } from '../../src/core/index.ts';

const pool = new CodecPool({ workers: 0 });
afterAll(() => pool.close());

async function* chunked(bytes: Uint8Array, chunkBytes: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += chunkBytes) yield bytes.subarray(at, at + chunkBytes);
}

async function collected(stream: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}

const compressed = (bytes: Uint8Array, level = 3) =>
  collected(compressZstdStream(chunked(bytes, 100_000), pool, level));
const decompressed = (bytes: Uint8Array, chunkBytes = 65_536) =>
  collected(decompressZstdStream(chunked(bytes, chunkBytes), 'a stream'));

/** Text that compresses, with noise that does not. */
function specimen(bytes: number, seed: number): Uint8Array {
  const random = new Random(seed);
  const content = new Uint8Array(bytes);
  for (let at = 0; at < bytes; at++) {
    content[at] = (at >> 16) % 3 === 0 ? random.nextBelow(256) : 97 + ((at * at) % 23);
  }
  return content;
}

const hasZstdProgram = spawnSync('zstd', ['--version']).status === 0;

describe('zstd streams', () => {
  it('come back as they were, whatever their size, and in whatever pieces they come', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.nat(1_500_000),
        fc.integer({ min: 1, max: 70_000 }),
        fc.nat(),
        async (bytes, pieces, seed) => {
          const content = specimen(bytes, seed);
          expect((await decompressed(await compressed(content, 1), pieces)).equals(content)).toBe(true);
        },
      ),
      { numRuns: 12 },
    );
  });

  it('of frames, skippable ones among them, are read as one', async () => {
    const skippable = Buffer.from([0x53, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3]);
    const [first, second] = [specimen(5, 1), specimen(300_000, 2)];
    const stream = Buffer.concat([await compressed(first), skippable, await compressed(second), skippable]);
    expect((await decompressed(stream, 7)).equals(Buffer.concat([first, second]))).toBe(true);
    expect(await decompressed(new Uint8Array())).toEqual(Buffer.alloc(0));
  });

  it('are refused wherever they are cut, unless a frame has just ended', async () => {
    const whole = await compressed(specimen(300, 3));
    for (let length = 1; length < whole.length; length++) {
      await expect(decompressed(whole.subarray(0, length))).rejects.toThrow(/it ends inside a frame/);
    }
  });

  it('are refused with the offset where garbage begins', async () => {
    const whole = await compressed(specimen(3000, 3));
    await expect(decompressed(Buffer.concat([whole, Buffer.from('garbage')]))).rejects.toMatchObject({
      code: 'integrity',
      data: { file: 'a stream', offsetBytes: whole.length },
    });
  });

  it.skipIf(!hasZstdProgram)('never decode wrongly without notice if they carry checksums', async () => {
    const content = specimen(40, 9);
    const frame = execFileSync('zstd', ['-q', '-c', '--check'], { input: content });
    expect(await decompressed(frame)).toEqual(Buffer.from(content));
    for (let bit = 0; bit < frame.length * 8; bit++) {
      const damaged = Buffer.from(frame);
      damaged[bit >> 3] = damaged[bit >> 3]! ^ (1 << (bit & 7));
      const outcome = await decompressed(damaged).catch((error: unknown) => error);
      // An unused bit of the header may differ without harm.
      if (Buffer.isBuffer(outcome)) expect(outcome.equals(content)).toBe(true);
      else expect(outcome).toBeInstanceOf(IntegrityError);
    }
  });

  it('that ask for too much memory are refused before it is taken', async () => {
    // Window descriptor 0x88: 2^27 bytes; one eighth more is too much.
    const windows = (descriptor: number) => Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0, descriptor, 1, 0, 0]);
    expect(await decompressed(windows(0x88))).toEqual(Buffer.alloc(0));
    await expect(decompressed(windows(0x89))).rejects.toThrow(/needs a window of 144 MiB, more than 128 MiB/);
    const segment = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0xe0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0]);
    await expect(decompressed(segment)).rejects.toThrow(/needs a window of 4.0 GiB/);
  });

  it('that need a dictionary, or hold more or less than they announce, are refused', async () => {
    const frame = (...bytes: number[]) => Buffer.from([0x28, 0xb5, 0x2f, 0xfd, ...bytes]);
    await expect(decompressed(frame(0x21, 7, 0, 1, 0, 0))).rejects.toThrow(/needs a dictionary at offset 4/);
    // Announced: 2 bytes; a raw block of 3, then one of 1.
    await expect(decompressed(frame(0x20, 2, 0x19, 0, 0, 1, 2, 3))).rejects.toThrow(/does not|decode/);
    await expect(decompressed(frame(0x20, 2, 0x09, 0, 0, 1))).rejects.toThrow(
      /does not hold the 2 bytes that it announces/,
    );
  });

  it.skipIf(!hasZstdProgram)('are what the zstd program writes and reads', async () => {
    const content = specimen(700_000, 5);
    const read = execFileSync('zstd', ['-d', '-c'], { input: await compressed(content) });
    expect(read.equals(content)).toBe(true);
    for (const options of [['-1'], ['-3', '--long=27'], ['-6', '--no-check']]) {
      const stream = execFileSync('zstd', ['-q', '-c', ...options], { input: content });
      expect((await decompressed(stream)).equals(content)).toBe(true);
    }
  });

  it('of one long frame take no more memory than short ones', async () => {
    const BLOCKS = 2048;
    const content = new Uint8Array(128 * 1024).fill(7);
    async function* frame(): AsyncGenerator<Uint8Array> {
      // A window of 1 MiB, then raw blocks.
      yield Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0, 0x50]);
      for (let block = 1; block <= BLOCKS; block++) {
        const header = (content.length << 3) | (block === BLOCKS ? 1 : 0);
        yield Buffer.from([header & 0xff, (header >> 8) & 0xff, header >> 16]);
        yield content;
      }
    }
    let bytes = 0;
    let mostHeld = 0;
    const before = process.memoryUsage().arrayBuffers;
    for await (const piece of decompressZstdStream(frame(), 'a stream')) {
      bytes += piece.length;
      mostHeld = Math.max(mostHeld, process.memoryUsage().arrayBuffers - before);
    }
    expect(bytes).toBe(BLOCKS * content.length);
    expect(mostHeld).toBeLessThan(bytes / 2);
  });

  it('pass on what the source throws, and let go of it when nobody reads on', async () => {
    async function* failing(): AsyncGenerator<Uint8Array> {
      yield new Uint8Array(600_000);
      throw new Error('the source failed');
    }
    await expect(collected(compressZstdStream(failing(), pool, 1))).rejects.toThrow('the source failed');
    let closed = false;
    async function* endless(frame: Uint8Array): AsyncGenerator<Uint8Array> {
      try {
        for (;;) yield frame;
      } finally {
        closed = true;
      }
    }
    for await (const _ of decompressZstdStream(endless(await compressed(specimen(10, 1))), 'a stream')) break;
    expect(closed).toBe(true);
  });
});
