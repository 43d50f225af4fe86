import { type Command, Option } from 'commander';
import { examineRevival, type Revival, reviveCheckpoint } from '../../checkpoint/index.ts';
import { UsageError } from '../../core/index.ts';
import { formatProspect, formatRevived } from '../../report/index.ts';
import type { CommandContext } from '../context.ts';
import { EXIT_STATUS } from '../exit-status.ts';
import { commonRequest, type RestoreMode } from './restore-modes.ts';

/** Signals that concern the new process rather than ckpt, which only waits for it. */
const FORWARDED = ['SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2', 'SIGCONT', 'SIGWINCH'] as const;

/** The options of `--new`. */
export function addNewOptions(command: Command): Command {
  return command
    .option('--new', 'make the processes of the checkpoint anew, under their PIDs; the old ones are gone')
    .option('-d, --detach', 'with --new: let them go on by themselves instead of waiting for them')
    .addOption(
      new Option(
        '--stdio <where>',
        "with --new: where standard streams lead that led outside: to ckpt's own, or to /dev/null " +
          '(the default with --detach)',
      ).choices(['inherit', 'null']),
    )
    .option(
      '--leave-stopped',
      'with --new or --in-place: leave the processes stopped (kill -CONT lets them go on)',
    );
}

/** New processes. */
export const newMode: RestoreMode = {
  usage: '--new makes new processes',
  isAskedFor: (options) => options.new === true,
  async run(context, options) {
    const leaveStopped = options.leaveStopped === true;
    const detached = options.detach === true || leaveStopped;
    const streams = options.stdio ?? (detached ? 'null' : 'inherit');
    if (options.json === true && options.dryRun !== true && !detached && streams === 'inherit') {
      throw new UsageError('--json would be mixed with what the new process prints', {
        hint: 'add --detach, or --stdio null',
      });
    }
    if (options.dryRun === true) {
      const prospect = await examineRevival({ ...commonRequest(context, options), streams });
      context.result(prospect, formatProspect(prospect));
      const isForced = ({ forcible }: { forcible: boolean }) => forcible && options.force === true;
      if (!prospect.obstacles.every(isForced)) context.exitStatus = EXIT_STATUS.target;
      return;
    }
    const revival = await reviveCheckpoint({
      ...commonRequest(context, options),
      streams,
      detached,
      leaveStopped,
      force: options.force === true,
      onNote: (note) => context.note(`note: ${note}`),
    });
    const { revived } = revival;
    context.progress.stop();
    if (detached || streams === 'null') context.result(revived, formatRevived(revived));
    else context.note(formatRevived(revived));
    if (!detached) context.exitStatus = await waitInItsPlace(context, revival);
  },
};

/** Passes on what is meant for the new process until it has ended. */
async function waitInItsPlace(context: CommandContext, revival: Revival): Promise<number> {
  const forward = (signal: NodeJS.Signals) => {
    try {
      process.kill(revival.revived.pid, signal);
    } catch {
      // It has just ended.
    }
  };
  const signals: readonly NodeJS.Signals[] = revival.sharesProcessGroup
    ? FORWARDED
    : [...FORWARDED, 'SIGINT'];
  context.signals.handOver(forward);
  for (const signal of signals) process.on(signal, forward);
  try {
    return await revival.waitForEnd();
  } finally {
    for (const signal of signals) process.off(signal, forward);
  }
}
