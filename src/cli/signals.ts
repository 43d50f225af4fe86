import { InterruptedError } from '../core/index.ts';
import { EXIT_STATUS } from './exit-status.ts';

/**
 * First SIGINT or SIGTERM: the target goes on at once, then the command stops in good order (128 + signal number).
 * Second: leave immediately; the store needs no cleanup to be whole.
 */
export class SignalGuard {
  readonly #controller = new AbortController();
  readonly #releases = new Set<() => void>();
  readonly #note: (text: string) => void;
  #heir: ((signal: NodeJS.Signals) => void) | undefined;
  readonly #onInterrupt = () => this.#receive('SIGINT');
  readonly #onTerminate = () => this.#receive('SIGTERM');

  constructor(note: (text: string) => void) {
    this.#note = note;
  }

  /** Aborted by the first signal, with an InterruptedError as its reason. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Calls `release` at once when a signal arrives; the returned function withdraws it. */
  onSignal(release: () => void): () => void {
    this.#releases.add(release);
    return () => this.#releases.delete(release);
  }

  /**
   * Leaves signals to a program that has the terminal now. It gets Ctrl-C from the terminal itself; `forward` passes
   * SIGTERM on, which concerns it only if it is told.
   */
  handOver(forward: (signal: NodeJS.Signals) => void): void {
    this.#heir = forward;
  }

  install(): void {
    process.on('SIGINT', this.#onInterrupt);
    process.on('SIGTERM', this.#onTerminate);
  }

  uninstall(): void {
    process.off('SIGINT', this.#onInterrupt);
    process.off('SIGTERM', this.#onTerminate);
  }

  #receive(signal: 'SIGINT' | 'SIGTERM'): void {
    if (this.#heir !== undefined) {
      if (signal === 'SIGTERM') this.#heir(signal);
      return;
    }
    for (const release of this.#releases) release();
    if (this.#controller.signal.aborted) {
      process.exit(signal === 'SIGINT' ? EXIT_STATUS.interrupted : EXIT_STATUS.terminated);
    }
    this.#note(`${signal}: stopping (once more to leave at once)`);
    this.#controller.abort(new InterruptedError(signal));
  }
}
