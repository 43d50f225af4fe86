import type { Command } from 'commander';
import { listCheckpoints } from '../../checkpoint/index.ts';
import { checkpointsJson, formatCheckpoints } from '../../report/index.ts';
import { runsAs, type Shell, withCommonOptions } from '../command.ts';
import type { CommonOptions } from '../context.ts';
import { storeOption } from '../parse.ts';

interface LsOptions extends CommonOptions {
  readonly store: string;
}

/** `ckpt ls`: the checkpoints of a store. */
export function declareLs(program: Command, shell: Shell): void {
  const command = program
    .command('ls')
    .description('list the checkpoints of a store')
    .addOption(storeOption());
  withCommonOptions(command).action(
    runsAs<LsOptions>(shell, async (context, options) => {
      const manifests = await listCheckpoints(options.store);
      context.result(checkpointsJson(manifests), formatCheckpoints(manifests));
    }),
  );
}
