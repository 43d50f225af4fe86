import {
  CkptError,
  IntegrityError,
  TargetError,
  UnsupportedError,
  UsageError,
  WorkloadError,
} from '../../core/index.ts';
import type { Outcome } from '../outcome.ts';
import type { RehearsalOptions } from '../rehearse-once.ts';

/** One rehearsal: of the memory of run number `run`, from 0. */
export interface RehearsalTask {
  readonly run: number;
  readonly options: RehearsalOptions;
}

/** What a worker is told. */
export interface TaskMessage {
  readonly id: number;
  readonly task: RehearsalTask;
}

/** What it answers. */
export type AnswerMessage = { readonly id: number } & (
  | { readonly outcome: Outcome }
  | { readonly failure: Failure }
);

/** An exception on its way between threads, which keep neither class nor properties of an error. */
interface Failure {
  readonly message: string;
  readonly code?: keyof typeof ERRORS;
  readonly hint?: string;
  readonly data?: CkptError['data'];
}

/** What can be wrong with what a rehearsal is given. */
const ERRORS = {
  usage: UsageError,
  workload: WorkloadError,
  integrity: IntegrityError,
  target: TargetError,
  unsupported: UnsupportedError,
} as const;

export function toFailure(error: unknown): Failure {
  const message = error instanceof Error ? error.message : String(error);
  if (!(error instanceof CkptError)) return { message };
  const { code, hint, data } = error;
  if (!isKnown(code)) return { message };
  return { message, code, data, ...(hint === undefined ? {} : { hint }) };
}

export function fromFailure({ message, code, hint, data }: Failure): Error {
  if (code === undefined) return new Error(`a rehearsal failed: ${message}`);
  const details = { ...(hint === undefined ? {} : { hint }), ...(data === undefined ? {} : { data }) };
  return new ERRORS[code](message, details);
}

function isKnown(code: string): code is keyof typeof ERRORS {
  return code in ERRORS;
}
