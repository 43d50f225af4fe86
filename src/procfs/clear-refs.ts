/** What a number written to /proc/PID/clear_refs does (fs/proc/task_mmu.c, clear_refs_write). */
export const CLEAR_REFS = {
  /** Forget "referenced" for all pages. */
  referencedAll: 1,
  /** The same, mappings without a file only. */
  referencedAnonymous: 2,
  /** The same, file mappings only. */
  referencedMapped: 3,
  /** Clear soft-dirty and write-protect, so that the next store is seen. */
  softDirty: 4,
  /** Reset the peak resident set size (VmHWM). */
  resetPeakResident: 5,
} as const;
