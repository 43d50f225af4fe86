import type { Command } from 'commander';
import { describeCheckpoint } from '../../checkpoint/index.ts';
import { checkpointJson, formatCheckpoint } from '../../report/index.ts';
import { runsAs, type Shell, withCommonOptions } from '../command.ts';
import type { CommonOptions } from '../context.ts';
import { argument, checkpointNumber, storeOption } from '../parse.ts';

interface ShowOptions extends CommonOptions {
  readonly store: string;
  readonly environment: boolean;
  readonly registers: boolean;
}

/** `ckpt show N`: everything about one checkpoint but its pages. */
export function declareShow(program: Command, shell: Shell): void {
  const command = program
    .command('show')
    .description('show one checkpoint: processes, threads, signals, timers, open files, mappings, sizes')
    .argument('<checkpoint>', "a number of 'ckpt ls', or latest", argument(checkpointNumber))
    .addOption(storeOption())
    .option(
      '--environment',
      'print the environment variables, not only their number, and the auxiliary vector',
      false,
    )
    .option('--registers', 'print the registers of every thread', false);
  withCommonOptions(command).action(
    runsAs<ShowOptions>(shell, async (context, options, [checkpoint]) => {
      const description = await describeCheckpoint(options.store, checkpointNumber(checkpoint!));
      context.result(checkpointJson(description), formatCheckpoint(description, options));
    }),
  );
}
