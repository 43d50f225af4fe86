import type { FileHandle } from 'node:fs/promises';
import { attempt, GatheredWriter } from '../checkpoint/index.ts';
import {
  ByteWriter,
  formatPageAddress,
  IntegrityError,
  PAGE_SIZE,
  type PageRangeList,
} from '../core/index.ts';
import type { PageRun } from '../store/index.ts';
import { type CoreLayout, type CoreMapping, coreSegments } from './core-layout.ts';
import {
  type ElfMachine,
  type LoadSegment,
  needsExtendedCount,
  writeExtendedCount,
  writeFileHeader,
  writeLoadHeader,
  writeNoteHeader,
} from './elf.ts';

/** Bytes of program headers that are gathered before they are handed on. */
const HEADER_BATCH_BYTES = 64 * 1024;

/** Everything that a core file is made of. */
export interface CoreContents {
  readonly machine: ElfMachine;
  readonly mappings: readonly CoreMapping[];
  /** The pages that the checkpoint holds. */
  readonly present: PageRangeList;
  /** Encoded. */
  readonly notes: Uint8Array;
  readonly layout: CoreLayout;
}

/**
 * Writes a core file into an empty file. Pages of zeros become holes.
 * @param path names the file in errors.
 * @param pages those of `present`, in address order.
 * @param onPages is told of pages that have been taken over.
 * @throws OutputError if the file cannot be written, and whatever `pages` throws.
 */
export async function writeCore(
  file: FileHandle,
  path: string,
  core: CoreContents,
  pages: AsyncIterable<PageRun>,
  onPages: (pageCount: number) => void,
): Promise<void> {
  const writer = new GatheredWriter();
  writer.begin(file, path);
  try {
    await attempt(path, () => file.truncate(core.layout.sizeBytes));
    await writeHeaders(writer, core);
    await writer.put(core.layout.notesOffsetBytes, core.notes);
    await writeMemory(writer, core, pages, onPages);
    await writer.finish();
  } finally {
    await writer.settle();
  }
}

async function writeHeaders(
  writer: GatheredWriter,
  { machine, mappings, present, layout }: CoreContents,
): Promise<void> {
  const { programHeaders } = layout;
  const batch = new ByteWriter(HEADER_BATCH_BYTES);
  let offsetBytes = 0;
  const handOn = async () => {
    await writer.put(offsetBytes, batch.view());
    offsetBytes += batch.lengthBytes;
    batch.reset();
  };
  writeFileHeader(batch, machine, programHeaders);
  writeNoteHeader(batch, layout.notesOffsetBytes, layout.notesBytes);
  for (const segment of coreSegments(mappings, present, layout.memoryOffsetBytes)) {
    writeLoadHeader(batch, segment);
    if (batch.lengthBytes >= HEADER_BATCH_BYTES - 4096) await handOn();
  }
  if (needsExtendedCount(programHeaders)) writeExtendedCount(batch, programHeaders);
  await handOn();
}

async function writeMemory(
  writer: GatheredWriter,
  { mappings, present, layout }: CoreContents,
  pages: AsyncIterable<PageRun>,
  onPages: (pageCount: number) => void,
): Promise<void> {
  const cursor = new SegmentCursor(
    writer,
    mappings,
    coreSegments(mappings, present, layout.memoryOffsetBytes),
  );
  for await (const { startPage, pageCount, bytes } of pages) {
    for (let done = 0; done < pageCount; ) {
      const page = startPage + done;
      const segment = await cursor.segmentOf(page);
      const count = Math.min(pageCount - done, segment.startPage + segment.storedPages - page);
      if (bytes !== undefined) {
        const offsetBytes = segment.offsetBytes + (page - segment.startPage) * PAGE_SIZE;
        await writer.put(offsetBytes, bytes.subarray(done * PAGE_SIZE, (done + count) * PAGE_SIZE));
      }
      done += count;
    }
    onPages(pageCount);
  }
  await cursor.finish();
}

/** Goes through the segments beside the pages, and writes the first pages that do not come from the checkpoint. */
class SegmentCursor {
  readonly #writer: GatheredWriter;
  readonly #segments: Generator<LoadSegment>;
  readonly #firstPages: ReadonlyMap<number, Uint8Array>;
  #current: LoadSegment | undefined;

  constructor(writer: GatheredWriter, mappings: readonly CoreMapping[], segments: Generator<LoadSegment>) {
    this.#writer = writer;
    this.#segments = segments;
    this.#firstPages = new Map(
      mappings.flatMap(({ startPage, firstPage }) =>
        firstPage === undefined ? [] : [[startPage, firstPage]],
      ),
    );
  }

  /** The segment that has room for `page`, which is behind all pages asked for before. */
  async segmentOf(page: number): Promise<LoadSegment> {
    while (this.#current === undefined || page >= this.#current.startPage + this.#current.storedPages) {
      if (!(await this.#advance())) break;
    }
    if (this.#current !== undefined && page >= this.#current.startPage) return this.#current;
    throw new IntegrityError(
      `page ${formatPageAddress(page)} of the checkpoint lies in none of its mappings`,
      {
        hint: "run 'ckpt verify' to list everything that is damaged",
      },
    );
  }

  /** Goes to the end. */
  async finish(): Promise<void> {
    while (await this.#advance());
  }

  async #advance(): Promise<boolean> {
    const next = this.#segments.next();
    if (next.done === true) {
      this.#current = undefined;
      return false;
    }
    this.#current = next.value;
    const firstPage = this.#firstPages.get(next.value.startPage);
    if (firstPage !== undefined) await this.#writer.put(next.value.offsetBytes, firstPage);
    return true;
  }
}
