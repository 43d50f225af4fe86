import { UFFD_FEATURE } from './abi.ts';

/** The kernels whose behaviour is known from recordings: Debian builds 6.1.192, 6.12.107, 6.18.15 and 7.2.12. */
export type KernelVersion = '6.1' | '6.12' | '6.18' | '7.2';

export const KERNEL_VERSIONS: readonly KernelVersion[] = ['6.1', '6.12', '6.18', '7.2'];

/** Whether /proc/PID/mem may ignore what a mapping forbids (proc_mem.force_override). */
export type ForceOverride = 'always' | 'never';

/** Every way in which the versions differ, by name; the rest of the kernel asks for features, never for versions. */
export interface KernelFeatures {
  /** As uname -r prints it. */
  readonly release: string;
  /** 6.7: ioctl(PAGEMAP_SCAN). */
  readonly pagemapScan: boolean;
  /**
   * PAGEMAP_SCAN: an empty slot of an existing page table counts as WRITTEN, and so does a missing page table where the
   * mapping is registered for write protection (not on 6.18).
   */
  readonly scanEmptySlotWritten: boolean;
  /** 6.15: bit 58 of pagemap and category GUARD. */
  readonly guardReported: boolean;
  /** 6.13: MADV_GUARD_INSTALL and MADV_GUARD_REMOVE (for files too since 6.15). */
  readonly guardPages: boolean;
  /** 6.12: opening pagemap, maps or smaps of a process without memory fails with ESRCH. */
  readonly zombieFilesRefused: boolean;
  /** 6.12: a new range between two neighbours joins the lower one first (mm/vma.c, vma_merge_new_range). */
  readonly mergePrefersLower: boolean;
  /** 6.16: an unpopulated range may absorb a populated one unless that belongs to a fork child. */
  readonly mergeUnpopulatedBothWays: boolean;
  /** 6.19: VM_SOFTDIRTY survives every merge. */
  readonly softDirtySticky: boolean;
  /** 6.5: mprotect to read-only drops VM_ACCOUNT of anonymous memory that was never stored to. */
  readonly unaccountUnpopulated: boolean;
  /** 6.7: mremap aligns the leading part of a range down to move its whole page table. */
  readonly mremapRealigns: boolean;
  /** 6.17: mremap moves several mappings at once, and checks before it unmaps the target. */
  readonly mremapManyMappings: boolean;
  /** 6.4: the PTEs of a split hardware-dirty huge page are made dirty, and so soft-dirty. */
  readonly splitDirtiesEntries: boolean;
  /** 6.12: splitting a huge page maps the zero page for those of its pages that hold zeros. */
  readonly splitMapsZeroPages: boolean;
  /** 6.10: reclaim and MADV_FREE leave a huge page whole if they are given all of it. */
  readonly largePagesReclaimedWhole: boolean;
  /** 6.11: bit 56 of a huge page is that of each of its pages; before, that of the first. */
  readonly exclusivePerHugeSubpage: boolean;
  /** Until 6.6: MREMAP_DONTUNMAP does not merge its target with the mapping that it moves from. */
  readonly dontUnmapAvoidsSource: boolean;
  /** Until 6.15: read-ahead around a fault marks a page at its tail even if the file is short; see `readAround`. */
  readonly readAheadMarks: boolean;
  /** 6.6 to 7.2.x: changing the protection of a writable huge entry loses its hardware-dirty bit (pmd_modify). */
  readonly hugeProtectLosesDirty: boolean;
  /** 6.9: migrating a small page keeps soft-dirty exactly; before, a hardware-dirty page became soft-dirty. */
  readonly migrationKeepsSoftDirty: boolean;
  /** 6.2: leaving KSM unshares the page; before, it faked a store. */
  readonly ksmUnshares: boolean;
  /** 6.6: zero pages put in by KSM are dirty. */
  readonly ksmZeroDirty: boolean;
  /** 6.18: a store to the huge zero page allocates a huge page. */
  readonly hugeZeroStoreAllocates: boolean;
  /** 6.18: a block without any writable entry may be collapsed. */
  readonly collapseReadOnly: boolean;
  /** 6.11: a swapped-in exclusive page may be mapped writable by a load. */
  readonly swapInWritable: boolean;
  /** 6.2: mprotect restores write permission to exclusive anonymous pages that are not hardware-dirty, too. */
  readonly upgradeCleanAnonymous: boolean;
  /** 6.2: mprotect restores write permission of huge entries. */
  readonly upgradeHuge: boolean;
  /**
   * 6.1: lifting write protection of userfaultfd makes entries of shared memory writable even while soft-dirty is
   * tracked, so that the next store is missed; later the entries stay read-only.
   */
  readonly uffdResolveWritable: boolean;
  /** 6.4: UFFDIO_WRITEPROTECT may span several mappings. */
  readonly uffdSpansMappings: boolean;
  /** 6.12: MADV_POPULATE_READ and _WRITE stop at a hole; before, they skip it as other advice does. */
  readonly populateStopsAtHole: boolean;
  /** 6.12: shared memory takes a huge page only where the mapping can show it by a huge entry (shmem_suitable_orders). */
  readonly sharedHugeNeedsSpace: boolean;
  /** 6.5: a lasting pin of a shared mapping is refused where the file system has to be told of stores. */
  readonly pinChecksFileSystem: boolean;
  /** 6.14: MADV_DONTNEED frees a page table that it empties whole. */
  readonly discardFreesTables: boolean;
  /** Features that UFFDIO_API accepts. */
  readonly uffdFeatures: number;
  /** 6.8: UFFDIO_MOVE. */
  readonly uffdMove: boolean;
  /** Default of proc_mem.force_override in the recorded build. */
  readonly forceOverride: ForceOverride;
  /** The vvar area consists of ordinary file pages (seen on 7.2); before, it has none that page tables show. */
  readonly vvarHasPages: boolean;
  /** 6.7: smaps has a KSM line. */
  readonly smapsKsm: boolean;
}

const UFFD_FEATURES_6_1 = (1 << 13) - 1;
const UFFD_FEATURES_6_8 =
  UFFD_FEATURES_6_1 |
  UFFD_FEATURE.writeProtectUnpopulated |
  UFFD_FEATURE.poison |
  UFFD_FEATURE.writeProtectAsync |
  UFFD_FEATURE.move;

const LINUX_6_1: KernelFeatures = {
  release: '6.1.192',
  pagemapScan: false,
  scanEmptySlotWritten: false,
  guardReported: false,
  guardPages: false,
  zombieFilesRefused: false,
  mergePrefersLower: false,
  mergeUnpopulatedBothWays: false,
  softDirtySticky: false,
  unaccountUnpopulated: false,
  mremapRealigns: false,
  mremapManyMappings: false,
  splitDirtiesEntries: false,
  splitMapsZeroPages: false,
  largePagesReclaimedWhole: false,
  exclusivePerHugeSubpage: false,
  dontUnmapAvoidsSource: true,
  readAheadMarks: true,
  hugeProtectLosesDirty: false,
  migrationKeepsSoftDirty: false,
  ksmUnshares: false,
  ksmZeroDirty: false,
  hugeZeroStoreAllocates: false,
  collapseReadOnly: false,
  swapInWritable: false,
  upgradeCleanAnonymous: false,
  upgradeHuge: false,
  uffdResolveWritable: true,
  uffdSpansMappings: false,
  populateStopsAtHole: false,
  sharedHugeNeedsSpace: false,
  pinChecksFileSystem: false,
  discardFreesTables: false,
  uffdFeatures: UFFD_FEATURES_6_1,
  uffdMove: false,
  forceOverride: 'always',
  vvarHasPages: false,
  smapsKsm: false,
};

const LINUX_6_12: KernelFeatures = {
  ...LINUX_6_1,
  release: '6.12.107',
  pagemapScan: true,
  scanEmptySlotWritten: true,
  zombieFilesRefused: true,
  mergePrefersLower: true,
  unaccountUnpopulated: true,
  mremapRealigns: true,
  splitDirtiesEntries: true,
  splitMapsZeroPages: true,
  largePagesReclaimedWhole: true,
  exclusivePerHugeSubpage: true,
  dontUnmapAvoidsSource: false,
  hugeProtectLosesDirty: true,
  migrationKeepsSoftDirty: true,
  ksmUnshares: true,
  ksmZeroDirty: true,
  swapInWritable: true,
  upgradeCleanAnonymous: true,
  upgradeHuge: true,
  populateStopsAtHole: true,
  pinChecksFileSystem: true,
  sharedHugeNeedsSpace: true,
  uffdResolveWritable: false,
  uffdSpansMappings: true,
  uffdFeatures: UFFD_FEATURES_6_8,
  uffdMove: true,
  smapsKsm: true,
};

const LINUX_6_18: KernelFeatures = {
  ...LINUX_6_12,
  release: '6.18.15',
  scanEmptySlotWritten: false,
  guardReported: true,
  guardPages: true,
  mergeUnpopulatedBothWays: true,
  mremapManyMappings: true,
  hugeZeroStoreAllocates: true,
  collapseReadOnly: true,
  discardFreesTables: true,
  readAheadMarks: false,
};

const LINUX_7_2: KernelFeatures = {
  ...LINUX_6_18,
  release: '7.2.12',
  scanEmptySlotWritten: true,
  softDirtySticky: true,
  hugeProtectLosesDirty: false,
  forceOverride: 'never',
  vvarHasPages: true,
};

/** The feature table of each version. */
export const FEATURES: Readonly<Record<KernelVersion, KernelFeatures>> = {
  '6.1': LINUX_6_1,
  '6.12': LINUX_6_12,
  '6.18': LINUX_6_18,
  '7.2': LINUX_7_2,
};
