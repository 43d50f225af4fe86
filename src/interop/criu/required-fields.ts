import type { DescMessage } from '@bufbuild/protobuf';

/** FeatureSet_FieldPresence.LEGACY_REQUIRED of descriptor.proto. */
const LEGACY_REQUIRED = 3;

/** Messages within messages within messages, of directories of control groups. */
const DEEPEST = 100;

/** What is to be known of a layout to walk a message of it. */
interface Walk {
  readonly required: ReadonlySet<number>;
  readonly nested: ReadonlyMap<number, DescMessage>;
}

const walks = new WeakMap<DescMessage, Walk>();

/**
 * Proves that a message and those in it have their required fields, before anything is made of it: a megabyte of
 * messages without fields would otherwise become half a million objects.
 * @throws Error naming a field, or what is wrong with the bytes
 */
export function requireFields(layout: DescMessage, bytes: Uint8Array): void {
  walkMessage(layout, bytes, 0, bytes.length, DEEPEST);
}

function walkMessage(
  layout: DescMessage,
  bytes: Uint8Array,
  start: number,
  end: number,
  depth: number,
): void {
  if (depth === 0) throw new Error(`messages within more than ${DEEPEST} others`);
  const { required, nested } = walkOf(layout);
  let missing = required.size === 0 ? undefined : new Set(required);
  const cursor = { at: start, end };
  while (cursor.at < end) {
    const tag = varint(bytes, cursor);
    const field = tag >>> 3;
    missing?.delete(field);
    if (missing?.size === 0) missing = undefined;
    const inner = nested.get(field);
    const isMessage = (tag & 7) === LENGTH_DELIMITED && inner !== undefined;
    const from = skipValue(bytes, cursor, tag & 7);
    if (isMessage) walkMessage(inner, bytes, from, cursor.at, depth - 1);
  }
  if (missing === undefined) return;
  const name = layout.fields.find(({ number }) => missing.has(number))?.name;
  throw new Error(`${layout.typeName} lacks its field ${name}`);
}

function walkOf(layout: DescMessage): Walk {
  const known = walks.get(layout);
  if (known !== undefined) return known;
  const walk = {
    required: new Set(
      layout.fields.filter(({ presence }) => presence === LEGACY_REQUIRED).map(({ number }) => number),
    ),
    nested: new Map(
      layout.fields.flatMap(({ number, message }) =>
        message === undefined ? [] : [[number, message] as const],
      ),
    ),
  };
  walks.set(layout, walk);
  return walk;
}

interface Cursor {
  at: number;
  readonly end: number;
}

const VARINT = 0;
const FIXED_64 = 1;
const LENGTH_DELIMITED = 2;
const FIXED_32 = 5;

/** @returns where the content of the value begins */
function skipValue(bytes: Uint8Array, cursor: Cursor, wireType: number): number {
  let length = 0;
  if (wireType === VARINT) varint(bytes, cursor);
  else if (wireType === FIXED_64) length = 8;
  else if (wireType === FIXED_32) length = 4;
  else if (wireType === LENGTH_DELIMITED) length = varint(bytes, cursor);
  else throw new Error(`a field has the wire type ${wireType}`);
  const from = cursor.at;
  cursor.at += length;
  if (cursor.at > cursor.end) throw new Error('a field reaches beyond its message');
  return from;
}

/** The low 32 bits. */
function varint(bytes: Uint8Array, cursor: Cursor): number {
  let value = 0;
  for (let shift = 0; shift < 70; shift += 7) {
    if (cursor.at >= cursor.end) throw new Error('a field reaches beyond its message');
    const byte = bytes[cursor.at++]!;
    if (shift < 32) value |= (byte & 0x7f) << shift;
    if (byte < 0x80) return value >>> 0;
  }
  throw new Error('a number has more than 64 bits');
}
