import type { SystemCallName } from '../native/architecture.ts';
import type { Vma } from '../view.ts';
import type { Caller } from './caller.ts';
import { growsDown } from './mapping-kinds.ts';
import { ADVICE, type MappingOperation } from './mapping-operations.ts';
import { zeroTerminated } from './words.ts';

const PAGE_BYTES = 4096n;
const PROTECTION = { read: 1, write: 2, execute: 4 } as const;
/** Values of MAP_* and MREMAP_* (include/uapi/linux/mman.h and asm-generic). */
const MAP = {
  shared: 0x1,
  private: 0x2,
  droppable: 0x8,
  fixed: 0x10,
  anonymous: 0x20,
  growsDown: 0x100,
  noReserve: 0x4000,
} as const;
const REMAP_MAY_MOVE = 1;
const REMAP_FIXED = 2;
const LOCK_ON_FAULT = 1;
const ENOMEM = -12n;
const PR_SET_VMA = 0x53564d41;
const PR_SET_VMA_ANON_NAME = 0;

/** Where the executor gets descriptors of mapped files and memory objects from. */
export interface MappedFiles {
  /**
   * A descriptor of the process that stands for the object behind a mapping with an inode, fit to map it as `vma` says.
   * @throws TargetError if there is none
   */
  descriptorFor(vma: Vma): number;
}

/**
 * Carries out an operation inside a process.
 * @throws SystemCallError naming the call; TargetError if a file is not to be had
 */
export function executeMapping(caller: Caller, operation: MappingOperation, files: MappedFiles): void {
  switch (operation.kind) {
    case 'unmap':
      onRange(caller, 'munmap', operation);
      return;
    case 'map':
      map(caller, operation, files);
      return;
    case 'move':
      move(caller, operation);
      return;
    case 'grow':
      grow(caller, operation, files);
      return;
    case 'protect':
      onRange(caller, 'mprotect', operation, protectionOf(operation));
      return;
    case 'advise':
      onRange(caller, 'madvise', operation, ADVICE[operation.advice]);
      return;
    case 'lock':
      lock(caller, operation);
      return;
    case 'unlock':
      onRange(caller, 'munlock', operation);
      return;
    case 'name': {
      const name = operation.name === '' ? 0n : caller.writeScratch(zeroTerminated(operation.name));
      const [start, length] = bytesOf(operation);
      // The name is for people: a kernel without such names does not fail the rest.
      caller.tryCall('prctl', PR_SET_VMA, PR_SET_VMA_ANON_NAME, start, length, name);
    }
  }
}

interface Range {
  readonly startPage: number;
  readonly endPage: number;
}

function bytesOf({ startPage, endPage }: Range): [bigint, bigint] {
  return [BigInt(startPage) * PAGE_BYTES, BigInt(endPage - startPage) * PAGE_BYTES];
}

function onRange(caller: Caller, call: SystemCallName, range: Range, last = 0): void {
  caller.call(call, ...bytesOf(range), last);
}

/** Memory that cannot be read is locked, and the call fails all the same because it cannot be filled. */
function lock(caller: Caller, operation: Extract<MappingOperation, { kind: 'lock' }>): void {
  const [call, last] = operation.onFault ? (['mlock2', LOCK_ON_FAULT] as const) : (['mlock', 0] as const);
  if (caller.tryCall(call, ...bytesOf(operation), last) !== ENOMEM) onRange(caller, call, operation, last);
}

function protectionOf({ read, write, execute }: Pick<Vma, 'read' | 'write' | 'execute'>): number {
  return (read ? PROTECTION.read : 0) | (write ? PROTECTION.write : 0) | (execute ? PROTECTION.execute : 0);
}

function map(caller: Caller, range: Range & { readonly vma: Vma }, files: MappedFiles): void {
  const { vma } = range;
  const [start, length] = bytesOf(range);
  if (vma.inode === 0) {
    caller.call('mmap', start, length, protectionOf(vma), anonymousFlags(vma), -1, 0);
    return;
  }
  const offset = BigInt(vma.offsetPages + range.startPage - vma.startPage) * PAGE_BYTES;
  const flags = MAP.fixed | (vma.shared ? MAP.shared : MAP.private) | noReserveFlag(vma);
  caller.call('mmap', start, length, protectionOf(vma), flags, files.descriptorFor(vma), offset);
}

function anonymousFlags(vma: Vma): number {
  const type = vma.shared ? MAP.shared : vma.flags.includes('dp') ? MAP.droppable : MAP.private;
  const down = growsDown(vma) ? MAP.growsDown : 0;
  return MAP.fixed | MAP.anonymous | type | down | noReserveFlag(vma);
}

function noReserveFlag({ flags }: Vma): number {
  return flags.includes('nr') ? MAP.noReserve : 0;
}

function move(
  caller: Caller,
  { fromPage, toPage, pageCount }: { fromPage: number; toPage: number; pageCount: number },
): void {
  const length = BigInt(pageCount) * PAGE_BYTES;
  const flags = REMAP_MAY_MOVE | REMAP_FIXED;
  caller.call('mremap', BigInt(fromPage) * PAGE_BYTES, length, length, flags, BigInt(toPage) * PAGE_BYTES);
}

/**
 * Reading a page below a stack through /proc/PID/mem makes the stack grow down to it (mm/gup.c, __access_remote_vm),
 * and it stays one mapping. Where the kernel will not (a limit, a neighbour within the guard gap), the missing part is
 * mapped: that serves the program just as well.
 */
function grow(caller: Caller, range: Range & { readonly vma: Vma }, files: MappedFiles): void {
  const [start] = bytesOf(range);
  if (caller.memory.read(start, new Uint8Array(1)) === 1) return;
  map(caller, range, files);
}
