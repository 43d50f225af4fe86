import { Header } from 'tar/header';

/** All of a stream. */
export async function collected(stream: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of stream) chunks.push(Uint8Array.from(chunk));
  return Buffer.concat(chunks);
}

/** A stream of `bytes` in pieces of `pieceBytes`. */
export async function* inPieces(bytes: Uint8Array, pieceBytes = 1000): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += pieceBytes) yield bytes.subarray(at, at + pieceBytes);
}

/** A member of a tar that is put together here, header by header, whatever sense it makes. */
export interface RawMember {
  readonly name: string;
  /** The type flag; a file unless given. */
  readonly type?: string;
  readonly mode?: number;
  readonly content?: string | Uint8Array;
  readonly target?: string;
  /** Instead of the content's length. */
  readonly declaredBytes?: number;
  /** Changes the header before its checksum is made. */
  readonly edit?: (header: Buffer) => void;
}

/** A tar of these members, with its end. */
export function rawTar(members: readonly RawMember[]): Buffer {
  return Buffer.concat([...members.map(rawMember), Buffer.alloc(1024)]);
}

export function rawMember(member: RawMember): Buffer {
  const content = Buffer.from(member.content ?? '');
  const header = Buffer.alloc(512);
  new Header({
    path: member.name,
    mode: member.mode ?? 0o644,
    size: member.declaredBytes ?? content.length,
    ...(member.target === undefined ? {} : { linkpath: member.target }),
  }).encode(header);
  header.write(member.type ?? '0', 156, 'latin1');
  member.edit?.(header);
  sealHeader(header);
  return Buffer.concat([header, content, Buffer.alloc((512 - (content.length % 512)) % 512)]);
}

/** Puts the checksum of a header into it. */
export function sealHeader(header: Buffer): void {
  header.fill(' ', 148, 156);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
}

/** A pax header with these records. */
export function paxMember(records: Readonly<Record<string, string>>, type = 'x'): RawMember {
  const content = Object.entries(records).map(([key, value]) => {
    const rest = Buffer.byteLength(` ${key}=${value}\n`);
    let length = rest + 1;
    while (String(length).length + rest !== length) length++;
    return `${length} ${key}=${value}\n`;
  });
  return { name: 'PaxHeaders/0', type, content: content.join('') };
}
