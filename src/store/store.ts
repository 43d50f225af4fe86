import { randomBytes } from 'node:crypto';
import { chmod } from 'node:fs/promises';
import type { CodecPool } from '../codec/index.ts';
import { CheckpointNotFoundError, StoreNotFoundError, UsageError } from '../core/index.ts';
import { decodeManifest, decodeStoreFile, encodeStoreFile, type Manifest } from '../image/index.ts';
import type { Compression } from './blobs.ts';
import { BlockSource } from './block-source.ts';
import { CheckpointReader } from './checkpoint-reader.ts';
import { CheckpointWriter } from './checkpoint-writer.ts';
import { type FaultPoints, NO_FAULTS } from './faults.ts';
import { StoreFiles } from './files.ts';
import { manifestFileName, packFileName, STORE_FILE, STORE_FOLDERS } from './layout.ts';
import { StoreLock } from './lock.ts';
import { type LockHost, machineLockHost } from './owner.ts';
import { PackReader } from './pack-reader.ts';
import { PackWriter } from './pack-writer.ts';
import { PendingCheckpoints } from './pending-checkpoints.ts';
import { type Pruning, prune } from './pruning.ts';
import { checkpointsOf, cleanUp, packsOf, removeUnneededPacks } from './recovery.ts';
import { CheckpointSeries } from './series.ts';
import { type StoreSurvey, surveyStore } from './survey.ts';

/** How a store is opened. */
export interface StoreOptions {
  /** `read` takes no lock; `write` holds the lock until `close`; `create` is `write` and makes a missing store. */
  readonly access: 'read' | 'write' | 'create';
  /** What the lock says about who holds it: `ckpt dump`. */
  readonly command: string;
  readonly codec: CodecPool;
  readonly faults?: FaultPoints;
  readonly lockHost?: LockHost;
}

/** What a new checkpoint is. */
export interface NewCheckpoint {
  /** The checkpoint that a delta is taken against; null for a base. */
  readonly parent: number | null;
  readonly compression: Compression;
  /** Writes a base in the place of this checkpoint, of which it must hold the same memory (squash). */
  readonly replaces?: number;
  /** Writes this checkpoint anew in its place, with the pages that it has (adopt); `parent` must be its own. */
  readonly rewrites?: Manifest;
}

/** A directory of checkpoints. FORMAT.md in the image room describes the files. */
export class Store {
  readonly directory: string;
  /** What opening the store found and mended, in words: a dead owner's lock, leftovers of a killed command. */
  readonly notices: readonly string[];
  readonly #files: StoreFiles;
  readonly #codec: CodecPool;
  readonly #lock: StoreLock | undefined;
  readonly #source: BlockSource;
  readonly #pending = new PendingCheckpoints();
  #damagedSource: BlockSource | undefined;
  #series: CheckpointSeries | undefined;

  private constructor(
    files: StoreFiles,
    codec: CodecPool,
    lock: StoreLock | undefined,
    notices: readonly string[],
  ) {
    this.directory = files.directory;
    this.#files = files;
    this.#codec = codec;
    this.#lock = lock;
    this.notices = notices;
    this.#source = this.#openSource(PackReader.open);
  }

  /**
   * Opens a store, for writing after cleaning up what a killed writer left.
   * @throws StoreNotFoundError, StoreUnusableError, StoreVersionError, StoreLockedError, StoreFullError
   */
  static async open(directory: string, options: StoreOptions): Promise<Store> {
    const files = new StoreFiles(directory, options.faults ?? NO_FAULTS);
    const mayCreate = options.access === 'create';
    if (!mayCreate || (await isStore(files))) await checkStoreFile(files);
    else await prepareDirectory(files);
    if (options.access === 'read') return new Store(files, options.codec, undefined, []);
    await createFolders(files);
    const lock = await StoreLock.acquire(files, options.lockHost ?? machineLockHost, options.command);
    try {
      // Looked at again with the lock held: somebody else may have created the store meanwhile.
      if (mayCreate && !(await isStore(files))) await writeStoreFile(files);
      const notices = await cleanUp(files);
      if (lock.tookOver !== undefined) notices.unshift(lock.tookOver);
      return new Store(files, options.codec, lock, notices);
    } catch (cause) {
      await lock.release();
      throw cause;
    }
  }

  /** Numbers of all checkpoints, ascending. */
  async numbers(): Promise<number[]> {
    return (await checkpointsOf(this.#files)).numbers;
  }

  /** Numbers of all packs, ascending. */
  async packs(): Promise<number[]> {
    return packsOf(this.#files);
  }

  /** Length of a pack file, 0 if it does not exist. */
  async packBytes(pack: number): Promise<number> {
    return (await this.#files.status(packFileName(pack)))?.size ?? 0;
  }

  /**
   * All manifests, ascending.
   * @throws IntegrityError, StoreVersionError if one of them cannot be read.
   */
  async manifests(): Promise<Manifest[]> {
    const manifests: Manifest[] = [];
    for (const number of await this.numbers()) manifests.push(await this.#readManifest(number));
    return manifests;
  }

  /**
   * The manifest of a checkpoint.
   * @throws CheckpointNotFoundError, IntegrityError, StoreVersionError
   */
  async manifest(number: number): Promise<Manifest> {
    const numbers = await this.numbers();
    if (numbers.includes(number) || this.#series?.hides(number) === true) return this.#readManifest(number);
    const newest = numbers.at(-1);
    throw this.#notFound(
      number,
      newest === undefined
        ? "it is empty; 'ckpt dump', 'ckpt import' and others take some"
        : `the newest is ${newest}; 'ckpt ls' lists all that it has`,
    );
  }

  /** The manifest of the newest checkpoint, or undefined if there is none. */
  async newest(): Promise<Manifest | undefined> {
    const number = (await this.numbers()).at(-1);
    return number === undefined ? undefined : this.#readManifest(number);
  }

  /**
   * Opens a checkpoint for reading.
   * @throws as `manifest`
   */
  async openCheckpoint(number: number): Promise<CheckpointReader> {
    return new CheckpointReader(await this.manifest(number), this.#source);
  }

  /**
   * Opens a checkpoint of which files may be damaged, to salvage what can be proved: packs without a usable table are
   * searched for blocks. Close the store when done; damaged packs stay open until then.
   * @throws as `manifest`: without the manifest nothing can be found.
   */
  async openDamagedCheckpoint(number: number): Promise<CheckpointReader> {
    return new CheckpointReader(await this.manifest(number), this.damagedBlocks);
  }

  /**
   * Begins a checkpoint. End it with `commit` or `abort`. Several can be under way, each of which may be the first to
   * exist; pruning and squashing have to wait for them.
   * @throws UsageError if the store was opened for reading.
   */
  async beginCheckpoint(options: NewCheckpoint): Promise<CheckpointWriter> {
    this.#requireLock();
    const pending = this.#pending;
    const { highest, highestPack } = await pending.seen(() => this.#highestNumbers());
    // Nothing is awaited until they are taken.
    const pack = Math.max(highest, highestPack, pending.highestPack) + 1;
    const number =
      options.rewrites?.number ?? options.replaces ?? Math.max(highest, pending.highestCheckpoint) + 1;
    pending.begin(pack, number);
    try {
      const writer = await PackWriter.create(this.#files, pack);
      const plan = { ...options, number };
      return new CheckpointWriter(this.#files, writer, this.#codec, this.#source.segments, pending, plan);
    } catch (cause) {
      pending.end(pack);
      throw cause;
    }
  }

  /**
   * Lets the next checkpoints exist together or not at all: until the series is revealed nobody else sees them. None
   * may be under way.
   * @throws UsageError if the store was opened for reading.
   */
  async beginSeries(count: number): Promise<CheckpointSeries> {
    this.#requireLock();
    const { highest } = await checkpointsOf(this.#files);
    this.#series = await CheckpointSeries.begin(this.#files, this.#source, highest + 1, count);
    return this.#series;
  }

  /**
   * Carries out a prune: removes checkpoints, and the packs and blocks that nobody needs afterwards.
   * @throws UsageError if the store was opened for reading.
   */
  async prune(pruning: Pruning): Promise<void> {
    this.#requireLock();
    await prune(this.#files, this.#source, pruning);
    this.#source.close();
  }

  /**
   * Removes packs that no checkpoint needs.
   * @returns their numbers
   * @throws UsageError if the store was opened for reading.
   */
  async removeUnneededPacks(): Promise<number[]> {
    this.#requireLock();
    this.#source.close();
    return removeUnneededPacks(this.#files);
  }

  /** A directory for scratch files; the next writer removes what is left in it. */
  get scratchDirectory(): string {
    return this.#files.pathOf('tmp');
  }

  /** The blocks of all packs, for those who look below checkpoints. */
  get blocks(): BlockSource {
    return this.#source;
  }

  /** The same, making the best of packs whose table is damaged. */
  get damagedBlocks(): BlockSource {
    this.#damagedSource ??= this.#openSource(PackReader.openDamaged);
    return this.#damagedSource;
  }

  /** What lies in the directory beyond what belongs there. */
  async survey(): Promise<StoreSurvey> {
    return surveyStore(this.#files);
  }

  /** Closes files and gives the lock back. */
  async close(): Promise<void> {
    this.#source.close();
    this.#damagedSource?.close();
    await this.#lock?.release();
  }

  #openSource(openPack: (path: string, pack: number) => PackReader): BlockSource {
    return new BlockSource((pack) => this.#files.pathOf(packFileName(pack)), this.#codec, openPack);
  }

  async #readManifest(number: number): Promise<Manifest> {
    const text = await this.#files.readText(manifestFileName(number));
    if (text === undefined) throw this.#notFound(number, 'it was removed just now');
    return decodeManifest(text, number);
  }

  #notFound(checkpoint: number, hint: string): CheckpointNotFoundError {
    return new CheckpointNotFoundError(`the store ${this.directory} has no checkpoint ${checkpoint}`, {
      hint,
      data: { checkpoint },
    });
  }

  /** The highest numbers that are in use, but for those of checkpoints under way. */
  async #highestNumbers(): Promise<{ readonly highest: number; readonly highestPack: number }> {
    const { highest } = await checkpointsOf(this.#files);
    return { highest, highestPack: (await packsOf(this.#files)).at(-1) ?? 0 };
  }

  #requireLock(): void {
    if (this.#lock === undefined)
      throw new UsageError(`the store ${this.directory} was opened for reading only`);
  }
}

async function isStore(files: StoreFiles): Promise<boolean> {
  const directory = await files.status('.');
  return directory?.isDirectory() === true && (await files.status(STORE_FILE)) !== undefined;
}

/** Makes a directory that may become a store: one that is missing, empty, or what an interrupted creation left. */
async function prepareDirectory(files: StoreFiles): Promise<void> {
  const known = new Set<string>([...STORE_FOLDERS, 'lock']);
  const found = await files.status('.');
  if (found !== undefined && !found.isDirectory()) throw notAStore(files, 'it is not a directory');
  const names = found === undefined ? [] : await files.list('.');
  const foreign = names.find((name) => !known.has(name));
  if (foreign !== undefined) throw notAStore(files, `it holds ${foreign} and no ${STORE_FILE}`);
  await files.createDirectory('.', 'store-create');
  await files.attempt('protect', '.', () => chmod(files.directory, 0o700));
}

/** Makes a directory a store, which is the last step of its creation. */
async function writeStoreFile(files: StoreFiles): Promise<void> {
  const id = randomBytes(16).toString('hex');
  await files.replaceText('.', STORE_FILE, encodeStoreFile(id), 'store-file');
}

/** Makes the folders that are missing; git and some backups do not keep empty ones. */
async function createFolders(files: StoreFiles): Promise<void> {
  for (const folder of STORE_FOLDERS) {
    if ((await files.status(folder)) === undefined) await files.createDirectory(folder, 'store-create');
  }
}

/** Checks that the directory is a store of a version that is known. */
async function checkStoreFile(files: StoreFiles): Promise<void> {
  const text = await files.readText(STORE_FILE);
  if (text !== undefined) {
    decodeStoreFile(text, files.pathOf(STORE_FILE));
    return;
  }
  const found = await files.status('.');
  if (found === undefined) {
    throw new StoreNotFoundError(`there is no store at ${files.directory}`, {
      hint: "'ckpt dump', 'ckpt import', 'ckpt receive' and 'ckpt page-server' create one",
      data: { path: files.directory },
    });
  }
  throw notAStore(files, found.isDirectory() ? `it has no ${STORE_FILE}` : 'it is not a directory');
}

function notAStore(files: StoreFiles, why: string): StoreNotFoundError {
  return new StoreNotFoundError(`${files.directory} is not a store: ${why}`, {
    hint: 'give -D the directory of a store, or one that is empty or does not exist yet',
    data: { path: files.directory },
  });
}
