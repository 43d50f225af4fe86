/**
 * Flag bits of a page-table entry. The value beside the flags is a frame number (present) or a swap slot. On x86-64
 * the soft-dirty bit of a present entry is bit 11 (arch/x86/include/asm/pgtable_types.h); here all flags are packed.
 */
export const PTE = {
  present: 1 << 0,
  /** Hardware-writable. */
  write: 1 << 1,
  /** Hardware-dirty. Whatever sets it in software sets `soft` too (pte_mkdirty); the processor does not. */
  dirty: 1 << 2,
  accessed: 1 << 3,
  /** Soft-dirty, in present entries and in all others. */
  soft: 1 << 4,
  /** userfaultfd write-protected. */
  uffd: 1 << 5,
  /** pte_special: the zero page, which has no page structure of its own. */
  special: 1 << 6,
  /** A swap entry; the value is the slot. */
  swap: 1 << 7,
  /** A marker without page: of userfaultfd (with `uffd`) or of a guard page (with `guard`). */
  marker: 1 << 8,
  guard: 1 << 9,
  /** Swap entry of a page that was exclusive. */
  swapExclusive: 1 << 10,
  /** Present, but no access is allowed (PROT_NONE). */
  noAccess: 1 << 11,
} as const;

/** Entries of one table; also pages of a huge page. */
export const TABLE_ENTRIES = 512;

/** pte_mkdirty. */
export const SOFTWARE_DIRTY = PTE.dirty | PTE.soft;
