import { type Command, Option } from 'commander';
import { UsageError } from '../../core/index.ts';
import { runsAs, type Shell, withCommonOptions } from '../command.ts';
import { argument, checkpointNumber, durationOption, integer, storeOption } from '../parse.ts';
import { addInPlaceOptions, inPlaceMode } from './restore-in-place.ts';
import {
  coreMode,
  filesMode,
  type RestoreCommandOptions,
  type RestoreMode,
  runMode,
} from './restore-modes.ts';
import { addNewOptions, newMode } from './restore-new.ts';

const MODES: readonly RestoreMode[] = [filesMode, runMode, coreMode, inPlaceMode, newMode];

const EXAMPLES = `
Examples:
  ckpt restore -D store --at 3 --to out               one <start>-<end>.mem file a mapping, and maps
  ckpt restore -D store --at 3 --run 2s               a simulated process goes on from checkpoint 3
  ckpt restore -D store --at 3 --format core -o core  an ELF core for gdb; 'ckpt gdb 3' opens it at once
  ckpt restore -D store --at 3 --in-place -t 4711     process 4711 goes back to what it was then
  ckpt restore -D store --at 3 --new                  the process goes on from there, and ckpt waits for it`;

/** `ckpt restore`: bring a checkpoint back in one of several ways. */
export function declareRestore(program: Command, shell: Shell): void {
  const command = program
    .command('restore')
    .description('bring back the memory of a checkpoint, proved by its digest')
    .addOption(storeOption())
    .addOption(
      new Option('--at <checkpoint>', 'which checkpoint')
        .argParser(argument(checkpointNumber))
        .default('latest'),
    )
    .option('--to <dir>', 'write a sparse file for every mapping into this new or empty directory')
    .option(
      '--salvage',
      'of a damaged store: write what can be proved, and list what is lost in the file lost',
    )
    .addOption(durationOption('--run <duration>', 'restore the simulated process and let it run this long'))
    .addOption(new Option('--format <format>', 'write a live process as an ELF core').choices(['core']))
    .option('-o, --output <file>', 'the core file, which must not exist yet')
    .addOption(
      new Option(
        '--pid <pid>',
        'which process of a tree goes into the core; the root unless given',
      ).argParser(integer(1, 4_194_304)),
    )
    .addHelpText('after', EXAMPLES);
  addInPlaceOptions(command);
  addNewOptions(command).option('--force', 'go on despite obstacles that the program may not mind');
  withCommonOptions(command).action(
    runsAs<RestoreCommandOptions>(shell, async (context, options) => {
      await chosenMode(options).run(context, options);
    }),
  );
}

/** @throws UsageError unless exactly one way to restore is asked for. */
function chosenMode(options: RestoreCommandOptions): RestoreMode {
  const [chosen, ...others] = MODES.filter((mode) => mode.isAskedFor(options));
  if (chosen !== undefined && others.length === 0) return chosen;
  throw new UsageError('say one way to restore', { hint: MODES.map((mode) => mode.usage).join('; ') });
}
