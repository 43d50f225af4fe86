import { PAGE_SIZE } from '../../core/index.ts';
import type { Target } from '../../target/index.ts';
import type { ChosenTracker } from '../../tracker/index.ts';
import type { PolicyName, StrategyName } from '../outcome.ts';
import type { Channel } from '../wire/channel.ts';
import type { MessageOf } from '../wire/messages.ts';
import type { MigrationTime } from './migration-time.ts';
import type { RoundSender } from './round-sender.ts';
import type { Migration, MigrationEnd, MigrationProgress, SendOptions, StopTimes } from './send-types.ts';
import type { TargetScan } from './target-scan.ts';

/** What the last look before the switch and the destination's answer to it gave. */
export interface Prepared {
  readonly ready: MessageOf<'ready'>;
  readonly digest: string;
  readonly stop: StopTimes;
  /** When the target was asked to stop. */
  readonly stoppedAt: number;
}

/** What is known from the beginning of a migration, and what tells how it goes. */
interface Parts {
  readonly channel: Channel;
  readonly target: Target;
  readonly scan: TargetScan;
  readonly sender: RoundSender;
  readonly time: MigrationTime;
  readonly options: SendOptions;
  readonly policy: PolicyName;
  readonly strategy: StrategyName;
  readonly chosen: ChosenTracker;
}

/** The figures of one migration: what it tells while it is under way, and when it is over. */
export class MigrationFigures {
  readonly warnings: string[] = [];
  setupMicroseconds = 0;
  storeMicroseconds = 0;
  /** Pages that the destination asked for. */
  requestedPages = 0;
  readonly #parts: Parts;
  #lookedAt = 0;
  #dirtyPagesRate: number | undefined;
  /** Pages found written by looks since the last round began. */
  #writtenPages = 0;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** When the last look was over; 0 before the first. */
  get lookedAt(): number {
    return this.#lookedAt;
  }

  /** A look is over. */
  looked(): void {
    const { time, scan } = this.#parts;
    const now = time.now();
    const { writtenPages } = scan;
    if (this.#lookedAt > 0) {
      this.#writtenPages += writtenPages;
      this.#dirtyPagesRate = (writtenPages * 1e6) / Math.max(1, now - this.#lookedAt);
    }
    this.#lookedAt = now;
  }

  /** A round begins that sends what is pending. */
  beginRound(): void {
    const { time, scan, sender, channel } = this.#parts;
    sender.log.begin(time.now(), this.#writtenPages, scan.pendingPages, channel.sentBytes, 0);
    this.#writtenPages = 0;
  }

  /** Tells whoever wants to know where the migration is. */
  report(status: MigrationProgress['status']): void {
    const { options, sender, time, channel } = this.#parts;
    const { onProgress } = options;
    if (onProgress === undefined) return;
    const { log, leftPages, meter } = sender;
    const { bytesPerSecond } = meter;
    const remainingBytes = Math.round(leftPages) * PAGE_SIZE;
    onProgress({
      status,
      round: log.count,
      atMicroseconds: Math.round(time.now()),
      remainingBytes,
      transferredBytes: channel.sentBytes,
      dirtyPagesRate: this.#dirtyPagesRate,
      bytesPerSecond,
      expectedDowntimeMicroseconds:
        bytesPerSecond === 0 ? undefined : (remainingBytes / bytesPerSecond) * 1e6,
    });
  }

  /**
   * The migration is over.
   * @param total how long it took, and how long the target stood still for good, in microseconds
   * @param prepared what the stop gave; undefined if there was none
   */
  result(end: MigrationEnd, total: number, downtime: number, prepared: Prepared | undefined): Migration {
    const { channel, target, scan, sender, options, policy, strategy, chosen } = this.#parts;
    const { log } = sender;
    const sentBytes = channel.sentBytes;
    log.end(end === 'given-up' ? scan.writtenPages : 0, sentBytes);
    this.report('completed');
    return {
      end,
      verdict: end === 'given-up' ? 'does-not-converge' : 'converges',
      migrationId: options.migrationId,
      target: target.identity,
      peer: channel.peer,
      policy,
      strategy,
      tracker: chosen.tracker.kind,
      trackerReason: chosen.reason,
      processes: scan.processes.length,
      totalMicroseconds: Math.round(total),
      downtimeMicroseconds: Math.round(downtime),
      reportedDowntimeMicroseconds: prepared === undefined ? 0 : Math.round(reportedOf(prepared.stop)),
      setupMicroseconds: Math.round(this.setupMicroseconds),
      transferredBytes: sentBytes,
      pages: { normal: log.normalPages, duplicate: log.zeroPages, xbzrle: 0 },
      rounds: log.rounds,
      curve: log.curve.end(total, end === 'given-up' ? sender.leftPages * PAGE_SIZE : 0),
      service: { throttledMicroseconds: 0, faultedPages: this.requestedPages, faultMicroseconds: 0 },
      checkpoint: prepared?.ready.checkpoint,
      memoryDigest: prepared?.digest,
      obstacles: prepared?.ready.obstacles ?? [],
      scans: scan.stops,
      linkBytesPerSecond: sender.meter.linkBytesPerSecond,
      storeMicroseconds: Math.round(this.storeMicroseconds),
      stop: prepared === undefined ? undefined : rounded(prepared.stop),
      warnings: this.warnings,
    };
  }
}

/** The part of the downtime until everything has been received. */
function reportedOf({ scan, send }: StopTimes): number {
  return scan + send;
}

function rounded(times: StopTimes): StopTimes {
  const { freeze, scan, send, prepare, start } = times;
  return {
    freeze: Math.round(freeze),
    scan: Math.round(scan),
    send: Math.round(send),
    prepare: Math.round(prepare),
    start: Math.round(start),
  };
}
