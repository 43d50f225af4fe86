import { type Command, Option } from 'commander';
import { adoptImages } from '../../interop/index.ts';
import { formatAdopted } from '../../report/index.ts';
import { runsAs, type Shell, withCommonOptions } from '../command.ts';
import type { CommonOptions } from '../context.ts';
import { EXIT_STATUS } from '../exit-status.ts';
import { argument, checkpointNumber, integer, storeOption } from '../parse.ts';

interface AdoptOptions extends CommonOptions {
  readonly store: string;
  readonly at: number | 'latest';
  readonly workers?: number;
}

const EXAMPLES = `
A page server receives memory alone. Everything else of a dump is in the directory that criu wrote on its own machine:
copied here, it is joined to the pages that came, in their checkpoint, which can then be exported and restored. It is
refused if it is not of the same dump. Directories of pre-dumps, found by its link 'parent', are joined to theirs.

Examples:
  criu dump -t PID -D img --page-server --address HOST --port 12345      there
  ckpt page-server -D store --once                                       here, while it runs
  ckpt adopt img -D store                                                with a copy of img
  ckpt adopt img -D store --at 4                                         if others were received since`;

/** `ckpt adopt`: the rest of what a page server received. */
export function declareAdopt(program: Command, shell: Shell): void {
  const command = program
    .command('adopt')
    .argument('<dir>', 'images directory of criu dump --page-server, with everything but the pages')
    .description('join the images of a dump to the pages that a page server received of it')
    .addOption(storeOption())
    .addOption(
      new Option('--at <checkpoint>', 'the checkpoint with the pages')
        .argParser(argument(checkpointNumber))
        .default('latest'),
    )
    .addOption(new Option('--workers <n>', 'codec threads (default: one a core)').argParser(integer(1, 64)))
    .addHelpText('after', EXAMPLES);
  withCommonOptions(command).action(
    runsAs<AdoptOptions>(shell, async (context, options, [path = '']) => {
      const result = await adoptImages({
        storeDirectory: options.store,
        path,
        checkpoint: options.at,
        workers: options.workers,
        signal: context.signals.signal,
        onNote: (note) => context.note(note),
      });
      for (const warning of result.warnings) context.note(`warning: ${warning}`);
      context.result(result, formatAdopted(result));
      if (result.warnings.length > 0) context.exitStatus = EXIT_STATUS.incomplete;
    }),
  );
}
