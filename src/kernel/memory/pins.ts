import { ERRNO } from '../abi.ts';
import type { AddressSpace } from '../address-space.ts';
import { getUserPage, unpinFrame } from '../fault/gup.ts';
import type { Machine } from '../machine.ts';

/** A registered io_uring buffer: its pages stay where they are, and count as pinned for DMA, until released. */
export class PinnedBuffer {
  readonly #machine: Machine;
  #frames: readonly number[];

  constructor(machine: Machine, frames: readonly number[]) {
    this.#machine = machine;
    this.#frames = frames;
    machine.pinned.add(this);
  }

  /** The pinned frames; none after the release. */
  get frames(): readonly number[] {
    return this.#frames;
  }

  /** Unregisters the buffer; 0, or -ENXIO (-6) if that happened before. */
  release(): number {
    if (this.#frames.length === 0) return -6;
    for (const frame of this.#frames) unpinFrame(this.#machine, frame);
    this.#machine.pinned.delete(this);
    this.#frames = [];
    return 0;
  }
}

/** io_uring_register(IORING_REGISTER_BUFFERS) of one range. Files other than memory files are refused. */
export function pinRange(space: AddressSpace, startPage: number, pageCount: number): PinnedBuffer | number {
  const frames: number[] = [];
  const giveUp = (error: number) => {
    for (const frame of frames) unpinFrame(space.machine, frame);
    return -error;
  };
  for (let page = startPage; page < startPage + pageCount; page++) {
    const vma = space.vmas.lookup(page);
    if (vma === undefined) return giveUp(ERRNO.EFAULT);
    const frame = getUserPage(space, vma, page, { write: true, pin: 'lasting' });
    if (frame < 0) return giveUp(ERRNO.EFAULT);
    frames.push(frame);
    if (vma.file !== null && !vma.sharedMemory && !vma.hugeTlb) return giveUp(ERRNO.EOPNOTSUPP);
  }
  return new PinnedBuffer(space.machine, frames);
}
