import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';

/** Emptied when the machine starts anew, as are the processes. */
const DIRECTORY = '/run/ckpt/rewind';

/** A process, told from others with its PID by its start time. */
export interface MarkedProcess {
  readonly pid: number;
  readonly startTicks: number;
}

/**
 * Notes that a process is being rewound, so that should ckpt be killed the next command knows that it is neither what
 * it was nor what it will be. Where no note can be kept, the process stays stopped all the same.
 * @param what names the goal for people: `checkpoint 3 of /srv/store`
 */
export function markUnfinished(processes: readonly MarkedProcess[], what: string): void {
  try {
    mkdirSync(DIRECTORY, { recursive: true, mode: 0o700 });
    removeStale();
    for (const process of processes) writeFileSync(pathOf(process), what, { mode: 0o600 });
  } catch {
    // Not our directory: the note is a help, not a condition.
  }
}

export function clearUnfinished(processes: readonly MarkedProcess[]): void {
  for (const process of processes) {
    try {
      rmSync(pathOf(process), { force: true });
    } catch {
      // As above.
    }
  }
}

/** What a process was being rewound to when ckpt was killed; undefined if nothing like that happened. */
export function unfinishedRewind(process: MarkedProcess): string | undefined {
  try {
    return readFileSync(pathOf(process), 'utf8');
  } catch {
    return undefined;
  }
}

/** Notes about processes that were ended instead. */
function removeStale(): void {
  for (const name of readdirSync(DIRECTORY)) {
    if (!existsSync(`/proc/${name.split('-')[0]}`)) rmSync(`${DIRECTORY}/${name}`, { force: true });
  }
}

function pathOf({ pid, startTicks }: MarkedProcess): string {
  return `${DIRECTORY}/${pid}-${startTicks}`;
}
