import { PAGE_SIZE } from '../../core/index.ts';
import type { HostCosts } from '../costs.ts';
import type { Link } from '../link.ts';
import type { MigratingMemory } from '../memory.ts';
import { bitsOf } from '../page-bitmap.ts';
import type { QemuOptions } from './options.ts';

/** Pages of a packet (MULTIFD_PACKET_SIZE of migration/multifd.h). */
const PACKET_PAGES = 128;
/** Head of a packet: its fixed part and an offset for each page that it could hold. */
const PACKET_HEAD_BYTES = 320 + PACKET_PAGES * 8;

interface Packet {
  readonly doneAt: number;
  readonly bytes: number;
}

/**
 * Several connections with a thread each. The migration thread only fills packets; a channel looks for zero pages,
 * compresses and writes, and its bytes count when it is done. So the migration thread notices late that its budget is
 * used up, and packets in flight come on top.
 */
export class MultifdChannels {
  readonly #link: Link;
  readonly #memory: MigratingMemory;
  readonly #costs: HostCosts;
  readonly #compression: QemuOptions['multifdCompression'];
  readonly #freeAt: number[];
  /** Packets that are not done yet, in the order in which they will be. */
  #inFlight: Packet[] = [];
  #settledBytes = 0;
  /** Packets that channels have been given. */
  dispatched = 0;
  #pages = 0;
  #normalPages = 0;
  #payload = 0;
  /** Pages of which the compressed size is known to be this. */
  #shareStart = 0;
  #shareEnd = 0;
  #pageBytes = PAGE_SIZE;

  constructor(
    channels: number,
    compression: QemuOptions['multifdCompression'],
    link: Link,
    memory: MigratingMemory,
    costs: HostCosts,
  ) {
    this.#freeAt = new Array<number>(channels).fill(0);
    this.#compression = compression;
    this.#link = link;
    this.#memory = memory;
    this.#costs = costs;
  }

  /** Bytes that channels had written by an instant. */
  writtenAt(now: number): number {
    while (this.#inFlight.length > 0 && this.#inFlight[0]!.doneAt <= now) {
      this.#settledBytes += this.#inFlight.shift()!.bytes;
    }
    return this.#settledBytes;
  }

  /** Pages that the packet still takes. */
  get room(): number {
    return PACKET_PAGES - this.#pages;
  }

  /**
   * Queues pages, at most `room`.
   * @param normal those of a word that hold data, a bit each; `zeros`: how many others go with them.
   * @returns when the migration thread may go on.
   */
  queue(word: number, normal: number, zeros: number, now: number): number {
    const count = bitsOf(normal);
    this.#pages += count + zeros;
    this.#normalPages += count;
    if (this.#compression === 'none') this.#payload += count * PAGE_SIZE;
    else this.#payload += this.#compressedBytes(word, normal);
    return this.#pages < PACKET_PAGES ? now : this.#dispatch(now);
  }

  /** Size of these pages of a word when they are compressed, page by page in whole bytes. */
  #compressedBytes(word: number, pages: number): number {
    let bytes = 0;
    for (let rest = pages; rest !== 0; ) {
      const page = word * 32 + 31 - Math.clz32(rest & -rest);
      if (page < this.#shareStart || page >= this.#shareEnd) {
        const share = this.#costs.compressedShare ?? this.#memory.compressedShare(page);
        this.#pageBytes = Math.round(PAGE_SIZE * share);
        this.#shareStart = page;
        this.#shareEnd = this.#memory.compressedShareEnd?.(page) ?? page + 1;
      }
      const alike = this.#shareEnd >= word * 32 + 32 ? rest : rest & ~(-1 << (this.#shareEnd & 31));
      bytes += bitsOf(alike) * this.#pageBytes;
      rest ^= alike;
    }
    return bytes;
  }

  /** Sends what is queued and waits for all channels. @returns when they are done. */
  flush(now: number): number {
    const dispatched = this.#pages === 0 ? now : this.#dispatch(now);
    return Math.max(dispatched, ...this.#freeAt);
  }

  /** Hands the packet to the channel that is free first, and waits for that. */
  #dispatch(now: number): number {
    this.dispatched++;
    const channel = this.#freeAt.indexOf(Math.min(...this.#freeAt));
    const start = Math.max(now, this.#freeAt[channel]!);
    const zeroPages = this.#pages - this.#normalPages;
    const perPage =
      this.#compression === 'none'
        ? this.#costs.zeroPageNanoseconds
        : PAGE_SIZE * this.#costs.compressNanosecondsPerByte[this.#compression];
    const work = (zeroPages * this.#costs.zeroPageNanoseconds + this.#normalPages * perPage) / 1000;
    const bytes = PACKET_HEAD_BYTES + this.#payload;
    const doneAt = this.#link.write(bytes, start + work);
    this.#freeAt[channel] = doneAt;
    this.writtenAt(now);
    let place = this.#inFlight.length;
    while (place > 0 && this.#inFlight[place - 1]!.doneAt > doneAt) place--;
    this.#inFlight.splice(place, 0, { doneAt, bytes });
    this.#pages = 0;
    this.#normalPages = 0;
    this.#payload = 0;
    return start;
  }
}
