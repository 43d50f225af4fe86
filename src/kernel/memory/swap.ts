/**
 * The swap area (mm/swapfile.c): a compressed RAM disk as in the recorded machines, so reading it takes no time. Each
 * slot has a number of users (entries of page tables and shared files) and a frame that holds the contents: the page
 * itself while it is in the swap cache, a storage frame otherwise.
 */
export class SwapArea {
  enabled = true;
  /** Users of each slot; slot 0 holds the header and is never given out. */
  users = new Int32Array(1024);
  frames = new Int32Array(1024);
  next = 1;
  readonly free: number[] = [];
  /** Slot of a frame in the swap cache. */
  readonly slotOfFrame = new Map<number, number>();

  /** A slot without users for the contents of `frame`, which enters the swap cache. */
  allocate(frame: number): number {
    const slot = this.free.pop() ?? this.next++;
    if (slot >= this.users.length) {
      const users = new Int32Array(this.users.length * 2);
      const frames = new Int32Array(this.users.length * 2);
      users.set(this.users);
      frames.set(this.frames);
      this.users = users;
      this.frames = frames;
    }
    this.users[slot] = 0;
    this.frames[slot] = frame;
    this.slotOfFrame.set(frame, slot);
    return slot;
  }

  /** Forgets a slot that has neither users nor a cached page. */
  releaseSlot(slot: number): void {
    this.frames[slot] = 0;
    this.free.push(slot);
  }
}
