import { formatBytes, formatCount, formatDuration } from '../core/index.ts';
import type { ImportedCheckpoint, ImportResult } from '../interop/index.ts';
import { formatFields, formatTable } from './table.ts';

/** What an import took into the store. */
export function formatImported({ target, known, checkpoints, microseconds }: ImportResult): string {
  if (checkpoints.length === 0) {
    return formatFields([
      ['target', target],
      ['stored', `nothing: all of it is in the store already, the newest as checkpoint ${newestOf(known)}`],
      ['time', formatDuration(microseconds)],
    ]);
  }
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
    ...alreadyStored(known),
    ['stored', `${formatBytes(images)} of images in ${formatBytes(stored)}`],
    ['memory digest', checkpoints.at(-1)?.memoryDigest ?? ''],
    ['time', formatDuration(microseconds)],
  ]);
  return `${summary}\n${table}`;
}

/** What is said of the directories that the store had. */
function alreadyStored(known: ImportResult['known']): [label: string, value: string][] {
  if (known.length === 0) return [];
  const directories = known.length === 1 ? '1 directory' : `${formatCount(known.length)} directories`;
  return [['known', `${directories}, the newest as checkpoint ${newestOf(known)}`]];
}

const newestOf = (known: ImportResult['known']) => known.at(-1)?.checkpoint ?? 0;

function restorable({ preDump, notRestorable }: ImportedCheckpoint): string {
  if (notRestorable !== null) return `no, ${notRestorable}`;
  return preDump ? 'no, pre-dump' : 'yes';
}
