export type { ByteRange } from './byte-difference.ts';
export {
  type CheckedFeature,
  type CheckedMachine,
  type CheckedPurpose,
  type CheckedTarget,
  type CheckedTracker,
  type CheckedTrackers,
  type CheckReport,
  checkAbilities,
} from './check.ts';
export {
  type CheckpointDescription,
  describeCheckpoint,
  listCheckpoints,
  type MappingDescription,
  type ProcessDescription,
} from './describe.ts';
export {
  type CheckpointDifference,
  type DiffRequest,
  diffCheckpoints,
  isMappingDifferent,
  type MappingDifference,
  type ProcessDifference,
} from './diff.ts';
export { takeCheckpoint } from './dump.ts';
export { type DumpRequest, dumpTarget } from './dump-target.ts';
export type { CheckpointOptions, DumpResult, WorkProgress } from './dump-types.ts';
export type { Finding } from './finding.ts';
export { GatheredWriter } from './gathered-writer.ts';
export {
  IncomingCheckpoints,
  type IncomingFacts,
  type IncomingOptions,
  MAX_INCOMING_PAGES,
} from './incoming.ts';
export { inspectSimulated, type SimulatedProcess, type SimulatedSource } from './inspect-simulated.ts';
export {
  type MaintenanceRequest,
  type Pruned,
  pruneDirectory,
  type Squashed,
  squashDirectory,
  type Verification,
  verifyDirectory,
} from './maintain.ts';
export { knowsMappings } from './mapping-difference.ts';
export { memoryFileName } from './memory-files.ts';
export { digestTargetMemory, proveMemoryDigest } from './memory-proof.ts';
export {
  openFreshTarget,
  openTarget,
  parseTarget,
  readWorkloadFile,
  type TargetSpecification,
} from './open-target.ts';
export { attempt } from './output-error.ts';
export { executePrune, type PackChange, type PruneOptions, type PrunePlan, planPrune } from './prune.ts';
export { type CheckpointName, openNamed, readStore, requireRestorable } from './read-store.ts';
export { rehearseFreeze } from './rehearse-freeze.ts';
export { type LostPages, type RestoreRequest, type RestoreResult, restoreToDirectory } from './restore.ts';
export {
  examineRevival,
  type PreparedRevival,
  type Prospect,
  prepareRevival,
  type Revival,
  type Revived,
  type ReviveRequest,
  reviveCheckpoint,
} from './revive.ts';
export { describeObstacle, rewindInPlace } from './rewind.ts';
export type { RewindRequest, RewindResult } from './rewind-types.ts';
export { type Rewriting, rewriteCheckpoint } from './rewrite.ts';
export { type RunRequest, type RunResult, runFromCheckpoint } from './run-from.ts';
export { ScratchFile } from './scratch-file.ts';
export {
  executeSquash,
  planSquash,
  type SquashOptions,
  type SquashPlan,
  type SquashResult,
} from './squash.ts';
export type { FieldDifference, FileDifference, StateDifference } from './state-difference.ts';
export { type UntrackedProcess, type UntrackRequest, untrackProcesses } from './untrack.ts';
export { type VerifyOptions, verifyStore } from './verify.ts';
export { writeWholeDirectory, writeWholeFile } from './whole-file.ts';
