import type { PageRange } from '../../core/index.ts';
import type { Native } from '../native/calls.ts';
import type { Injector, InjectorOptions } from '../native/injector.ts';
import { ARGUMENT_BYTES, FRAME_BYTES } from '../native/scratch.ts';
import { findGap } from './plan-moves.ts';

const PAGE_BYTES = 4096;
const SCRATCH_PAGES = (FRAME_BYTES + ARGUMENT_BYTES) / PAGE_BYTES;
/** One page of code, then the scratch memory. */
export const WORK_AREA_PAGES = 1 + SCRATCH_PAGES;

const PROTECTION = { read: 1, write: 2, execute: 4 } as const;
/** MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE */
const PRIVATE_NEW = 0x2 | 0x20 | 0x100000;

/** What the code page holds. */
const CODE = {
  x86_64: {
    // syscall; ret
    callAndReturn: [0x0f, 0x05, 0xc3],
    callBytes: 2,
    // mov $15, %rax; syscall
    signalReturn: [0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05],
  },
  aarch64: {
    // svc #0; ret
    callAndReturn: [0x01, 0, 0, 0xd4, 0xc0, 0x03, 0x5f, 0xd6],
    callBytes: 4,
    // mov x8, #139; svc #0
    signalReturn: [0x68, 0x11, 0x80, 0xd2, 0x01, 0, 0, 0xd4],
  },
} as const;
const SIGNAL_RETURN_OFFSET = 64;

/**
 * Memory inside a process, used by neither its old nor its new layout, from which its address space can be changed:
 * the instructions for system calls, and room for their arguments. It stands for as long as the rewriting takes.
 */
export interface WorkArea extends PageRange {
  /** For an injector that stands on it: nothing that it needs is in memory that changes. */
  readonly options: InjectorOptions;
}

/**
 * Makes a work area. The injector may be any of the process; it is not needed for the area afterwards.
 * @param layouts mappings that it has to keep clear of, the present ones among them
 */
export function createWorkArea(
  native: Native,
  injector: Injector,
  layouts: readonly (readonly PageRange[])[],
): WorkArea {
  const startPage = findGap(layouts, WORK_AREA_PAGES);
  const start = BigInt(startPage) * BigInt(PAGE_BYTES);
  const scratch = start + BigInt(PAGE_BYTES);
  const { read, write, execute } = PROTECTION;
  injector.call('mmap', start, PAGE_BYTES, read | execute, PRIVATE_NEW, -1, 0);
  try {
    injector.call('mmap', scratch, SCRATCH_PAGES * PAGE_BYTES, read | write, PRIVATE_NEW, -1, 0);
  } catch (error) {
    injector.call('munmap', start, PAGE_BYTES);
    throw error;
  }
  const code = CODE[native.architecture.name];
  injector.memory.write(start, Uint8Array.from(code.callAndReturn));
  injector.memory.write(start + BigInt(SIGNAL_RETURN_OFFSET), Uint8Array.from(code.signalReturn));
  return {
    startPage,
    endPage: startPage + WORK_AREA_PAGES,
    options: {
      gadgets: {
        callAndReturn: start,
        callBytes: code.callBytes,
        signalReturn: start + BigInt(SIGNAL_RETURN_OFFSET),
      },
      scratchAddress: scratch,
    },
  };
}

/** Unmaps a work area, by its own last call: the injector cannot be used, and must be abandoned, afterwards. */
export function removeWorkArea(injector: Injector, area: WorkArea): void {
  injector.call('munmap', BigInt(area.startPage) * BigInt(PAGE_BYTES), WORK_AREA_PAGES * PAGE_BYTES);
}
