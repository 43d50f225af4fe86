import { type Command, Option } from 'commander';
import { parseBytes } from '../../core/index.ts';
import { DEFAULT_MAX_TRACE_BYTES, type RecordRequest, recordTrace } from '../../migration/index.ts';
import { formatRecordResult } from '../../report/index.ts';
import { runsAs, type Shell, withCommonOptions } from '../command.ts';
import type { CommonOptions } from '../context.ts';
import { EXIT_STATUS } from '../exit-status.ts';
import { argument, durationOption } from '../parse.ts';
import { trackerOption } from '../tracker-option.ts';

interface RecordOptions extends CommonOptions {
  readonly target: string;
  readonly output: string;
  readonly interval: number;
  readonly duration: number;
  readonly maxSize: number;
  readonly single?: boolean;
  readonly tracker: NonNullable<RecordRequest['tracker']>;
}

const EXAMPLES = `
Examples:
  ckpt record -t 4711 -o redis.trace
  ckpt record -t sim:fixtures/kv-store.yaml --interval 50ms --duration 10s -o kv.trace`;

/** `ckpt record`: which pages are written when. */
export function declareRecord(program: Command, shell: Shell): void {
  const command = program
    .command('record')
    .description('record which pages a target writes in which interval; Ctrl-C ends it earlier')
    .requiredOption('-t, --target <target>', 'PID of a live process, or sim:FILE for a simulated workload')
    .requiredOption('-o, --output <file>', 'the trace; must not exist')
    .addOption(durationOption('--interval <duration>', 'between two scans').default(100_000, '100ms'))
    .addOption(durationOption('--duration <duration>', 'how long').default(60_000_000, '60s'))
    .addOption(
      new Option(
        '--max-size <size>',
        'most bytes of the trace: scans become fewer where it would grow larger',
      )
        .argParser(argument((text: string) => parseBytes(text)))
        .default(DEFAULT_MAX_TRACE_BYTES, '100 million bytes'),
    )
    .option('--single', 'the live process alone, without its descendants')
    .addOption(trackerOption())
    .addHelpText('after', EXAMPLES);
  withCommonOptions(command).action(
    runsAs<RecordOptions>(shell, async (context, options) => {
      const result = await recordTrace({
        target: options.target,
        outputFile: options.output,
        intervalMicroseconds: options.interval,
        durationMicroseconds: options.duration,
        maxBytes: options.maxSize,
        single: options.single === true,
        tracker: options.tracker,
        signal: context.signals.signal,
        onStop: (release) => context.signals.onSignal(release),
        onStep: () => context.progress.update({ phase: 'recording' }),
      });
      context.progress.stop();
      context.result(result, formatRecordResult(result));
      if (result.end === 'target-ended') context.exitStatus = EXIT_STATUS.incomplete;
    }),
  );
}
