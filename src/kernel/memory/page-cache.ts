import type { Machine } from '../machine.ts';
import type { FileNode } from './files.ts';
import { FRAME, HUGE_FRAMES } from './frames.ts';

/** Pages that a fault on a disk file reads around the missing one (read-ahead of 128 KiB). */
const READ_AROUND_PAGES = 32;
/** The page this far before the end of what is read gets the mark that triggers more. */
const READ_AHEAD_TAIL = READ_AROUND_PAGES / 4;

/** The frame of a file page, brought into the page cache if it is not there (filemap_fault, shmem_get_folio). */
export function cachePage(machine: Machine, node: FileNode, index: number, hugeWanted = false): number {
  const cached = node.pages.get(index);
  if (cached !== undefined) return cached;
  if (node.swappable) {
    const slot = node.swapped.get(index);
    if (slot !== undefined) return swapInShared(machine, node, index, slot);
    if (hugeWanted && hugePageFits(node, index)) return addHugePage(machine, node, index);
    return addPage(machine, node, index);
  }
  readAround(machine, node, index);
  return node.pages.get(index) ?? readBlock(machine, node, index);
}

/** do_sync_mmap_readahead: reads the surroundings of a missing page, up to the end of the file. */
function readAround(machine: Machine, node: FileNode, index: number): void {
  const first = Math.max(0, index - READ_AROUND_PAGES / 2);
  const short = first + READ_AROUND_PAGES > node.sizePages;
  const tail = short && !machine.features.readAheadMarks ? -1 : READ_AHEAD_TAIL;
  readWindow(machine, node, first, READ_AROUND_PAGES, tail);
}

/**
 * Reads the first `count` pages of a disk file as one read(2) does: read-ahead begins with a window a little larger than
 * what was asked for, and every marked page that is passed opens the next window (mm/readahead.c, ondemand_readahead).
 */
export function readSequentially(machine: Machine, node: FileNode, count: number): void {
  if (node.swappable) return;
  let start = 0;
  let size = 0;
  for (let index = 0; index < count && index < node.sizePages; index++) {
    if (!node.pages.has(index)) {
      start = index;
      size = initialWindow(count - index);
      readWindow(machine, node, start, size, size > count - index ? size - (count - index) : size);
    }
    if (node.readAheadMarks.delete(index)) {
      start += size;
      size = nextWindow(size);
      readWindow(machine, node, start, size, size);
    }
  }
}

/** get_init_ra_size. */
function initialWindow(requested: number): number {
  const size = 2 ** Math.ceil(Math.log2(requested));
  if (size <= READ_AROUND_PAGES / 32) return size * 4;
  return size <= READ_AROUND_PAGES / 4 ? size * 2 : READ_AROUND_PAGES;
}

/** get_next_ra_size. */
function nextWindow(size: number): number {
  if (size < READ_AROUND_PAGES / 16) return size * 4;
  return size <= READ_AROUND_PAGES / 2 ? size * 2 : READ_AROUND_PAGES;
}

/** do_page_cache_ra: reads a window as far as the file goes; the page `tail` before the end gets the mark. */
function readWindow(machine: Machine, node: FileNode, start: number, size: number, tail: number): void {
  const end = Math.min(start + size, node.sizePages);
  for (let index = start; index < end; index++) {
    if (node.pages.has(index)) continue;
    readBlock(machine, node, index);
    if (index === end - tail) node.readAheadMarks.add(index);
  }
}

/** A new page of zeros in the cache. */
function addPage(machine: Machine, node: FileNode, index: number): number {
  const swapBacked = node.swappable ? FRAME.swapBacked | FRAME.dirty : 0;
  const frame = machine.frames.allocate(FRAME.cached | swapBacked);
  node.pages.set(index, frame);
  return frame;
}

function readBlock(machine: Machine, node: FileNode, index: number): number {
  const stored = node.disk.get(index);
  if (stored === undefined) return addPage(machine, node, index);
  node.disk.delete(index);
  machine.frames.flags[stored] = FRAME.cached;
  node.pages.set(index, stored);
  return stored;
}

function swapInShared(machine: Machine, node: FileNode, index: number, slot: number): number {
  const frame = machine.swap.frames[slot]!;
  machine.swap.users[slot]!--;
  machine.swap.releaseSlot(slot);
  machine.swap.slotOfFrame.delete(frame);
  node.swapped.delete(index);
  machine.frames.flags[frame] = FRAME.cached | FRAME.swapBacked | FRAME.dirty;
  node.pages.set(index, frame);
  return frame;
}

function hugePageFits(node: FileNode, index: number): boolean {
  const first = index - (index % HUGE_FRAMES);
  for (let near = first; near < first + HUGE_FRAMES; near++) {
    if (node.pages.has(near) || node.swapped.has(near)) return false;
  }
  return true;
}

function addHugePage(machine: Machine, node: FileNode, index: number): number {
  const first = index - (index % HUGE_FRAMES);
  const head = machine.frames.allocateHuge(FRAME.cached | FRAME.swapBacked | FRAME.dirty);
  for (let offset = 0; offset < HUGE_FRAMES; offset++) node.pages.set(first + offset, head + offset);
  return head + (index - first);
}

/** The frame that holds the contents of a file page wherever it is, without changing anything; 0 for a hole. */
export function peekFilePage(machine: Machine, node: FileNode, index: number): number {
  const slot = node.swapped.get(index);
  return (
    node.pages.get(index) ??
    (slot === undefined ? undefined : machine.swap.frames[slot]) ??
    node.disk.get(index) ??
    0
  );
}

/** Takes an unmapped page out of the cache for good (truncation, hole punching). */
export function dropFilePage(machine: Machine, node: FileNode, index: number): void {
  const frame = node.pages.get(index);
  if (frame !== undefined) {
    if (machine.frames.flags[frame]! & FRAME.compound) splitCachedHuge(machine, node, frame);
    node.pages.delete(index);
    node.readAheadMarks.delete(index);
    machine.frames.flags[frame]! &= ~FRAME.cached;
    machine.releaseIfUnused(frame);
  }
  const slot = node.swapped.get(index);
  if (slot !== undefined) {
    node.swapped.delete(index);
    machine.freeSwapUser(slot);
  }
  const stored = node.disk.get(index);
  if (stored !== undefined) {
    node.disk.delete(index);
    machine.frames.release(stored);
  }
}

/** Forgets an inode that has no name and no mapping any more, with all its pages. */
export function forgetNode(machine: Machine, node: FileNode): void {
  machine.nodes.delete(node.id);
  machine.hugePoolPromised -= node.promisedHuge;
  if (node.kind !== 'hugetlb') {
    for (const index of [...node.pages.keys(), ...node.swapped.keys()]) dropFilePage(machine, node, index);
    return;
  }
  for (const [index, head] of node.pages) {
    if (index % HUGE_FRAMES !== 0) continue;
    for (let frame = head; frame < head + HUGE_FRAMES; frame++) machine.frames.flags[frame]! &= ~FRAME.cached;
    machine.releaseHugeIfUnused(head);
  }
}

/** Splits a huge page of the cache into 512 small ones. */
export function splitCachedHuge(machine: Machine, node: FileNode, frame: number): void {
  const head = frame - (frame % HUGE_FRAMES);
  for (let offset = 0; offset < HUGE_FRAMES; offset++) {
    machine.frames.flags[head + offset]! |= FRAME.cached;
  }
  machine.frames.dissolveHuge(head);
  for (const [index, cached] of node.pages) {
    if (cached >= head && cached < head + HUGE_FRAMES && index >= node.sizePages)
      dropFilePage(machine, node, index);
  }
}

/** Writes a clean, unmapped page of a disk file out of memory; whether it could go. */
export function evictFilePage(machine: Machine, node: FileNode, index: number): boolean {
  const frame = node.pages.get(index);
  const { frames } = machine;
  if (frame === undefined || !node.writtenBack) return false;
  if (frames.mapCount[frame] !== 0 || frames.references[frame] !== 0) return false;
  if (frames.flags[frame]! & FRAME.dirty) return false;
  node.pages.delete(index);
  node.readAheadMarks.delete(index);
  frames.flags[frame] = FRAME.storage;
  node.disk.set(index, frame);
  return true;
}

/** Moves an unmapped page of a memory file to swap; whether there was room. */
export function swapOutFilePage(machine: Machine, node: FileNode, index: number): boolean {
  const frame = node.pages.get(index);
  const { frames, swap } = machine;
  if (frame === undefined || !node.swappable || !swap.enabled) return false;
  if (frames.mapCount[frame] !== 0 || frames.references[frame] !== 0) return false;
  node.pages.delete(index);
  const slot = swap.allocate(frame);
  swap.slotOfFrame.delete(frame);
  swap.users[slot] = 1;
  frames.flags[frame] = FRAME.storage;
  node.swapped.set(index, slot);
  return true;
}
