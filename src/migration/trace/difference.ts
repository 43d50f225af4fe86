import { PAGE_SIZE } from '../../core/index.ts';

/**
 * Bytes of what turns one page into another: for each run of changed bytes the gap in front of it, its length (LEB128
 * each) and the bytes. Equal pages: 0. Both pages are 4-byte aligned in memory.
 */
export function differenceSize(previous: Uint8Array, current: Uint8Array): number {
  const before = new Int32Array(previous.buffer, previous.byteOffset, PAGE_SIZE / 4);
  const after = new Int32Array(current.buffer, current.byteOffset, PAGE_SIZE / 4);
  let size = 0;
  let at = 0;
  let kept = 0;
  while (at < PAGE_SIZE) {
    if ((at & 3) === 0 && before[at >> 2] === after[at >> 2]) {
      at += 4;
      continue;
    }
    if (previous[at] === current[at]) {
      at++;
      continue;
    }
    const start = at;
    while (at < PAGE_SIZE && previous[at] !== current[at]) at++;
    size += numberBytes(start - kept) + numberBytes(at - start) + at - start;
    kept = at;
  }
  return size;
}

/** No number in a page takes more than two bytes. */
const numberBytes = (value: number) => (value < 128 ? 1 : 2);
