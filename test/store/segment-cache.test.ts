import { describe, expect, it } from 'vitest';
import {
  appendZeroPage,
  createSegment,
  type SegmentReference,
  segmentDigest,
} from '../../src/image/index.ts';
import { SegmentCache } from '../../src/store/segment-cache.ts';

function segmentOf(page: number) {
  const segment = createSegment(0, 16);
  appendZeroPage(segment, page);
  return segment;
}

function referenceTo(block: number, page: number): SegmentReference {
  const counts = { zeroPages: 1, dataPages: 0 };
  return { startPage: 0, location: { pack: 1, block }, ...counts, digest: segmentDigest(segmentOf(page)) };
}

describe('the cache of segments', () => {
  it('reads a segment once, and not at all if it was just written', async () => {
    const cache = new SegmentCache();
    const written = segmentOf(3);
    cache.add(referenceTo(1, 3), written);
    const unexpected = async () => {
      throw new Error('it was read');
    };
    expect(await cache.load(referenceTo(1, 3), unexpected)).toBe(written);
    const read = segmentOf(4);
    expect(await cache.load(referenceTo(2, 4), async () => read)).toBe(read);
    expect(await cache.load(referenceTo(2, 4), unexpected)).toBe(read);
  });

  it('gives a segment only to who means its content', async () => {
    const cache = new SegmentCache();
    cache.add(referenceTo(1, 3), segmentOf(3));
    const other = segmentOf(5);
    expect(await cache.load(referenceTo(1, 5), async () => other)).toBe(other);
  });

  it('tries again what failed, and forgets when it is told to', async () => {
    const cache = new SegmentCache();
    const fails = async () => {
      throw new Error('damaged');
    };
    await expect(cache.load(referenceTo(1, 3), fails)).rejects.toThrow('damaged');
    cache.add(referenceTo(1, 3), segmentOf(3));
    cache.clear();
    await expect(cache.load(referenceTo(1, 3), fails)).rejects.toThrow('damaged');
  });
});
