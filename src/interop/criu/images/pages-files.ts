import { type FileHandle, open } from 'node:fs/promises';
import { IntegrityError, PAGE_SIZE } from '../../../core/index.ts';

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
    const from = firstPage * PAGE_SIZE;
    for (let done = 0; done < into.length; ) {
      const { bytesRead } = await file
        .read(into, done, into.length - done, from + done)
        .catch((cause: unknown) => {
          throw unreadable(path, from + done, (cause as Error).message);
        });
      if (bytesRead === 0) throw unreadable(path, from + done, 'it became shorter while it was read');
      done += bytesRead;
    }
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
      throw unreadable(path, 0, (cause as Error).message);
    });
    this.#open.set(path, file);
    return file;
  }
}

function unreadable(path: string, offset: number, why: string): IntegrityError {
  return new IntegrityError(`${path} cannot be read at byte ${offset}: ${why}`, { data: { path, offset } });
}
