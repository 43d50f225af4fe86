export { type HostCosts, USUAL_COSTS } from './costs.ts';
export { type BandwidthStep, Link, type LinkOptions } from './link.ts';
export type { MigratingMemory } from './memory.ts';
export type { Outcome, PolicyName, StrategyName } from './outcome.ts';
export { PageBitmap } from './page-bitmap.ts';
export { QemuMigration } from './qemu/migration.ts';
export { checkQemuOptions, QEMU_DEFAULTS, type QemuOptions } from './qemu/options.ts';
export type { Round } from './rounds.ts';
export { openSimulatedMemory, type SimulatedMemoryOptions } from './simulated-memory.ts';
