import { ChangesBuilder } from './changes-builder.ts';
import { collectPages } from './collect.ts';
import type { Tracker } from './tracker.ts';

/**
 * Names every page that exists: the dumper finds out by reading and comparing digests. It works on any kernel and
 * leaves no trace in the target, at the price of a full read.
 */
export const compareTracker: Tracker = {
  kind: 'compare',
  collect(process, vmas) {
    const changes = new ChangesBuilder();
    return changes.build(collectPages(process, vmas, undefined, changes));
  },
  arm: () => new Uint8Array(),
};
