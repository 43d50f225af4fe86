import { PageRangeList } from '../core/index.ts';
import { findInSegment, type Segment, sameDigest } from '../image/index.ts';
import type { ProcessIndex } from '../store/index.ts';

/**
 * The pages that hold the same in two checkpoints of a process, found by their digests; windows that are equal as a
 * whole are not looked into.
 * @throws IntegrityError
 */
export async function commonPages(left: ProcessIndex, right: ProcessIndex): Promise<PageRangeList> {
  const common = new PageRangeList();
  for (const reference of left.segments) {
    const other = right.referenceOf(reference.startPage);
    if (other === undefined) continue;
    const { segment } = await left.load(reference);
    const isEqual = Buffer.compare(reference.digest, other.digest) === 0;
    addCommon(segment, isEqual ? segment : (await right.load(other)).segment, common);
  }
  return common;
}

function addCommon(left: Segment, right: Segment, common: PageRangeList): void {
  for (let index = 0; index < left.count; index++) {
    const page = left.startPage + left.offsets[index]!;
    const at = left === right ? index : findInSegment(right, page);
    if (at >= 0 && sameDigest(left.digests, index, right.digests, at)) common.append(page, page + 1);
  }
}
