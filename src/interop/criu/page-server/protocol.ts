import { PAGE_SIZE, PeerError } from '../../../core/index.ts';

/**
 * What CRIU's page server and its clients say to each other (criu/page-xfer.c, criu/include/page-xfer.h): headers, some
 * followed by pages, some answered by a few bytes. Nobody says which layout of the header he uses, and both are in use:
 * `old` up to CRIU 4.1 has 24 bytes, `new` since 4.2 has 32.
 */
export type HeaderLayout = 'old' | 'new';

/** Bytes of a header; `old` u32 command, u32 pages, u64 address, u64 destination; `new` u32, padding, three u64. */
export const HEADER_BYTES: Readonly<Record<HeaderLayout, number>> = { old: 24, new: 32 };

/** Low half of a header's first word. */
export const COMMANDS = {
  /** Pages with their content; before there were flags. */
  add: 1,
  /** Pages that are in the parent; before there were flags. */
  hole: 2,
  /** Begins the pages of an object; answered by nothing. */
  open: 3,
  /** Begins the pages of an object; answered by one byte: 1 if the parent has pages of it. */
  open2: 4,
  /** Asks whether the parent has pages of an object; answered by an int32. */
  parent: 5,
  /** Pages with flags; their content follows if they are present. */
  addFlagged: 6,
  /** Asks for pages; answered by `addFlagged`. */
  get: 7,
  /** Ends the session; answered by an int32, 0 if all is well. */
  close: 0x1023,
  /** The same, of a client that keeps the socket. */
  forceClose: 0x1024,
} as const;

/** Flags of pages: high half of a header's first word, and `flags` in a pagemap (criu/include/pagemap.h). */
export const PAGE_FLAGS = { parent: 1, lazy: 2, present: 4 } as const;

/** What pages belong to: a process by its number in its own namespace, or a shared memory object by its decimal id. */
export type PageObject =
  | { readonly kind: 'task'; readonly pid: number }
  | { readonly kind: 'shmem'; readonly id: string };

/** A header as it is on the wire. What its numbers mean, and whether they are possible, depends on the command. */
export interface MessageHeader {
  readonly command: number;
  readonly flags: number;
  readonly pageCount: bigint;
  /** In bytes: an address in the process, or an offset in the shared memory object. */
  readonly address: bigint;
  /** Kind and id of an object (`objectOf`), but the plain PID in `get` and its answers. */
  readonly destination: bigint;
}

/** One more than the highest page of a 64-bit address space. */
const END_OF_PAGES = 2n ** 52n;

/** PID_MAX_LIMIT (include/linux/threads.h): no process has this number. */
const PID_LIMIT = 4_194_304n;

const TASK_TYPE = 1n;
const SHMEM_TYPE = 2n;

/** The numbers of image files that CRIU up to 3.2 sent instead (criu/page-xfer.c). */
const LEGACY_TASK_TYPES: readonly bigint[] = [10n, 11n, 16n, 17n];
const LEGACY_SHMEM_TYPES: readonly bigint[] = [27n, 28n, 29n, 32n, 33n, 34n];

/** Decodes a header, of which `bytes` holds at least `HEADER_BYTES[layout]`. */
export function decodeHeader(bytes: Uint8Array, layout: HeaderLayout): MessageHeader {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const word = view.getUint32(0, true);
  const isOld = layout === 'old';
  return {
    command: word & 0xffff,
    flags: word >>> 16,
    pageCount: isOld ? BigInt(view.getUint32(4, true)) : view.getBigUint64(8, true),
    address: view.getBigUint64(isOld ? 8 : 16, true),
    destination: view.getBigUint64(isOld ? 16 : 24, true),
  };
}

/** Encodes a header. @throws RangeError if its page count needs more bits than the layout has */
export function encodeHeader(header: MessageHeader, layout: HeaderLayout): Uint8Array {
  const bytes = new Uint8Array(HEADER_BYTES[layout]);
  const view = new DataView(bytes.buffer);
  const isOld = layout === 'old';
  view.setUint32(0, ((header.flags << 16) | header.command) >>> 0, true);
  if (!isOld) view.setBigUint64(8, header.pageCount, true);
  else if (header.pageCount < 2n ** 32n) view.setUint32(4, Number(header.pageCount), true);
  else throw new RangeError(`${header.pageCount} pages do not fit into 32 bits`);
  view.setBigUint64(isOld ? 8 : 16, header.address, true);
  view.setBigUint64(isOld ? 16 : 24, header.destination, true);
  return bytes;
}

/**
 * Tells the layout from the first 24 bytes of a session.
 * @returns undefined for a session that is closed at once, where the rest of the header does not matter
 * @throws PeerError if no session begins like this
 */
export function detectLayout(first: Uint8Array): HeaderLayout | undefined {
  const { command, address, destination } = decodeHeader(first, 'old');
  switch (command) {
    case COMMANDS.open:
    case COMMANDS.open2:
    case COMMANDS.parent:
      // What stands there in the new layout is the address, which these commands do not have.
      return destination !== 0n ? 'old' : 'new';
    case COMMANDS.get:
      // What stands there in the new layout is the number of pages, of which nobody asks for so many at once.
      return address >= BigInt(PAGE_SIZE) && address % BigInt(PAGE_SIZE) === 0n ? 'old' : 'new';
    case COMMANDS.close:
    case COMMANDS.forceClose:
      return undefined;
    default:
      throw new PeerError(`it does not speak CRIU's protocol: its first word is ${describeWord(first)}`, {
        hint: 'if it uses --tls, both ends must',
      });
  }
}

/**
 * The object that a header is about; not of `get`, see `requestedProcess`.
 * @throws PeerError if there is no such object
 */
export function objectOf({ destination }: MessageHeader): PageObject {
  const type = destination & 0xffn;
  const id = destination >> 8n;
  if (type === TASK_TYPE || LEGACY_TASK_TYPES.includes(type)) return { kind: 'task', pid: pidOf(id) };
  if (type === SHMEM_TYPE || LEGACY_SHMEM_TYPES.includes(type)) return { kind: 'shmem', id: String(id) };
  throw new PeerError(`it sends pages of an unknown kind of object: ${type} (destination ${destination})`);
}

/** The process whose pages `get` asks for. @throws PeerError if no process has such a number */
export function requestedProcess({ destination }: MessageHeader): number {
  return pidOf(destination);
}

function pidOf(id: bigint): number {
  if (id > 0n && id < PID_LIMIT) return Number(id);
  throw new PeerError(`it names a process ${id}; processes have numbers from 1 to ${PID_LIMIT - 1n}`);
}

/**
 * The pages that a header is about.
 * @throws PeerError if there are none, or they are not in any address space
 */
export function pagesOf({ pageCount, address }: MessageHeader): {
  readonly startPage: number;
  readonly endPage: number;
} {
  const size = BigInt(PAGE_SIZE);
  const start = address / size;
  if (address % size !== 0n) throw new PeerError(`it sends pages at ${hex(address)}, where no page begins`);
  if (pageCount === 0n) throw new PeerError(`it sends no pages at ${hex(address)}`);
  if (start + pageCount > END_OF_PAGES) {
    throw new PeerError(`it sends ${pageCount} pages at ${hex(address)}, beyond the end of all memory`);
  }
  return { startPage: Number(start), endPage: Number(start + pageCount) };
}

/** `task 1234` or `shared memory 77`. */
export function describeObject(object: PageObject): string {
  return object.kind === 'task' ? `task ${object.pid}` : `shared memory ${object.id}`;
}

/** The name of a command, for people. */
export function describeCommand({ command, flags }: MessageHeader): string {
  const named = Object.entries(COMMANDS).find(([, number]) => number === command);
  return named === undefined ? `command ${hex(BigInt(command))} with flags ${flags}` : named[0];
}

function describeWord(bytes: Uint8Array): string {
  const word = new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0, true);
  return `0x${word.toString(16).padStart(8, '0')}`;
}

const hex = (value: bigint) => `0x${value.toString(16)}`;
