import { CLEAR_REFS } from '../../procfs/index.ts';
import { ERRNO } from '../abi.ts';
import type { AddressSpace } from '../address-space.ts';
import { FRAME } from '../memory/frames.ts';
import { PTE, TABLE_ENTRIES } from '../pagetable/entry.ts';
import { type Block, type LeafTable, SUMMARY } from '../pagetable/tables.ts';
import { VM } from '../vma/flags.ts';
import type { Vma } from '../vma/vma.ts';
import { residentPages } from './resident.ts';

/** Bytes of the text that the kernel looks at. */
const TEXT_LIMIT = 12;

/** What write(2) to clear_refs says about `bytes`: the value, or a negative errno. */
export function parseClearRefs(bytes: Uint8Array): number {
  const seen = bytes.subarray(0, TEXT_LIMIT);
  const zero = seen.indexOf(0);
  const text = Buffer.from(zero < 0 ? seen : seen.subarray(0, zero))
    .toString('latin1')
    .replace(/^[\t-\r \u00a0]+|[\t-\r \u00a0]+$/g, '');
  if (!/^[+-]?\d+$/.test(text)) return -ERRNO.EINVAL;
  const value = Number(text);
  if (value > 0x7fffffff || value < -0x80000000) return -ERRNO.ERANGE;
  return value >= CLEAR_REFS.referencedAll && value <= CLEAR_REFS.resetPeakResident ? value : -ERRNO.EINVAL;
}

/** clear_refs_write (fs/proc/task_mmu.c): bytes taken, or a negative errno. A process without memory is fine. */
export function writeClearRefs(space: AddressSpace | undefined, bytes: Uint8Array): number {
  const value = parseClearRefs(bytes);
  if (value < 0) return value;
  if (space !== undefined) clearReferences(space, value);
  return Math.min(bytes.length, TEXT_LIMIT);
}

function clearReferences(space: AddressSpace, value: number): void {
  if (value === CLEAR_REFS.resetPeakResident) {
    space.peakResident = residentPages(space);
    return;
  }
  if (value === CLEAR_REFS.softDirty) {
    clearSoftDirty(space);
    return;
  }
  for (const vma of space.vmas.items) {
    if (vma.has(VM.pfnMap) || vma.hugeTlb) continue;
    const hasFile = vma.file !== null;
    if (value === CLEAR_REFS.referencedAnonymous && hasFile) continue;
    if (value === CLEAR_REFS.referencedMapped && !hasFile) continue;
    forgetAccesses(space, vma);
  }
}

function forgetAccesses(space: AddressSpace, vma: Vma): void {
  forEachPart(space, vma, 0, (found, from, to) => {
    if (found.huge) {
      found.flags &= ~PTE.accessed;
      return;
    }
    for (let index = from; index < to; index++) {
      if (found.flags[index]! & PTE.present) found.flags[index]! &= ~PTE.accessed;
    }
  });
}

/**
 * Value 4: tracking begins anew. VM_SOFTDIRTY goes from every mapping; every entry loses soft-dirty and, so that the
 * next store faults, its write permission. Tables with neither kind of entry are left alone, which nobody can see.
 */
function clearSoftDirty(space: AddressSpace): void {
  const { machine } = space;
  machine.softDirtySwitch = true;
  machine.ledger.charge('clearCall');
  machine.ledger.charge('clearMapping', space.vmas.items.length);
  chargeTables(space);
  if (!machine.softDirty) return;
  for (const vma of space.vmas.items) {
    if (!vma.has(VM.softDirty)) continue;
    vma.flags &= ~VM.softDirty;
    space.setPageProtection(vma);
  }
  for (const vma of space.vmas.items) {
    if (vma.has(VM.pfnMap) || vma.hugeTlb) continue;
    forEachPart(space, vma, SUMMARY.armed, (found, from, to) => {
      if (found.huge) found.flags &= ~(PTE.write | PTE.soft);
      else clearTable(space, vma, found, from, to);
    });
  }
}

/** clear_soft_dirty for the entries of one table. A page pinned for DMA stays writable and soft-dirty. */
function clearTable(space: AddressSpace, vma: Vma, table: LeafTable, from: number, to: number): void {
  const { frames } = space.machine;
  const pins = space.hasPinned && vma.copyOnWrite;
  for (let index = from; index < to; index++) {
    const flags = table.flags[index]!;
    if (!(flags & (PTE.soft | PTE.write))) continue;
    if (pins && flags & PTE.write && frames.isPinned(table.values[index]!)) {
      if (frames.flags[table.values[index]!]! & FRAME.anonymous) continue;
    }
    table.setFlags(index, flags & ~(PTE.soft | PTE.write));
  }
}

/** A real clear looks at every slot of every table, whatever is in it. */
function chargeTables(space: AddressSpace): void {
  const { ledger } = space.machine;
  space.tables.forEachBlock(0, 2 ** 26, (_, found) => {
    ledger.charge('clearTable');
    if (!found.huge) ledger.charge('clearEntry', found.used);
  });
}

function forEachPart(
  space: AddressSpace,
  vma: Vma,
  needed: number,
  visit: (found: Block, from: number, to: number) => void,
): void {
  const first = Math.floor(vma.start / TABLE_ENTRIES);
  const last = Math.ceil(vma.end / TABLE_ENTRIES);
  space.tables.forEachSummary(first, last, needed, (block, found) => {
    const base = block * TABLE_ENTRIES;
    visit(found, Math.max(vma.start, base) - base, Math.min(vma.end, base + TABLE_ENTRIES) - base);
  });
}
