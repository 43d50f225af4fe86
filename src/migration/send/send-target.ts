import { ScratchFile } from '../../checkpoint/index.ts';
import { type CodecPool, DEFAULT_ZSTD_LEVEL } from '../../codec/index.ts';
import {
  formatPageAddress,
  IntegrityError,
  PAGE_SIZE,
  PeerError,
  UnsupportedError,
} from '../../core/index.ts';
import { memoryDigest } from '../../image/index.ts';
import type { Target, TargetState } from '../../target/index.ts';
import { type ChosenTracker, chooseTracker } from '../../tracker/index.ts';
import type { StrategyName } from '../outcome.ts';
import type { Channel } from '../wire/channel.ts';
import { MAX_STATE_CHUNK_BYTES } from '../wire/messages.ts';
import { DigestMemory } from './digest-ledger.ts';
import { sendLazily } from './lazy-pages.ts';
import { MigrationFigures, type Prepared } from './migration-figures.ts';
import { type MigrationTime, RealTime } from './migration-time.ts';
import { PagePipeline } from './page-pipeline.ts';
import { PeerAnswers } from './peer-answers.ts';
import { RoundSender } from './round-sender.ts';
import { type Rules, rulesOf } from './rules.ts';
import type { Migration, MigrationEnd, SendOptions } from './send-types.ts';
import { WINDOW_MICROSECONDS } from './sending-constants.ts';
import { type GonePages, TargetScan } from './target-scan.ts';

/**
 * Migrates a target over a channel: rounds while it runs, the rest while it stands still, then the switch. Until the
 * destination has been told to run it, whatever fails leaves the target running here; from then on it stays stopped
 * here until the destination has said that it runs there.
 * @throws UsageError, UnsupportedError, TargetError, PeerError, IntegrityError, and the signal's reason.
 */
export async function sendTarget(
  target: Target,
  channel: Channel,
  pool: CodecPool,
  options: SendOptions,
): Promise<Migration> {
  const scratch = new ScratchFile(options.scratchDirectory);
  try {
    return await new Sending(target, channel, pool, options, scratch).run();
  } catch (error) {
    // Left open, it would keep both ends waiting for each other.
    channel.abort(error instanceof Error ? error : new Error(String(error)));
    throw error;
  } finally {
    scratch.close();
  }
}

class Sending {
  readonly #target: Target;
  readonly #channel: Channel;
  readonly #options: SendOptions;
  readonly #rules: Rules;
  readonly #time: MigrationTime;
  readonly #chosen: ChosenTracker;
  readonly #answers: PeerAnswers;
  readonly #signal: AbortSignal;
  readonly #scan: TargetScan;
  readonly #sender: RoundSender;
  readonly #figures: MigrationFigures;
  #committed = false;

  constructor(target: Target, channel: Channel, pool: CodecPool, options: SendOptions, scratch: ScratchFile) {
    this.#target = target;
    this.#channel = channel;
    this.#options = options;
    this.#rules = rulesOf(options.choice);
    this.#time = options.time ?? new RealTime();
    this.#chosen = chooseTracker(target, options.tracker ?? 'auto');
    this.#answers = new PeerAnswers(channel);
    const signals = [this.#answers.failed, ...(options.signal === undefined ? [] : [options.signal])];
    this.#signal = AbortSignal.any(signals);
    this.#scan = new TargetScan(target, this.#chosen.tracker, new DigestMemory(scratch));
    const compression = { name: options.compression ?? 'zstd', level: options.level ?? DEFAULT_ZSTD_LEVEL };
    this.#sender = new RoundSender({
      channel,
      target,
      scan: this.#scan,
      pipeline: new PagePipeline(pool, compression),
      time: this.#time,
      signal: this.#signal,
      onSent: () => this.#figures.report('active'),
    });
    this.#figures = new MigrationFigures({
      channel,
      target,
      scan: this.#scan,
      sender: this.#sender,
      time: this.#time,
      options,
      policy: this.#rules.policy,
      strategy: this.#strategy,
      chosen: this.#chosen,
    });
  }

  async run(): Promise<Migration> {
    try {
      await this.#greet();
      const converges = this.#rules.stopsFirst || (await this.#sendRounds());
      if (!converges) return await this.#giveUp();
      return await this.#stop();
    } catch (error) {
      if (!this.#committed) {
        this.#target.thaw();
        // What the channel says of its end is only that it has ended; why is what the destination said.
        if (this.#answers.failed.aborted && error instanceof PeerError) throw this.#answers.failed.reason;
      }
      throw error;
    }
  }

  async #greet(): Promise<void> {
    const { migrationId, purpose, program, choice } = this.#options;
    const { identity } = this.#target;
    if (this.#rules.isLazy && identity.kind === 'live') {
      throw new UnsupportedError(`${identity.name} cannot run elsewhere before all of its memory is there`, {
        hint: 'post-copy is for simulated targets: leave --strategy and --postcopy-after out',
      });
    }
    this.#figures.report('setup');
    await this.#channel.send({
      type: 'hello',
      migrationId,
      purpose,
      strategy: this.#strategy,
      target: identity,
      pageSize: PAGE_SIZE,
      program,
    });
    await this.#answers.next('welcome', this.#signal);
    this.#figures.setupMicroseconds = this.#time.now();
    this.#options.onNote?.(`policy ${choice.policy}, tracker ${this.#chosen.reason}`);
  }

  /** @returns whether the target is to be stopped now; otherwise it is given up */
  async #sendRounds(): Promise<boolean> {
    const rules = this.#rules;
    const giveUpAfter = this.#options.giveUpAfterMicroseconds ?? Number.POSITIVE_INFINITY;
    let gone = await this.#look();
    const memoryPages = this.#scan.pendingPages;
    let totalPages = 0;
    for (let number = 1; ; number++) {
      const pendingPages = this.#scan.pendingPages;
      const began = this.#time.now();
      this.#figures.beginRound();
      const tally = await this.#sender.send({
        isFinal: false,
        gone,
        rate: rules.rate,
        goesOn: () => this.#time.now() <= giveUpAfter,
        skipsWritten: rules.skipsWritten,
      });
      totalPages += tally.sentPages;
      // What it has still to store would otherwise be stored while the target stands still.
      const sent = this.#time.now();
      await this.#answers.stored(number, this.#signal);
      this.#figures.storeMicroseconds += this.#time.now() - sent;
      const microseconds = this.#time.now() - began;
      if (rules.isLast({ number, pendingPages, memoryPages, totalPages, microseconds, ...tally }))
        return true;
      if (this.#time.now() > giveUpAfter) return false;
      // Each look stops the target for a moment; short rounds are not to stop it all the time.
      await this.#time.waitUntil(this.#figures.lookedAt + WINDOW_MICROSECONDS, this.#signal);
      gone = await this.#look();
      const found = {
        pendingPages: this.#scan.expectedPages,
        writtenPages: this.#scan.writtenPages,
        microseconds: this.#time.now() - began,
        bytesPerSecond: this.#sender.meter.bytesPerSecond,
      };
      if (rules.isEnough(found)) {
        this.#goneBefore = gone;
        return true;
      }
    }
  }

  /** Found by a look that no round followed. */
  #goneBefore: readonly GonePages[] = [];

  /** One look while the target runs: it stands still only for that. */
  async #look(): Promise<GonePages[]> {
    this.#signal.throwIfAborted();
    await this.#time.follow(this.#target, this.#signal);
    const gone = await this.#scan.whileStopped(() => this.#scan.look(true));
    this.#figures.looked();
    return gone;
  }

  /** Stops the target, sends the rest, and has the destination go on with it. */
  async #stop(): Promise<Migration> {
    // What has not changed by then need not be digested while the target stands still.
    for (const { digests, present } of this.#scan.processes) digests.segments(present);
    const isLazy = this.#rules.isLazy && this.#options.purpose === 'migrate';
    const prepared = await this.#sendRest(isLazy);
    const { ready } = prepared;
    if (this.#options.purpose === 'discard') return this.#stays('rehearsed', prepared);
    if (!ready.canRun) return this.#stays('not-runnable', prepared);
    return this.#commit(prepared, isLazy);
  }

  get #strategy(): StrategyName {
    const { stopsFirst, isLazy } = this.#rules;
    if (isLazy && this.#options.purpose === 'migrate') return stopsFirst ? 'post-copy' : 'hybrid';
    return stopsFirst ? 'stop-and-copy' : 'pre-copy';
  }

  async #sendRest(isLazy: boolean): Promise<Prepared> {
    const target = this.#target;
    this.#signal.throwIfAborted();
    await target.prepareFreeze?.();
    await this.#time.follow(target, this.#signal);
    const stoppedAt = this.#time.now();
    await target.freeze();
    const frozen = this.#time.now();
    this.#figures.report('device');
    const gone = [...this.#goneBefore, ...this.#scan.look(false)];
    this.#figures.looked();
    for (const { doubts } of this.#scan.processes) this.#figures.warnings.push(...doubts);
    const state = target.captureState();
    this.#figures.beginRound();
    const looked = this.#time.now();
    const { lost } = await this.#sender.send({
      isFinal: true,
      isLazy,
      gone,
      rate: this.#rules.finalRate,
      goesOn: () => true,
      skipsWritten: false,
    });
    this.#warnOf(lost);
    target.verifyStoodStill?.();
    await this.#sendState(state);
    // Of memory that is sent later nothing is proved yet.
    const digest = isLazy ? '' : this.#digest();
    if (!isLazy) await this.#channel.send({ type: 'prepared-digest', memoryDigest: digest });
    await this.#channel.flushed();
    const arrived = this.#time.now();
    const ready = await this.#answers.next('ready', this.#signal);
    if (ready.memoryDigest !== digest) {
      throw new IntegrityError('what the destination has received is not what was sent: the digests differ', {
        data: { sent: digest, received: ready.memoryDigest },
      });
    }
    const prepare = this.#time.now() - arrived;
    const stop = {
      freeze: frozen - stoppedAt,
      scan: looked - frozen,
      send: arrived - looked,
      prepare,
      start: 0,
    };
    return { ready, digest, stop, stoppedAt };
  }

  async #sendState({ format, bytes, summary }: TargetState): Promise<void> {
    const text = JSON.stringify(summary);
    for (let from = 0; from === 0 || from < bytes.length; from += MAX_STATE_CHUNK_BYTES) {
      const end = Math.min(bytes.length, from + MAX_STATE_CHUNK_BYTES);
      await this.#channel.send({
        type: 'state',
        format,
        summary: from === 0 ? text : '',
        last: end === bytes.length,
        bytes: bytes.subarray(from, end),
      });
    }
  }

  #digest(): string {
    return memoryDigest(
      this.#scan.processes.map(({ view, vmas, present, digests }) => ({
        pid: view.pid,
        vmas,
        segments: digests.segments(present),
      })),
    );
  }

  /** From here on the target must not go on by itself; it is the destination that runs it, or nobody. */
  async #commit({ stop, ...prepared }: Prepared, isLazy: boolean): Promise<Migration> {
    const { migrationId, onCommit, leaveStopped } = this.#options;
    this.#target.verifyStoodStill?.();
    await onCommit?.();
    await this.#target.keepStopped?.();
    this.#signal.throwIfAborted();
    this.#committed = true;
    const committed = this.#time.now();
    try {
      await this.#channel.send({ type: 'commit', migrationId });
      await this.#answers.next('started');
    } catch (cause) {
      if (!(cause instanceof PeerError && cause.data['saidSo'] === true)) throw this.#doubt(cause);
      this.#committed = false;
      throw cause;
    }
    const start = this.#time.now() - committed;
    const downtime = this.#time.now() - prepared.stoppedAt;
    const sent = isLazy ? await this.#sendLazily() : prepared;
    const total = this.#time.now();
    if (leaveStopped !== true) this.#target.end?.();
    await this.#channel.close().catch(() => undefined);
    return this.#figures.result('moved', total, downtime, { ...prepared, ...sent, stop: { ...stop, start } });
  }

  /** The destination runs the target and lacks memory of it. @throws PeerError: the target there has stopped for good */
  async #sendLazily(): Promise<Pick<Prepared, 'ready' | 'digest'>> {
    for (const process of this.#scan.processes) process.resumePostponed();
    const { ready, digest, requestedPages, lost } = await sendLazily({
      channel: this.#channel,
      answers: this.#answers,
      scan: this.#scan,
      send: (process, pages) => this.#sender.sendPart(process, pages, this.#rules.finalRate),
      digest: () => this.#digest(),
    });
    this.#figures.requestedPages = requestedPages;
    this.#warnOf(lost);
    if (ready.memoryDigest === digest) return { ready, digest };
    throw new IntegrityError('what the destination has received is not what was sent: the digests differ', {
      data: { sent: digest, received: ready.memoryDigest },
    });
  }

  #warnOf(lost: readonly GonePages[]): void {
    for (const { pid, pages } of lost) {
      const place = formatPageAddress(pages.startPage(0));
      this.#figures.warnings.push(
        `process ${pid}: ${pages.pageCount} pages from ${place} on could not be read`,
      );
    }
  }

  /** Nobody here can know whether the destination was told. */
  #doubt(cause: unknown): PeerError {
    const { migrationId } = this.#options;
    const { kind, name } = this.#target.identity;
    const why = cause instanceof Error ? cause.message : String(cause);
    return new PeerError(
      `${name} stays stopped here: the destination was told to run it, and has not said whether it does (${why})`,
      {
        hint:
          kind === 'live'
            ? `ckpt migrate --resolve ${migrationId} asks it, and ends or resumes the target here`
            : `what ckpt receive says there of migration ${migrationId} is what became of it`,
        data: { migrationId, inDoubt: true },
        cause,
      },
    );
  }

  /** The target goes on here although everything has been sent. */
  async #stays(end: MigrationEnd, prepared: Prepared): Promise<Migration> {
    this.#target.thaw();
    const downtime = this.#time.now() - prepared.stoppedAt;
    const total = this.#time.now();
    await this.#channel.close().catch(() => undefined);
    return this.#figures.result(end, total, downtime, prepared);
  }

  async #giveUp(): Promise<Migration> {
    const total = this.#time.now();
    await this.#channel.send({ type: 'abort', reason: 'it does not converge' });
    await this.#channel.close().catch(() => undefined);
    return this.#figures.result('given-up', total, 0, undefined);
  }
}
