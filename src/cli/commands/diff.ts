import type { Command } from 'commander';
import { diffCheckpoints } from '../../checkpoint/index.ts';
import { diffJson, formatDiff } from '../../report/index.ts';
import { runsAs, type Shell, withCommonOptions } from '../command.ts';
import type { CommonOptions } from '../context.ts';
import { EXIT_STATUS } from '../exit-status.ts';
import { argument, checkpointNumber, storeOption } from '../parse.ts';

interface DiffOptions extends CommonOptions {
  readonly store: string;
  readonly bytes?: boolean;
  readonly exitCode?: boolean;
}

/** `ckpt diff A B`: which mappings and pages differ, and by how much, and what else of live processes. */
export function declareDiff(program: Command, shell: Shell): void {
  const command = program
    .command('diff')
    .description('compare two checkpoints: memory, and what live processes have opened, begun and changed')
    .argument('<a>', 'the older checkpoint', argument(checkpointNumber))
    .argument('<b>', 'the newer checkpoint, or latest', argument(checkpointNumber))
    .addOption(storeOption())
    .option('--bytes', 'compare changed pages byte by byte and list the ranges')
    .option('--exit-code', 'exit with 1 if memory differs');
  withCommonOptions(command).action(
    runsAs<DiffOptions>(shell, async (context, options, [a, b]) => {
      const difference = await diffCheckpoints({
        storeDirectory: options.store,
        a: checkpointNumber(a!),
        b: checkpointNumber(b!),
        bytes: options.bytes === true,
        signal: context.signals.signal,
        onProgress: (progress) => context.progress.update(progress),
      });
      context.progress.stop();
      context.result(diffJson(difference), formatDiff(difference));
      if (options.exitCode === true && difference.different) context.exitStatus = EXIT_STATUS.failed;
    }),
  );
}
