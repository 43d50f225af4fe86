import type { Command } from 'commander';
import { untrackProcesses } from '../../checkpoint/index.ts';
import { formatUntracked } from '../../report/index.ts';
import { runsAs, type Shell, withCommonOptions } from '../command.ts';
import type { CommonOptions } from '../context.ts';
import { EXIT_STATUS } from '../exit-status.ts';
import { integer } from '../parse.ts';

interface UntrackOptions extends CommonOptions {
  readonly single?: boolean;
}

const LARGEST_PID = 2 ** 22;

/** `ckpt untrack`: remove from live processes what incremental dumps left there. */
export function declareUntrack(program: Command, shell: Shell): void {
  const command = program
    .command('untrack')
    .description('remove from a process and its descendants what dumps by pagemap-scan left in them')
    .argument('<pid>', 'a live process', integer(1, LARGEST_PID))
    .option('--single', 'the process alone, without its descendants');
  withCommonOptions(command).action(
    runsAs<UntrackOptions>(shell, async (context, options, [pid]) => {
      const processes = await untrackProcesses({
        pid: Number(pid),
        single: options.single === true,
        onStop: (release) => context.signals.onSignal(release),
      });
      context.result({ processes }, formatUntracked(processes));
      if (processes.some(({ outcome }) => outcome === 'failed')) context.exitStatus = EXIT_STATUS.incomplete;
    }),
  );
}
