import { closeSync, readdirSync } from 'node:fs';
import { TargetError, UnsupportedError } from '../core/index.ts';
import { goneError, hasEnded, readProcText } from './live-files.ts';
import type { LiveHold } from './live-hold.ts';
import type { Native } from './native/calls.ts';
import type { Injector } from './native/injector.ts';
import { hasErrno } from './native/tracee.ts';
import { maySuspendSeccomp, seccompMode } from './seccomp.ts';
import {
  descriptorLink,
  descriptorLinks,
  RECORD_NAME,
  recordNumbers,
  TrackingRecord,
  trackingDescriptors,
} from './tracking-record.ts';
import { unseenWriters } from './unseen-writers.ts';
import { USERFAULTFD_FLAGS, USERFAULTFD_LINK, Userfaultfd } from './userfaultfd.ts';
import type { ClearLedger, RegistrationResult, Vma, WriteProtection } from './view.ts';

/** MFD_CLOEXEC and MFD_NOEXEC_SEAL, without which some systems refuse (include/uapi/linux/memfd.h, Linux 6.3). */
const MEMORY_FILE_FLAGS = 0x1 | 0x8;
const F_DUPFD_CLOEXEC = 1030;

/** What write protection has to know of its process. */
export interface WriteProtectionFacts {
  readonly pid: number;
  /** Tells the process from all others, its forked children too. */
  readonly owner: string;
  readonly native: Native;
  /** Whether the mapping at a page of this process is registered by anybody: a userfaultfd may be of another one. */
  readonly isRegistered: (page: number) => boolean;
  /** Present while ptrace holds it. */
  readonly hold: () => LiveHold | undefined;
}

/**
 * The userfaultfd in a live process, and our end of it. Only making it and closing it take system calls inside the
 * process; mappings are registered from here.
 */
export class LiveWriteProtection implements WriteProtection {
  readonly #facts: WriteProtectionFacts;
  /** As of `prepare`. */
  #links: ReadonlyMap<number, string> = new Map();
  #record: TrackingRecord | undefined;
  #userfaultfd: Userfaultfd | undefined;

  constructor(facts: WriteProtectionFacts) {
    this.#facts = facts;
  }

  get ledger(): ClearLedger {
    return {
      lastSignature: () => this.#record?.lastSignature(),
      sign: (signature) => this.#record?.sign(signature),
    };
  }

  /** Why protecting pages of this process would be in vain, as far as that shows before it is stopped. */
  obstacle(vmas: readonly Vma[]): string | undefined {
    const { pid } = this.#facts;
    const seccomp = seccompObstacle(pid, maySuspendSeccomp());
    return seccomp ?? unseenWriters(pid, vmas, descriptorLinks(pid).values());
  }

  /** Looks for the userfaultfd before the freeze: a process may have many descriptors. */
  prepare(): void {
    this.#links = descriptorLinks(this.#facts.pid);
    try {
      if (!this.#isIntact()) this.#find();
    } catch (error) {
      // `establish` meets it again, and says so.
      if (!(error instanceof TargetError)) throw error;
    }
  }

  establish(): string | undefined {
    const { pid, hold } = this.#facts;
    try {
      if (this.#isIntact()) return undefined;
      this.#links = descriptorLinks(pid);
      if (this.#find()) return undefined;
      return injectionProblem(pid, hold()) ?? this.#make(hold()!.injector(pid));
    } catch (error) {
      if (!(error instanceof TargetError || error instanceof UnsupportedError)) throw error;
      if (hasEnded(pid)) throw goneError(pid, error);
      this.close();
      return error.message;
    }
  }

  owns(startPage: number, endPage: number): boolean {
    return this.#userfaultfd?.register(startPage, endPage) === undefined;
  }

  register(startPage: number, endPage: number): RegistrationResult {
    const userfaultfd = this.#userfaultfd;
    if (userfaultfd === undefined) return 'refused';
    const refused = userfaultfd.register(startPage, endPage);
    if (refused === 'EBUSY') return 'foreign';
    return refused === undefined && this.#facts.isRegistered(startPage) ? 'registered' : 'refused';
  }

  lift(startPage: number, endPage: number): void {
    this.#userfaultfd?.lift(startPage, endPage);
  }

  unseenWriters(vmas: readonly Vma[]): string | undefined {
    return unseenWriters(this.#facts.pid, vmas, this.#links.values());
  }

  remove(vmas: readonly Vma[]): boolean {
    const { pid, hold } = this.#facts;
    if (!this.#isIntact()) {
      this.#links = descriptorLinks(pid);
      this.#find();
    }
    const numbers = trackingDescriptors(pid, this.#links);
    if (numbers.length === 0) return false;
    const problem = injectionProblem(pid, hold());
    if (problem !== undefined) {
      throw new TargetError(`process ${pid} cannot be made to close its userfaultfd: ${problem}`, {
        data: { pid },
      });
    }
    // A forked child may hold the userfaultfd open, so closing it would not do.
    for (const { startPage, endPage } of vmas) {
      if (this.#facts.isRegistered(startPage) && this.owns(startPage, endPage)) {
        this.#userfaultfd?.unregister(startPage, endPage);
      }
    }
    this.close();
    const injector = hold()!.injector(pid);
    for (const number of numbers) injector.call('close', number);
    return true;
  }

  /** Lets go of our end; the process keeps its own. */
  close(): void {
    this.#record?.close();
    this.#userfaultfd?.close();
    this.#record = undefined;
    this.#userfaultfd = undefined;
  }

  /** Whether the process still has open what we found or made. */
  #isIntact(): boolean {
    const { pid, native } = this.#facts;
    const userfaultfd = this.#userfaultfd;
    if (this.#record?.isOpen() !== true || userfaultfd === undefined) return false;
    const number = this.#record.userfaultfd;
    if (number === undefined || descriptorLink(pid, number) !== USERFAULTFD_LINK) return false;
    try {
      return native.sameFile(pid, number, process.pid, userfaultfd.descriptor);
    } catch (error) {
      // Without CONFIG_KCMP the link has to do.
      if (hasErrno(error, 'ENOSYS')) return true;
      throw error;
    }
  }

  /** Looks among the descriptors for a userfaultfd that was made for this process. */
  #find(): boolean {
    const { pid, owner } = this.#facts;
    this.close();
    for (const number of recordNumbers(this.#links)) {
      const record = new TrackingRecord(pid, number);
      const userfaultfd = record.isOf(owner) ? record.userfaultfd : undefined;
      if (userfaultfd !== undefined && this.#links.get(userfaultfd) === USERFAULTFD_LINK) {
        this.#record = record;
        this.#userfaultfd = this.#attach(userfaultfd);
        return true;
      }
      record.close();
    }
    return false;
  }

  /** Our end of descriptor `number` of the process. @throws SystemCallError */
  #attach(number: number): Userfaultfd {
    const { native, pid } = this.#facts;
    const handle = native.pidfdOpen(pid);
    try {
      return new Userfaultfd(native, native.pidfdGetfd(handle, number));
    } finally {
      closeSync(handle);
    }
  }

  /**
   * Makes record and userfaultfd inside the process; what it has inherited, or what a killed ckpt left half made, goes.
   * @returns why the kernel would not have it
   */
  #make(injector: Injector): string | undefined {
    const { pid, owner } = this.#facts;
    for (const number of trackingDescriptors(pid, this.#links)) injector.call('close', number);
    const name = injector.writeScratch(Buffer.from(`${RECORD_NAME}\0`));
    const file = raise(pid, injector, Number(injector.call('memfd_create', name, MEMORY_FILE_FLAGS)));
    const record = new TrackingRecord(pid, file);
    this.#record = record;
    record.begin(owner);
    const low = Number(injector.call('userfaultfd', USERFAULTFD_FLAGS));
    // Written down before it moves, so that it is found if we are killed here.
    record.setUserfaultfd(low);
    const number = raise(pid, injector, low);
    record.setUserfaultfd(number);
    this.#userfaultfd = this.#attach(number);
    const refused = this.#userfaultfd.enable();
    return refused === undefined ? undefined : `asynchronous write protection is refused (${refused})`;
  }
}

/** Why no system call can be made inside a process; undefined if one can. */
function injectionProblem(pid: number, hold: LiveHold | undefined): string | undefined {
  if (hold === undefined) return 'it is not held by ptrace, so that nothing can be set up inside it';
  return seccompObstacle(pid, hold.seccompSuspended);
}

function seccompObstacle(pid: number, maySuspend: boolean): string | undefined {
  const mode = seccompMode(pid);
  if (mode === 'strict') return 'strict seccomp kills it for any system call but four';
  const isWatched = mode === 'filter' && !maySuspend;
  return isWatched ? 'a seccomp filter watches its system calls (run as root to suspend it)' : undefined;
}

/**
 * Moves a new descriptor up, out of the way of a program that counts on low numbers: to the highest free one for which
 * the kernel need not enlarge the process's table, since every fork copies that.
 */
function raise(pid: number, injector: Injector, low: number): number {
  const tableSize = Number(/^FDSize:\s*(\d+)$/m.exec(readProcText(pid, 'status'))?.[1] ?? 0);
  const limit = Number(/^Max open files\s+(\d+)/m.exec(readProcText(pid, 'limits'))?.[1] ?? 0);
  const used = new Set(readdirSync(`/proc/${pid}/fd`).map(Number));
  for (let number = Math.min(tableSize, limit) - 1; number > low; number--) {
    if (used.has(number)) continue;
    const high = Number(injector.call('fcntl', low, F_DUPFD_CLOEXEC, number));
    injector.call('close', low);
    return high;
  }
  return low;
}
