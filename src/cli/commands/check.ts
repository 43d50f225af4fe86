import type { Command } from 'commander';
import { checkAbilities } from '../../checkpoint/index.ts';
import { checkJson, formatCheck } from '../../report/index.ts';
import { runsAs, type Shell, withCommonOptions } from '../command.ts';
import type { CommonOptions } from '../context.ts';
import { EXIT_STATUS } from '../exit-status.ts';
import { integer } from '../parse.ts';

interface CheckOptions extends CommonOptions {
  readonly tree?: number;
}

const LARGEST_PID = 2 ** 22;

/** `ckpt check`: what this kernel and this user can do, found out by trying. */
export function declareCheck(program: Command, shell: Shell): void {
  const command = program
    .command('check')
    .description('tell what this kernel and this user can do, and what would help where something is missing')
    .option('-t, --tree <pid>', 'look at this live process, too', integer(1, LARGEST_PID));
  withCommonOptions(command).action(
    runsAs<CheckOptions>(shell, async (context, options) => {
      const report = await checkAbilities(options.tree);
      context.result(checkJson(report), formatCheck(report));
      if (!report.dumpWorks) {
        context.exitStatus = options.tree === undefined ? EXIT_STATUS.unsupported : EXIT_STATUS.target;
      }
    }),
  );
}
