import { Random, UsageError } from '../core/index.ts';

/** A stretch of time with a bandwidth of its own. */
export interface BandwidthStep {
  /** From the start of the migration. */
  readonly atMicroseconds: number;
  readonly bytesPerSecond: number;
}

export interface LinkOptions {
  /** What the link carries of the sender's bytes: the line rate less the headers of the layers below. */
  readonly bytesPerSecond: number;
  /** Share by which the bandwidth may be off, for intervals. */
  readonly uncertainty?: number;
  /** Bandwidth over time; before the first step `bytesPerSecond` holds. */
  readonly profile?: readonly BandwidthStep[];
  /** There and back. */
  readonly roundTripMicroseconds?: number;
  /** A packet takes so much longer or shorter each way than half a round trip, evenly spread (as netem's jitter). */
  readonly jitterMicroseconds?: number;
  /** Another one gives other delays of the same spread. */
  readonly jitterSeed?: number;
  /** Share of the packets that are lost. */
  readonly loss?: number;
  /** Connecting and whatever else comes before the first byte. */
  readonly setupMicroseconds?: number;
  /** Bytes that the sender may have written and the receiver has not got: socket buffers and queues on the way. */
  readonly backlogBytes?: number;
  /** Connections that share the link, each with buffers of its own; 1. */
  readonly connections?: number;
  /** Bytes that pass at once before the bandwidth limit bites (a token bucket's burst). */
  readonly burstBytes?: number;
}

/** What TCP carries on Ethernet, as a share of the line rate; measured between two Linux hosts. */
export const TCP_SHARE = 0.958;
/** Payload of a TCP segment on Ethernet with timestamps. */
const SEGMENT_BYTES = 1448;
/** A blocked writer wakes when a third of the buffer is free (Linux, sk_stream_min_wspace). */
const WAKE_LEVEL = 2 / 3;
/** Size of the buffer after slow start, and how long it grows then; both as measured. */
const FIRST_BACKLOG_BYTES = 1.3e6;
const BACKLOG_GROWTH_MICROSECONDS = 1_000_000;

/**
 * The way to the destination as the sender sees it: a buffer that takes bytes at once until it is full and drains at
 * the link's rate. A writer that meets a full buffer sleeps until a third of it has drained, so that it goes on in
 * bursts; and what is in the buffer when the sender has finished still has to arrive.
 */
export class Link {
  readonly roundTripMicroseconds: number;
  readonly setupMicroseconds: number;
  readonly #jitter: number;
  readonly #random: Random;
  readonly #steps: readonly BandwidthStep[];
  readonly #connections: number;
  readonly #capacity: number;
  /** When the buffer has reached its size; 0: it has it from the start. */
  readonly #grownAt: number;
  readonly #burst: number;
  /** One bandwidth all the time, and no bursts. */
  readonly #isPlain: boolean;
  #level = 0;
  #credit: number;
  #at = 0;

  /** @throws UsageError for a bandwidth that is not above zero, a loss outside 0..1, or more jitter than latency. */
  constructor(options: LinkOptions) {
    const { loss = 0, roundTripMicroseconds = 200, jitterMicroseconds = 0 } = options;
    if (!(loss >= 0 && loss < 1)) throw new UsageError(`a loss of ${loss} is not a share below 1`);
    if (!(jitterMicroseconds >= 0 && jitterMicroseconds <= roundTripMicroseconds / 2)) {
      throw new UsageError(
        'a jitter above half the round trip would let packets arrive before they are sent',
        {
          hint: 'give a larger --rtt or a smaller --jitter',
        },
      );
    }
    const steps = [
      { atMicroseconds: 0, bytesPerSecond: options.bytesPerSecond },
      ...(options.profile ?? []),
    ].sort((left, right) => left.atMicroseconds - right.atMicroseconds);
    const worst = steps.reduce(
      (least, step) => Math.min(least, step.bytesPerSecond),
      Number.POSITIVE_INFINITY,
    );
    if (!(worst > 0)) {
      throw new UsageError('a link needs a bandwidth above zero', { hint: 'write it like 1Gbit/s' });
    }
    // What one TCP connection reaches under random loss (Mathis, Semke, Mahdavi and Ott 1997).
    const reached =
      loss === 0
        ? Number.POSITIVE_INFINITY
        : (1.22 * SEGMENT_BYTES * 1e6) / (roundTripMicroseconds * Math.sqrt(loss));
    this.#steps = steps.map((step) => ({ ...step, bytesPerSecond: Math.min(step.bytesPerSecond, reached) }));
    this.roundTripMicroseconds = roundTripMicroseconds;
    this.#jitter = jitterMicroseconds;
    this.#random = new Random(options.jitterSeed ?? 0);
    this.setupMicroseconds = options.setupMicroseconds ?? 3000;
    this.#connections = options.connections ?? 1;
    this.#capacity = options.backlogBytes ?? usualBacklogBytes(options.bytesPerSecond) * this.#connections;
    this.#grownAt = options.backlogBytes === undefined ? BACKLOG_GROWTH_MICROSECONDS : 0;
    this.#burst = options.burstBytes ?? 0;
    this.#credit = this.#burst;
    this.#isPlain = steps.length === 1 && this.#burst === 0;
  }

  /** The bandwidth at an instant. */
  bytesPerSecondAt(microseconds: number): number {
    let rate = this.#steps[0]!.bytesPerSecond;
    for (const step of this.#steps) {
      if (step.atMicroseconds > microseconds) break;
      rate = step.bytesPerSecond;
    }
    return rate;
  }

  /** When a write of `bytes` that begins at `now` returns. Calls must come in the order of time. */
  write(bytes: number, now: number): number {
    let at = Math.max(now, this.#at);
    this.#settle(at);
    let left = bytes;
    for (
      let capacity = this.#capacityAt(at);
      left > capacity - this.#level;
      capacity = this.#capacityAt(at)
    ) {
      left -= Math.max(0, capacity - this.#level);
      this.#level = Math.max(this.#level, capacity);
      if (this.#spendCredit() > 0) continue;
      at = this.#drained(capacity * (1 - WAKE_LEVEL), at);
      this.#settle(at);
    }
    this.#level += left;
    return at;
  }

  /** When so many bytes have left a link that nothing was written to before, if it is busy from the start. */
  carriedAt(bytes: number): number {
    return this.#drained(bytes, 0);
  }

  /** When everything written so far has left the buffer. */
  emptyAt(now: number): number {
    this.#settle(Math.max(now, this.#at));
    return this.#drained(this.#level, this.#at);
  }

  /**
   * When everything written so far has reached the other end. A stream is delivered in order, so that of the packets
   * that are under way together the slowest counts.
   */
  arrivalAt(now: number): number {
    return this.emptyAt(now) + this.roundTripMicroseconds / 2 + this.#jitter;
  }

  /** How long a message that travels alone takes to the other end; each one another time. */
  latency(): number {
    const spread = this.#jitter === 0 ? 0 : this.#jitter * (2 * this.#random.nextFraction() - 1);
    return this.roundTripMicroseconds / 2 + spread;
  }

  /** Bytes on the way at an instant. */
  backlogAt(now: number): number {
    this.#settle(Math.max(now, this.#at));
    return this.#level;
  }

  #capacityAt(microseconds: number): number {
    if (this.#grownAt === 0) return this.#capacity;
    const grown = Math.min(1, microseconds / this.#grownAt);
    const first = Math.min(FIRST_BACKLOG_BYTES * this.#connections, this.#capacity);
    return first + (this.#capacity - first) * grown;
  }

  /** Lets time pass: the buffer drains, an idle link gathers credit for a burst. */
  #settle(until: number): void {
    if (this.#isPlain) {
      if (until <= this.#at) return;
      const carried = (this.#steps[0]!.bytesPerSecond * (until - this.#at)) / 1e6;
      this.#level = this.#level > carried ? this.#level - carried : 0;
      this.#at = until;
      return;
    }
    while (this.#at < until) {
      const next = Math.min(until, this.#nextStep(this.#at));
      const carried = (this.bytesPerSecondAt(this.#at) * (next - this.#at)) / 1e6 + this.#credit;
      const drained = Math.min(this.#level, carried);
      this.#level -= drained;
      this.#credit = Math.min(this.#burst, carried - drained);
      this.#at = next;
    }
  }

  /** Lets a burst pass at once. @returns its bytes */
  #spendCredit(): number {
    const passed = Math.min(this.#level, this.#credit);
    this.#level -= passed;
    this.#credit -= passed;
    return passed;
  }

  /** When `bytes` of the buffer have drained, if nothing is added. */
  #drained(bytes: number, from: number): number {
    let left = bytes - this.#credit;
    let at = from;
    while (left > 0) {
      const rate = this.bytesPerSecondAt(at) / 1e6;
      const next = this.#nextStep(at);
      if (left <= rate * (next - at)) return at + left / rate;
      left -= rate * (next - at);
      at = next;
    }
    return at;
  }

  #nextStep(after: number): number {
    for (const step of this.#steps) if (step.atMicroseconds > after) return step.atMicroseconds;
    return Number.POSITIVE_INFINITY;
  }
}

/** The same link with so many times the bandwidth at any time. */
export function scaledLink(link: LinkOptions, factor: number): LinkOptions {
  return {
    ...link,
    bytesPerSecond: link.bytesPerSecond * factor,
    profile: (link.profile ?? []).map((step) => ({ ...step, bytesPerSecond: step.bytesPerSecond * factor })),
  };
}

/**
 * Backlog of one TCP connection with the buffer sizes that Linux chooses by itself. The send buffer grows with the
 * congestion window (tcp_sndbuf_expand of net/ipv4/tcp_input.c), to 4 MiB with the headers at most; slower links have
 * smaller windows. Measured: 2.4 MB at its fullest on 100 Mbit/s, to 3.3 MB on 500 Mbit/s and more.
 */
function usualBacklogBytes(bytesPerSecond: number): number {
  return Math.min(3.3e6, 2.2e6 + bytesPerSecond * 0.02, bytesPerSecond * 0.2);
}
