import { ERRNO } from '../abi.ts';
import type { AddressSpace } from '../address-space.ts';
import { getUserPage, unpinFrame } from '../fault/gup.ts';
import type { Machine } from '../machine.ts';
import { VM } from '../vma/flags.ts';

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

/**
 * io_uring_register(IORING_REGISTER_BUFFERS) of one range. Mappings of disk files are refused: up to 6.4 by io_uring
 * itself after it has taken the pages, later by get_user_pages beforehand, and only if they are shared.
 */
export function pinRange(space: AddressSpace, startPage: number, pageCount: number): PinnedBuffer | number {
  const { machine } = space;
  const frames: number[] = [];
  let onDisk = false;
  const giveUp = (error: number) => {
    for (const frame of frames) unpinFrame(machine, frame);
    return -error;
  };
  for (let page = startPage; page < startPage + pageCount; page++) {
    const vma = space.vmas.lookup(page);
    if (vma === undefined) return giveUp(ERRNO.EFAULT);
    const shared = vma.has(VM.shared) && (vma.file?.node.wantsWriteNotice ?? false);
    if (shared && machine.features.pinChecksFileSystem) return giveUp(ERRNO.EFAULT);
    const frame = getUserPage(space, vma, page, { write: true, pin: 'lasting' });
    if (frame < 0) return giveUp(ERRNO.EFAULT);
    frames.push(frame);
    onDisk ||= vma.file !== null && !vma.sharedMemory && !vma.hugeTlb;
  }
  if (onDisk && !machine.features.pinChecksFileSystem) return giveUp(ERRNO.EOPNOTSUPP);
  return new PinnedBuffer(machine, frames);
}
