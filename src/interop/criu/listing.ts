import { ByteReader, ByteWriter, IntegrityError, JsonFields } from '../../core/index.ts';

/** Format of the listing that imported checkpoints keep beside their files; IMAGES.md specifies it. */
export const LISTING_FORMAT = 'ckpt-criu-1';

/** Runs of pages of one pagemap, ascending and disjoint. Element `i` of each list is of run `i`. */
export interface ListedRuns {
  readonly startPages: Float64Array;
  readonly pageCounts: Float64Array;
  /** Bits of PAGE_FLAGS, as CRIU wrote them: also of pages that only the parent has. */
  readonly flags: Uint8Array;
}

/** A file that is kept byte for byte. */
export interface ListedFile {
  /** Relative to the root of what is kept, with `/` between the parts. */
  readonly name: string;
  readonly kind: 'file' | 'link' | 'directory';
  /** Permission bits. */
  readonly mode: number;
  /** Size of a file; 0 for others. */
  readonly bytes: number;
  /** Where the content of a file begins in the content of the listing. */
  readonly offset: number;
  /** What a link says. */
  readonly target?: string;
}

/** One pagemap, whose pages are in the store. */
export interface ListedMemory {
  /** Of the pagemap file, such as `pagemap-1.img`. */
  readonly name: string;
  /** PID of the process of the checkpoint that holds the pages; that of an object for shared memory. */
  readonly pid: number;
  /** Id of a shared memory object, in decimal; null for the memory of a task. */
  readonly sharedMemory: string | null;
  readonly pagesId: number;
  readonly runs: ListedRuns;
}

/** What stood around the pages in an image directory or an archive. */
export interface ImageListing {
  /** Where the images are below the root: '' for a directory of images, `checkpoint` for an archive of containers. */
  readonly imagesPath: string;
  /** Ascending by name; a directory stands before what is in it. */
  readonly files: readonly ListedFile[];
  readonly memories: readonly ListedMemory[];
}

/** How a listing calls a file of the images themselves. */
export function nameOfImage({ imagesPath }: Pick<ImageListing, 'imagesPath'>, name: string): string {
  return imagesPath === '' ? name : `${imagesPath}/${name}`;
}

/** The bytes of a listing: length of its text, its text (JSON), then the runs of every memory as varints. */
export function encodeListing(listing: ImageListing): Uint8Array {
  const writer = new ByteWriter();
  const memories = listing.memories.map(({ runs, ...memory }) => ({ ...memory, runs: runs.flags.length }));
  const text = Buffer.from(JSON.stringify({ ...listing, memories }));
  writer.u32(text.length);
  writer.raw(text);
  for (const { runs } of listing.memories) writeRuns(writer, runs);
  return writer.toBytes();
}

/** @throws IntegrityError if the bytes are no listing */
export function decodeListing(bytes: Uint8Array): ImageListing {
  const what = 'the listing of the files of CRIU';
  const reader = new ByteReader(bytes, what);
  const text = Buffer.from(reader.raw(reader.u32())).toString();
  const fields = new JsonFields(parse(text, what), what);
  const listing = {
    imagesPath: fields.text('imagesPath'),
    files: fields.objects('files').map(listedFile),
    memories: fields.objects('memories').map((memory) => ({
      name: memory.text('name'),
      pid: memory.count('pid', 1),
      sharedMemory: memory.textOrNull('sharedMemory'),
      pagesId: memory.count('pagesId'),
      runs: readRuns(reader, memory.count('runs'), what),
    })),
  };
  if (reader.remainingBytes > 0)
    throw new IntegrityError(`${what} has ${reader.remainingBytes} bytes too many`);
  return listing;
}

function listedFile(file: JsonFields): ListedFile {
  const kind = file.oneOf('kind', ['file', 'link', 'directory'] as const);
  return {
    name: file.checked('name', isInside, 'a relative path'),
    kind,
    mode: file.count('mode'),
    bytes: file.count('bytes'),
    offset: file.count('offset'),
    ...(kind === 'link' ? { target: file.text('target') } : {}),
  };
}

/** Whether a name stays below the root that it is relative to. */
export function isInside(name: string): name is string {
  return name !== '' && name.split('/').every((part) => part !== '' && part !== '.' && part !== '..');
}

function parse(text: string, what: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new IntegrityError(`${what} is no JSON`, { cause });
  }
}

function writeRuns(writer: ByteWriter, { startPages, pageCounts, flags }: ListedRuns): void {
  let page = 0;
  for (let run = 0; run < flags.length; run++) {
    writer.varint(startPages[run]! - page);
    writer.varint(pageCounts[run]!);
    writer.u8(flags[run]!);
    page = startPages[run]! + pageCounts[run]!;
  }
}

const BYTES_OF_SHORTEST_RUN = 3;

function readRuns(reader: ByteReader, count: number, what: string): ListedRuns {
  if (count > reader.remainingBytes / BYTES_OF_SHORTEST_RUN) {
    throw new IntegrityError(`${what} ends before its ${count} runs of pages`);
  }
  const runs = {
    startPages: new Float64Array(count),
    pageCounts: new Float64Array(count),
    flags: new Uint8Array(count),
  };
  let page = 0;
  for (let run = 0; run < count; run++) {
    runs.startPages[run] = page + reader.varint();
    runs.pageCounts[run] = reader.varint();
    runs.flags[run] = reader.u8();
    page = runs.startPages[run]! + runs.pageCounts[run]!;
  }
  return runs;
}
