import fc from 'fast-check';

/** One thing that goes wrong with bytes on their way; places are fractions of the length. */
export type Mutation =
  | { readonly kind: 'flip'; readonly place: number; readonly bit: number }
  | { readonly kind: 'overwrite'; readonly place: number; readonly value: bigint }
  | { readonly kind: 'remove' | 'repeat' | 'move'; readonly place: number; readonly bytes: number }
  | { readonly kind: 'insert'; readonly place: number; readonly garbage: Uint8Array }
  | { readonly kind: 'truncate'; readonly place: number };

/** Numbers at which lengths, addresses and ids go over some edge. */
const EDGES = [0n, 1n, 0xffn, 0xffff_ffffn, 0x7fff_ffffn, 2n ** 40n, 2n ** 63n, 2n ** 64n - 1n, 0x0004_0006n];

/** Not fc.double, which prefers numbers next to 0. */
const place = fc.integer({ min: 0, max: 9999 }).map((fraction) => fraction / 10_000);

const mutation: fc.Arbitrary<Mutation> = fc.oneof(
  fc.record({ kind: fc.constant('flip' as const), place, bit: fc.integer({ min: 0, max: 7 }) }),
  fc.record({ kind: fc.constant('overwrite' as const), place, value: fc.constantFrom(...EDGES) }),
  fc.record({
    kind: fc.constantFrom('remove' as const, 'repeat' as const, 'move' as const),
    place,
    bytes: fc.oneof(fc.integer({ min: 1, max: 64 }), fc.constantFrom(24, 32, 4096)),
  }),
  fc.record({
    kind: fc.constant('insert' as const),
    place,
    garbage: fc.uint8Array({ minLength: 1, maxLength: 80 }),
  }),
  fc.record({ kind: fc.constant('truncate' as const), place }),
);

export const mutations: fc.Arbitrary<Mutation[]> = fc.array(mutation, { minLength: 1, maxLength: 3 });

/** `bytes` with all this done to them, one after the other. */
export function mutated(bytes: Buffer, all: readonly Mutation[]): Buffer {
  return all.reduce(apply, bytes);
}

function apply(bytes: Buffer, mutation: Mutation): Buffer {
  const at = Math.floor(mutation.place * bytes.length);
  const [before, behind] = [bytes.subarray(0, at), bytes.subarray(at)];
  switch (mutation.kind) {
    case 'truncate':
      return before;
    case 'insert':
      return Buffer.concat([before, mutation.garbage, behind]);
    case 'remove':
      return Buffer.concat([before, behind.subarray(mutation.bytes)]);
    case 'repeat':
      return Buffer.concat([before, behind.subarray(0, mutation.bytes), behind]);
    case 'move':
      return Buffer.concat([behind.subarray(0, mutation.bytes), before, behind.subarray(mutation.bytes)]);
    case 'overwrite': {
      // Fields of headers lie at multiples of eight as long as nothing was moved.
      const field = Math.min(at - (at % 8), bytes.length - 8);
      const changed = Buffer.from(bytes);
      if (field >= 0) changed.writeBigUInt64LE(mutation.value, field);
      return changed;
    }
    case 'flip': {
      const changed = Buffer.from(bytes);
      if (bytes.length > 0) changed[at]! ^= 1 << mutation.bit;
      return changed;
    }
  }
}
