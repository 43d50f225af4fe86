import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { KnownPages } from '../../src/store/index.ts';

const digests = fc.uint8Array({ minLength: 16, maxLength: 16 });

/** A digest that differs from others of its kind in its last word only, so that all of them fall into one slot. */
function collidingDigest(number: number): Uint8Array {
  const digest = new Uint8Array(16);
  new DataView(digest.buffer).setUint32(12, number);
  return digest;
}

describe('the table of known pages', () => {
  it('finds what was added, at the place that was given first, and nothing else', () => {
    fc.assert(
      fc.property(fc.array(digests, { maxLength: 200 }), digests, (added, other) => {
        const known = new KnownPages();
        const expected = new Map<string, number>();
        for (const [position, digest] of added.entries()) {
          expect(known.add(digest, 0, 3, position)).toBe(true);
          const key = Buffer.from(digest).toString('hex');
          if (!expected.has(key)) expected.set(key, position);
        }
        expect(known.count).toBe(expected.size);
        for (const digest of [...added, other]) {
          const position = expected.get(Buffer.from(digest).toString('hex'));
          expect(known.find(digest, 0)).toBe(position !== undefined);
          if (position !== undefined) expect([known.foundPack, known.foundPosition]).toEqual([3, position]);
        }
      }),
    );
  });

  it('tells digests apart that fall into the same slot, also while it grows', () => {
    const known = new KnownPages();
    for (let number = 0; number < 4000; number++) known.add(collidingDigest(number), 0, 1, number);
    for (let number = 0; number < 4000; number += 97) {
      expect(known.find(collidingDigest(number), 0)).toBe(true);
      expect(known.foundPosition).toBe(number);
    }
    expect(known.find(collidingDigest(4000), 0)).toBe(false);
  });

  it('reads digests at any offset, and positions up to the last of a pack', () => {
    const known = new KnownPages();
    const column = Uint8Array.from({ length: 67 }, (_, index) => index);
    known.add(column, 3, 2 ** 32 - 1, 2 ** 32 - 1);
    expect(known.find(column.slice(3, 19), 0)).toBe(true);
    expect([known.foundPack, known.foundPosition]).toEqual([2 ** 32 - 1, 2 ** 32 - 1]);
    expect(known.find(column, 4)).toBe(false);
  });

  it('stays as small as it was told, and forgets nothing that it once accepted', () => {
    const known = new KnownPages(2 ** 12);
    let accepted = 0;
    for (let number = 0; number < 5000; number++) {
      const digest = new Uint8Array(16);
      new DataView(digest.buffer).setUint32(0, Math.imul(number, 0x9e3779b1));
      if (known.add(digest, 0, 1, number)) accepted++;
      else expect(known.find(digest, 0)).toBe(false);
    }
    expect(accepted).toBe(2 ** 12 * 0.75);
    expect(known.count).toBe(accepted);
  });
});
