export { type ChosenTracker, chooseTracker } from './choose.ts';
export { compareTracker } from './compare.ts';
export { SoftDirtyTracker } from './soft-dirty.ts';
export type { Changes, ParentPages, Tracker, TrackerKind } from './tracker.ts';
