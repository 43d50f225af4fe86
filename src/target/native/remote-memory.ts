import { closeSync, openSync, writeSync } from 'node:fs';
import { TargetError } from '../../core/index.ts';
import { procError, readAt } from '../live-files.ts';

/** Memory of a process through /proc/PID/mem, to read and to write, whatever the protection of its pages. */
export class RemoteMemory {
  readonly #pid: number;
  readonly #descriptor: number;

  /** @throws TargetError if the process is gone or not ours to change */
  constructor(pid: number) {
    this.#pid = pid;
    try {
      this.#descriptor = openSync(`/proc/${pid}/mem`, 'r+');
    } catch (error) {
      throw procError(error, pid, 'change the memory');
    }
  }

  /** @returns bytes read, fewer than asked for where nothing is mapped */
  read(address: bigint, into: Uint8Array): number {
    try {
      return readAt(this.#descriptor, into, into.length, Number(address));
    } catch {
      return 0;
    }
  }

  /** Reads all of `length` bytes. @throws TargetError if they are not all there */
  readBytes(address: bigint, length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    if (this.read(address, bytes) === length) return bytes;
    throw new TargetError(
      `process ${this.#pid} has no ${length} readable bytes at 0x${address.toString(16)}`,
      {
        data: { pid: this.#pid },
      },
    );
  }

  /** @throws TargetError if not everything can be written */
  write(address: bigint, bytes: Uint8Array): void {
    let done = 0;
    try {
      while (done < bytes.length) {
        const position = Number(address) + done;
        done += writeSync(this.#descriptor, bytes, done, bytes.length - done, position);
      }
    } catch (error) {
      throw new TargetError(
        `cannot write to the memory of process ${this.#pid} at 0x${(address + BigInt(done)).toString(16)}`,
        {
          hint: 'the kernel may forbid it (proc_mem.force_override on its command line), or nothing is mapped there',
          data: { pid: this.#pid },
          cause: procError(error, this.#pid, 'change the memory'),
        },
      );
    }
  }

  close(): void {
    closeSync(this.#descriptor);
  }
}
