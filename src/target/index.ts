export type { ProcessView, Target, TargetIdentity, TargetState, TrackingAbilities, Vma } from './view.ts';
