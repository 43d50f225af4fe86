import { randomFillSync } from 'node:crypto';

const CITIES = ['Aachen', 'Bergen', 'Coimbra', 'Debrecen', 'Espoo', 'Freiburg', 'Gdynia', 'Haarlem'];

/** Bytes of each value. */
export const VALUE_BYTES = 1600;

/**
 * Value number `index` of a session store: a sealed blob (noise) in `randomShare` of the cases, else JSON about users,
 * which zstd shortens about fivefold.
 */
export function sampleValue(index: number, randomShare: number): Uint8Array {
  if ((Math.imul(index, 0x9e3779b1) >>> 0) / 2 ** 32 < randomShare) {
    return randomFillSync(Buffer.alloc(VALUE_BYTES));
  }
  let text = '';
  for (let line = 0; text.length < VALUE_BYTES; line++) {
    const mixed = Math.imul(index * 31 + line, 0x85ebca6b) >>> 0;
    text += `{"id":${mixed},"user":"u${mixed % 99991}","city":"${CITIES[mixed % 8]}",`;
    text += `"balance":${(mixed % 1000000) / 100},"token":"${(mixed ^ index).toString(36)}","active":${mixed % 3 === 0}}\n`;
  }
  return Buffer.from(text.slice(0, VALUE_BYTES));
}
