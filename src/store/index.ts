export type { Compression } from './blobs.ts';
export type { BlockSource, DecodedBlock, ReadStatistics } from './block-source.ts';
export type { CheckpointReader, KeptFiles } from './checkpoint-reader.ts';
export type {
  CheckpointFacts,
  CheckpointWriter,
  NewFiles,
  NewProcess,
  SharedRange,
} from './checkpoint-writer.ts';
export { FAULT_POINTS, type FaultPoint, type FaultPoints } from './faults.ts';
export { asStoreError, makeDirectory } from './files.ts';
export type { IndexBuilder } from './index-builder.ts';
export { KnownPages } from './known-pages.ts';
export { MIGRATIONS_FOLDER, packFileName, STORE_FILE } from './layout.ts';
export { type LockHost, type LockOwner, machineLockHost } from './owner.ts';
export type { PackReader } from './pack-reader.ts';
export type { BlockToWrite } from './pack-writer.ts';
export type { PageRun, PageVersion } from './page-reader.ts';
export type { LoadedSegment, ProcessIndex } from './process-index.ts';
export { BlockSet, type Pruning } from './pruning.ts';
export type { CheckpointSeries } from './series.ts';
export { type NewCheckpoint, Store, type StoreOptions } from './store.ts';
export type { StoreSurvey } from './survey.ts';
