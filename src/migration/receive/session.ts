import { IncomingCheckpoints, type IncomingFacts } from '../../checkpoint/index.ts';
import { type CodecPool, DEFAULT_ZSTD_LEVEL } from '../../codec/index.ts';
import { formatDuration, IntegrityError, machineClock, PeerError } from '../../core/index.ts';
import { Store } from '../../store/index.ts';
import type { SimulatedTarget, TargetState } from '../../target/index.ts';
import type { Channel } from '../wire/channel.ts';
import type { MessageOf } from '../wire/messages.ts';
import { type FetchCounts, LazyTarget } from './post-copy.ts';
import {
  type PreparedTarget,
  preparedSimulated,
  prepareLive,
  rest,
  restoreProved,
  restoreSimulated,
  runOn,
} from './prepared.ts';
import type { MigrationRecord, MigrationRecords, WrittenCheckpoint } from './records.ts';
import { removeCheckpoints } from './recover.ts';
import type { RanOn, ReceivedMigration, ReceiveOptions } from './request.ts';
import { type ReceivedRound, RoundReader } from './rounds.ts';

/** What the manifest says instead of the name of a tracker. */
const TRACKER = 'migration';

/** What a session works with. */
export interface SessionParts {
  readonly channel: Channel;
  readonly hello: MessageOf<'hello'>;
  readonly pool: CodecPool;
  readonly storeDirectory: string;
  readonly records: MigrationRecords;
  readonly options: ReceiveOptions;
}

/**
 * Receives one migration into a store:
 *
 *     hello  -> welcome      round ... round-end, again and again: each becomes a pre-dump, encoded as it arrives
 *     last round, state, digest -> stored, proved, prepared -> ready
 *     commit -> on disk that it runs here -> let go -> started
 *
 * Until `commit` whatever fails leaves the store as it was, and nothing runs here; from then on it runs here, once.
 */
export class ReceivingSession {
  readonly #parts: SessionParts;
  readonly #reader: RoundReader;
  readonly #started = machineClock();
  #record: MigrationRecord;
  #rounds = 0;
  #lastRoundAt = 0;
  #prepared: PreparedTarget | undefined;
  #simulated: SimulatedTarget | undefined;
  #lazy: LazyTarget | undefined;

  constructor(parts: SessionParts) {
    this.#parts = parts;
    const { channel, hello, pool, options } = parts;
    this.#reader = new RoundReader(
      channel,
      pool,
      (round, final) => {
        const progress = {
          round,
          final,
          pages: this.#reader.receivedPages,
          receivedBytes: channel.receivedBytes,
        };
        options.onEvent?.({ kind: 'progress', progress });
      },
      options.quietMicroseconds,
    );
    this.#record = {
      migrationId: hello.migrationId,
      status: 'receiving',
      target: hello.target,
      checkpoints: [],
      process: null,
      detail: '',
      since: new Date().toISOString(),
    };
  }

  /**
   * Receives the migration to its end.
   * @throws PeerError, IntegrityError, StoreFullError, StoreUnusableError, StoreLockedError, the signal's reason; then
   *   nothing of it is left and the source has been told
   */
  async run(): Promise<ReceivedMigration> {
    const { pool, options } = this.#parts;
    const store = await this.#openStore();
    try {
      for (const text of store.notices) options.onEvent?.({ kind: 'note', text });
      const compression = options.compression ?? { name: 'zstd', level: DEFAULT_ZSTD_LEVEL };
      const incoming = new IncomingCheckpoints(store, pool, compression);
      try {
        return await this.#receive(store, incoming);
      } finally {
        incoming.close();
      }
    } finally {
      await store.close();
    }
  }

  async #openStore(): Promise<Store> {
    const { storeDirectory, pool, channel } = this.#parts;
    try {
      return await Store.open(storeDirectory, { access: 'create', command: 'ckpt receive', codec: pool });
    } catch (error) {
      channel.abort(error instanceof Error ? error : new Error(String(error)));
      throw error;
    }
  }

  async #receive(store: Store, incoming: IncomingCheckpoints): Promise<ReceivedMigration> {
    const { channel, hello } = this.#parts;
    const isLazy = hello.strategy === 'post-copy' || hello.strategy === 'hybrid';
    let last: ReceivedRound;
    let ready: MessageOf<'ready'>;
    try {
      await this.#keep({});
      await channel.send({ type: 'welcome', program: hello.program, storeName: store.directory });
      last = await this.#receiveRounds(incoming);
      ready = await (isLazy ? this.#prepareLazily(incoming, last) : this.#prepare(incoming, last));
      this.#parts.options.signal?.throwIfAborted();
      await channel.send(ready);
      if (ready.canRun) await this.#reader.expect('commit');
    } catch (error) {
      await this.#giveUp(store, incoming, error);
      throw error;
    }
    if (this.#lazy !== undefined) return this.#runLazily(store, incoming, this.#lazy, last);
    return ready.canRun ? this.#start(store, ready) : this.#leaveReady(ready);
  }

  /** @returns the last round, whose checkpoint has been begun and not yet completed */
  async #receiveRounds(incoming: IncomingCheckpoints): Promise<ReceivedRound> {
    for (;;) {
      const header = await this.#reader.expect('round');
      this.#rounds++;
      if (header.final) this.#lastRoundAt = machineClock();
      const facts = await this.#begin(incoming);
      const round = await this.#reader.read(header, incoming);
      if (round.final) return round;
      await incoming.seal(round.processes);
      await incoming.commit({ ...facts, preDump: true });
      const { receivedPages, zeroPages } = this.#reader;
      const storedBytes = (receivedPages - zeroPages) * 4096;
      await this.#parts.channel.send({ type: 'progress', storedPages: receivedPages, storedBytes });
    }
  }

  /** Begins a checkpoint; that it belongs to this migration is on disk before it can be seen. */
  async #begin(incoming: IncomingCheckpoints): Promise<Omit<IncomingFacts, 'preDump'>> {
    const began = machineClock();
    const checkpoint: WrittenCheckpoint = {
      number: await incoming.begin(),
      createdAt: new Date().toISOString(),
    };
    await this.#keep({ checkpoints: [...this.#record.checkpoints, checkpoint] });
    return {
      target: this.#record.target,
      tracker: TRACKER,
      createdAt: checkpoint.createdAt,
      times: () => ({ freeze: 0, scan: 0, read: 0, total: Math.round(machineClock() - began) }),
    };
  }

  /** Completes the last checkpoint, proves it, and prepares the target without letting it run. */
  async #prepare(
    incoming: IncomingCheckpoints,
    { processes, state }: ReceivedRound,
  ): Promise<MessageOf<'ready'>> {
    const { storeDirectory, options, pool } = this.#parts;
    if (state === undefined) throw new PeerError('the other end sent no state of the target');
    const { number, createdAt } = this.#record.checkpoints.at(-1)!;
    const memoryDigest = await incoming.seal(processes);
    const wanted = await this.#reader.expect('prepared-digest');
    requireEqual(memoryDigest, wanted.memoryDigest);
    this.#prepared = await this.#prepareSimulated(state, memoryDigest);
    const { target } = this.#record;
    const times = () => ({
      freeze: 0,
      scan: 0,
      read: 0,
      total: Math.round(machineClock() - this.#lastRoundAt),
    });
    await incoming.commit({ preDump: false, target, tracker: TRACKER, createdAt, times }, state);
    this.#prepared ??= await prepareLive(storeDirectory, number, options, pool, true);
    const { obstacles } = this.#prepared;
    return { type: 'ready', checkpoint: number, memoryDigest, canRun: obstacles.length === 0, obstacles };
  }

  async #prepareSimulated(state: TargetState, memoryDigest: string): Promise<PreparedTarget | undefined> {
    const { target } = this.#record;
    if (target.kind === 'live') return undefined;
    this.#simulated = await restoreProved(state, target, memoryDigest, this.#parts.pool);
    return preparedSimulated;
  }

  /** Restores the target, which is to run before its memory has come. */
  async #prepareLazily(
    incoming: IncomingCheckpoints,
    { processes, state }: ReceivedRound,
  ): Promise<MessageOf<'ready'>> {
    const { pool } = this.#parts;
    if (state === undefined) throw new PeerError('the other end sent no state of the target');
    const target = restoreSimulated(state, this.#record.target);
    this.#lazy = await LazyTarget.prepare(target, incoming, processes, pool);
    return { type: 'ready', checkpoint: 0, memoryDigest: '', canRun: true, obstacles: [] };
  }

  /**
   * Lets the target run while its memory comes. If that ends before all of it is here the target is lost: what it was
   * at the stop is still at the source, what it has done since is nowhere.
   */
  async #runLazily(
    store: Store,
    incoming: IncomingCheckpoints,
    lazy: LazyTarget,
    { processes, state }: ReceivedRound,
  ): Promise<ReceivedMigration> {
    const { channel, options, pool } = this.#parts;
    const { migrationId, target } = this.#record;
    const { number, createdAt } = this.#record.checkpoints.at(-1)!;
    const committed = machineClock();
    const lastRound = committed - this.#lastRoundAt;
    const stopped = lazy.target.nowMicroseconds();
    const { memoryDigest } = lazy;
    const ready = { type: 'ready', checkpoint: number, memoryDigest, canRun: true, obstacles: [] } as const;
    let start = 0;
    try {
      await this.#keep({ status: 'fetching' });
      await channel.send({ type: 'started', migrationId, pid: 0 });
      start = machineClock() - committed;
      const [sent] = await Promise.all([
        lazy.receive(this.#reader),
        lazy.run(channel, options.runMicroseconds),
      ]);
      const received = await incoming.seal(processes);
      requireEqual(received, sent);
      requireEqual(received, memoryDigest);
      const times = () => ({ freeze: 0, scan: 0, read: 0, total: Math.round(machineClock() - committed) });
      await incoming.commit({ preDump: false, target, tracker: TRACKER, createdAt, times }, state);
    } catch (error) {
      await this.#giveUp(store, incoming, error);
      throw lost(error, target.name, lazy.target.nowMicroseconds() - stopped);
    }
    await this.#settle({ status: 'started' });
    await channel.send(ready).catch(() => undefined);
    await channel.close().catch(() => undefined);
    const ran = lazy.target.nowMicroseconds() - stopped;
    const run = ran === 0 ? null : await rest(lazy.target, store, pool, ran);
    return this.#result('started', ready, { pid: null, run, lastRound, start, fetched: lazy.counts });
  }

  /** The other end has said that it does not run the target any more. */
  async #start(store: Store, ready: MessageOf<'ready'>): Promise<ReceivedMigration> {
    const { channel, options, pool } = this.#parts;
    const committed = machineClock();
    const prepared = this.#prepared!;
    await this.#settle({ status: 'committed', process: prepared.process });
    const pid = await this.#letRun(prepared);
    const started = { lastRound: committed - this.#lastRoundAt, start: machineClock() - committed };
    // Whether this can be said or not, it runs here; so the disk need not wait for that.
    const said = channel
      .send({ type: 'started', migrationId: this.#record.migrationId, pid: pid ?? 0 })
      .catch(() => undefined);
    await this.#keep({ status: 'started' });
    await said;
    await channel.close().catch(() => undefined);
    const { runMicroseconds = 0, signal } = options;
    const run =
      this.#simulated === undefined || runMicroseconds === 0
        ? null
        : await runOn(this.#simulated, store, pool, runMicroseconds, signal);
    return this.#result('started', ready, { pid, run, ...started });
  }

  /** @throws the failure, after it is on disk and the source knows that nothing runs here */
  async #letRun(prepared: PreparedTarget): Promise<number | null> {
    try {
      return prepared.start();
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      prepared.abort();
      await this.#settle({ status: 'kept', detail: why });
      await this.#parts.channel.send({ type: 'abort', reason: why }).catch(() => undefined);
      await this.#parts.channel.close().catch(() => undefined);
      throw error;
    }
  }

  /** The source goes on with the target; its checkpoint stays here. */
  async #leaveReady(ready: MessageOf<'ready'>): Promise<ReceivedMigration> {
    await this.#keep({ status: 'kept', detail: ready.obstacles.join('; ') });
    await this.#parts.channel.close().catch(() => undefined);
    return this.#result('kept', ready, {
      pid: null,
      run: null,
      lastRound: machineClock() - this.#lastRoundAt,
      start: 0,
    });
  }

  /** Nothing of the migration stays, and the source is told. What cannot be removed now the next start removes. */
  async #giveUp(store: Store, incoming: IncomingCheckpoints, error: unknown): Promise<void> {
    const reason = error instanceof Error ? error : new Error(String(error));
    this.#prepared?.abort();
    this.#parts.channel.abort(reason);
    try {
      await incoming.abort();
      await removeCheckpoints(store, this.#record.checkpoints);
      await this.#keep({ status: 'failed', detail: reason.message, checkpoints: [] });
    } catch (cause) {
      const text = `not all of the migration could be removed: ${(cause as Error).message}`;
      this.#parts.options.onEvent?.({ kind: 'note', text });
    }
  }

  /**
   * Changes the record when the source waits to hear where the target runs. What does not come to the disk is not said
   * either: the source loses the channel, asks what became of the migration, and is told what is on disk.
   */
  async #settle(change: Partial<MigrationRecord>): Promise<void> {
    try {
      await this.#keep(change);
    } catch (error) {
      this.#prepared?.abort();
      this.#parts.channel.abort(error instanceof Error ? error : new Error(String(error)));
      throw error;
    }
  }

  /** Changes the record, on disk. */
  async #keep(change: Partial<MigrationRecord>): Promise<void> {
    this.#record = { ...this.#record, ...change };
    await this.#parts.records.write(this.#record);
  }

  #result(
    outcome: 'started' | 'kept',
    ready: MessageOf<'ready'>,
    end: {
      readonly pid: number | null;
      readonly run: RanOn | null;
      readonly lastRound: number;
      readonly start: number;
      readonly fetched?: FetchCounts;
    },
  ): ReceivedMigration {
    const { receivedPages, zeroPages } = this.#reader;
    return {
      migrationId: this.#record.migrationId,
      target: this.#record.target.name,
      outcome,
      checkpoint: ready.checkpoint,
      memoryDigest: ready.memoryDigest,
      rounds: this.#rounds,
      pages: { received: receivedPages, zero: zeroPages },
      receivedBytes: this.#parts.channel.receivedBytes,
      microseconds: {
        total: Math.round(machineClock() - this.#started),
        lastRound: Math.round(end.lastRound),
        start: Math.round(end.start),
      },
      pid: end.pid,
      obstacles: ready.obstacles,
      run: end.run,
      fetched: end.fetched ?? null,
    };
  }
}

/** What became of a target that ran here when the rest of its memory could not come any more. */
function lost(cause: unknown, name: string, ranMicroseconds: number): PeerError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new PeerError(
    `${name} has stopped for good after ${formatDuration(ranMicroseconds)} here, since not all of its memory has come: ${why}`,
    {
      hint: 'the source still has it as it was when it was handed over',
      data: { ranMicroseconds },
      cause,
    },
  );
}

/** @throws IntegrityError */
function requireEqual(received: string, sent: string): void {
  if (received === sent) return;
  throw new IntegrityError(
    'the memory that was received is not the memory that was sent: the digests differ',
    {
      data: { received, sent },
    },
  );
}
