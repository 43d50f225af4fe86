export { type ChosenTracker, chooseTracker } from './choose.ts';
export { compareTracker } from './compare.ts';
export { PagemapScanTracker } from './pagemap-scan.ts';
export { SoftDirtyTracker } from './soft-dirty.ts';
export { type Changes, type ParentPages, TRACKER_KINDS, type Tracker, type TrackerKind } from './tracker.ts';
