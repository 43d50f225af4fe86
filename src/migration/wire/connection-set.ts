import type { Connection } from './connection.ts';
import type { FrameType } from './frame.ts';

/** The connections that a session has at the moment, by slot. */
export class ConnectionSet {
  /** Least recently used first. */
  readonly #connections = new Map<number, Connection>();

  get size(): number {
    return this.#connections.size;
  }

  get all(): readonly Connection[] {
    return [...this.#connections.values()];
  }

  /** Puts a connection into a slot. @returns the one that was there */
  set(slot: number, connection: Connection): Connection | undefined {
    const former = this.#connections.get(slot);
    this.#connections.set(slot, connection);
    return former;
  }

  delete(slot: number): void {
    this.#connections.delete(slot);
  }

  /** The one with the least to do, of several the one that was idle longest; undefined if all have enough. */
  idlest(): Connection | undefined {
    let best: readonly [number, Connection] | undefined;
    for (const entry of this.#connections) {
      const [, connection] = entry;
      if (connection.congested) continue;
      if (best === undefined || connection.backlogBytes < best[1].backlogBytes) best = entry;
    }
    if (best === undefined) return undefined;
    this.#connections.delete(best[0]);
    this.#connections.set(...best);
    return best[1];
  }

  /** Says one last thing over each, and lets them go. */
  closeWith(type: FrameType, payload: Uint8Array): void {
    for (const connection of this.#connections.values()) {
      connection.sendFrame(type, 0, 0, payload);
      connection.closeSoon();
    }
    this.#connections.clear();
  }

  /** Lets what was sent go out, and closes. */
  closeSoon(): void {
    for (const connection of this.#connections.values()) connection.closeSoon();
    this.#connections.clear();
  }

  destroy(): void {
    for (const connection of this.#connections.values()) connection.destroy();
    this.#connections.clear();
  }
}
