import { openLiveTarget, Specimen } from '../target/index.ts';
import { chooseTracker, type TrackerKind } from '../tracker/index.ts';

let rehearsed: Promise<void> | undefined;

/**
 * Does to a process of our own what a freeze does to a target, once in the life of this program. Code that runs for the
 * first time takes two to three times as long, and a target should not stand still for that. Whatever fails here will
 * fail again where it matters, and be reported there.
 */
export function rehearseFreeze(tracker: TrackerKind | 'auto'): Promise<void> {
  rehearsed ??= rehearse(tracker).catch(() => undefined);
  return rehearsed;
}

async function rehearse(wanted: TrackerKind | 'auto'): Promise<void> {
  const specimen = await Specimen.start();
  try {
    const target = await openLiveTarget(specimen.pid, { single: true });
    try {
      const { tracker } = chooseTracker(target, wanted);
      await target.prepareFreeze();
      await target.freeze();
      for (const view of target.processes()) {
        const vmas = view.vmas();
        const { suspects } = tracker.collect(view, vmas, undefined);
        const trackerState = tracker.arm(view, vmas);
        // Once more, as on a checkpoint: now the marks are believed.
        tracker.collect(view, vmas, { present: suspects, trackerState });
      }
      target.captureState();
      target.verifyStoodStill();
      target.thaw();
    } finally {
      await target.close();
    }
  } finally {
    specimen.end();
  }
}
