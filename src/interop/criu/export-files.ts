import { chmod, open, symlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { attempt, GatheredWriter } from '../../checkpoint/index.ts';
import { IntegrityError } from '../../core/index.ts';
import { type KeptFiles, makeDirectory } from '../../store/index.ts';
import type { ListedFile } from './listing.ts';

/** A kept file and where it goes. */
export interface PlacedFile {
  readonly file: ListedFile;
  readonly path: string;
}

/** Bits of a mode that are given to what is written: permissions, and not to act as another user. */
const PERMISSIONS = 0o777;
const OWNER_ALL = 0o700;

/**
 * Writes kept files byte for byte into directories that hold nothing else. Links come last: nothing is written through
 * them. All content that was kept is read, so that its digest is proved.
 * @param onBytes is told of bytes that have been read; may throw to stop.
 * @throws IntegrityError if the content is damaged, OutputError.
 */
export async function writeKeptFiles(
  placed: readonly PlacedFile[],
  kept: KeptFiles,
  onBytes: (bytes: number) => void,
): Promise<void> {
  const directories = placed.filter(({ file }) => file.kind === 'directory');
  for (const { path } of directories) await attempt(path, () => makeDirectory(path));
  for (const { path } of placed) await attempt(path, () => makeDirectory(dirname(path)));
  await writeContents(
    placed.filter(({ file }) => file.kind === 'file'),
    kept,
    onBytes,
  );
  for (const { file, path } of placed) {
    if (file.kind === 'link') await attempt(path, () => symlink(file.target ?? '', path));
  }
  for (const { file, path } of directories) {
    await attempt(path, () => chmod(path, (file.mode & PERMISSIONS) | OWNER_ALL));
  }
}

async function writeContents(
  placed: readonly PlacedFile[],
  kept: KeptFiles,
  onBytes: (bytes: number) => void,
): Promise<void> {
  const content = new ContentCutter(kept, onBytes);
  const writer = new GatheredWriter();
  for (const { file, path } of placed.toSorted((a, b) => a.file.offset - b.file.offset)) {
    await content.skipTo(file.offset, file.name);
    await writeFile(writer, path, file.mode & PERMISSIONS, content.take(file.bytes, file.name));
  }
  await content.finish();
}

async function writeFile(
  writer: GatheredWriter,
  path: string,
  mode: number,
  pieces: AsyncIterable<Uint8Array>,
): Promise<void> {
  const handle = await attempt(path, () => open(path, 'wx', 0o600));
  try {
    writer.begin(handle, path);
    try {
      let offsetBytes = 0;
      for await (const piece of pieces) {
        await writer.put(offsetBytes, piece);
        offsetBytes += piece.length;
      }
      await writer.finish();
    } finally {
      await writer.settle();
    }
    // Not as it is opened, where the umask would take bits away.
    await attempt(path, () => handle.chmod(mode));
    await attempt(path, () => handle.sync());
  } finally {
    await handle.close();
  }
}

/** Cuts what was kept into the parts that are asked for, forward only. */
export class ContentCutter {
  readonly #pieces: AsyncIterator<Uint8Array>;
  readonly #sizeBytes: number;
  readonly #onBytes: (bytes: number) => void;
  #piece: Uint8Array = new Uint8Array(0);
  #offset = 0;

  constructor(kept: KeptFiles, onBytes: (bytes: number) => void) {
    this.#pieces = kept.read(0, kept.contentBytes)[Symbol.asyncIterator]();
    this.#sizeBytes = kept.contentBytes;
    this.#onBytes = onBytes;
  }

  /** @throws IntegrityError if a part before has reached beyond `offsetBytes` */
  async skipTo(offsetBytes: number, name: string): Promise<void> {
    if (offsetBytes < this.#offset) throw this.#outside(name);
    while (this.#offset < offsetBytes) await this.#next(offsetBytes - this.#offset, name);
  }

  /** The next bytes, in pieces that are valid until the next one. */
  async *take(bytes: number, name: string): AsyncGenerator<Uint8Array> {
    const end = this.#offset + bytes;
    if (end > this.#sizeBytes) throw this.#outside(name);
    while (this.#offset < end) yield await this.#next(end - this.#offset, name);
  }

  /** Reads to the end, where the digest is proved. */
  async finish(): Promise<void> {
    await this.skipTo(this.#sizeBytes, 'the last file');
    await this.#pieces.next();
  }

  async #next(mostBytes: number, name: string): Promise<Uint8Array> {
    if (this.#piece.length === 0) {
      const { done, value } = await this.#pieces.next();
      if (done === true) throw this.#outside(name);
      this.#onBytes(value.length);
      this.#piece = value;
    }
    const part = this.#piece.subarray(0, mostBytes);
    this.#piece = this.#piece.subarray(part.length);
    this.#offset += part.length;
    return part;
  }

  #outside(name: string): IntegrityError {
    return new IntegrityError(`${name} lies outside of what was kept, or upon another file`, {
      hint: "run 'ckpt verify' to list everything that is damaged",
      data: { name },
    });
  }
}
