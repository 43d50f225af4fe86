import type { LiveState } from './live-state-format.ts';
import type { TargetState } from './view.ts';

/** What a manifest says of a state. */
export function summaryOfState({ processes, gaps }: LiveState): TargetState['summary'] {
  const root = processes[0]!;
  const sum = (count: (process: LiveState['processes'][number]) => number) =>
    processes.reduce((total, process) => total + count(process), 0);
  return {
    pid: root.pid,
    commandLine: root.commandLine,
    exe: root.exe?.path ?? null,
    processes: processes.length,
    threads: sum(({ threads }) => threads.length),
    openFiles: sum(({ files }) => files.length),
    complete: gaps.length === 0,
  };
}
