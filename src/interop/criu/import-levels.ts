import { formatPageAddress, IntegrityError, PageRangeList } from '../../core/index.ts';
import type { CheckpointReader, NewProcess } from '../../store/index.ts';
import type { TargetState } from '../../target/index.ts';
import { COPY_AGAIN } from './images/processes.ts';
import {
  everyPage,
  type MemoryLevel,
  ownPages,
  type ResolvedPages,
  resolvePages,
} from './images/resolved-pages.ts';
import type { SharedObjectNumbers } from './images/shared-objects.ts';
import type { ImageDirectory, MemoryImage } from './images/types.ts';
import { storedProcesses } from './import-processes.ts';
import type { ListedMemory } from './listing.ts';
import { memoryOfCheckpoint } from './state/memory-of-checkpoint.ts';
import { memoryOfImages } from './state/memory-of-images.ts';
import { stateOf } from './state/state-of.ts';
import type { DirectoryState } from './state/types.ts';

/** One memory of a directory and where its pages are. */
export interface PlannedMemory {
  /** Of the process or object in the store. */
  readonly pid: number;
  readonly image: MemoryImage;
  /** Pages to read from pages files. */
  readonly pages: ResolvedPages;
  /** Pages that are as in the checkpoint before. */
  readonly inherited: PageRangeList;
  readonly listed: ListedMemory;
}

/** One directory that becomes a checkpoint. */
export interface ImportLevel {
  /** Index in the chain. */
  readonly index: number;
  readonly directory: ImageDirectory;
  readonly memories: readonly PlannedMemory[];
  readonly processes: readonly NewProcess[];
  readonly state: TargetState | undefined;
}

/** One directory that is a checkpoint already. */
export interface StoredLevel {
  /** Index in the chain. */
  readonly index: number;
  readonly reader: CheckpointReader;
}

/**
 * Decides what of a chain becomes checkpoints, and proves that every page is there.
 * @param chain oldest first
 * @param whole whether each directory becomes a checkpoint; otherwise the newest does, with the pages of its parents
 * @param stored the newest directory that the store has already: what is in it, and the numbers of its objects
 * @throws IntegrityError naming the file; UnsupportedError for pages that were left on a page server
 */
export async function planImport(
  chain: readonly ImageDirectory[],
  whole: boolean,
  numbers: SharedObjectNumbers,
  stored?: StoredLevel,
): Promise<ImportLevel[]> {
  const first = stored === undefined ? 0 : stored.index + 1;
  const describe = (index: number) =>
    stateOf(
      chain[index]!,
      memoryOfImages(chain.slice(first, index + 1).reverse(), stored && memoryOfCheckpoint(stored.reader)),
    );
  const newest = await describe(chain.length - 1);
  const levels: ImportLevel[] = [];
  for (let index = whole ? first : chain.length - 1; index < chain.length; index++) {
    const directory = chain[index]!;
    const known = index === chain.length - 1 ? newest : await describe(index);
    requireObjects(directory, known);
    const memories = directory.memories.map((image) => {
      const { object } = image;
      const pid = object.kind === 'task' ? object.pid : numbers.pidOf(object.id);
      return planMemory(chain, index, whole, image, pid);
    });
    const processes = storedProcesses(directory.memories, known, newest, numbers);
    for (const memory of memories) requireMapped(directory, memory, processes);
    levels.push({ index, directory, memories, processes, state: known.state });
  }
  return levels;
}

function planMemory(
  chain: readonly ImageDirectory[],
  index: number,
  whole: boolean,
  image: MemoryImage,
  pid: number,
): PlannedMemory {
  const { entries, object, name, pagesId } = image;
  const levelOf = (directory: ImageDirectory): MemoryLevel => ({
    directory,
    image: directory.memories.find((memory) => memory.name === name),
  });
  const listed = { name, pid, sharedMemory: object.kind === 'shmem' ? object.id : null, pagesId };
  if (whole) {
    const parent = chain[index - 1];
    const here = { directory: chain[index]!, image };
    const { own, inherited } = ownPages(here, parent && levelOf(parent), index);
    return { pid, image, pages: own, inherited, listed: { ...listed, runs: entries } };
  }
  const pages = resolvePages(chain.slice(0, index + 1).map(levelOf));
  return { pid, image, pages, inherited: new PageRangeList(), listed: { ...listed, runs: pages } };
}

/** CRIU writes an image for every object, also if it has no pages, and restores none without (criu/shmem.c). */
function requireObjects({ path }: ImageDirectory, { missingObjects: [missing] }: DirectoryState): void {
  if (missing === undefined) return;
  const { pid, startPage, objectId } = missing;
  const name = `${path}/pagemap-shmem-${objectId}.img`;
  throw new IntegrityError(
    `${name} is missing: process ${pid} shares that memory at ${formatPageAddress(startPage)}`,
    { hint: COPY_AGAIN, data: { path: name, pid } },
  );
}

/** As a restore would: CRIU refuses a pagemap with pages that no mapping has (criu/mem.c, premap_priv_vmas). */
function requireMapped(
  { path }: ImageDirectory,
  { pid, image }: PlannedMemory,
  processes: readonly NewProcess[],
): void {
  const mapped = new PageRangeList();
  for (const { startPage, endPage } of processes.find((process) => process.pid === pid)?.vmas ?? []) {
    mapped.append(startPage, endPage);
  }
  const outside = everyPage(image.entries).difference(mapped);
  if (outside.pageCount === 0) return;
  const address = formatPageAddress(outside.startPage(0));
  throw new IntegrityError(
    `${path}/${image.name} has the page ${address}, which no mapping of mm-${pid}.img has`,
    {
      data: { path: `${path}/${image.name}`, address },
    },
  );
}
