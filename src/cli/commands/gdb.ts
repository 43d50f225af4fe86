import { type Command, Option } from 'commander';
import { debugCheckpoint } from '../../interop/index.ts';
import { runsAs, type Shell, withCommonOptions } from '../command.ts';
import type { CommonOptions } from '../context.ts';
import { argument, checkpointNumber, integer, storeOption } from '../parse.ts';

interface GdbOptions extends CommonOptions {
  readonly store: string;
  readonly pid?: number;
  readonly gdb: string;
}

const EXAMPLES = `
Exit status: that of gdb, or as of every command if gdb was not started.

Examples:
  ckpt gdb -D store 3                            look at checkpoint 3
  ckpt gdb -D store 3 -- -batch -ex bt           print the backtrace of its main thread`;

/** `ckpt gdb N`: a checkpoint in a debugger. */
export function declareGdb(program: Command, shell: Shell): void {
  const command = program
    .command('gdb')
    .description('open a checkpoint of a live process in gdb')
    .argument('<checkpoint>', "a number of 'ckpt ls', or latest", argument(checkpointNumber))
    .argument('[arguments...]', 'for gdb, after --')
    .addOption(storeOption())
    .addOption(
      new Option('--pid <pid>', 'which process of a tree; the root unless given').argParser(
        integer(1, 4_194_304),
      ),
    )
    .option('--gdb <program>', 'the gdb to start', 'gdb')
    .addHelpText('after', EXAMPLES);
  withCommonOptions(command).action(
    runsAs<GdbOptions>(shell, async (context, options, [checkpoint, ...gdbArguments]) => {
      context.exitStatus = await debugCheckpoint({
        storeDirectory: options.store,
        checkpoint: checkpointNumber(checkpoint!),
        pid: options.pid,
        gdb: options.gdb,
        gdbArguments,
        signal: context.signals.signal,
        onProgress: context.progress.update.bind(context.progress),
        onWarning: (warning) => context.note(`warning: ${warning}`),
        onStart: (forward) => {
          context.progress.stop();
          context.signals.handOver(forward);
        },
      });
    }),
  );
}
