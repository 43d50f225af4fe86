import { openFreshTarget, parseTarget } from '../../checkpoint/index.ts';
import { PAGE_SIZE } from '../../core/index.ts';
import type { Target } from '../../target/index.ts';
import { chooseTracker, type Tracker, type TrackerKind } from '../../tracker/index.ts';
import type { TraceEnd, TraceHeader, TraceStep } from './format.ts';
import { type RecorderOptions, recordSteps } from './recorder.ts';

/** What is watched or recorded, and how. */
export interface ObservationRequest {
  /** `sim:FILE` or a PID. */
  readonly target: string;
  /** The live process alone, without its descendants. */
  readonly single?: boolean;
  readonly tracker?: TrackerKind | 'auto';
  /** Given what lets a stopped target go on at once; returns what takes that back. */
  readonly onStop?: (release: () => void) => () => void;
}

/** A target that is scanned again and again. `close` leaves it running. */
export class Observed {
  /** Why its tracker was chosen, for people. */
  readonly trackerReason: string;
  readonly #target: Target;
  readonly #tracker: Tracker;
  readonly #withdraw: (() => void) | undefined;

  constructor(target: Target, request: ObservationRequest) {
    const { tracker, reason } = chooseTracker(target, request.tracker ?? 'auto');
    this.trackerReason = reason;
    this.#target = target;
    this.#tracker = tracker;
    this.#withdraw = request.onStop?.(() => target.thaw());
  }

  /** What a trace of it begins with. */
  header(intervalMicroseconds: number): TraceHeader {
    const { kind, name } = this.#target.identity;
    return {
      target: name,
      kind,
      tracker: this.#tracker.kind,
      pageSize: PAGE_SIZE,
      intervalMicroseconds,
      clock: kind === 'live' ? 'monotonic' : 'virtual',
    };
  }

  /** As `recordSteps`. */
  steps(options: RecorderOptions): AsyncGenerator<TraceStep, TraceEnd> {
    return recordSteps(this.#target, this.#tracker, options);
  }

  async close(): Promise<void> {
    this.#withdraw?.();
    await this.#target.close();
  }
}

/** Opens a target to scan it. @throws UsageError, WorkloadError, TargetError, UnsupportedError */
export async function openObserved(request: ObservationRequest): Promise<Observed> {
  const target = await openFreshTarget(parseTarget(request.target), request);
  try {
    return new Observed(target, request);
  } catch (error) {
    await target.close();
    throw error;
  }
}
