import type { Vma } from '../view.ts';

/** Mappings of the kernel that a process can move or drop, but not make. */
const MOVABLE_SPECIAL: ReadonlySet<string> = new Set(['[vdso]', '[vvar]', '[vvar_vclock]']);
/** Mappings of the kernel that are where they are: they are left alone. */
const FIXED_SPECIAL: ReadonlySet<string> = new Set(['[vsyscall]', '[vectors]', '[sigpage]', '[uprobes]']);

const DELETED = ' (deleted)';

export function isMovableSpecial({ pathname }: Vma): boolean {
  return MOVABLE_SPECIAL.has(pathname);
}

export function isFixedSpecial({ pathname }: Vma): boolean {
  return FIXED_SPECIAL.has(pathname);
}

/** Private memory without a file: the heap, stacks, and what malloc and mmap give out. */
export function isPrivateAnonymous(vma: Vma): boolean {
  return !vma.shared && vma.inode === 0 && !isMovableSpecial(vma) && !isFixedSpecial(vma);
}

export function growsDown({ flags, pathname }: Vma): boolean {
  return flags.length === 0 ? pathname === '[stack]' : flags.includes('gd');
}

/** The name that the program gave to anonymous memory (PR_SET_VMA_ANON_NAME); '' if none. */
export function anonymousName({ pathname }: Vma): string {
  return /^\[anon(?:_shmem)?:(.*)\]$/.exec(pathname)?.[1] ?? '';
}

/** The path of a mapped file without the kernel's note that it has no name any more. */
export function pathOf({ pathname }: Vma): string {
  return pathname.endsWith(DELETED) ? pathname.slice(0, -DELETED.length) : pathname;
}

export function isDeleted({ pathname }: Vma): boolean {
  return pathname.endsWith(DELETED);
}

/**
 * Whether page n of one mapping and page n of the other are the same page of the same thing, so that one can take the
 * other's place by a change of protection and advice alone.
 */
export function isSameObject(left: Vma, right: Vma): boolean {
  if (left.shared !== right.shared) return false;
  if (isMovableSpecial(left) || isMovableSpecial(right) || isFixedSpecial(left) || isFixedSpecial(right)) {
    return left.pathname === right.pathname && left.startPage === right.startPage;
  }
  if (left.inode === 0 || right.inode === 0) {
    return left.inode === right.inode && left.shared === right.shared && isSameKindOfMemory(left, right);
  }
  return (
    left.inode === right.inode &&
    left.deviceMajor === right.deviceMajor &&
    left.deviceMinor === right.deviceMinor &&
    left.offsetPages - left.startPage === right.offsetPages - right.startPage &&
    pathOf(left) === pathOf(right)
  );
}

/** Flags that a mapping has from its beginning: stack, huge pages, shadow stack, droppable. */
const FLAGS_FOR_LIFE = ['ht', 'ss', 'dp'] as const;

function isSameKindOfMemory(left: Vma, right: Vma): boolean {
  if (growsDown(left) !== growsDown(right)) return false;
  if (left.flags.length === 0 || right.flags.length === 0) return true;
  return FLAGS_FOR_LIFE.every((flag) => left.flags.includes(flag) === right.flags.includes(flag));
}

/** Why a mapping cannot be made anew, as a clause; undefined if it can. Whether its file can be had is not asked. */
export function whyNotAgain(vma: Vma): string | undefined {
  const { pathname, flags } = vma;
  const name = pathname === '' ? 'memory' : pathname;
  if (isMovableSpecial(vma) || isFixedSpecial(vma)) {
    return `${name} of the kernel is gone, or has another size now, and cannot be made`;
  }
  if (flags.includes('pf') || flags.includes('io') || /^\/dev\/(?!shm\/|zero\b|hugepages\/)/.test(pathname)) {
    return `the device memory ${name} cannot be mapped again`;
  }
  if (/^\/SYSV[0-9a-f]{8}/.test(pathname)) return `the System V segment ${name} cannot be attached again`;
  if (flags.includes('ht') || pathname.startsWith('/anon_hugepage')) {
    return `${name} of huge pages cannot be mapped again`;
  }
  if (pathname.startsWith('/[aio]')) return 'the ring of asynchronous I/O cannot be made again';
  if (pathname.startsWith('anon_inode:')) return `memory of the kernel object ${name} cannot be mapped again`;
  if (pathname.startsWith('/secretmem')) return 'secret memory cannot be brought back';
  if (flags.includes('ss')) return 'a shadow stack cannot be made again';
  return undefined;
}
