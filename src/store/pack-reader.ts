import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { IntegrityError } from '../core/index.ts';
import {
  BLOCK_HEADER_BYTES,
  type BlockHeader,
  type BlockTable,
  checkPackHeader,
  decodeTable,
  decodeTrailer,
  formatNumber,
  PACK_HEADER_BYTES,
  PACK_TRAILER_BYTES,
  readBlockHeader,
  TABLE_ENTRY_BYTES,
} from '../image/index.ts';
import { asStoreError, isErrno } from './files.ts';
import { rebuildTable } from './rebuild-table.ts';

/** A block as it lies in a pack: checked header, unchecked bytes. */
export interface RawBlock {
  readonly header: BlockHeader;
  readonly stored: Uint8Array;
  /** "block 17 of pack 000001 (at offset 4096)", for errors. */
  readonly where: string;
}

/** Reads one pack through one descriptor, so that a prune which replaces the file meanwhile does no harm. */
export class PackReader {
  readonly pack: number;
  readonly path: string;
  readonly sizeBytes: number;
  /** End of the blocks. */
  readonly tableOffsetBytes: number;
  /** Whether the table is the pack's own, not one rebuilt from what was left. */
  readonly hasTable: boolean;
  readonly table: BlockTable;
  readonly #descriptor: number;

  private constructor(
    pack: number,
    path: string,
    descriptor: number,
    sizeBytes: number,
    tableOffsetBytes: number,
    table: BlockTable,
    hasTable: boolean,
  ) {
    this.pack = pack;
    this.path = path;
    this.#descriptor = descriptor;
    this.sizeBytes = sizeBytes;
    this.tableOffsetBytes = tableOffsetBytes;
    this.table = table;
    this.hasTable = hasTable;
  }

  /**
   * Opens a pack and checks its header, trailer and block table.
   * @throws IntegrityError if the file is missing, truncated or damaged; StoreVersionError for a newer format.
   */
  static open(path: string, pack: number): PackReader {
    return withDescriptor(path, pack, (descriptor) => {
      const size = fstatSync(descriptor).size;
      checkPackHeader(readUpTo(descriptor, path, 0, PACK_HEADER_BYTES), pack);
      const trailerAt = Math.max(0, size - PACK_TRAILER_BYTES);
      const trailer = decodeTrailer(readUpTo(descriptor, path, trailerAt, PACK_TRAILER_BYTES), pack, size);
      const tableBytes = trailer.entryCount * TABLE_ENTRY_BYTES;
      const table = decodeTable(
        readUpTo(descriptor, path, trailer.tableOffsetBytes, tableBytes),
        trailer,
        pack,
      );
      return new PackReader(pack, path, descriptor, size, trailer.tableOffsetBytes, table, true);
    });
  }

  /**
   * Opens a pack even if its header, trailer or table is damaged or cut off: the table is then rebuilt from the block
   * headers that are left.
   * @throws IntegrityError if the file is missing; StoreVersionError for a newer format.
   */
  static openDamaged(path: string, pack: number): PackReader {
    try {
      return PackReader.open(path, pack);
    } catch (cause) {
      if (!(cause instanceof IntegrityError)) throw cause;
    }
    return withDescriptor(path, pack, (descriptor) => {
      const size = fstatSync(descriptor).size;
      const table = rebuildTable((offset, length) => readUpTo(descriptor, path, offset, length), size);
      return new PackReader(pack, path, descriptor, size, size, table, false);
    });
  }

  /** Index of a block in the table, or -1. */
  indexOf(block: number): number {
    const { blocks } = this.table;
    let low = 0;
    let high = blocks.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (blocks[middle]! < block) low = middle + 1;
      else high = middle;
    }
    return blocks[low] === block ? low : -1;
  }

  /**
   * Reads a block by its number.
   * @param into takes header and stored bytes if they fit; else they get an array of their own.
   * @throws IntegrityError if the pack has no such block or its header is not what the table says.
   */
  read(block: number, into?: Uint8Array): RawBlock {
    const index = this.indexOf(block);
    if (index < 0) {
      throw new IntegrityError(`pack ${formatNumber(this.pack)} has no block ${block}`, {
        hint: "run 'ckpt verify' to list everything that is damaged",
        data: { pack: this.pack, block, path: this.path },
      });
    }
    return this.readIndex(index, into);
  }

  /**
   * Reads the block at `index` of the table.
   * @throws IntegrityError as `read`.
   */
  readIndex(index: number, into?: Uint8Array): RawBlock {
    const block = this.table.blocks[index]!;
    const offset = this.table.offsetsBytes[index]!;
    const storedBytes = this.table.storedBytes[index]!;
    const where = `block ${block} of pack ${formatNumber(this.pack)} (at offset ${offset})`;
    const bytes = this.readAt(offset, BLOCK_HEADER_BYTES + storedBytes, into);
    const header = readBlockHeader(bytes.subarray(0, BLOCK_HEADER_BYTES), where);
    if (header.block !== block || header.storedBytes !== storedBytes) {
      throw new IntegrityError(`${where} is damaged: its header does not match the block table`, {
        hint: "run 'ckpt verify' to list everything that is damaged",
        data: { pack: this.pack, block, offsetBytes: offset },
      });
    }
    return { header, stored: bytes.subarray(BLOCK_HEADER_BYTES), where };
  }

  /**
   * Reads exactly `length` bytes, into `into` if they fit there.
   * @throws IntegrityError if the file ends before.
   */
  readAt(offsetBytes: number, length: number, into?: Uint8Array): Uint8Array {
    const bytes = readUpTo(this.#descriptor, this.path, offsetBytes, length, into);
    if (bytes.length < length) {
      throw new IntegrityError(
        `pack ${formatNumber(this.pack)} is truncated: ${length} bytes expected at offset ${offsetBytes}, ${bytes.length} found`,
        { hint: "run 'ckpt verify' to list what can still be read", data: { pack: this.pack, offsetBytes } },
      );
    }
    return bytes;
  }

  close(): void {
    closeSync(this.#descriptor);
  }
}

function withDescriptor(path: string, pack: number, use: (descriptor: number) => PackReader): PackReader {
  const descriptor = openPack(path, pack);
  try {
    return use(descriptor);
  } catch (cause) {
    closeSync(descriptor);
    throw cause;
  }
}

function openPack(path: string, pack: number): number {
  try {
    return openSync(path, constants.O_RDONLY);
  } catch (cause) {
    if (isErrno(cause, 'ENOENT')) {
      throw new IntegrityError(`pack ${formatNumber(pack)} is missing: ${path} does not exist`, {
        hint: "run 'ckpt verify' to see which checkpoints need it",
        data: { pack, path },
        cause,
      });
    }
    throw asStoreError(cause, 'open', path);
  }
}

function readUpTo(
  descriptor: number,
  path: string,
  offsetBytes: number,
  length: number,
  into?: Uint8Array,
): Uint8Array {
  const bytes =
    into !== undefined && length <= into.length ? into.subarray(0, length) : new Uint8Array(length);
  let done = 0;
  try {
    while (done < length) {
      const read = readSync(descriptor, bytes, done, length - done, offsetBytes + done);
      if (read === 0) break;
      done += read;
    }
  } catch (cause) {
    throw asStoreError(cause, 'read', path);
  }
  return bytes.subarray(0, done);
}
