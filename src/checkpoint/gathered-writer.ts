import type { FileHandle } from 'node:fs/promises';
import { attempt } from './output-error.ts';

/** Bytes gathered before they are written. */
const WRITE_BYTES = 1024 * 1024;

/**
 * Writes bytes at ascending offsets of files, one after another: adjacent ones are gathered, and while they are written
 * the next are gathered. Offsets that are left out stay holes.
 */
export class GatheredWriter {
  /** One is filled while the other is written. */
  #filling = new Uint8Array(WRITE_BYTES);
  #spare = new Uint8Array(WRITE_BYTES);
  #writing: Promise<void> = Promise.resolve();
  #buffered = 0;
  #bufferOffset = 0;
  #file: FileHandle | undefined;
  #path = '';

  /** Writes to `file` from now on; `path` names it in errors. What was put before must have been finished. */
  begin(file: FileHandle, path: string): void {
    this.#file = file;
    this.#path = path;
  }

  /**
   * Takes `bytes`, of which nothing is referred to afterwards.
   * @throws OutputError if an earlier write failed.
   */
  async put(offsetBytes: number, bytes: Uint8Array): Promise<void> {
    for (let done = 0; done < bytes.length; ) {
      if (this.#buffered === WRITE_BYTES || this.#bufferOffset + this.#buffered !== offsetBytes + done) {
        await this.#flush();
        this.#bufferOffset = offsetBytes + done;
      }
      const part = bytes.subarray(done, done + WRITE_BYTES - this.#buffered);
      this.#filling.set(part, this.#buffered);
      this.#buffered += part.length;
      done += part.length;
    }
  }

  /** Resolves when everything is written. @throws OutputError */
  async finish(): Promise<void> {
    await this.#flush();
    await this.#writing;
  }

  /** Resolves when nothing is being written any more, whether or not that failed. */
  async settle(): Promise<void> {
    // A failure was, or will be, thrown where the bytes were handed over.
    await this.#writing.catch(() => undefined);
  }

  /** Begins to write what was gathered, after waiting for the write before. */
  async #flush(): Promise<void> {
    await this.#writing;
    const file = this.#file;
    if (file === undefined || this.#buffered === 0) return;
    const full = this.#filling.subarray(0, this.#buffered);
    this.#writing = writeOut(file, this.#path, full, this.#bufferOffset);
    // Observed here so that a failure which is met by the next flush is not reported as unhandled in the meantime.
    this.#writing.catch(() => undefined);
    [this.#filling, this.#spare] = [this.#spare, this.#filling];
    this.#buffered = 0;
  }
}

async function writeOut(
  file: FileHandle,
  path: string,
  bytes: Uint8Array,
  offsetBytes: number,
): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const { bytesWritten } = await attempt(path, () =>
      file.write(bytes, done, bytes.length - done, offsetBytes + done),
    );
    done += bytesWritten;
  }
}
