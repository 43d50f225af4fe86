import { closeSync, openSync, readSync, unlinkSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { StoreFullError, StoreUnusableError } from '../core/index.ts';

let created = 0;

/**
 * A file for what does not fit in memory during one dump or migration. It has no name from the moment it is first used, so nothing
 * of it is left however ckpt ends, and nobody else can open it.
 */
export class ScratchFile {
  readonly #directory: string;
  #file: number | undefined;
  #lengthBytes = 0;

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** Writes `bytes` behind what is there; returns their offset. */
  append(bytes: Uint8Array): number {
    const offsetBytes = this.#lengthBytes;
    this.overwrite(offsetBytes, bytes);
    this.#lengthBytes += bytes.length;
    return offsetBytes;
  }

  /** Writes `bytes` in place of others that `append` was given. */
  overwrite(offsetBytes: number, bytes: Uint8Array): void {
    this.#file ??= this.#create();
    try {
      for (let done = 0; done < bytes.length; ) {
        done += writeSync(this.#file, bytes, done, bytes.length - done, offsetBytes + done);
      }
    } catch (error) {
      throw this.#failure(error);
    }
  }

  /** Reads `lengthBytes` bytes into `into` or a new array. */
  read(offsetBytes: number, lengthBytes: number, into: Uint8Array = new Uint8Array(lengthBytes)): Uint8Array {
    for (let done = 0; done < lengthBytes; ) {
      const count =
        this.#file === undefined
          ? 0
          : readSync(this.#file, into, done, lengthBytes - done, offsetBytes + done);
      if (count === 0) throw new StoreUnusableError(`a scratch file in ${this.#directory} ended early`);
      done += count;
    }
    return into;
  }

  close(): void {
    if (this.#file !== undefined) closeSync(this.#file);
    this.#file = undefined;
  }

  #create(): number {
    const path = join(this.#directory, `scratch-${process.pid}-${created++}`);
    try {
      const file = openSync(path, 'wx+', 0o600);
      unlinkSync(path);
      return file;
    } catch (error) {
      throw this.#failure(error);
    }
  }

  #failure(error: unknown): Error {
    const code = (error as NodeJS.ErrnoException).code;
    const message = `cannot keep copied pages in ${this.#directory}: ${(error as Error).message}`;
    return code === 'ENOSPC' || code === 'EDQUOT'
      ? new StoreFullError(message, {
          hint: 'free some space, or put the store on a larger file system',
          cause: error,
        })
      : new StoreUnusableError(message, { cause: error });
  }
}
