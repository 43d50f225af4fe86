import { symlink } from 'node:fs/promises';
import { basename, join } from 'node:path';
import {
  attempt,
  openNamed,
  proveMemoryDigest,
  readStore,
  writeWholeDirectory,
} from '../../checkpoint/index.ts';
import { PAGE_SIZE, UsageError } from '../../core/index.ts';
import { makeDirectory, type Store } from '../../store/index.ts';
import { type PlacedFile, writeKeptFiles } from './export-files.ts';
import {
  type ExportLevel,
  type ExportPlan,
  isParentLink,
  type PlannedMemory,
  planLevels,
} from './export-levels.ts';
import { MemoryWriter } from './export-memory.ts';
import { encodePagemap } from './export-pagemap.ts';
import type { ExportedDirectory, ExportRequest, ExportResult } from './export-types.ts';
import { messagesOf } from './images/messages.ts';
import { nameOfImage } from './listing.ts';

/**
 * Writes a checkpoint as directories of images for `criu restore`. Every page and every file is proved by its digest;
 * memory use does not depend on their size. What is asked for appears complete, or not at all, for its owner alone.
 * @throws UsageError for a chain of lazy images, UnsupportedError if the checkpoint is not one of CRIU, TargetError if
 *   criu could not restore it, IntegrityError if anything is damaged, OutputError if there is something already or
 *   nothing can be written.
 */
export async function exportImages(request: ExportRequest): Promise<ExportResult> {
  const started = performance.now();
  const { layout, outputDirectory } = request;
  if (layout === 'chain' && request.lazy === true) {
    throw new UsageError('lazy images are of one checkpoint, not of a chain', { hint: 'leave out --chain' });
  }
  const write = async (store: Store): Promise<ExportResult> => {
    const reader = await openNamed(store, request.checkpoint);
    const plan = await planLevels(store, reader, request);
    const { number, memoryDigest, preDump } = reader.manifest;
    const warnings = [...plan.warnings];
    const directories = await writeWholeDirectory(outputDirectory, (partial) =>
      new Exporter(request, plan, warnings).write(partial),
    );
    return {
      checkpoint: number,
      layout,
      outputDirectory,
      imagesDirectory: directories.at(-1)!.directory,
      preDump,
      directories,
      warnings,
      memoryDigest,
      microseconds: Math.round((performance.now() - started) * 1000),
    };
  };
  return readStore(request.storeDirectory, write, request.workers);
}

/** One export that is under way. */
class Exporter {
  readonly #request: ExportRequest;
  readonly #plan: ExportPlan;
  readonly #warnings: string[];
  readonly #memory = new MemoryWriter();
  readonly #totalPages: number;
  #donePages = 0;
  #doneBytes = 0;

  constructor(request: ExportRequest, plan: ExportPlan, warnings: string[]) {
    this.#request = request;
    this.#plan = plan;
    this.#warnings = warnings;
    this.#totalPages = plan.levels
      .flatMap(({ memories }) => memories)
      .reduce((sum, { stored }) => sum + stored.pageCount, 0);
  }

  /** Writes all directories below `partial`, which becomes the output directory. */
  async write(partial: string): Promise<ExportedDirectory[]> {
    const directories: ExportedDirectory[] = [];
    for (const level of this.#plan.levels) {
      const { number } = level.reader.manifest;
      const below = this.#request.layout === 'chain' ? String(number) : '';
      directories.push(
        await this.#writeLevel(level, join(partial, below), join(this.#request.outputDirectory, below)),
      );
    }
    return directories;
  }

  async #writeLevel(level: ExportLevel, images: string, directory: string): Promise<ExportedDirectory> {
    const { reader, kept, hasParent, memories } = level;
    const { number, parent } = reader.manifest;
    await proveMemoryDigest(reader);
    await attempt(images, () => makeDirectory(images));
    const placed = placedFiles(level, images);
    await writeKeptFiles(placed, kept, (bytes) => this.#done(0, bytes));
    if (this.#request.criuVersion === '3.17') await this.#warnOfLaterImages(placed);
    let zeroPages = 0;
    for (const memory of memories) zeroPages += await this.#writeMemory(level, memory, images);
    if (hasParent) await attempt(images, () => symlink(`../${parent}`, join(images, 'parent')));
    const count = (one: (memory: PlannedMemory) => number) =>
      memories.reduce((sum, memory) => sum + one(memory), 0);
    const pages = count(({ stored }) => stored.pageCount);
    return {
      checkpoint: number,
      directory,
      parent: hasParent ? parent : null,
      memories: memories.length,
      pages,
      zeroPages,
      parentPages: count(({ parentPages }) => parentPages),
      lazyPages: count(({ lazyPages }) => lazyPages),
      files: placed.length,
      bytes: pages * PAGE_SIZE + placed.reduce((sum, { file }) => sum + file.bytes, 0),
    };
  }

  /** Writes a pagemap and its pages. @returns how many of them are zeros */
  async #writeMemory(
    { reader }: ExportLevel,
    { listed, where, entries, stored }: PlannedMemory,
    images: string,
  ): Promise<number> {
    const { name, pagesId, pid } = listed;
    await this.#memory.writePieces(
      join(images, name),
      encodePagemap(pagesId, entries, this.#request.criuVersion),
    );
    // CRIU leaves files out that would be empty, too.
    if (stored.pageCount === 0) return 0;
    const path = join(images, `pages-${pagesId}.img`);
    return this.#memory.writePages(path, stored, reader.pages(pid, stored), where, (pages) =>
      this.#done(pages, pages * PAGE_SIZE),
    );
  }

  /** Since 4.1 the inventory names the plugins in use, even if there are none (criu/cr-dump.c). */
  async #warnOfLaterImages(placed: readonly PlacedFile[]): Promise<void> {
    const path = placed.find((one) => basename(one.path) === 'inventory.img')?.path;
    const [inventory] = path === undefined ? [] : await messagesOf(path, 'INVENTORY');
    if (inventory?.has('plugins_entry') !== true && inventory?.has('dump_criu_run_id') !== true) return;
    const warning =
      'the images are of CRIU 4.1 or later: their pagemaps are written for 3.17, the rest is as it was';
    if (!this.#warnings.includes(warning)) this.#warnings.push(warning);
  }

  #done(pages: number, bytes: number): void {
    this.#request.signal?.throwIfAborted();
    this.#donePages += pages;
    this.#doneBytes += bytes;
    this.#request.onProgress?.({
      phase: 'exporting',
      donePages: this.#donePages,
      totalPages: this.#totalPages,
      doneBytes: this.#doneBytes,
    });
  }
}

/**
 * Where the files of the images go, without what stood around them in an archive, and without the link to the directory
 * before, whose name changes.
 */
function placedFiles({ listing }: ExportLevel, images: string): PlacedFile[] {
  const prefix = nameOfImage(listing, '');
  return listing.files
    .filter(({ name }) => name.startsWith(prefix) && !isParentLink(listing, name))
    .map((file) => ({ file, path: join(images, file.name.slice(prefix.length)) }));
}
