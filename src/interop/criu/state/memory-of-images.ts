import { open } from 'node:fs/promises';
import { PAGE_SIZE } from '../../../core/index.ts';
import type { ImageDirectory, MemoryImage } from '../images/types.ts';
import { PAGE_FLAGS } from '../page-server/protocol.ts';
import { readFully } from '../read-fully.ts';
import type { MemoryReader } from './types.ts';

/**
 * Reads memory of processes from image directories. Pages that are in none are zeros, as long as anything of what is
 * asked for is there.
 * @param chain the directory itself, then its parent and so on
 * @param older has the pages of the parent of the last of them
 */
export function memoryOfImages(
  chain: readonly Pick<ImageDirectory, 'memories'>[],
  older?: MemoryReader,
): MemoryReader {
  return async (pid, startBytes, lengthBytes) => {
    const bytes = new Uint8Array(lengthBytes);
    let found = 0;
    for (let at = 0; at < lengthBytes; ) {
      const inPage = (startBytes + at) % PAGE_SIZE;
      const take = Math.min(PAGE_SIZE - inPage, lengthBytes - at);
      const place = placeOf(chain, pid, Math.floor((startBytes + at) / PAGE_SIZE));
      if (place === 'older') {
        const some = await older?.(pid, startBytes + at, take);
        if (some !== undefined) {
          bytes.set(some, at);
          found++;
        }
      } else if (place !== undefined) {
        await readAt(place.path, bytes.subarray(at, at + take), place.page * PAGE_SIZE + inPage);
        found++;
      }
      at += take;
    }
    return found === 0 ? undefined : bytes;
  };
}

function placeOf(
  chain: readonly Pick<ImageDirectory, 'memories'>[],
  pid: number,
  page: number,
): { readonly path: string; readonly page: number } | 'older' | undefined {
  for (const { memories } of chain) {
    const memory = memories.find(({ object }) => object.kind === 'task' && object.pid === pid);
    const entry = memory === undefined ? -1 : entryAt(memory, page);
    if (memory === undefined || entry < 0) return undefined;
    const { flags, dataPages, startPages } = memory.entries;
    if ((flags[entry]! & PAGE_FLAGS.present) !== 0) {
      return { path: memory.pagesPath, page: dataPages[entry]! + page - startPages[entry]! };
    }
    if ((flags[entry]! & PAGE_FLAGS.parent) === 0) return undefined;
  }
  return 'older';
}

/** Index of the entry that has a page; -1 for none. */
function entryAt({ entries: { startPages, pageCounts } }: MemoryImage, page: number): number {
  let [low, high] = [0, startPages.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (startPages[middle]! + pageCounts[middle]! <= page) low = middle + 1;
    else high = middle;
  }
  return low < startPages.length && startPages[low]! <= page ? low : -1;
}

async function readAt(path: string, into: Uint8Array, offsetBytes: number): Promise<void> {
  const file = await open(path);
  try {
    await readFully(file, path, into, offsetBytes);
  } finally {
    await file.close();
  }
}
