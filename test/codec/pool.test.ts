import { execFileSync } from 'node:child_process';
import { Worker } from 'node:worker_threads';
import { afterEach, describe, expect, it, vi } from 'vitest';
import {
  CodecPool,
  type CodecPoolOptions,
  digestPage,
  Sha256,
  type StoredBlock,
} from '../../src/codec/index.ts';
import { IntegrityError, PAGE_SIZE, UnsupportedError, UsageError } from '../../src/core/index.ts';
import { noise, records } from './samples.ts';

const nodeHasZstd = 'zstdCompressSync' in (await import('node:zlib'));
const BUILT_CODEC = new URL('../../dist/codec/index.js', import.meta.url).href;

const open: CodecPool[] = [];
function pool(options: CodecPoolOptions): CodecPool {
  const created = new CodecPool(options);
  open.push(created);
  return created;
}
afterEach(async () => {
  vi.restoreAllMocks();
  await Promise.all(open.splice(0).map((each) => each.close()));
});

/** Some blocks of every sort, of several sizes. */
function someBlocks(): Uint8Array[] {
  return Array.from({ length: 24 }, (_, index) => {
    const length = PAGE_SIZE * (1 + (index % 7));
    if (index % 3 === 0) return noise(index, length);
    return index % 3 === 1 ? records(length, index) : new Uint8Array(length);
  });
}

async function encodeAll(codecs: CodecPool, blocks: readonly Uint8Array[]): Promise<StoredBlock[]> {
  return Promise.all(
    blocks.map(async (block) => ({
      ...(await codecs.compress(block, 'zstd', 3)),
      rawLengthBytes: block.length,
    })),
  );
}

/** Pages of both sorts. */
const pageOf = (page: number) => (page % 3 === 0 ? noise(page, PAGE_SIZE) : records(PAGE_SIZE, page));

/** A block in short, for comparisons: comparing large arrays item by item is slow. */
const fingerprint = ({ stored, ...rest }: StoredBlock) => ({
  ...rest,
  bytes: stored.length,
  digest: new Sha256().update(stored).digestHex(),
});

describe.each([0, 1, 2, 3])('a codec pool with %i workers', (workers) => {
  it('digests, encodes and decodes what the calling thread would', async () => {
    const codecs = pool({ workers });
    const blocks = someBlocks();
    const stored = await encodeAll(codecs, blocks);
    expect(stored.map(fingerprint)).toEqual((await encodeAll(pool({ workers: 0 }), blocks)).map(fingerprint));
    const decoded = await Promise.all(
      stored.map(async (block, index) => {
        const { digests } = await codecs.digestPages(blocks[index]!, blocks[index]!.length / PAGE_SIZE);
        return codecs.decompress(block, `block ${index}`, digests);
      }),
    );
    expect(decoded.map((block, index) => Buffer.compare(block, blocks[index]!))).toEqual(blocks.map(() => 0));
  });

  it('encodes pages where they lie as it would the same pages in blocks of their own', async () => {
    const codecs = pool({ workers });
    const content = Buffer.concat(Array.from({ length: 12 }, (_, page) => pageOf(page)));
    for (const pages of [[], [0, 1, 2, 3, 4, 5, 6, 7], [1, 2, 4, 5, 6, 9, 10, 11], [8, 9, 10, 11]]) {
      const bytes = new Uint8Array(new SharedArrayBuffer(content.length));
      bytes.set(content);
      const blocks = await codecs.compressPages(bytes, Uint16Array.from(pages), 4, 'zstd', 1);
      expect(blocks).toHaveLength(pages.length / 4);
      for (const [number, block] of blocks.entries()) {
        const raw = Buffer.concat(pages.slice(number * 4, number * 4 + 4).map(pageOf));
        const alone = { ...(await codecs.compress(raw, 'zstd', 1)), rawLengthBytes: raw.length };
        expect(fingerprint({ ...block, rawLengthBytes: raw.length })).toEqual(fingerprint(alone));
        expect(block.stored.buffer).toBe(bytes.buffer);
      }
    }
  });

  it('refuses pages that do not ascend, do not fill their blocks, or are not in shared memory', async () => {
    const codecs = pool({ workers });
    const bytes = new Uint8Array(new SharedArrayBuffer(PAGE_SIZE * 4));
    const encode = (into: Uint8Array, ...pages: number[]) =>
      codecs.compressPages(into, Uint16Array.from(pages), 2, 'none', 1);
    await expect(encode(bytes, 1, 0)).rejects.toThrow('do not ascend');
    await expect(encode(bytes, 1, 1)).rejects.toThrow('do not ascend');
    await expect(encode(bytes, 1)).rejects.toThrow('do not fill');
    await expect(encode(new Uint8Array(PAGE_SIZE * 4), 0, 1)).rejects.toThrow(RangeError);
  });

  it('practises before it starts, if told to', async () => {
    const codecs = pool({ workers });
    await codecs.start(2);
    const { zeroFlags } = await codecs.digestPages(new Uint8Array(PAGE_SIZE), 1);
    expect([...zeroFlags]).toEqual([1]);
  });

  it('takes views of shared and of larger buffers, and leaves both intact', async () => {
    const codecs = pool({ workers });
    for (const buffer of [new SharedArrayBuffer(PAGE_SIZE * 4), new ArrayBuffer(PAGE_SIZE * 4)]) {
      const whole = new Uint8Array(buffer);
      whole.set(records(whole.length));
      const middle = whole.subarray(PAGE_SIZE, PAGE_SIZE * 3);
      const { digests, zeroFlags } = await codecs.digestPages(middle, 2);
      expect(digests.slice(16)).toEqual(digestPage(whole.slice(PAGE_SIZE * 2, PAGE_SIZE * 3)));
      expect([...zeroFlags]).toEqual([0, 0]);
      const block = { ...(await codecs.compress(middle, 'none', 1)), rawLengthBytes: middle.length };
      expect(Buffer.compare(await codecs.decompress(block, 'block'), middle)).toBe(0);
      expect(Buffer.compare(whole, records(whole.length))).toBe(0);
    }
  });

  it('places results in shared memory, be it over the input, and nowhere else', async () => {
    const codecs = pool({ workers });
    const block = new Uint8Array(new SharedArrayBuffer(3 * PAGE_SIZE));
    block.set(records(block.length));
    const encoded = await codecs.compress(block, 'zstd', 1, block);
    expect(encoded.codec).toBe('zstd');
    expect(Buffer.compare(block.subarray(0, encoded.stored.length), encoded.stored)).toBe(0);
    const content = new Uint8Array(new SharedArrayBuffer(4 * PAGE_SIZE));
    await codecs.decompress({ ...encoded, rawLengthBytes: block.length }, 'block', undefined, content);
    expect(Buffer.compare(content.subarray(0, block.length), records(block.length))).toBe(0);
    await expect(codecs.compress(block, 'none', 1, new Uint8Array(block.length))).rejects.toThrow(RangeError);
    const nowhere = codecs.decompress({ ...encoded, rawLengthBytes: 1 }, 'b', undefined, new Uint8Array(1));
    await expect(nowhere).rejects.toThrow(RangeError);
  });

  it('reports damage as an IntegrityError with its data, and goes on', async () => {
    const codecs = pool({ workers });
    const [good] = await encodeAll(codecs, [records(PAGE_SIZE)]);
    const bad = { ...good!, checksum: good!.checksum ^ 1 };
    const failure = await codecs.decompress(bad, 'block 4 of pack 2').catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(IntegrityError);
    expect(failure).toMatchObject({
      code: 'integrity',
      message: expect.stringMatching(/^block 4 of pack 2 is damaged/),
      hint: expect.stringContaining('ckpt verify'),
      data: { record: 'block 4 of pack 2' },
    });
    expect(await codecs.decompress(good!, 'block')).toEqual(records(PAGE_SIZE));
  });

  it('refuses bad requests without failing as a whole', async () => {
    const codecs = pool({ workers });
    await expect(codecs.compress(records(PAGE_SIZE), 'zstd', 99)).rejects.toThrow(UsageError);
    await expect(codecs.compress(new Uint8Array(1 << 20), 'zstd', 1)).rejects.toThrow(/524288 bytes/);
    await expect(codecs.digestPages(new Uint8Array(PAGE_SIZE), 2)).rejects.toThrow(/2 pages do not fit/);
    expect((await codecs.compress(records(PAGE_SIZE), 'zstd', 1)).codec).toBe('zstd');
  });

  it('rejects what is under way and what comes later once it is closed', async () => {
    const codecs = pool({ workers });
    await codecs.start();
    const settled = Promise.allSettled(
      Array.from({ length: 8 }, () => codecs.compress(records(400_000), 'zstd', 9)),
    );
    await codecs.close();
    const outcomes = await settled;
    expect(outcomes.at(-1)).toMatchObject({
      status: 'rejected',
      reason: { message: 'the codec pool is closed' },
    });
    await expect(codecs.digestPages(new Uint8Array(PAGE_SIZE), 1)).rejects.toThrow(
      'the codec pool is closed',
    );
    await codecs.close();
  });
});

describe('a codec pool', () => {
  it('refuses senseless options', () => {
    for (const workers of [-1, 1.5, 1000]) expect(() => new CodecPool({ workers })).toThrow(RangeError);
    if (!nodeHasZstd) expect(() => new CodecPool({ implementation: 'node' })).toThrow(UnsupportedError);
  });

  it('has as many workers as there are cores unless told', () => {
    expect(pool({}).workerCount).toBeGreaterThanOrEqual(1);
    expect(pool({}).workerCount).toBeLessThanOrEqual(8);
  });

  it('rejects everything, then and later, when a worker dies', async () => {
    const codecs = pool({ workers: 2 });
    await codecs.start();
    vi.spyOn(Worker.prototype, 'postMessage').mockImplementationOnce(function (this: Worker) {
      void this.terminate();
    });
    const blocks = Array.from({ length: 6 }, () => records(400_000));
    const outcomes = await Promise.allSettled(blocks.map((block) => codecs.compress(block, 'zstd', 19)));
    expect(outcomes).toHaveLength(6);
    for (const outcome of outcomes) {
      expect(outcome).toMatchObject({
        status: 'rejected',
        reason: { message: 'a codec worker ended unexpectedly with exit code 1' },
      });
    }
    await expect(codecs.digestPages(new Uint8Array(PAGE_SIZE), 1)).rejects.toThrow(/ended unexpectedly/);
  });

  it('does not keep a process alive that forgets to close it, nor prints', () => {
    const program = `
      import { CodecPool } from ${JSON.stringify(BUILT_CODEC)};
      const pool = new CodecPool({ workers: 2 });
      const { codec } = await pool.compress(new Uint8Array(4096), 'zstd', 1);
      console.log(codec);
    `;
    expect(runProgram(program)).toBe('zstd\n');
  });
});

function runProgram(program: string): string {
  return execFileSync(process.execPath, ['--input-type=module', '-e', program], {
    encoding: 'utf8',
    timeout: 20_000,
  });
}
