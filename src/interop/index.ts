export {
  type CoreFacts,
  type CoreRequest,
  type CoreResult,
  type CoreSource,
  writeCoreFile,
} from './core-file.ts';
export { type AdoptedCheckpoint, type AdoptRequest, type AdoptResult, adoptImages } from './criu/adopt.ts';
export type { ArchiveCompression } from './criu/archive/archive-stream.ts';
export {
  type ArchiveExportRequest,
  type ArchiveExportResult,
  exportArchive,
} from './criu/archive/export-archive.ts';
export { type CheckpointImportRequest, importCheckpoints } from './criu/archive/import-archive.ts';
export { exportImages } from './criu/export.ts';
export type {
  CriuVersion,
  ExportedDirectory,
  ExportLayout,
  ExportRequest,
  ExportResult,
} from './criu/export-types.ts';
export { type ImageEntry, ImageFile } from './criu/image-file.ts';
export type { ImageKind, PayloadRule } from './criu/image-kinds.ts';
export { importImages } from './criu/import.ts';
export type { ImportedCheckpoint, ImportRequest, ImportResult } from './criu/import-types.ts';
export {
  type LazyServerEvent,
  type LazyServerRequest,
  type ServedSession,
  servePagesLazily,
} from './criu/page-server/lazy-server.ts';
export { formatPeer, type PeerSecurity } from './criu/page-server/listener.ts';
export {
  type PageServerEvent,
  type PageServerRequest,
  receivePages,
} from './criu/page-server/page-server.ts';
export type { HeaderLayout } from './criu/page-server/protocol.ts';
export type { ReceivedSession } from './criu/page-server/receiving-session.ts';
export type { PlainMessage, PlainValue } from './criu/plain-message.ts';
export { type DebugRequest, debugCheckpoint } from './debugger.ts';
