import type { Simulation } from '../workload/index.ts';

/** What a person wants to know of a simulated target's state; printed by `ckpt show`. */
export function summarizeSimulation(simulation: Simulation): Readonly<Record<string, unknown>> {
  const { faults, nanoseconds } = simulation.kernel.counters();
  return {
    workload: simulation.workload.name,
    kernel: simulation.kernel.version,
    softDirty: simulation.softDirty,
    virtualMicroseconds: simulation.nowNanoseconds / 1000,
    processes: simulation.programs.map((program) => ({
      pid: program.process.pid,
      name: program.definition.name,
      status: program.status,
      phase: program.phaseIndex,
      repetitions: program.repetitions,
      ...program.counts,
    })),
    exited: Object.fromEntries(simulation.exited),
    faults,
    kernelMicroseconds: Math.round(nanoseconds / 1000),
  };
}
