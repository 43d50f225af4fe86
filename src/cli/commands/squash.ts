import { type Command, Option } from 'commander';
import { squashDirectory } from '../../checkpoint/index.ts';
import { formatSquashed } from '../../report/index.ts';
import { runsAs, type Shell, withCommonOptions } from '../command.ts';
import type { CommonOptions } from '../context.ts';
import { argument, checkpointNumber, storeOption } from '../parse.ts';

interface SquashCommandOptions extends CommonOptions {
  readonly store: string;
  readonly at: number | 'latest';
  readonly dryRun?: boolean;
}

/** `ckpt squash`: fold a chain into a base. */
export function declareSquash(program: Command, shell: Shell): void {
  const command = program
    .command('squash')
    .description('fold the chain of a checkpoint into a base of the same memory')
    .addOption(storeOption())
    .addOption(
      new Option('--at <checkpoint>', 'which checkpoint')
        .argParser(argument(checkpointNumber))
        .default('latest'),
    )
    .option('-n, --dry-run', 'show what would be done');
  withCommonOptions(command).action(
    runsAs<SquashCommandOptions>(shell, async (context, options) => {
      const squashed = await squashDirectory({
        storeDirectory: options.store,
        checkpoint: options.at,
        dryRun: options.dryRun === true,
        signal: context.signals.signal,
        onProgress: (progress) => context.progress.update(progress),
        onNote: (note) => context.note(note),
      });
      context.progress.stop();
      context.result(squashed, formatSquashed(squashed));
    }),
  );
}
