import { ACCESS_SIGNAL } from '../abi.ts';
import { type AddressSpace, freshEntry, writableIfAllowed } from '../address-space.ts';
import type { FileNode } from '../memory/files.ts';
import { FRAME, HUGE_FRAMES } from '../memory/frames.ts';
import { cachePage } from '../memory/page-cache.ts';
import { PTE, SOFTWARE_DIRTY, TABLE_ENTRIES } from '../pagetable/entry.ts';
import { HugeEntry, type LeafTable } from '../pagetable/tables.ts';
import { VM } from '../vma/flags.ts';
import { prepareIdentity } from '../vma/identity.ts';
import type { Vma } from '../vma/vma.ts';
import { guarded, PRIVATE_FRAME } from './anonymous.ts';
import { FAULT, type FaultMode } from './mode.ts';

/** Pages that a load of a file page maps at once (fault_around_bytes = 64 KiB). */
const FAULT_AROUND_PAGES = 16;

/** do_fault: an empty slot (or a userfaultfd marker) of a file mapping is touched. */
export function fileFault(space: AddressSpace, vma: Vma, page: number, mode: FaultMode): number {
  const node = vma.file!.node;
  if (mode !== FAULT.write) return readFault(space, vma, node, page);
  if (vma.has(VM.shared)) return sharedStore(space, vma, node, page);
  return privateStore(space, vma, node, page);
}

function readFault(space: AddressSpace, vma: Vma, node: FileNode, page: number): number {
  const block = Math.floor(page / TABLE_ENTRIES);
  const around = !vma.has(VM.uffdWp);
  const missed = !node.pages.has(vma.offsetOf(page)) && !node.swappable;
  if (around && faultAround(space, vma, node, page)) {
    space.machine.ledger.fault('fileRead');
    return 0;
  }
  const frame = fetch(space, vma, node, page);
  if (frame < 0) return frame;
  // Waiting for the disk drops the lock, so the fault begins anew and finds the neighbours in the cache, too.
  if (missed && around && faultAround(space, vma, node, page)) {
    space.machine.ledger.fault('fileRead');
    return 0;
  }
  node.readAheadMarks.delete(vma.offsetOf(page));
  if (!mapHugeCached(space, vma, page, frame, false)) {
    mapCached(space, vma, space.tables.makeTable(block)!, page % TABLE_ENTRIES, frame, false);
  }
  space.machine.ledger.fault('fileRead');
  return 0;
}

function sharedStore(space: AddressSpace, vma: Vma, node: FileNode, page: number): number {
  const frame = fetch(space, vma, node, page);
  if (frame < 0) return frame;
  space.machine.frames.flags[frame]! |= FRAME.dirty;
  if (!mapHugeCached(space, vma, page, frame, true)) {
    const table = space.tables.makeTable(Math.floor(page / TABLE_ENTRIES))!;
    mapCached(space, vma, table, page % TABLE_ENTRIES, frame, true);
  }
  space.machine.ledger.fault('fileShared');
  return 0;
}

function privateStore(space: AddressSpace, vma: Vma, node: FileNode, page: number): number {
  const { machine } = space;
  prepareIdentity(space, vma);
  const source = fetch(space, vma, node, page);
  if (source < 0) return source;
  const table = space.tables.makeTable(Math.floor(page / TABLE_ENTRIES))!;
  const index = page % TABLE_ENTRIES;
  const frame = machine.frames.allocate(PRIVATE_FRAME);
  machine.frames.copyContents(source, frame);
  machine.mapFrame(frame);
  const marked = (table.flags[index]! & PTE.uffd) !== 0;
  table.set(index, guarded(writableIfAllowed(freshEntry(vma) | SOFTWARE_DIRTY, vma), marked), frame);
  machine.ledger.fault('fileCopy');
  return 0;
}

/** The page-cache frame behind a page, or a signal. */
function fetch(space: AddressSpace, vma: Vma, node: FileNode, page: number): number {
  const index = vma.offsetOf(page);
  if (index >= node.sizePages) return ACCESS_SIGNAL.bus;
  if (!node.pages.has(index) && node.swappable && vma.has(VM.uffdMissing)) return ACCESS_SIGNAL.blocked;
  return cachePage(space.machine, node, index, sharedHugeWanted(space, vma, node, page));
}

/** shmem_is_huge for the kernel's own mount, where shared anonymous memory lives. */
function sharedHugeWanted(space: AddressSpace, vma: Vma, node: FileNode, page: number): boolean {
  const { features } = space.machine;
  if (features.sharedHugeNeedsSpace && !coversBlock(vma, Math.floor(page / TABLE_ENTRIES))) return false;
  const index = vma.offsetOf(page);
  const mode = space.machine.settings.sharedThp;
  if (node.kind !== 'shared-anonymous' && mode !== 'force') return false;
  if (vma.has(VM.noHugePage) || mode === 'deny') return false;
  if (mode === 'always' || mode === 'force') return true;
  if (mode === 'never') return false;
  if (mode === 'within_size' && (Math.floor(index / HUGE_FRAMES) + 1) * HUGE_FRAMES <= node.sizePages)
    return true;
  return vma.has(VM.hugePage);
}

/** do_fault_around: maps the cached neighbours; whether the wanted page itself is mapped now. */
function faultAround(space: AddressSpace, vma: Vma, node: FileNode, page: number): boolean {
  const block = Math.floor(page / TABLE_ENTRIES);
  const start = Math.max(page - (page % FAULT_AROUND_PAGES), vma.start);
  const end = Math.min(start + FAULT_AROUND_PAGES, (block + 1) * TABLE_ENTRIES, vma.end);
  let first = start;
  while (first < end && !mappableNearby(node, vma.offsetOf(first))) first++;
  if (first >= end) return false;
  if (space.tables.find(block) === undefined) {
    if (mapHugeCached(space, vma, page, node.pages.get(vma.offsetOf(first))!, false)) return true;
  }
  const table = space.tables.makeTable(block);
  if (table === undefined) return true;
  for (let near = first; near < end; near++) {
    const index = vma.offsetOf(near);
    const slot = near % TABLE_ENTRIES;
    if (table.flags[slot] !== 0 || !mappableNearby(node, index)) continue;
    mapCached(space, vma, table, slot, node.pages.get(index)!, false);
  }
  return table.flags[page % TABLE_ENTRIES] !== 0;
}

/** A cached page that a fault nearby maps along; one that is to trigger read-ahead waits for a fault of its own. */
function mappableNearby(node: FileNode, index: number): boolean {
  return index < node.sizePages && node.pages.has(index) && !node.readAheadMarks.has(index);
}

/** do_set_pte for a page of the cache. */
function mapCached(
  space: AddressSpace,
  vma: Vma,
  table: LeafTable,
  index: number,
  frame: number,
  store: boolean,
): void {
  const marked = (table.flags[index]! & PTE.uffd) !== 0;
  let flags = freshEntry(vma);
  if (store) flags = writableIfAllowed(flags | SOFTWARE_DIRTY, vma);
  space.machine.mapFrame(frame);
  table.set(index, guarded(flags, marked), frame);
}

/** Whether a mapping covers the whole 2 MiB block at the right file offset (transhuge_vma_suitable). */
export function coversBlock(vma: Vma, block: number): boolean {
  const start = block * TABLE_ENTRIES;
  if (start < vma.start || start + TABLE_ENTRIES > vma.end) return false;
  return vma.anonymous || (((vma.start - vma.offset) % TABLE_ENTRIES) + TABLE_ENTRIES) % TABLE_ENTRIES === 0;
}

/** do_set_pmd: maps a huge page of the cache as a whole, where there is no page table yet. */
export function mapHugeCached(
  space: AddressSpace,
  vma: Vma,
  page: number,
  frame: number,
  store: boolean,
): boolean {
  const { frames } = space.machine;
  const block = Math.floor(page / TABLE_ENTRIES);
  if (!(frames.flags[frame]! & FRAME.compound) || space.tables.find(block) !== undefined) return false;
  if (!coversBlock(vma, block)) return false;
  const head = frame - (frame % HUGE_FRAMES);
  let flags = freshEntry(vma);
  if (store) flags = writableIfAllowed(flags | SOFTWARE_DIRTY, vma);
  const compound = frames.compounds.get(head)!;
  compound.entire++;
  compound.total++;
  space.tables.attach(block, new HugeEntry(flags, head));
  return true;
}
