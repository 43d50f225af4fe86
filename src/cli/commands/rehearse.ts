import type { Command } from 'commander';
import { recordingNotes, rehearse } from '../../migration/index.ts';
import { formatRehearsal, formatShadow, formatSweep, shadowJson } from '../../report/index.ts';
import { runsAs, type Shell, withCommonOptions } from '../command.ts';
import type { CommandContext } from '../context.ts';
import { EXIT_STATUS } from '../exit-status.ts';
import { surfaceOf } from '../surface.ts';
import {
  declareRehearseOptions,
  type RehearseOptions,
  rehearsalOptions,
  USUAL_RUNS,
} from './rehearse-options.ts';
import { type DoneRehearsal, withPage } from './rehearse-page.ts';
import { sendShadow } from './rehearse-shadow.ts';
import { openRehearsed } from './rehearse-source.ts';
import { sweepAsTold } from './rehearse-sweep.ts';

const EXAMPLES = `
Examples:
  ckpt rehearse -t sim:fixtures/kv-store.yaml --bandwidth 1Gbit/s
  ckpt rehearse -t sim:fixtures/kv-store.yaml --bandwidth 100Mbit/s --auto-converge --downtime-limit 50ms
  ckpt rehearse -t 4711 --bandwidth 10Gbit/s --observe 30s
  ckpt rehearse --trace redis.trace --bandwidth 1Gbit/s --policy xen --json
  ckpt rehearse --trace redis.trace --sweep bandwidth=1..40Gbit/s:log8,downtime-limit=50ms,300ms,policy=qemu,clark`;

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
      if (options.sweep !== undefined) return tellSweep(context, options);
      const run = () => rehearseAsTold(context, options);
      const { rehearsal, notes, shadow } = await (options.report === undefined
        ? run()
        : withPage(options.report, run));
      context.progress.stop();
      const text = notes.map((note) => `note: ${note}\n`).join('');
      const compared = shadow === undefined ? '' : `\n${formatShadow(rehearsal, shadow)}`;
      context.result(
        { ...rehearsal, notes, ...(shadow === undefined ? {} : { shadow: shadowJson(shadow) }) },
        formatRehearsal(rehearsal, surfaceOf(context.environment)) + compared + text,
      );
      if (rehearsal.verdict === 'does-not-converge') context.exitStatus = EXIT_STATUS.notConverged;
    }),
  );
}

async function tellSweep(context: CommandContext, options: RehearseOptions): Promise<void> {
  const run = () => sweepAsTold(context, options);
  const { sweep, notes } = await (options.report === undefined ? run() : withPage(options.report, run));
  context.progress.stop();
  context.result({ ...sweep, notes }, formatSweep(sweep) + notes.map((note) => `note: ${note}\n`).join(''));
  const converges = sweep.cells.some(({ verdict }) => verdict === 'converges');
  if (!converges) context.exitStatus = EXIT_STATUS.notConverged;
}

async function rehearseAsTold(context: CommandContext, options: RehearseOptions): Promise<DoneRehearsal> {
  const rehearsed = await openRehearsed(context, options);
  const { source, costs, notes } = rehearsed;
  const parameters = rehearsalOptions(options, costs);
  context.progress.update({ phase: 'rehearsing' });
  const rehearsal = await rehearse(source, parameters, {
    runs: options.runs ?? USUAL_RUNS,
    signal: context.signals.signal,
    onDone: () => context.progress.update({ phase: 'rehearsing' }),
  });
  const assumed =
    source.kind === 'recording' ? recordingNotes(source.recording, rehearsal, parameters.choice) : [];
  const done = { rehearsed, parameters, rehearsal, notes: [...notes, ...assumed] };
  if (options.shadow === undefined) return done;
  return { ...done, shadow: await sendShadow(context, options, options.shadow, done) };
}
