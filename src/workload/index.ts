export { EventQueue, type QueueContents } from './event-queue.ts';
export type { KernelChoice, ProgramDefinition, RegionDefinition, Workload } from './model.ts';
export type { PageFault, PageGate } from './page-gate.ts';
export { parseWorkload } from './parse.ts';
export type { ExitedPrograms, Program, ProgramCounts } from './program.ts';
export {
  type ProcessReport,
  runWorkload,
  type WorkloadReport,
  type WorkloadRunOptions,
} from './run-report.ts';
export { runScenario, type ScenarioOptions } from './scenario/index.ts';
export { Simulation, type SimulationOptions } from './simulation.ts';
export {
  compareTrackers,
  type TrackerComparison,
  type TrackerComparisonOptions,
  type TrackerInterval,
  type TrackerResult,
} from './tracker-comparison.ts';
export type { ComparedTracker } from './tracker-models.ts';
