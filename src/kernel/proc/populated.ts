import type { PageRange } from '../../core/index.ts';
import type { AddressSpace } from '../address-space.ts';

/**
 * The pages of a shared mapping of memory that hold data, in memory or in swap, whether or not this process has touched
 * them: what SEEK_DATA and SEEK_HOLE on /proc/PID/map_files tell. Undefined if the page is not in such a mapping.
 */
export function populatedPages(space: AddressSpace, page: number): PageRange[] | undefined {
  const vma = space.vmas.lookup(page);
  if (vma === undefined || !vma.sharedMemory || vma.file === null) return undefined;
  const { node } = vma.file;
  const first = vma.offset;
  const end = vma.offsetOf(vma.end);
  const held = [...node.pages.keys(), ...node.swapped.keys()].filter((at) => at >= first && at < end);
  const ranges: { startPage: number; endPage: number }[] = [];
  for (const offset of Float64Array.from(held).sort()) {
    const at = vma.start + (offset - first);
    const last = ranges.at(-1);
    if (last?.endPage === at) last.endPage++;
    else if (last === undefined || last.endPage < at) ranges.push({ startPage: at, endPage: at + 1 });
  }
  return ranges;
}
