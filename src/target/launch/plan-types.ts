import type { LiveProcessState, OpenFile } from '../live-state-format.ts';
import type { Vma } from '../view.ts';
import type { FileLock } from './descriptor-details.ts';

/** Where standard input, output and error lead that led outside of the target. */
export type StandardStreams = 'inherit' | 'null';

/** Something because of which a new process would not be the old one. */
export interface LaunchObstacle {
  readonly pid: number;
  /** What it is, for people: names the thing and the process. */
  readonly message: string;
  /** Whether it can be overridden: the process would start, but find something changed. */
  readonly forcible: boolean;
  /** What can be done about it, where there is something. */
  readonly remedy?: string;
}

/** A process of the checkpoint. */
export interface LaunchSource {
  readonly state: LiveProcessState;
  readonly vmas: readonly Vma[];
  /** Contents of its vDSO, as far as the checkpoint has them. */
  readonly vdso: Uint8Array;
}

/**
 * How to make an open file description. All are made once, by the root, before it has children; these inherit them.
 */
export type DescriptionRecipe =
  | { readonly kind: 'open'; readonly path: string; readonly flags: number; readonly position: bigint }
  /** What ckpt has there itself. */
  | { readonly kind: 'stream'; readonly descriptor: number; readonly flags: number }
  /** `pipe` numbers the pipe. */
  | { readonly kind: 'pipe'; readonly pipe: number; readonly flags: number }
  | { readonly kind: 'eventfd'; readonly count: bigint; readonly semaphore: boolean; readonly flags: number }
  | { readonly kind: 'epoll' }
  | { readonly kind: 'signalfd'; readonly mask: bigint; readonly flags: number }
  | { readonly kind: 'timerfd'; readonly clock: number; readonly flags: number }
  /** Memory without a file, to be shared by mappings. */
  | { readonly kind: 'memory'; readonly bytes: number };

/** A pipe whose two ends the target holds. */
export interface PipePlan {
  readonly unread: Uint8Array;
  readonly capacityBytes: number | null;
}

/** A descriptor of a process: which description it gets. */
export interface Placement {
  readonly descriptor: number;
  readonly closeOnExec: boolean;
  /** Index in `descriptions`. */
  readonly description: number;
}

/** What an epoll descriptor watches. */
export interface EpollPlan {
  readonly descriptor: number;
  readonly watches: readonly {
    readonly descriptor: number;
    readonly events: number;
    readonly data: bigint;
  }[];
}

/** A running timerfd. */
export interface TimerPlan {
  readonly descriptor: number;
  readonly remainingNanoseconds: bigint;
  readonly intervalNanoseconds: bigint;
  readonly ticks: bigint;
}

/** A lock that a process has to take again. */
export interface LockPlan {
  readonly descriptor: number;
  readonly lock: FileLock;
}

/** The descriptors of all processes. */
export interface DescriptorPlan {
  readonly descriptions: readonly DescriptionRecipe[];
  readonly pipes: readonly PipePlan[];
  readonly processes: ReadonlyMap<number, ProcessDescriptors>;
  readonly obstacles: readonly LaunchObstacle[];
  readonly notes: readonly string[];
}

export interface ProcessDescriptors {
  readonly placements: readonly Placement[];
  /** To be set up by this process: the first one that holds the descriptor. */
  readonly epolls: readonly EpollPlan[];
  readonly timers: readonly TimerPlan[];
  readonly locks: readonly LockPlan[];
}

/** A descriptor and the process that holds it. */
export interface HeldFile {
  readonly pid: number;
  readonly file: OpenFile;
}
