import type { CodecPool } from '../../codec/index.ts';
import { machineClock } from '../../core/index.ts';
import type { Channel } from '../wire/channel.ts';
import type { MessageOf } from '../wire/messages.ts';
import { DiscardingSink } from './page-sink.ts';
import type { ReceivedMigration, ReceiveOptions } from './request.ts';
import { RoundReader } from './rounds.ts';

/** What the source is told instead of `canRun`. */
const NOTHING_KEPT = 'nothing was kept here: it was a rehearsal';

/**
 * Receives a migration as one that is kept would be received, and forgets it.
 * @throws PeerError, IntegrityError, the signal's reason
 */
export async function countMigration(parts: {
  readonly channel: Channel;
  readonly hello: MessageOf<'hello'>;
  readonly pool: CodecPool;
  readonly options: ReceiveOptions;
}): Promise<ReceivedMigration> {
  const { channel, hello, pool, options } = parts;
  const started = machineClock();
  const reader = new RoundReader(
    channel,
    pool,
    (round, final) => {
      const progress = { round, final, pages: reader.receivedPages, receivedBytes: channel.receivedBytes };
      options.onEvent?.({ kind: 'progress', progress });
    },
    options.quietMicroseconds,
  );
  const sink = new DiscardingSink();
  let rounds = 0;
  let lastRoundAt = started;
  try {
    await channel.send({ type: 'welcome', program: hello.program, storeName: '' });
    for (let final = false; !final; rounds++) {
      const header = await reader.expect('round');
      final = header.final;
      if (final) lastRoundAt = machineClock();
      await reader.read(header, sink);
      await sink.finish();
      await channel.send({ type: 'progress', storedPages: reader.receivedPages, storedBytes: 0 });
    }
    const { memoryDigest } = await reader.expect('prepared-digest');
    await channel.send({
      type: 'ready',
      checkpoint: 0,
      memoryDigest,
      canRun: false,
      obstacles: [NOTHING_KEPT],
    });
    await channel.close().catch(() => undefined);
  } catch (error) {
    channel.abort(error instanceof Error ? error : new Error(String(error)));
    throw error;
  }
  return {
    migrationId: hello.migrationId,
    target: hello.target.name,
    outcome: 'discarded',
    checkpoint: null,
    memoryDigest: null,
    rounds,
    pages: { received: reader.receivedPages, zero: reader.zeroPages },
    receivedBytes: channel.receivedBytes,
    microseconds: {
      total: Math.round(machineClock() - started),
      lastRound: Math.round(machineClock() - lastRoundAt),
      start: 0,
    },
    pid: null,
    obstacles: [],
    run: null,
    fetched: null,
  };
}
