import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { GatheredWriter } from '../../src/checkpoint/index.ts';
import { OutputError } from '../../src/core/index.ts';

const directory = mkdtempSync(join(tmpdir(), 'ckpt-writer-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const MEBIBYTE = 1024 * 1024;

/** How far behind the last one a piece begins, how long it is, and the byte that fills it. */
const piece = fc.record({
  gap: fc.oneof(fc.constant(0), fc.nat({ max: 2 * MEBIBYTE })),
  length: fc.oneof(fc.nat({ max: 5000 }), fc.nat({ max: 3 * MEBIBYTE })),
  fill: fc.integer({ min: 1, max: 255 }),
});

describe('GatheredWriter', () => {
  it('writes every byte where it belongs, in whatever pieces', async () => {
    const path = join(directory, 'pieces');
    await fc.assert(
      fc.asyncProperty(fc.array(piece, { maxLength: 8 }), async (pieces) => {
        const writer = new GatheredWriter();
        const file = await open(path, 'w');
        const expected: Buffer[] = [];
        let offset = 0;
        try {
          writer.begin(file, path);
          for (const { gap, length, fill } of pieces) {
            const bytes = Buffer.alloc(length, fill);
            await writer.put(offset + gap, bytes);
            expected.push(Buffer.alloc(length === 0 ? 0 : gap), Buffer.from(bytes));
            // What was handed over may be used again at once.
            bytes.fill(0);
            offset += length === 0 ? 0 : gap + length;
          }
          await writer.finish();
        } finally {
          await writer.settle();
          await file.close();
        }
        expect(readFileSync(path).equals(Buffer.concat(expected))).toBe(true);
      }),
      { numRuns: 25 },
    );
  });

  it('goes on with another file', async () => {
    const writer = new GatheredWriter();
    for (const name of ['one', 'other']) {
      const path = join(directory, name);
      const file = await open(path, 'w');
      writer.begin(file, path);
      await writer.put(3, Buffer.from(name));
      await writer.finish();
      await file.close();
      expect(readFileSync(path, 'latin1')).toBe(`\0\0\0${name}`);
    }
  });

  it('tells what could not be written, and what to do', async () => {
    const writer = new GatheredWriter();
    const file = await open('/dev/full', 'w');
    try {
      writer.begin(file, '/dev/full');
      await writer.put(0, Buffer.alloc(MEBIBYTE, 1));
      const failure = await writer.finish().catch((error: unknown) => error);
      expect(failure).toBeInstanceOf(OutputError);
      expect(failure).toMatchObject({
        message: expect.stringContaining('cannot write /dev/full'),
        hint: expect.stringContaining('free some space'),
      });
    } finally {
      await writer.settle();
      await file.close();
    }
  });
});
