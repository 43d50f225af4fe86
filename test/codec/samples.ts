import { PAGE_SIZE, Random } from '../../src/core/index.ts';

/** `length` bytes that no codec can shorten. */
export function noise(seed: number, length: number): Uint8Array {
  const random = new Random(seed);
  return Uint8Array.from({ length }, () => random.nextBelow(256));
}

/** `length` bytes of records as programs keep them: text that zstd shortens about eightfold. */
export function records(length: number, first = 0): Uint8Array {
  const out = Buffer.alloc(length);
  let at = 0;
  for (let id = first; at < length; id++) {
    const name = `user-${(id * 7919) % 10007}`;
    at += out.write(`{"id":${id},"name":"${name}","score":${(id * 31) % 997},"tags":["a","b"]}\n`, at);
  }
  return new Uint8Array(out);
}

/** A page of records. */
export const recordPage = (first: number) => records(PAGE_SIZE, first);
