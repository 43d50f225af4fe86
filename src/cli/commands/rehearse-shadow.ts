import { UsageError } from '../../core/index.ts';
import {
  loadSecurity,
  migrateTarget,
  openSource,
  type PeerAddress,
  rehearse,
  USUAL_SENDING,
} from '../../migration/index.ts';
import { formatMigrationProgress, type Shadow } from '../../report/index.ts';
import type { CommandContext } from '../context.ts';
import { policyChoice } from '../policy-options.ts';
import { VERSION } from '../version.ts';
import { type RehearseOptions, USUAL_RUNS } from './rehearse-options.ts';
import type { DoneRehearsal } from './rehearse-page.ts';

/**
 * Does for real what was rehearsed, to a destination that forgets it, and rehearses it again with the bandwidth that was
 * found. The target goes on here.
 */
export async function sendShadow(
  context: CommandContext,
  options: RehearseOptions,
  to: PeerAddress,
  { rehearsed, parameters }: DoneRehearsal,
): Promise<Shadow> {
  const { target } = options;
  if (target === undefined) {
    throw new UsageError('a trace has no pages that could be sent', { hint: 'use --shadow with -t' });
  }
  const migration = await migrateTarget({
    target,
    to,
    connect: { security: await loadSecurity(options, to) },
    purpose: 'discard',
    program: `ckpt ${VERSION}`,
    choice: policyChoice(options),
    tracker: options.tracker,
    compression: options.compress,
    single: options.single === true,
    waitMicroseconds: options.after,
    ...(options.giveUpAfter === undefined ? {} : { giveUpAfterMicroseconds: options.giveUpAfter }),
    signal: context.signals.signal,
    onStop: (release) => context.signals.onSignal(release),
    onProgress: (progress) => context.progress.update({ phase: formatMigrationProgress(progress) }),
    onNote: (note) => context.detail(1, note),
  });
  const { linkBytesPerSecond: bytesPerSecond } = migration;
  const link =
    bytesPerSecond === undefined ? parameters.link : { ...parameters.link, bytesPerSecond, profile: [] };
  // A destination that keeps nothing has nothing to store and to prepare.
  const sending = { ...(parameters.sending ?? USUAL_SENDING), storeMicroseconds: 0, prepareMicroseconds: 0 };
  const { signal } = context.signals;
  const predicted = await rehearse(
    (run) => openSource(rehearsed.source, run),
    { ...parameters, link, sending },
    {
      runs: options.runs ?? USUAL_RUNS,
      signal,
      withAdvice: false,
    },
  );
  return { migration, predicted };
}
