import { type Command, Option } from 'commander';
import { rewindInPlace } from '../../checkpoint/index.ts';
import { UsageError } from '../../core/index.ts';
import { formatRewindResult } from '../../report/index.ts';
import { EXIT_STATUS } from '../exit-status.ts';
import { integer } from '../parse.ts';
import { commonRequest, type RestoreMode } from './restore-modes.ts';

/** The options of `--in-place`. */
export function addInPlaceOptions(command: Command): Command {
  return command
    .option('--in-place', 'rewind the live process that the checkpoint is of, and its descendants')
    .addOption(
      new Option('-t, --tree <pid>', 'with --in-place: the process').argParser(integer(1, 4_194_304)),
    )
    .option('--single', 'with --in-place: the process alone, without its descendants')
    .option('-n, --dry-run', 'with --in-place or --new: look and compare, but change and start nothing');
}

/** A live process that goes back. */
export const inPlaceMode: RestoreMode = {
  usage: '--in-place -t PID rewinds a live process',
  isAskedFor: (options) => options.inPlace === true,
  async run(context, options) {
    if (options.tree === undefined) {
      throw new UsageError('--in-place needs the process to rewind', { hint: 'add -t PID' });
    }
    const force = options.force === true;
    const result = await rewindInPlace({
      ...commonRequest(context, options),
      pid: options.tree,
      single: options.single === true,
      force,
      dryRun: options.dryRun === true,
      leaveStopped: options.leaveStopped === true,
      onStop: (release) => context.signals.onSignal(release),
      onNote: (note) => context.note(note),
    });
    context.progress.stop();
    context.result(result, formatRewindResult(result, force));
    if (result.outcome === 'refused') context.exitStatus = EXIT_STATUS.target;
  },
};
