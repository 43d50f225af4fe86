import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BlockCache, type SlotFilling } from '../../src/store/block-cache.ts';

const BLOCK_BYTES = 64 * 1024;

/** Fills the slot with bytes that tell the block. */
function filling(key: number, slot: Uint8Array): SlotFilling {
  const bytes = slot.subarray(0, BLOCK_BYTES).fill(key % 251);
  const block = {
    kind: 'pages',
    itemCount: 16,
    bytes,
    where: `block ${key}`,
    provenDigests: undefined,
  } as const;
  return { block: Promise.resolve(block), rawBytes: BLOCK_BYTES };
}

describe('the cache of decoded blocks', () => {
  it('leaves a block as it is while it is lent, whatever is read meanwhile', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.nat(700), fc.boolean()), { minLength: 300, maxLength: 900 }),
        async (steps) => {
          const cache = new BlockCache();
          const kept: { readonly key: number; readonly lease: Awaited<ReturnType<typeof cache.lease>> }[] =
            [];
          for (const [key, keep] of steps) {
            const lease = await cache.lease(key, (slot) => filling(key, slot));
            expect(lease.block.where).toBe(`block ${key}`);
            if (keep && kept.length < 20) kept.push({ key, lease });
            else lease.release();
            if (kept.length === 20) kept.shift()!.lease.release();
          }
          for (const { key, lease } of kept) {
            expect(lease.block.bytes[0]).toBe(key % 251);
            expect(lease.block.bytes.at(-1)).toBe(key % 251);
          }
        },
      ),
      { numRuns: 5 },
    );
  });

  it('decodes a block once for all who ask for it meanwhile', async () => {
    const cache = new BlockCache();
    let fillings = 0;
    const fill = (slot: Uint8Array) => {
      fillings++;
      return filling(7, slot);
    };
    const leases = await Promise.all([cache.lease(7, fill), cache.lease(7, fill), cache.lease(7, fill)]);
    expect(fillings).toBe(1);
    expect(new Set(leases.map(({ block }) => block)).size).toBe(1);
  });

  it('uses few slots for many blocks', async () => {
    const cache = new BlockCache();
    const slots = new Set<unknown>();
    for (let key = 0; key < 2000; key++) {
      const lease = await cache.lease(key, (slot) => {
        slots.add(slot.buffer);
        return filling(key, slot);
      });
      lease.release();
    }
    expect(slots.size).toBeLessThanOrEqual(256);
  });

  it('forgets a block that could not be decoded, and one that could not be read', async () => {
    const cache = new BlockCache();
    const damaged = () => ({ block: Promise.reject(new Error('damaged')), rawBytes: BLOCK_BYTES });
    const missing = () => {
      throw new Error('missing');
    };
    await expect(cache.lease(1, damaged)).rejects.toThrow('damaged');
    await expect(cache.lease(1, missing)).rejects.toThrow('missing');
    expect((await cache.lease(1, (slot) => filling(1, slot))).block.where).toBe('block 1');
  });
});
