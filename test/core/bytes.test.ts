import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ByteReader, ByteWriter, IntegrityError } from '../../src/core/index.ts';

const EXTREMES = [0, 1, 127, 128, 255, 2 ** 32 - 1, 2 ** 32, 2 ** 47, 2 ** 52 - 1, Number.MAX_SAFE_INTEGER];

describe('ByteWriter and ByteReader', () => {
  it.each(EXTREMES)('round-trip %d as u64 and varint', (value) => {
    const writer = new ByteWriter(1);
    writer.u64(value);
    writer.varint(value);
    const reader = new ByteReader(writer.view(), 'test');
    expect([reader.u64(), reader.varint()]).toEqual([value, value]);
    reader.expectEnd();
  });

  it('round-trip any sequence of records', () => {
    const record = fc.oneof(
      fc.record({ kind: fc.constant('u8' as const), value: fc.nat({ max: 255 }) }),
      fc.record({ kind: fc.constant('u16' as const), value: fc.nat({ max: 65535 }) }),
      fc.record({ kind: fc.constant('u32' as const), value: fc.nat({ max: 2 ** 32 - 1 }) }),
      fc.record({ kind: fc.constant('varint' as const), value: fc.maxSafeNat() }),
      fc.record({ kind: fc.constant('text' as const), value: fc.string({ unit: 'grapheme' }) }),
    );
    fc.assert(
      fc.property(fc.array(record), (records) => {
        const writer = new ByteWriter(4);
        for (const entry of records) {
          if (entry.kind === 'text') writer.text(entry.value);
          else writer[entry.kind](entry.value);
        }
        const reader = new ByteReader(writer.toBytes(), 'test');
        for (const entry of records) {
          expect(entry.kind === 'text' ? reader.text() : reader[entry.kind]()).toBe(entry.value);
        }
        reader.expectEnd();
      }),
    );
  });

  it('names record and offset when bytes are missing, too many or out of range', () => {
    const short = new ByteReader(new Uint8Array(3), 'segment 7');
    short.u8();
    expect(() => short.u32()).toThrow('segment 7 is damaged: 4 bytes expected, 2 left at offset 1');
    expect(() => short.expectEnd()).toThrow(IntegrityError);
    expect(() => new ByteReader(new Uint8Array(8).fill(255), 'x').u64()).toThrow(IntegrityError);
    expect(() => new ByteReader(new Uint8Array(9).fill(255), 'x').varint()).toThrow(IntegrityError);
    expect(() => new ByteReader(Uint8Array.of(2, 0xc3, 0x28), 'x').text()).toThrow(IntegrityError);
  });

  it('never reads outside hostile input', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
        const reader = new ByteReader(bytes, 'hostile');
        try {
          while (reader.remainingBytes > 0) reader.lengthPrefixed();
        } catch (error) {
          expect(error).toBeInstanceOf(IntegrityError);
        }
        expect(reader.offsetBytes).toBeLessThanOrEqual(bytes.length);
      }),
    );
  });
});
