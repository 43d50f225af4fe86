import { formatNumber } from '../image/index.ts';

/** The file that makes a directory a store. */
export const STORE_FILE = 'ckpt-store.json';

/** While it exists, the checkpoints that it lists are gone and their files are being removed. */
export const PRUNING_FILE = 'pruning.json';

/** What became of migrations that this store received; it is there only once there has been one. */
export const MIGRATIONS_FOLDER = 'migrations';

export const STORE_FOLDERS = ['checkpoints', 'packs', 'tmp'] as const;

const MANIFEST_NAME = /^(\d{6,})\.json$/;
const PACK_NAME = /^(\d{6,})\.pack$/;

/** `checkpoints/000017.json`. */
export function manifestFileName(checkpoint: number): string {
  return `checkpoints/${formatNumber(checkpoint)}.json`;
}

/** `packs/000017.pack`. */
export function packFileName(pack: number): string {
  return `packs/${formatNumber(pack)}.pack`;
}

/** The number in the name of a manifest, or undefined if no manifest is named like that. */
export function checkpointOfFileName(name: string): number | undefined {
  return numberIn(name, MANIFEST_NAME);
}

/** The number in the name of a pack, or undefined if no pack is named like that. */
export function packOfFileName(name: string): number | undefined {
  return numberIn(name, PACK_NAME);
}

function numberIn(name: string, pattern: RegExp): number | undefined {
  const digits = pattern.exec(name)?.[1];
  const number = Number(digits);
  return digits !== undefined && number > 0 && formatNumber(number) === digits ? number : undefined;
}
