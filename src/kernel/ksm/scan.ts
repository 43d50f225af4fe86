import { type AddressSpace, protectionBits } from '../address-space.ts';
import type { Machine } from '../machine.ts';
import { FRAME, HUGE_FRAMES, ZERO_FRAME } from '../memory/frames.ts';
import { PTE, SOFTWARE_DIRTY, TABLE_ENTRIES } from '../pagetable/entry.ts';
import type { LeafTable } from '../pagetable/tables.ts';
import { splitHugePage } from '../thp/split.ts';
import { VM } from '../vma/flags.ts';
import type { Vma } from '../vma/vma.ts';
import { breakMerge, unmergeRange } from './unmerge.ts';

/** max_page_sharing: mappings that one merged page may have before another one is begun. */
const SHARING_LIMIT = 256;

/** A page that was seen in this scan and has no duplicate yet (the unstable tree). */
interface Candidate {
  readonly space: AddressSpace;
  readonly vma: Vma;
  readonly page: number;
}

/**
 * Full scans of ksmd over all mergeable memory until nothing changes any more. Pages are visited process by process
 * in the order of enrolment, by ascending address (mm/ksm.c).
 */
export function scanDuplicates(machine: Machine): void {
  for (;;) {
    const unstable = new Map<string, Candidate>();
    let merged = 0;
    for (const space of enrolled(machine)) {
      for (const vma of space.vmas.items) {
        if (vma.has(VM.mergeable) && vma.anonVma !== null)
          merged += scanMapping(machine, space, vma, unstable);
      }
    }
    if (merged === 0) return;
  }
}

/** Undoes all merging (run = 2). */
export function unmergeAll(machine: Machine): void {
  for (const space of enrolled(machine)) {
    for (const vma of space.vmas.items)
      if (vma.has(VM.mergeable)) unmergeRange(space, vma, vma.start, vma.end);
  }
}

function enrolled(machine: Machine): AddressSpace[] {
  return machine.spaces.filter((space) => space.ksmOrder !== 0).sort((a, b) => a.ksmOrder - b.ksmOrder);
}

function scanMapping(
  machine: Machine,
  space: AddressSpace,
  vma: Vma,
  unstable: Map<string, Candidate>,
): number {
  let merged = 0;
  for (let page = vma.start; page < vma.end; page++) {
    const found = space.tables.find(Math.floor(page / TABLE_ENTRIES));
    if (found === undefined) {
      page += TABLE_ENTRIES - 1 - (page % TABLE_ENTRIES);
      continue;
    }
    const frame = privateFrame(machine, space, page);
    if (frame !== 0) merged += visit(machine, { space, vma, page }, frame, unstable);
  }
  return merged;
}

/** The frame of a present private page that is not merged yet; 0 otherwise. */
function privateFrame(machine: Machine, space: AddressSpace, page: number): number {
  const found = space.tables.find(Math.floor(page / TABLE_ENTRIES));
  if (found === undefined) return 0;
  const index = page % TABLE_ENTRIES;
  const flags = found.huge ? found.flags : found.flags[index]!;
  if (!(flags & PTE.present) || flags & PTE.special) return 0;
  const frame = found.huge ? found.frame + index : found.values[index]!;
  const state = machine.frames.flags[frame]!;
  return state & FRAME.anonymous && !(state & FRAME.ksm) ? frame : 0;
}

/** cmp_and_merge_page; how many pages were merged. */
function visit(machine: Machine, item: Candidate, frame: number, unstable: Map<string, Candidate>): number {
  const contents = machine.frames.fingerprint(frame);
  const known = machine.ksmStable.get(contents);
  if (known !== undefined && machine.frames.mapCount[known]! < SHARING_LIMIT) {
    return mergeInto(machine, item, known) ? 1 : 0;
  }
  if (machine.settings.ksmZeroPages && machine.frames.sameContents(frame, ZERO_FRAME)) {
    return mergeInto(machine, item, ZERO_FRAME) ? 1 : 0;
  }
  const twin = unstable.get(contents);
  if (twin === undefined) {
    unstable.set(contents, item);
    return 0;
  }
  const other = privateFrame(machine, twin.space, twin.page);
  if (other === 0 || other === frame || !machine.frames.sameContents(other, frame)) {
    unstable.set(contents, item);
    return 0;
  }
  // Two pages of one huge page are not merged at once: the huge page is split, and later scans go on.
  const { flags } = machine.frames;
  if (
    flags[frame]! & flags[other]! & FRAME.compound &&
    Math.floor(frame / HUGE_FRAMES) === Math.floor(other / HUGE_FRAMES)
  ) {
    return splitHugePage(item.space, frame - (frame % HUGE_FRAMES)) ? 1 : 0;
  }
  // The page that is met second becomes the shared one and keeps its entry; the first is replaced.
  if (!writeProtect(machine, item)) return 0;
  const shared = privateFrame(machine, item.space, item.page);
  machine.frames.flags[shared]! |= FRAME.ksm;
  machine.frames.flags[shared]! &= ~FRAME.exclusive;
  if (!mergeInto(machine, twin, shared)) {
    breakMerge(item.space, item.vma, item.page);
    return 0;
  }
  machine.ksmStable.set(contents, shared);
  unstable.delete(contents);
  return 2;
}

function tableOf(item: Candidate): LeafTable | undefined {
  const block = Math.floor(item.page / TABLE_ENTRIES);
  const found = item.space.tables.find(block);
  if (found?.huge) {
    splitHugePage(item.space, found.frame);
  } else if (found !== undefined) {
    const frame = found.values[item.page % TABLE_ENTRIES]!;
    const { frames } = item.space.machine;
    if (frames.flags[frame]! & FRAME.compound) splitHugePage(item.space, frame - (frame % HUGE_FRAMES));
  }
  const table = item.space.tables.find(block);
  return table === undefined || table.huge ? undefined : table;
}

/** write_protect_page; fails if something besides the page tables holds the page. */
function writeProtect(machine: Machine, item: Candidate): boolean {
  const table = tableOf(item);
  if (table === undefined) return false;
  const index = item.page % TABLE_ENTRIES;
  const flags = table.flags[index]!;
  const frame = table.values[index]!;
  const { frames } = machine;
  if (frames.references[frame] !== 0) return false;
  if (flags & PTE.dirty) frames.flags[frame]! |= FRAME.dirty;
  frames.flags[frame]! &= ~FRAME.exclusive;
  table.setFlags(index, flags & ~(PTE.write | PTE.dirty));
  return true;
}

/** replace_page: the entry now maps the shared page; its soft-dirty bit is lost. */
function mergeInto(machine: Machine, item: Candidate, shared: number): boolean {
  if (!writeProtect(machine, item)) return false;
  const table = tableOf(item)!;
  const index = item.page % TABLE_ENTRIES;
  const old = table.values[index]!;
  const fresh = PTE.present | protectionBits(item.vma);
  if (shared === ZERO_FRAME) {
    const dirty = machine.features.ksmZeroDirty ? SOFTWARE_DIRTY : 0;
    table.set(index, fresh | PTE.special | dirty, ZERO_FRAME);
  } else {
    machine.mapFrame(shared);
    table.set(index, fresh, shared);
  }
  machine.unmapFrame(old);
  return true;
}
