import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { applyPageDelta, encodePageDelta, MAX_PAGE_DELTA_BYTES } from '../../src/codec/index.ts';
import { IntegrityError, PAGE_SIZE } from '../../src/core/index.ts';
import { noise, recordPage } from './samples.ts';

const GUARD = 64;

/** Encodes into the middle of a guarded buffer. */
function encode(previous: Uint8Array, current: Uint8Array): Uint8Array | undefined {
  const guarded = new Uint8Array(GUARD + MAX_PAGE_DELTA_BYTES + GUARD).fill(0xa5);
  const out = guarded.subarray(GUARD, GUARD + MAX_PAGE_DELTA_BYTES);
  const length = encodePageDelta(previous, current, out);
  const guards = [...guarded.subarray(0, GUARD), ...guarded.subarray(GUARD + MAX_PAGE_DELTA_BYTES)];
  expect(guards.every((byte) => byte === 0xa5)).toBe(true);
  return length < 0 ? undefined : out.slice(0, length);
}

function apply(previous: Uint8Array, delta: Uint8Array): Uint8Array {
  const out = new Uint8Array(PAGE_SIZE);
  applyPageDelta(previous, delta, out);
  return out;
}

/** Edits as a program makes them: some bytes at some places. */
const edits = fc.array(fc.tuple(fc.nat(PAGE_SIZE - 1), fc.uint8Array({ minLength: 1, maxLength: 40 })), {
  maxLength: 30,
});

function edited(page: Uint8Array, changes: readonly (readonly [number, Uint8Array])[]): Uint8Array {
  const copy = page.slice();
  for (const [at, bytes] of changes) copy.set(bytes.subarray(0, PAGE_SIZE - at), at);
  return copy;
}

describe('a page delta', () => {
  it('rebuilds the page from the previous one', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 1e6 }), edits, (first, changes) => {
        const previous = recordPage(first);
        const current = edited(previous, changes);
        const delta = encode(previous, current);
        if (delta === undefined) return false;
        return Buffer.compare(apply(previous, delta), current) === 0;
      }),
    );
  });

  it('rebuilds from pages at odd addresses, in shared memory, and in place', () => {
    const shared = new Uint8Array(new SharedArrayBuffer(PAGE_SIZE * 2 + 3));
    const previous = shared.subarray(1, 1 + PAGE_SIZE);
    const current = shared.subarray(3 + PAGE_SIZE);
    previous.set(recordPage(5));
    current.set(
      edited(recordPage(5), [
        [0, noise(1, 9)],
        [4090, noise(2, 6)],
      ]),
    );
    const delta = encode(previous, current);
    expect(delta).toBeDefined();
    applyPageDelta(previous, delta ?? new Uint8Array(), previous);
    expect(Buffer.compare(previous, current)).toBe(0);
  });

  it('of equal pages is empty', () => {
    expect(encode(recordPage(1), recordPage(1))).toEqual(new Uint8Array());
  });

  it('costs at most four bytes beside each changed stretch', () => {
    fc.assert(
      fc.property(edits, (changes) => {
        const previous = recordPage(7);
        const delta = encode(previous, edited(previous, changes));
        const changedBytes = changes.reduce((sum, [, bytes]) => sum + bytes.length, 0);
        // Inside a stretch, a byte that happens to be equal may split it, which never costs more than joining.
        return delta !== undefined && delta.length <= changedBytes + 4 * changes.length;
      }),
    );
  });

  it('of two changed counters takes twenty bytes', () => {
    const previous = new Uint8Array(PAGE_SIZE);
    const current = edited(previous, [
      [8, new Uint8Array(8).fill(1)],
      [2048, new Uint8Array(8).fill(2)],
    ]);
    expect(encode(previous, current)?.length).toBe(1 + 1 + 8 + 2 + 1 + 8);
  });

  it('joins changes over gaps of two bytes and no more', () => {
    const previous = new Uint8Array(PAGE_SIZE);
    expect(encode(previous, edited(previous, [[10, Uint8Array.of(1, 0, 0, 1)]]))).toEqual(
      Uint8Array.of(10, 4, 1, 0, 0, 1),
    );
    expect(encode(previous, edited(previous, [[10, Uint8Array.of(1, 0, 0, 0, 1)]]))).toEqual(
      Uint8Array.of(10, 1, 1, 3, 1, 1),
    );
  });

  it('is refused where it would exceed half a page, and only there', () => {
    const zeros = new Uint8Array(PAGE_SIZE);
    const changed = (bytes: number) => edited(zeros, [[0, new Uint8Array(bytes).fill(1)]]);
    // One byte for the skip, two for the length.
    expect(encode(zeros, changed(MAX_PAGE_DELTA_BYTES - 3))?.length).toBe(MAX_PAGE_DELTA_BYTES);
    expect(encode(zeros, changed(MAX_PAGE_DELTA_BYTES - 2))).toBeUndefined();
    expect(encode(zeros, noise(1, PAGE_SIZE))).toBeUndefined();
    const everyFourth = Uint8Array.from({ length: PAGE_SIZE }, (_, at) => (at % 4 === 0 ? 1 : 0));
    expect(encode(zeros, everyFourth)).toBeUndefined();
  });

  it('refuses pages and buffers of the wrong size', () => {
    const page = recordPage(0);
    expect(() => encodePageDelta(page.subarray(1), page, new Uint8Array(4096))).toThrow(RangeError);
    expect(() => encodePageDelta(page, page, new Uint8Array(MAX_PAGE_DELTA_BYTES - 1))).toThrow(RangeError);
    expect(() => applyPageDelta(page, new Uint8Array(), new Uint8Array(100))).toThrow(RangeError);
  });
});

describe('a hostile page delta', () => {
  it.each([
    ['an empty run', [5, 0], /an empty run/],
    ['a run beyond the page', [0xff, 0x1f, 2, 1, 1], /ends at 4097 of 4096/],
    ['a skip beyond the page', [0x80, 0x20, 1, 1], /ends at 4097 of 4096/],
    ['a truncated run', [0, 5, 1, 2], /5 bytes expected, 2 left/],
    ['a truncated number', [0x80], /1 bytes expected, 0 left/],
    ['an endless number', [255, 255, 255, 255, 255, 255, 255, 255, 255], /above 2\^53/],
  ])('with %s is named', (_, bytes, message) => {
    expect(() => apply(recordPage(0), Uint8Array.from(bytes))).toThrow(IntegrityError);
    expect(() => apply(recordPage(0), Uint8Array.from(bytes))).toThrow(message);
  });

  it('of any bytes is applied or refused, and never reaches beyond the page', () => {
    const guarded = new Uint8Array(GUARD + PAGE_SIZE + GUARD).fill(0x5a);
    const out = guarded.subarray(GUARD, GUARD + PAGE_SIZE);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (delta) => {
        try {
          applyPageDelta(recordPage(2), delta, out);
        } catch (error) {
          expect(error).toBeInstanceOf(IntegrityError);
        }
        const guards = [...guarded.subarray(0, GUARD), ...guarded.subarray(GUARD + PAGE_SIZE)];
        return guards.every((byte) => byte === 0x5a);
      }),
      { numRuns: 500 },
    );
  });
});
