import type { Prospect, Revived } from '../checkpoint/index.ts';
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

/** What `ckpt restore --new --dry-run` tells. */
export function formatProspect({ checkpoint, processes, obstacles, notes }: Prospect): string {
  const pids = processes.map(({ pid, name }) => `${pid} (${name})`).join(', ');
  const lines = obstacles.map(
    ({ pid, message, forcible }) => `process ${pid}: ${message}${forcible ? ' (--force overrides it)' : ''}`,
  );
  const verdict = obstacles.length === 0 ? 'can become' : 'cannot become';
  return [
    `checkpoint ${checkpoint} ${verdict} ${processes.length === 1 ? 'process' : 'processes'} ${pids}`,
    ...lines.map((line) => `  ${line}`),
    ...notes.map((note) => `note: ${note}`),
  ].join('\n');
}
