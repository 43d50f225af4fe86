import type { Vma } from './view.ts';

/**
 * Which pages of a mapping a checkpoint keeps (CRIU criu/mem.c, should_dump_page and vma_area_is_private; what is not
 * kept can be had from elsewhere, or has no contents of its own).
 */
export type PageRule =
  /** Present or swapped pages: private anonymous memory. */
  | 'existing'
  /** The same without pages that still follow the file: private mappings of files. */
  | 'copied'
  /** Pages of a memory object that other processes may have filled: shared anonymous, System V, memfd. */
  | 'object'
  /** Present pages, and always all of them, for the kernel tracks none: hugetlb. */
  | 'untracked'
  /** Every page, present or not: small areas that the kernel fills, such as the vDSO. */
  | 'every'
  | 'none';

/** What a dump does with one mapping, and why: the sentence that `ckpt show` prints. */
export interface MappingDecision {
  readonly vma: Vma;
  readonly rule: PageRule;
  readonly reason: string;
}

/** Names of memory objects that have no other home than memory (mm/shmem.c, ipc/shm.c, mm/memfd.c, fs/hugetlbfs). */
const MEMORY_OBJECT = /^\/(?:dev\/zero|memfd:|SYSV[0-9a-f]{8}|anon_hugepage)/;

/** Decides about one mapping. */
export function decideMapping(vma: Vma): MappingDecision {
  const excluded = exclusionReason(vma);
  if (excluded !== undefined) return { vma, rule: 'none', reason: excluded };
  if (vma.pathname === '[vdso]' || vma.pathname === '[sigpage]') {
    return { vma, rule: 'every', reason: 'code from the kernel, kept to compare with where it is restored' };
  }
  if (vma.pathname.startsWith('/[aio]')) {
    return { vma, rule: 'every', reason: 'ring of asynchronous I/O events' };
  }
  if (vma.flags.includes('ht') || vma.pathname.startsWith('/anon_hugepage')) {
    return {
      vma,
      rule: 'untracked',
      reason: 'huge pages of hugetlbfs, whose changes the kernel does not track',
    };
  }
  if (vma.shared) return { vma, rule: 'object', reason: 'shared memory without a file' };
  if (vma.inode === 0 || vma.pathname.startsWith('/dev/zero')) {
    return { vma, rule: 'existing', reason: 'private memory' };
  }
  return { vma, rule: 'copied', reason: 'private pages of a file mapping; the others are in the file' };
}

/** Decides about all mappings of a process, in the order given. */
export function decideMappings(vmas: readonly Vma[]): MappingDecision[] {
  return vmas.map(decideMapping);
}

/** The mappings of which a dump keeps anything. */
export function selectMappings(vmas: readonly Vma[]): Vma[] {
  return vmas.filter((vma) => exclusionReason(vma) === undefined);
}

function exclusionReason(vma: Vma): string | undefined {
  const { pathname, flags } = vma;
  if (pathname.startsWith('[vvar')) return 'clock data of the running kernel';
  if (pathname === '[vsyscall]' || pathname === '[vectors]') return 'a fixed page of the running kernel';
  if (pathname === '[uprobes]') return 'trampolines of a kernel probe';
  if (flags.includes('pf') || flags.includes('io')) return 'memory of a device';
  if (flags.includes('dp')) return 'droppable memory: the program expects it to vanish at any time';
  if (pathname.startsWith('/secretmem')) return 'secret memory: unreadable even for the kernel';
  if (!vma.shared || pathname === '' || MEMORY_OBJECT.test(pathname)) return undefined;
  if (pathname.startsWith('/[aio]')) return undefined;
  if (/^\/dev\/(?!shm\/|hugepages\/)/.test(pathname)) return 'memory of a device';
  if (pathname.startsWith('anon_inode:'))
    return 'memory of a kernel object that cannot be restored by contents';
  if (pathname.endsWith(' (deleted)')) return 'shared mapping of a deleted file: contents go with the file';
  return 'shared mapping of a file: the contents are in the file';
}
