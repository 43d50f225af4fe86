import { Header } from 'tar/header';
import { ByteFeed, formatBytes, IntegrityError } from '../../../core/index.ts';
import { type ExtendedFields, parseExtendedHeader } from './tar-extended.ts';

export const TAR_BLOCK_BYTES = 512;

/** Extended headers and long names are held in memory. */
const MAX_EXTENDED_BYTES = 1024 * 1024;

/** Older file systems have 32 bits for seconds. */
const MAX_TIME_MILLISECONDS = 2 ** 31 * 1000;

/** A member has one of a kind: for all members, for itself, and GNU's two. */
const MAX_EXTENDED_HEADERS = 4;

/** Zeros behind the end, which fill up the last record; GNU tar's largest usual blocking factor makes far less. */
const MAX_TRAILER_BYTES = 8 * 1024 * 1024;

export type TarKind =
  | 'file'
  | 'directory'
  | 'symbolic link'
  | 'hard link'
  | 'character device'
  | 'block device'
  | 'FIFO'
  | 'sparse file'
  | 'member of unknown type';

const KIND_OF_TYPE: Readonly<Record<string, TarKind>> = {
  '0': 'file',
  '1': 'hard link',
  '2': 'symbolic link',
  '3': 'character device',
  '4': 'block device',
  '5': 'directory',
  '6': 'FIFO',
  '7': 'file',
  S: 'sparse file',
};

/** One member, as its headers say. */
export interface TarMember {
  /** As it is written there: hostile until looked at. */
  readonly name: string;
  readonly kind: TarKind;
  readonly mode: number;
  readonly bytes: number;
  readonly linkTarget: string;
  readonly modifiedAt: Date;
  /** Of its header, in the tar. */
  readonly offsetBytes: number;
  /** What a file holds; to be read before the next member is asked for, which skips the rest. */
  content(): AsyncGenerator<Uint8Array>;
}

/**
 * The members of a tar: POSIX (ustar, pax) or GNU. Bounded in memory whatever the headers say.
 * @param what names the archive in errors.
 * @throws IntegrityError with the offset of what is damaged, cut, or behind the end.
 */
export async function* readTar(bytes: AsyncIterable<Uint8Array>, what: string): AsyncGenerator<TarMember> {
  const reader = new TarReader(new ByteFeed(bytes), what);
  try {
    for (;;) {
      const member = await reader.next();
      if (member === undefined) return;
      yield member;
    }
  } finally {
    await reader.close();
  }
}

class TarReader {
  readonly #feed: ByteFeed;
  readonly #what: string;
  /** Content and padding of the member under way that nobody has read. */
  #unreadBytes = 0;
  #paddingBytes = 0;

  constructor(feed: ByteFeed, what: string) {
    this.#feed = feed;
    this.#what = what;
  }

  close(): Promise<void> {
    return this.#feed.close();
  }

  async next(): Promise<TarMember | undefined> {
    await this.#skipRest();
    let extended: ExtendedFields = {};
    const offsetBytes = this.#feed.offsetBytes;
    for (let headers = 0; ; headers++) {
      const headerOffset = this.#feed.offsetBytes;
      if (headers > MAX_EXTENDED_HEADERS) throw this.#damaged('too many extended headers', offsetBytes);
      const header = await this.#readHeader(extended);
      if (header === undefined) {
        if (headerOffset !== offsetBytes)
          throw this.#damaged('an extended header without a member', offsetBytes);
        await this.#readTrailer();
        return undefined;
      }
      const { typeKey } = header;
      if (typeKey === 'x' || typeKey === 'g' || typeKey === 'L' || typeKey === 'K') {
        extended = { ...extended, ...(await this.#readExtended(typeKey, header.size ?? 0, headerOffset)) };
        continue;
      }
      return this.#member(header, extended, offsetBytes);
    }
  }

  #member(header: Header, extended: ExtendedFields, offsetBytes: number): TarMember {
    const kind =
      extended.sparse === true ? 'sparse file' : (KIND_OF_TYPE[header.typeKey] ?? 'member of unknown type');
    const bytes = header.size ?? 0;
    this.#unreadBytes = bytes;
    this.#paddingBytes = paddingOf(bytes);
    return {
      name: header.path ?? '',
      kind,
      mode: (header.mode ?? 0) & 0o7777,
      bytes,
      linkTarget: extended.linkpath ?? header.linkpath ?? '',
      modifiedAt: believable(header.mtime),
      offsetBytes,
      content: () => this.#content(),
    };
  }

  async *#content(): AsyncGenerator<Uint8Array> {
    while (this.#unreadBytes > 0) {
      const piece = await this.#feed.some(this.#unreadBytes);
      if (piece === undefined) throw this.#cut('inside a member');
      this.#unreadBytes -= piece.length;
      yield piece;
    }
  }

  async #skipRest(): Promise<void> {
    for await (const _ of this.#content());
    await this.#exactly(this.#paddingBytes, 'inside a member');
    this.#paddingBytes = 0;
  }

  /** The next header, or undefined if it is the first of the two empty blocks at the end. */
  async #readHeader(extended: ExtendedFields): Promise<Header | undefined> {
    const offsetBytes = this.#feed.offsetBytes;
    const block = await this.#exactly(TAR_BLOCK_BYTES, 'without the two empty blocks of its end');
    const header = this.#decode(block, extended, offsetBytes);
    if (header.nullBlock) return undefined;
    if (!header.cksumValid) throw this.#damaged('a header whose checksum is wrong', offsetBytes);
    if (String.fromCharCode(...block.subarray(257, 262)) !== 'ustar') {
      throw this.#damaged('a header of another format than POSIX or GNU', offsetBytes);
    }
    if (header.size === undefined || !Number.isSafeInteger(header.size)) {
      throw this.#damaged('a member of impossible size', offsetBytes);
    }
    return header;
  }

  #decode(block: Uint8Array, extended: ExtendedFields, offsetBytes: number): Header {
    try {
      const { path, size } = extended;
      return new Header(Buffer.from(block), 0, {
        ...(path === undefined ? {} : { path }),
        ...(size === undefined ? {} : { size }),
      });
    } catch (cause) {
      throw this.#damaged('a header with impossible numbers', offsetBytes, cause);
    }
  }

  /** The content of an extended header or of a long name. */
  async #readExtended(
    type: 'x' | 'g' | 'L' | 'K',
    bytes: number,
    offsetBytes: number,
  ): Promise<ExtendedFields> {
    if (bytes > MAX_EXTENDED_BYTES) {
      throw this.#damaged(`an extended header of ${formatBytes(bytes)}`, offsetBytes);
    }
    const body = (await this.#exactly(bytes + paddingOf(bytes), 'inside an extended header')).subarray(
      0,
      bytes,
    );
    if (type === 'L' || type === 'K') {
      const end = body.indexOf(0);
      const text = Buffer.from(end < 0 ? body : body.subarray(0, end)).toString();
      return type === 'L' ? { path: text } : { linkpath: text };
    }
    const fields = parseExtendedHeader(body);
    if (fields === undefined) throw this.#damaged('a malformed extended header', offsetBytes);
    if (type === 'x') return fields;
    if (Object.keys(fields).length > 0) {
      throw this.#damaged('a global header that changes all members', offsetBytes);
    }
    return {};
  }

  /** The second empty block and what fills up the last record. Reading on also proves checksums of compression. */
  async #readTrailer(): Promise<void> {
    const start = this.#feed.offsetBytes;
    const second = await this.#exactly(TAR_BLOCK_BYTES, 'without the second empty block of its end');
    if (!isEmpty(second)) throw this.#damaged('one empty block between members', start);
    for (;;) {
      const offsetBytes = this.#feed.offsetBytes;
      const piece = await this.#feed.some(64 * 1024);
      if (piece === undefined) return;
      if (!isEmpty(piece)) throw this.#damaged('something behind its end', offsetBytes);
      if (offsetBytes - start > MAX_TRAILER_BYTES) throw this.#damaged('endless zeros behind its end', start);
    }
  }

  async #exactly(count: number, where: string): Promise<Uint8Array> {
    const bytes = await this.#feed.upTo(count);
    if (bytes.length < count) throw this.#cut(where);
    return bytes;
  }

  #cut(where: string): IntegrityError {
    return this.#damaged(`it ends ${where}`, this.#feed.offsetBytes);
  }

  #damaged(found: string, offsetBytes: number, cause?: unknown): IntegrityError {
    return new IntegrityError(`${this.#what} is damaged: ${found} at offset ${offsetBytes} of its tar`, {
      data: { file: this.#what, offsetBytes },
      cause,
    });
  }
}

/** A time that file systems take. */
function believable(time: Date | undefined): Date {
  const milliseconds = time?.getTime() ?? 0;
  return new Date(milliseconds >= 0 && milliseconds < MAX_TIME_MILLISECONDS ? milliseconds : 0);
}

const paddingOf = (bytes: number) => (TAR_BLOCK_BYTES - (bytes % TAR_BLOCK_BYTES)) % TAR_BLOCK_BYTES;

const isEmpty = (bytes: Uint8Array) => bytes.every((byte) => byte === 0);
