import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readMemoryImage } from '../../../../src/interop/criu/images/pagemap-file.ts';
import { entry, image, inventoryImage, pagemapImage, word } from '../image-encoder.ts';
import { nested, number } from '../protobuf.ts';

const hex = (text: string) => Buffer.from(text.replaceAll(' ', ''), 'hex');

/** Of CRIU 3.17.1 and 4.2: pages 1, three present and lazy pages, two pages of the parent with both counts. */
const PAGEMAP = hex(
  '19435654 25400856 02000000 0801 09000000 088080800210032006 0e000000 0880808080d0ff1f10022001 2802',
);
const TASK = { kind: 'task', pid: 1 } as const;

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'ckpt-golden-'));
});
afterEach(() => rm(directory, { recursive: true }));

async function read(pagemap: Uint8Array, pages: number | Uint8Array = 0) {
  await writeFile(join(directory, 'pagemap-1.img'), pagemap);
  await writeFile(
    join(directory, 'pages-1.img'),
    typeof pages === 'number' ? Buffer.alloc(pages * 4096) : pages,
  );
  return readMemoryImage(directory, 'pagemap-1.img', TASK);
}

describe('the encoder of the tests', () => {
  it('writes the bytes that CRIU writes', () => {
    const lazy = { startPage: 0x400, pageCount: 3, flags: 6 };
    const parent = { startPage: 0x7ffd00000, pageCount: 2, flags: 1 };
    const old = pagemapImage('3.17', 1, [lazy]);
    const both = pagemapImage('both', 1, [parent]);
    expect(Buffer.concat([old, both.subarray(14)])).toEqual(PAGEMAP);
    expect(pagemapImage('4.2', 1, [lazy]).subarray(14)).toEqual(hex('0b000000 0880808002100020062803'));
    expect(inventoryImage('4.2', { preDumpMode: 1, uptime: 123_456_780_000 })).toEqual(
      hex('16313158 0d000000 080040e0ede3f4cb0348016200'),
    );
  });
});

describe('a pagemap', () => {
  it('is read as CRIU reads it, in the fields of both versions', async () => {
    const { pagesId, entries, presentPages, object } = await read(PAGEMAP, 3);
    expect({ pagesId, presentPages, object }).toEqual({ pagesId: 1, presentPages: 3, object: TASK });
    expect([...entries.startPages]).toEqual([0x400, 0x7ffd00000]);
    expect([...entries.pageCounts]).toEqual([3, 2]);
    expect([...entries.flags]).toEqual([6, 1]);
    for (const version of ['3.17', '4.2', 'both'] as const) {
      const same = pagemapImage(version, 1, [{ startPage: 2 ** 51, pageCount: 3, flags: 6 }]);
      expect((await read(same, 3)).entries).toMatchObject({ startPages: Float64Array.of(2 ** 51) });
    }
  });

  it.each([
    ['in_parent alone', [number(3, 1)], 1],
    ['in_parent and lazy', [number(3, 1), number(4, 2)], 3],
    ['in_parent that is false, without flags', [number(3, 0)], 4],
    ['neither', [], 4],
  ])('takes %s for what CRIU takes it', async (_name, fields, flags) => {
    const bytes = image(0x56084025, entry(number(1, 1)), entry(number(1, 0x1000), number(2, 1), ...fields));
    expect([...(await read(bytes, flags === 4 ? 1 : 0)).entries.flags]).toEqual([flags]);
  });

  it('joins neighbours of the same flags, and knows where their pages are', async () => {
    const { entries } = await read(
      pagemapImage('both', 1, [
        { startPage: 10, pageCount: 2, flags: 4 },
        { startPage: 12, pageCount: 1, flags: 4 },
        { startPage: 13, pageCount: 1, flags: 1 },
        { startPage: 14, pageCount: 1, flags: 6 },
        { startPage: 20, pageCount: 5, flags: 6 },
      ]),
      9,
    );
    expect([...entries.startPages]).toEqual([10, 13, 14, 20]);
    expect([...entries.dataPages].map((page, index) => (entries.flags[index]! & 4 ? page : -1))).toEqual([
      0, -1, 3, 4,
    ]);
  });

  const one = (...fields: Buffer[]) => image(0x56084025, entry(number(1, 1)), entry(...fields));
  it.each([
    ['another kind', image(0x57492820), 0, 'pagemap-1.img is damaged at byte 0: it is no pagemap'],
    ['nothing', Buffer.alloc(0), 0, 'at byte 0: cut off: the magic'],
    ['no head', image(0x56084025), 0, 'at byte 8: cut off: the length of pagemap_head'],
    [
      'a head without a number',
      image(0x56084025, entry()),
      0,
      'byte 8: no sound pagemap_head: it has no pages_id',
    ],
    [
      'an entry that is cut off',
      PAGEMAP.subarray(0, -1),
      3,
      'damaged at byte 31: cut off: pagemap_entry takes 14',
    ],
    [
      'an entry of 4 GiB',
      image(0x56084025, entry(number(1, 1)), word(0xffffffff)),
      0,
      'at byte 14: a pagemap_entry of',
    ],
    ['no address', one(number(2, 1)), 1, 'byte 14: no sound pagemap_entry: it has no address'],
    ['no count', one(number(1, 0x1000), number(5, 1)), 1, 'it has no compat_nr_pages'],
    ['no pages', one(number(1, 0x1000), number(2, 0)), 0, 'it has no pages'],
    ['two counts', one(number(1, 0x1000), number(2, 2), number(5, 1)), 1, 'it has 2 pages, and 1'],
    ['an address within a page', one(number(1, 0x1001), number(2, 1)), 1, 'is not that of a page'],
    [
      'pages beyond all',
      one(number(1, 0x1000), number(2, 0), number(5, 2n ** 53n)),
      1,
      'beyond all addresses',
    ],
    [
      'pages that are nowhere',
      one(number(1, 0x1000), number(2, 1), number(4, 0)),
      1,
      'its pages are nowhere',
    ],
    [
      'pages here and there',
      one(number(1, 0x1000), number(2, 1), number(4, 5)),
      1,
      'both here and in the parent',
    ],
    ['unknown flags', one(number(1, 0x1000), number(2, 1), number(4, 20)), 1, 'its flags 20 are not known'],
    ['a field of another type', one(nested(1)), 1, 'field 1 has the wire type 2'],
    [
      'entries in another order',
      pagemapImage('both', 1, [
        { startPage: 9, pageCount: 1, flags: 4 },
        { startPage: 8, pageCount: 1, flags: 4 },
      ]),
      2,
      'at byte 28: no sound pagemap_entry: pages from 0x8000 on, behind those up to 0xa000',
    ],
    ['too few pages', PAGEMAP, 2, 'pages-1.img is damaged at byte 8192: it has 8192 bytes'],
    ['too many pages', PAGEMAP, 4, 'pages-1.img is damaged at byte 12288: it has 16384 bytes'],
    ['a part of a page', PAGEMAP, Buffer.alloc(12287), 'pages-1.img is damaged at byte 12287'],
  ])('with %s is refused', async (_name, bytes, pages, message) => {
    await expect(read(bytes, pages)).rejects.toThrow(message);
    await expect(read(bytes, pages)).rejects.toMatchObject({ code: 'integrity' });
  });

  it.each([
    ['blocks', one(number(1, 0x1000), number(2, 1), nested(6, number(2, 9)))],
    ['aligned payloads', one(number(1, 0x1000), number(2, 1), number(4, 12))],
  ])('of the next CRIU is recognised by its %s', async (_name, bytes) => {
    await expect(read(bytes, 1)).rejects.toMatchObject({
      code: 'unsupported',
      message: expect.stringMatching('compressed with LZ4'),
    });
  });
});
