import { formatBytes, formatCount, formatDuration, PAGE_SIZE } from '../core/index.ts';
import type { CoreResult } from '../interop/index.ts';
import { formatFields } from './table.ts';

/** What a core holds, and how to open it. */
export function formatCoreResult(result: CoreResult): string {
  const program = result.exe === null ? '' : `${result.exe} `;
  return formatFields([
    ['checkpoint', `${result.checkpoint}, process ${result.pid}`],
    ['core', `${result.file} (${formatBytes(result.bytes)}, sparse)`],
    ['threads', formatCount(result.threads)],
    [
      'memory',
      `${formatBytes(result.pages * PAGE_SIZE)} in ${formatCount(result.pages)} pages, ` +
        `${formatCount(result.segments)} segments`,
    ],
    ['digest', `${result.memoryDigest} (verified)`],
    ['time', formatDuration(result.microseconds)],
    ['open it', `gdb ${program}${result.file}`],
  ]);
}
