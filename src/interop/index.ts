export {
  type CoreFacts,
  type CoreRequest,
  type CoreResult,
  type CoreSource,
  writeCoreFile,
} from './core-file.ts';
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
export type { PlainMessage, PlainValue } from './criu/plain-message.ts';
export { type DebugRequest, debugCheckpoint } from './debugger.ts';
