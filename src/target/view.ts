import type { PageRange } from '../core/index.ts';
import type { MapsEntry, PagemapScanRequest, PagemapScanResult } from '../procfs/index.ts';

/** A mapping as the dumper sees it: the maps line and the two-letter codes of its VmFlags line. */
export interface Vma extends MapsEntry {
  /** `rd wr mr mw me ac sd ...` as in /proc/PID/smaps; empty if the kernel does not print them. */
  readonly flags: readonly string[];
}

/** What must be equal for one dump to be the parent of the next. */
export interface TargetIdentity {
  readonly kind: 'simulated' | 'live';
  /** `sim:kv-store.yaml`, or `1234 (redis-server)`. */
  readonly name: string;
  /** Simulated: digest of the workload file. Live: boot id, start time and exe of the root process. */
  readonly fingerprint: string;
}

/** What this target's kernel and our rights offer to trackers. */
export interface TrackingAbilities {
  /** Bit 55 works: proved by dirtying a page, since a kernel without it accepts the clear silently. */
  readonly softDirty: boolean;
  /** pagemap shows frame numbers (CAP_SYS_ADMIN). */
  readonly frameNumbers: boolean;
  /** `6.1.0-56-amd64`. */
  readonly kernelRelease: string;
  /** Why soft-dirty is not available, for people. */
  readonly softDirtyProblem?: string;
  /** Why PAGEMAP_SCAN with asynchronous write protection is not available, for people; undefined if it is. */
  readonly writeProtectionProblem: string | undefined;
  /** Why it would be of no use for this very target, although it is available. */
  readonly writeProtectionObstacle?: string;
}

/** What became of a mapping that was to be registered: somebody else's userfaultfd has it, or it cannot be. */
export type RegistrationResult = 'registered' | 'foreign' | 'refused';

/**
 * Asynchronous write protection of one process (Linux 6.7, UFFD_FEATURE_WP_ASYNC): a userfaultfd that is kept inside
 * the process and outlives the command that made it. PAGEMAP_SCAN then reports pages that were written since they were
 * protected, and protects them anew. All calls are made while the process stands still.
 */
export interface WriteProtection {
  /**
   * Finds the userfaultfd of this process, or makes one.
   * @returns why there can be none, for people; undefined if it stands
   */
  establish(): string | undefined;
  /** Whether a mapping that is write-protected by somebody (`writeProtectAllowed`) is so by our userfaultfd. */
  owns(startPage: number, endPage: number): boolean;
  /** Registers one whole mapping. */
  register(startPage: number, endPage: number): RegistrationResult;
  /**
   * Takes the marks of protection off pages of a mapping that was just registered: mremap may have left them there, and
   * a page that is written while nobody is registered keeps its mark.
   */
  lift(startPage: number, endPage: number): void;
  /**
   * Who protected pages last; it lives and dies with the userfaultfd. Absent where nobody else can protect: a simulated
   * process.
   */
  readonly ledger?: ClearLedger;
  /**
   * What may write to memory of the process without going through its page tables, so that no write protection stops
   * it: for people, or undefined if nothing is known to.
   */
  unseenWriters(vmas: readonly Vma[]): string | undefined;
  /**
   * Removes every trace of write protection from the process.
   * @returns whether there was any
   */
  remove(vmas: readonly Vma[]): boolean;
}

/**
 * Where whoever clears the soft-dirty bits of a process signs. The bits are one per page for everybody: a clear that
 * a dump does not know of (another store's dump, or its own predecessor that failed half-way) makes changed pages
 * read clean. A dump that does not find its parent's signature must not believe any bit.
 */
export interface ClearLedger {
  /** The last signature; undefined if nobody signed since the process started. */
  lastSignature(): string | undefined;
  /** Signs, before the bits are cleared. */
  sign(signature: string): void;
}

/**
 * All that a dumper may know of one process. Calls are synchronous: while the target is frozen nothing should wait
 * for a turn of the event loop. A process that is gone makes every method throw TargetError.
 */
export interface ProcessView {
  readonly pid: number;
  /** Parent PID inside the target, 0 for its root. */
  readonly parentPid: number;
  /** Short name as in /proc/PID/comm. */
  readonly name: string;
  /**
   * Tells this process from any other with its PID, and from itself before an exec: only where it is equal may pages
   * be compared with those of an older checkpoint. Undefined where no PID is ever used twice and tracking tells of an
   * exec.
   */
  readonly fingerprint?: string;
  /** The mappings in address order, with their flags. */
  vmas(): Vma[];
  /**
   * Reads pagemap words of `pageCount` pages from `startPage` into `words` (two halves a word, low first).
   * @returns pages read; fewer only at the end of the address space.
   */
  readPagemap(startPage: number, pageCount: number, words: Uint32Array): number;
  /** Writes `value` to clear_refs. */
  clearReferences(value: number): void;
  /** PAGEMAP_SCAN, or undefined if this kernel (or the plain /proc way) has none. */
  readonly scanPagemap?: (request: PagemapScanRequest) => PagemapScanResult;
  /**
   * Reads memory as /proc/PID/mem does.
   * @returns pages read from the start; fewer than asked if a page is unreadable or unmapped (0: the first one is).
   */
  readMemory(startPage: number, pageCount: number, into: Uint8Array): number;
  /**
   * Reads scattered pages in one go: `pageCount` of them, whose ascending numbers begin at index `from` of `pages`, one
   * behind the other into `into`. Absent where reading them one by one costs no more.
   * @returns as `readMemory`
   */
  readPages?(pages: Float64Array, from: number, pageCount: number, into: Uint8Array): number;
  /**
   * Pages of a shared anonymous mapping that hold data whether or not this process maps them; undefined where the
   * kernel cannot tell. Reading a hole of such a mapping would allocate it, and a dump must not change the target.
   */
  populatedPages?(vma: Vma): readonly PageRange[] | undefined;
  /** Frame number of the shared page of zeros, where frame numbers are visible and this one is known. */
  readonly zeroFrame?: number;
  /** Absent where nobody else can clear: a simulated process, whose bits travel with its checkpoints. */
  readonly clearLedger?: ClearLedger;
  /** Absent where the kernel or the platform has none. */
  readonly writeProtection?: WriteProtection;
}

/** A target: one process or a tree of them, simulated or live. No code above asks which. */
export interface Target {
  readonly identity: TargetIdentity;
  /** True while `freeze` holds. */
  readonly frozen: boolean;
  abilities(): TrackingAbilities;
  /** The processes that exist now, root first. */
  processes(): ProcessView[];
  /**
   * Does now what `freeze` would otherwise do before it stops anything, so that the stop alone can be timed. Absent
   * where there is nothing to prepare.
   */
  prepareFreeze?(): Promise<void>;
  /** Stops every process of the target; resolves when they stand still. */
  freeze(): Promise<void>;
  /**
   * Called before `thaw`: throws TargetError if anybody let a process run, or killed it, since `freeze` resolved, so
   * that what was copied is not one instant. Absent where that cannot happen.
   */
  verifyStoodStill?(): void;
  /** Lets the target go on. Safe to call twice, and from a signal handler. */
  thaw(): void;
  /**
   * Has the frozen target stay stopped from now on even if ckpt dies; `thaw` lets it go on still. Absent where it ends
   * with ckpt anyway.
   */
  keepStopped?(): Promise<void>;
  /** Kills the frozen target, which goes on elsewhere. Absent where it ends with ckpt anyway. */
  end?(): void;
  /** Lets the (thawed) target run: real time for a live one, virtual time for a simulated one. */
  run(durationMicroseconds: number, signal?: AbortSignal): Promise<void>;
  /** Position on the target's own clock, in microseconds: virtual time, or a monotonic machine clock. */
  nowMicroseconds(): number;
  /**
   * Everything beyond memory that a checkpoint keeps, taken while frozen: for a simulated target the whole kernel and
   * program, enough to continue from; for a live one what /proc tells.
   */
  captureState(): TargetState;
  /** Leaves the target running (unless `leaveStopped`) and lets go of descriptors and helpers. */
  close(options?: { readonly leaveStopped?: boolean }): Promise<void>;
}

/** State beyond memory. `bytes` is opaque to every room above `target`; `summary` is for people and JSON. */
export interface TargetState {
  readonly format: string;
  readonly bytes: Uint8Array;
  readonly summary: Readonly<Record<string, unknown>>;
}
