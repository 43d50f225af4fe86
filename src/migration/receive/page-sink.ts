import { type CodecPool, SharedBuffers } from '../../codec/index.ts';
import { PAGE_SIZE, type PageRangeList, PeerError } from '../../core/index.ts';
import { MAX_PAGES_OF_MESSAGE, type MessageOf } from '../wire/messages.ts';

/** Pages of zeros that one message may name: they cost no bytes on the way, so something else has to bound the work. */
export const MAX_ZERO_PAGES_OF_MESSAGE = 65536;

/** Messages that are decoded at a time where nothing is kept. */
const DISCARDED_AT_ONCE = 8;

/** Where received pages go. */
export interface PageSink {
  /** Pages with contents; `fill` decodes them into shared memory. */
  add(pid: number, pages: PageRangeList, fill: (into: Uint8Array) => Promise<void>): Promise<void>;
  addZeros(pid: number, pages: PageRangeList): Promise<void>;
  drop(pid: number, pages: PageRangeList): void;
}

/**
 * Hands the pages of a message to a sink, decoded and checked.
 * @throws PeerError if the message is not of one piece; what the sink throws
 */
export async function takePages(sink: PageSink, message: MessageOf<'pages'>, pool: CodecPool): Promise<void> {
  const { pid, ranges, encoding, checksum, bytes } = message;
  const { pageCount } = ranges;
  const most = encoding === 'zero' ? MAX_ZERO_PAGES_OF_MESSAGE : MAX_PAGES_OF_MESSAGE;
  if (pageCount === 0 || pageCount > most) {
    throw new PeerError(`the other end sent ${pageCount} pages in one message, where 1 to ${most} may come`);
  }
  if (encoding === 'zero') return sink.addZeros(pid, ranges);
  const codec = encoding === 'zstd' ? 'zstd' : 'none';
  const block = { codec, checksum, rawLengthBytes: pageCount * PAGE_SIZE, stored: bytes } as const;
  return sink.add(pid, ranges, async (into) => {
    const content = await pool.decompress(block, 'a message with pages', undefined, into);
    if (content.buffer !== into.buffer) into.set(content);
  });
}

/** Decodes pages and forgets them. */
export class DiscardingSink implements PageSink {
  readonly #buffers = new SharedBuffers(DISCARDED_AT_ONCE, MAX_PAGES_OF_MESSAGE * PAGE_SIZE);
  readonly #underWay = new Set<Promise<void>>();
  #failure: unknown;

  async add(_pid: number, pages: PageRangeList, fill: (into: Uint8Array) => Promise<void>): Promise<void> {
    const buffer = await this.#buffers.take();
    if (this.#failure !== undefined) throw this.#failure;
    const decoding = fill(buffer.subarray(0, pages.pageCount * PAGE_SIZE))
      .catch((error: unknown) => {
        this.#failure ??= error;
      })
      .finally(() => {
        this.#underWay.delete(decoding);
        this.#buffers.give(buffer);
      });
    this.#underWay.add(decoding);
  }

  addZeros(): Promise<void> {
    return Promise.resolve();
  }

  drop(): void {
    // Nothing is kept that could be dropped.
  }

  /** Waits for what is under way. @throws what went wrong in it */
  async finish(): Promise<void> {
    await Promise.all(this.#underWay);
    if (this.#failure !== undefined) throw this.#failure;
  }
}
