import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CkptError } from '../../../src/core/index.ts';
import { ImageFile } from '../../../src/interop/index.ts';
import { formatImage } from '../../../src/report/index.ts';
import { entry, image, word } from './image-encoder.ts';
import { nested, number, signed } from './protobuf.ts';

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'ckpt-image-'));
});
afterAll(() => rmSync(directory, { recursive: true }));

let files = 0;
function fileOf(bytes: Uint8Array): string {
  const path = join(directory, `image-${files++}.img`);
  writeFileSync(path, bytes);
  return path;
}

async function decode(bytes: Uint8Array): Promise<{ magic: string; entries: Record<string, unknown>[] }> {
  let text = '';
  for await (const piece of formatImage(await ImageFile.open(fileOf(bytes)))) text += piece;
  return JSON.parse(text);
}

const hex = (text: string) => Buffer.from(text.replaceAll(' ', ''), 'hex');
/** As crit 3.17.1 decodes it: pages 1, three present and lazy pages, two pages of the parent with both counts. */
const PAGEMAP = hex(
  '19435654 25400856 02000000 0801 09000000 088080800210032006 0e000000 0880808080d0ff1f10022001 2802',
);
/** Inventory of a pre-dump by CRIU 4.2. */
const INVENTORY = hex('16313158 0d000000 080040e0ede3f4cb0348016200');

describe('an image of CRIU', () => {
  it('is decoded entry by entry, the first of another kind', async () => {
    expect(await decode(PAGEMAP)).toEqual({
      magic: 'PAGEMAP',
      entries: [
        { pages_id: 1 },
        { vaddr: '4194304', compat_nr_pages: 3, flags: 6 },
        { vaddr: '140724603453440', compat_nr_pages: 2, flags: 1, nr_pages: '2' },
      ],
    });
  });

  it('may have its magic alone', async () => {
    expect(await decode(INVENTORY)).toEqual({
      magic: 'INVENTORY',
      entries: [{ img_version: 0, dump_uptime: '123456780000', pre_dump_mode: 1, plugins_entry: {} }],
    });
  });

  it('may have no entries', async () => {
    expect(await decode(image(0x50273030))).toEqual({ magic: 'PSTREE', entries: [] });
  });

  it('gives labels, signed numbers, text, messages within messages and lists', async () => {
    const fown = Buffer.concat([number(1, 0), number(2, 0), number(3, 0), number(4, 0), number(5, 0)]);
    const reg = Buffer.concat([
      number(1, 7),
      number(2, 0o2),
      number(3, 2n ** 63n),
      nested(5, fown),
      nested(6, Buffer.from('dir/naïve')),
      signed(7, -1),
      number(11, 10),
      number(11, 20),
    ]);
    const { entries } = await decode(image(0x56303138, entry(number(1, 1), number(2, 7), nested(3, reg))));
    expect(entries).toEqual([
      {
        type: 'REG',
        id: 7,
        reg: {
          id: 7,
          flags: 2,
          pos: '9223372036854775808',
          fown: { uid: 0, euid: 0, signum: 0, pid_type: 0, pid: 0 },
          name: 'dir/naïve',
          mnt_id: -1,
          build_id: [10, 20],
        },
      },
    ]);
  });

  it('gives the number of what an enumeration does not list, even where the field is required', async () => {
    const { entries } = await decode(image(0x56303138, entry(number(1, 4711), number(2, 7))));
    expect(entries).toEqual([{ type: 4711, id: 7 }]);
  });

  it('makes nothing of messages that lack fields, however many there are', async () => {
    const mm = Buffer.concat(Array.from({ length: 12 }, (_, index) => number(index + 1, 0)));
    const nothing = Buffer.alloc(4 * 1024 * 1024, Buffer.of((14 << 3) | 2, 0));
    const before = process.memoryUsage.rss();
    await expect(decode(image(0x57492820, entry(mm, nothing)))).rejects.toThrow(
      /damaged at byte 8: no mm_entry \(vma_entry lacks its field start\)/,
    );
    expect(process.memoryUsage.rss() - before).toBeLessThan(128 * 1024 * 1024);
  });

  it.each([
    ['a field beyond its message', Buffer.of(0x0a, 200), /a field reaches beyond its message/],
    ['a number without an end', Buffer.alloc(20, 0xff), /a number has more than 64 bits/],
    ['a wire type that is none', Buffer.of(0x0f), /a field has the wire type 7/],
  ])('is no message with %s', async (_what, bytes, message) => {
    await expect(decode(image(0x50273030, entry(bytes)))).rejects.toThrow(message);
  });

  it('is no message within messages without an end', async () => {
    let directory = Buffer.alloc(0);
    for (let depth = 0; depth < 1000; depth++)
      directory = Buffer.concat([nested(1, Buffer.from('d')), nested(2, directory)]);
    const controller = nested(2, nested(2, directory));
    await expect(decode(image(0x59383330, entry(controller)))).rejects.toThrow(
      /messages within more than 100 others/,
    );
  });

  it('keeps what it does not know', async () => {
    const pstree = [number(1, 1), number(2, 0), number(3, 1), number(4, 1), number(5, 1)];
    const { entries } = await decode(
      image(0x50273030, entry(...pstree, number(77, 300), nested(78, Buffer.from('new')))),
    );
    expect(entries).toEqual([
      {
        pid: 1,
        ppid: 0,
        pgid: 1,
        sid: 1,
        threads: [1],
        $unknown: [
          { field: 77, wireType: 0, base64: 'rAI=' },
          { field: 78, wireType: 2, base64: Buffer.from('\x03new').toString('base64') },
        ],
      },
    ]);
  });

  it.each([
    ['PIPES_DATA', 0x56453709, [number(1, 4), number(2, 5)], 5],
    [
      'TCP_STREAM',
      0x51465506,
      [1, 2, 3, 4, 5, 6, 7].map((field) => number(field, field === 3 ? 20 : 10)),
      30,
    ],
  ])('goes over the raw data behind entries of %s', async (magic, value, fields, payload) => {
    const one = Buffer.concat([entry(...fields), Buffer.alloc(payload, 0xee)]);
    const decoded = await decode(image(value, one, one));
    expect(decoded.magic).toBe(magic);
    expect(decoded.entries.map(({ $payloadBytes }) => $payloadBytes)).toEqual([payload, payload]);
  });

  it('goes over padded data: semaphores, shared memory, messages', async () => {
    const desc = Buffer.concat([1, 2, 3, 4, 5, 6, 7].map((field) => number(field, 0)));
    const semaphores = Buffer.concat([entry(nested(1, desc), number(2, 3)), Buffer.alloc(8)]);
    expect((await decode(image(0x59573019, semaphores, semaphores))).entries).toHaveLength(2);
    const memory = Buffer.concat([entry(nested(1, desc), number(2, 5)), Buffer.alloc(8)]);
    expect((await decode(image(0x46283044, memory, memory))).entries).toHaveLength(2);
    const inPagemaps = entry(nested(1, desc), number(2, 5), number(3, 1));
    expect((await decode(image(0x46283044, inPagemaps, inPagemaps))).entries).toHaveLength(2);
    const queue = Buffer.concat([
      entry(nested(1, desc), number(2, 100), number(3, 2)),
      entry(number(1, 1), number(2, 3)),
      Buffer.alloc(8),
      entry(number(1, 1), number(2, 9)),
      Buffer.alloc(16),
    ]);
    expect((await decode(image(0x55453737, queue, queue))).entries).toHaveLength(2);
  });

  it('knows deleted files as a whole and in chunks', async () => {
    const fields = [number(1, 0), number(2, 0), number(3, 0o600)];
    const whole = image(0x52583605, entry(...fields), Buffer.alloc(123));
    expect((await decode(whole)).entries).toEqual([{ uid: 0, gid: 0, mode: 384, $payloadBytes: 123 }]);
    const chunk = Buffer.concat([entry(number(1, 10), number(2, 4096)), Buffer.alloc(10)]);
    const chunked = image(0x52583605, entry(...fields, number(9, 1)), chunk, chunk);
    const piece = { len: '10', off: '4096', $payloadBytes: 10 };
    expect((await decode(chunked)).entries).toMatchObject([{ chunks: true }, piece, piece]);
    await expect(decode(chunked.subarray(0, -1))).rejects.toThrow(/cut off/);
  });

  it.each([
    ['an empty file', Buffer.alloc(0), 'cut off: the magic takes 4 bytes, 0 are left'],
    ['another magic', Buffer.from('\x7fELF0000'), 'is no image of CRIU: it begins with 0x464c457f'],
    ['an inventory in a frame', Buffer.concat([word(0x54564319), INVENTORY]), 'is no image of CRIU'],
    ['a kind without its frame', PAGEMAP.subarray(4), 'is no image of CRIU'],
    [
      'a message that is cut off',
      PAGEMAP.subarray(0, -1),
      'damaged at byte 31: cut off: pagemap_entry takes 14 bytes',
    ],
    [
      'a length beyond belief',
      image(0x50273030, word(0xffffffff)),
      'damaged at byte 8: a message of 4294967295 bytes',
    ],
    ['no message', image(0x50273030, entry(hex('ffff'))), 'damaged at byte 8: no pstree_entry'],
    [
      'a message without a required field',
      image(0x50273030, entry(number(1, 1))),
      'pstree_entry lacks its field ppid',
    ],
    [
      'data that are not there',
      image(0x56453709, entry(number(1, 4), number(2, 5))),
      'the data of pipe_data_entry takes 5',
    ],
  ])('is refused if it is %s', async (_name, bytes, message) => {
    await expect(decode(bytes)).rejects.toThrow(message);
  });

  it('is refused with a way out if its kind is not known, or cannot be read', async () => {
    await expect(decode(image(0x59423047))).rejects.toMatchObject({ hint: "CRIU's own 'crit decode' may" });
    await expect(ImageFile.open(directory)).rejects.toThrow('it is no file');
    await expect(ImageFile.open(join(directory, 'none'))).rejects.toMatchObject({ code: 'usage' });
  });

  it('is decoded or refused with a clear error, whatever bit is flipped and wherever it ends', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(PAGEMAP, INVENTORY),
        fc.nat(),
        fc.integer({ min: 1, max: 255 }),
        fc.nat(),
        async (sound, position, flipped, end) => {
          const bytes = Buffer.from(sound.subarray(0, end % (sound.length + 1)));
          if (bytes.length > 0) bytes[position % bytes.length]! ^= flipped;
          const outcome = await decode(bytes).catch((error: unknown) => error);
          if (outcome instanceof Error) expect(outcome).toBeInstanceOf(CkptError);
        },
      ),
      { numRuns: 100 },
    );
  });
});
