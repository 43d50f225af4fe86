import { type Command, Option } from 'commander';
import { type DumpRequest, type DumpResult, dumpTarget } from '../../checkpoint/index.ts';
import { MAX_ZSTD_LEVEL, MIN_ZSTD_LEVEL } from '../../codec/index.ts';
import { dumpJson, formatDumpResult, formatWarning } from '../../report/index.ts';
import { runsAs, type Shell, withCommonOptions } from '../command.ts';
import type { CommonOptions } from '../context.ts';
import { EXIT_STATUS } from '../exit-status.ts';
import { durationOption, integer, storeOption } from '../parse.ts';
import { trackerOption } from '../tracker-option.ts';

interface DumpCommandOptions extends CommonOptions {
  readonly tree: string;
  readonly store: string;
  readonly single?: boolean;
  readonly incremental?: boolean;
  readonly wait?: number;
  readonly every?: number;
  readonly count?: number;
  readonly tracker: NonNullable<DumpRequest['tracker']>;
  readonly codec: NonNullable<DumpRequest['codec']>;
  readonly level?: number;
  readonly leaveStopped?: boolean;
  readonly workers?: number;
}

const EXAMPLES = `
Examples:
  ckpt dump -t 4711 -D store                                 process 4711 and its descendants
  ckpt dump -t 4711 -D store --incremental                   what changed since
  ckpt dump -t sim:fixtures/kv-store.yaml -D store --every 500ms --count 6`;

/** `ckpt dump`: take one checkpoint, or several. */
export function declareDump(program: Command, shell: Shell): void {
  const command = program
    .command('dump')
    .description(
      'take a checkpoint of a process and its descendants: every page, or what changed since the newest checkpoint',
    )
    .requiredOption(
      '-t, --tree <target>',
      'PID of the first process of a live tree, or sim:FILE for a simulated workload',
    )
    .addOption(storeOption())
    .option('--single', 'the live process alone, without its descendants')
    .option('-i, --incremental', 'take a delta on the newest checkpoint')
    .addOption(durationOption('--wait <duration>', 'let the target run this long first (500ms, 2s)'))
    .addOption(
      durationOption('--every <duration>', 'take several: the first as told, then deltas this far apart'),
    )
    .addOption(
      new Option('--count <n>', 'how many with --every (default: until interrupted)').argParser(
        integer(1, 1_000_000),
      ),
    )
    .addOption(trackerOption('how changed pages are found'))
    .addOption(new Option('--codec <name>', 'how pages are stored').choices(['zstd', 'none']).default('zstd'))
    .addOption(new Option('--level <n>', 'zstd level').argParser(integer(MIN_ZSTD_LEVEL, MAX_ZSTD_LEVEL)))
    .addOption(
      new Option('--workers <n>', 'compression threads (default: one a core)').argParser(integer(1, 64)),
    )
    .option('-s, --leave-stopped', 'leave a live process stopped afterwards (default: it runs on)')
    .addHelpText('after', EXAMPLES);
  withCommonOptions(command).action(
    runsAs<DumpCommandOptions>(shell, async (context, options) => {
      const results: DumpResult[] = [];
      await dumpTarget({
        target: options.tree,
        storeDirectory: options.store,
        single: options.single === true,
        incremental: options.incremental === true,
        tracker: options.tracker,
        codec: options.codec,
        leaveStopped: options.leaveStopped === true,
        ...(options.level === undefined ? {} : { level: options.level }),
        ...(options.wait === undefined ? {} : { waitMicroseconds: options.wait }),
        ...(options.every === undefined ? {} : { everyMicroseconds: options.every }),
        ...(options.count === undefined ? {} : { count: options.count }),
        ...(options.workers === undefined ? {} : { workers: options.workers }),
        signal: context.signals.signal,
        onStop: (release) => context.signals.onSignal(release),
        onProgress: (progress) => context.progress.update(progress),
        onNote: (note) => context.note(note),
        onCheckpoint: (result) => {
          results.push(result);
          context.progress.stop();
          context.detail(1, `tracker ${result.trackerReason}`);
          for (const warning of result.warnings) context.note(`warning: ${formatWarning(warning)}`);
          if (!context.json) context.result(dumpJson(result), formatDumpResult(result));
        },
      });
      const documents = results.map(dumpJson);
      if (context.json) context.result(options.every === undefined ? documents[0] : documents, '');
      if (results.some((result) => result.warnings.length > 0)) context.exitStatus = EXIT_STATUS.incomplete;
    }),
  );
}
