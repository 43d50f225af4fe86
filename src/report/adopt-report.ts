import { formatBytes, formatCount, formatDuration } from '../core/index.ts';
import type { AdoptedCheckpoint, AdoptResult } from '../interop/index.ts';
import { formatFields } from './table.ts';

/** What became of the images of a dump whose pages were there already. */
export function formatAdopted(result: AdoptResult): string {
  const newest = result.checkpoints.at(-1);
  return formatFields([
    ['target', result.target],
    ...result.checkpoints.map((adopted): [string, string] => [
      `checkpoint ${adopted.checkpoint}`,
      describe(adopted),
    ]),
    ['memory digest', newest?.memoryDigest ?? ''],
    ['time', formatDuration(result.microseconds)],
  ]);
}

function describe({ path, preDump, processes, sharedMemoryObjects, files }: AdoptedCheckpoint): string {
  const parts = [
    `${formatCount(processes)} ${processes === 1 ? 'process' : 'processes'}`,
    ...(sharedMemoryObjects > 0 ? [`${formatCount(sharedMemoryObjects)} shared memory objects`] : []),
    `${formatCount(files.count)} files (${formatBytes(files.bytes)}) of ${path}`,
  ];
  return `${preDump ? 'a pre-dump' : 'whole'}: ${parts.join(', ')}`;
}
