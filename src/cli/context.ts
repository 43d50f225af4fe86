import { EXIT_STATUS } from './exit-status.ts';
import { Progress } from './progress.ts';
import { SignalGuard } from './signals.ts';

/** A stream that output goes to; `process.stdout` and `process.stderr`, or a recorder in tests. */
export interface OutputStream {
  write(text: string | Uint8Array): unknown;
  readonly isTTY?: boolean;
  readonly columns?: number;
  readonly rows?: number;
  /** A terminal tells of its new size. */
  on?(event: 'resize', listener: () => void): unknown;
  off?(event: 'resize', listener: () => void): unknown;
}

/** The keys of a terminal: `process.stdin`. */
export interface InputStream {
  readonly isTTY?: boolean;
  setRawMode?(raw: boolean): unknown;
  on(event: 'data', listener: (keys: string | Uint8Array) => void): unknown;
  off(event: 'data', listener: (keys: string | Uint8Array) => void): unknown;
  resume(): unknown;
  pause(): unknown;
}

/** The world of one invocation, so that commands can be run in-process by tests. */
export interface CliEnvironment {
  readonly stdout: OutputStream;
  readonly stderr: OutputStream;
  /** For commands that a person talks to while they run. */
  readonly stdin?: InputStream;
  readonly variables: Readonly<Record<string, string | undefined>>;
}

/** Options that every command takes. */
export interface CommonOptions {
  readonly json?: boolean;
  readonly quiet?: boolean;
  readonly verbose?: number;
}

/** What a command prints with and reacts to. Results go to standard output, everything else to standard error. */
export class CommandContext {
  readonly environment: CliEnvironment;
  readonly json: boolean;
  readonly quiet: boolean;
  readonly verbosity: number;
  readonly progress: Progress;
  readonly signals: SignalGuard;
  /** Status to exit with when nothing is thrown. */
  exitStatus: number = EXIT_STATUS.done;

  constructor(environment: CliEnvironment, options: CommonOptions) {
    this.environment = environment;
    this.json = options.json === true;
    this.quiet = options.quiet === true;
    this.verbosity = options.verbose ?? 0;
    this.progress = new Progress(environment, { silent: this.quiet || this.json });
    this.signals = new SignalGuard((text) => this.note(text));
  }

  /** Prints the result: the value as one JSON document with `--json`, the text otherwise. */
  result(value: unknown, text: string): void {
    if (this.json) this.environment.stdout.write(`${JSON.stringify(value, null, 2)}\n`);
    else if (text !== '') this.environment.stdout.write(text.endsWith('\n') ? text : `${text}\n`);
  }

  /** A line of the result that comes before the rest: printed at once, as text only. */
  partialResult(text: string): void {
    this.progress.aside(() => this.environment.stdout.write(`${text}\n`));
  }

  /** A line for people on standard error, unless `-q`. */
  note(text: string): void {
    if (!this.quiet) this.progress.aside(() => this.environment.stderr.write(`${text}\n`));
  }

  /** A note shown with `-v` (level 1), `-vv` (2), ... */
  detail(level: number, text: string): void {
    if (this.verbosity >= level) this.note(text);
  }
}
