import type { Vma } from '../view.ts';

/** What is to be done to an address space; ranges in pages, ends exclusive. Operations are carried out in order. */
export type MappingOperation =
  | { readonly kind: 'unmap'; readonly startPage: number; readonly endPage: number }
  /** Makes part of a mapping anew: as `vma` is, where nothing is mapped. */
  | { readonly kind: 'map'; readonly startPage: number; readonly endPage: number; readonly vma: Vma }
  /** Moves a special mapping of the kernel as a whole. */
  | { readonly kind: 'move'; readonly fromPage: number; readonly toPage: number; readonly pageCount: number }
  /** Lets a stack grow downwards, as a use of its page `startPage` would. */
  | { readonly kind: 'grow'; readonly startPage: number; readonly endPage: number; readonly vma: Vma }
  | {
      readonly kind: 'protect';
      readonly startPage: number;
      readonly endPage: number;
      readonly read: boolean;
      readonly write: boolean;
      readonly execute: boolean;
    }
  | { readonly kind: 'advise'; readonly startPage: number; readonly endPage: number; readonly advice: Advice }
  | { readonly kind: 'lock'; readonly startPage: number; readonly endPage: number; readonly onFault: boolean }
  | { readonly kind: 'unlock'; readonly startPage: number; readonly endPage: number }
  /** Names anonymous memory, as `[anon:NAME]` in maps; '' takes the name away. */
  | { readonly kind: 'name'; readonly startPage: number; readonly endPage: number; readonly name: string };

/** Advice of madvise(2) that stays with a mapping. */
export type Advice = keyof typeof ADVICE;

/** Values of MADV_* (include/uapi/asm-generic/mman-common.h). */
export const ADVICE = {
  normal: 0,
  random: 1,
  sequential: 2,
  doNotFork: 10,
  doFork: 11,
  mergeable: 12,
  unmergeable: 13,
  huge: 14,
  noHuge: 15,
  doNotDump: 16,
  doDump: 17,
  wipeOnFork: 18,
  keepOnFork: 19,
} as const;

/** Something about a wanted address space that cannot be had. */
export interface MappingObstacle {
  /** The wanted part; or, where `problem` says so, the present one. */
  readonly startPage: number;
  readonly endPage: number;
  /** A clause: `the device memory /dev/dri/card0 cannot be mapped again`. */
  readonly problem: string;
}
