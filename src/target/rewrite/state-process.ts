import type { MemoryLayout, ResourceLimit } from '../live-state-format.ts';
import type { Native } from '../native/calls.ts';
import type { Caller } from './caller.ts';
import { words, zeroTerminated } from './words.ts';

const PR_SET_MM = 35;
const PR_SET_MM_MAP = 14;
const PR_SET_MM_MAP_SIZE = 15;
/** struct prctl_mm_map: eleven addresses, the vector's address, its size and a descriptor (u32 each). */
const MAP_BYTES = 104;
const NO_DESCRIPTOR = 0xffff_ffff;
const AT_FDCWD = -100;

/** What else the kernel remembers of a program, where it is to be replaced. */
export interface ProgramIdentity {
  readonly auxiliaryVector: Uint8Array;
  /** A descriptor of the process for the file that /proc/PID/exe is to name. */
  readonly exeDescriptor: number;
}

/** Whether this kernel lets a process move its break and the like (CONFIG_CHECKPOINT_RESTORE). */
export function canSetMemoryLayout(caller: Caller): boolean {
  const address = caller.writeScratch(new Uint8Array(4));
  if (caller.tryCall('prctl', PR_SET_MM, PR_SET_MM_MAP_SIZE, address, 0, 0) !== 0n) return false;
  return new DataView(caller.readScratch(0, 4).buffer).getUint32(0, true) === MAP_BYTES;
}

/**
 * Sets what mm_struct knows of the layout: code, data, break, stack, arguments and environment. Mappings are not
 * changed. Without `program`, auxiliary vector and exe link stay. `brk` must be known.
 */
export function setMemoryLayout(caller: Caller, layout: MemoryLayout, program?: ProgramIdentity): void {
  const vector = program?.auxiliaryVector ?? new Uint8Array();
  const vectorAddress = vector.length === 0 ? 0n : caller.writeScratch(vector, 128);
  const map = new Uint8Array(MAP_BYTES);
  map.set(
    words(
      ...[layout.startCode, layout.endCode, layout.startData, layout.endData].map(BigInt),
      ...[layout.startBrk, layout.brk ?? layout.startBrk, layout.startStack].map(BigInt),
      ...[layout.argumentsStart, layout.argumentsEnd].map(BigInt),
      ...[layout.environmentStart, layout.environmentEnd].map(BigInt),
      vectorAddress,
    ),
  );
  const view = new DataView(map.buffer);
  view.setUint32(96, vector.length, true);
  view.setUint32(100, program?.exeDescriptor ?? NO_DESCRIPTOR, true);
  caller.call('prctl', PR_SET_MM, PR_SET_MM_MAP, caller.writeScratch(map), MAP_BYTES, 0);
}

/** Sets resource limits, from outside. */
export function setLimits(native: Native, pid: number, limits: readonly ResourceLimit[]): void {
  for (const { resource, soft, hard } of limits) {
    const limit = words(BigInt(soft), BigInt(hard));
    const address = native.addressOf(limit);
    native.call(`prlimit ${resource} of process ${pid}`, 'prlimit64', pid, resource, address, 0);
  }
}

/** Sets the mask that new files are created with. */
export function setUmask(caller: Caller, umask: number): void {
  caller.call('umask', umask);
}

/** Goes to a directory, by its path as the process sees it. */
export function setWorkingDirectory(caller: Caller, path: string): void {
  caller.call('chdir', caller.writeScratch(zeroTerminated(path)));
}

/** Opens a file inside the process. @returns its descriptor there, close-on-exec */
export function openInside(caller: Caller, path: string, flags: number): number {
  const address = caller.writeScratch(zeroTerminated(path));
  return Number(caller.call('openat', AT_FDCWD, address, flags | O_CLOEXEC, 0));
}

/** The same number on both architectures; Node does not name it. */
const O_CLOEXEC = 0o2000000;
