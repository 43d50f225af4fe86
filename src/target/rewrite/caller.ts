import type { SystemCallName } from '../native/architecture.ts';
import type { Word } from '../native/library.ts';
import type { RemoteMemory } from '../native/remote-memory.ts';

/**
 * Makes system calls inside a process: an injector in one that lives, or a thread of one that is being made. Whoever
 * sets something by calls takes this, and so serves both.
 */
export interface Caller {
  /** @throws SystemCallError if the kernel refuses the call */
  call(name: SystemCallName, ...words: Word[]): bigint;
  /** The raw result, -errno included. */
  tryCall(name: SystemCallName, ...words: Word[]): bigint;
  /** Puts bytes into memory of the process that is free for arguments. @returns their address there */
  writeScratch(bytes: Uint8Array, offset?: number): bigint;
  readScratch(offset: number, length: number): Uint8Array;
  /** How much of that memory there is; at least 4096. */
  readonly scratchBytes: number;
  /** All memory of the process. */
  readonly memory: RemoteMemory;
}
