import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';

/** Emptied when the machine starts anew, as are the processes. */
const DIRECTORY = '/run/ckpt/rewind';

/** A process, told from others with its PID by its start time. */
export interface NotedProcess {
  readonly pid: number;
  readonly startTicks: number;
}

/** What is noted of a process: ckpt has stopped it, and possibly is changing it. */
export interface RewindNote {
  /** What it is being rewound to, for people: `checkpoint 3 of /srv/store`; '' if it is whole. */
  readonly goal: string;
}

/**
 * Notes about processes that ckpt has stopped for a rewind, so that the next command knows should ckpt be killed. They
 * are a help, not a condition: where none can be kept, the processes stay stopped all the same.
 */
export class RewindNotes {
  readonly #processes: readonly NotedProcess[];
  /** What an earlier ckpt, which was killed, has left; undefined if nothing. */
  readonly earlier: RewindNote | undefined;
  #isOurs = false;

  constructor(processes: readonly NotedProcess[]) {
    this.#processes = processes;
    const notes = processes.map(readNote).filter((note) => note !== undefined);
    this.earlier = notes.find(({ goal }) => goal !== '') ?? notes[0];
  }

  /** Whether the processes are neither what they were nor what they are to be. */
  get isHalfWay(): boolean {
    return this.earlier !== undefined && this.earlier.goal !== '';
  }

  /** To be called before the processes could stay stopped. */
  noteStopped(): void {
    if (this.isHalfWay) return;
    this.#write('');
    this.#isOurs = true;
  }

  /** To be called before the first change. */
  noteChanging(goal: string): void {
    this.#write(goal);
    this.#isOurs = false;
  }

  /** To be called when everything is as it is to be, or was, and before it goes on. */
  noteWhole(): void {
    this.#write('');
    this.#isOurs = true;
  }

  /** To be called when the processes have gone on: nothing is noted any more, unless they are still half-way. */
  close(): void {
    if (!this.#isOurs) return;
    for (const process of this.#processes) attempt(() => rmSync(pathOf(process), { force: true }));
  }

  #write(goal: string): void {
    attempt(() => {
      mkdirSync(DIRECTORY, { recursive: true, mode: 0o700 });
      removeStale();
      for (const process of this.#processes) writeFileSync(pathOf(process), goal, { mode: 0o600 });
    });
  }
}

/** What a killed ckpt has left of a process. */
export function readNote(process: NotedProcess): RewindNote | undefined {
  try {
    return { goal: readFileSync(pathOf(process), 'utf8') };
  } catch {
    return undefined;
  }
}

/** It may be somebody else's directory. */
function attempt(act: () => void): void {
  try {
    act();
  } catch {
    // See RewindNotes.
  }
}

/** Notes about processes that were ended instead. */
function removeStale(): void {
  for (const name of readdirSync(DIRECTORY)) {
    if (!existsSync(`/proc/${name.split('-')[0]}`)) rmSync(`${DIRECTORY}/${name}`, { force: true });
  }
}

function pathOf({ pid, startTicks }: NotedProcess): string {
  return `${DIRECTORY}/${pid}-${startTicks}`;
}
