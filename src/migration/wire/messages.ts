import { MAX_BLOCK_BYTES } from '../../codec/index.ts';
import { ByteReader, ByteWriter, PAGE_SIZE, PeerError } from '../../core/index.ts';
import {
  bytes,
  choice,
  type Field,
  flag,
  integer,
  list,
  optional,
  pageRanges,
  record,
  text,
  type ValueOf,
} from './fields.ts';

/** Pages that one message carries at most: as many as one block of the codec. */
export const MAX_PAGES_OF_MESSAGE = MAX_BLOCK_BYTES / PAGE_SIZE;

/** Bytes of a migrated state that one `state` message carries at most. */
export const MAX_STATE_CHUNK_BYTES = MAX_BLOCK_BYTES;

/** Ranges that one message names at most. */
export const MAX_RANGES_OF_MESSAGE = 65536;

/** An encoded message is at most this long; a list of a million mappings fits. */
export const MAX_MESSAGE_BYTES = 32 * 1024 * 1024;

const MAX_TEXT_BYTES = 64 * 1024;
const UINT32 = 2 ** 32 - 1;

const pid = integer(UINT32);
const digest = text(64);
const migrationId = text(64);

const target = record({
  kind: choice('simulated', 'live'),
  name: text(MAX_TEXT_BYTES),
  fingerprint: text(MAX_TEXT_BYTES),
});

/** A mapping as in /proc/PID/maps, with the VmFlags of smaps. */
const vma = record({
  startPage: integer(2 ** 52),
  endPage: integer(2 ** 52),
  read: flag(),
  write: flag(),
  execute: flag(),
  shared: flag(),
  offsetPages: integer(),
  deviceMajor: integer(UINT32),
  deviceMinor: integer(UINT32),
  inode: integer(),
  pathname: text(MAX_TEXT_BYTES),
  flags: list(text(8), 256),
});

/**
 * Every message of a migration and how it travels; its number on the wire is its place in this list, so new ones go to
 * the end. WIRE.md says what they mean and who sends them when.
 */
const FORMATS = {
  hello: record({
    migrationId,
    purpose: choice('migrate', 'discard', 'resolve'),
    strategy: choice('pre-copy', 'post-copy', 'hybrid', 'stop-and-copy'),
    target,
    pageSize: integer(2 ** 30),
    program: text(256),
  }),
  welcome: record({ program: text(256), storeName: text(MAX_TEXT_BYTES) }),
  round: record({ number: integer(UINT32), final: flag() }),
  'round-end': record({ number: integer(UINT32), sentPages: integer() }),
  mappings: record({
    pid,
    parentPid: pid,
    name: text(MAX_TEXT_BYTES),
    fingerprint: optional(text(MAX_TEXT_BYTES)),
    vmas: list(vma, 1_048_576),
  }),
  pages: record({
    pid,
    ranges: pageRanges(MAX_RANGES_OF_MESSAGE),
    encoding: choice('raw', 'zstd', 'zero'),
    checksum: integer(UINT32),
    bytes: bytes(MAX_BLOCK_BYTES),
  }),
  gone: record({ pid, ranges: pageRanges(MAX_RANGES_OF_MESSAGE) }),
  state: record({
    format: text(256),
    summary: text(1024 * 1024),
    last: flag(),
    bytes: bytes(MAX_STATE_CHUNK_BYTES),
  }),
  'prepared-digest': record({ memoryDigest: digest }),
  ready: record({
    checkpoint: integer(UINT32),
    memoryDigest: digest,
    canRun: flag(),
    obstacles: list(text(MAX_TEXT_BYTES), 1024),
  }),
  commit: record({ migrationId }),
  started: record({ migrationId, pid }),
  abort: record({ reason: text(MAX_TEXT_BYTES) }),
  'request-pages': record({ pid, ranges: pageRanges(MAX_RANGES_OF_MESSAGE) }),
  progress: record({ storedPages: integer(), storedBytes: integer() }),
  outcome: record({
    migrationId,
    status: choice('unknown', 'receiving', 'ready', 'committed', 'started', 'failed'),
    pid,
    detail: text(MAX_TEXT_BYTES),
  }),
} as const;

export type MessageType = keyof typeof FORMATS;

/** The message of one type. */
export type MessageOf<Type extends MessageType> = { readonly type: Type } & ValueOf<(typeof FORMATS)[Type]>;

/** Anything that is said during a migration. */
export type Message = { readonly [Type in MessageType]: MessageOf<Type> }[MessageType];

/** All types, in the order of their numbers on the wire. */
export const MESSAGE_TYPES = Object.keys(FORMATS) as readonly MessageType[];

/** How the messages of a type travel, without the byte that names the type. */
export function formatOf(type: MessageType): Field<unknown> {
  return FORMATS[type];
}

/**
 * One byte for the type, then the fields.
 * @throws RangeError for a value beyond the bounds of its field or of MAX_MESSAGE_BYTES.
 */
export function encodeMessage(message: Message): Uint8Array {
  const writer = new ByteWriter(sizeGuess(message));
  writer.u8(MESSAGE_TYPES.indexOf(message.type));
  formatOf(message.type).write(writer, message);
  if (writer.lengthBytes > MAX_MESSAGE_BYTES) {
    throw new RangeError(
      `a message '${message.type}' of ${writer.lengthBytes} bytes, at most ${MAX_MESSAGE_BYTES} go`,
    );
  }
  return writer.view();
}

/**
 * The message that `encodeMessage` wrote; its byte fields are views into `encoded`.
 * @throws PeerError that names the message and what is wrong with it.
 */
export function decodeMessage(encoded: Uint8Array): Message {
  const type = MESSAGE_TYPES[encoded[0] ?? -1];
  if (type === undefined) {
    throw new PeerError(`the other end sent a message of the unknown type ${encoded[0] ?? '(none)'}`);
  }
  const reader = new ByteReader(encoded.subarray(1), `a message '${type}' from the other end`);
  try {
    const fields = formatOf(type).read(reader);
    reader.expectEnd();
    // The format of a type reads the fields of that type.
    return { type, ...(fields as object) } as Message;
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    throw new PeerError(error.message, { cause: error, data: { messageType: type } });
  }
}

/** Room that spares the writer its growing where a message carries pages or state. */
function sizeGuess(message: Message): number {
  return 'bytes' in message ? message.bytes.length + 1024 : 256;
}
