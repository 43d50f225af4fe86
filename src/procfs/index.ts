export { CLEAR_REFS } from './clear-refs.ts';
export { type DescriptorInfo, parseDescriptorInfo } from './fdinfo.ts';
export { parseLimits, type ResourceLimits, UNLIMITED } from './limits.ts';
export { formatMapsLine, type MapsEntry, parseMaps, parseMapsLine } from './maps.ts';
export { PAGEMAP_HIGH, PAGEMAP_WORD_BYTES, pagemapFrame } from './pagemap.ts';
export {
  type PagemapScanRegion,
  type PagemapScanRequest,
  type PagemapScanResult,
  SCAN_CATEGORY,
  SCAN_FLAG,
} from './pagemap-scan.ts';
export { parseSmapsFlags, type SmapsEntry } from './smaps.ts';
export { type AddressRange, parseTaskDetails, type TaskDetails } from './task-details.ts';
export { parseTaskStat, TASK_FLAG_KERNEL_THREAD, type TaskStat } from './task-stat.ts';
export { parseTaskStatus, type TaskStatus } from './task-status.ts';
export { NOTIFY_THREAD_ID, parseTimers, type TimerRecord } from './timers.ts';
