import { type Command, Option } from 'commander';
import { parseBytes } from '../../core/index.ts';
import { importCheckpoints } from '../../interop/index.ts';
import { formatImported } from '../../report/index.ts';
import { runsAs, type Shell, withCommonOptions } from '../command.ts';
import type { CommandContext, CommonOptions } from '../context.ts';
import { argument, integer, storeOption } from '../parse.ts';

interface ImportOptions extends CommonOptions {
  readonly store: string;
  readonly chain?: boolean;
  readonly importPrevious?: string;
  readonly maxUnpacked?: number;
  readonly workers?: number;
}

const EXAMPLES = `
Every page becomes one of the store; all other files are kept byte for byte, for 'ckpt export'. The whole directory or
archive is checked before anything is stored, and all of it is stored or nothing. With --chain, parents that the store
has already stay as they are, and only what is new is written.

Examples:
  ckpt import -D store img               img alone, with the pages that its parents have of it
  ckpt import -D store img/4 --chain     also its parents img/3, img/2 and img/1, each restorable if it was a dump
  ckpt import -D store web.tar.zst       what 'podman container checkpoint --export' wrote, or the kubelet`;

/** `ckpt import`: what CRIU dumped, into a store. */
export function declareImport(program: Command, shell: Shell): void {
  const command = program
    .command('import')
    .description('take images of CRIU, or the archive of a container, into a store')
    .argument('<images>', 'a directory that criu dump or criu pre-dump wrote, or the archive of a container')
    .addOption(storeOption())
    .option('--chain', 'the parents too, a checkpoint each, unless the store has them')
    .option('--import-previous <archive>', 'the archive of the pre-checkpoint, where podman wrote one')
    .addOption(
      new Option(
        '--max-unpacked <size>',
        'the most that an archive may unpack to (default: 16GiB, or 200 times its size)',
      ).argParser(argument((text) => parseBytes(text, 'size'))),
    )
    .addOption(new Option('--workers <n>', 'codec threads (default: one a core)').argParser(integer(1, 64)))
    .addHelpText('after', EXAMPLES);
  withCommonOptions(command).action(
    runsAs<ImportOptions>(shell, (context, options, [images]) => importFrom(context, options, images!)),
  );
}

async function importFrom(context: CommandContext, options: ImportOptions, path: string): Promise<void> {
  const result = await importCheckpoints({
    storeDirectory: options.store,
    path,
    chain: options.chain,
    previousPath: options.importPrevious,
    maxUnpackedBytes: options.maxUnpacked,
    workers: options.workers,
    signal: context.signals.signal,
    onProgress: context.progress.update.bind(context.progress),
    onNote: (note) => context.note(note),
  });
  context.result(result, formatImported(result));
}
