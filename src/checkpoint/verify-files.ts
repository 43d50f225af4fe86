import type { Store } from '../store/index.ts';
import { type Finding, warningFinding } from './finding.ts';

/** Looks for files that do not belong into a store, and for files that others may read. */
export async function* verifyFiles(store: Store): AsyncGenerator<Finding> {
  const survey = await store.survey();
  for (const { name, mode } of survey.exposed) {
    yield warningFinding(name, `others than its owner may use it (mode ${mode.toString(8)})`, { mode });
  }
  for (const name of survey.unknown) yield warningFinding(name, 'it does not belong into a store');
  // While a writer is at work its drafts are no leftovers.
  if (survey.locked) return;
  for (const name of survey.leftovers) {
    yield warningFinding(
      name,
      'a leftover of a command that was killed; the next one that writes removes it',
    );
  }
}
