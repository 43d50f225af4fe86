import { type Command, Option } from 'commander';
import { pruneDirectory } from '../../checkpoint/index.ts';
import { formatPruned, prunedJson } from '../../report/index.ts';
import { runsAs, type Shell, withCommonOptions } from '../command.ts';
import type { CommonOptions } from '../context.ts';
import { integer, storeOption } from '../parse.ts';

interface PruneCommandOptions extends CommonOptions {
  readonly store: string;
  readonly keep: number;
  readonly dryRun?: boolean;
}

/** `ckpt prune --keep N`: remove what no kept checkpoint needs. */
export function declarePrune(program: Command, shell: Shell): void {
  const command = program
    .command('prune')
    .description('keep the newest checkpoints and delete what none of them needs')
    .addOption(storeOption())
    .addOption(
      new Option('--keep <n>', 'how many checkpoints to keep')
        .argParser(integer(1, 1_000_000))
        .makeOptionMandatory(),
    )
    .option('-n, --dry-run', 'show what would be deleted');
  withCommonOptions(command).action(
    runsAs<PruneCommandOptions>(shell, async (context, options) => {
      const pruned = await pruneDirectory({
        storeDirectory: options.store,
        keep: options.keep,
        dryRun: options.dryRun === true,
        signal: context.signals.signal,
        onNote: (note) => context.note(note),
      });
      context.result(prunedJson(pruned), formatPruned(pruned));
    }),
  );
}
