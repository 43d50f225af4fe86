const NOTHING = new Uint8Array(0);

/** Takes a stream of byte chunks apart into pieces of the sizes that a parser wants, in bounded memory. */
export class ByteFeed {
  readonly #source: AsyncIterator<Uint8Array>;
  #chunk: Uint8Array = NOTHING;
  #offset = 0;

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#source = source[Symbol.asyncIterator]();
  }

  /** Bytes taken so far. */
  get offsetBytes(): number {
    return this.#offset;
  }

  /** The next bytes, 1 to `maxBytes` of them as they come; undefined at the end of the stream. */
  async some(maxBytes: number): Promise<Uint8Array | undefined> {
    while (this.#chunk.length === 0) {
      const next = await this.#source.next();
      if (next.done === true) return undefined;
      this.#chunk = next.value;
    }
    const piece = this.#chunk.subarray(0, maxBytes);
    this.#chunk = this.#chunk.subarray(piece.length);
    this.#offset += piece.length;
    return piece;
  }

  /** The next `count` bytes, fewer only at the end of the stream. They are a copy where chunks had to be joined. */
  async upTo(count: number): Promise<Uint8Array> {
    const first = (await this.some(count)) ?? NOTHING;
    if (first.length === count || first.length === 0) return first;
    const joined = new Uint8Array(count);
    joined.set(first);
    let length = first.length;
    while (length < count) {
      const piece = await this.some(count - length);
      if (piece === undefined) break;
      joined.set(piece, length);
      length += piece.length;
    }
    return joined.subarray(0, length);
  }

  /** Ends the stream early: whoever makes it may let go of what it holds. */
  async close(): Promise<void> {
    this.#chunk = NOTHING;
    await this.#source.return?.();
  }
}
