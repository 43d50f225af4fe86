import { type ByteReader, type ByteWriter, PageRangeList } from '../../core/index.ts';

/** What a field may hold, for those who generate values (tests) or describe them. */
export type Shape =
  | { readonly kind: 'integer'; readonly greatest: number }
  | { readonly kind: 'flag' }
  | { readonly kind: 'text'; readonly mostBytes: number }
  | { readonly kind: 'bytes'; readonly mostBytes: number }
  | { readonly kind: 'choice'; readonly words: readonly string[] }
  | { readonly kind: 'ranges'; readonly most: number }
  | { readonly kind: 'optional'; readonly inner: Shape }
  | { readonly kind: 'list'; readonly item: Shape; readonly most: number }
  | { readonly kind: 'record'; readonly fields: Readonly<Record<string, Shape>> };

/**
 * How one value travels. `read` checks every count and length against its bound and against what is left of the
 * message before it makes room for anything; what it cannot read is an IntegrityError. `write` throws a RangeError for
 * a value that the other end would refuse.
 */
export interface Field<Value> {
  readonly shape: Shape;
  read(reader: ByteReader): Value;
  write(writer: ByteWriter, value: Value): void;
}

/** The type of the values of a field. */
export type ValueOf<F> = F extends Field<infer Value> ? Value : never;

/** Page numbers of 64-bit addresses are below this. */
const PAGE_NUMBER_END = 2 ** 52;

/** A varint from 0 to `greatest`. */
export function integer(greatest = Number.MAX_SAFE_INTEGER): Field<number> {
  return {
    shape: { kind: 'integer', greatest },
    read(reader) {
      const value = reader.varint();
      if (value > greatest) throw reader.damaged(`the number ${value} where at most ${greatest} is allowed`);
      return value;
    },
    write(writer, value) {
      requireWithin(value, greatest, 'number');
      writer.varint(value);
    },
  };
}

/** One byte, 0 or 1. */
export function flag(): Field<boolean> {
  return {
    shape: { kind: 'flag' },
    read(reader) {
      const value = reader.u8();
      if (value > 1) throw reader.damaged(`the byte ${value} where 0 or 1 belongs`);
      return value === 1;
    },
    write: (writer, value) => writer.u8(value ? 1 : 0),
  };
}

/** UTF-8 behind a varint length. */
export function text(mostBytes: number): Field<string> {
  return {
    shape: { kind: 'text', mostBytes },
    read(reader) {
      const start = reader.offsetBytes;
      const value = reader.text();
      if (reader.offsetBytes - start > mostBytes + lengthOfVarint(mostBytes)) {
        throw reader.damaged(`text of more than ${mostBytes} bytes`);
      }
      return value;
    },
    write(writer, value) {
      requireWithin(Buffer.byteLength(value), mostBytes, 'length of a text');
      writer.text(value);
    },
  };
}

/** Bytes behind a varint length; what `read` gives is a view into the message. */
export function bytes(mostBytes: number): Field<Uint8Array> {
  return {
    shape: { kind: 'bytes', mostBytes },
    read(reader) {
      const length = reader.varint();
      if (length > mostBytes) throw reader.damaged(`${length} bytes where at most ${mostBytes} are allowed`);
      return reader.raw(length);
    },
    write(writer, value) {
      requireWithin(value.length, mostBytes, 'length of bytes');
      writer.lengthPrefixed(value);
    },
  };
}

/** One byte: the position of a word in a fixed list. */
export function choice<const Words extends readonly string[]>(...words: Words): Field<Words[number]> {
  return {
    shape: { kind: 'choice', words },
    read(reader) {
      const word = words[reader.u8()];
      if (word === undefined) throw reader.damaged(`none of ${words.join(', ')}`);
      return word;
    },
    write(writer, value) {
      const index = words.indexOf(value);
      if (index < 0) throw new RangeError(`${value} is none of ${words.join(', ')}`);
      writer.u8(index);
    },
  };
}

/** Ascending page ranges: their number, then for each the pages skipped since the last one's end and its length. */
export function pageRanges(most: number): Field<PageRangeList> {
  return {
    shape: { kind: 'ranges', most },
    read(reader) {
      const count = countOf(reader, most, 2);
      const ranges = new PageRangeList();
      let at = 0;
      for (let index = 0; index < count; index++) {
        const startPage = at + reader.varint();
        const pages = reader.varint();
        if (pages === 0 || startPage + pages > PAGE_NUMBER_END) {
          throw reader.damaged(`a range of ${pages} pages from page ${startPage}`);
        }
        at = startPage + pages;
        ranges.append(startPage, at);
      }
      return ranges;
    },
    write(writer, value) {
      requireWithin(value.rangeCount, most, 'number of ranges');
      writer.varint(value.rangeCount);
      let at = 0;
      for (let index = 0; index < value.rangeCount; index++) {
        writer.varint(value.startPage(index) - at);
        writer.varint(value.endPage(index) - value.startPage(index));
        at = value.endPage(index);
      }
    },
  };
}

/** A flag, and the value if it is set. */
export function optional<Value>(inner: Field<Value>): Field<Value | undefined> {
  const present = flag();
  return {
    shape: { kind: 'optional', inner: inner.shape },
    read: (reader) => (present.read(reader) ? inner.read(reader) : undefined),
    write(writer, value) {
      present.write(writer, value !== undefined);
      if (value !== undefined) inner.write(writer, value);
    },
  };
}

/** A varint count and that many items. */
export function list<Item>(item: Field<Item>, most: number): Field<readonly Item[]> {
  return {
    shape: { kind: 'list', item: item.shape, most },
    read(reader) {
      const count = countOf(reader, most, 1);
      const items: Item[] = [];
      for (let index = 0; index < count; index++) items.push(item.read(reader));
      return items;
    },
    write(writer, value) {
      requireWithin(value.length, most, 'number of items');
      writer.varint(value.length);
      for (const one of value) item.write(writer, one);
    },
  };
}

type RecordOf<Fields> = { readonly [Name in keyof Fields]: ValueOf<Fields[Name]> };

/** Fields one after another, in the order in which they are written here. */
export function record<const Fields extends Readonly<Record<string, Field<unknown>>>>(
  fields: Fields,
): Field<RecordOf<Fields>> {
  const entries: readonly [string, Field<unknown>][] = Object.entries(fields);
  return {
    shape: {
      kind: 'record',
      fields: Object.fromEntries(entries.map(([name, field]) => [name, field.shape])),
    },
    read: (reader) =>
      Object.fromEntries(entries.map(([name, field]) => [name, field.read(reader)])) as RecordOf<Fields>,
    write(writer, value) {
      const values: Readonly<Record<string, unknown>> = value;
      for (const [name, field] of entries) field.write(writer, values[name]);
    },
  };
}

/** A count that was read, proved against its bound and against the bytes left, `leastBytes` for each. */
function countOf(reader: ByteReader, most: number, leastBytes: number): number {
  const count = reader.varint();
  if (count > most || count * leastBytes > reader.remainingBytes) {
    throw reader.damaged(
      `a count of ${count}, with ${reader.remainingBytes} bytes left and at most ${most} allowed`,
    );
  }
  return count;
}

function requireWithin(value: number, greatest: number, what: string): void {
  if (!Number.isSafeInteger(value) || value < 0 || value > greatest) {
    throw new RangeError(`a message holds a ${what} of 0 to ${greatest}, not ${value}`);
  }
}

const lengthOfVarint = (value: number) => (value < 128 ? 1 : value < 16384 ? 2 : value < 2097152 ? 3 : 4);
