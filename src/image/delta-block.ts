import { ByteReader, ByteWriter } from '../core/index.ts';

/**
 * The content of a block of page differences: a 16-bit count, the 16-bit length of each record, then the records
 * (see `encodePageDelta` of the codec room) without gaps. Slot i is record i.
 */
export function encodeDeltaBlock(records: readonly Uint8Array[]): Uint8Array {
  const writer = new ByteWriter(2 + records.reduce((bytes, record) => bytes + 2 + record.length, 0));
  writer.u16(records.length);
  for (const record of records) writer.u16(record.length);
  for (const record of records) writer.raw(record);
  return writer.toBytes();
}

/**
 * The records of a block of page differences, as views of `bytes`.
 * @throws IntegrityError
 */
export function decodeDeltaBlock(bytes: Uint8Array, what: string): Uint8Array[] {
  const reader = new ByteReader(bytes, what);
  const lengths = Array.from({ length: reader.u16() }, () => reader.u16());
  const records = lengths.map((length) => reader.raw(length));
  reader.expectEnd();
  return records;
}
