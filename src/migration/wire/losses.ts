import { LONGEST_TIMER_MILLISECONDS } from './options.ts';

/** So many connections lost one after another with nothing delivered between mean that none will ever deliver. */
const MAX_FRUITLESS = 20;

/** Counts lost connections, and says when a session is not worth waiting for any more. */
export class Losses {
  readonly #giveUpMilliseconds: number;
  readonly #giveUp: (why: string) => void;
  #timer: NodeJS.Timeout | undefined;
  #fruitless = 0;
  #delivered = 0;

  /** `giveUp` is told in words why. */
  constructor(giveUpMilliseconds: number, giveUp: (why: string) => void) {
    this.#giveUpMilliseconds = Math.min(giveUpMilliseconds, LONGEST_TIMER_MILLISECONDS);
    this.#giveUp = giveUp;
  }

  /**
   * A connection was lost.
   * @param delivered frames that have arrived at either end so far.
   */
  add(reason: string, connectionsLeft: number, delivered: number): void {
    this.#fruitless = delivered === this.#delivered ? this.#fruitless + 1 : 0;
    this.#delivered = delivered;
    if (this.#fruitless >= MAX_FRUITLESS)
      this.#giveUp(`was lost ${this.#fruitless} times in a row: ${reason}`);
    else if (connectionsLeft === 0) {
      const seconds = this.#giveUpMilliseconds / 1000;
      this.#timer ??= setTimeout(
        () => this.#giveUp(`was lost (${reason}) and not resumed within ${seconds} s`),
        this.#giveUpMilliseconds,
      );
    }
  }

  /** There is a connection again, or the session is over. */
  stopWaiting(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}
