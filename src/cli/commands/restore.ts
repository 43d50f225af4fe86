import { type Command, Option } from 'commander';
import {
  type RestoreResult,
  type RunResult,
  restoreToDirectory,
  runFromCheckpoint,
} from '../../checkpoint/index.ts';
import { UsageError } from '../../core/index.ts';
import { formatRestoreResult, formatRunResult, restoredJson } from '../../report/index.ts';
import { runsAs, type Shell, withCommonOptions } from '../command.ts';
import type { CommonOptions } from '../context.ts';
import { EXIT_STATUS } from '../exit-status.ts';
import { argument, checkpointNumber, durationOption, storeOption } from '../parse.ts';

interface RestoreCommandOptions extends CommonOptions {
  readonly store: string;
  readonly at: number | 'latest';
  readonly to?: string;
  readonly salvage?: boolean;
  readonly run?: number;
}

const EXAMPLES = `
Examples:
  ckpt restore -D store --at 3 --to out          one <start>-<end>.mem file a mapping, and maps
  ckpt restore -D store --at 3 --run 2s          a simulated process goes on from checkpoint 3`;

/** `ckpt restore`: write the memory of a checkpoint to files, or let a simulated process go on from it. */
export function declareRestore(program: Command, shell: Shell): void {
  const command = program
    .command('restore')
    .description('bring back the memory of a checkpoint, proved by its digest')
    .addOption(storeOption())
    .addOption(
      new Option('--at <checkpoint>', 'which checkpoint')
        .argParser(argument(checkpointNumber))
        .default('latest'),
    )
    .option('--to <dir>', 'write a sparse file for every mapping into this new or empty directory')
    .option(
      '--salvage',
      'of a damaged store: write what can be proved, and list what is lost in the file lost',
    )
    .addOption(durationOption('--run <duration>', 'restore the simulated process and let it run this long'))
    .addHelpText('after', EXAMPLES);
  withCommonOptions(command).action(
    runsAs<RestoreCommandOptions>(shell, async (context, options) => {
      const common = {
        storeDirectory: options.store,
        checkpoint: options.at,
        signal: context.signals.signal,
        onProgress: context.progress.update.bind(context.progress),
      };
      if ((options.to === undefined) === (options.run === undefined)) {
        throw new UsageError('say either --to DIR or --run DURATION', {
          hint: '--to writes files; --run lets a simulated process go on',
        });
      }
      if (options.to !== undefined) {
        const result: RestoreResult = await restoreToDirectory({
          ...common,
          outputDirectory: options.to,
          salvage: options.salvage === true,
        });
        context.result(restoredJson(result), formatRestoreResult(result));
        if (result.lost.length > 0) context.exitStatus = EXIT_STATUS.incomplete;
      } else if (options.run !== undefined) {
        const result: RunResult = await runFromCheckpoint({ ...common, runMicroseconds: options.run });
        context.result(result, formatRunResult(result));
      }
    }),
  );
}
