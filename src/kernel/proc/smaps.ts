import { formatMapsLine, type MapsEntry } from '../../procfs/index.ts';
import type { AddressSpace } from '../address-space.ts';
import { coversBlock } from '../fault/file.ts';
import { hugeAllowed } from '../fault/huge.ts';
import { FRAME } from '../memory/frames.ts';
import { PTE, TABLE_ENTRIES } from '../pagetable/entry.ts';
import { flagCodes, VM } from '../vma/flags.ts';
import type { Vma } from '../vma/vma.ts';

/** One mapping as maps shows it, with the codes of its VmFlags line. */
export interface MappingView extends MapsEntry {
  readonly flags: readonly string[];
}

const DEVICE_OF_KIND = {
  tmpfs: [0, 0x1d],
  ext4: [7, 0],
  'shared-anonymous': [0, 1],
  hugetlb: [0, 0x0f],
  program: [0, 2],
} as const;

/** The mappings of a process in address order. */
export function mappingViews(space: AddressSpace): MappingView[] {
  return space.vmas.items.map((vma) => mappingView(space, vma));
}

/** Text of /proc/PID/maps. */
export function mapsText(space: AddressSpace): string {
  return mappingViews(space)
    .map((view) => `${formatMapsLine(view)}\n`)
    .join('');
}

/** Text of /proc/PID/smaps. */
export function smapsText(space: AddressSpace): string {
  return space.vmas.items.map((vma) => smapsOf(space, vma)).join('');
}

function mappingView(space: AddressSpace, vma: Vma): MappingView {
  const node = vma.file?.node;
  const [deviceMajor, deviceMinor] = node === undefined ? [0, 0] : DEVICE_OF_KIND[node.kind];
  const hidden = space.machine.softDirty ? 0 : VM.softDirty;
  return {
    startPage: vma.start,
    endPage: vma.end,
    read: vma.has(VM.read),
    write: vma.has(VM.write),
    execute: vma.has(VM.exec),
    shared: vma.has(VM.mayShare),
    offsetPages: node === undefined ? 0 : vma.offset,
    deviceMajor,
    deviceMinor,
    inode: node?.id ?? 0,
    pathname: pathnameOf(space, vma),
    flags: flagCodes(vma.flags & ~hidden),
  };
}

function pathnameOf(space: AddressSpace, vma: Vma): string {
  if (vma.special !== '') return vma.special;
  const node = vma.file?.node;
  if (node !== undefined) {
    return node.unnamed ? `${node.path} (deleted)` : node.path;
  }
  if (vma.start < space.breakPage && vma.end > space.startBreak) return '[heap]';
  if (vma.start <= space.stackPage && vma.end > space.stackPage) return '[stack]';
  return '';
}

/** Sums of smap_gather_stats, in bytes. */
interface Tally {
  rss: number;
  pss: number;
  pssDirty: number;
  sharedClean: number;
  sharedDirty: number;
  privateClean: number;
  privateDirty: number;
  referenced: number;
  anonymous: number;
  ksm: number;
  lazyFree: number;
  anonymousHuge: number;
  sharedHuge: number;
  sharedHugeTlb: number;
  privateHugeTlb: number;
  swap: number;
  swapPss: number;
  locked: number;
}

function smapsOf(space: AddressSpace, vma: Vma): string {
  const tally = gather(space, vma);
  const pageKilobytes = vma.hugeTlb ? 2048 : 4;
  const eligible = hugeAllowed(space, vma) && coversBlock(vma, Math.ceil(vma.start / TABLE_ENTRIES)) ? 1 : 0;
  const sizes: [string, number][] = [
    ['Size', (vma.end - vma.start) * 4],
    ['KernelPageSize', pageKilobytes],
    ['MMUPageSize', pageKilobytes],
    ['Rss', tally.rss / 1024],
    ['Pss', Math.floor(tally.pss / 1024)],
    ['Pss_Dirty', Math.floor(tally.pssDirty / 1024)],
    ['Shared_Clean', tally.sharedClean / 1024],
    ['Shared_Dirty', tally.sharedDirty / 1024],
    ['Private_Clean', tally.privateClean / 1024],
    ['Private_Dirty', tally.privateDirty / 1024],
    ['Referenced', tally.referenced / 1024],
    ['Anonymous', tally.anonymous / 1024],
    ...(space.machine.features.smapsKsm ? [['KSM', tally.ksm / 1024] as [string, number]] : []),
    ['LazyFree', tally.lazyFree / 1024],
    ['AnonHugePages', tally.anonymousHuge / 1024],
    ['ShmemPmdMapped', tally.sharedHuge / 1024],
    ['FilePmdMapped', 0],
    ['Shared_Hugetlb', tally.sharedHugeTlb / 1024],
    ['Private_Hugetlb', tally.privateHugeTlb / 1024],
    ['Swap', tally.swap / 1024],
    ['SwapPss', Math.floor(tally.swapPss / 1024)],
    ['Locked', vma.has(VM.locked) ? Math.floor(tally.pss / 1024) : 0],
  ];
  const view = mappingView(space, vma);
  const lines = sizes.map(([name, value]) => `${`${name}:`.padEnd(16)}${String(value).padStart(8)} kB\n`);
  const thp = `THPeligible:    ${space.machine.features.smapsKsm ? String(eligible).padStart(8) : eligible}\n`;
  return `${formatMapsLine(view)}\n${lines.join('')}${thp}VmFlags: ${view.flags.map((code) => `${code} `).join('')}\n`;
}

function gather(space: AddressSpace, vma: Vma): Tally {
  const tally: Tally = {
    rss: 0,
    pss: 0,
    pssDirty: 0,
    sharedClean: 0,
    sharedDirty: 0,
    privateClean: 0,
    privateDirty: 0,
    referenced: 0,
    anonymous: 0,
    ksm: 0,
    lazyFree: 0,
    anonymousHuge: 0,
    sharedHuge: 0,
    sharedHugeTlb: 0,
    privateHugeTlb: 0,
    swap: 0,
    swapPss: 0,
    locked: 0,
  };
  if (vma.has(VM.pfnMap)) return tally;
  const first = Math.floor(vma.start / TABLE_ENTRIES);
  space.tables.forEachBlock(first, Math.ceil(vma.end / TABLE_ENTRIES), (block, found) => {
    const base = block * TABLE_ENTRIES;
    const from = Math.max(vma.start, base) - base;
    const to = Math.min(vma.end, base + TABLE_ENTRIES) - base;
    for (let index = from; index < to; index++) {
      const flags = found.huge ? found.flags : found.flags[index]!;
      const value = found.huge ? found.frame + index : found.values[index]!;
      if (flags & PTE.swap) {
        tally.swap += 4096;
        tally.swapPss += 4096 / Math.max(1, space.machine.swap.users[value]!);
      } else if ((flags & (PTE.present | PTE.special)) === PTE.present) {
        account(space, vma, tally, flags, value, found.huge);
      }
    }
  });
  if (vma.file?.node.swappable && vma.has(VM.shared)) addSharedSwap(vma, tally);
  return tally;
}

/** smaps_account for one page. */
function account(
  space: AddressSpace,
  vma: Vma,
  tally: Tally,
  flags: number,
  frame: number,
  huge: boolean,
): void {
  const { frames } = space.machine;
  const state = frames.flags[frame]!;
  const mappings = Math.max(1, frames.mappings(frame));
  if (vma.hugeTlb) {
    if (mappings > 1) tally.sharedHugeTlb += 4096;
    else tally.privateHugeTlb += 4096;
    return;
  }
  const dirty = (flags & PTE.dirty) !== 0 || (state & FRAME.dirty) !== 0;
  tally.rss += 4096;
  tally.pss += 4096 / mappings;
  if (dirty) tally.pssDirty += 4096 / mappings;
  if (mappings > 1) {
    if (dirty) tally.sharedDirty += 4096;
    else tally.sharedClean += 4096;
  } else if (dirty) tally.privateDirty += 4096;
  else tally.privateClean += 4096;
  if (flags & PTE.accessed) tally.referenced += 4096;
  if (state & FRAME.ksm) tally.ksm += 4096;
  if (state & FRAME.anonymous) {
    tally.anonymous += 4096;
    if (!(state & FRAME.swapBacked) && !dirty) tally.lazyFree += 4096;
    if (huge) tally.anonymousHuge += 4096;
  } else if (huge) tally.sharedHuge += 4096;
}

/** Pages of a shared mapping that are in swap have no entry; the file knows them (shmem_swap_usage). */
function addSharedSwap(vma: Vma, tally: Tally): void {
  for (const index of vma.file!.node.swapped.keys()) {
    if (index >= vma.offset && index < vma.offset + (vma.end - vma.start)) tally.swap += 4096;
  }
}
