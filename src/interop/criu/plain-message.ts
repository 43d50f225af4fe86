import { type DescField, type DescMessage, fromBinary, type Message } from '@bufbuild/protobuf';
import type { ReflectMessage } from '@bufbuild/protobuf/reflect';
import { reflect } from '@bufbuild/protobuf/reflect';
import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';
import { requireFields } from './required-fields.ts';

/** A value of a decoded message: as JSON has it, 64-bit numbers as decimal text. */
export type PlainValue = string | number | boolean | PlainMessage | readonly PlainValue[];

/** A decoded message: fields by their names in CRIU's sources. */
export interface PlainMessage {
  readonly [field: string]: PlainValue;
}

/** Key under which fields stand that the layout does not have. */
export const UNKNOWN_FIELDS = '$unknown';

/**
 * Decodes one message. Enumerations give their labels, or the number if it has none; bytes give base64.
 * @throws Error if the bytes are no message, or a required field is missing.
 */
export function decodePlain(layout: DescMessage, bytes: Uint8Array): PlainMessage {
  requireFields(layout, bytes);
  return toPlain(reflect(layout, fromBinary(layout, bytes)));
}

function toPlain(message: ReflectMessage): PlainMessage {
  const plain: Record<string, PlainValue> = {};
  for (const field of message.fields) {
    const unlisted = field.enum === undefined ? undefined : unlistedValue(message.message, field);
    if (message.isSet(field)) plain[field.name] = fieldValue(message, field);
    else if (unlisted !== undefined) plain[field.name] = unlisted;
  }
  const unknown = unknownFields(message);
  if (unknown.length > 0) plain[UNKNOWN_FIELDS] = unknown;
  return plain;
}

function fieldValue(message: ReflectMessage, field: DescField): PlainValue {
  if (field.fieldKind === 'list') return [...message.get(field)].map((item) => plainValue(field, item));
  return plainValue(field, message.get(field));
}

function plainValue(field: DescField, value: unknown): PlainValue {
  if (isReflected(value)) return toPlain(value);
  if (field.enum !== undefined && typeof value === 'number') return field.enum.value[value]?.name ?? value;
  if (typeof value === 'bigint') return value.toString();
  if (value instanceof Uint8Array) return Buffer.from(value).toString('base64');
  if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean') return value;
  throw new TypeError(`field ${field.name} has a value of an unexpected kind`);
}

function isReflected(value: unknown): value is ReflectMessage {
  return typeof value === 'object' && value !== null && 'desc' in value && 'fields' in value;
}

/** A value that an enumeration does not list, which the library takes for an unknown field. */
function unlistedValue(message: Message, field: DescField): number | undefined {
  const found = message.$unknown?.find(
    ({ no, wireType }) => no === field.number && wireType === WireType.Varint,
  );
  return found === undefined ? undefined : new BinaryReader(found.data).uint32();
}

/** What newer versions wrote, so that nothing is lost in silence. */
function unknownFields({ message, fields }: ReflectMessage): PlainMessage[] {
  const unknown = (message.$unknown ?? []).filter(({ no }) => !fields.some(({ number }) => number === no));
  return unknown.map(({ no, wireType, data }) => ({
    field: no,
    wireType,
    base64: Buffer.from(data).toString('base64'),
  }));
}
