import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { crc32 } from '../../src/codec/index.ts';
import { IntegrityError, StoreVersionError } from '../../src/core/index.ts';
import {
  BLOCK_HEADER_BYTES,
  BLOCK_KINDS,
  type BlockHeader,
  checkPackHeader,
  decodeTable,
  decodeTrailer,
  encodePackHeader,
  encodeTable,
  encodeTrailer,
  NO_BLOCK,
  PACK_HEADER_BYTES,
  readBlockHeader,
  startsBlock,
  type TableEntry,
  writeBlockHeader,
} from '../../src/image/index.ts';

const headers: fc.Arbitrary<BlockHeader> = fc.record({
  block: fc.integer({ min: 0, max: 2 ** 24 - 1 }),
  kind: fc.constantFrom(...BLOCK_KINDS),
  codec: fc.constantFrom('none' as const, 'zstd' as const),
  itemCount: fc.integer({ min: 0, max: 256 }),
  rawBytes: fc.integer({ min: 0, max: 512 * 1024 }),
  storedBytes: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
  checksum: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
});

function encoded(header: BlockHeader): Uint8Array {
  const bytes = new Uint8Array(BLOCK_HEADER_BYTES);
  writeBlockHeader(header, bytes);
  return bytes;
}

describe('the header of a block', () => {
  it('comes back as it was written', () => {
    fc.assert(
      fc.property(headers, (header) => {
        expect(readBlockHeader(encoded(header), 'x')).toEqual(header);
        expect(startsBlock(encoded(header), 0)).toBe(true);
      }),
    );
  });

  it('is refused with any bit flipped or any byte missing', () => {
    fc.assert(
      fc.property(headers, fc.nat(BLOCK_HEADER_BYTES * 8 - 1), (header, bit) => {
        const bytes = encoded(header);
        bytes[bit >> 3]! ^= 1 << (bit & 7);
        expect(() => readBlockHeader(bytes, 'block 3')).toThrow(IntegrityError);
        expect(() => readBlockHeader(encoded(header).subarray(0, bit >> 3), 'block 3')).toThrow(
          'the header of block 3 is damaged',
        );
      }),
    );
  });

  it('is refused beyond the limits of the format, so that nobody allocates for it', () => {
    const header = {
      block: 1,
      kind: 'pages',
      codec: 'none',
      itemCount: 1,
      storedBytes: 1,
      checksum: 0,
    } as const;
    expect(() => readBlockHeader(encoded({ ...header, rawBytes: 512 * 1024 + 1 }), 'x')).toThrow(
      'beyond the limits',
    );
    expect(() => readBlockHeader(encoded({ ...header, rawBytes: 1, itemCount: 257 }), 'x')).toThrow(
      'beyond the limits',
    );
    expect(() => readBlockHeader(encoded({ ...header, rawBytes: 1, block: 2 ** 24 }), 'x')).toThrow(
      'beyond the limits',
    );
  });
});

describe('the header of a pack', () => {
  it('is accepted for its own pack only', () => {
    expect(() => checkPackHeader(encodePackHeader(17), 17)).not.toThrow();
    expect(() => checkPackHeader(encodePackHeader(17), 18)).toThrow('the number of pack 000017');
  });

  it('is refused with any bit flipped', () => {
    for (let bit = 0; bit < PACK_HEADER_BYTES * 8; bit++) {
      const bytes = encodePackHeader(3);
      bytes[bit >> 3]! ^= 1 << (bit & 7);
      expect(() => checkPackHeader(bytes, 3)).toThrow(IntegrityError);
    }
  });

  it('says so if only the version is unknown', () => {
    const bytes = encodePackHeader(3);
    bytes[8] = 9;
    new DataView(bytes.buffer).setUint32(20, crc32(bytes.subarray(0, 20)), true);
    expect(() => checkPackHeader(bytes, 3)).toThrow(StoreVersionError);
  });
});

describe('table and trailer of a pack', () => {
  const layouts = fc.array(
    fc.record({ gap: fc.integer({ min: 1, max: 9 }), storedBytes: fc.integer({ min: 1, max: 70_000 }) }),
    { maxLength: 40 },
  );

  function layOut(blocks: readonly { readonly gap: number; readonly storedBytes: number }[]) {
    const entries: TableEntry[] = [];
    let offsetBytes = PACK_HEADER_BYTES;
    let block = -1;
    for (const { gap, storedBytes } of blocks) {
      block += gap;
      entries.push({ block, offsetBytes, storedBytes, digestBlock: NO_BLOCK, firstDigest: block % 5 });
      offsetBytes += BLOCK_HEADER_BYTES + storedBytes;
    }
    const table = encodeTable(entries);
    const trailer = {
      tableOffsetBytes: offsetBytes,
      entryCount: entries.length,
      tableChecksum: crc32(table),
    };
    return { entries, table, trailer, packBytes: offsetBytes + table.length + 32 };
  }

  it('come back as they were written', () => {
    fc.assert(
      fc.property(layouts, (blocks) => {
        const { entries, table, trailer, packBytes } = layOut(blocks);
        const decoded = decodeTrailer(encodeTrailer(trailer), 1, packBytes);
        expect(decoded).toEqual(trailer);
        const columns = decodeTable(table, decoded, 1);
        expect(
          [...columns.blocks.keys()].map((index) => ({
            block: columns.blocks[index],
            offsetBytes: columns.offsetsBytes[index],
            storedBytes: columns.storedBytes[index],
            digestBlock: columns.digestBlocks[index],
            firstDigest: columns.firstDigests[index],
          })),
        ).toEqual(entries);
      }),
    );
  });

  it('are refused with any bit flipped', () => {
    const { table, trailer, packBytes } = layOut([
      { gap: 1, storedBytes: 10 },
      { gap: 2, storedBytes: 20 },
    ]);
    for (let bit = 0; bit < table.length * 8; bit++) {
      const bytes = table.slice();
      bytes[bit >> 3]! ^= 1 << (bit & 7);
      expect(() => decodeTable(bytes, trailer, 1)).toThrow(IntegrityError);
    }
    for (let bit = 0; bit < 32 * 8; bit++) {
      const bytes = encodeTrailer(trailer);
      bytes[bit >> 3]! ^= 1 << (bit & 7);
      expect(() => decodeTrailer(bytes, 1, packBytes)).toThrow(IntegrityError);
    }
  });

  it('are refused if the file has another length than they say, which they name', () => {
    const { trailer, packBytes } = layOut([{ gap: 1, storedBytes: 10 }]);
    expect(() => decodeTrailer(encodeTrailer(trailer), 1, packBytes + 1)).toThrow(
      `pack 000001 is truncated or damaged: a table of 24 bytes at offset 62 that does not fit at the end of its ${packBytes + 1} bytes`,
    );
  });

  it('are refused if an entry points outside the blocks, even with a right checksum', () => {
    const entry = { block: 0, offsetBytes: 24, storedBytes: 1, digestBlock: NO_BLOCK, firstDigest: 0 };
    const wrong = [
      { ...entry, offsetBytes: 23 },
      { ...entry, storedBytes: 500 },
    ];
    for (const entries of [...wrong.map((one) => [one]), [entry, entry]]) {
      const table = encodeTable(entries);
      const trailer = { tableOffsetBytes: 200, entryCount: entries.length, tableChecksum: crc32(table) };
      expect(() => decodeTable(table, trailer, 1)).toThrow('an impossible entry for block 0');
    }
  });
});
