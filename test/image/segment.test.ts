import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { digestPage, ZERO_PAGE_DIGEST } from '../../src/codec/index.ts';
import { IntegrityError, PAGE_SIZE } from '../../src/core/index.ts';
import {
  appendZeroPage,
  blockOfPosition,
  createSegment,
  decodeSegment,
  encodeSegment,
  findInSegment,
  lowerBoundInSegment,
  memoryDigest,
  positionOf,
  SEGMENT_PAGES,
  type Segment,
  segmentDigest,
  slotOfPosition,
} from '../../src/image/index.ts';

const positions = fc.integer({ min: 0, max: 2 ** 32 - 1 });
const packs = fc.integer({ min: 1, max: 4 });
const entries = fc.uniqueArray(
  fc.record({
    offset: fc.oneof(fc.nat(60), fc.nat(SEGMENT_PAGES - 1)),
    zero: fc.boolean(),
    pack: packs,
    position: positions,
    delta: fc.option(fc.record({ pack: packs, position: positions })),
  }),
  { selector: ({ offset }) => offset, maxLength: 120 },
);
const windows = fc.integer({ min: 0, max: 2 ** 39 - 1 });

const segments: fc.Arbitrary<Segment> = fc.tuple(windows, entries).map(([window, list]) => {
  const segment = createSegment(window * SEGMENT_PAGES, list.length);
  for (const { offset, zero, pack, position, delta } of list.sort((a, b) => a.offset - b.offset)) {
    if (zero) {
      appendZeroPage(segment, segment.startPage + offset);
      continue;
    }
    const index = segment.count++;
    segment.offsets[index] = offset;
    segment.packs[index] = pack;
    segment.positions[index] = position;
    segment.deltaPacks[index] = delta?.pack ?? 0;
    segment.deltaPositions[index] = delta?.position ?? 0;
  }
  return segment;
});

describe('an index segment', () => {
  it('comes back as it was written, but for the digests of stored pages', () => {
    fc.assert(
      fc.property(segments, (segment) => {
        expect(decodeSegment(encodeSegment(segment), 'x')).toEqual(segment);
      }),
    );
  });

  it('is refused, or is another segment, if it is cut off or changed: never an exception of another kind', () => {
    fc.assert(
      fc.property(segments, fc.nat(), fc.integer({ min: 1, max: 255 }), (segment, where, change) => {
        const bytes = encodeSegment(segment);
        const at = where % bytes.length;
        expect(() => decodeSegment(bytes.subarray(0, at), 'segment 5')).toThrow(IntegrityError);
        bytes[at]! ^= change;
        try {
          decodeSegment(bytes, 'segment 5');
        } catch (cause) {
          expect(cause).toBeInstanceOf(IntegrityError);
        }
      }),
    );
  });

  it('takes a byte or two a page where pages were dumped in address order', () => {
    const segment = createSegment(0);
    for (let page = 0; page < SEGMENT_PAGES; page++) {
      segment.offsets[segment.count] = page;
      segment.packs[segment.count] = 1;
      segment.positions[segment.count++] = positionOf(Math.floor(page / 16), page % 16);
    }
    expect(encodeSegment(segment).length).toBeLessThan(SEGMENT_PAGES * 1.2);
  });

  it('finds every page that it lists, and no other', () => {
    fc.assert(
      fc.property(segments, fc.nat(SEGMENT_PAGES - 1), (segment, offset) => {
        const index = segment.offsets.indexOf(offset);
        expect(findInSegment(segment, segment.startPage + offset)).toBe(index);
        const behind = segment.offsets.findIndex((candidate) => candidate >= offset);
        const expected = behind < 0 ? segment.count : behind;
        expect(lowerBoundInSegment(segment, segment.startPage + offset)).toBe(expected);
      }),
    );
  });
});

describe('a position', () => {
  it('is a block and a slot, up to the last block of a pack', () => {
    for (const [block, slot] of [
      [0, 0],
      [0, 255],
      [1, 0],
      [2 ** 24 - 1, 255],
    ] as const) {
      expect(blockOfPosition(positionOf(block, slot))).toBe(block);
      expect(slotOfPosition(positionOf(block, slot))).toBe(slot);
    }
    expect(positionOf(2 ** 24 - 1, 255)).toBe(2 ** 32 - 1);
  });
});

describe('digests of memory', () => {
  function twoPages(): Segment {
    const segment = createSegment(SEGMENT_PAGES, 3);
    appendZeroPage(segment, SEGMENT_PAGES + 1);
    appendZeroPage(segment, SEGMENT_PAGES + 2);
    appendZeroPage(segment, SEGMENT_PAGES + 9);
    segment.packs[1] = 7;
    segment.digests.set(digestPage(new Uint8Array(PAGE_SIZE).fill(65)), 16);
    return segment;
  }
  const vma = {
    startPage: 0x7f0000000,
    endPage: 0x7f0000010,
    read: true,
    write: false,
    execute: true,
    shared: false,
    offsetPages: 3,
    deviceMajor: 8,
    deviceMinor: 1,
    inode: 77,
    pathname: '/usr/lib/ü.so',
  };
  const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');

  it('are what they have always been', () => {
    // Computed by another program from FORMAT.md: a change here means that old stores no longer verify.
    expect(hex(segmentDigest(twoPages()))).toBe('dc7ef6d891c34f5ee1da6d6a492aa7bd');
    const segments = [{ startPage: SEGMENT_PAGES, digest: segmentDigest(twoPages()) }];
    expect(
      memoryDigest([
        { pid: 9, vmas: [vma], segments },
        { pid: 2, vmas: [], segments: [] },
      ]),
    ).toBe('a750c7c6493d34aed5dedf20c4b39d3d4ffd86784831203501ef89b2b1a762ef');
  });

  it('do not depend on where pages lie, nor on the order in which processes are given', () => {
    const elsewhere = twoPages();
    elsewhere.packs[1] = 1;
    elsewhere.positions[1] = 99;
    expect(segmentDigest(elsewhere)).toEqual(segmentDigest(twoPages()));
    const first = { pid: 1, vmas: [vma], segments: [] };
    const second = { pid: 2, vmas: [], segments: [] };
    expect(memoryDigest([second, first])).toBe(memoryDigest([first, second]));
  });

  it('differ for any difference of memory', () => {
    const changes: ((segment: Segment) => void)[] = [
      (segment) => (segment.digests[16]! ^= 1),
      (segment) => (segment.offsets[2] = 10),
      (segment) => segment.digests.set(ZERO_PAGE_DIGEST, 16),
    ];
    const digests = changes.map((change) => {
      const segment = twoPages();
      change(segment);
      return hex(segmentDigest(segment));
    });
    expect(new Set([...digests, hex(segmentDigest(twoPages()))]).size).toBe(4);
    const variants = [
      vma,
      { ...vma, startPage: 1 },
      { ...vma, endPage: vma.endPage + 1 },
      { ...vma, write: true },
      { ...vma, shared: true },
      { ...vma, offsetPages: 4 },
      { ...vma, deviceMajor: 9 },
      { ...vma, inode: 78 },
      { ...vma, pathname: '' },
    ].map((one) => memoryDigest([{ pid: 1, vmas: [one], segments: [] }]));
    expect(new Set([...variants, memoryDigest([{ pid: 2, vmas: [vma], segments: [] }])]).size).toBe(10);
  });
});
