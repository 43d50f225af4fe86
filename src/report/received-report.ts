import { formatBytes, formatCount, formatDuration } from '../core/index.ts';
import type { ReceivedMigration } from '../migration/index.ts';
import { formatFields, printable } from './table.ts';

/** What became of a migration at its destination. */
export function formatReceived(migration: ReceivedMigration): string {
  const { checkpoint, memoryDigest, rounds, pages, receivedBytes, microseconds, obstacles } = migration;
  const zeros = pages.zero === 0 ? '' : `, ${formatCount(pages.zero)} of zeros`;
  const lastRound =
    `${formatDuration(microseconds.lastRound)} for the last round` +
    (migration.outcome === 'started' ? `, ${formatDuration(microseconds.start)} to start` : '');
  const known: [string, string][] = [
    ['target', migration.target],
    ['outcome', outcomeOf(migration)],
  ];
  if (checkpoint !== null) known.push(['checkpoint', String(checkpoint)]);
  if (memoryDigest !== null) known.push(['memory digest', memoryDigest]);
  known.push(
    [
      'received',
      `${formatCount(pages.received)} pages${zeros}, ${formatBytes(receivedBytes)} in ${formatCount(rounds)} rounds`,
    ],
    ['time', `${formatDuration(microseconds.total)}, ${lastRound}`],
    ['migration', migration.migrationId],
  );
  const { run, fetched } = migration;
  if (fetched !== null) {
    known.push([
      'fetched',
      `${formatCount(fetched.missingPages)} pages while it ran, which stopped it ${formatCount(fetched.faults)} times ` +
        `for ${formatDuration(fetched.stalledMicroseconds)}, ${formatDuration(fetched.longestStallMicroseconds)} at most`,
    ]);
  }
  if (run !== null) {
    known.push([
      'ran on',
      `${formatDuration(run.microseconds)}, rests in checkpoint ${run.checkpoint}: ${run.memoryDigest}`,
    ]);
  }
  const list = obstacles.map((obstacle) => `  ${printable(obstacle)}\n`).join('');
  return formatFields(known) + (list === '' ? '' : `\nin the way:\n${list}`);
}

function outcomeOf({ outcome, pid, checkpoint }: ReceivedMigration): string {
  if (outcome === 'discarded') return 'received and forgotten; the target goes on where it is';
  if (outcome === 'kept') {
    return `cannot run here and goes on where it is; checkpoint ${checkpoint} is whole`;
  }
  return pid === null
    ? 'it is here, and goes on from its newest checkpoint'
    : `it runs here as process ${pid}`;
}
