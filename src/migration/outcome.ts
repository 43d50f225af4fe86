import type { CurvePoint } from './curve.ts';
import type { Round } from './rounds.ts';

export type PolicyName = 'qemu' | 'xen' | 'clark' | 'phaul' | 'criu' | 'fixed';
export type StrategyName = 'pre-copy' | 'post-copy' | 'hybrid' | 'stop-and-copy';

/** What one rehearsal of a migration predicts. Times are virtual, from the command to migrate. */
export interface Outcome {
  readonly verdict: 'converges' | 'does-not-converge';
  readonly policy: PolicyName;
  readonly strategy: StrategyName;
  /** Until the source may be given up; if it does not converge, until the rehearsal was given up. */
  readonly totalMicroseconds: number;
  /** From the stop at the source to the resume at the destination; 0 if it does not converge. */
  readonly downtimeMicroseconds: number;
  /** The part of it that the system itself measures and reports. */
  readonly reportedDowntimeMicroseconds: number;
  readonly setupMicroseconds: number;
  readonly transferredBytes: number;
  /** Sent as they are, as pages of zeros, and as differences to an earlier copy. */
  readonly pages: { readonly normal: number; readonly duplicate: number; readonly xbzrle: number };
  readonly rounds: readonly Round[];
  /** Memory left to send over time, at most about 500 points; two at the same instant where a round begins. */
  readonly curve: readonly CurvePoint[];
  /** Cost to the service before and after the stop: time lost to throttling and to waiting for pages. */
  readonly service: {
    readonly throttledMicroseconds: number;
    readonly faultedPages: number;
    readonly faultMicroseconds: number;
  };
}
