/**
 * Every failure that a user can meet is a `CkptError`: a code for programs, a sentence for people, a hint
 * that tells the way out, and structured data. Anything else that is thrown is a bug in ckpt.
 */
export type ErrorCode =
  | 'usage'
  | 'workload'
  | 'scenario'
  | 'store-not-found'
  | 'store-unusable'
  | 'store-full'
  | 'store-version'
  | 'store-locked'
  | 'checkpoint-not-found'
  | 'integrity'
  | 'target'
  | 'unsupported'
  | 'peer'
  | 'interrupted'
  | 'output';

/** What an error knows beyond its sentence. */
export interface ErrorDetails {
  /** What the user can do about it: one sentence or a command. */
  readonly hint?: string;
  /** Machine-readable particulars (paths, offsets, PIDs), printed with `--json`. */
  readonly data?: Readonly<Record<string, string | number | boolean | null>>;
  readonly cause?: unknown;
}

/** Base of all expected failures. */
export abstract class CkptError extends Error {
  abstract readonly code: ErrorCode;
  readonly hint: string | undefined;
  readonly data: Readonly<Record<string, string | number | boolean | null>>;

  constructor(message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = new.target.name;
    this.hint = details.hint;
    this.data = details.data ?? {};
  }
}

/** The command line or an API argument makes no sense. */
export class UsageError extends CkptError {
  readonly code = 'usage';
}

/** A workload file is malformed; the message names line and field. */
export class WorkloadError extends CkptError {
  readonly code = 'workload';
}

/** A scenario file (`.sd`) is malformed; the message names the line. */
export class ScenarioError extends CkptError {
  readonly code = 'scenario';
}

/** There is no store where one was expected. */
export class StoreNotFoundError extends CkptError {
  readonly code = 'store-not-found';
}

/** The store exists but cannot be used as asked: read-only, not a directory, not a store, I/O error. */
export class StoreUnusableError extends CkptError {
  readonly code = 'store-unusable';
}

/** The file system that holds the store has no room left. */
export class StoreFullError extends CkptError {
  readonly code = 'store-full';
}

/** The store or one of its files was written by a format version that this ckpt does not know. */
export class StoreVersionError extends CkptError {
  readonly code = 'store-version';
}

/** Another living process holds the store's lock. */
export class StoreLockedError extends CkptError {
  readonly code = 'store-locked';
}

/** The store has no checkpoint of that number. */
export class CheckpointNotFoundError extends CkptError {
  readonly code = 'checkpoint-not-found';
}

/** Stored bytes are not what was written: checksum, digest, truncation, a missing file. */
export class IntegrityError extends CkptError {
  readonly code = 'integrity';
}

/** The target does not exist, is gone, is not ours, or is not the one that was dumped before. */
export class TargetError extends CkptError {
  readonly code = 'target';
}

/** This kernel, platform or set of rights lacks what was asked for. */
export class UnsupportedError extends CkptError {
  readonly code = 'unsupported';
}

/** The other end of a migration cannot be reached, is not trusted, was lost, or says what it may not say. */
export class PeerError extends CkptError {
  readonly code = 'peer';
}

/** SIGINT or SIGTERM arrived and the command has stopped in good order. */
export class InterruptedError extends CkptError {
  readonly code = 'interrupted';
  readonly signal: 'SIGINT' | 'SIGTERM';

  constructor(signal: 'SIGINT' | 'SIGTERM') {
    super(`interrupted by ${signal}`);
    this.signal = signal;
  }
}

/** Files that a command should write for the user (restore output, recordings) cannot be written. */
export class OutputError extends CkptError {
  readonly code = 'output';
}
