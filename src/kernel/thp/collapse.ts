import { ERRNO } from '../abi.ts';
import type { AddressSpace } from '../address-space.ts';
import { coversBlock, mapHugeCached } from '../fault/file.ts';
import { mapNewHugePage } from '../fault/huge.ts';
import { FAULT } from '../fault/mode.ts';
import { swapInFault } from '../fault/swap-in.ts';
import type { FileNode } from '../memory/files.ts';
import { FRAME, HUGE_FRAMES } from '../memory/frames.ts';
import { cachePage } from '../memory/page-cache.ts';
import { PTE, TABLE_ENTRIES } from '../pagetable/entry.ts';
import type { LeafTable } from '../pagetable/tables.ts';
import { clearEntry, zapRange } from '../pagetable/unmap.ts';
import { VM, VM_UFFD } from '../vma/flags.ts';
import type { Vma } from '../vma/vma.ts';

/** MADV_COLLAPSE over the whole blocks inside [start, end) (mm/khugepaged.c, madvise_collapse). */
export function collapseRange(space: AddressSpace, vma: Vma, start: number, end: number): number {
  if (vma.has(VM.noHugePage) || vma.hugeTlb || vma.special !== '') return -ERRNO.EINVAL;
  if (vma.anonymous ? vma.anonVma === null : !vma.sharedMemory) return -ERRNO.EINVAL;
  if (!hasSuitableBlock(vma)) return -ERRNO.EINVAL;
  const first = Math.ceil(start / TABLE_ENTRIES);
  const last = Math.floor(end / TABLE_ENTRIES);
  // A range inside one block makes the kernel count blocks below zero, which it takes for a failure.
  let error = first > last ? -ERRNO.EINVAL : 0;
  for (let block = first; block < last; block++) {
    const result = vma.anonymous ? collapsePrivate(space, vma, block) : collapseShared(space, vma, block);
    if (result < 0) error = result;
  }
  return error;
}

/** transhuge_vma_suitable for the last block of the mapping. */
function hasSuitableBlock(vma: Vma): boolean {
  return coversBlock(vma, Math.floor((vma.end - HUGE_FRAMES) / TABLE_ENTRIES));
}

/** collapse_huge_page. The new huge page is made dirty, so all of it becomes soft-dirty. */
function collapsePrivate(space: AddressSpace, vma: Vma, block: number): number {
  const found = space.tables.find(block);
  if (found === undefined) return -ERRNO.EINVAL;
  if (found.huge) return 0;
  const refused = checkEntries(space, vma, found);
  if (refused < 0) return refused;
  for (let index = 0; index < TABLE_ENTRIES; index++) {
    if (found.flags[index]! & PTE.swap) swapInFault(space, vma, found, index, FAULT.read);
  }
  const { frames } = space.machine;
  space.tables.detach(block);
  const head = mapNewHugePage(space, vma, block);
  for (let index = 0; index < TABLE_ENTRIES; index++) {
    const flags = found.flags[index]!;
    if (flags & PTE.present && !(flags & PTE.special))
      frames.copyContents(found.values[index]!, head + index);
    clearEntry(space, found, index);
  }
  return 0;
}

/** hpage_collapse_scan_pmd: 0, or the errno of what stands in the way. */
function checkEntries(space: AddressSpace, vma: Vma, table: LeafTable): number {
  const { frames, features } = space.machine;
  let writable = features.collapseReadOnly;
  for (let index = 0; index < TABLE_ENTRIES; index++) {
    const flags = table.flags[index]!;
    if (flags === 0 || flags & PTE.special) {
      if (vma.flags & VM_UFFD) return -ERRNO.EINVAL;
      continue;
    }
    if (flags & (PTE.uffd | PTE.marker)) return -ERRNO.EINVAL;
    if (flags & PTE.swap) continue;
    if (flags & PTE.write) writable = true;
    const frame = table.values[index]!;
    if (!(frames.flags[frame]! & FRAME.anonymous)) return -ERRNO.EINVAL;
    if (frames.references[frame] !== 0) return -ERRNO.EAGAIN;
  }
  return writable ? 0 : -ERRNO.EINVAL;
}

/** collapse_file: the block of the file becomes one huge page; every mapping of it is emptied, this one maps it whole. */
function collapseShared(space: AddressSpace, vma: Vma, block: number): number {
  const { machine } = space;
  const { node } = vma.file!;
  const found = space.tables.find(block);
  if (found?.huge) return 0;
  const first = vma.offsetOf(block * TABLE_ENTRIES);
  const done = makeHuge(space, node, first);
  if (done < 0) return done;
  for (const other of machine.spaces) {
    for (const mapping of other.vmas.items) {
      if (mapping.file?.node === node) forgetTable(other, mapping, first);
    }
  }
  // Private copies among the pages keep their table, and so the huge page out.
  const table = space.tables.find(block);
  if (table !== undefined) {
    if (table.huge || table.used > 0) return -ERRNO.EINVAL;
    space.tables.detach(block);
  }
  mapHugeCached(space, vma, block * TABLE_ENTRIES, node.pages.get(first)!, false);
  return 0;
}

/** retract_page_tables: frees the table that maps the block, so that faults find the huge page. */
function forgetTable(space: AddressSpace, vma: Vma, first: number): void {
  const page = vma.start + (first - vma.offset);
  if (page < vma.start || page + HUGE_FRAMES > vma.end) return;
  if (page % TABLE_ENTRIES !== 0 || vma.anonVma !== null) return;
  const table = space.tables.find(page / TABLE_ENTRIES);
  if (table !== undefined && !table.huge && table.used === 0) space.tables.detach(page / TABLE_ENTRIES);
}

function makeHuge(space: AddressSpace, node: FileNode, first: number): number {
  const { machine } = space;
  const { frames } = machine;
  const known = node.pages.get(first);
  if (known !== undefined && frames.flags[known]! & FRAME.compound) return 0;
  if (first + HUGE_FRAMES > Math.ceil(node.sizePages / HUGE_FRAMES) * HUGE_FRAMES) return -ERRNO.EINVAL;
  for (let index = first; index < first + HUGE_FRAMES; index++) {
    const frame = node.pages.get(index);
    if (frame !== undefined && frames.references[frame] !== 0) return -ERRNO.EAGAIN;
  }
  const head = frames.allocateHuge(FRAME.cached | FRAME.swapBacked | FRAME.dirty);
  for (let offset = 0; offset < HUGE_FRAMES; offset++) {
    const index = first + offset;
    if (node.pages.has(index) || node.swapped.has(index)) {
      const frame = cachePage(machine, node, index);
      frames.copyContents(frame, head + offset);
    }
  }
  for (const other of machine.spaces) {
    for (const mapping of other.vmas.items) {
      if (mapping.file?.node === node) unmapFileRange(other, mapping, first);
    }
  }
  for (let offset = 0; offset < HUGE_FRAMES; offset++) {
    const frame = node.pages.get(first + offset);
    node.pages.set(first + offset, head + offset);
    if (frame === undefined) continue;
    frames.flags[frame]! &= ~FRAME.cached;
    machine.releaseIfUnused(frame);
  }
  return 0;
}

function unmapFileRange(space: AddressSpace, vma: Vma, first: number): void {
  const start = Math.max(vma.start, vma.start + (first - vma.offset));
  const end = Math.min(vma.end, vma.start + (first - vma.offset) + HUGE_FRAMES);
  if (start < end) zapRange(space, vma, start, end, { privateCopies: false, markers: false });
}
