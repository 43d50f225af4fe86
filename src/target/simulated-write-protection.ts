import {
  ERRNO,
  errnoName,
  type Kernel,
  type Process,
  UFFD_FEATURE,
  UFFD_REGISTER,
  type Userfaultfd,
} from '../kernel/index.ts';
import type { RegistrationResult, WriteProtection } from './view.ts';

/** Why the simulated kernel has no asynchronous write protection; undefined if it has. */
export function writeProtectionProblem(kernel: Kernel): string | undefined {
  if (!kernel.features.pagemapScan) return `Linux ${kernel.version} has no PAGEMAP_SCAN (6.7 brought it)`;
  if (kernel.machine.uffdWriteProtect) return undefined;
  return 'the simulated kernel is built without write protection by userfaultfd';
}

/** Write protection of a simulated process. Its userfaultfd is part of the simulated kernel, and saved with it. */
export class SimulatedWriteProtection implements WriteProtection {
  readonly #kernel: Kernel;
  readonly #process: () => Process;

  constructor(kernel: Kernel, process: () => Process) {
    this.#kernel = kernel;
    this.#process = process;
  }

  establish(): string | undefined {
    if (this.#find() !== undefined) return undefined;
    const made = this.#process().userfaultfd(UFFD_FEATURE.writeProtectAsync);
    return typeof made === 'number'
      ? `the simulated kernel refused a userfaultfd: ${errnoName(made)}`
      : undefined;
  }

  owns(startPage: number, endPage: number): boolean {
    return this.#register(startPage, endPage) === 0;
  }

  register(startPage: number, endPage: number): RegistrationResult {
    const result = this.#register(startPage, endPage);
    if (result === -ERRNO.EBUSY) return 'foreign';
    return result < 0 ? 'refused' : 'registered';
  }

  lift(startPage: number, endPage: number): void {
    this.#find()?.writeProtect(startPage, endPage - startPage, false);
  }

  unseenWriters(): string | undefined {
    return this.#kernel.pinnedBuffers().length > 0 ? 'memory is pinned for a device' : undefined;
  }

  remove(): boolean {
    return this.#find()?.close() === 0;
  }

  #register(startPage: number, endPage: number): number {
    const userfaultfd = this.#find();
    if (userfaultfd === undefined) return -ERRNO.EBADF;
    return userfaultfd.register(startPage, endPage - startPage, UFFD_REGISTER.writeProtect);
  }

  /** Ours is the first of the process: simulated programs open none. */
  #find(): Userfaultfd | undefined {
    const { space } = this.#process();
    return this.#kernel
      .userfaultfds()
      .find(
        ({ context }) => context.space === space && (context.features & UFFD_FEATURE.writeProtectAsync) !== 0,
      );
  }
}
