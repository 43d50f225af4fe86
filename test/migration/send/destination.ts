import { createHash } from 'node:crypto';
import { openBlockCodec } from '../../../src/codec/index.ts';
import { PAGE_SIZE } from '../../../src/core/index.ts';
import { createSegment, memoryDigest, segmentDigest, windowStartOf } from '../../../src/image/index.ts';
import type { Channel } from '../../../src/migration/wire/channel.ts';
import type { Message, MessageOf } from '../../../src/migration/wire/messages.ts';

/** What a destination may do wrong, or has no room for. */
export interface Behaviour {
  readonly obstacles?: readonly string[];
  readonly wrongDigest?: boolean;
  /** Gives up when it gets the n-th message. */
  readonly abortsAt?: number;
  /** Says after `commit` that it could not start it. */
  readonly failsToStart?: boolean;
  /** Never says that it has started. */
  readonly silentAfterCommit?: boolean;
}

/** A destination that keeps what it is sent as plainly as can be: a map of pages for each process. */
export class PlainDestination {
  readonly pages = new Map<number, Map<number, Buffer>>();
  readonly said: Message['type'][] = [];
  readonly rounds: MessageOf<'round'>[] = [];
  readonly state: Uint8Array[] = [];
  hello: MessageOf<'hello'> | undefined;
  committed = false;
  #mappings = new Map<number, MessageOf<'mappings'>>();
  readonly #behaviour: Behaviour;

  constructor(behaviour: Behaviour = {}) {
    this.#behaviour = behaviour;
  }

  async serve(channel: Channel): Promise<void> {
    const codec = await openBlockCodec();
    let count = 0;
    for await (const message of channel) {
      this.said.push(message.type);
      if (++count === this.#behaviour.abortsAt) {
        await channel.send({ type: 'abort', reason: 'it was told to' });
        return;
      }
      switch (message.type) {
        case 'hello':
          this.hello = message;
          await channel.send({ type: 'welcome', program: 'test', storeName: 'nowhere' });
          break;
        case 'round':
          this.rounds.push(message);
          this.#mappings = new Map();
          break;
        case 'round-end':
          await channel.send({ type: 'progress', storedPages: 0, storedBytes: 0 });
          break;
        case 'mappings':
          this.#mappings.set(message.pid, message);
          if (!this.pages.has(message.pid)) this.pages.set(message.pid, new Map());
          break;
        case 'gone':
          for (const { startPage, endPage } of message.ranges) {
            for (let page = startPage; page < endPage; page++) this.pages.get(message.pid)!.delete(page);
          }
          break;
        case 'pages': {
          const { bytes, checksum, encoding, ranges } = message;
          const rawLengthBytes = ranges.pageCount * PAGE_SIZE;
          const raw =
            encoding === 'zero'
              ? Buffer.alloc(rawLengthBytes)
              : codec.decode(
                  { codec: encoding === 'zstd' ? 'zstd' : 'none', stored: bytes, checksum, rawLengthBytes },
                  'pages',
                );
          let at = 0;
          for (const { startPage, endPage } of ranges) {
            for (let page = startPage; page < endPage; page++, at += PAGE_SIZE) {
              this.pages.get(message.pid)!.set(page, Buffer.from(raw.subarray(at, at + PAGE_SIZE)));
            }
          }
          break;
        }
        case 'state':
          this.state.push(message.bytes);
          break;
        case 'prepared-digest': {
          const obstacles = [...(this.#behaviour.obstacles ?? [])];
          const digest = this.#behaviour.wrongDigest === true ? 'f'.repeat(64) : this.digest();
          await channel.send({
            type: 'ready',
            checkpoint: this.rounds.length,
            memoryDigest: digest,
            canRun: obstacles.length === 0,
            obstacles,
          });
          break;
        }
        case 'commit':
          this.committed = true;
          if (this.#behaviour.silentAfterCommit === true) {
            channel.abort(new Error('the line is cut'));
            return;
          }
          if (this.#behaviour.failsToStart === true) {
            await channel.send({ type: 'abort', reason: 'no room to run' });
            return;
          }
          await channel.send({ type: 'started', migrationId: message.migrationId, pid: 1 });
          break;
      }
    }
    await channel.close();
  }

  /** The memory digest of what has come, of the processes of the last round. */
  digest(): string {
    return memoryDigest(
      [...this.#mappings.values()].map(({ pid, vmas }) => {
        const segments: { startPage: number; digest: Uint8Array }[] = [];
        const pages = [...this.pages.get(pid)!.keys()].sort((left, right) => left - right);
        const windows = new Map<number, number[]>();
        for (const page of pages) {
          const window = windowStartOf(page);
          windows.set(window, [...(windows.get(window) ?? []), page]);
        }
        for (const [startPage, numbers] of windows) {
          const segment = createSegment(startPage);
          for (const page of numbers) {
            const hash = createHash('sha256').update(this.pages.get(pid)!.get(page)!).digest();
            segment.offsets[segment.count] = page - startPage;
            segment.digests.set(hash.subarray(0, 16), segment.count * 16);
            segment.count++;
          }
          segments.push({ startPage, digest: segmentDigest(segment) });
        }
        return { pid, vmas, segments };
      }),
    );
  }
}
