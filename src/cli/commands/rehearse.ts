import type { Command } from 'commander';
import { parseTarget, readWorkloadFile } from '../../checkpoint/index.ts';
import { UnsupportedError } from '../../core/index.ts';
import { openSimulatedMemory, rehearse } from '../../migration/index.ts';
import { formatRehearsal } from '../../report/index.ts';
import { parseWorkload } from '../../workload/index.ts';
import { runsAs, type Shell, withCommonOptions } from '../command.ts';
import { EXIT_STATUS } from '../exit-status.ts';
import { declareRehearseOptions, type RehearseOptions, rehearsalOptions } from './rehearse-options.ts';

const EXAMPLES = `
Examples:
  ckpt rehearse -t sim:fixtures/kv-store.yaml --bandwidth 1Gbit/s
  ckpt rehearse -t sim:fixtures/kv-store.yaml --bandwidth 100Mbit/s --auto-converge --downtime-limit 50ms
  ckpt rehearse -t sim:fixtures/kv-store.yaml --bandwidth 1Gbit/s --policy xen --json`;

/** `ckpt rehearse`: what a migration would do. */
export function declareRehearse(program: Command, shell: Shell): void {
  const command = program
    .command('rehearse')
    .description(
      'predict a migration: does it converge, how long does it take, how long does the service stand still',
    )
    .addHelpText('after', EXAMPLES);
  declareRehearseOptions(command);
  withCommonOptions(command).action(
    runsAs<RehearseOptions>(shell, async (context, options) => {
      const target = parseTarget(options.target);
      if (target.kind === 'live') {
        throw new UnsupportedError('live processes cannot be rehearsed yet', {
          hint: 'name a workload: sim:FILE',
        });
      }
      const workload = parseWorkload(readWorkloadFile(target.path), target.path);
      const open = (run: number) => {
        context.progress.update({ phase: 'rehearsing' });
        return openSimulatedMemory(workload, {
          warmUpMicroseconds: options.after,
          seed: (workload.seed + run) % Number.MAX_SAFE_INTEGER,
        });
      };
      const rehearsal = await rehearse(open, rehearsalOptions(options), {
        runs: options.runs,
        signal: context.signals.signal,
      });
      context.progress.stop();
      context.result(rehearsal, formatRehearsal(rehearsal));
      if (rehearsal.verdict === 'does-not-converge') context.exitStatus = EXIT_STATUS.notConverged;
    }),
  );
}
