export { WorkloadContent } from './content.ts';
export type { KernelChoice, ProgramDefinition, RegionDefinition, Workload } from './model.ts';
export { parseWorkload, WORKLOAD_FORMAT_VERSION } from './parse.ts';
export type { Program, ProgramCounts } from './program.ts';
export { Simulation, type SimulationOptions } from './simulation.ts';
