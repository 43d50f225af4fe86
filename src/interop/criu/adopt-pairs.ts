import { readFile, realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { type CheckpointName, openNamed } from '../../checkpoint/index.ts';
import { TargetError, UsageError } from '../../core/index.ts';
import type { CheckpointReader, KeptFiles, Store } from '../../store/index.ts';
import { type AdoptedPair, requireLater, requireTogether } from './adopt-checks.ts';
import { openImageDirectory } from './images/directory.ts';
import type { ImageDirectory } from './images/types.ts';
import { decodeListing, type ImageListing, LISTING_FORMAT, nameOfImage } from './listing.ts';
import { imageOf } from './page-server/received-images.ts';
import { memoryOfCheckpoint } from './state/memory-of-checkpoint.ts';
import { stateOf } from './state/state-of.ts';
import type { DirectoryState } from './state/types.ts';

/** A pair that has been found to belong together. */
export interface ProvedPair extends AdoptedPair {
  readonly listing: ImageListing;
  /** What the images tell beyond the pages. */
  readonly known: DirectoryState;
}

/** What a checkpoint keeps of CRIU. */
interface Received {
  readonly reader: CheckpointReader;
  readonly listing: ImageListing;
  readonly files: KeptFiles;
}

/**
 * Finds the checkpoint of each directory: of the one that is given, and of its parents as long as they are there.
 * @returns newest first
 * @throws TargetError if one of them is not of its checkpoint; as `openImageDirectory`
 */
export async function findPairs(
  store: Store,
  path: string,
  checkpoint: CheckpointName,
  onNote: (note: string) => void,
): Promise<ProvedPair[]> {
  const pairs: ProvedPair[] = [];
  let directory: ImageDirectory | undefined = await openWithoutPages(path);
  let received = await receivedAs(store, checkpoint);
  requireNew(received);
  for (;;) {
    pairs.push(await proved(received, directory));
    const { number, parent } = received.reader.manifest;
    if (parent === null) return pairs;
    const older = await parentOf(directory);
    if (older === undefined) {
      onNote(`the parent of ${directory.path} is not there: checkpoint ${parent} stays as it is`);
      return pairs;
    }
    if (!(await store.numbers()).includes(parent)) {
      onNote(`checkpoint ${number} stands on checkpoint ${parent}, which is no longer there`);
      return pairs;
    }
    requireLater(directory, older);
    received = await receivedAs(store, parent);
    if (received.listing.files.length > 0) {
      await requireSameInventory(received, older);
      return pairs;
    }
    directory = older;
  }
}

/** @throws UsageError if the directory has pages of its own: it needs no checkpoint to be whole */
async function openWithoutPages(path: string): Promise<ImageDirectory> {
  const directory = await openImageDirectory(path);
  const [memory] = directory.memories;
  if (memory === undefined) return directory;
  throw new UsageError(`${path} has pages of its own: ${memory.name}`, {
    hint: "'ckpt import' takes such a directory as it is",
    data: { path },
  });
}

async function parentOf(child: ImageDirectory): Promise<ImageDirectory | undefined> {
  if (child.parentLink === undefined) return undefined;
  const path = await realpath(join(child.path, 'parent')).catch(() => undefined);
  return path === undefined ? undefined : openWithoutPages(path);
}

async function receivedAs(store: Store, checkpoint: CheckpointName): Promise<Received> {
  const reader = await openNamed(store, checkpoint);
  const files = await reader.files();
  if (files?.format === LISTING_FORMAT) return { reader, files, listing: decodeListing(files.listing) };
  const { number } = reader.manifest;
  throw new TargetError(`checkpoint ${number} was not received by a page server`, {
    hint: 'name the one that was by --at; ckpt ls lists them',
    data: { checkpoint: number },
  });
}

function requireNew({ reader: { manifest }, listing }: Received): void {
  if (listing.files.length === 0) return;
  throw new TargetError(`checkpoint ${manifest.number} has its images already`, {
    hint: 'name one that was received since by --at; ckpt ls lists them',
    data: { checkpoint: manifest.number },
  });
}

/** Proves that what was adopted or imported before is of the same dump as the directory. */
async function requireSameInventory(
  { reader, listing, files }: Received,
  { path }: ImageDirectory,
): Promise<void> {
  const name = nameOfImage(listing, 'inventory.img');
  const kept = listing.files.find((file) => file.name === name);
  if (kept === undefined) return;
  const pieces: Uint8Array[] = [];
  for await (const piece of files.read(kept.offset, kept.bytes)) pieces.push(piece.slice());
  if (Buffer.concat(pieces).equals(await readFile(join(path, 'inventory.img')))) return;
  const { number } = reader.manifest;
  throw new TargetError(`${path} is not what checkpoint ${number} was made of: its inventory.img differs`, {
    hint: 'the images are of another chain than the pages',
    data: { checkpoint: number, path },
  });
}

async function proved({ reader, listing }: Received, directory: ImageDirectory): Promise<ProvedPair> {
  const memories = listing.memories.map(imageOf);
  const { manifest } = reader;
  const { path, isPreDump } = directory;
  const known = await stateOf({ path, isPreDump, memories }, memoryOfCheckpoint(reader));
  const pair = { manifest, directory, memories, listing, known };
  await requireTogether(pair, known);
  return pair;
}
