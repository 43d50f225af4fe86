import { availableParallelism } from 'node:os';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import type { MigratingMemory } from '../memory.ts';
import type { Outcome } from '../outcome.ts';
import { rehearseOnce } from '../rehearse-once.ts';
import { type MemorySource, openSource } from '../source.ts';
import { type AnswerMessage, fromFailure, type RehearsalTask, type TaskMessage } from './messages.ts';

/** Gives the memory of run number `run`, from 0. */
export type OpenMemory = (run: number) => Promise<MigratingMemory>;

export interface RehearsalPoolOptions {
  /** Threads; 0: none but the calling one. By default as many as there are cores, at most 8, where it pays. */
  readonly workers?: number;
  readonly signal?: AbortSignal;
  /** Is told after each rehearsal how many are done. */
  readonly onDone?: (done: number) => void;
}

const MOST_WORKERS = 8;
/** Work that takes less than that, in milliseconds, is done before a thread has started. */
const WORTH_A_THREAD = 250;
/** A memory of so many pages is rehearsed by threads from the start: one run would make signals wait. */
const LARGE_PAGES = 2 ** 20;

interface Waiting {
  readonly task: RehearsalTask;
  readonly resolve: (outcome: Outcome) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Rehearses on several threads. What comes out depends on the tasks alone, not on how many threads there are or which
 * of them did what. A memory that is given as a function is rehearsed on the calling thread.
 */
export class RehearsalPool {
  readonly #memory: MemorySource | OpenMemory;
  readonly #options: RehearsalPoolOptions;
  readonly #threads: Worker[] = [];
  readonly #idle: Worker[] = [];
  readonly #queue: Waiting[] = [];
  readonly #running = new Map<number, Waiting>();
  #nextId = 1;
  #done = 0;
  #spentMilliseconds = 0;
  #inlineRuns = 0;
  #failure: unknown;
  readonly #abort = () => this.#fail(this.#options.signal?.reason);

  constructor(memory: MemorySource | OpenMemory, options: RehearsalPoolOptions = {}) {
    this.#memory = memory;
    this.#options = options;
    options.signal?.addEventListener('abort', this.#abort, { once: true });
  }

  /**
   * Rehearses all tasks. @returns their outcomes, in the same order.
   * @throws the signal's reason if it is aborted, or what a task threw; nothing is done any more then.
   */
  async outcomes(tasks: readonly RehearsalTask[]): Promise<Outcome[]> {
    const outcomes: Outcome[] = [];
    while (outcomes.length < tasks.length && !this.#worthThreads(tasks.length - outcomes.length)) {
      outcomes.push(await this.#rehearseHere(tasks[outcomes.length]!));
    }
    const rest = tasks.slice(outcomes.length);
    return [...outcomes, ...(await Promise.all(rest.map((task) => this.#rehearseThere(task))))];
  }

  /** Ends all threads. */
  async close(): Promise<void> {
    this.#options.signal?.removeEventListener('abort', this.#abort);
    await Promise.all(this.#threads.splice(0).map((thread) => thread.terminate()));
  }

  get #workerCount(): number {
    if (typeof this.#memory === 'function') return 0;
    return this.#options.workers ?? Math.min(availableParallelism(), MOST_WORKERS);
  }

  #worthThreads(tasks: number): boolean {
    if (this.#workerCount === 0) return false;
    if (this.#options.workers !== undefined || this.#threads.length > 0) return true;
    if (isLarge(this.#memory)) return true;
    return (tasks * this.#spentMilliseconds) / Math.max(1, this.#inlineRuns) > WORTH_A_THREAD;
  }

  async #rehearseHere({ run, options }: RehearsalTask): Promise<Outcome> {
    // A turn of the event loop between runs lets signals through.
    await nextTurn();
    this.#options.signal?.throwIfAborted();
    const began = performance.now();
    const memory = this.#memory;
    const opened = await (typeof memory === 'function' ? memory(run) : openSource(memory, run));
    const outcome = rehearseOnce(opened, options);
    this.#spentMilliseconds += performance.now() - began;
    this.#inlineRuns++;
    this.#told();
    return outcome;
  }

  #rehearseThere(task: RehearsalTask): Promise<Outcome> {
    this.#options.signal?.throwIfAborted();
    if (this.#failure !== undefined) throw this.#failure;
    return new Promise((resolve, reject) => {
      this.#queue.push({ task, resolve, reject });
      if (this.#idle.length === 0 && this.#threads.length < this.#workerCount) this.#startThread();
      this.#dispatch();
    });
  }

  #dispatch(): void {
    while (this.#idle.length > 0 && this.#queue.length > 0) {
      const waiting = this.#queue.shift()!;
      const message: TaskMessage = { id: this.#nextId++, task: waiting.task };
      this.#running.set(message.id, waiting);
      this.#idle.pop()!.postMessage(message);
    }
  }

  #startThread(): void {
    const thread = new Worker(workerEntry(), {
      workerData: { source: this.#memory },
      execArgv: [],
      // What a library prints must not end up in ckpt's own output.
      stdout: true,
      stderr: true,
    });
    this.#threads.push(thread);
    this.#idle.push(thread);
    thread.on('message', (answer: AnswerMessage) => {
      this.#idle.push(thread);
      this.#settle(answer);
      this.#dispatch();
    });
    thread.on('error', (cause) =>
      this.#fail(new Error(`a rehearsing thread failed: ${cause.message}`, { cause })),
    );
  }

  #settle(answer: AnswerMessage): void {
    const waiting = this.#running.get(answer.id);
    if (waiting === undefined) return;
    this.#running.delete(answer.id);
    if ('failure' in answer) {
      this.#fail(fromFailure(answer.failure), waiting);
      return;
    }
    this.#told();
    waiting.resolve(answer.outcome);
  }

  #told(): void {
    this.#options.onDone?.(++this.#done);
  }

  /** Rejects everything that waits; only the first failure counts. */
  #fail(error: unknown, first?: Waiting): void {
    this.#failure ??= error;
    first?.reject(error);
    for (const { reject } of [...this.#queue.splice(0), ...this.#running.values()]) reject(error);
    this.#running.clear();
    for (const thread of this.#threads.splice(0)) void thread.terminate();
    this.#idle.length = 0;
  }
}

function isLarge(memory: MemorySource | OpenMemory): boolean {
  if (typeof memory === 'function' || memory.kind !== 'recording') return false;
  return memory.recording.pageCount >= LARGE_PAGES;
}

/**
 * Where the thread's JavaScript is. Threads of Node 20 cannot run TypeScript, so a source checkout (under a test
 * runner) uses what was built.
 */
function workerEntry(): URL {
  const fromSource = import.meta.url.endsWith('.ts');
  return new URL(fromSource ? '../../../dist/migration/parallel/worker.js' : './worker.js', import.meta.url);
}
