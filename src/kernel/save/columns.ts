import type { ByteReader, ByteWriter } from '../../core/index.ts';

type Column = Uint16Array | Uint32Array | Int32Array;

/** Writes the first `count` elements of a column: one byte if all are zero, else the memory of the array as it is. */
export function writeColumn(writer: ByteWriter, column: Column, count: number): void {
  const used = column.subarray(0, count);
  const bytes = new Uint8Array(used.buffer, used.byteOffset, used.byteLength);
  const empty = used.every((value) => value === 0);
  writer.u8(empty ? 0 : 1);
  if (!empty) writer.raw(bytes);
}

/** Fills the first `count` elements of a column with what `writeColumn` wrote. */
export function readColumn(reader: ByteReader, column: Column, count: number): void {
  const kind = reader.u8();
  if (kind === 0) return;
  if (kind !== 1) throw reader.damaged(`column kind ${kind}`);
  const bytes = reader.raw(count * column.BYTES_PER_ELEMENT);
  new Uint8Array(column.buffer, column.byteOffset, bytes.length).set(bytes);
}

export function writeNumbers(writer: ByteWriter, numbers: readonly number[]): void {
  writer.varint(numbers.length);
  for (const number of numbers) writer.varint(number);
}

/** Adds what `writeNumbers` wrote to a list, which may be longer than a call can have arguments. */
export function readNumbers(reader: ByteReader, numbers: number[] = []): number[] {
  for (let count = reader.varint(); count > 0; count--) numbers.push(reader.varint());
  return numbers;
}

/** Pairs in the order of insertion, which iteration (and so behaviour) depends on. */
export function writePairs(writer: ByteWriter, pairs: ReadonlyMap<number, number>): void {
  writer.varint(pairs.size);
  for (const [key, value] of pairs) {
    writer.varint(key);
    writer.varint(value);
  }
}

export function readPairs(reader: ByteReader, into: Map<number, number>): void {
  for (let count = reader.varint(); count > 0; count--) {
    const key = reader.varint();
    into.set(key, reader.varint());
  }
}
