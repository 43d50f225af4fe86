import { lstat, readdir, realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { IntegrityError, UsageError } from '../../../core/index.ts';
import { damaged } from '../damage.ts';
import { readInventory } from './inventory.ts';
import { type KeptFiles, keptFiles } from './kept-files.ts';
import { readMemoryImage } from './pagemap-file.ts';
import { processesOf, requirePid } from './processes.ts';
import type { ImageDirectory, MemoryImage } from './types.ts';

const TASK_PAGEMAP = /^pagemap-([1-9]\d{0,6})\.img$/;
const SHARED_PAGEMAP = /^pagemap-shmem-(0|[1-9]\d{0,19})\.img$/;

/**
 * Reads one directory that CRIU wrote: which processes, which pages, which other files. Pages stay where they are.
 * @throws UsageError if there are no images; IntegrityError naming file and offset; UnsupportedError for images of a
 *   later layout
 */
export async function openImageDirectory(path: string): Promise<ImageDirectory> {
  const real = await resolved(path);
  const names = new Set(await namesIn(real));
  if (!names.has('inventory.img')) {
    throw new UsageError(`${path} is no directory of CRIU images: it has no inventory.img`, {
      hint: [...names].some((name) => TASK_PAGEMAP.test(name))
        ? 'it may be what criu page-server wrote: put the images of the dump beside the pages'
        : 'name the directory that criu was given by -D or --images-dir',
      data: { path },
    });
  }
  await refuseLinkedImages(real, names);
  const inventory = await readInventory(real);
  const isPreDump = !names.has('pstree.img');
  if (isPreDump && inventory.preDumpMode === undefined && inventory.imageVersion > 0) {
    throw new IntegrityError(`${join(real, 'pstree.img')} is missing: the inventory is that of a dump`, {
      data: { path: join(real, 'pstree.img'), offset: 0 },
    });
  }
  const memories = await memoriesOf(real, names);
  const processes = await processesOf(real, isPreDump, memories);
  const { files, notes } = await keptFiles(real, memoryFiles(real, memories));
  const parent = files.find(({ name }) => name === 'parent');
  return {
    path: real,
    inventory,
    isPreDump,
    processes,
    memories,
    otherFiles: files,
    parentLink: names.has('parent') ? (parent?.target ?? 'parent') : undefined,
    notes,
  };
}

/** Paths of the files whose content the pages of a store stand for. */
function memoryFiles(directory: string, memories: readonly MemoryImage[]): Set<string> {
  return new Set(memories.flatMap(({ name, pagesPath }) => [join(directory, name), pagesPath]));
}

/**
 * What is kept of a directory together with all around it in an unpacked archive; names are relative to that.
 * @param others directories that are left out: those of its parents
 * @throws UsageError if something cannot be read
 */
export async function keptFilesAround(
  root: string,
  { path, memories }: Pick<ImageDirectory, 'path' | 'memories'>,
  others: readonly string[],
): Promise<KeptFiles> {
  return keptFiles(root, new Set([...memoryFiles(path, memories), ...others]), path);
}

async function resolved(path: string): Promise<string> {
  try {
    const real = await realpath(path);
    if ((await lstat(real)).isDirectory()) return real;
    throw new Error('it is no directory');
  } catch (error) {
    throw new UsageError(`cannot read the images in ${path}: ${(error as Error).message}`, {
      hint: 'name a directory that criu dump or criu pre-dump wrote',
      data: { path },
      cause: error,
    });
  }
}

async function namesIn(path: string): Promise<string[]> {
  try {
    return await readdir(path);
  } catch (error) {
    throw new UsageError(`cannot read the images in ${path}: ${(error as Error).message}`, {
      hint: 'run ckpt as the owner of the directory, or change its mode',
      data: { path },
      cause: error,
    });
  }
}

/** CRIU writes its images as files. Through a link anything of this machine would be taken for one. */
async function refuseLinkedImages(directory: string, names: ReadonlySet<string>): Promise<void> {
  for (const name of names) {
    if (!name.endsWith('.img')) continue;
    const path = join(directory, name);
    if ((await lstat(path)).isFile()) continue;
    throw new IntegrityError(`${path} is no file: images are neither links nor directories`, {
      hint: 'put the file itself there',
      data: { path, offset: 0 },
    });
  }
}

async function memoriesOf(directory: string, names: ReadonlySet<string>): Promise<MemoryImage[]> {
  const tasks = [...names].flatMap((name) => TASK_PAGEMAP.exec(name)?.[1] ?? []).map(Number);
  const objects = [...names].flatMap((name) => SHARED_PAGEMAP.exec(name)?.[1] ?? []).map(BigInt);
  const memories: MemoryImage[] = [];
  const owners = new Map<number, string>();
  const add = (memory: MemoryImage) => {
    const other = owners.get(memory.pagesId);
    if (other !== undefined) {
      throw damaged(
        { path: join(directory, memory.name), offsetBytes: 8 },
        `its pages_id ${memory.pagesId} is that of ${other}`,
      );
    }
    owners.set(memory.pagesId, memory.name);
    memories.push(memory);
  };
  for (const pid of tasks.sort((a, b) => a - b)) {
    const name = `pagemap-${pid}.img`;
    requirePid(pid, join(directory, name), 0);
    add(await readMemoryImage(directory, name, { kind: 'task', pid }));
  }
  for (const id of objects.sort((a, b) => (a < b ? -1 : 1)).map(String)) {
    add(await readMemoryImage(directory, `pagemap-shmem-${id}.img`, { kind: 'shmem', id }));
  }
  return memories;
}
