import type { InputStream, OutputStream } from './context.ts';

/** A screen of its own, no cursor, lines cut off at the edge; and back. */
const ENTER = '\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J';
const LEAVE = '\x1b[?7h\x1b[?25h\x1b[?1049l';
const HOME = '\x1b[H';
const ERASE_LINE = '\x1b[K';
const ERASE_BELOW = '\x1b[J';
const CTRL_C = '\x03';

/** Gives the lines of a screen of this size. */
export type Painter = (columns: number, rows: number) => readonly string[];

/** What the person at the terminal may do. */
export interface Keys {
  readonly onQuit: () => void;
  readonly onInterrupt: () => void;
}

/** Whether a stream is a terminal on which lines can be redrawn. */
export function isScreen(
  stream: OutputStream,
  variables: Readonly<Record<string, string | undefined>>,
): boolean {
  return (
    stream.isTTY === true &&
    (stream.columns ?? 0) > 0 &&
    (stream.rows ?? 0) > 0 &&
    variables['TERM'] !== 'dumb' &&
    variables['TERM'] !== ''
  );
}

/**
 * A view that fills the terminal and is redrawn in place, also when the terminal changes its size. The terminal is
 * given back as it was by `close`, and when the process exits in any other way that it can notice.
 */
export class LiveScreen {
  readonly #output: OutputStream;
  readonly #input: InputStream | undefined;
  readonly #keys: Keys;
  #painter: Painter | undefined;
  #isOpen = true;
  readonly #repaint = () => this.#paint();
  readonly #onExit = () => this.close();
  readonly #onInput = (keys: string | Uint8Array) => this.#read(String(keys));

  constructor(output: OutputStream, input: InputStream | undefined, keys: Keys) {
    this.#output = output;
    this.#input = input?.isTTY === true ? input : undefined;
    this.#keys = keys;
    output.write(ENTER);
    output.on?.('resize', this.#repaint);
    process.on('exit', this.#onExit);
    // Keys one by one, and not shown; Ctrl-C comes as a key, too.
    this.#input?.setRawMode?.(true);
    this.#input?.on('data', this.#onInput);
    this.#input?.resume();
  }

  /** Draws the view, and again with each new size. */
  show(painter: Painter): void {
    this.#painter = painter;
    this.#paint();
  }

  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#input?.off('data', this.#onInput);
    this.#input?.setRawMode?.(false);
    this.#input?.pause();
    this.#output.off?.('resize', this.#repaint);
    process.off('exit', this.#onExit);
    this.#output.write(LEAVE);
  }

  #paint(): void {
    const { columns = 80, rows = 24 } = this.#output;
    if (this.#painter === undefined || !this.#isOpen) return;
    const lines = this.#painter(columns, rows).slice(0, rows);
    const text = lines.map((line) => line.slice(0, columns) + ERASE_LINE).join('\r\n');
    this.#output.write(HOME + text + ERASE_BELOW);
  }

  #read(keys: string): void {
    if (keys.includes(CTRL_C)) this.#keys.onInterrupt();
    else if (/q/i.test(keys)) this.#keys.onQuit();
  }
}
