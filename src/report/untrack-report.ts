import type { UntrackedProcess } from '../checkpoint/index.ts';

const OUTCOMES: Readonly<Record<UntrackedProcess['outcome'], string>> = {
  removed: 'is not tracked any more',
  none: 'was not tracked',
  failed: 'is still tracked',
};

/** One line a process: `process 17 (redis-server) is not tracked any more`. */
export function formatUntracked(processes: readonly UntrackedProcess[]): string {
  return processes
    .map(({ pid, name, outcome, problem }) => {
      const why = problem === undefined ? '' : `: ${problem}`;
      return `process ${pid} (${name}) ${OUTCOMES[outcome]}${why}`;
    })
    .join('\n');
}
