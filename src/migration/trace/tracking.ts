import { TargetError, UnsupportedError } from '../../core/index.ts';
import type { ProcessView, Target } from '../../target/index.ts';

/** Whether an earlier command has left its userfaultfd in the process: then an incremental dump counts on it. */
export function isTracked({ writeProtection }: ProcessView): boolean {
  return writeProtection?.ledger?.lastSignature() !== undefined;
}

/**
 * Takes out of the processes of a target what a tracker has put there; they stand still for it. Where that cannot be done,
 * or they have ended, it stays, as after a dump.
 */
export async function removeTracking(target: Target): Promise<void> {
  try {
    await target.prepareFreeze?.();
    await target.freeze();
    for (const view of target.processes()) view.writeProtection?.remove(view.vmas());
  } catch (error) {
    if (!(error instanceof TargetError || error instanceof UnsupportedError)) throw error;
  } finally {
    target.thaw();
  }
}
