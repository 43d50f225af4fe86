import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { IncomingCheckpoints } from '../../checkpoint/index.ts';
import { type CodecPool, DEFAULT_ZSTD_LEVEL } from '../../codec/index.ts';
import { PAGE_SIZE, PageRangeList } from '../../core/index.ts';
import {
  ADDRESS_SPACE_PAGES,
  type Manifest,
  type NotRestorable,
  type StoredIdentity,
} from '../../image/index.ts';
import type { Store } from '../../store/index.ts';
import { everyPage } from './images/resolved-pages.ts';
import type { ImageDirectory } from './images/types.ts';
import { filesOfLevel, type LevelFiles } from './import-files.ts';
import type { ImportLevel, PlannedMemory } from './import-levels.ts';
import { PageImporter } from './import-pages.ts';
import { isPunchedItself, PunchedPages } from './import-punched.ts';
import type { ImportedCheckpoint, ImportRequest } from './import-types.ts';
import { frozenMicroseconds } from './state/frozen-time.ts';

/** What the manifest says instead of the name of a tracker. */
const TRACKER = 'criu';

/** Every page of a 64-bit address space. */
const ALL_PAGES = PageRangeList.of({ startPage: 0, endPage: ADDRESS_SPACE_PAGES });

/** What an import works with once everything is known to be there. */
export interface ImportParts {
  readonly request: ImportRequest;
  /** Of the unpacked archive, without links; undefined for a directory. */
  readonly root: string | undefined;
  /** Oldest first. */
  readonly chain: readonly ImageDirectory[];
  /** Those that become checkpoints: all of the chain, or the last. */
  readonly levels: readonly ImportLevel[];
  /** The checkpoint that the first of them is a delta on; undefined for a base. */
  readonly parent: number | undefined;
  readonly target: StoredIdentity;
  readonly pool: CodecPool;
  readonly note: (text: string) => void;
}

/**
 * Writes the checkpoints of an import, which begin to exist all together.
 * @throws IntegrityError if a file cannot be read to its end; StoreUnusableError, StoreFullError, StoreLockedError; the
 *   signal's reason; nothing is left of them then
 */
export async function writeLevels(parts: ImportParts, store: Store): Promise<ImportedCheckpoint[]> {
  const series = await store.beginSeries(parts.levels.length);
  try {
    const checkpoints = await writeWith(parts, store);
    await series.reveal();
    return checkpoints;
  } catch (error) {
    await series.abandon();
    throw error;
  }
}

async function writeWith(parts: ImportParts, store: Store): Promise<ImportedCheckpoint[]> {
  const { request, pool, chain, levels, parent } = parts;
  const compression = request.compression ?? { name: 'zstd', level: DEFAULT_ZSTD_LEVEL };
  const incoming = new IncomingCheckpoints(store, pool, compression, { differences: true });
  const importer = new PageImporter(chain, incoming, request.signal);
  const writer = new LevelWriter(parts, incoming, importer);
  const checkpoints: ImportedCheckpoint[] = [];
  try {
    if (parent !== undefined) await incoming.continueFrom(parent);
    for (const level of levels) checkpoints.push(await writer.write(level));
    return checkpoints;
  } catch (error) {
    await incoming.abort();
    throw error;
  } finally {
    await importer.close();
    incoming.close();
  }
}

/** Writes one checkpoint after the other. */
class LevelWriter {
  readonly #parts: ImportParts;
  readonly #incoming: IncomingCheckpoints;
  readonly #importer: PageImporter;
  readonly #totalPages: number;
  #donePages = 0;
  /** Index in the chain of the last directory that punched pages out of one before it. */
  #puncher = -1;

  constructor(parts: ImportParts, incoming: IncomingCheckpoints, importer: PageImporter) {
    this.#parts = parts;
    this.#incoming = incoming;
    this.#importer = importer;
    this.#totalPages = parts.levels.reduce((sum, level) => sum + pagesToRead(level), 0);
  }

  /** @throws as `writeLevels` */
  async write(level: ImportLevel): Promise<ImportedCheckpoint> {
    const started = performance.now();
    const { levels, chain, root, note, request } = this.#parts;
    const punched = new PunchedPages(level, levels.slice(levels.indexOf(level) + 1));
    await this.#incoming.begin();
    for (const memory of level.memories) await this.#addMemory(memory, punched);
    await this.#incoming.settled();
    await this.#importer.close();
    await this.#incoming.seal(level.processes);
    this.#puncher = Math.max(this.#puncher, punched.lastPuncher() ?? -1);
    const files = await filesOfLevel(level, chain, root, request.signal);
    for (const text of files.notes) note(text);
    const notRestorable = await this.#reasonAgainst(level);
    const manifest = await this.#incoming.commit(
      { ...(await this.#factsOf(level, started)), notRestorable },
      level.state,
      files.newFiles,
    );
    return imported(level, manifest, files);
  }

  async #addMemory(memory: PlannedMemory, punched: PunchedPages): Promise<void> {
    // What is not named does not exist any more (criu/pagemap.c), whatever the parent or an object had there.
    this.#incoming.drop(memory.pid, ALL_PAGES.difference(memory.inherited));
    await this.#importer.add(memory, (pages, content) => {
      punched.see(memory.pid, pages, content);
      this.#donePages += pages.pageCount;
      this.#parts.request.onProgress?.({
        phase: 'importing',
        donePages: this.#donePages,
        totalPages: this.#totalPages,
        doneBytes: this.#donePages * PAGE_SIZE,
      });
    });
  }

  async #reasonAgainst(level: ImportLevel): Promise<NotRestorable | undefined> {
    if (level.index < this.#puncher) return 'deduplicated';
    if (!(await isPunchedItself(level))) return undefined;
    this.#parts.note(
      `${level.directory.path}: CRIU has punched pages out of it (--auto-dedup); it cannot be restored`,
    );
    return 'deduplicated';
  }

  async #factsOf({ directory, index }: ImportLevel, started: number) {
    const { root, chain } = this.#parts;
    const { mtime } = await stat(join(directory.path, 'inventory.img'));
    const total = () => Math.round((performance.now() - started) * 1000);
    // Container engines have CRIU count in a working directory, which is the root of their archives.
    const isAtRoot = root !== undefined && index === chain.length - 1;
    const freeze = await frozenMicroseconds(isAtRoot ? root : directory.path);
    return {
      preDump: directory.isPreDump,
      target: this.#parts.target,
      tracker: TRACKER,
      createdAt: mtime.toISOString(),
      times: () => ({ freeze, scan: 0, read: 0, total: total() }),
    };
  }
}

const pagesToRead = ({ memories }: ImportLevel) =>
  memories.reduce((sum, { pages }) => sum + pages.pageCounts.reduce((count, more) => count + more, 0), 0);

function imported(level: ImportLevel, manifest: Manifest, files: LevelFiles): ImportedCheckpoint {
  const { directory, memories, processes } = level;
  const sharedMemoryObjects = processes.filter(({ sharedMemory }) => sharedMemory !== undefined).length;
  const present = directory.memories.reduce((sum, { presentPages }) => sum + presentPages, 0);
  return {
    checkpoint: manifest.number,
    path: directory.path,
    preDump: manifest.preDump,
    notRestorable: manifest.notRestorable ?? null,
    processes: processes.length - sharedMemoryObjects,
    sharedMemoryObjects,
    pages: {
      present,
      parent: memories.reduce((sum, { image }) => sum + everyPage(image.entries).pageCount, -present),
      written: manifest.pages.written,
    },
    files: { count: files.count, bytes: files.bytes },
    bytes: { images: present * PAGE_SIZE + files.bytes, stored: manifest.bytes.stored },
    memoryDigest: manifest.memoryDigest,
  };
}
