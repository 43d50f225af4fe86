import { CodecPool } from '../../codec/index.ts';
import { PAGE_SIZE, PeerError, UsageError } from '../../core/index.ts';
import type { Channel } from '../wire/channel.ts';
import type { MessageOf } from '../wire/messages.ts';
import { printable } from '../wire/printable.ts';
import { countMigration } from './discard.ts';
import { isMigrationId, type MigrationRecord, MigrationRecords, type MigrationStatus } from './records.ts';
import { recoverMigrations } from './recover.ts';
import type { ReceivedMigration, ReceiveOptions } from './request.ts';
import { RoundReader } from './rounds.ts';
import { ReceivingSession } from './session.ts';

/** What a source is told of a migration that it asks about. */
const ANSWERS: Readonly<Record<MigrationStatus, MessageOf<'outcome'>['status']>> = {
  receiving: 'failed',
  committed: 'committed',
  fetching: 'failed',
  started: 'started',
  kept: 'failed',
  failed: 'failed',
};

/** How long somebody may be connected without saying what for. */
const HELLO_MILLISECONDS = 30_000;

/** Receives migrations into one store, one after another. */
export class Destination {
  readonly #options: ReceiveOptions;
  readonly #pool: CodecPool;
  /** The migration under way. */
  #current:
    | { readonly migrationId: string; readonly channel: Channel; readonly done: Promise<unknown> }
    | undefined;

  /** @throws UsageError unless there is either a store or nothing is kept */
  constructor(options: ReceiveOptions) {
    if ((options.storeDirectory === undefined) !== (options.discard === true)) {
      throw new UsageError('a migration is received into a store, or discarded', {
        hint: 'give either -D DIR or --discard',
      });
    }
    this.#options = options;
    this.#pool = new CodecPool(options.workers === undefined ? {} : { workers: options.workers });
  }

  /**
   * Ends what an earlier one left unfinished. To be called before the first `serve`.
   * @throws StoreLockedError, StoreUnusableError, IntegrityError
   */
  async recover(): Promise<void> {
    const { storeDirectory } = this.#options;
    if (storeDirectory === undefined) return;
    await recoverMigrations(storeDirectory, new MigrationRecords(storeDirectory), this.#pool, this.#options);
  }

  /**
   * Serves one channel to its end: receives a migration, or answers what became of one.
   * @param onBegun called when a migration is not refused
   * @returns undefined if it was only asked something
   * @throws what a session throws; the other end has been told
   */
  async serve(channel: Channel, onBegun?: () => void): Promise<ReceivedMigration | undefined> {
    const onAbort = () => channel.abort(reasonOf(this.#options.signal));
    const { signal } = this.#options;
    signal?.addEventListener('abort', onAbort, { once: true });
    const silence = new PeerError(`${channel.peer} did not say what it wants`);
    const deadline = setTimeout(() => channel.abort(silence), HELLO_MILLISECONDS);
    try {
      if (signal?.aborted === true) onAbort();
      const reader = new RoundReader(channel, this.#pool, () => undefined);
      const hello = await reader.expect('hello');
      clearTimeout(deadline);
      if (hello.purpose === 'resolve') return await this.#resolve(channel, hello);
      return await this.#receive(channel, hello, onBegun);
    } catch (error) {
      // The reason of the signal tells more than the end of the channel that it caused.
      signal?.throwIfAborted();
      throw error;
    } finally {
      clearTimeout(deadline);
      signal?.removeEventListener('abort', onAbort);
    }
  }

  /** Ends the threads. */
  async close(): Promise<void> {
    await this.#pool.close();
  }

  async #receive(
    channel: Channel,
    hello: MessageOf<'hello'>,
    onBegun: (() => void) | undefined,
  ): Promise<ReceivedMigration> {
    if (this.#current !== undefined) await refuse(channel, 'another migration is under way here');
    const done = this.#admit(channel, hello, onBegun);
    this.#current = { migrationId: hello.migrationId, channel, done: done.catch(() => undefined) };
    try {
      return await done;
    } finally {
      this.#current = undefined;
    }
  }

  async #admit(
    channel: Channel,
    hello: MessageOf<'hello'>,
    onBegun: (() => void) | undefined,
  ): Promise<ReceivedMigration> {
    const refusal = await this.#refusal(hello);
    if (refusal !== undefined) await refuse(channel, refusal);
    onBegun?.();
    const { purpose, target } = hello;
    const name = printable(target.name);
    this.#options.onEvent?.({ kind: 'begun', peer: channel.peer, target: name, purpose });
    return this.#run(channel, hello);
  }

  #run(channel: Channel, hello: MessageOf<'hello'>): Promise<ReceivedMigration> {
    const { storeDirectory } = this.#options;
    const parts = { channel, hello, pool: this.#pool, options: this.#options };
    if (storeDirectory === undefined) return countMigration(parts);
    const records = new MigrationRecords(storeDirectory);
    return new ReceivingSession({ ...parts, storeDirectory, records }).run();
  }

  /** Why a migration cannot be received, as a sentence. */
  async #refusal(hello: MessageOf<'hello'>): Promise<string | undefined> {
    const { migrationId, purpose, pageSize, target, strategy } = hello;
    const { storeDirectory, discard } = this.#options;
    if (pageSize !== PAGE_SIZE) return `pages have ${PAGE_SIZE} bytes here, not ${pageSize}`;
    if (!isMigrationId(migrationId)) return 'the migration has no usable id';
    if (purpose === 'discard' && discard !== true) {
      return 'this end keeps what it receives; ckpt receive --discard only counts it';
    }
    if (purpose === 'migrate' && discard === true) {
      return 'this end was started with --discard and keeps nothing';
    }
    if (target.kind === 'live' && (strategy === 'post-copy' || strategy === 'hybrid')) {
      return 'a live process cannot be run before all of its memory is here';
    }
    const known =
      storeDirectory === undefined ? undefined : await new MigrationRecords(storeDirectory).read(migrationId);
    return known === undefined ? undefined : `migration ${migrationId} has been here before`;
  }

  /**
   * Says what became of a migration, and means it: one that was not committed never will be.
   */
  async #resolve(channel: Channel, { migrationId }: MessageOf<'hello'>): Promise<undefined> {
    const current = this.#current;
    if (current?.migrationId === migrationId) {
      // Whoever asks has lost the channel of the migration; what was not committed through it is given up.
      current.channel.abort(new PeerError('the source asks what became of the migration'));
      await current.done;
    }
    const record = await this.#recordOf(migrationId);
    await channel.send({
      type: 'outcome',
      migrationId,
      status: record === undefined ? 'unknown' : ANSWERS[record.status],
      pid: record?.status === 'started' ? (record.process?.pid ?? 0) : 0,
      detail: record?.detail ?? '',
    });
    await channel.close().catch(() => undefined);
    return undefined;
  }

  async #recordOf(migrationId: string): Promise<MigrationRecord | undefined> {
    const { storeDirectory } = this.#options;
    if (storeDirectory === undefined || !isMigrationId(migrationId)) return undefined;
    return new MigrationRecords(storeDirectory).read(migrationId);
  }
}

/** @throws PeerError always, after the other end has been told */
async function refuse(channel: Channel, why: string): Promise<void> {
  await channel.send({ type: 'abort', reason: why });
  await channel.close().catch(() => undefined);
  throw new PeerError(`refused a migration from ${channel.peer}: ${why}`);
}

function reasonOf(signal: AbortSignal | undefined): Error {
  const reason: unknown = signal?.reason;
  return reason instanceof Error ? reason : new Error('interrupted');
}
