import { readFileSync } from 'node:fs';
import { type Command, Option } from 'commander';
import { inspectSimulated, type SimulatedSource } from '../../checkpoint/index.ts';
import { UsageError } from '../../core/index.ts';
import { KERNEL_VERSIONS, type KernelVersion } from '../../kernel/index.ts';
import {
  formatSimulatedMaps,
  formatSimulatedPagemap,
  formatTrackerComparison,
  formatWorkloadReport,
  simulatedPagemapJson,
} from '../../report/index.ts';
import { compareTrackers, parseWorkload, runScenario, runWorkload } from '../../workload/index.ts';
import { runsAs, type Shell, withCommonOptions } from '../command.ts';
import type { CommandContext, CommonOptions } from '../context.ts';
import { argument, checkpointNumber, durationOption, integer } from '../parse.ts';

interface RunOptions extends CommonOptions {
  readonly kernel?: KernelVersion;
  readonly duration: number;
  readonly trackers?: boolean;
  readonly interval: number;
  readonly intervals: number;
  readonly queue?: number;
}

interface LookOptions extends CommonOptions {
  readonly after: number;
  readonly store?: string;
  readonly at: number | 'latest';
}

const RUN_EXAMPLES = `
Examples:
  ckpt sim run scenario.sd --kernel 6.12         what a real kernel prints after these operations
  ckpt sim run fixtures/kv-store.yaml            let a workload run and count its faults
  ckpt sim run fixtures/kv-store.yaml --trackers every tracker on the same workload, side by side`;

/** `ckpt sim`: the simulated kernel by itself. */
export function declareSim(program: Command, shell: Shell): void {
  const sim = program.command('sim').description('run programs on the simulated kernel, and look at them');
  declareRun(sim, shell);
  declareLook(sim, shell, 'maps', 'print /proc/PID/maps of simulated processes', (context, processes) =>
    context.result(
      processes.map(({ pid, name, maps }) => ({ pid, name, maps })),
      formatSimulatedMaps(processes),
    ),
  );
  declareLook(sim, shell, 'pagemap', 'print /proc/PID/pagemap of simulated processes', (context, processes) =>
    context.result(simulatedPagemapJson(processes), formatSimulatedPagemap(processes)),
  );
}

function declareRun(sim: Command, shell: Shell): void {
  const command = sim
    .command('run')
    .description('run a scenario (.sd) or a workload (.yaml)')
    .argument('<file>', 'scenario or workload')
    .addOption(new Option('--kernel <version>', 'simulated kernel version').choices(KERNEL_VERSIONS))
    .addOption(
      durationOption('--duration <duration>', 'virtual time to run a workload').default(10_000_000, '10s'),
    )
    .option('--trackers', 'compare all trackers on the workload: pages reported, missed, extra faults, cost')
    .addOption(
      durationOption('--interval <duration>', 'with --trackers: one period').default(500_000, '500ms'),
    )
    .addOption(
      new Option('--intervals <n>', 'with --trackers: how many periods')
        .argParser(integer(1, 100_000))
        .default(6),
    )
    .addOption(
      new Option('--queue <events>', 'with --trackers: capacity of the event queue').argParser(
        integer(1, 100_000_000),
      ),
    )
    .addHelpText('after', RUN_EXAMPLES);
  withCommonOptions(command).action(
    runsAs<RunOptions>(shell, async (context, options, [file]) => {
      const text = readProgram(file!);
      if (file!.endsWith('.sd')) runScenarioFile(context, options, file!, text);
      else await runWorkloadFile(context, options, file!, text);
    }),
  );
}

function runScenarioFile(context: CommandContext, options: RunOptions, name: string, text: string): void {
  if (options.trackers === true) {
    throw new UsageError('--trackers compares trackers on a workload, not on a scenario', {
      hint: "name a .yaml file, for example one of 'fixtures/'",
    });
  }
  const version = options.kernel ?? '6.1';
  const output = runScenario(text, { name, version });
  context.result({ scenario: name, kernel: version, output: output.split('\n') }, output);
}

async function runWorkloadFile(
  context: CommandContext,
  options: RunOptions,
  name: string,
  text: string,
): Promise<void> {
  const workload = parseWorkload(text, name);
  const common = {
    ...(options.kernel === undefined ? {} : { version: options.kernel }),
    signal: context.signals.signal,
    onProgress: () => context.progress.update({ phase: 'running' }),
  };
  if (options.trackers === true) {
    const comparison = await compareTrackers(workload, {
      ...common,
      intervalMicroseconds: options.interval,
      intervals: options.intervals,
      ...(options.queue === undefined ? {} : { queueEvents: options.queue }),
    });
    context.progress.stop();
    context.result(comparison, formatTrackerComparison(comparison));
  } else {
    const report = await runWorkload(workload, { ...common, durationMicroseconds: options.duration });
    context.progress.stop();
    context.result(report, formatWorkloadReport(report));
  }
}

type Processes = Awaited<ReturnType<typeof inspectSimulated>>;

function declareLook(
  sim: Command,
  shell: Shell,
  name: string,
  description: string,
  print: (context: CommandContext, processes: Processes) => void,
): void {
  const command = sim
    .command(name)
    .description(description)
    .argument('[file]', 'workload whose program starts anew; or use --store')
    .addOption(durationOption('--after <duration>', 'let it run this long first').default(0, 'not at all'))
    .option('-D, --store <dir>', 'look at the simulated processes of a checkpoint instead')
    .addOption(
      new Option('--at <checkpoint>', 'which checkpoint')
        .argParser(argument(checkpointNumber))
        .default('latest'),
    );
  withCommonOptions(command).action(
    runsAs<LookOptions>(shell, async (context, options, [file]) => {
      print(context, await inspectSimulated(sourceOf(file, options), options.after, context.signals.signal));
    }),
  );
}

function sourceOf(file: string | undefined, options: LookOptions): SimulatedSource {
  if ((file === undefined) === (options.store === undefined)) {
    throw new UsageError('name either a workload file or a store with -D DIR');
  }
  return file === undefined
    ? { storeDirectory: options.store!, checkpoint: options.at }
    : { workloadPath: file };
}

function readProgram(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new UsageError(`cannot read ${path}: ${(error as Error).message}`, {
      hint: 'name a scenario (.sd) or a workload (.yaml)',
      cause: error,
    });
  }
}
