export { type Feature, type FeatureId, tryFeature } from './feature.ts';
export { probeTarget, type TargetFeatures } from './feature-target.ts';
export { probeFeatures } from './features.ts';
export { Launch, type LaunchOptions } from './launch/launch.ts';
export { type LaunchPlan, planLaunch } from './launch/plan-launch.ts';
export type { LaunchObstacle, LaunchSource, StandardStreams } from './launch/plan-types.ts';
export { type LiveOptions, type LiveTarget, openLiveTarget } from './live.ts';
export { isDeadState, readTaskStat } from './live-files.ts';
export { bootId, identityDifference, processDifference } from './live-identity.ts';
export { decodeLiveState, encodeLiveState } from './live-state-codec.ts';
export * from './live-state-format.ts';
export { instructionAddress, namedRegisters } from './live-state-registers.ts';
export { summaryOfState } from './live-state-summary.ts';
export type { RewriteObstacle } from './rewrite/obstacle.ts';
export type { ProcessRewriter } from './rewrite/process-rewriter.ts';
export { type RewriteGoal, TargetRewriter } from './rewrite/target-rewriter.ts';
export { RewindNotes } from './rewrite/unfinished.ts';
export {
  decideMapping,
  decideMappings,
  type MappingDecision,
  type PageRule,
  selectMappings,
} from './select-mappings.ts';
export {
  openSimulatedTarget,
  restoreSimulatedTarget,
  type SimulatedTarget,
} from './simulated.ts';
export { type PagemapRow, pagemapRows } from './simulated-inspect.ts';
export { Specimen } from './specimen.ts';
export type {
  ClearLedger,
  ProcessView,
  Target,
  TargetIdentity,
  TargetState,
  TrackingAbilities,
  Vma,
  WriteProtection,
} from './view.ts';
