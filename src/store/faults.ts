/**
 * Every point at which a writer changes what is on disk. A fault is injected in front of the operation that the
 * point names; a crash test walks through all of them.
 */
export const FAULT_POINTS = [
  'store-create',
  'store-file-write',
  'store-file-sync',
  'store-file-rename',
  'store-file-sync-directory',
  'lock-create',
  'lock-take-over',
  'lock-release',
  'clean-up',
  'pack-create',
  'pack-write',
  'pack-sync',
  'pack-rename',
  'pack-sync-directory',
  'manifest-write',
  'manifest-sync',
  'manifest-rename',
  'manifest-sync-directory',
  'pruning-write',
  'pruning-sync',
  'pruning-rename',
  'pruning-sync-directory',
  'pruning-remove-manifest',
  'pruning-remove-pack',
  'pruning-finish',
] as const;
export type FaultPoint = (typeof FAULT_POINTS)[number];

/** Told of every point as it is reached. It may throw, or kill the process, to see what the store looks like then. */
export interface FaultPoints {
  reached(point: FaultPoint): void;
}

/** The port's default: nothing ever happens. */
export const NO_FAULTS: FaultPoints = { reached: () => undefined };
