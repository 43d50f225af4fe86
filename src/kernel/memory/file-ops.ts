import { ERRNO } from '../abi.ts';
import type { AddressSpace } from '../address-space.ts';
import type { Machine } from '../machine.ts';
import { PTE, TABLE_ENTRIES } from '../pagetable/entry.ts';
import { zapRange } from '../pagetable/unmap.ts';
import { VM } from '../vma/flags.ts';
import type { Vma } from '../vma/vma.ts';
import type { FileNode } from './files.ts';
import { FRAME } from './frames.ts';
import { cachePage, dropFilePage, evictFilePage } from './page-cache.ts';

/** Visits every mapping of a file pages [first, end) with the part of it that lies there (i_mmap). */
function forEachMapping(
  machine: Machine,
  node: FileNode,
  first: number,
  end: number,
  visit: (space: AddressSpace, vma: Vma, startPage: number, endPage: number) => void,
): void {
  for (const space of machine.spaces) {
    for (const vma of space.vmas.items) {
      if (vma.file?.node !== node) continue;
      const start = Math.max(vma.start, vma.start + (first - vma.offset));
      const stop = Math.min(vma.end, vma.start + (end - vma.offset));
      if (start < stop) visit(space, vma, start, stop);
    }
  }
}

/** write(2) at an offset: goes through the page cache and extends the file. */
export function writeFile(machine: Machine, node: FileNode, offset: number, bytes: Uint8Array): number {
  let done = 0;
  while (done < bytes.length) {
    const at = offset + done;
    const index = Math.floor(at / 4096);
    const count = Math.min(4096 - (at % 4096), bytes.length - done);
    if (index >= node.sizePages) node.sizePages = index + 1;
    const frame = cachePage(machine, node, index);
    machine.frames.writeBytes(frame, at % 4096, bytes.subarray(done, done + count));
    machine.frames.flags[frame]! |= FRAME.dirty;
    done += count;
  }
  return bytes.length;
}

/** ftruncate(2). Shrinking unmaps the tail everywhere, private copies included; userfaultfd markers stay or appear. */
export function truncateFile(machine: Machine, node: FileNode, pageCount: number): number {
  const old = node.sizePages;
  node.sizePages = pageCount;
  if (pageCount >= old) return 0;
  forEachMapping(machine, node, pageCount, Number.MAX_SAFE_INTEGER, (space, vma, start, end) => {
    zapRange(space, vma, start, end, { privateCopies: true, markers: false });
  });
  for (let index = pageCount; index < old; index++) dropFilePage(machine, node, index);
  return 0;
}

/** fallocate(PUNCH_HOLE | KEEP_SIZE). Private copies of the pages stay. */
export function punchFile(machine: Machine, node: FileNode, first: number, pageCount: number): number {
  forEachMapping(machine, node, first, first + pageCount, (space, vma, start, end) => {
    zapRange(space, vma, start, end, { privateCopies: false, markers: false });
  });
  for (let index = first; index < first + pageCount; index++) dropFilePage(machine, node, index);
  return 0;
}

/** fsync(2): dirty pages of a disk file become clean and write-protected; soft-dirty stays. */
export function syncFile(machine: Machine, node: FileNode, first = 0, end = Number.MAX_SAFE_INTEGER): number {
  if (!node.writtenBack) return 0;
  const { frames } = machine;
  forEachMapping(machine, node, first, end, (space, vma, start, stop) => {
    if (!vma.has(VM.shared)) return;
    space.tables.forEachBlock(
      Math.floor(start / TABLE_ENTRIES),
      Math.ceil(stop / TABLE_ENTRIES),
      (block, found) => {
        if (found.huge) return;
        for (let index = 0; index < TABLE_ENTRIES; index++) {
          const page = block * TABLE_ENTRIES + index;
          const flags = found.flags[index]!;
          if (page < start || page >= stop || !(flags & PTE.present) || !(flags & (PTE.dirty | PTE.write)))
            continue;
          found.setFlags(index, flags & ~(PTE.dirty | PTE.write));
        }
      },
    );
  });
  for (const [index, frame] of node.pages) {
    if (index >= first && index < end) frames.flags[frame]! &= ~FRAME.dirty;
  }
  return 0;
}

/** fsync and POSIX_FADV_DONTNEED: unmapped clean pages of a disk file leave the cache. */
export function dropFile(machine: Machine, node: FileNode): number {
  syncFile(machine, node);
  for (const index of [...node.pages.keys()]) evictFilePage(machine, node, index);
  return 0;
}

/** sync and /proc/sys/vm/drop_caches. */
export function dropCaches(machine: Machine): void {
  for (const node of machine.nodes.values()) dropFile(machine, node);
}

/** msync(MS_SYNC) over a range: 0, or -ENOMEM if it has holes. */
export function msync(space: AddressSpace, startPage: number, pageCount: number): number {
  const end = startPage + pageCount;
  let at = startPage;
  let hole = false;
  while (at < end) {
    const vma = space.vmas.findAbove(at);
    if (vma === undefined || vma.start >= end) return -ERRNO.ENOMEM;
    if (vma.start > at) hole = true;
    const start = Math.max(at, vma.start);
    const stop = Math.min(vma.end, end);
    if (vma.file !== null && vma.has(VM.shared)) {
      syncFile(space.machine, vma.file.node, vma.offsetOf(start), vma.offsetOf(stop - 1) + 1);
    }
    at = stop;
  }
  return hole ? -ERRNO.ENOMEM : 0;
}
