import { CkptError } from '../core/index.ts';

/** Something that verify found. */
export interface Finding {
  /** `error`: bytes are lost or wrong. `warning`: nothing is lost, but something is not as it should be. */
  readonly severity: 'error' | 'warning';
  /** A file of the store, or a record in it: "packs/000002.pack", "checkpoint 3, process 17". */
  readonly place: string;
  readonly problem: string;
  /** Machine-readable particulars: pack, block, offset, address. */
  readonly data: Readonly<Record<string, string | number | boolean | null>>;
}

/** A finding about lost or wrong bytes. */
export function errorFinding(place: string, problem: string, data: Finding['data'] = {}): Finding {
  return { severity: 'error', place, problem, data };
}

/** A finding that threatens nothing. */
export function warningFinding(place: string, problem: string, data: Finding['data'] = {}): Finding {
  return { severity: 'warning', place, problem, data };
}

/**
 * The finding that an expected failure amounts to.
 * @throws `cause` itself if it is none: a bug must not look like a damaged store.
 */
export function findingOf(place: string, cause: unknown): Finding {
  if (cause instanceof CkptError) return errorFinding(place, cause.message, cause.data);
  throw cause;
}
