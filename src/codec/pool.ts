import { availableParallelism } from 'node:os';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { PAGE_SIZE } from '../core/index.ts';
import {
  type BlockCodec,
  type CodecName,
  type EncodedBlock,
  openBlockCodec,
  type StoredBlock,
} from './block.ts';
import { checkZstdLevel } from './frame.ts';
import {
  type AnswerMessage,
  type BatchMessage,
  contentOf,
  fromFailure,
  type Job,
  type JobKind,
  type JobRequests,
  type JobResults,
  type PageDigests,
  runJob,
} from './jobs.ts';
import { chooseZstd, type ZstdImplementation } from './zstd.ts';

export interface CodecPoolOptions {
  /** Worker threads; 0 does the work on the calling thread. By default the number of cores, 1 to 8. */
  readonly workers?: number;
  /** Forces one zstd; by default see `chooseZstd`. */
  readonly implementation?: ZstdImplementation;
}

/** A job that waits for its worker or for its answer. */
interface Task {
  readonly job: Job;
  /** Buffers that were made for this job and move to the worker with it. */
  readonly transfer: readonly ArrayBuffer[];
  readonly resolve: (result: JobResults[JobKind]) => void;
  readonly reject: (error: Error) => void;
}

interface PoolWorker {
  readonly thread: Worker;
  /** Batches that the worker has got and not yet answered. */
  readonly batches: Map<number, readonly Task[]>;
}

/** So many that a worker finds the next one waiting when it ends one, and so few that all workers end together. */
const BATCHES_AT_A_WORKER = 2;

/**
 * Jobs in a batch while many wait: a message and its answer take as long as compressing ten kilobytes, on the busy
 * main thread too.
 */
const MAX_BATCH_JOBS = 8;

const MAX_DEFAULT_WORKERS = 8;

/**
 * Threads that digest, encode and decode blocks, so that the main thread stays free to read and write. What comes
 * out depends on the input alone, never on the number of workers. Input in a SharedArrayBuffer is not copied and
 * must stay as it is until the promise settles.
 *
 * Threads start with the first job (or `start`) and keep the process alive only while they have work. A thread that
 * dies fails the whole pool: every promise is rejected, then and later.
 */
export class CodecPool {
  readonly workerCount: number;
  readonly implementation: ZstdImplementation;
  readonly #workers: PoolWorker[] = [];
  readonly #queue: Task[] = [];
  #inlineCodec: Promise<BlockCodec> | undefined;
  #nextBatch = 1;
  #failure: Error | undefined;

  /** @throws UnsupportedError or UsageError as `chooseZstd`; RangeError for a senseless number of workers. */
  constructor(options: CodecPoolOptions = {}) {
    this.workerCount = options.workers ?? Math.min(Math.max(availableParallelism(), 1), MAX_DEFAULT_WORKERS);
    if (!Number.isInteger(this.workerCount) || this.workerCount < 0 || this.workerCount > 256) {
      throw new RangeError(`a codec pool has 0 to 256 workers, not ${this.workerCount}`);
    }
    this.implementation = chooseZstd(options.implementation);
  }

  /**
   * Starts all threads and opens their codecs, so that the first job finds them ready.
   * @param practiceBlocks how many blocks of a sample each encodes first; some hundred make the first jobs as fast as
   *   the later ones, and take a quarter of a second.
   */
  async start(practiceBlocks = 0): Promise<void> {
    while (this.#workers.length < this.workerCount && this.#failure === undefined) this.#startWorker();
    await Promise.all(
      Array.from({ length: Math.max(1, this.workerCount) }, () =>
        this.#submit('open', { practiceBlocks }, []),
      ),
    );
  }

  /** Digests and zero flags of the first `pageCount` pages of `bytes`. */
  digestPages(bytes: Uint8Array, pageCount: number): Promise<PageDigests> {
    const input = portable(bytes);
    return this.#submit('digest', { bytes: input.bytes, pageCount }, input.transfer);
  }

  /**
   * Encodes a block of 1 to MAX_BLOCK_BYTES; as `none` where zstd does not help.
   * @param into takes the encoded bytes if they fit; in shared memory, it may be `block` itself. Without it every
   *   block makes an array, which the collector of the main thread frees late.
   * @throws UsageError for an unknown level, RangeError if `into` is not shared memory.
   */
  async compress(
    block: Uint8Array,
    codec: CodecName,
    level: number,
    into?: Uint8Array,
  ): Promise<EncodedBlock> {
    if (codec === 'zstd') checkZstdLevel(level);
    requireShared(into);
    const input = portable(block);
    const encoded = await this.#submit('encode', { raw: input.bytes, codec, level, into }, input.transfer);
    return { ...encoded, stored: contentOf(encoded.stored, into) };
  }

  /**
   * Encodes pages of `bytes` where they lie, as blocks of `blockPages` pages each: one message for all of them, and no
   * page is copied that is not moved up. What else `bytes` holds is lost.
   * @param bytes shared memory.
   * @param pages which ones, ascending; as many as fill the blocks.
   * @returns the blocks, views on `bytes`.
   * @throws UsageError for an unknown level, RangeError if `bytes` is not shared memory or the pages are not so.
   */
  async compressPages(
    bytes: Uint8Array,
    pages: Uint16Array,
    blockPages: number,
    codec: CodecName,
    level: number,
  ): Promise<EncodedBlock[]> {
    if (codec === 'zstd') checkZstdLevel(level);
    requireShared(bytes);
    const { blocks } = await this.#submit('encodePages', { bytes, pages, blockPages, codec, level }, []);
    return blocks.map(({ codec, storedBytes, checksum }, block) => {
      const at = block * blockPages * PAGE_SIZE;
      return { codec, stored: bytes.subarray(at, at + storedBytes), checksum };
    });
  }

  /**
   * Decodes a block and proves its checksum, its length and, if given, the digests of its pages (16 bytes each).
   * @param record names the block in errors.
   * @param into takes the content if it fits; shared memory, as for `compress`. Unspecified after an error.
   * @throws IntegrityError naming the record and what is wrong, RangeError if `into` is not shared memory.
   */
  async decompress(
    block: StoredBlock,
    record: string,
    digests?: Uint8Array,
    into?: Uint8Array,
  ): Promise<Uint8Array> {
    requireShared(into);
    const { codec, checksum, rawLengthBytes } = block;
    const stored = portable(block.stored);
    const expected = digests === undefined ? undefined : portable(digests);
    const content = await this.#submit(
      'decode',
      {
        block: { codec, checksum, rawLengthBytes, stored: stored.bytes },
        record,
        digests: expected?.bytes,
        into,
      },
      [...stored.transfer, ...(expected?.transfer ?? [])],
    );
    return contentOf(content, into);
  }

  /** Ends all threads. Jobs under way are rejected, and so is every later one. */
  async close(): Promise<void> {
    this.#fail(new Error('the codec pool is closed'));
    await Promise.all(this.#workers.map(({ thread }) => thread.terminate()));
    this.#inlineCodec = undefined;
  }

  async #submit<Kind extends JobKind>(
    kind: Kind,
    request: JobRequests[Kind],
    transfer: readonly ArrayBuffer[],
  ): Promise<JobResults[Kind]> {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.workerCount === 0) return this.#runInline({ kind, request });
    const result = await new Promise<JobResults[JobKind]>((resolve, reject) => {
      this.#queue.push({ job: { kind, request }, transfer, resolve, reject });
      this.#dispatch();
    });
    // A worker answers each job with a result of the job's kind.
    return result as JobResults[Kind];
  }

  async #runInline<Kind extends JobKind>(job: Job<Kind>): Promise<JobResults[Kind]> {
    this.#inlineCodec ??= openBlockCodec(this.implementation);
    const codec = await this.#inlineCodec;
    // A turn of the event loop between jobs lets signals and timers through.
    await nextTurn();
    if (this.#failure !== undefined) throw this.#failure;
    return runJob(codec, job);
  }

  /** Hands queued jobs to the least busy workers, starting a thread while all are busy and more are allowed. */
  #dispatch(): void {
    while (this.#queue.length > 0) {
      const worker = this.#workerForNextBatch();
      if (worker === undefined) return;
      const fairShare = Math.ceil(this.#queue.length / (this.workerCount * BATCHES_AT_A_WORKER));
      const tasks = this.#queue.splice(0, Math.min(fairShare, MAX_BATCH_JOBS));
      if (worker.batches.size === 0) worker.thread.ref();
      const message: BatchMessage = { batch: this.#nextBatch++, jobs: tasks.map(({ job }) => job) };
      worker.batches.set(message.batch, tasks);
      worker.thread.postMessage(
        message,
        tasks.flatMap(({ transfer }) => transfer),
      );
    }
  }

  #workerForNextBatch(): PoolWorker | undefined {
    let best: PoolWorker | undefined;
    for (const worker of this.#workers) {
      if (best === undefined || worker.batches.size < best.batches.size) best = worker;
    }
    if (best !== undefined && best.batches.size === 0) return best;
    if (this.#workers.length < this.workerCount) return this.#startWorker();
    return best !== undefined && best.batches.size < BATCHES_AT_A_WORKER ? best : undefined;
  }

  #startWorker(): PoolWorker {
    const thread = new Worker(workerEntry(), {
      workerData: { implementation: this.implementation },
      execArgv: [],
      // What a library prints must not end up in ckpt's own output.
      stdout: true,
      stderr: true,
      resourceLimits: { maxOldGenerationSizeMb: 64, maxYoungGenerationSizeMb: 4 },
    });
    const worker: PoolWorker = { thread, batches: new Map() };
    this.#workers.push(worker);
    thread.unref();
    thread.on('message', (answer: AnswerMessage) => this.#settle(worker, answer));
    thread.on('error', (cause) =>
      this.#fail(new Error(`a codec worker failed: ${cause.message}`, { cause })),
    );
    thread.on('exit', (exitCode) =>
      this.#fail(new Error(`a codec worker ended unexpectedly with exit code ${exitCode}`)),
    );
    return worker;
  }

  #settle(worker: PoolWorker, { batch, outcomes }: AnswerMessage): void {
    const tasks = worker.batches.get(batch);
    if (tasks === undefined) return;
    worker.batches.delete(batch);
    this.#dispatch();
    if (worker.batches.size === 0) worker.thread.unref();
    for (const [index, { resolve, reject }] of tasks.entries()) {
      const outcome = outcomes[index]!;
      if ('failure' in outcome) reject(fromFailure(outcome.failure));
      else resolve(outcome.result);
    }
  }

  /** Rejects everything that waits; only the first failure counts. */
  #fail(error: Error): void {
    if (this.#failure !== undefined) return;
    this.#failure = error;
    for (const task of this.#queue.splice(0)) task.reject(error);
    for (const worker of this.#workers) {
      for (const task of [...worker.batches.values()].flat()) task.reject(error);
      worker.batches.clear();
      worker.thread.unref();
    }
  }
}

/**
 * Where the worker's JavaScript is. Threads of Node 20 cannot run TypeScript, so the pool of a source checkout (under
 * a test runner) uses the built worker.
 */
function workerEntry(): URL {
  const fromSource = import.meta.url.endsWith('.ts');
  return new URL(fromSource ? '../../dist/codec/worker.js' : './worker.js', import.meta.url);
}

/**
 * What a message should carry of `bytes`. Posting a view on part of an ordinary buffer would copy the whole buffer, so
 * the part is copied here, and that copy moves instead of being copied again.
 */
function portable(bytes: Uint8Array): {
  readonly bytes: Uint8Array;
  readonly transfer: readonly ArrayBuffer[];
} {
  const { buffer } = bytes;
  if (buffer instanceof SharedArrayBuffer || buffer.byteLength === bytes.byteLength) {
    return { bytes, transfer: [] };
  }
  const copy = new Uint8Array(bytes);
  return { bytes: copy, transfer: [copy.buffer] };
}

function requireShared(into: Uint8Array | undefined): void {
  if (into !== undefined && !(into.buffer instanceof SharedArrayBuffer)) {
    throw new RangeError('a result can be placed into shared memory only');
  }
}
