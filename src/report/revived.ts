import type { Revived } from '../checkpoint/index.ts';
import { formatBytes, formatDuration } from '../core/index.ts';

/** What `ckpt restore --new` tells about the processes that it has made. */
export function formatRevived({ checkpoint, pid, processes, bytes, microseconds }: Revived): string {
  const [root, ...others] = processes;
  const threads = processes.reduce((sum, process) => sum + process.threads, 0);
  const more = others.length === 0 ? '' : ` and ${others.map((process) => process.pid).join(', ')}`;
  return (
    `checkpoint ${checkpoint} lives again as process ${pid} (${root?.name ?? ''})${more}: ` +
    `${threads} ${threads === 1 ? 'thread' : 'threads'}, ${formatBytes(bytes)} in ${formatDuration(microseconds)}`
  );
}
