import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ByteWriter, PageRangeList, PeerError } from '../../../src/core/index.ts';
import {
  decodeMessage,
  encodeMessage,
  MAX_PAGES_OF_MESSAGE,
  MESSAGE_TYPES,
  type Message,
} from '../../../src/migration/wire/messages.ts';
import { arbitraryMessage, arbitraryMessageOf, asSent, throughTheWire } from './arbitrary-message.ts';

const pagesMessage = (bytes: Uint8Array): Message => ({
  type: 'pages',
  pid: 1,
  ranges: PageRangeList.of({ startPage: 16, endPage: 17 }),
  encoding: 'raw',
  checksum: 7,
  bytes,
});

/** What a decoder says of bytes that must not be; it must be a PeerError. */
function complaintOf(bytes: Uint8Array): string | undefined {
  try {
    decodeMessage(bytes);
    return undefined;
  } catch (error) {
    expect(error).toBeInstanceOf(PeerError);
    return (error as Error).message;
  }
}

describe('the messages of a migration', () => {
  it.each(MESSAGE_TYPES)('%s: what is written is read', (type) => {
    fc.assert(
      fc.property(arbitraryMessageOf(type), (message) => {
        const read = throughTheWire(message);
        expect(asSent(read)).toBe(asSent(message));
        expect(Object.keys(read)).toEqual(Object.keys(message));
      }),
      { numRuns: 30 },
    );
  });

  it('gives bytes, ranges and text as they were', () => {
    const read = throughTheWire(pagesMessage(new Uint8Array([1, 2, 3])));
    if (read.type !== 'pages') throw new Error(`a message of type ${read.type}`);
    expect([...read.bytes]).toEqual([1, 2, 3]);
    expect(read.ranges.startPage(0)).toBe(16);
    expect(read.ranges.endPage(0)).toBe(17);
    expect(throughTheWire({ type: 'abort', reason: 'größer als 2³²' })).toEqual({
      type: 'abort',
      reason: 'größer als 2³²',
    });
  });

  it('refuses every truncation', () => {
    fc.assert(
      fc.property(
        arbitraryMessage,
        fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
        (message, at) => {
          const encoded = encodeMessage(message);
          expect(complaintOf(encoded.slice(0, Math.floor(encoded.length * at)))).toBeDefined();
        },
      ),
    );
  });

  it('answers any bytes with a message or a complaint, and no more', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        complaintOf(bytes);
      }),
      { numRuns: 1000 },
    );
  });

  it('answers any change of one byte with a message or a complaint', () => {
    fc.assert(
      fc.property(arbitraryMessage, fc.nat(), fc.integer({ min: 1, max: 255 }), (message, at, flip) => {
        const encoded = encodeMessage(message).slice();
        encoded[at % encoded.length]! ^= flip;
        complaintOf(encoded);
      }),
      { numRuns: 1000 },
    );
  });

  it('makes no room for what is only announced', () => {
    const announced = (type: (typeof MESSAGE_TYPES)[number], write: (writer: ByteWriter) => void) => {
      const writer = new ByteWriter();
      writer.u8(MESSAGE_TYPES.indexOf(type));
      write(writer);
      return complaintOf(writer.toBytes());
    };
    const numbers =
      (...values: readonly number[]) =>
      (writer: ByteWriter) => {
        for (const value of values) writer.varint(value);
      };
    const manyVmas = (writer: ByteWriter) => {
      writer.varint(1);
      writer.varint(0);
      writer.text('');
      writer.u8(0);
      writer.varint(1_000_000);
    };
    expect(announced('mappings', manyVmas)).toContain('a count of 1000000');
    expect(announced('gone', numbers(1, 65536))).toContain('a count of 65536');
    expect(announced('abort', numbers(2 ** 50))).toContain(`${2 ** 50} bytes expected`);
    expect(announced('abort', (writer) => writer.text('x'.repeat(70_000)))).toContain(
      'more than 65536 bytes',
    );
    expect(announced('gone', numbers(1, 1, 2 ** 52, 1))).toContain('a range of 1 pages');
  });

  it('names what is wrong', () => {
    expect(complaintOf(new Uint8Array(0))).toContain('unknown type (none)');
    expect(complaintOf(new Uint8Array([200]))).toContain('unknown type 200');
    const encoded = encodeMessage({ type: 'commit', migrationId: 'abc' });
    expect(complaintOf(new Uint8Array([...encoded, 0]))).toContain("'commit' from the other end");
  });

  it('does not send what the other end would refuse', () => {
    expect(() => encodeMessage(pagesMessage(new Uint8Array(MAX_PAGES_OF_MESSAGE * 4096 + 1)))).toThrow(
      RangeError,
    );
    expect(() => encodeMessage({ type: 'round', number: -1, final: false })).toThrow(RangeError);
    expect(() => encodeMessage({ type: 'commit', migrationId: 'x'.repeat(65) })).toThrow(RangeError);
  });
});
