/** Numbers of the Linux system call interface (x86-64, include/uapi) that callers of the simulated kernel use. */

/** Error numbers; calls return them negated. */
export const ERRNO = {
  EPERM: 1,
  ENOENT: 2,
  ESRCH: 3,
  EINTR: 4,
  EIO: 5,
  E2BIG: 7,
  EBADF: 9,
  EAGAIN: 11,
  ENOMEM: 12,
  EACCES: 13,
  EFAULT: 14,
  EBUSY: 16,
  EEXIST: 17,
  ENODEV: 19,
  EINVAL: 22,
  ENOTTY: 25,
  ETXTBSY: 26,
  ENOSPC: 28,
  ERANGE: 34,
  ENOSYS: 38,
  EOVERFLOW: 75,
  EOPNOTSUPP: 95,
} as const;

const ERRNO_NAMES = new Map(Object.entries(ERRNO).map(([name, number]) => [number as number, name]));

/** `EINVAL` for 22 and for -22; `E123` for a number without a name here. */
export function errnoName(error: number): string {
  const number = Math.abs(error);
  return ERRNO_NAMES.get(number) ?? `E${number}`;
}

/**
 * What a load or a store returns instead of a count when it cannot complete: the signal that it raises, or `blocked`
 * when it would wait for somebody to serve a userfaultfd.
 */
export const ACCESS_SIGNAL = { segmentation: -10001, bus: -10002, blocked: -10003 } as const;

/** Protection bits of mmap and mprotect. */
export const PROT = { none: 0, read: 1, write: 2, execute: 4 } as const;

/** Flags of mmap. */
export const MAP = {
  shared: 0x01,
  private: 0x02,
  fixed: 0x10,
  anonymous: 0x20,
  growsDown: 0x100,
  locked: 0x2000,
  noReserve: 0x4000,
  populate: 0x8000,
  hugeTlb: 0x40000,
  fixedNoReplace: 0x100000,
} as const;

/** Flags of mremap. */
export const MREMAP = { mayMove: 1, fixed: 2, dontUnmap: 4 } as const;

/** Flags of mlockall. */
export const MCL = { current: 1, future: 2, onFault: 4 } as const;

/** Advice of madvise. */
export const MADV = {
  normal: 0,
  random: 1,
  sequential: 2,
  willNeed: 3,
  dontNeed: 4,
  free: 8,
  remove: 9,
  dontFork: 10,
  doFork: 11,
  mergeable: 12,
  unmergeable: 13,
  hugePage: 14,
  noHugePage: 15,
  dontDump: 16,
  doDump: 17,
  wipeOnFork: 18,
  keepOnFork: 19,
  cold: 20,
  pageOut: 21,
  populateRead: 22,
  populateWrite: 23,
  dontNeedLocked: 24,
  collapse: 25,
  guardInstall: 102,
  guardRemove: 103,
} as const;

/** Features of userfaultfd that matter here. */
export const UFFD_FEATURE = {
  pagefaultWriteProtect: 1 << 0,
  eventFork: 1 << 1,
  eventRemap: 1 << 2,
  writeProtectHugeShared: 1 << 12,
  writeProtectUnpopulated: 1 << 13,
  poison: 1 << 14,
  writeProtectAsync: 1 << 15,
  move: 1 << 16,
} as const;

/** Modes of UFFDIO_REGISTER. */
export const UFFD_REGISTER = { missing: 1, writeProtect: 2, minor: 4 } as const;
