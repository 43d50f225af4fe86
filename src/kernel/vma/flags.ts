/** Flag bits of a mapping, numbered as in include/linux/mm.h. */
export const VM = {
  read: 0x1,
  write: 0x2,
  exec: 0x4,
  shared: 0x8,
  mayRead: 0x10,
  mayWrite: 0x20,
  mayExec: 0x40,
  mayShare: 0x80,
  growsDown: 0x100,
  uffdMissing: 0x200,
  pfnMap: 0x400,
  uffdWp: 0x1000,
  locked: 0x2000,
  io: 0x4000,
  sequential: 0x8000,
  random: 0x10000,
  dontCopy: 0x20000,
  dontExpand: 0x40000,
  lockOnFault: 0x80000,
  account: 0x100000,
  noReserve: 0x200000,
  hugeTlb: 0x400000,
  wipeOnFork: 0x2000000,
  dontDump: 0x4000000,
  softDirty: 0x8000000,
  hugePage: 0x20000000,
  noHugePage: 0x40000000,
  mergeable: 0x80000000 | 0,
} as const;

export const VM_ACCESS = VM.read | VM.write | VM.exec;

/** What lets a program load data: on x86 a protection key keeps it out of memory that may only be executed. */
export const VM_LOADABLE = VM.read | VM.write;
/** Mappings that never merge and are skipped by much. */
export const VM_SPECIAL = VM.io | VM.dontExpand | VM.pfnMap;
export const VM_UFFD = VM.uffdMissing | VM.uffdWp;
export const VM_LOCKED_ANY = VM.locked | VM.lockOnFault;

/** Two-letter codes in the order of show_smap_vma_flags (fs/proc/task_mmu.c). */
const CODES: readonly (readonly [number, string])[] = [
  [VM.read, 'rd'],
  [VM.write, 'wr'],
  [VM.exec, 'ex'],
  [VM.shared, 'sh'],
  [VM.mayRead, 'mr'],
  [VM.mayWrite, 'mw'],
  [VM.mayExec, 'me'],
  [VM.mayShare, 'ms'],
  [VM.growsDown, 'gd'],
  [VM.pfnMap, 'pf'],
  [VM.locked, 'lo'],
  [VM.io, 'io'],
  [VM.sequential, 'sr'],
  [VM.random, 'rr'],
  [VM.dontCopy, 'dc'],
  [VM.dontExpand, 'de'],
  [VM.lockOnFault, 'lf'],
  [VM.account, 'ac'],
  [VM.noReserve, 'nr'],
  [VM.hugeTlb, 'ht'],
  [VM.wipeOnFork, 'wf'],
  [VM.dontDump, 'dd'],
  [VM.softDirty, 'sd'],
  [VM.hugePage, 'hg'],
  [VM.noHugePage, 'nh'],
  [VM.mergeable, 'mg'],
  [VM.uffdMissing, 'um'],
  [VM.uffdWp, 'uw'],
];

/** The codes of the VmFlags line of smaps. */
export function flagCodes(flags: number): string[] {
  return CODES.filter(([bit]) => (flags & bit) !== 0).map(([, code]) => code);
}
