import { type FileHandle, open, stat } from 'node:fs/promises';
import { type IntegrityError, UsageError } from '../../core/index.ts';
import { damaged } from './damage.ts';
import { readFully } from './read-fully.ts';

/** Bytes that are read at once. */
const WINDOW_BYTES = 256 * 1024;

/** A file that is read forward, a window of it in memory. */
export class WindowedFile {
  readonly path: string;
  readonly #file: FileHandle;
  readonly #sizeBytes: number;
  #offset = 0;
  #window: Buffer = Buffer.alloc(0);
  #windowStart = 0;
  #closed = false;

  private constructor(path: string, file: FileHandle, sizeBytes: number) {
    this.path = path;
    this.#file = file;
    this.#sizeBytes = sizeBytes;
  }

  static async open(path: string): Promise<WindowedFile> {
    try {
      // Looked at first: opening a FIFO would wait for somebody to write to it.
      const status = await stat(path);
      if (!status.isFile()) throw new Error('it is no file');
      return new WindowedFile(path, await open(path, 'r'), status.size);
    } catch (error) {
      const isDenied = (error as NodeJS.ErrnoException).code === 'EACCES';
      throw new UsageError(`cannot read the image ${path}: ${(error as Error).message}`, {
        hint: isDenied
          ? 'CRIU writes images for root alone: run ckpt as their owner, or change their modes'
          : 'name an image file of CRIU, such as inventory.img or core-1.img',
        data: { path },
        cause: error,
      });
    }
  }

  get offsetBytes(): number {
    return this.#offset;
  }

  get remainingBytes(): number {
    return this.#sizeBytes - this.#offset;
  }

  /** The next bytes; they are valid until the next call. */
  async take(bytes: number, what: string): Promise<Buffer> {
    const from = this.#offset;
    this.skip(bytes, what);
    const start = from - this.#windowStart;
    if (start < 0 || start + bytes > this.#window.length) await this.#fill(from, bytes);
    const inside = from - this.#windowStart;
    return this.#window.subarray(inside, inside + bytes);
  }

  /** Goes over bytes. @throws IntegrityError if the file does not have them */
  skip(bytes: number, what: string): void {
    if (!(bytes <= this.remainingBytes)) {
      throw this.damaged(
        `cut off: ${what} takes ${bytes} bytes, ${this.remainingBytes} are left`,
        this.#offset,
      );
    }
    this.#offset += bytes;
  }

  damaged(what: string, offsetBytes: number): IntegrityError {
    return damaged({ path: this.path, offsetBytes }, what);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#file.close();
  }

  async #fill(from: number, bytes: number): Promise<void> {
    const window = Buffer.allocUnsafe(Math.min(Math.max(bytes, WINDOW_BYTES), this.#sizeBytes - from));
    await readFully(this.#file, this.path, window, from);
    this.#window = window;
    this.#windowStart = from;
  }
}
