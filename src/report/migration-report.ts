import { formatBytes, formatCount, formatDuration, PAGE_SIZE } from '../core/index.ts';
import type { Migration, MigrationProgress, Resolution } from '../migration/index.ts';
import { formatRounds } from './rehearsal-report.ts';
import { formatFields, printable } from './table.ts';

/** A migration for people: what became of the target, the figures, the rounds. */
export function formatMigration(migration: Migration): string {
  return [
    `${printable(sentence(migration))}\n`,
    figures(migration),
    formatRounds(migration),
    obstacles(migration),
  ]
    .filter((part) => part !== '')
    .join('\n');
}

function sentence(migration: Migration): string {
  const { end, target, peer, checkpoint, policy, totalMicroseconds, downtimeMicroseconds } = migration;
  const { name } = target;
  const total = formatDuration(totalMicroseconds);
  const stood = `standing still for ${formatDuration(downtimeMicroseconds)}`;
  switch (end) {
    case 'moved':
      return `${name} runs at ${peer} now: moved in ${total}, ${stood}.`;
    case 'rehearsed':
      return `${name} was sent to ${peer} in ${total}, ${stood}, and goes on here.`;
    case 'not-runnable':
      return (
        `${name} goes on here after ${stood}: it cannot be made to run at ${peer}. ` +
        `Its checkpoint ${checkpoint} is ready there.`
      );
    case 'given-up':
      return `${policy} does not converge: given up after ${total}, ${name} goes on here.`;
  }
}

function figures(migration: Migration): string {
  const { totalMicroseconds, downtimeMicroseconds, setupMicroseconds, transferredBytes } = migration;
  const { pages, scans, stop, tracker, migrationId } = migration;
  const told: [string, string][] = [
    [
      'total time',
      `${formatDuration(totalMicroseconds)}, of which setup ${formatDuration(setupMicroseconds)}`,
    ],
    ['downtime', formatDuration(downtimeMicroseconds)],
  ];
  if (stop !== undefined) {
    const { freeze, scan, send, prepare, start } = stop;
    const parts: [string, number][] = [
      ['stop', freeze],
      ['scan', scan],
      ['send', send],
      ['prepare there', prepare],
      ['start there', start],
    ];
    const list = parts
      .filter(([, time]) => time > 0)
      .map(([what, time]) => `${what} ${formatDuration(time)}`)
      .join(', ');
    if (list !== '') told.push(['of which', list]);
  }
  told.push(
    ['sent', formatBytes(transferredBytes)],
    ['pages', `${formatCount(pages.normal)} whole, ${formatCount(pages.duplicate)} of zeros`],
    ['scans', `${formatCount(scans.count)} by ${tracker}, the longest ${formatDuration(scans.longest)}`],
    ['migration', migrationId],
  );
  return formatFields(told);
}

function obstacles({ obstacles: reasons, end }: Migration): string {
  return end === 'not-runnable'
    ? reasons.map((reason) => `cannot run there: ${printable(reason)}\n`).join('')
    : '';
}

/** With the fields of a rehearsal, and those of QEMU's query-migrate under its names. */
export function migrationJson(migration: Migration): Record<string, unknown> {
  const { totalMicroseconds, downtimeMicroseconds, setupMicroseconds, transferredBytes, pages } = migration;
  const milliseconds = (microseconds: number) => Math.round(microseconds / 1000);
  return {
    ...migration,
    info: {
      status: migration.end === 'given-up' ? 'cancelled' : 'completed',
      'total-time': milliseconds(totalMicroseconds),
      downtime: milliseconds(downtimeMicroseconds),
      'setup-time': milliseconds(setupMicroseconds),
      ram: {
        transferred: transferredBytes,
        normal: pages.normal,
        duplicate: pages.duplicate,
        'normal-bytes': pages.normal * PAGE_SIZE,
        'page-size': PAGE_SIZE,
        'dirty-sync-count': migration.rounds.length,
        mbps: totalMicroseconds === 0 ? 0 : (transferredBytes * 8) / totalMicroseconds,
      },
    },
  };
}

/** One line while a migration goes on. */
export function formatMigrationProgress(progress: MigrationProgress): string {
  const { status, round, remainingBytes, transferredBytes, bytesPerSecond } = progress;
  if (status === 'setup') return 'connecting';
  const parts = [
    `${formatBytes(remainingBytes)} remaining`,
    `${formatBytes(transferredBytes)} transferred`,
    `${formatBytes(bytesPerSecond)}/s`,
  ];
  const { dirtyPagesRate, expectedDowntimeMicroseconds } = progress;
  if (dirtyPagesRate !== undefined) parts.push(`${formatCount(Math.round(dirtyPagesRate))} dirty pages/s`);
  if (expectedDowntimeMicroseconds !== undefined) {
    parts.push(`expected downtime ${formatDuration(expectedDowntimeMicroseconds)}`);
  }
  return `${status === 'device' ? 'stopped, last round' : `round ${round}`}: ${parts.join(', ')}`;
}

export function formatResolution({ name, end, pid, detail, processes }: Resolution): string {
  const here =
    processes.length === 0 ? 'nothing of it was left here' : `processes ${processes.join(', ')} here`;
  const what =
    end === 'moved'
      ? `${name} runs there${pid === 0 ? '' : ` as process ${pid}`}; ended: ${here}`
      : `${name} was never run there; goes on: ${here}`;
  return `${printable(`${what}${detail === '' ? '' : ` (${detail})`}.`)}\n`;
}
