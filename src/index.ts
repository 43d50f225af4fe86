/**
 * ckpt as a library. Everything that a command does can be done from here: a command parses its options, calls one of
 * these functions and prints the value that comes back.
 */
export * from './checkpoint/index.ts';
export { type CodecName, CodecPool, type CodecPoolOptions } from './codec/index.ts';
export * from './core/index.ts';
export type { Manifest } from './image/index.ts';
export {
  type AdoptRequest,
  type AdoptResult,
  type ArchiveCompression,
  type ArchiveExportRequest,
  type ArchiveExportResult,
  adoptImages,
  type CheckpointImportRequest,
  type CoreRequest,
  type CoreResult,
  type DebugRequest,
  debugCheckpoint,
  type ExportRequest,
  type ExportResult,
  exportArchive,
  exportImages,
  type ImageEntry,
  ImageFile,
  type ImageKind,
  type ImportResult,
  importCheckpoints,
  type LazyServerEvent,
  type LazyServerRequest,
  type PageServerEvent,
  type PageServerRequest,
  type PayloadRule,
  type PlainMessage,
  type PlainValue,
  receivePages,
  servePagesLazily,
  writeCoreFile,
} from './interop/index.ts';
export {
  type ContentProvider,
  KERNEL_VERSIONS,
  Kernel,
  type KernelOptions,
  type KernelVersion,
  Process,
} from './kernel/index.ts';
export * from './migration/index.ts';
export { formatMapsLine, type MapsEntry, parseMaps } from './procfs/index.ts';
export * from './report/index.ts';
export { type CheckpointReader, Store, type StoreOptions } from './store/index.ts';
export {
  decideMapping,
  type MappingDecision,
  openLiveTarget,
  openSimulatedTarget,
  type ProcessView,
  restoreSimulatedTarget,
  type Target,
  type TargetIdentity,
  type Vma,
} from './target/index.ts';
export { chooseTracker, type Tracker, type TrackerKind } from './tracker/index.ts';
export {
  compareTrackers,
  parseWorkload,
  runScenario,
  runWorkload,
  type TrackerComparison,
  type Workload,
  type WorkloadReport,
} from './workload/index.ts';
