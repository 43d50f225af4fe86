import { randomUUID } from 'node:crypto';
import { IncomingCheckpoints } from '../../../checkpoint/index.ts';
import type { CodecPool } from '../../../codec/index.ts';
import { formatPageAddress, machineClock, PageRangeList, PeerError } from '../../../core/index.ts';
import { FIRST_OBJECT_PID, type Manifest, type StoredIdentity } from '../../../image/index.ts';
import type { CheckpointReader, Compression, NewProcess } from '../../../store/index.ts';
import { newFilesOf } from '../import-files.ts';
import { storedProcesses } from '../import-processes.ts';
import type { ListedMemory } from '../listing.ts';
import { stateOf } from '../state/state-of.ts';
import type { TakePages } from './page-batch.ts';
import { describeObject, PAGE_FLAGS, type PageObject } from './protocol.ts';
import { imageOf, objectNumbersOf } from './received-images.ts';
import { ReceivedObject, RunBudget } from './received-object.ts';
import type { SharedStore, StoreUse } from './shared-store.ts';

/** How the checkpoints of a page server are written. */
export interface ReceivingStore {
  readonly shared: SharedStore;
  readonly pool: CodecPool;
  readonly compression: Compression;
  /** Whether each session continues what came before it. */
  readonly chain: boolean;
}

/** Objects of a session at most: more than a machine has processes, by default. */
const MAX_OBJECTS = 65_536;

/** Where CRIU's page server begins to number pages files, so that they can lie beside those of the dumper. */
const FIRST_PAGES_ID = 0x10001;

/** What is known of the tracker that found the pages: it is CRIU's. */
const TRACKER = 'criu';

/** What to do about a dump on top of another that it cannot be put on. */
const NEEDS_CHAIN =
  "for dumps with --prev-images-dir start 'ckpt page-server --chain' before the first of them";
const NEEDS_NEWEST = 'dump with the --prev-images-dir of the newest checkpoint, or without any';

/** What one session sends, on its way to become a checkpoint. */
export class ReceivedCheckpoint {
  readonly #use: StoreUse;
  readonly #incoming: IncomingCheckpoints;
  readonly #parent: CheckpointReader | undefined;
  readonly #preDump: boolean;
  readonly #objects = new Map<string, ReceivedObject>();
  readonly #budget = new RunBudget();
  readonly #startedMicroseconds = machineClock();
  readonly #createdAt = new Date().toISOString();
  /** Until then no pages can be taken. */
  readonly #ready: Promise<unknown>;
  #nextObjectPid: number;

  private constructor(
    use: StoreUse,
    incoming: IncomingCheckpoints,
    parent: CheckpointReader | undefined,
    preDump: boolean,
  ) {
    this.#use = use;
    this.#incoming = incoming;
    this.#parent = parent;
    this.#preDump = preDump;
    const pids = parent?.manifest.processes.map(({ pid }) => pid + 1) ?? [];
    this.#nextObjectPid = Math.max(FIRST_OBJECT_PID, ...pids);
    this.#ready = this.#prepare();
    // Met by whoever needs it.
    this.#ready.catch(() => undefined);
  }

  /**
   * Begins a checkpoint. What is known of the parent from its manifest can be asked at once, while the rest of it is
   * still being read: the target stands still.
   * @param preDump whether the target runs while its pages are sent
   * @throws what opening the store throws; the signal's reason
   */
  static async begin(
    { shared, pool, compression, chain }: ReceivingStore,
    preDump: boolean,
    signal: AbortSignal,
  ): Promise<ReceivedCheckpoint> {
    const use = await shared.use(signal);
    // What was there before is read only where the target does not stand still meanwhile.
    const incoming = new IncomingCheckpoints(use.store, pool, compression, { differences: preDump });
    try {
      const newest = chain ? await use.store.newest() : undefined;
      const isContinued = newest !== undefined && canContinue(newest);
      const parent = isContinued ? await use.store.openCheckpoint(newest.number) : undefined;
      return new ReceivedCheckpoint(use, incoming, parent, preDump);
    } catch (cause) {
      incoming.close();
      await use.release();
      throw cause;
    }
  }

  async #prepare(): Promise<void> {
    if (this.#parent !== undefined) await this.#incoming.continueFrom(this.#parent.manifest.number);
    await this.#incoming.begin();
  }

  /** The checkpoint that this one continues. */
  get parent(): number | null {
    return this.#parent?.manifest.number ?? null;
  }

  get objects(): readonly ReceivedObject[] {
    return [...this.#objects.values()];
  }

  /** Whether the parent has pages of an object. */
  hasParent(object: PageObject): boolean {
    return this.#storedPid(object) !== undefined;
  }

  /** Begins the pages of an object. @throws PeerError if it has sent some already, IntegrityError */
  open(object: PageObject): ReceivedObject {
    const name = describeObject(object);
    const known = this.#objects.get(name);
    if (known?.isEmpty === false) throw new PeerError(`it sends the pages of ${name} twice`);
    if (known !== undefined) return known;
    if (this.#objects.size === MAX_OBJECTS) throw new PeerError(`it sends more than ${MAX_OBJECTS} objects`);
    const storedPid = this.#storedPid(object);
    const pid = object.kind === 'task' ? object.pid : (storedPid ?? this.#nextObjectPid++);
    const pagesId = FIRST_PAGES_ID + this.#objects.size;
    const opened = new ReceivedObject({ object, pid, pagesId }, this.#pagesBefore(storedPid), this.#budget);
    this.#objects.set(name, opened);
    return opened;
  }

  /** Waits until pages of an object can be taken. @throws StoreFullError, StoreUnusableError, IntegrityError */
  async prepared(object: ReceivedObject): Promise<void> {
    await this.#ready;
    await object.prepared();
  }

  async #pagesBefore(storedPid: number | undefined): Promise<PageRangeList | undefined> {
    if (storedPid === undefined) return undefined;
    // Its index is then mostly at hand.
    await this.#ready;
    return (await this.#parent?.index(storedPid))?.present();
  }

  /** What takes the pages of an object into the pack. It throws as `IncomingCheckpoints.add`. */
  taker({ pid }: ReceivedObject): TakePages {
    return (pages, fill) => this.#incoming.add(pid, pages, fill);
  }

  /** Adds pages that are as in the parent. @throws PeerError if the parent does not have all of them */
  addHole(object: ReceivedObject, startPage: number, endPage: number, flags: number): void {
    const found = object.before?.within(startPage, endPage) ?? new PageRangeList();
    if (found.pageCount !== endPage - startPage) {
      const [missing] = PageRangeList.of({ startPage, endPage }).difference(found);
      const where = `${describeObject(object.object)} at ${formatPageAddress(missing?.startPage ?? startPage)}`;
      throw new PeerError(
        object.before === undefined
          ? `it leaves out pages of ${where}, as if they were here already, but there is no parent that has them`
          : `it leaves out pages of ${where}, as if they were here already, but checkpoint ${this.parent} lacks them`,
        { hint: this.parent === null ? NEEDS_CHAIN : NEEDS_NEWEST },
      );
    }
    object.append(startPage, endPage, flags);
    object.parentPages += endPage - startPage;
  }

  /** Adds pages whose content is on its way. @throws PeerError if they do not ascend */
  addPresent(object: ReceivedObject, startPage: number, endPage: number, flags: number): void {
    object.append(startPage, endPage, flags);
    object.presentPages += endPage - startPage;
  }

  /** Makes the checkpoint exist: everything is on disk afterwards. @throws as `IncomingCheckpoints.commit` */
  async commit(): Promise<Manifest> {
    const incoming = this.#incoming;
    for (const object of this.objects) {
      await this.prepared(object);
      // What a pagemap does not mention does not exist any more, whatever the parent has.
      const gone = object.before?.difference(object.pages());
      if (gone !== undefined) incoming.drop(object.pid, gone);
    }
    const listed = this.#listed();
    await incoming.seal(await this.#processes(listed));
    const time = () => Math.round(machineClock() - this.#startedMicroseconds);
    const manifest = await incoming.commit(
      {
        preDump: this.#preDump,
        notRestorable: this.#preDump ? undefined : 'pages-only',
        target: this.#identity(),
        tracker: TRACKER,
        createdAt: this.#createdAt,
        times: () => ({ freeze: 0, scan: 0, read: 0, total: time() }),
      },
      undefined,
      newFilesOf([], '', listed).newFiles,
    );
    await this.#end();
    return manifest;
  }

  /** Gives it up: nothing of it stays. */
  async abort(): Promise<void> {
    try {
      await this.#ready.catch(() => undefined);
      await this.#incoming.abort();
    } finally {
      await this.#end();
    }
  }

  async #end(): Promise<void> {
    this.#incoming.close();
    await this.#use.release();
  }

  /** Number of the process that holds an object's pages in the parent; undefined if it has none. */
  #storedPid(object: PageObject): number | undefined {
    return this.#parent?.manifest.processes.find(
      ({ pid, sharedMemory, index }) =>
        (object.kind === 'task'
          ? pid === object.pid && sharedMemory === undefined
          : sharedMemory === object.id) && index.segments > 0,
    )?.pid;
  }

  /** Processes in VMAs that are made of their pages: the real ones are among what is adopted later. */
  async #processes(listed: readonly ListedMemory[]): Promise<NewProcess[]> {
    const memories = listed.map(imageOf);
    const known = await stateOf({ path: '', isPreDump: true, memories });
    return storedProcesses(memories, known, known, objectNumbersOf(listed));
  }

  #identity(): StoredIdentity {
    if (this.#parent !== undefined) return this.#parent.manifest.target;
    const pids = this.objects.flatMap(({ object }) => (object.kind === 'task' ? [object.pid] : []));
    const name = pids.length === 0 ? 'shared memory' : `process ${Math.min(...pids)}`;
    return { kind: 'criu', name, fingerprint: randomUUID() };
  }

  /** The pagemaps as they were said: which pages were lazy, and which were the parent's. */
  #listed(): ListedMemory[] {
    return this.objects.map((received) => {
      const { object, pid, pagesId } = received;
      const id = object.kind === 'task' ? `${object.pid}` : `shmem-${object.id}`;
      const sharedMemory = object.kind === 'task' ? null : object.id;
      return { name: `pagemap-${id}.img`, pid, sharedMemory, pagesId, runs: received.runs() };
    });
  }
}

/** Flags that pages may come with; others mean something that is not known here (criu/include/pagemap.h). */
export const KNOWN_FLAGS = PAGE_FLAGS.parent | PAGE_FLAGS.lazy | PAGE_FLAGS.present;

/** Whether a checkpoint can have been the one that CRIU dumped before. */
function canContinue({ target, notRestorable }: Manifest): boolean {
  return target.kind === 'criu' && notRestorable !== 'deduplicated';
}
