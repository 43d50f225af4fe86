import { type Combination, rehearse, type SweepResult, sweep, TCP_SHARE } from '../../migration/index.ts';
import type { CommandContext } from '../context.ts';
import { type RehearseOptions, rehearsalOptions } from './rehearse-options.ts';
import type { DoneRehearsal } from './rehearse-page.ts';
import { openRehearsed } from './rehearse-source.ts';

/** A sweep that is over, with a rehearsal of the combination that stands still for the shortest time. */
export interface DoneSweep extends DoneRehearsal {
  readonly sweep: SweepResult;
}

/**
 * Rehearses all combinations that `--sweep` names; all other options are the same for each.
 * @throws UsageError naming the combination that no migration can have
 */
export async function sweepAsTold(context: CommandContext, options: RehearseOptions): Promise<DoneSweep> {
  const axes = options.sweep!;
  const rehearsed = await openRehearsed(context, options);
  const { source, costs, notes } = rehearsed;
  const parametersFor = (combination: Combination) =>
    rehearsalOptions({ ...options, ...optionsOf(combination) }, costs);
  const { signal } = context.signals;
  const onDone = () => context.progress.update({ phase: 'rehearsing' });
  onDone();
  const result = await sweep(source, axes, parametersFor, { runs: options.runs ?? 1, signal, onDone });
  const { indices } = result.cells[result.frontier[0] ?? 0]!;
  const shown = axes.map(({ name, values }, axis) => [name, values[indices[axis]!]!.value]);
  const parameters = parametersFor(Object.fromEntries(shown));
  const rehearsal = await rehearse(source, parameters, { runs: options.runs ?? 1, signal, onDone });
  return { rehearsed, parameters, rehearsal, notes, sweep: result };
}

/** The options that a combination stands for, as commander would have read them. */
function optionsOf(combination: Combination): Partial<RehearseOptions> {
  const { bandwidth, ...others } = combination;
  const named = Object.entries(others).map(([name, value]) => [camelCase(name), value]);
  return {
    ...Object.fromEntries(named),
    ...(bandwidth === undefined
      ? {}
      : { bandwidth: { bytesPerSecond: Number(bandwidth) * TCP_SHARE, profile: [] } }),
  };
}

function camelCase(name: string): string {
  return name.replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());
}
