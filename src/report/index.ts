export { formatAdopted } from './adopt-report.ts';
export { checkJson, formatCheck } from './check-report.ts';
export {
  checkpointJson,
  checkpointsJson,
  formatCheckpoint,
  formatCheckpoints,
} from './checkpoint-report.ts';
export { formatCoreResult } from './core-report.ts';
export { diffJson, formatDiff } from './diff-report.ts';
export {
  dumpJson,
  formatDumpResult,
  formatRestoreResult,
  formatRunResult,
  formatWarning,
  restoredJson,
} from './dump-report.ts';
export { formatArchiveExported, formatExported } from './export-report.ts';
export * from './html/index.ts';
export { formatImage } from './image-report.ts';
export { formatImported } from './import-report.ts';
export { ASCII_INK, BLOCK_INK, type Ink } from './ink.ts';
export {
  formatMigration,
  formatMigrationProgress,
  formatResolution,
  migrationJson,
} from './migration-report.ts';
export {
  formatLazyServerEvent,
  formatPageServerEvent,
  formatReceivedSession,
  formatServedSession,
} from './page-server-report.ts';
export { formatReceived } from './received-report.ts';
export { formatRecordResult } from './record-report.ts';
export { formatRehearsal } from './rehearsal-report.ts';
export { PLAIN_SURFACE, type TextSurface } from './remaining-curve.ts';
export { formatProspect, formatRevived } from './revived.ts';
export { formatRewindResult } from './rewind-report.ts';
export { formatShadow, type Shadow, shadowJson } from './shadow-report.ts';
export {
  formatSimulatedMaps,
  formatSimulatedPagemap,
  formatTrackerComparison,
  formatWorkloadReport,
  simulatedPagemapJson,
} from './simulation-report.ts';
export {
  formatFinding,
  formatPruned,
  formatSquashed,
  formatVerification,
  prunedJson,
} from './store-report.ts';
export { formatSweep } from './sweep-report.ts';
export { type Column, formatFields, formatTable } from './table.ts';
export { formatUntracked } from './untrack-report.ts';
export {
  formatWatchHeading,
  formatWatchLine,
  formatWatchSummary,
  formatWatchView,
  type WatchView,
  watchSampleJson,
} from './watch-report.ts';
