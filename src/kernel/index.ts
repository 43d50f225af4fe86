export * from './abi.ts';
export type { ContentProvider } from './content.ts';
export { DEFAULT_COSTS, type FaultKind, type KernelCosts } from './costs.ts';
export { Kernel, type KernelCounters, type KernelOptions } from './kernel.ts';
export type { WriteListener } from './machine.ts';
export { OpenFile } from './memory/files.ts';
export { ZERO_FRAME } from './memory/frames.ts';
export { PinnedBuffer } from './memory/pins.ts';
export { PagemapFile, type PagemapLayout } from './proc/pagemap.ts';
export type { RawScanArgument, ScanAnswer } from './proc/scan.ts';
export type { MappingView } from './proc/smaps.ts';
export { Process } from './process.ts';
export { Userfaultfd } from './uffd/userfaultfd.ts';
export {
  type ForceOverride,
  KERNEL_VERSIONS,
  type KernelFeatures,
  type KernelVersion,
} from './version.ts';
