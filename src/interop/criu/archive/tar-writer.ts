import { Header, type HeaderData } from 'tar/header';
import { Pax } from 'tar/pax';
import { TAR_BLOCK_BYTES } from './tar-reader.ts';

/** A member to be written. */
export interface MemberToWrite {
  /** Relative, with `/` between the parts and none at the end. */
  readonly name: string;
  readonly kind: 'file' | 'link' | 'directory';
  readonly mode: number;
  readonly bytes: number;
  readonly target?: string;
  /** The content of a file: exactly `bytes`. */
  content(): AsyncIterable<Uint8Array>;
}

const TYPE_OF_KIND = { file: 'File', link: 'SymbolicLink', directory: 'Directory' } as const;

/**
 * A tar (POSIX, with extended headers where needed) of members that belong to root, all of one time.
 * @throws RangeError if a member's content is not as long as was said.
 */
export async function* writeTar(
  members: AsyncIterable<MemberToWrite> | Iterable<MemberToWrite>,
  modifiedAt: Date,
): AsyncGenerator<Uint8Array> {
  for await (const member of members) {
    yield* headersOf(member, modifiedAt);
    if (member.kind !== 'file') continue;
    let written = 0;
    for await (const piece of member.content()) {
      written += piece.length;
      if (written > member.bytes) break;
      yield piece;
    }
    if (written !== member.bytes) {
      throw new RangeError(
        `${member.name} has another length than the ${member.bytes} bytes that were announced`,
      );
    }
    const over = written % TAR_BLOCK_BYTES;
    if (over > 0) yield new Uint8Array(TAR_BLOCK_BYTES - over);
  }
  yield new Uint8Array(2 * TAR_BLOCK_BYTES);
}

function* headersOf(member: MemberToWrite, mtime: Date): Generator<Uint8Array> {
  const data: HeaderData = {
    path: member.kind === 'directory' ? `${member.name}/` : member.name,
    type: TYPE_OF_KIND[member.kind],
    mode: member.mode,
    size: member.kind === 'file' ? member.bytes : 0,
    uid: 0,
    gid: 0,
    uname: 'root',
    gname: 'root',
    mtime,
    ...(member.target === undefined ? {} : { linkpath: member.target }),
  };
  const block = Buffer.alloc(TAR_BLOCK_BYTES);
  // Names and sizes that the header has no room for stand in an extended header in front of it.
  if (new Header(data).encode(block)) yield new Pax(data).encode();
  yield block;
}
