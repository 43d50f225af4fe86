import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { UntriedError } from './feature.ts';
import { readTaskStat } from './live-files.ts';

const PATIENCE_MS = 5000;

/** Prints its PID, then echoes lines. */
const ECHO = 'echo $$; while read -r line; do echo "$line"; done';

type Shell = ChildProcessByStdio<Writable, Readable, null>;

/**
 * A process that echoes lines: what is to be done to targets is tried on it first. It is a child of a child, since
 * Node waits for its own children and would take the stops of a tracee for an exit. It ends when its input ends, so
 * also when ckpt is killed.
 */
export class Specimen {
  readonly pid: number;
  /** The process in between. */
  readonly parentPid: number;
  readonly #shell: Shell;
  readonly #lines: AsyncIterator<string>;

  private constructor(shell: Shell, lines: AsyncIterator<string>, pid: number) {
    this.#shell = shell;
    this.#lines = lines;
    this.pid = pid;
    this.parentPid = shell.pid!;
  }

  /** @throws Error if no process can be started */
  static async start(): Promise<Specimen> {
    const shell = spawn('/bin/sh', ['-c', `exec 3<&0; /bin/sh -c '${ECHO}' <&3 3<&- & wait`], {
      stdio: ['pipe', 'pipe', 'ignore'],
    });
    shell.stdin.on('error', () => {});
    await once(shell, 'spawn');
    const lines = createInterface({ input: shell.stdout })[Symbol.asyncIterator]();
    const pid = Number(await nextLine(lines));
    const specimen = new Specimen(shell, lines, pid);
    await specimen.echo();
    return specimen;
  }

  /**
   * Has it read and write a line; resolves when it waits for the next one.
   * @throws UntriedError if it does not answer: it is gone, or stands still
   */
  async echo(): Promise<void> {
    this.#shell.stdin.write('.\n');
    await nextLine(this.#lines);
    while (readTaskStat(this.pid)?.state === 'R') await delay(1);
  }

  /** Ends it. */
  end(): void {
    this.#shell.stdin.destroy();
    try {
      process.kill(this.pid, 'SIGKILL');
    } catch {
      // It has ended already.
    }
  }
}

async function nextLine(lines: AsyncIterator<string>): Promise<string> {
  const patience = new AbortController();
  const late = delay(PATIENCE_MS, undefined, { signal: patience.signal });
  late.catch(() => {});
  try {
    const line = await Promise.race([lines.next(), late]);
    if (line === undefined || line.done === true)
      throw new UntriedError('the process of the trial does not answer');
    return line.value;
  } finally {
    patience.abort();
  }
}
