import { type Command, Option } from 'commander';
import { importImages } from '../../interop/index.ts';
import { formatImported } from '../../report/index.ts';
import { runsAs, type Shell, withCommonOptions } from '../command.ts';
import type { CommandContext, CommonOptions } from '../context.ts';
import { integer, storeOption } from '../parse.ts';

interface ImportOptions extends CommonOptions {
  readonly store: string;
  readonly chain?: boolean;
  readonly workers?: number;
}

const EXAMPLES = `
Every page becomes one of the store; all other files are kept byte for byte, for 'ckpt export'. The whole directory is
checked before anything is stored, and all of it is stored or nothing.

Examples:
  ckpt import -D store img               img alone, with the pages that its parents have of it
  ckpt import -D store img/4 --chain     also its parents img/3, img/2 and img/1, each restorable if it was a dump`;

/** `ckpt import`: what CRIU dumped, into a store. */
export function declareImport(program: Command, shell: Shell): void {
  const command = program
    .command('import')
    .description('take images of CRIU into a store')
    .argument('<images>', 'a directory that criu dump or criu pre-dump wrote')
    .addOption(storeOption())
    .option('--chain', 'the parents too, a checkpoint each')
    .addOption(new Option('--workers <n>', 'codec threads (default: one a core)').argParser(integer(1, 64)))
    .addHelpText('after', EXAMPLES);
  withCommonOptions(command).action(
    runsAs<ImportOptions>(shell, (context, options, [images]) => importFrom(context, options, images!)),
  );
}

async function importFrom(context: CommandContext, options: ImportOptions, path: string): Promise<void> {
  const result = await importImages({
    storeDirectory: options.store,
    path,
    chain: options.chain,
    workers: options.workers,
    signal: context.signals.signal,
    onProgress: context.progress.update.bind(context.progress),
    onNote: (note) => context.note(note),
  });
  context.result(result, formatImported(result));
}
