import { UnsupportedError } from '../core/index.ts';
import type { Target, TrackingAbilities } from '../target/index.ts';
import { compareTracker } from './compare.ts';
import { SoftDirtyTracker } from './soft-dirty.ts';
import type { Tracker, TrackerKind } from './tracker.ts';

/** A tracker, and the sentence that says which one it is and why. */
export interface ChosenTracker {
  readonly tracker: Tracker;
  readonly reason: string;
}

/**
 * Picks the tracker: the one asked for, or with `auto` the cheapest that works on this target.
 * @throws UnsupportedError saying what is missing, if one was asked for that cannot work here
 */
export function chooseTracker(target: Target, wanted: TrackerKind | 'auto'): ChosenTracker {
  if (wanted === 'compare') return { tracker: compareTracker, reason: 'compare: as asked' };
  const abilities = target.abilities();
  const problem = softDirtyProblem(abilities);
  if (problem === undefined) {
    const why = wanted === 'auto' ? `Linux ${abilities.kernelRelease} marks written pages` : 'as asked';
    return { tracker: new SoftDirtyTracker(), reason: `soft-dirty: ${why}` };
  }
  if (wanted === 'auto') return { tracker: compareTracker, reason: `compare: ${problem}` };
  throw new UnsupportedError(`soft-dirty tracking does not work on ${target.identity.name}: ${problem}`, {
    hint: 'use --tracker compare, which reads every page but works anywhere',
    data: { kernelRelease: abilities.kernelRelease, frameNumbers: abilities.frameNumbers },
  });
}

/** Frame numbers are needed to notice moved page tables and pages of zeros, so soft-dirty alone is not enough. */
function softDirtyProblem(abilities: TrackingAbilities): string | undefined {
  if (!abilities.softDirty) return abilities.softDirtyProblem ?? 'the kernel does not mark written pages';
  if (!abilities.frameNumbers) return 'frame numbers are hidden, which takes CAP_SYS_ADMIN (run as root)';
  return undefined;
}
