import { describeObstacle, type RewindResult } from '../checkpoint/index.ts';
import { formatDuration } from '../core/index.ts';

/** What a rewind did, would do, or would not do, as lines. */
export function formatRewindResult(result: RewindResult, force: boolean): string {
  const { checkpoint, pid, outcome, obstacles } = result;
  const listed = obstacles.map((obstacle) => `  ${describeObstacle(obstacle, force)}`);
  if (outcome === 'refused') {
    const count = obstacles.length === 1 ? 'one obstacle' : `${obstacles.length} obstacles`;
    return [`process ${pid} was not rewound to checkpoint ${checkpoint}: ${count}`, ...listed].join('\n');
  }
  const verb = outcome === 'planned' ? 'would be' : 'was';
  const head = `process ${pid} ${verb} rewound to checkpoint ${checkpoint}`;
  const notes = obstacles.length === 0 ? [] : [`${obstacles.length} obstacles:`, ...listed];
  return [head, ...amounts(result), ...notes].join('\n');
}

function amounts(result: RewindResult): string[] {
  const { mappings, pages, threadsEnded, leftStopped, microseconds, processes } = result;
  const lines = [
    `  pages     ${pages.compared} compared, ${pages.written} written, ${pages.discarded} discarded`,
    `  mappings  ${mappings.unmapped} unmapped, ${mappings.mapped} mapped, ${mappings.adjusted} adjusted`,
  ];
  if (processes > 1) lines.push(`  processes ${processes}`);
  if (threadsEnded > 0) lines.push(`  threads   ${threadsEnded} ended that were created since`);
  lines.push(`  stopped   ${formatDuration(microseconds.freeze)} of ${formatDuration(microseconds.total)}`);
  if (leftStopped) lines.push(`  it is stopped: kill -CONT ${result.pid} lets it go on`);
  return lines;
}
