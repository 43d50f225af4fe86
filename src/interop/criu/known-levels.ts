import { createHash } from 'node:crypto';
import { IntegrityError, StoreVersionError } from '../../core/index.ts';
import type { CheckpointReader, KeptFiles, Store } from '../../store/index.ts';
import type { ImageDirectory, KeptFile, MemoryImage } from './images/types.ts';
import { contentOf, keptOfLevel } from './import-files.ts';
import type { StoredLevel } from './import-levels.ts';
import {
  decodeListing,
  type ImageListing,
  LISTING_FORMAT,
  type ListedFile,
  type ListedMemory,
} from './listing.ts';

/** A directory of a chain that is a checkpoint of the store. */
export interface KnownLevel extends StoredLevel {
  readonly listing: ImageListing;
}

/** A chain whose directories are looked for. */
export interface WantedChain {
  /** Oldest first. */
  readonly chain: readonly ImageDirectory[];
  /** Of the unpacked archive, without links; undefined for a directory. */
  readonly root: string | undefined;
  /** That its checkpoints have, wherever they are in the chain. */
  readonly fingerprint: string;
  readonly signal: AbortSignal | undefined;
  /** Told of checkpoints that cannot be read. */
  readonly note: (text: string) => void;
}

interface Stored {
  readonly reader: CheckpointReader;
  readonly kept: KeptFiles;
  readonly listing: ImageListing;
}

/**
 * Finds the directories of a chain that the store has as one chain of checkpoints, up to the newest directory that it
 * has. They are the same if all kept files and all pagemaps are, and one of them tells when it was dumped; pages files
 * are not read, since CRIU may have punched pages out of them meanwhile. Every checkpoint before must be one of the
 * directories before; those that were pruned or squashed are missing in what is found.
 * @returns oldest first; empty if there are none
 */
export async function findKnownLevels(wanted: WantedChain, store: Store): Promise<KnownLevel[]> {
  const { chain, fingerprint, signal, note } = wanted;
  const numbers = await store.numbers();
  let found: KnownLevel[] = [];
  // Another chain may have come in between, and a chain may go on in two ways: all are looked at.
  for (const number of numbers.toReversed()) {
    signal?.throwIfAborted();
    const newest = found.at(-1)?.index ?? -1;
    if (newest === chain.length - 1) break;
    try {
      const { target } = await store.manifest(number);
      if (target.kind !== 'criu' || target.fingerprint !== fingerprint) continue;
      const known = await chainUpTo(wanted, store, number, newest + 1);
      if (known.length > 0) found = known;
    } catch (error) {
      if (!(error instanceof IntegrityError || error instanceof StoreVersionError)) throw error;
      note(`checkpoint ${number} is not continued: ${error.message}`);
    }
  }
  return found;
}

/** @param from the least index that the checkpoint is to have in the chain. @returns empty if something differs */
async function chainUpTo(
  wanted: WantedChain,
  store: Store,
  number: number,
  from: number,
): Promise<KnownLevel[]> {
  const numbers = new Set(await store.numbers());
  const levels: KnownLevel[] = [];
  let next: number | null = number;
  let [least, end] = [from, wanted.chain.length];
  while (next !== null && numbers.has(next)) {
    wanted.signal?.throwIfAborted();
    const stored = await openStored(store, next);
    const level = stored && (await levelOf(wanted, stored, least, end));
    if (level === undefined) return [];
    levels.unshift(level);
    next = level.reader.manifest.parent;
    [least, end] = [0, level.index];
  }
  return levels;
}

async function openStored(store: Store, number: number): Promise<Stored | undefined> {
  const reader = await store.openCheckpoint(number);
  const kept = await reader.files();
  if (kept?.format !== LISTING_FORMAT) return undefined;
  return { reader, kept, listing: decodeListing(kept.listing) };
}

/** The newest directory of a part of the chain that a checkpoint is. */
async function levelOf(
  { chain, root, signal }: WantedChain,
  stored: Stored,
  least: number,
  end: number,
): Promise<KnownLevel | undefined> {
  const { reader, listing } = stored;
  for (let index = end - 1; index >= least; index--) {
    const directory = chain[index]!;
    if (!tellsWhen(directory) || !haveSamePagemaps(directory.memories, listing.memories)) continue;
    const { files, imagesPath } = await keptOfLevel(directory, index, chain, root);
    // The newest one of an archive is kept with all around it, which may differ where the images do not.
    const isWhole = index === chain.length - 1;
    if (isWhole && imagesPath !== listing.imagesPath) continue;
    const here = isWhole ? files : imagesOnly(files, imagesPath);
    const there = isWhole ? listing.files : imagesOnly(listing.files, listing.imagesPath);
    if (!areListedAlike(here, there)) continue;
    if ((await digestOf(contentOf(here, signal))) === (await digestOfStored(stored, there)))
      return { index, reader, listing };
  }
  return undefined;
}

/** Two dumps of an idle target may be alike but for that: CRIU measures it in microseconds. */
function tellsWhen({ inventory, otherFiles }: ImageDirectory): boolean {
  return (
    inventory.dumpUptimeMicroseconds !== undefined || otherFiles.some(({ name }) => name === 'stats-dump')
  );
}

function haveSamePagemaps(here: readonly MemoryImage[], there: readonly ListedMemory[]): boolean {
  return (
    here.length === there.length &&
    here.every(({ name, pagesId, entries }, index) => {
      const other = there[index]!;
      return (
        name === other.name &&
        pagesId === other.pagesId &&
        isSame(entries.flags, other.runs.flags) &&
        isSame(entries.startPages, other.runs.startPages) &&
        isSame(entries.pageCounts, other.runs.pageCounts)
      );
    })
  );
}

function isSame<Column extends Float64Array | Uint8Array>(here: Column, there: Column): boolean {
  return here.length === there.length && here.every((value, index) => value === there[index]);
}

/** The files of the images directory, by their names in it. */
function imagesOnly<File extends { readonly name: string }>(
  files: readonly File[],
  imagesPath: string,
): File[] {
  const prefix = imagesPath === '' ? '' : `${imagesPath}/`;
  return files
    .filter(({ name }) => name.startsWith(prefix))
    .map((file) => ({ ...file, name: file.name.slice(prefix.length) }));
}

function areListedAlike(here: readonly KeptFile[], there: readonly ListedFile[]): boolean {
  return (
    here.length === there.length &&
    here.every(({ name, kind, mode, bytes, target }, index) => {
      const other = there[index]!;
      return (
        name === other.name &&
        kind === other.kind &&
        mode === other.mode &&
        bytes === other.bytes &&
        target === other.target
      );
    })
  );
}

/** The digest of what files of a checkpoint hold, one behind the other. */
async function digestOfStored({ reader, kept, listing }: Stored, files: readonly ListedFile[]) {
  if (files.length === listing.files.length) return reader.manifest.files?.content.sha256;
  return digestOf(partsOf(kept, files));
}

async function* partsOf(kept: KeptFiles, files: readonly ListedFile[]): AsyncGenerator<Uint8Array> {
  for (const { kind, offset, bytes } of files) if (kind === 'file') yield* kept.read(offset, bytes);
}

async function digestOf(pieces: AsyncIterable<Uint8Array>): Promise<string> {
  const hash = createHash('sha256');
  for await (const piece of pieces) hash.update(piece);
  return hash.digest('hex');
}
