import { formatBytes, formatCount, formatDuration } from '../core/index.ts';
import type { ImportedCheckpoint, ImportResult } from '../interop/index.ts';
import { formatFields, formatTable } from './table.ts';

/** What an import took into the store. */
export function formatImported({ target, checkpoints, microseconds }: ImportResult): string {
  const images = checkpoints.reduce((sum, { bytes }) => sum + bytes.images, 0);
  const stored = checkpoints.reduce((sum, { bytes }) => sum + bytes.stored, 0);
  const table = formatTable(
    [
      { heading: 'checkpoint', align: 'right' },
      { heading: 'processes', align: 'right' },
      { heading: 'pages', align: 'right' },
      { heading: 'of parent', align: 'right' },
      { heading: 'files', align: 'right' },
      { heading: 'images', align: 'right' },
      { heading: 'stored', align: 'right' },
      { heading: 'restorable' },
      { heading: 'from' },
    ],
    checkpoints.map((one) => [
      String(one.checkpoint),
      formatCount(one.processes),
      formatCount(one.pages.present),
      formatCount(one.pages.parent),
      formatCount(one.files.count),
      formatBytes(one.bytes.images),
      formatBytes(one.bytes.stored),
      restorable(one),
      one.path,
    ]),
  );
  const summary = formatFields([
    ['target', target],
    ['stored', `${formatBytes(images)} of images in ${formatBytes(stored)}`],
    ['memory digest', checkpoints.at(-1)?.memoryDigest ?? ''],
    ['time', formatDuration(microseconds)],
  ]);
  return `${summary}\n${table}`;
}

function restorable({ preDump, notRestorable }: ImportedCheckpoint): string {
  if (notRestorable !== null) return `no, ${notRestorable}`;
  return preDump ? 'no, pre-dump' : 'yes';
}
