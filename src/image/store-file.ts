import { JsonFields } from '../core/index.ts';
import { openSealedJson, sealJson } from './sealed-json.ts';

const STORE_FORMAT = 'ckpt-store';
const PRUNING_FORMAT = 'ckpt-pruning';

/** The text of `ckpt-store.json`, which makes a directory a store. */
export function encodeStoreFile(id: string): string {
  return sealJson(STORE_FORMAT, { id });
}

/**
 * The id in `ckpt-store.json`.
 * @throws IntegrityError, StoreVersionError
 */
export function decodeStoreFile(text: string, what: string): string {
  const fields = new JsonFields(openSealedJson(text, STORE_FORMAT, what), what);
  return fields.matching('id', /^[0-9a-f]{32}$/, '32 hexadecimal digits');
}

/** The text of `pruning.json`: from the moment it exists, these checkpoints are gone. */
export function encodePruning(checkpoints: readonly number[]): string {
  return sealJson(PRUNING_FORMAT, { checkpoints });
}

/**
 * The checkpoints that an unfinished prune has removed.
 * @throws IntegrityError, StoreVersionError
 */
export function decodePruning(text: string, what: string): number[] {
  return new JsonFields(openSealedJson(text, PRUNING_FORMAT, what), what).ascendingCounts('checkpoints', 1);
}
