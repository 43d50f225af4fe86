import { type FileHandle, open } from 'node:fs/promises';
import { PAGE_SIZE } from '../../../core/index.ts';
import { readFully, unreadable } from '../read-fully.ts';

/** The pages files of a chain, open as long as they are read. */
export class PagesFiles {
  readonly #open = new Map<string, Promise<FileHandle>>();

  get openCount(): number {
    return this.#open.size;
  }

  /**
   * Reads pages.
   * @throws IntegrityError if the file cannot be read, or became shorter since its size was checked
   */
  async read(path: string, firstPage: number, into: Uint8Array): Promise<void> {
    const file = await this.#fileOf(path);
    await readFully(file, path, into, firstPage * PAGE_SIZE);
  }

  /** Closes all files; nothing may be being read. */
  async close(): Promise<void> {
    const files = [...this.#open.values()];
    this.#open.clear();
    for (const file of files) await (await file).close();
  }

  #fileOf(path: string): Promise<FileHandle> {
    const known = this.#open.get(path);
    if (known !== undefined) return known;
    const file = open(path, 'r').catch((cause: unknown) => {
      this.#open.delete(path);
      throw unreadable(path, 0, (cause as Error).message, cause);
    });
    this.#open.set(path, file);
    return file;
  }
}
