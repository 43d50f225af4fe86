import { setImmediate as nextTurn } from 'node:timers/promises';
import { type MonotonicClock, machineClock } from '../core/index.ts';
import type { KernelCounters } from '../kernel/index.ts';
import type { Workload } from './model.ts';
import type { ExitedPrograms, Program, ProgramCounts } from './program.ts';
import { Simulation, type SimulationOptions } from './simulation.ts';
import { WrittenPages } from './written-pages.ts';

/** Virtual time between two turns of the event loop, in microseconds. */
const SLICE_MICROSECONDS = 10_000;

export interface WorkloadRunOptions extends SimulationOptions {
  /** Virtual time to run. */
  readonly durationMicroseconds: number;
  readonly signal?: AbortSignal;
  /** Told the virtual time reached, in microseconds. */
  readonly onProgress?: (virtualMicroseconds: number) => void;
  /** For the speed in the report. */
  readonly clock?: MonotonicClock;
}

/** What one process did, and what it has. */
export interface ProcessReport extends ProgramCounts {
  readonly pid: number;
  readonly parentPid: number;
  readonly name: string;
  readonly status: 'running' | 'idle';
  /** Position of the phase that it is in. */
  readonly phase: number;
  readonly repetitions: number;
  readonly mappedPages: number;
  readonly residentPages: number;
  /** Different pages that were written to. */
  readonly writtenPages: number;
  readonly minorFaults: number;
}

export interface WorkloadReport {
  readonly workload: string;
  readonly kernel: string;
  readonly virtualMicroseconds: number;
  readonly processes: readonly ProcessReport[];
  /** Processes that have come and gone, summed up by name. */
  readonly exited: Readonly<Record<string, ExitedPrograms>>;
  /** Of the whole machine, since the start: filling the resident pages is in it. */
  readonly faults: KernelCounters['faults'];
  /** Virtual time that the kernel's work has cost. */
  readonly kernelMicroseconds: number;
  /** Real time that the run took, and the page writes it simulated in each second of it. */
  readonly machineMicroseconds: number;
  readonly writesPerSecond: number;
}

/**
 * Runs a workload from its start and tells what happened.
 * @throws the signal's reason if it is aborted.
 */
export async function runWorkload(workload: Workload, options: WorkloadRunOptions): Promise<WorkloadReport> {
  const simulation = Simulation.start(workload, options);
  const written = new WrittenPages();
  simulation.kernel.listener = written;
  const clock = options.clock ?? machineClock;
  const started = clock();
  await runInSlices([simulation], options.durationMicroseconds, options);
  const machineMicroseconds = clock() - started;
  return reportOf(simulation, written, machineMicroseconds);
}

/** Runs several simulations side by side, letting the event loop turn in between. */
export async function runInSlices(
  simulations: readonly Simulation[],
  durationMicroseconds: number,
  options: Pick<WorkloadRunOptions, 'signal' | 'onProgress'>,
): Promise<void> {
  for (let done = 0; done < durationMicroseconds; ) {
    options.signal?.throwIfAborted();
    const slice = Math.min(SLICE_MICROSECONDS, durationMicroseconds - done);
    for (const simulation of simulations) simulation.run(slice);
    done += slice;
    options.onProgress?.(simulations[0]!.nowNanoseconds / 1000);
    await nextTurn();
  }
}

function reportOf(
  simulation: Simulation,
  written: WrittenPages,
  machineMicroseconds: number,
): WorkloadReport {
  const { faults, nanoseconds } = simulation.kernel.counters();
  const exited = Object.fromEntries(simulation.exited);
  const processes = simulation.programs.map((program) => processReport(program, written));
  const writes = [...processes, ...simulation.exited.values()].reduce((sum, part) => sum + part.writes, 0);
  return {
    workload: simulation.workload.name,
    kernel: simulation.kernel.version,
    virtualMicroseconds: simulation.nowNanoseconds / 1000,
    processes,
    exited,
    faults,
    kernelMicroseconds: nanoseconds / 1000,
    machineMicroseconds,
    writesPerSecond: machineMicroseconds > 0 ? (writes / machineMicroseconds) * 1e6 : 0,
  };
}

function processReport(program: Program, written: WrittenPages): ProcessReport {
  const { process } = program;
  return {
    pid: process.pid,
    parentPid: program.parentPid,
    name: program.definition.name,
    status: program.status,
    phase: program.phaseIndex,
    repetitions: program.repetitions,
    mappedPages: process.vmas().reduce((sum, vma) => sum + vma.endPage - vma.startPage, 0),
    residentPages: process.residentPages(),
    writtenPages: written.countOf(process.pid),
    minorFaults: process.minorFaults(),
    ...program.counts,
  };
}
