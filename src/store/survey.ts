import type { StoreFiles } from './files.ts';
import {
  checkpointOfFileName,
  MIGRATIONS_FOLDER,
  PRUNING_FILE,
  packFileName,
  packOfFileName,
  STORE_FILE,
  STORE_FOLDERS,
} from './layout.ts';
import { unneededPacks } from './recovery.ts';

/** What lies in the directory of a store, beyond what belongs there. */
export interface StoreSurvey {
  /** Names that no store has. */
  readonly unknown: readonly string[];
  /** What a killed writer left: drafts, packs that no checkpoint needs, an unfinished prune. */
  readonly leftovers: readonly string[];
  /** Files and folders that others than the owner may use. */
  readonly exposed: readonly { readonly name: string; readonly mode: number }[];
  /** Whether a lock is there; its owner may be dead. */
  readonly locked: boolean;
}

/** Looks at every name in a store. */
export async function surveyStore(files: StoreFiles): Promise<StoreSurvey> {
  const unknown: string[] = [];
  const leftovers: string[] = [];
  const known: string[] = ['.'];
  const belongs = new Set<string>([...STORE_FOLDERS, STORE_FILE, PRUNING_FILE, MIGRATIONS_FOLDER, 'lock']);
  for (const name of await files.list('.')) (belongs.has(name) ? known : unknown).push(name);
  if (known.includes(PRUNING_FILE)) leftovers.push(PRUNING_FILE);
  for (const name of await files.list('checkpoints')) {
    (checkpointOfFileName(name) === undefined ? unknown : known).push(`checkpoints/${name}`);
  }
  for (const name of await files.list('packs')) {
    (packOfFileName(name) === undefined ? unknown : known).push(`packs/${name}`);
  }
  for (const name of await files.list('tmp')) leftovers.push(`tmp/${name}`);
  for (const pack of await unneededPacks(files)) leftovers.push(packFileName(pack));
  const exposed: { name: string; mode: number }[] = [];
  for (const name of known) {
    const mode = ((await files.status(name))?.mode ?? 0) & 0o777;
    if ((mode & 0o077) !== 0) exposed.push({ name, mode });
  }
  return { unknown, leftovers, exposed, locked: known.includes('lock') };
}
