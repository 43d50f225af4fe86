import { type IncomingCheckpoints, MAX_INCOMING_PAGES } from '../../checkpoint/index.ts';
import { PAGE_SIZE, PageRangeList } from '../../core/index.ts';
import { PagesFiles } from './images/pages-files.ts';
import type { ResolvedPages } from './images/resolved-pages.ts';
import type { ImageDirectory } from './images/types.ts';
import type { PlannedMemory } from './import-levels.ts';

/** Pages files that are open at once at most, but for those of one batch. */
const MAX_OPEN_FILES = 128;

/** Neighbouring pages of one pages file. */
interface Piece {
  readonly path: string;
  readonly firstPage: number;
  pageCount: number;
}

/** Told of pages that were read, in any order, and their content, which is lent. */
export type PagesSeen = (pages: PageRangeList, content: Uint8Array) => void;

/** Reads the pages of memories into the checkpoint that has been begun. */
export class PageImporter {
  readonly #chain: readonly ImageDirectory[];
  readonly #incoming: IncomingCheckpoints;
  readonly #files = new PagesFiles();
  readonly #signal: AbortSignal | undefined;

  constructor(
    chain: readonly ImageDirectory[],
    incoming: IncomingCheckpoints,
    signal: AbortSignal | undefined,
  ) {
    this.#chain = chain;
    this.#incoming = incoming;
    this.#signal = signal;
  }

  /** Adds the pages that are to be read. @throws IntegrityError naming file and offset; as `IncomingCheckpoints.add` */
  async add(memory: PlannedMemory, seen: PagesSeen): Promise<void> {
    for (const batch of this.#batches(memory)) {
      this.#signal?.throwIfAborted();
      if (this.#files.openCount > MAX_OPEN_FILES) await this.#closeFiles();
      await this.#incoming.add(memory.pid, batch.pages, async (into) => {
        let at = 0;
        for (const { path, firstPage, pageCount } of batch.pieces) {
          const end = at + pageCount * PAGE_SIZE;
          await this.#files.read(path, firstPage, into.subarray(at, end));
          at = end;
        }
        seen(batch.pages, into);
      });
    }
  }

  /** Closes the files; nothing that was added may be under way. */
  close(): Promise<void> {
    return this.#files.close();
  }

  async #closeFiles(): Promise<void> {
    await this.#incoming.settled();
    await this.#files.close();
  }

  *#batches({ pages, image }: PlannedMemory): Generator<{ pages: PageRangeList; pieces: Piece[] }> {
    const paths = this.#pathsOf(pages, image.name);
    let batch = { pages: new PageRangeList(), pieces: [] as Piece[] };
    for (let run = 0; run < pages.flags.length; run++) {
      const path = paths.get(pages.levels[run]!)!;
      for (let done = 0; done < pages.pageCounts[run]!; ) {
        const take = Math.min(pages.pageCounts[run]! - done, MAX_INCOMING_PAGES - batch.pages.pageCount);
        const startPage = pages.startPages[run]! + done;
        batch.pages.append(startPage, startPage + take);
        addPiece(batch.pieces, path, pages.dataPages[run]! + done, take);
        done += take;
        if (batch.pages.pageCount < MAX_INCOMING_PAGES) continue;
        yield batch;
        batch = { pages: new PageRangeList(), pieces: [] };
      }
    }
    if (batch.pages.pageCount > 0) yield batch;
  }

  #pathsOf({ levels }: ResolvedPages, name: string): Map<number, string> {
    const paths = new Map<number, string>();
    for (const level of new Set(levels)) {
      const image = this.#chain[level]!.memories.find((memory) => memory.name === name);
      paths.set(level, image!.pagesPath);
    }
    return paths;
  }
}

function addPiece(pieces: Piece[], path: string, firstPage: number, pageCount: number): void {
  const last = pieces.at(-1);
  if (last?.path === path && last.firstPage + last.pageCount === firstPage) last.pageCount += pageCount;
  else pieces.push({ path, firstPage, pageCount });
}
