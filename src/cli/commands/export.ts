import { type Command, Option } from 'commander';
import { UsageError } from '../../core/index.ts';
import {
  type ArchiveCompression,
  type CriuVersion,
  exportArchive,
  exportImages,
} from '../../interop/index.ts';
import { formatArchiveExported, formatExported } from '../../report/index.ts';
import { runsAs, type Shell, withCommonOptions } from '../command.ts';
import type { CommandContext, CommonOptions } from '../context.ts';
import { argument, checkpointNumber, outputPath, storeOption } from '../parse.ts';

interface ExportOptions extends CommonOptions {
  readonly store: string;
  readonly at: number | 'latest';
  readonly format: 'criu' | 'podman';
  readonly output: string;
  readonly flat?: boolean;
  readonly chain?: boolean;
  readonly criuVersion?: CriuVersion;
  readonly lazy?: boolean;
  readonly compress?: ArchiveCompression;
}

const EXAMPLES = `
Examples:
  ckpt export -D store --format criu --at 3 -o img          criu restore -D img restores it
  ckpt export -D store --format criu --at 3 -o all --chain  all/1, all/2, all/3, linked as CRIU links them
  ckpt export -D store --format criu --at 3 -o img --lazy   without the pages that 'ckpt page-server --lazy' serves
  ckpt export -D store --format podman --at 3 -o web.tar.zst
                                                            podman container restore --import web.tar.zst restores it`;

/** `ckpt export`: an imported checkpoint, as its own program takes it. */
export function declareExport(program: Command, shell: Shell): void {
  const command = program
    .command('export')
    .description(
      'write a checkpoint that came from CRIU as images for criu restore, or as an archive for podman',
    )
    .addOption(storeOption())
    .addOption(
      new Option('--at <checkpoint>', 'which checkpoint')
        .argParser(argument(checkpointNumber))
        .default('latest'),
    )
    .addOption(
      new Option(
        '--format <format>',
        'criu: a directory of images; podman: the archive of a container, of a checkpoint that came from one',
      )
        .choices(['criu', 'podman'])
        .makeOptionMandatory(),
    )
    .addOption(
      new Option('-o, --output <path>', 'what to write, which must not exist yet')
        .argParser(outputPath)
        .makeOptionMandatory(),
    )
    .option('--flat', 'one directory that needs no other (default)')
    .addOption(
      new Option('--chain', 'a directory for each checkpoint from the first on, with links').conflicts(
        'flat',
      ),
    )
    .addOption(
      new Option(
        '--criu-version <version>',
        'pagemaps as this version writes them; unless given, for all',
      ).choices(['3.17', '4.2']),
    )
    .option('--lazy', "leave out the pages that criu lazy-pages can fetch from 'ckpt page-server --lazy'")
    .addOption(
      new Option('--compress <how>', 'how the archive is compressed; zstd unless given').choices([
        'none',
        'gzip',
        'zstd',
      ]),
    )
    .addHelpText('after', EXAMPLES);
  withCommonOptions(command).action(
    runsAs<ExportOptions>(shell, (context, options) =>
      options.format === 'podman' ? exportToPodman(context, options) : exportToCriu(context, options),
    ),
  );
}

async function exportToPodman(context: CommandContext, options: ExportOptions): Promise<void> {
  if (options.chain === true || options.lazy === true) {
    throw new UsageError('an archive for podman holds one checkpoint, with all of its pages', {
      hint: 'leave out --chain and --lazy, or export with --format criu',
    });
  }
  const result = await exportArchive({
    storeDirectory: options.store,
    checkpoint: options.at,
    outputPath: options.output,
    compression: options.compress,
    criuVersion: options.criuVersion,
    signal: context.signals.signal,
    onProgress: context.progress.update.bind(context.progress),
  });
  for (const warning of result.warnings) context.note(`warning: ${warning}`);
  context.result(result, formatArchiveExported(result));
}

async function exportToCriu(context: CommandContext, options: ExportOptions): Promise<void> {
  if (options.compress !== undefined) {
    throw new UsageError('--compress is for archives; criu reads its images as they are', {
      hint: 'leave it out, or export with --format podman',
    });
  }
  const result = await exportImages({
    storeDirectory: options.store,
    checkpoint: options.at,
    outputDirectory: options.output,
    layout: options.chain === true ? 'chain' : 'flat',
    criuVersion: options.criuVersion,
    lazy: options.lazy,
    signal: context.signals.signal,
    onProgress: context.progress.update.bind(context.progress),
  });
  for (const warning of result.warnings) context.note(`warning: ${warning}`);
  context.result(result, formatExported(result));
}
