/** The numbers of the checkpoints that are being written, so that several can be at once. */
export class PendingCheckpoints {
  /** Checkpoint by pack. */
  readonly #checkpoints = new Map<number, number>();
  #ended = 0;

  /** What `look` finds in the store when none of them ends meanwhile, so that each is seen there or here. */
  async seen<Found>(look: () => Promise<Found>): Promise<Found> {
    for (;;) {
      const ended = this.#ended;
      const found = await look();
      if (ended === this.#ended) return found;
    }
  }

  get highestPack(): number {
    return Math.max(0, ...this.#checkpoints.keys());
  }

  get highestCheckpoint(): number {
    return Math.max(0, ...this.#checkpoints.values());
  }

  /** Whether a pack is one of theirs, which no manifest names yet. */
  hasPack(pack: number): boolean {
    return this.#checkpoints.has(pack);
  }

  begin(pack: number, checkpoint: number): void {
    this.#checkpoints.set(pack, checkpoint);
  }

  end(pack: number): void {
    if (this.#checkpoints.delete(pack)) this.#ended++;
  }
}
