export type { Changes, ParentPages, Tracker, TrackerKind } from './tracker.ts';
