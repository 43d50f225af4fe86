import type { Ora } from 'ora';
import { formatBytes, formatCount, formatDuration } from '../core/index.ts';
import type { CliEnvironment } from './context.ts';

/** What long work tells while it goes on. Totals are absent until they are known. */
export interface ProgressUpdate {
  readonly phase: string;
  readonly donePages?: number;
  readonly totalPages?: number;
  readonly doneBytes?: number;
}

const UPDATE_INTERVAL_MILLISECONDS = 100;

/**
 * One spinner line on standard error, only on a terminal. Elsewhere long work says nothing until it is done: a log
 * file has no use for percentages.
 */
export class Progress {
  #spinner: Ora | undefined;
  #phase = '';
  #phaseStartedMilliseconds = 0;
  #lastUpdateMilliseconds = 0;

  constructor(environment: CliEnvironment, options: { readonly silent: boolean }) {
    const { stderr, variables } = environment;
    // ora's clearing loop never ends on a terminal that reports no columns, and its colours ignore NO_COLOR.
    const usable = stderr.isTTY === true && (stderr.columns ?? 0) > 0 && variables['TERM'] !== 'dumb';
    if (!options.silent && usable) void this.#load(Boolean(variables['NO_COLOR']));
  }

  /** Shows `update`; cheap enough to be called for every chunk. */
  update(update: ProgressUpdate): void {
    if (this.#spinner === undefined) return;
    const now = performance.now();
    if (update.phase !== this.#phase) {
      this.#phase = update.phase;
      this.#phaseStartedMilliseconds = now;
    } else if (now - this.#lastUpdateMilliseconds < UPDATE_INTERVAL_MILLISECONDS) return;
    this.#lastUpdateMilliseconds = now;
    this.#spinner.text = progressText(update, now - this.#phaseStartedMilliseconds);
    if (!this.#spinner.isSpinning) this.#spinner.start();
    else this.#spinner.render();
  }

  /** Prints something without tearing the spinner line. */
  aside(print: () => void): void {
    const spinning = this.#spinner?.isSpinning === true;
    if (spinning) this.#spinner?.stop();
    print();
    if (spinning) this.#spinner?.start();
  }

  /** Removes the spinner line. */
  stop(): void {
    this.#spinner?.stop();
  }

  /** Updates that come before it is there show nothing: they were too early to be read. */
  async #load(isPlain: boolean): Promise<void> {
    const { default: ora } = await import('ora');
    this.#spinner = ora({
      stream: process.stderr,
      // With stdin in raw mode Ctrl-C would not become a signal while synchronous code runs.
      discardStdin: false,
      ...(isPlain ? { color: false as const } : {}),
    });
  }
}

/** `reading: 12,800 of 131,072 pages (10 %), 50.0 MiB, 812 MiB/s, 1.2 s left`. */
export function progressText(update: ProgressUpdate, elapsedMilliseconds: number): string {
  const parts: string[] = [];
  const { donePages, totalPages, doneBytes } = update;
  if (donePages !== undefined) {
    const share = totalPages
      ? ` of ${formatCount(totalPages)} pages (${Math.floor((donePages / totalPages) * 100)} %)`
      : ' pages';
    parts.push(formatCount(donePages) + share);
  }
  if (doneBytes !== undefined) {
    parts.push(formatBytes(doneBytes));
    if (elapsedMilliseconds > 200) parts.push(`${formatBytes((doneBytes / elapsedMilliseconds) * 1000)}/s`);
  }
  if (donePages && totalPages && elapsedMilliseconds > 500) {
    const leftMilliseconds = (elapsedMilliseconds / donePages) * (totalPages - donePages);
    parts.push(`${formatDuration(leftMilliseconds * 1000)} left`);
  }
  return parts.length === 0 ? update.phase : `${update.phase}: ${parts.join(', ')}`;
}
