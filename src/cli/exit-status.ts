import { CkptError, type ErrorCode, InterruptedError } from '../core/index.ts';

/**
 * Exit statuses, documented in the README. 10, 11 and 12 mean what they mean in restic (no store, locked, damaged),
 * so that scripts feel at home.
 */
export const EXIT_STATUS = {
  done: 0,
  failed: 1,
  usage: 2,
  incomplete: 3,
  noStore: 10,
  locked: 11,
  integrity: 12,
  target: 13,
  unsupported: 14,
  notConverged: 15,
  peer: 16,
  interrupted: 130,
  terminated: 143,
} as const;

const STATUS_OF_CODE: Readonly<Record<ErrorCode, number>> = {
  usage: EXIT_STATUS.usage,
  workload: EXIT_STATUS.usage,
  scenario: EXIT_STATUS.usage,
  'store-not-found': EXIT_STATUS.noStore,
  'store-unusable': EXIT_STATUS.failed,
  'store-full': EXIT_STATUS.failed,
  'store-version': EXIT_STATUS.noStore,
  'store-locked': EXIT_STATUS.locked,
  'checkpoint-not-found': EXIT_STATUS.noStore,
  integrity: EXIT_STATUS.integrity,
  target: EXIT_STATUS.target,
  unsupported: EXIT_STATUS.unsupported,
  peer: EXIT_STATUS.peer,
  interrupted: EXIT_STATUS.interrupted,
  output: EXIT_STATUS.failed,
};

/** The exit status for whatever a command threw. */
export function exitStatusOf(error: unknown): number {
  if (error instanceof InterruptedError) {
    return error.signal === 'SIGTERM' ? EXIT_STATUS.terminated : EXIT_STATUS.interrupted;
  }
  return error instanceof CkptError ? STATUS_OF_CODE[error.code] : EXIT_STATUS.failed;
}
