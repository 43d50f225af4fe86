import { existsSync } from 'node:fs';
import { CkptError } from '../core/index.ts';
import { errnoOf } from './live-files.ts';

/** Everything of the kernel, the rights of this user and the machine that ckpt makes use of. */
export type FeatureId =
  | 'trial-dump'
  | 'process-memory'
  | 'native-calls'
  | 'ptrace'
  | 'inject'
  | 'other-processes'
  | 'suspend-seccomp'
  | 'vector-state'
  | 'rseq'
  | 'children'
  | 'timers'
  | 'process-vm-readv'
  | 'pidfd'
  | 'kcmp'
  | 'map-files'
  | 'frame-numbers'
  | 'page-flags'
  | 'cgroup-freezer'
  | 'soft-dirty'
  | 'pagemap-scan'
  | 'userfaultfd'
  | 'write-protect-async'
  | 'write-protect-unpopulated'
  | 'write-protect-shared'
  | 'unrestricted-userfaultfd'
  | 'clear-ledger'
  | 'write-memory'
  | 'set-tid'
  | 'last-pid'
  | 'set-mm-map'
  | 'gdb'
  | 'criu'
  // Of one process:
  | 'target-rights'
  | 'target-tracer'
  | 'target-seccomp'
  | 'target-bits'
  | 'target-shadow-stack'
  | 'target-userfaultfd'
  | 'target-writers'
  | 'target-cgroup'
  | 'target-namespaces';

/** One feature, and what came of trying it. */
export interface Feature {
  readonly id: FeatureId;
  /** A few words for people. */
  readonly name: string;
  /** `untried`: something that the trial itself needs is missing. */
  readonly state: 'works' | 'missing' | 'untried';
  /** What was tried, and how it went. */
  readonly found: string;
  /** What would help; absent where nothing is missing. */
  readonly remedy?: string;
}

/** What helps against each errno of a trial, and against everything else. */
export type Remedies = Readonly<Partial<Record<string, string>>> & { readonly otherwise?: string };

/** What helps where a capability is missing. Root of a container may lack it, too. */
export function needsCapability(name: string): string {
  return process.geteuid?.() === 0
    ? `this root lacks ${name}, or has it in a user namespace only: run ckpt as root of the host`
    : `run ckpt as root, or give it ${name}`;
}

/** Thrown by a trial that something else keeps from being made. */
export class UntriedError extends Error {}

/** Thrown by a trial that found out that the feature is not there. */
export class MissingError extends Error {}

/** Makes a trial. Whatever it throws means that the feature is not there, and is no failure. */
export async function tryFeature(
  id: FeatureId,
  name: string,
  remedies: Remedies,
  trial: () => string | Promise<string>,
): Promise<Feature> {
  try {
    return { id, name, state: 'works', found: await trial() };
  } catch (error) {
    if (error instanceof UntriedError) return { id, name, state: 'untried', found: error.message };
    const remedy = existsSync('/proc/self/stat')
      ? (remedies[errnoIn(error) ?? ''] ?? remedies.otherwise ?? hintOf(error))
      : 'mount the proc file system on /proc';
    const found = reasonOf(error);
    return { id, name, state: 'missing', found, ...(remedy === undefined ? {} : { remedy }) };
  }
}

function hintOf(error: unknown): string | undefined {
  return error instanceof CkptError ? error.hint : undefined;
}

/** The errno behind an error of Node or of a native call. */
function errnoIn(error: unknown): string | undefined {
  const errno = error instanceof CkptError ? error.data['errno'] : errnoOf(error);
  return typeof errno === 'string' ? errno : undefined;
}

/** Why something failed, in the words of a sentence: `open of /proc/kpageflags failed: EACCES`. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const errno = errnoOf(error);
  if (errno === undefined || !('syscall' in error)) return error.message.split('\n')[0]!;
  const path = 'path' in error ? ` of ${String(error.path)}` : '';
  return `${String(error.syscall)}${path} failed: ${errno}`;
}
