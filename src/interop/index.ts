export {
  type CoreFacts,
  type CoreRequest,
  type CoreResult,
  type CoreSource,
  writeCoreFile,
} from './core-file.ts';
export { type DebugRequest, debugCheckpoint } from './debugger.ts';
