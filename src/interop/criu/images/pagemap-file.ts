import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { formatPageAddress, IntegrityError, PAGE_SIZE, UnsupportedError } from '../../../core/index.ts';
import { damaged } from '../damage.ts';
import { COMMON_MAGIC } from '../image-kinds.ts';
import { PAGE_FLAGS, type PageObject } from '../page-server/protocol.ts';
import { WindowedFile } from '../windowed-file.ts';
import { PagemapEntriesBuilder } from './pagemap-entries.ts';
import { type DecodedEntry, PagemapEntryDecoder } from './pagemap-entry.ts';
import type { MemoryImage } from './types.ts';

const PAGEMAP_MAGIC = 0x56084025;
/** An entry of a plain image takes at most 41 bytes. */
const MAX_ENTRY_BYTES = 64 * 1024 * 1024;
/** 128 GiB of pages of which every other one is there: more is refused before it fills the memory of ckpt. */
const MAX_ENTRIES = 2 ** 25;
const KNOWN_FLAGS = PAGE_FLAGS.parent | PAGE_FLAGS.lazy | PAGE_FLAGS.present;
/** PE_PAYLOAD_ALIGNED of the CRIU after 4.2 (PR #2895), which compresses. */
const PAYLOAD_ALIGNED = 8;

/**
 * Reads `pagemap-*.img` and looks at its pages file (criu/pagemap.c).
 * @throws IntegrityError naming file and offset; UnsupportedError for compressed pages
 */
export async function readMemoryImage(
  directory: string,
  name: string,
  object: PageObject,
): Promise<MemoryImage> {
  const { pagesId, builder } = await readPagemap(join(directory, name));
  const pagesPath = join(directory, `pages-${pagesId}.img`);
  const { presentPages } = builder;
  const hasHoles = await checkPagesFile(pagesPath, presentPages, name);
  return { object, name, pagesId, pagesPath, entries: builder.finish(), presentPages, hasHoles };
}

async function readPagemap(path: string): Promise<{ pagesId: number; builder: PagemapEntriesBuilder }> {
  const file = await WindowedFile.open(path);
  try {
    await checkMagic(file);
    const decoder = new PagemapEntryDecoder();
    const builder = new PagemapEntriesBuilder();
    let pagesId = 0;
    await decodeEach(file, 'pagemap_head', 1, (bytes) => {
      pagesId = decoder.decodeHead(bytes, 0, bytes.length);
    });
    await decodeEach(file, 'pagemap_entry', Number.POSITIVE_INFINITY, (bytes, offsetBytes) => {
      decoder.decode(bytes, 0, bytes.length);
      const { entry } = decoder;
      if (decoder.isCompressed || (entry.flags & PAYLOAD_ALIGNED) !== 0) throw compressed(path, offsetBytes);
      checkEntry(entry, builder);
      builder.add(entry.startPage, entry.pageCount, entry.flags);
    });
    return { pagesId, builder };
  } finally {
    await file.close();
  }
}

async function checkMagic(file: WindowedFile): Promise<void> {
  const magics = await file.take(8, 'the magic');
  if (magics.readUInt32LE() === COMMON_MAGIC && magics.readUInt32LE(4) === PAGEMAP_MAGIC) return;
  throw file.damaged('it is no pagemap', 0);
}

/** Calls `use` with the next messages, each as long as the word in front of it says. */
async function decodeEach(
  file: WindowedFile,
  what: string,
  most: number,
  use: (bytes: Uint8Array, offsetBytes: number) => void,
): Promise<void> {
  for (let count = 0; count < most && (file.remainingBytes > 0 || most === 1); count++) {
    const offsetBytes = file.offsetBytes;
    const length = (await file.take(4, `the length of ${what}`)).readUInt32LE();
    if (length > MAX_ENTRY_BYTES) throw file.damaged(`a ${what} of ${length} bytes`, offsetBytes);
    const bytes = await file.take(length, what);
    try {
      use(bytes, offsetBytes);
    } catch (error) {
      if (error instanceof UnsupportedError) throw error;
      throw file.damaged(`no sound ${what}: ${(error as Error).message}`, offsetBytes);
    }
  }
}

function checkEntry({ startPage, pageCount, flags }: DecodedEntry, before: PagemapEntriesBuilder): void {
  const { parent, lazy, present } = PAGE_FLAGS;
  if ((flags & ~KNOWN_FLAGS) !== 0) throw new Error(`its flags ${flags} are not known`);
  if ((flags & (parent | present)) === (parent | present)) {
    throw new Error('its pages are both here and in the parent');
  }
  if ((flags & (parent | present | lazy)) === 0) throw new Error('its pages are nowhere');
  if (startPage < before.endPage) {
    throw new Error(
      `pages from ${formatPageAddress(startPage)} on, behind those up to ${formatPageAddress(before.endPage)}`,
    );
  }
  if (before.count >= MAX_ENTRIES) throw new Error(`more than ${MAX_ENTRIES} entries (${pageCount} pages)`);
}

function compressed(path: string, offsetBytes: number): UnsupportedError {
  return new UnsupportedError(`${path}: the pages at byte ${offsetBytes} are compressed with LZ4`, {
    hint: "'crit decompress' of the CRIU that wrote them makes them plain",
    data: { path, offset: offsetBytes },
  });
}

/** @returns whether the file takes less room than its size */
async function checkPagesFile(path: string, presentPages: number, pagemap: string): Promise<boolean> {
  const expectedBytes = presentPages * PAGE_SIZE;
  const status = await stat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (status === undefined) {
    if (presentPages === 0) return false;
    throw new IntegrityError(`${path} is missing: ${pagemap} has ${presentPages} pages in it`, {
      hint: 'the pages of a dump with --page-server are where that server runs',
      data: { path, offset: 0 },
    });
  }
  if (!status.isFile()) throw new IntegrityError(`${path} is no file`, { data: { path } });
  if (status.size !== expectedBytes) {
    throw damaged(
      { path, offsetBytes: Math.min(status.size, expectedBytes) },
      `it has ${status.size} bytes, the ${presentPages} pages of ${pagemap} take ${expectedBytes}`,
    );
  }
  return status.blocks * 512 < status.size;
}
