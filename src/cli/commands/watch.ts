import { setTimeout as delay } from 'node:timers/promises';
import type { Command } from 'commander';
import { type WatchRequest, type WatchSample, type WatchStart, watchTarget } from '../../migration/index.ts';
import {
  formatWatchHeading,
  formatWatchLine,
  formatWatchSummary,
  formatWatchView,
  type Ink,
  watchSampleJson,
} from '../../report/index.ts';
import { runsAs, type Shell, withCommonOptions } from '../command.ts';
import type { CommandContext, CommonOptions } from '../context.ts';
import { EXIT_STATUS } from '../exit-status.ts';
import { isScreen, LiveScreen } from '../live-screen.ts';
import { durationOption } from '../parse.ts';
import { inkOf } from '../surface.ts';
import { trackerOption } from '../tracker-option.ts';

interface WatchOptions extends CommonOptions {
  readonly target: string;
  readonly interval: number;
  readonly duration?: number;
  readonly single?: boolean;
  readonly tracker: NonNullable<WatchRequest['tracker']>;
}

const EXAMPLES = `
Examples:
  ckpt watch -t 4711
  ckpt watch -t sim:fixtures/kv-store.yaml --interval 500ms
  ckpt watch -t 4711 --duration 1m --json | jq .dirtyBytesPerSecond`;

/** Intervals that the line of the view can show at most. */
const KEPT_INTERVALS = 400;

/** `ckpt watch`: what a target writes, while it does. */
export function declareWatch(program: Command, shell: Shell): void {
  const command = program
    .command('watch')
    .description('show what a target writes, interval by interval, until q or Ctrl-C')
    .requiredOption('-t, --target <target>', 'PID of a live process, or sim:FILE for a simulated workload')
    .addOption(durationOption('--interval <duration>', 'between two scans').default(1_000_000, '1s'))
    .addOption(durationOption('--duration <duration>', 'how long (default: until ended)'))
    .option('--single', 'the live process alone, without its descendants')
    .addOption(trackerOption())
    .addHelpText('after', EXAMPLES);
  withCommonOptions(command).action(
    runsAs<WatchOptions>(shell, async (context, options) => {
      const quit = new AbortController();
      const display = displayFor(context, () => quit.abort(new Error('the watch was ended')));
      const watch = watchTarget({
        target: options.target,
        intervalMicroseconds: options.interval,
        ...(options.duration === undefined ? {} : { durationMicroseconds: options.duration }),
        single: options.single === true,
        tracker: options.tracker,
        signal: AbortSignal.any([context.signals.signal, quit.signal]),
        onStop: (release) => context.signals.onSignal(release),
        onStart: (start) => display.start(start),
      });
      try {
        let next = await watch.next();
        for (; next.done !== true; next = await watch.next()) await display.sample(next.value, quit.signal);
        display.end();
        if (next.value !== 'target-ended') return;
        context.note('the target has ended');
        if (options.duration !== undefined) context.exitStatus = EXIT_STATUS.incomplete;
      } finally {
        display.close();
      }
    }),
  );
}

/** Where samples go. */
interface Display {
  start(start: WatchStart): void;
  sample(sample: WatchSample, quit: AbortSignal): void | Promise<void>;
  /** The watch is over, as planned. */
  end(): void;
  /** Whatever happened. */
  close(): void;
}

function displayFor(context: CommandContext, quit: () => void): Display {
  if (context.json) return new JsonDisplay(context);
  const { stdout, variables } = context.environment;
  return isScreen(stdout, variables) ? new ScreenDisplay(context, quit) : new LineDisplay(context);
}

/** A JSON document of one line for each interval. */
class JsonDisplay implements Display {
  readonly #context: CommandContext;

  constructor(context: CommandContext) {
    this.#context = context;
  }

  start(): void {}

  sample(sample: WatchSample): void {
    this.#context.environment.stdout.write(`${JSON.stringify(watchSampleJson(sample))}\n`);
  }

  end(): void {}

  close(): void {}
}

/** A line for each interval, and what they come to. */
class LineDisplay implements Display {
  readonly #context: CommandContext;
  #start: WatchStart | undefined;
  #last: WatchSample | undefined;

  constructor(context: CommandContext) {
    this.#context = context;
  }

  start(start: WatchStart): void {
    this.#start = start;
    this.#context.partialResult(formatWatchHeading());
  }

  sample(sample: WatchSample): void {
    this.#last = sample;
    this.#context.partialResult(formatWatchLine(sample));
  }

  end(): void {
    const ink = inkOf(this.#context.environment);
    const view = { start: this.#start!, sample: this.#last, history: [], ink };
    this.#context.partialResult(`\n${formatWatchSummary(view).trimEnd()}`);
  }

  close(): void {}
}

/** A view that fills the terminal; what the intervals come to stays there when it is left. */
class ScreenDisplay implements Display {
  readonly #context: CommandContext;
  readonly #quit: () => void;
  readonly #history: number[] = [];
  readonly #ink: Ink;
  #screen: LiveScreen | undefined;
  #start: WatchStart | undefined;
  #last: WatchSample | undefined;
  #shownMilliseconds = 0;

  constructor(context: CommandContext, quit: () => void) {
    this.#context = context;
    this.#quit = quit;
    this.#ink = inkOf(context.environment);
  }

  start(start: WatchStart): void {
    const { stdout, stdin } = this.#context.environment;
    this.#start = start;
    this.#shownMilliseconds = performance.now();
    this.#screen = new LiveScreen(stdout, stdin, {
      onQuit: this.#quit,
      onInterrupt: () => process.kill(process.pid, 'SIGINT'),
    });
    this.#screen.show((columns, rows) => formatWatchView(this.#view(), columns, rows));
  }

  async sample(sample: WatchSample, quit: AbortSignal): Promise<void> {
    this.#last = sample;
    this.#history.push(sample.dirtyPages);
    if (this.#history.length > KEPT_INTERVALS) this.#history.shift();
    if (this.#start?.clock === 'virtual') await this.#keepPace(sample, quit);
    this.#screen?.show((columns, rows) => formatWatchView(this.#view(), columns, rows));
  }

  end(): void {
    this.close();
    this.#context.partialResult(formatWatchSummary(this.#view()).trimEnd());
  }

  close(): void {
    this.#screen?.close();
  }

  /** Virtual time goes no faster than that of whoever looks. */
  async #keepPace({ lengthMicroseconds }: WatchSample, quit: AbortSignal): Promise<void> {
    const due = this.#shownMilliseconds + lengthMicroseconds / 1000;
    const signal = AbortSignal.any([this.#context.signals.signal, quit]);
    // Being ended is not a failure of the wait.
    await delay(Math.max(0, due - performance.now()), undefined, { signal }).catch(() => {});
    this.#shownMilliseconds = performance.now();
  }

  #view() {
    return { start: this.#start!, sample: this.#last, history: this.#history, ink: this.#ink };
  }
}
